//! The object store, as calls use it: what they keep there, and what they are given from it.
//!
//! A reference comes from models and events, so it is believed only as far as it names a blob of the call's own run, or of a run that
//! this one has its data from, and says nothing false of it.

mod folder;

use flotilla_common::{
    blob::{BEGINS_BYTES_MAX, Blob, INLINE_BYTES_MAX, JSON, TEXT, Wanted},
    io::blobs::{BlobError, Blobs, Found, Upload},
};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{
    Call,
    capture::Captured,
    failure::{Class, Failure},
    redact::Secrets,
};

pub(super) use folder::{Folder, clean_up};

/// Fields of one output that may go to the object store each by itself.
const FIELDS_MAX: usize = 4;

/// The object store; without NATS there is none.
#[derive(Debug, Clone, Default)]
pub(super) struct Shelf(Option<Blobs>);

impl Shelf {
    pub(super) fn new(blobs: Blobs) -> Self {
        Self(Some(blobs))
    }

    /// The store itself.
    pub(super) fn blobs(&self) -> Result<&Blobs, Failure> {
        self.0.as_ref().ok_or_else(|| {
            let message = "blobs need NATS, and there is no connection to it here";
            Failure::new(Class::Config, message)
        })
    }

    /// Begins to keep something for a call's run.
    pub(super) fn upload(&self, call: &Call<'_>, limit: u64) -> Result<Upload, Failure> {
        Ok(self.blobs()?.upload(call.run, limit))
    }

    /// The blob that a parameter means. What is not the run's to use is refused.
    pub(super) async fn find(
        &self,
        call: &Call<'_>,
        place: &str,
        value: &Value,
    ) -> Result<Found, Failure> {
        let wanted = Wanted::read(value)
            .map_err(|error| Failure::new(Class::Input, format!("{place}: {error}")))?;
        let wanted = wanted.ok_or_else(|| {
            let message = format!("{place} is neither a reference to a blob nor the id of one");
            Failure::new(Class::Input, message)
        })?;
        let found = self.blobs()?.find_for(call.run, wanted.id()).await;
        let found = found.map_err(|error| not_read(&error))?;
        found.filter(|found| wanted.is(&found.blob)).ok_or_else(|| {
            let message = format!(
                "{place}: this run has no blob {} as it is described there",
                wanted.id()
            );
            Failure::new(Class::Refused, message)
        })
    }

    /// The parameters as a program gets them, with the path of a file for each blob; and the folder of those files, which goes when
    /// it is dropped.
    pub(super) async fn files(&self, call: &Call<'_>) -> Result<Option<(Value, Folder)>, Failure> {
        let names = call.tool.input.blob_paths();
        let given: Vec<_> = names
            .filter_map(|name| Some((name, call.input.get(name)?)))
            .collect();
        if given.is_empty() {
            return Ok(None);
        }
        let fetching = async {
            let not_made = |error: std::io::Error| {
                let message = format!("no file can be made for a blob: {error}");
                Failure::new(Class::Config, message)
            };
            let folder = Folder::new().map_err(not_made)?;
            let mut input = call.input.clone();
            for (at, (name, value)) in given.into_iter().enumerate() {
                let found = self
                    .find(call, &format!("parameter `{name}`"), value)
                    .await?;
                let path = folder.file(at);
                let mut file = folder.create(&path).await.map_err(not_made)?;
                let mut content = std::pin::pin!(self.blobs()?.read(&found));
                while let Some(chunk) = content.next().await {
                    let chunk = chunk.map_err(|error| not_read(&error))?;
                    file.write_all(&chunk).await.map_err(not_made)?;
                }
                file.flush().await.map_err(not_made)?;
                input[name] = path.display().to_string().into();
            }
            Ok(Some((input, folder)))
        };
        let limit = call.tool.timeout;
        timeout(limit, fetching).await.unwrap_or_else(|_| {
            let message = format!("its blobs were not there within {limit:?}");
            Err(Failure::new(Class::Connect, message))
        })
    }

    /// The output with its largest fields in the object store, as far as it is too large for the journal. Where that cannot be had,
    /// it stays as it is: it is bounded by the tool's `output_limit`.
    pub(super) async fn shortened(
        &self,
        call: &Call<'_>,
        mut output: Value,
        secrets: &Secrets,
    ) -> Value {
        let Some(blobs) = &self.0 else { return output };
        for _ in 0..FIELDS_MAX {
            if output.to_string().len() <= INLINE_BYTES_MAX {
                break;
            }
            let field = match &mut output {
                Value::Object(fields) => fields
                    .values_mut()
                    .max_by_key(|value| value.to_string().len()),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => Some(&mut output),
            };
            let Some(field) = field else { break };
            let (bytes, kind) = match &*field {
                Value::String(text) => (text.clone().into_bytes(), TEXT),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => (field.to_string().into_bytes(), JSON),
            };
            let (head, limit) = (Captured::of(&bytes), bytes.len() as u64);
            let source = stream::iter([Ok(bytes.into())]);
            let keeping = blobs.put(call.run, kind, source, limit);
            match timeout(call.tool.timeout, keeping).await {
                Ok(Ok(blob)) => *field = reference(&blob, &head, secrets),
                Ok(Err(_)) | Err(_) => break,
            }
        }
        output
    }
}

impl Captured {
    /// The beginning of what is kept whole elsewhere.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut head = Self::new(BEGINS_BYTES_MAX);
        head.push(bytes);
        head
    }
}

/// A blob with its beginning, where that is a text.
pub(super) fn reference(blob: &Blob, head: &Captured, secrets: &Secrets) -> Value {
    blob.reference(head.begins(secrets).as_deref())
}

/// What came of the tool's work, and could not be kept.
pub(super) fn not_kept(what: &str, error: &BlobError) -> Failure {
    let class = match error {
        BlobError::TooLarge { .. } => Class::TooLarge,
        BlobError::Unavailable(_) | BlobError::Damaged { .. } | BlobError::Source(_) => {
            Class::Network
        }
    };
    Failure::new(class, format!("{what} cannot be kept: {error}"))
}

/// What the tool was to be given, and cannot; nothing was done.
fn not_read(error: &BlobError) -> Failure {
    let class = match error {
        BlobError::Damaged { .. } => Class::Refused,
        BlobError::Unavailable(_) | BlobError::TooLarge { .. } | BlobError::Source(_) => {
            Class::Connect
        }
    };
    Failure::new(class, error.to_string())
}
