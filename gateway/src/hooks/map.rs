//! The event that a webhook becomes.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use flotilla_common::{
    definition::{Context, Hook, Shape, Verify},
    event::{Defaults, Event, EventError},
    io::http::Problem,
};
use serde_json::{Map, Value, json};

use crate::problem::{fault, of_event, unprocessable};

/// Fields by name.
pub(super) type Fields = BTreeMap<String, String>;

/// Headers that no mapping sees, whatever the hook.
const HIDDEN: [&str; 6] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "webhook-signature",
    "x-hub-signature",
    "x-hub-signature-256",
];

/// The fields of a query; of one that is there twice, the last.
pub(super) fn fields(query: &str) -> Fields {
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// The event of a request that was verified.
pub(super) fn event(
    hook: &Hook,
    headers: &HeaderMap,
    bytes: &[u8],
    query: &Fields,
) -> Result<Event, Problem> {
    let body: Value =
        serde_json::from_slice(bytes).map_err(|error| of_event(&EventError::Json(error)))?;
    let seen = seen(hook, headers);
    let mut parts = Map::new();
    let context = Context::new(&json!({"body": body, "headers": seen, "query": query}));
    for (name, shape, default) in [
        ("type", &hook.map.kind, default_type(hook, headers, &body)),
        ("id", &hook.map.id, default_id(hook, headers)),
        (
            "source",
            &hook.map.source,
            Some(format!("hook:{}", hook.name)),
        ),
        ("subject", &hook.map.subject, None),
        ("time", &hook.map.time, None),
    ] {
        let text = match shape {
            Some(shape) => Some(text(name, shape, &context)?),
            None => default,
        };
        if let Some(text) = text {
            parts.insert(name.to_owned(), text.into());
        }
    }
    let data = match &hook.map.data {
        Some(shape) => shape
            .render(&context)
            .map_err(|error| unmapped("data", error.to_string()))?,
        None => body,
    };
    parts.insert("data".to_owned(), data);
    let missing = Defaults {
        id: String::new(),
        source: String::new(),
        kind: None,
    };
    Event::of_parts(parts, missing).map_err(|error| match error {
        EventError::Attribute { pointer, told } => unmapped(pointer.trim_start_matches('/'), told),
        EventError::Json(_) | EventError::TooLarge(..) => of_event(&error),
    })
}

/// The headers as a mapping sees them: in lower case, and nothing that proves who sends.
fn seen(hook: &Hook, headers: &HeaderMap) -> Fields {
    let own = hook.verify.headers();
    let names = headers.keys().map(axum::http::HeaderName::as_str);
    let shown = names.filter(|name| !HIDDEN.contains(name) && !own.contains(name));
    let each = shown.map(|name| {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        (name.to_owned(), values.collect::<Vec<_>>().join(", "))
    });
    each.collect()
}

fn text(name: &str, shape: &Shape, context: &Context) -> Result<String, Problem> {
    match shape.render(context) {
        Ok(Value::String(text)) => Ok(text),
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Ok(Value::Null | Value::Array(_) | Value::Object(_)) => {
            Err(unmapped(name, "it is no text".to_owned()))
        }
        Err(error) => Err(unmapped(name, error.to_string())),
    }
}

fn unmapped(name: &str, why: String) -> Problem {
    let detail = format!("the hook's mapping gives no `{name}` for this body: {why}");
    let errors = json!([fault(&format!("/map/{name}"), &why)]);
    unprocessable(detail).with("errors", errors)
}

/// What the kind of webhook says of the type: `github.<event>`, with `.<action>` where there is one.
fn default_type(hook: &Hook, headers: &HeaderMap, body: &Value) -> Option<String> {
    match &hook.verify {
        Verify::GitHub(_) => {
            let event = headers.get("x-github-event")?.to_str().ok()?;
            let action = body.get("action").and_then(Value::as_str);
            let action = action.map(|action| format!(".{action}"));
            Some(format!("github.{event}{}", action.unwrap_or_default()))
        }
        Verify::Open
        | Verify::Standard(_)
        | Verify::Token { .. }
        | Verify::Bearer(_)
        | Verify::Hmac { .. } => None,
    }
}

/// The id that the kind of webhook gives each request, the same when it is sent again.
fn default_id(hook: &Hook, headers: &HeaderMap) -> Option<String> {
    let header = match &hook.verify {
        Verify::GitHub(_) => "x-github-delivery",
        Verify::Standard(_) => "webhook-id",
        Verify::Open | Verify::Token { .. } | Verify::Bearer(_) | Verify::Hmac { .. } => {
            return None;
        }
    };
    Some(headers.get(header)?.to_str().ok()?.to_owned())
}

#[cfg(test)]
pub(super) mod tests;
