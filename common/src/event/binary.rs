//! CloudEvents' binary mode: the attributes are headers, the data is the body. HTTP and NATS have it alike.

use serde_json::{Map, Value};

use super::{Event, EventError, content, limit, object::DATA_CONTENT_TYPE};

/// What the name of a header begins with that is an attribute; in lower case.
pub const ATTRIBUTE_PREFIX: &str = "ce-";
/// What the media type of a structured event begins with.
const STRUCTURED: &str = "application/cloudevents";
/// Longest name of an attribute. CloudEvents advises 20.
const NAME_LENGTH_MAX: usize = 64;

/// Whether a message with this content type holds its attributes itself, in whatever format.
#[must_use]
pub fn is_structured(content_type: &str) -> bool {
    let head = content_type.get(..STRUCTURED.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(STRUCTURED))
}

impl Event {
    /// Reads an event in binary mode, with data of at most `bytes_max`. `attributes` are the headers that begin with
    /// [`ATTRIBUTE_PREFIX`], in lower case and whole; `content_type` says what the data is, unless an attribute does.
    ///
    /// # Errors
    /// [`EventError`].
    pub fn binary<'h>(
        attributes: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        content_type: Option<&str>,
        body: &[u8],
        bytes_max: usize,
    ) -> Result<Self, EventError> {
        limit(body, bytes_max)?;
        let mut given = Map::new();
        for (header, value) in attributes {
            let name = name(header)?;
            let value = decoded(name, value)?;
            if given.insert(name.to_owned(), value.into()).is_some() {
                let told = format!("the header `{header}` is there twice");
                return Err(EventError::of(name, told));
            }
        }
        if let Some(kind) = content_type.filter(|_| !given.contains_key(DATA_CONTENT_TYPE)) {
            given.insert(DATA_CONTENT_TYPE.to_owned(), kind.into());
        }
        if !given.contains_key("specversion") {
            let told = "the header `ce-specversion` is missing";
            return Err(EventError::of("specversion", told));
        }
        let kind = given.get(DATA_CONTENT_TYPE).and_then(Value::as_str);
        let data = content::of_bytes(kind, body)?;
        given.insert("data".to_owned(), data);
        Self::of_value(Value::Object(given), None)
    }
}

/// The attribute that a header is.
fn name(header: &str) -> Result<&str, EventError> {
    let name = header.strip_prefix(ATTRIBUTE_PREFIX).unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_name = (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(fits);
    if is_name && name != "data" {
        return Ok(name);
    }
    let told = format!(
        "the header `{}` is no attribute: those are `ce-` and 1 to {NAME_LENGTH_MAX} of a-z 0-9",
        header.escape_debug()
    );
    Err(EventError::of("", told))
}

/// A header's value as its sender meant it: quotes around it go, and `%XX` is the byte XX of its UTF-8.
fn decoded(name: &str, value: &[u8]) -> Result<String, EventError> {
    let mut bytes = Vec::with_capacity(value.len());
    let unquoted = unquoted(value);
    let mut rest = unquoted.as_slice();
    while let [byte, tail @ ..] = rest {
        rest = match tail {
            [high, low, after @ ..]
                if *byte == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                bytes.push((digit(*high) << 4) | digit(*low));
                after
            }
            _ => {
                bytes.push(*byte);
                tail
            }
        };
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        let told = format!("`{name}` is no text in UTF-8, percent-encoded");
        EventError::of(name, told)
    })?;
    if text.chars().any(char::is_control) {
        let told = format!("`{name}` holds a control character, none may be in it");
        return Err(EventError::of(name, told));
    }
    Ok(text)
}

/// Without the quotes around it, and the backslashes that these call for.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let [b'"', inner @ .., b'"'] = value else {
        return value.to_vec();
    };
    let mut plain = Vec::with_capacity(inner.len());
    let mut is_escaped = false;
    for byte in inner {
        is_escaped = *byte == b'\\' && !is_escaped;
        if !is_escaped {
            plain.push(*byte);
        }
    }
    plain
}

/// The value of a hexadecimal digit; of what is none, 0.
fn digit(byte: u8) -> u8 {
    let value = char::from(byte).to_digit(16);
    value
        .and_then(|value| u8::try_from(value).ok())
        .unwrap_or(0)
}
