//! What a tool returns, up to a limit.

use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{keeping::Keeping, redact::Secrets};

const CHUNK: usize = 16 * 1024;

/// The first bytes of an output.
#[derive(Debug)]
pub(super) struct Captured {
    bytes: Vec<u8>,
    limit: usize,
    over: bool,
}

impl Captured {
    /// Nothing yet, and at most `limit` bytes later.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            over: false,
        }
    }

    /// Takes what there is room for.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        let room = self.limit - self.bytes.len();
        self.over |= chunk.len() > room;
        self.bytes
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    /// Whether there was more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether there was nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads to the end. What is over the limit is read and dropped, so that the writer is not blocked; all of it goes to whoever
    /// keeps it.
    pub(super) async fn fill(
        &mut self,
        reader: Option<impl AsyncRead>,
        mut keeping: Option<&mut Keeping>,
    ) {
        let Some(reader) = reader else { return };
        let mut reader: Pin<&mut _> = std::pin::pin!(reader);
        let mut chunk = vec![0; CHUNK];
        // A broken pipe is the end of the output; how the program ended says the rest.
        while let Ok(length @ 1..) = reader.read(&mut chunk).await {
            self.push(&chunk[..length]);
            if let Some(keeping) = &mut keeping {
                keeping.push(&chunk[..length]).await;
            }
        }
    }

    /// As [`Captured::text`], of what is kept whole elsewhere; `None`: it is no text.
    pub(super) fn begins(&self, secrets: &Secrets) -> Option<String> {
        let bytes = if self.over {
            complete(&self.bytes)
        } else {
            &self.bytes
        };
        let text = std::str::from_utf8(bytes).ok()?;
        let is_plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
        text.chars().all(is_plain).then(|| self.text(secrets).0)
    }

    /// As text without secrets, and whether something is missing. At most `limit` bytes of JSON: what is escaped there, and
    /// what was no UTF-8, counts as long as it becomes.
    pub(super) fn text(&self, secrets: &Secrets) -> (String, bool) {
        let bytes = if self.over {
            complete(&self.bytes)
        } else {
            &self.bytes
        };
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        if self.over {
            secrets.drop_begun(&mut text);
        }
        let mut text = secrets.text(&text);
        let cut = cut(&mut text, self.limit);
        (text, self.over || cut)
    }
}

/// The bytes without a character that is cut off at their end.
fn complete(bytes: &[u8]) -> &[u8] {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let needed = match bytes[at] {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => return bytes,
        };
        return if needed > back { &bytes[..at] } else { bytes };
    }
    bytes
}

/// Cuts a text to `limit` bytes as they are in JSON; whether it had to.
fn cut(text: &mut String, limit: usize) -> bool {
    let mut length = 0;
    for (at, c) in text.char_indices() {
        length += match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6,
            c => c.len_utf8(),
        };
        if length > limit {
            text.truncate(at);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn captured(limit: usize, bytes: &[u8]) -> (String, bool) {
        let mut captured = Captured::new(limit);
        captured.push(bytes);
        captured.text(&Secrets::of(
            &[("KEY".to_owned(), "abcdef".to_owned())].into(),
        ))
    }

    #[test]
    fn no_text_is_longer_than_its_limit_as_json() {
        for bytes in [
            &[0u8; 500][..],
            &[0xff; 500],
            &[b'"'; 500],
            "é".repeat(250).as_bytes(),
        ] {
            let (text, truncated) = captured(99, bytes);
            assert!(Value::from(text).to_string().len() <= 99 + 2);
            assert!(truncated);
        }
        assert_eq!(captured(4, b"four"), ("four".to_owned(), false));
    }

    #[test]
    fn a_cut_leaves_no_half_character_and_no_half_secret() {
        assert_eq!(captured(4, "aéé".as_bytes()), ("aé".to_owned(), true));
        assert_eq!(captured(5, "a€€".as_bytes()), ("a€".to_owned(), true));
        assert_eq!(captured(6, b"x abcdef"), ("x ".to_owned(), true));
        assert_eq!(
            captured(20, b"abcdef"),
            ("[redacted:KEY]".to_owned(), false)
        );
    }
}
