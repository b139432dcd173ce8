//! What a request is answered with: read up to a limit, or kept in the object store as it comes.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;
use flotilla_common::{
    blob::{BEGINS_BYTES_MAX, BYTES},
    depth::{DEPTH_MAX, is_within},
    io::blobs::{BlobError, Upload},
};
use reqwest::{
    Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap},
};
use serde_json::Value;

use super::{
    Scene,
    capture::Captured,
    failure::{Class, Failure},
    gzip::Body,
    http::{Target, failure},
    shelf::{not_kept, reference},
};

/// Compressed bytes that are unpacked at once: no deflate makes more than 1,032 times as much of them.
const PACKED_AT_ONCE: usize = 1024;

/// The beginning of an answer's body, as it is or unpacked.
pub(super) async fn read(
    response: &mut Response,
    target: &Target,
    limit: usize,
) -> Result<Captured, Failure> {
    let is_gzip = is_gzip(response.headers()) && response.content_length() != Some(0);
    let mut body: Option<Body> = None;
    while body.as_ref().is_none_or(|body| !body.is_over()) {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| failure(target, error))? else {
            break;
        };
        // Where nothing comes, as after HEAD, nothing is compressed either.
        let body = body.get_or_insert_with(|| Body::new(is_gzip, limit));
        body.push(&chunk).map_err(|error| broken(target, &error))?;
    }
    let body = body.unwrap_or_else(|| Body::new(false, limit));
    body.finish().map_err(|error| broken(target, &error))
}

/// Keeps an answer's body, and gives the reference to it; null where there is none.
pub(super) async fn keep(
    response: &mut Response,
    target: &Target,
    mut upload: Upload,
    scene: &Scene<'_>,
) -> Result<Value, Failure> {
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or(BYTES);
    let kind = kind.to_owned();
    let mut head = Captured::new(BEGINS_BYTES_MAX);
    match pass_on(response, target, &mut upload, &mut head).await {
        Ok(()) if head.is_empty() => Ok(Value::Null),
        Ok(()) => {
            let kept = upload.finish(&kind).await;
            let blob = kept.map_err(|error| unkept(target, &error))?;
            Ok(reference(&blob, &head, &scene.secrets))
        }
        Err(failure) => {
            upload.abandon().await;
            Err(failure)
        }
    }
}

async fn pass_on(
    response: &mut Response,
    target: &Target,
    upload: &mut Upload,
    head: &mut Captured,
) -> Result<(), Failure> {
    let mut unpacking = is_gzip(response.headers()).then(|| MultiGzDecoder::new(Vec::new()));
    let mut came = false;
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failure(target, error))?
    {
        came |= !chunk.is_empty();
        let Some(decoder) = &mut unpacking else {
            head.push(&chunk);
            let pushed = upload.push(&chunk).await;
            pushed.map_err(|error| unkept(target, &error))?;
            continue;
        };
        for part in chunk.chunks(PACKED_AT_ONCE) {
            let unpacked = decoder.write_all(part).and_then(|()| decoder.flush());
            unpacked.map_err(|error| broken(target, &error))?;
            let unpacked = std::mem::take(decoder.get_mut());
            head.push(&unpacked);
            let pushed = upload.push(&unpacked).await;
            pushed.map_err(|error| unkept(target, &error))?;
        }
    }
    if let Some(decoder) = unpacking.filter(|_| came) {
        let rest = decoder.finish().map_err(|error| broken(target, &error))?;
        head.push(&rest);
        let pushed = upload.push(&rest).await;
        pushed.map_err(|error| unkept(target, &error))?;
    }
    Ok(())
}

fn unkept(target: &Target, error: &BlobError) -> Failure {
    not_kept(&format!("{target}: the answer"), error)
}

fn broken(target: &Target, error: &std::io::Error) -> Failure {
    let message = format!("{target}: what came is not compressed as it says: {error}");
    Failure::new(Class::Reply, message)
}

/// A body as it stands in an output, and whether something is missing.
pub(super) fn content(headers: &HeaderMap, body: &Captured, scene: &Scene<'_>) -> (Value, bool) {
    if body.is_empty() && !body.is_over() {
        return (Value::Null, false);
    }
    if is_json(headers) && !body.is_over() {
        let value = serde_json::from_slice::<Value>(body.bytes());
        // What grows on its way through the parser (1e15) beyond all measure stays the text it was; so does what is nested so
        // deep that the entry around it could be written, but never read.
        let bound = body.bytes().len().saturating_mul(2);
        if let Ok(value) = value
            && is_within(&value, DEPTH_MAX)
            && value.to_string().len() <= bound
        {
            return (value, false);
        }
    }
    let (text, truncated) = body.text(&scene.secrets);
    (text.into(), truncated)
}

fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get(CONTENT_ENCODING);
    let encoding = encoding.and_then(|encoding| encoding.to_str().ok());
    encoding.is_some_and(|encoding| matches!(encoding.trim(), "gzip" | "x-gzip"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| {
        let kind = kind.trim().to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json")
    })
}
