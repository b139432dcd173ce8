//! How log lines look. As JSON, what is known of where a line comes from stands beside what it says: the run, the step, the tool, and
//! where traces are on, the trace and the span.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber, field::Visit};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::{JsonFields, Writer},
    },
    registry::LookupSpan,
};

use super::{TelemetryError, span};
use crate::ids::hex;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text {
        /// With colours.
        colour: bool,
    },
    /// One JSON object a line.
    Json,
}

/// What a filter begins with. `rmcp` logs what MCP servers send as it is, what should be redacted included; whoever wants that for a
/// search asks for it in `RUST_LOG`.
const QUIET: &str = "rmcp=off";

/// Sets up logs on standard error. `filter` is `RUST_LOG`, with `default` when it is not set.
///
/// # Errors
/// [`TelemetryError`].
pub fn init_logs(
    filter: Option<&str>,
    default: &str,
    format: LogFormat,
) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(format!("{QUIET},{}", filter.unwrap_or(default)))
        .map_err(TelemetryError::Filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Json => builder
            .fmt_fields(JsonFields::new())
            .event_format(Flat)
            .try_init(),
        LogFormat::Text { colour } => builder.with_ansi(colour).with_target(false).try_init(),
    };
    set.map_err(|_| TelemetryError::Logging)
}

/// A line as one JSON object without others in it: when, how bad, what the event says, and what the spans around it say, the
/// innermost first.
#[derive(Debug)]
struct Flat;

impl<S, N> FormatEvent<S, N> for Flat
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Line(Map::new());
        line.add("timestamp", jiff::Timestamp::now().to_string().into());
        line.add("level", metadata.level().as_str().into());
        event.record(&mut line);
        line.add("target", metadata.target().into());
        let spans = context.event_scope().into_iter().flatten();
        for (depth, around) in spans.enumerate() {
            if depth == 0 {
                line.add("doing", around.name().into());
            }
            let extensions = around.extensions();
            let Some(fields) = extensions.get::<FormattedFields<N>>() else {
                continue;
            };
            let fields = serde_json::from_str(&fields.fields);
            for (name, value) in fields.unwrap_or_else(|_| Map::new()) {
                line.add(&name, value);
            }
        }
        if let Some(here) = span::current() {
            line.add("trace_id", hex(&here.trace).into());
            line.add("span_id", hex(&here.span).into());
        }
        let text = serde_json::to_string(&line.0).map_err(|_| fmt::Error)?;
        writeln!(writer, "{text}")
    }
}

/// The fields of a line; the first of a name stands.
struct Line(Map<String, Value>);

impl Line {
    fn add(&mut self, name: &str, value: Value) {
        // What came by the facade `log` says in fields where it is from.
        let name = match name.strip_prefix("log.") {
            Some("target") => "target",
            Some(_) => return,
            None => name,
        };
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), value);
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.add(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.add(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &tracing::field::Field, value: bool) {
        self.add(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &tracing::field::Field, value: i64) {
        self.add(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        self.add(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &tracing::field::Field, value: f64) {
        self.add(field.name(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_the_spans_around_a_line_say_stands_in_it() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields::new())
            .event_format(Flat)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let plan = tracing::info_span!("plan", run = "run_1", seq = 7);
            let _plan = plan.enter();
            let ask = tracing::info_span!("ask", step = %"triage/2", seq = 8);
            let _ask = ask.enter();
            tracing::info!(tries = 2, well = true, run = "run_own", "a \"word\"\n");
        });
        let bytes = kept.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "a \"word\"\n");
        assert_eq!(
            (&line["level"], &line["tries"], &line["well"]),
            (&"INFO".into(), &2.into(), &true.into())
        );
        // What the event says goes before what is around it, and the inner before the outer.
        assert_eq!((&line["run"], &line["seq"]), (&"run_own".into(), &8.into()));
        assert_eq!(
            (&line["step"], &line["doing"]),
            (&"triage/2".into(), &"ask".into())
        );
        assert!(
            line["timestamp"]
                .as_str()
                .is_some_and(|at| at.ends_with('Z'))
        );
    }
}
