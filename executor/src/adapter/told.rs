//! What a failure says to those who decide whether to call again.

use std::time::Duration;

use flotilla_common::{
    definition::{Fault, Tool},
    io::clock,
};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::failure::{Class, Failure};

/// The HTTP status of a server that is not there for now.
const UNAVAILABLE: u16 = 503;

/// What retries and breakers go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) class: Class,
    /// As definitions name it; `None` for what no policy is about.
    pub(crate) fault: Option<Fault>,
    /// How long the other side wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    /// What it says to those who decide whether to call again.
    pub(super) fn told(&self) -> Told {
        let number = |field: &str| self.output.as_ref()?.get(field)?.as_u64();
        let fault = match self.class {
            Class::Timeout => Some(Fault::Timeout),
            Class::Connect => Some(Fault::Connect),
            Class::Network => Some(Fault::Network),
            Class::Spawn => Some(Fault::Spawn),
            Class::Signal => Some(Fault::Signal),
            Class::Lost => Some(Fault::Lost),
            Class::Status => {
                let code = number("status").and_then(|code| u16::try_from(code).ok());
                Some(Fault::Status(code))
            }
            Class::Exit => {
                let code = number("exit_code").and_then(|code| u8::try_from(code).ok());
                Some(Fault::Exit(code))
            }
            // The service knows best: as one that is not there for now.
            Class::Service if self.retryable() == Some(true) => {
                Some(Fault::Status(Some(UNAVAILABLE)))
            }
            Class::Service
            | Class::Reply
            | Class::Changed
            | Class::Config
            | Class::Input
            | Class::Refused
            | Class::Redirect
            | Class::Output
            | Class::UnknownTool
            | Class::SwitchedOff
            | Class::TooLarge
            | Class::Ended
            | Class::GivenUp => None,
        };
        Told {
            class: self.class,
            fault,
            retry_after: self.retry_after(),
        }
    }
}

/// What a tool returned, if it is what the tool says that it returns.
pub(super) fn fitting(tool: &Tool, output: Value) -> Result<Value, Failure> {
    let checked = tool.output.as_ref().map(|schema| schema.check(&output));
    match checked {
        None | Some(Ok(())) => Ok(output),
        Some(Err(faults)) => {
            let message = format!(
                "`{}` was run, and what it returned does not fit its `output`: {faults}",
                tool.name
            );
            Err(Failure::new(Class::Output, message).with(output))
        }
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110); one that is over says nothing.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let left = date.timestamp().duration_since(clock::now());
    Duration::try_from(left).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use serde_json::json;

    use super::*;

    fn after(text: &'static str) -> Option<Duration> {
        let value = (RETRY_AFTER, HeaderValue::from_static(text));
        retry_after(&[value].into_iter().collect())
    }

    #[test]
    fn a_time_to_be_left_alone_is_read_in_seconds_and_as_a_date() {
        assert_eq!(after(" 7 "), Some(Duration::from_secs(7)));
        assert!(after("Tue, 31 Dec 2199 23:59:59 GMT") > Some(Duration::from_secs(3_600)));
        for nothing in ["Sun, 06 Nov 1994 08:49:37 GMT", "soon", "-1", ""] {
            assert_eq!(after(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_failure_names_its_kind_with_its_code() {
        let status = Failure::new(Class::Status, "no").with(json!({"status": 503}));
        assert_eq!(status.told().fault, Some(Fault::Status(Some(503))));
        let exit = Failure::new(Class::Exit, "no").with(json!({"exit_code": 75}));
        assert_eq!(exit.told().fault, Some(Fault::Exit(Some(75))));
        assert_eq!(Failure::new(Class::Output, "no").told().fault, None);
        let busy = |retryable| Failure::new(Class::Service, "no").said(None, retryable);
        assert_eq!(
            busy(Some(true)).told().fault,
            Some(Fault::Status(Some(503)))
        );
        assert_eq!(busy(Some(false)).told().fault, None);
        let later = Failure::new(Class::Status, "no").after(Some(Duration::from_secs(3)));
        assert_eq!(later.told().retry_after, Some(Duration::from_secs(3)));
    }
}
