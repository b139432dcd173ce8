//! Which traces are recorded: `OTEL_TRACES_SAMPLER`.

use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample as _};

use super::tracer::{TracesError, wrong};

pub(super) const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
pub(super) const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Which traces are recorded.
#[derive(Debug, Clone)]
pub(super) struct Sampling {
    /// By the trace's id alone, so that all processes agree on a run.
    base: Sampler,
    /// A caller that says what it does is followed.
    by_parent: bool,
}

impl Sampling {
    pub(super) fn read(name: Option<&str>, argument: Option<&str>) -> Result<Self, TracesError> {
        let name = name.unwrap_or("parentbased_always_on");
        let (rest, by_parent) = match name.strip_prefix("parentbased_") {
            Some(rest) => (rest, true),
            None => (name, false),
        };
        let base = match rest {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio(argument)?),
            _ => {
                return Err(wrong(
                    SAMPLER,
                    name,
                    "always_on, always_off or traceidratio, perhaps with `parentbased_` before it",
                ));
            }
        };
        Ok(Self { base, by_parent })
    }

    pub(super) fn takes(&self, trace: [u8; 16], asked: Option<bool>) -> bool {
        if let Some(asked) = asked.filter(|_| self.by_parent) {
            return asked;
        }
        let trace = TraceId::from_bytes(trace);
        let sampled = self
            .base
            .should_sample(None, trace, "", &SpanKind::Internal, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }
}

fn ratio(argument: Option<&str>) -> Result<f64, TracesError> {
    let Some(text) = argument else {
        return Ok(1.0);
    };
    let ratio = text.parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| wrong(SAMPLER_ARG, text, "a share from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(name: &str, argument: Option<&str>, asked: Option<bool>) -> bool {
        let sampling = Sampling::read(Some(name), argument).unwrap();
        sampling.takes([0x7f; 16], asked)
    }

    #[test]
    fn a_caller_is_followed_only_where_the_sampler_says_so() {
        assert!(takes("parentbased_always_off", None, Some(true)));
        assert!(!takes("parentbased_always_on", None, Some(false)));
        assert!(!takes("always_off", None, Some(true)));
        assert!(takes("always_on", None, Some(false)));
        assert!(!takes("parentbased_always_off", None, None));
        assert!(takes("parentbased_always_on", None, None));
    }

    #[test]
    fn a_share_of_traces_is_the_same_ones_everywhere() {
        let half = Sampling::read(Some("traceidratio"), Some("0.5")).unwrap();
        let traces = (1..=200_u128).map(|n| (n << 80) | n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let traces: Vec<[u8; 16]> = traces.map(u128::to_be_bytes).collect();
        let taken = |sampling: &Sampling| -> Vec<bool> {
            let taken = traces.iter().map(|trace| sampling.takes(*trace, None));
            taken.collect()
        };
        let first = taken(&half);
        assert_eq!(first, taken(&half.clone()));
        let count = first.iter().filter(|taken| **taken).count();
        assert!((60..140).contains(&count), "{count}");
        assert!(takes("traceidratio", None, None));
        assert!(!takes("traceidratio", Some("0"), None));
    }

    #[test]
    fn a_wrong_sampler_is_named_with_what_it_may_be() {
        let problem = Sampling::read(Some("sometimes"), None).unwrap_err();
        assert!(
            problem
                .to_string()
                .contains("OTEL_TRACES_SAMPLER is `sometimes`")
        );
        let problem = Sampling::read(Some("traceidratio"), Some("2")).unwrap_err();
        assert!(problem.to_string().contains("from 0 to 1"));
    }
}
