//! Server-sent events, as the WHATWG's HTML standard reads them (section 9.2.6).

use super::StreamError;

/// Largest single event, in bytes: a block that comes whole, such as a server tool's result, is the largest there is.
const EVENT_BYTES_MAX: usize = 4 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// Its `event`; empty if it has none.
    pub name: String,
    /// Its `data` lines, joined by line feeds.
    pub data: String,
}

/// Reads events out of bytes that come in chunks cut anywhere.
#[derive(Debug, Default)]
pub struct SseParser {
    /// The line so far.
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    /// The last byte was a carriage return, so that a line feed now belongs to it.
    returned: bool,
    /// A first line was read.
    begun: bool,
}

impl SseParser {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and gives the events that are whole with them. An event that the stream's end cuts off is none.
    ///
    /// # Errors
    /// [`StreamError::TooLarge`].
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<SseEvent>, StreamError> {
        let mut events = Vec::new();
        let mut rest = chunk;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.returned) && *first == b'\n' {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (part, ending) = rest.split_at(end.unwrap_or(rest.len()));
            let kept =
                self.line.len() + self.name.len() + self.data.as_ref().map_or(0, String::len);
            if kept + part.len() > EVENT_BYTES_MAX {
                return Err(StreamError::TooLarge(EVENT_BYTES_MAX));
            }
            self.line.extend_from_slice(part);
            let Some((ending, next)) = ending.split_first() else {
                break;
            };
            self.returned = *ending == b'\r';
            rest = next;
            events.extend(self.end_line());
        }
        Ok(events)
    }

    /// A line is whole; a blank one ends an event.
    fn end_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            return self.data.take().map(|data| SseEvent { name, data });
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            // A comment (no name before the colon), `id`, `retry`, or what is still to be invented.
            _ => {}
        }
        None
    }
}
