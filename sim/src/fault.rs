//! Faults on demand: what goes wrong with a call besides what the model answers.

use crate::dice::Dice;
use crate::error::{ApiError, RawBody, kind_of};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// One fault, and which calls it is for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The beginning of the model ids it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Only requests of batches, or only others.
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<bool>,
    /// Share of the calls, 0 to 1; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// Calls it is still for; absent: no end. One with 0 keeps its place, on which the chance of the others depends.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// `error.type`; absent: the one that goes with the status.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Box<serde_json::Value>>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// The header `x-should-retry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    should_retry: Option<bool>,
    /// A body in place of the API's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// How long `hang` hangs, and the pause of `slow_first_byte` and between the pieces of `trickle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    /// Events of a stream that still arrive whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after_events: Option<usize>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// An error in place of the answer.
    #[default]
    Error,
    /// Silence until the faults are set anew, then the answer.
    Hang,
    SlowFirstByte,
    /// The answer in small pieces.
    Trickle,
    CutStream,
    CutBody,
    /// The connection ends before any byte.
    Close,
    MalformedJson,
    MalformedEvent,
    ErrorEvent,
    UnknownEvent,
    UnknownBlock,
    UnknownStopReason,
    EmptyContent,
    /// A request of a batch is not processed in time.
    Expire,
}

impl Kind {
    /// As the ledger calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Hang => "hang",
            Self::SlowFirstByte => "slow_first_byte",
            Self::Trickle => "trickle",
            Self::CutStream => "cut_stream",
            Self::CutBody => "cut_body",
            Self::Close => "close",
            Self::MalformedJson => "malformed_json",
            Self::MalformedEvent => "malformed_event",
            Self::ErrorEvent => "error_event",
            Self::UnknownEvent => "unknown_event",
            Self::UnknownBlock => "unknown_block",
            Self::UnknownStopReason => "unknown_stop_reason",
            Self::EmptyContent => "empty_content",
            Self::Expire => "expire",
        }
    }

    /// Whether it can befall a message of its own, and whether a request of a batch.
    fn befalls(self, batch: bool) -> bool {
        match self {
            Self::Error | Self::UnknownBlock | Self::UnknownStopReason | Self::EmptyContent => true,
            Self::Expire => batch,
            Self::Hang
            | Self::SlowFirstByte
            | Self::Trickle
            | Self::CutStream
            | Self::CutBody
            | Self::Close
            | Self::MalformedJson
            | Self::MalformedEvent
            | Self::ErrorEvent
            | Self::UnknownEvent => !batch,
        }
    }
}

impl Fault {
    /// What is wrong with it, in the API's way of saying so.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let wrong_status = match (self.kind, self.status) {
            (Kind::Error, None) => true,
            (_, Some(status)) => !(400..=599).contains(&status),
            (_, None) => false,
        };
        if wrong_status {
            return Some("faults.status: Input should be between 400 and 599");
        }
        if self.rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Some("faults.rate: Input should be between 0 and 1");
        }
        None
    }

    fn is_for(&self, model: &str, batch: bool) -> bool {
        self.count != Some(0)
            && self.kind.befalls(batch)
            && self.batch.is_none_or(|own| own == batch)
            && self
                .model
                .as_deref()
                .is_none_or(|own| model.starts_with(own))
    }

    /// The error it answers with, or sends in a stream.
    pub(crate) fn error(&self) -> ApiError {
        let status = self.status.unwrap_or(529);
        let raw = self.body.as_ref().map(|body| {
            Box::new(RawBody {
                content_type: self
                    .content_type
                    .clone()
                    .unwrap_or_else(|| "text/html".to_owned()),
                body: body.clone(),
            })
        });
        ApiError {
            status,
            kind: self
                .error
                .clone()
                .unwrap_or_else(|| kind_of(status).to_owned()),
            message: self
                .message
                .clone()
                .unwrap_or_else(|| "asked for by the simulation's settings".to_owned()),
            details: self.details.clone(),
            retry_after: self.retry_after,
            retry_after_ms: self.retry_after_ms,
            should_retry: self.should_retry,
            raw,
        }
    }

    /// The pause it makes, or this one where it names none.
    pub(crate) fn delay(&self, default: Duration) -> Duration {
        self.delay_ms.map_or(default, Duration::from_millis)
    }
}

/// The fault of one call: the script's next, if one is set, else the first of the list that hits. Counts it.
pub(crate) fn choose(
    script: &mut VecDeque<Option<Fault>>,
    faults: &mut [Fault],
    model: &str,
    batch: bool,
    dice: Dice,
) -> Option<Fault> {
    match script.front() {
        Some(None) => {
            script.pop_front();
            return None;
        }
        Some(Some(next)) if next.is_for(model, batch) => return script.pop_front().flatten(),
        Some(Some(_)) | None => {}
    }
    let hits = |(index, fault): &(usize, &Fault)| {
        fault.is_for(model, batch)
            && fault
                .rate
                .is_none_or(|rate| dice.throw(&format!("fault {index}")) < rate)
    };
    let index = faults.iter().enumerate().find(hits)?.0;
    let fault = faults.get_mut(index)?;
    let chosen = fault.clone();
    if let Some(count) = &mut fault.count {
        *count = count.saturating_sub(1);
    }
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn faults(list: Value) -> Vec<Fault> {
        serde_json::from_value(list).unwrap()
    }

    fn dice(attempt: u32) -> Dice {
        Dice::new(7, &[1; 32], attempt)
    }

    fn next(faults: &mut [Fault], model: &str, attempt: u32) -> Option<u16> {
        choose(&mut VecDeque::new(), faults, model, false, dice(attempt))
            .and_then(|fault| fault.status)
    }

    #[test]
    fn a_counted_fault_ends_by_itself_and_lets_the_next_one_hit() {
        let mut list = faults(json!([{"status": 529, "count": 2}, {"status": 500}]));
        let got: Vec<_> = (0..4).map(|n| next(&mut list, "m", n)).collect();
        assert_eq!(got, [Some(529), Some(529), Some(500), Some(500)]);
    }

    #[test]
    fn a_rate_hits_its_share_and_the_same_calls_again() {
        let hits = || {
            let mut list = faults(json!([{"status": 503, "rate": 0.2}]));
            (0..1000)
                .filter(|n| next(&mut list, "m", *n).is_some())
                .collect::<Vec<_>>()
        };
        assert!((150..250).contains(&hits().len()), "{}", hits().len());
        assert_eq!(hits(), hits());
    }

    #[test]
    fn a_fault_for_one_model_leaves_the_others_alone() {
        let mut list = faults(json!([{"status": 529, "model": "claude-opus"}]));
        assert_eq!(next(&mut list, "claude-haiku-4-5", 0), None);
        assert_eq!(next(&mut list, "claude-opus-5", 0), Some(529));
    }

    #[test]
    fn a_script_is_used_up_in_its_order() {
        let mut script: VecDeque<Option<Fault>> = serde_json::from_value(
            json!([{"status": 500}, null, {"kind": "close", "model": "claude-opus"}, {"status": 401}]),
        )
        .unwrap();
        let mut next = |model: &str| {
            choose(&mut script, &mut [], model, false, dice(0)).map(|fault| fault.kind.name())
        };
        assert_eq!((next("m"), next("m")), (Some("error"), None));
        assert_eq!(next("claude-haiku-4-5"), None, "the next one is not for it");
        assert_eq!(
            (next("claude-opus-5"), next("m")),
            (Some("close"), Some("error"))
        );
        assert_eq!(next("m"), None);
    }

    #[test]
    fn a_fault_that_means_nothing_is_refused() {
        for wrong in [
            json!({}),
            json!({"status": 200}),
            json!({"kind": "close", "rate": 2}),
        ] {
            let fault: Fault = serde_json::from_value(wrong.clone()).unwrap();
            assert!(fault.problem().is_some(), "{wrong}");
        }
        assert!(serde_json::from_value::<Fault>(json!({"sattus": 500})).is_err());
    }
}
