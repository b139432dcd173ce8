//! Blobs: what is too large for the journal, by reference. The bytes are in the object store; the journal, prompts and tools see
//! what is said here.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ids::{BlobId, hex};

/// The key by which a reference is known.
const KEY: &str = "$blob";
/// The key of a text's beginning, beside the reference.
const BEGINS: &str = "begins";
/// What is longer, in bytes of JSON, goes to the object store: eight results of it fill what NATS takes in one message.
pub const INLINE_BYTES_MAX: usize = 128 * 1024;
/// How much of a text is shown beside its reference, in bytes.
pub const BEGINS_BYTES_MAX: usize = 1024;
/// Longest media type, in bytes.
const TYPE_BYTES_MAX: usize = 200;
/// The type of what nothing is known of.
pub const BYTES: &str = "application/octet-stream";
/// The type of a text.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// The type of JSON.
pub const JSON: &str = "application/json";

/// A blob, as it is referred to. It says nothing of whose it is: a reference is looked up among the blobs of the run that uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Made of its type and digest, so that the same content of one run is kept once.
    pub id: BlobId,
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// Its media type, as whoever gave it says.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A value that begins as a reference and is none.
#[derive(Debug, thiserror::Error)]
#[error("`$blob` is no reference to a blob: {0}")]
pub struct NoReference(#[from] serde_json::Error);

/// What a parameter says of the blob that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of the reference, which must be true.
    Whole(Blob),
    /// Only which one.
    Id(BlobId),
}

impl Blob {
    /// What so many bytes with this digest are called.
    #[must_use]
    pub fn new(bytes: u64, digest: &[u8], kind: &str) -> Self {
        let sha256 = hex(digest);
        let kind = media_type(kind);
        let name = Sha256::new()
            .chain_update(kind.as_bytes())
            .chain_update([0])
            .chain_update(&sha256)
            .finalize();
        Self {
            id: BlobId::of_digest(&name),
            bytes,
            sha256,
            kind,
        }
    }

    /// `{"$blob": {"id", "bytes", "sha256", "type"}, "begins"?}`, as it stands in outputs and parameters.
    #[must_use]
    pub fn reference(&self, begins: Option<&str>) -> Value {
        let mut value = json!({KEY: self});
        if let Some(text) = begins.filter(|text| !text.is_empty()) {
            value[BEGINS] = text.into();
        }
        value
    }

    /// The blobs that a value refers to, however deep they are.
    pub fn all_in(value: &Value, found: &mut Vec<Self>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| Self::all_in(item, found)),
            Value::Object(map) => match map.get(KEY) {
                Some(told) => {
                    if let Ok(blob) = Self::deserialize(told)
                        && !found.contains(&blob)
                    {
                        found.push(blob);
                    }
                }
                None => map.values().for_each(|field| Self::all_in(field, found)),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

impl Wanted {
    /// The blob that a value means: a whole reference, or an id alone, as models write it. `None`: the value is none.
    ///
    /// # Errors
    /// [`NoReference`].
    pub fn read(value: &Value) -> Result<Option<Self>, NoReference> {
        if let Some(told) = value.get(KEY) {
            return Ok(Some(Self::Whole(Blob::deserialize(told)?)));
        }
        let id = value.as_str().and_then(|text| text.parse().ok());
        Ok(id.map(Self::Id))
    }

    /// Which one.
    #[must_use]
    pub fn id(&self) -> &BlobId {
        match self {
            Self::Whole(blob) => &blob.id,
            Self::Id(id) => id,
        }
    }

    /// Whether what is said of it is true.
    #[must_use]
    pub fn is(&self, blob: &Blob) -> bool {
        match self {
            Self::Whole(wanted) => wanted == blob,
            Self::Id(id) => *id == blob.id,
        }
    }
}

/// A type that can stand in a header, whatever a server said.
fn media_type(told: &str) -> String {
    let told = told.trim();
    let fits = told.len() <= TYPE_BYTES_MAX
        && told.contains('/')
        && told.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if fits { told } else { BYTES }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(kind: &str) -> Blob {
        Blob::new(3, &Sha256::digest("abc"), kind)
    }

    #[test]
    fn a_reference_is_read_as_it_was_written_and_by_its_id_alone() {
        let blob = blob(TEXT);
        let value = blob.reference(Some("ab"));
        assert_eq!(value["begins"], "ab");
        let whole = Wanted::read(&value).unwrap().unwrap();
        assert!(whole.is(&blob));
        let id = Wanted::read(&json!(blob.id)).unwrap().unwrap();
        assert!(id.is(&blob) && id.id() == whole.id());
        let mut longer = blob.clone();
        longer.bytes += 1;
        assert!(!whole.is(&longer));
        for none in [json!("text"), json!({"a": 1}), Value::Null] {
            assert_eq!(Wanted::read(&none).unwrap(), None);
        }
        assert!(Wanted::read(&json!({"$blob": {"id": "x"}})).is_err());
    }

    #[test]
    fn the_same_content_has_one_name_and_another_type_another() {
        assert_eq!(blob(TEXT), blob(TEXT));
        assert_ne!(blob(TEXT).id, blob(JSON).id);
        for strange in ["", "text", "text/pl\nain", &"x/".repeat(200)] {
            assert_eq!(blob(strange).kind, BYTES);
        }
    }

    #[test]
    fn all_blobs_of_a_value_are_found_once() {
        let (one, other) = (blob(TEXT).reference(None), blob(JSON).reference(Some("x")));
        let value = json!([one, {"deep": [other, one]}, {"$blob": 1}]);
        let mut found = Vec::new();
        Blob::all_in(&value, &mut found);
        assert_eq!(found, [blob(TEXT), blob(JSON)]);
    }
}
