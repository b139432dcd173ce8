//! Small JSON bodies: an object whose fields are taken out one by one. What is wrong is told with the JSON pointer to it.

use std::str::FromStr;

use axum::{body::Body, http::HeaderMap};
use flotilla_common::{
    depth::{DEPTH_MAX, is_within},
    ids::IdError,
    io::http::Problem,
    money::Usd,
};
use serde_json::{Map, Value};

use crate::{
    access::asking,
    body::{self, JSON},
    problem::{bad_request, wrong_field},
};

/// Longest body, where it brings no parameters of a tool.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024;
/// Longest name of somebody or something, in characters.
pub(crate) const NAME_LENGTH_MAX: usize = 128;
/// Longest id of a step or an action, in characters.
const ID_LENGTH_MAX: usize = 256;
/// Longest reason, in characters.
pub(crate) const REASON_LENGTH_MAX: usize = 1_000;

/// Fields that were not taken yet.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of a body; an empty one has none.
    pub(crate) async fn read(
        headers: &HeaderMap,
        body: Body,
        bytes_max: usize,
    ) -> Result<Self, Problem> {
        let bytes = body::read(body, bytes_max).await?;
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        body::media_type(headers, &[JSON])?;
        let fields = serde_json::from_slice(&bytes);
        fields
            .map(Self)
            .map_err(|e| bad_request(format!("the body is not a JSON object: {e}")))
    }

    /// Fields that came some other way than as a body of their own.
    pub(crate) fn of(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// Whether there is a field of this name that was not taken yet.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(|value| !value.is_null())
    }

    /// A text of a bounded length, without control characters; `None` when it is missing or null.
    pub(crate) fn text(
        &mut self,
        field: &str,
        length_max: usize,
    ) -> Result<Option<String>, Problem> {
        let must = format!(
            "must be a text of 1 to {length_max} characters, none of them a control character"
        );
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text))
                if !text.is_empty()
                    && text.chars().count() <= length_max
                    && !text.chars().any(char::is_control) =>
            {
                Ok(Some(text))
            }
            Some(_) => Err(wrong(field, &must)),
        }
    }

    /// Who says so, for the journal: see [`asking::by`].
    pub(crate) fn by(&mut self) -> Result<Option<String>, Problem> {
        self.text("by", NAME_LENGTH_MAX).map(asking::by)
    }

    /// Why they do.
    pub(crate) fn reason(&mut self) -> Result<Option<String>, Problem> {
        let reason = self.text("reason", REASON_LENGTH_MAX)?;
        Ok(asking::because(reason))
    }

    /// What people write to people or models: lines of text, of a bounded length in bytes; `None` when it is missing or null.
    pub(crate) fn prose(
        &mut self,
        field: &str,
        bytes_max: usize,
    ) -> Result<Option<String>, Problem> {
        let is_line_break = |c: char| matches!(c, '\n' | '\r' | '\t');
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text))
                if !text.trim().is_empty()
                    && text.len() <= bytes_max
                    && !text.chars().any(|c| c.is_control() && !is_line_break(c)) =>
            {
                Ok(Some(text))
            }
            Some(_) => {
                let must = format!(
                    "must be a text of at most {bytes_max} bytes, without control characters but line breaks and tabs"
                );
                Err(wrong(field, &must))
            }
        }
    }

    /// A name, or something else that has one spelling; `None` when it is missing or null.
    pub(crate) fn id<T: FromStr<Err = IdError>>(
        &mut self,
        field: &str,
    ) -> Result<Option<T>, Problem> {
        let text = self.text(field, ID_LENGTH_MAX)?;
        text.map(|text| text.parse())
            .transpose()
            .map_err(|e| wrong(field, &format!("is wrong: {e}")))
    }

    /// Yes or no; no when it is missing or null.
    pub(crate) fn flag(&mut self, field: &str) -> Result<bool, Problem> {
        match self.take(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(wrong(field, "must be true or false")),
        }
    }

    /// Any JSON that the journal can hold; `None` when it is missing or null.
    pub(crate) fn value(&mut self, field: &str) -> Result<Option<Value>, Problem> {
        let value = self.take(field);
        if value
            .as_ref()
            .is_none_or(|value| is_within(value, DEPTH_MAX))
        {
            return Ok(value);
        }
        let problem = format!("is nested more than {DEPTH_MAX} levels deep");
        Err(wrong(field, &problem))
    }

    /// An amount of dollars, from nothing up to a million.
    pub(crate) fn usd(&mut self, field: &str) -> Result<Usd, Problem> {
        let dollars = self.take(field).as_ref().and_then(Value::as_f64);
        dollars
            .and_then(Usd::from_dollars)
            .ok_or_else(|| wrong(field, "must be a number of dollars, 0 to 1000000"))
    }

    /// An error when there are fields that nobody took: a misspelt one must not be passed over.
    pub(crate) fn end(self, known: &str) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(field) => Err(wrong(
                &escaped(field),
                &format!("is not known here; the body is {known}"),
            )),
        }
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }
}

/// As a part of a JSON pointer (RFC 6901), for people.
pub(crate) fn escaped(field: &str) -> String {
    let field: String = field.chars().take(NAME_LENGTH_MAX).collect();
    let field = field.replace('~', "~0").replace('/', "~1");
    field.escape_debug().to_string()
}

/// What is wrong with a field.
pub(crate) fn wrong(field: &str, problem: &str) -> Problem {
    wrong_field(field, problem)
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;
    use flotilla_common::ids::Name;

    use super::*;

    async fn fields(body: &'static str) -> Result<Fields, Problem> {
        let headers = [(CONTENT_TYPE, JSON.parse().unwrap())];
        let headers = headers.into_iter().collect();
        Fields::read(&headers, Body::from(body), BODY_BYTES_MAX).await
    }

    #[tokio::test]
    async fn an_empty_body_has_no_fields_and_null_is_as_good_as_none() {
        let mut none = Fields::read(&HeaderMap::new(), Body::empty(), BODY_BYTES_MAX)
            .await
            .unwrap();
        assert_eq!(none.text("by", 9).unwrap(), None);
        assert!(none.usd("usd").is_err());
        none.end("").unwrap();
        let mut null = fields(r#"{"by": null}"#).await.unwrap();
        assert_eq!(null.text("by", 9).unwrap(), None);
        null.end("").unwrap();
        let untyped = Fields::read(&HeaderMap::new(), Body::from("{}"), BODY_BYTES_MAX).await;
        assert_eq!(untyped.unwrap_err().status, 415);
    }

    #[tokio::test]
    async fn prose_may_have_lines_and_is_measured_in_bytes() {
        let text = |body| async move { fields(body).await.unwrap().prose("text", 6) };
        assert_eq!(
            text(r#"{"text": "a\nb\tc"}"#).await.unwrap().unwrap(),
            "a\nb\tc"
        );
        assert_eq!(text(r#"{"text": "ééé"}"#).await.unwrap().unwrap(), "ééé");
        for bad in [
            r#"{"text": "éééé"}"#,
            r#"{"text": "a\u001b"}"#,
            r#"{"text": 5}"#,
        ] {
            let problem = text(bad).await.unwrap_err();
            assert!(problem.detail.starts_with("`/text`"), "{}", problem.detail);
        }
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_with_its_pointer() {
        for (body, pointer) in [
            (r#"{"by": ""}"#, "`/by`"),
            (r#"{"by": "a\nb"}"#, "`/by`"),
            (r#"{"by": 5}"#, "`/by`"),
            (r#"{"step": "a b", "usd": 1}"#, "`/step`"),
            (r#"{"usd": "1"}"#, "`/usd`"),
            (r#"{"usd": -1}"#, "`/usd`"),
            (r#"{"usd": 1000001}"#, "`/usd`"),
            (r#"{"usd": 1, "a/b": 1}"#, "`/a~1b`"),
        ] {
            let mut fields = fields(body).await.unwrap();
            let problem = fields
                .text("by", 9)
                .and_then(|_| fields.id::<Name>("step"))
                .and_then(|_| fields.usd("usd"))
                .and_then(|_| fields.end("{}"))
                .unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.starts_with(pointer), "{}", problem.detail);
            let told = &problem.more["errors"][0]["pointer"];
            assert_eq!(format!("`{}`", told.as_str().unwrap()), pointer);
            assert_eq!(problem.more["code"], "invalid_field");
        }
        let mut odd = fields(r#"{"text": " ", "with": [[1]], "yes": 1}"#)
            .await
            .unwrap();
        assert!(odd.prose("text", 9).is_err(), "nothing is said");
        assert!(odd.value("with").unwrap().is_some());
        assert!(odd.flag("yes").is_err());
        for bad in ["[", "[]", "5"] {
            assert_eq!(fields(bad).await.unwrap_err().status, 400, "{bad}");
        }
    }
}
