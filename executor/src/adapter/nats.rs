//! The `nats` adapter: a request, and the reply of a service in whatever language.

use flotilla_common::{
    definition::Template,
    io::{
        ask::{Answer, AskError},
        bus::Bus,
    },
    names::{header, subject::is_reserved},
};
use serde_json::{Value, json};

use super::{
    Call, Scene,
    failure::{Class, Failure},
    reply,
};

/// Longest complaint of a service in a message, in bytes.
const COMPLAINT_LENGTH_MAX: usize = 500;
/// What a service calls a failure after which it does not know itself whether the call was done.
const UNKNOWN: &str = "unknown";

/// Asks the service. The request is `{"input"}`, with what else is to be known in headers; the output is the reply.
pub(super) async fn run(
    call: &Call<'_>,
    subject: &Template,
    bus: Option<&Bus>,
    scene: &Scene<'_>,
) -> Result<Value, Failure> {
    let Some(bus) = bus else {
        let message = "this tool is a service on NATS, and there is no connection to NATS here";
        return Err(Failure::new(Class::Config, message));
    };
    let subject = subject
        .render(&scene.context)
        .map_err(|error| Failure::hole("subject", &error))?;
    let first = subject.split('.').next().unwrap_or_default();
    if is_reserved(first) {
        let message = format!("`{first}` is a subject of the fleet's or of the server's own");
        return Err(Failure::new(Class::Refused, message));
    }
    let tool = format!("{}@{}", call.tool.name, call.tool.version);
    let (step, trace) = (call.slot.to_string(), call.traceparent());
    let headers = [
        (header::IDEMPOTENCY_KEY, call.idempotency_key.as_str()),
        (header::RUN, call.run.as_str()),
        (header::STEP, &step),
        (header::TOOL, &tool),
        (header::TRACEPARENT, &trace),
    ];
    let payload = json!({"input": call.input}).to_string().into_bytes();
    let asked = bus.ask(&subject, &headers, payload, call.tool.timeout);
    match asked.await {
        Ok(answer) => outcome(&answer, call.tool.output_limit, scene),
        Err(error) => Err(unanswered(&subject, &error)),
    }
}

fn unanswered(subject: &str, error: &AskError) -> Failure {
    let class = match error {
        AskError::NobodyThere(_) | AskError::NotConnected => Class::Connect,
        AskError::Unsendable(_) => Class::Input,
        AskError::Timeout(_) => Class::Timeout,
        AskError::Lost(_) => Class::Network,
    };
    let message = match error {
        AskError::NobodyThere(_) | AskError::NotConnected => error.to_string(),
        AskError::Unsendable(_) | AskError::Timeout(_) | AskError::Lost(_) => {
            format!("`{subject}`: {error}")
        }
    };
    Failure::new(class, message)
}

fn outcome(answer: &Answer, limit: usize, scene: &Scene<'_>) -> Result<Value, Failure> {
    let output = reply::value(&answer.payload, limit, &scene.secrets);
    if let Some(error) = answer.header(header::ERROR) {
        return Err(failed(error, answer.header(header::RETRYABLE), output));
    }
    let code = answer.header(header::SERVICE_ERROR_CODE);
    let said = answer.header(header::SERVICE_ERROR);
    if code.is_some() || said.is_some() {
        let said = said.unwrap_or("it does not say why");
        let message = match code {
            Some(code) => format!("the service failed with code {code}: {said}"),
            None => format!("the service failed: {said}"),
        };
        // As HTTP's: what is wrong with the request will be wrong again.
        let code = code.and_then(|code| code.parse::<u16>().ok());
        let retryable = code.map(|code| !(400..500).contains(&code) || code == 429);
        let failure = Failure::new(Class::Service, message).said(None, retryable);
        return Err(failure.with(output));
    }
    Ok(output)
}

/// A failure by the service's own words: its class, whether to try again, and in the reply `{"message"}`, a text, or anything.
fn failed(error: &str, retryable: Option<&str>, output: Value) -> Failure {
    let said = output["message"].as_str().or(output.as_str());
    let said = said.filter(|said| !said.trim().is_empty());
    let said = said.map_or_else(
        || "it does not say why".to_owned(),
        |said| said[..said.floor_char_boundary(COMPLAINT_LENGTH_MAX)].to_owned(),
    );
    let retryable = match retryable {
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) | None => None,
    };
    if error == UNKNOWN {
        let message = format!("the service does not know whether it was done: {said}");
        return Failure::new(Class::Lost, message).with(output);
    }
    let message = format!("the service failed ({error}): {said}");
    let failure = Failure::new(Class::Service, message);
    failure.said(error.parse().ok(), retryable).with(output)
}
