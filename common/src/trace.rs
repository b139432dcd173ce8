//! W3C trace context, and the traces and spans that follow from what they are about: one trace a run, whose id is the run's, and
//! spans that any process can name without having heard of them. So neither a crash nor a redelivery tears a trace apart.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

use crate::ids::{RunId, Slot, hex};

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// A span of a trace: what a `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, never zero.
    pub trace: [u8; 16],
    /// The span, never zero.
    pub span: [u8; 8],
    /// Whether who made it records it.
    pub sampled: bool,
}

/// What is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct NoTraceparent;

impl TraceContext {
    /// The span that is a whole run: the root of its trace.
    #[must_use]
    pub fn of_run(run: &RunId, sampled: bool) -> Self {
        Self::named(run, &format!("run\0{run}"), sampled)
    }

    /// The span that is an action, whoever does it and however often it is tried: the parent of the tool's own spans.
    #[must_use]
    pub fn of_action(run: &RunId, slot: &Slot, sampled: bool) -> Self {
        Self::named(run, &slot.idempotency_key(run), sampled)
    }

    /// The span in which the decision of that sequence was written.
    #[must_use]
    pub fn of_decision(run: &RunId, seq: u64, sampled: bool) -> Self {
        Self::named(run, &format!("decided\0{run}\0{seq}"), sampled)
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn beside(self, span: [u8; 8]) -> Self {
        Self { span, ..self }
    }

    fn named(run: &RunId, name: &str, sampled: bool) -> Self {
        let digest = Sha256::digest(name);
        let mut span = [0; 8];
        span.copy_from_slice(&digest[..8]);
        Self {
            trace: trace_of(run),
            span,
            sampled,
        }
    }
}

/// The trace of a run: its id's 32 hex characters.
#[must_use]
pub fn trace_of(run: &RunId) -> [u8; 16] {
    let digits = run.as_str().trim_start_matches("run_");
    bytes(digits).unwrap_or_default()
}

/// Bytes of lower-case hex; `None` where it is not that, or all of it zero.
fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() != 2 * N || !digits.bytes().all(is_hex) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    (bytes != [0; N]).then_some(bytes)
}

impl FromStr for TraceContext {
    type Err = NoTraceparent;

    /// Reads a `traceparent` of version 00, or what a later version has in common with it.
    fn from_str(text: &str) -> Result<Self, NoTraceparent> {
        let read = || {
            let known = text.get(..LENGTH)?;
            let rest = text.get(LENGTH..)?;
            let mut parts = known.split('-');
            let (version, trace) = (parts.next()?, parts.next()?);
            let (span, flags) = (parts.next()?, parts.next()?);
            let is_later = version != "00" && version != "ff";
            let is_whole = rest.is_empty() || (is_later && rest.starts_with('-'));
            if parts.next().is_some() || version.len() != 2 || version == "ff" || !is_whole {
                return None;
            }
            u8::from_str_radix(version, 16).ok()?;
            let flags = u8::from_str_radix(flags.get(..2)?, 16).ok()?;
            Some(Self {
                trace: bytes(trace)?,
                span: bytes(span)?,
                sampled: flags & 1 == 1,
            })
        };
        read().ok_or(NoTraceparent)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (hex(&self.trace), hex(&self.span));
        write!(f, "00-{trace}-{span}-0{}", u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_reads_back_as_written() -> Result<(), NoTraceparent> {
        let context: TraceContext = SENT.parse()?;
        assert!(context.sampled);
        assert_eq!(context.to_string(), SENT);
        let unsampled = SENT.replace("-01", "-00").parse::<TraceContext>()?;
        assert!(!unsampled.sampled);
        let later = format!("{}-more", SENT.replacen("00", "01", 1));
        assert_eq!(later.parse::<TraceContext>()?, context);
        Ok(())
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for wrong in [
            "",
            "00-1",
            &SENT[1..],
            &format!("{SENT}-more"),
            &SENT.replacen("00", "ff", 1),
            &SENT.to_uppercase(),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é",
        ] {
            assert!(wrong.parse::<TraceContext>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_spans_of_a_run_follow_from_what_they_are_about() -> Result<(), Box<dyn std::error::Error>>
    {
        let run = RunId::derive(&"w".parse()?, "s", "1");
        let slot: Slot = "triage/2".parse()?;
        let root = TraceContext::of_run(&run, true);
        let action = TraceContext::of_action(&run, &slot, true);
        assert_eq!(format!("run_{}", hex(&root.trace)), run.as_str());
        assert_eq!(action.trace, root.trace);
        assert_ne!(action.span, root.span);
        assert_eq!(action.to_string(), slot.traceparent(&run));
        let decisions = [7, 8].map(|seq| TraceContext::of_decision(&run, seq, true).span);
        assert_ne!(decisions[0], decisions[1]);
        Ok(())
    }
}
