//! The bucket of blobs, laid out as NATS object stores are (ADR-20): `$O.<bucket>.M.<name in base64>`
//! says what an object is, `$O.<bucket>.C.<upload>` has its chunks. Our uploads begin with their run.

use crate::ids::{BlobId, RunId};

/// What is too large for the journal. Written by executors and gateways, read by both.
pub const BLOBS: &str = "BLOBS";
/// The stream that it is.
pub const STREAM: &str = "OBJ_BLOBS";
/// All chunks of all blobs.
pub const ALL_CHUNKS: &str = "$O.BLOBS.C.>";
/// What there is of all blobs.
pub const ALL_METAS: &str = "$O.BLOBS.M.>";

const CHUNKS: &str = "$O.BLOBS.C.";
const METAS: &str = "$O.BLOBS.M.";

/// What a blob is called: `<run>/<id>`.
#[must_use]
pub fn name(run: &RunId, id: &BlobId) -> String {
    format!("{run}/{id}")
}

/// Where it is said what a blob is.
#[must_use]
pub fn meta(run: &RunId, id: &BlobId) -> String {
    format!("{METAS}{}", base64(name(run, id).as_bytes()))
}

/// Characters of base64 that a run's id makes: its 36 bytes are a whole number of groups.
const RUN_CHARACTERS: usize = 48;

/// How the subjects begin where it is said what the blobs of a run are.
#[must_use]
pub fn metas_begin(run: &RunId) -> String {
    format!("{METAS}{}", base64(run.as_str().as_bytes()))
}

/// How such a subject begins, as [`metas_begin`] says it of its run.
#[must_use]
pub fn meta_begin(subject: &str) -> Option<&str> {
    subject.get(..METAS.len() + RUN_CHARACTERS)
}

/// One upload of a run's, as the object store calls it.
#[must_use]
pub fn upload(run: &RunId, token: u128) -> String {
    format!("{run}.{token:032x}")
}

/// Where the chunks of an upload are.
#[must_use]
pub fn chunks(upload: &str) -> String {
    format!("{CHUNKS}{upload}")
}

/// Where the chunks of all of a run's uploads are.
#[must_use]
pub fn chunks_of(run: &RunId) -> String {
    format!("{CHUNKS}{run}.>")
}

/// The run whose chunks are on a subject.
#[must_use]
pub fn run_of_chunks(subject: &str) -> Option<RunId> {
    let upload = subject.strip_prefix(CHUNKS)?;
    upload.split('.').next()?.parse().ok()
}

/// Base64 with the alphabet for URLs (RFC 4648, section 5), padded, as object stores have it.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let group = |part: &[u8]| {
        let byte = |at: usize| u32::from(part.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = move |at: usize| {
            let six = (bits >> (18 - 6 * at)) & 63;
            let found = ALPHABET.get(six as usize).copied();
            char::from(found.unwrap_or(b'='))
        };
        let digits = part.len() + 1;
        (0..4).map(move |at| if at < digits { digit(at) } else { '=' })
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_the_rfc_has_it() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "-__-");
    }

    #[test]
    fn whose_a_subject_is_can_be_told() {
        let run = |id| RunId::derive(&"w".parse().unwrap(), "s", id);
        let id: BlobId = format!("blob_{}", "0a".repeat(16)).parse().unwrap();
        let (ours, other) = (run("1"), run("2"));
        let (of_ours, of_other) = (meta(&ours, &id), meta(&other, &id));
        assert_eq!(meta_begin(&of_ours), Some(metas_begin(&ours).as_str()));
        assert_ne!(meta_begin(&of_other), meta_begin(&of_ours));
        let chunks = chunks(&upload(&ours, 7));
        assert_eq!(run_of_chunks(&chunks), Some(ours));
        assert_eq!(run_of_chunks("$O.BLOBS.C.by-hand"), None);
    }
}
