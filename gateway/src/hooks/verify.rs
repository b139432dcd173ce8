//! Signatures of webhooks, over the bytes as they came. Everything secret is compared in a time that says nothing of it.

use axum::http::{HeaderMap, StatusCode};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use flotilla_common::{
    definition::{Digest, Encoding, Verify},
    io::http::Problem,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;

/// How old, or how far ahead, a signed time may be: standardwebhooks.com advises five minutes.
const TOLERANCE_SECONDS: i64 = 300;
/// Signatures of one request that are looked at: one for each secret of a sender that changes them.
const SIGNATURES_MAX: usize = 16;
/// What a secret of Standard Webhooks begins with.
const SECRET_PREFIX: &str = "whsec_";
/// The one kind of signature with a shared secret.
const VERSION: &str = "v1,";

const ID: &str = "webhook-id";
const TIME: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
const GITHUB: &str = "x-hub-signature-256";
const AUTHORIZATION: &str = "authorization";

/// Why a request is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the header `{0}` is missing, is there twice, or cannot be read")]
    Header(String),
    #[error("its time is more than five minutes from now: an old request is not taken again")]
    Time,
    #[error("its signature does not fit")]
    Signature,
}

impl Refused {
    /// A 401.
    pub(super) fn problem(&self) -> Problem {
        let detail = format!("it cannot be seen from whom this webhook is: {self}");
        Problem::new(StatusCode::UNAUTHORIZED, detail).with("code", json!("signature"))
    }
}

/// What the headers alone show.
pub(super) fn headers(verify: &Verify, headers: &HeaderMap, now: Timestamp) -> Result<(), Refused> {
    match verify {
        Verify::Open => Ok(()),
        Verify::Standard(_) => {
            text(headers, ID)?;
            text(headers, SIGNATURE)?;
            let time: i64 = text(headers, TIME)?
                .parse()
                .map_err(|_| Refused::Header(TIME.to_owned()))?;
            match now.as_second().checked_sub(time) {
                Some(age) if age.abs() <= TOLERANCE_SECONDS => Ok(()),
                Some(_) | None => Err(Refused::Time),
            }
        }
        Verify::GitHub(_) => text(headers, GITHUB).map(drop),
        Verify::Bearer(_) => text(headers, AUTHORIZATION).map(drop),
        Verify::Token { header, .. } | Verify::Hmac { header, .. } => {
            text(headers, header).map(drop)
        }
    }
}

/// Whether what proves who sends is made of the body; a text that is only compared can be looked at before any of it is read.
pub(super) fn is_over_body(verify: &Verify) -> bool {
    match verify {
        Verify::Standard(_) | Verify::GitHub(_) | Verify::Hmac { .. } => true,
        Verify::Open | Verify::Token { .. } | Verify::Bearer(_) => false,
    }
}

/// What the body and the secrets show.
pub(super) fn body(
    verify: &Verify,
    secrets: &[Vec<u8>],
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Refused> {
    // All secrets are tried, whichever fits.
    let any = |fits: &dyn Fn(&[u8]) -> bool| {
        let fitting = secrets.iter().filter(|secret| fits(secret)).count();
        if fitting > 0 {
            Ok(())
        } else {
            Err(Refused::Signature)
        }
    };
    match verify {
        Verify::Open => Ok(()),
        Verify::Standard(_) => {
            let given = text(headers, SIGNATURE)?;
            let (id, time) = (text(headers, ID)?, text(headers, TIME)?);
            let parts = [id.as_bytes(), b".", time.as_bytes(), b".", body];
            any(&|secret| {
                let Some(key) = standard_key(secret) else {
                    return false;
                };
                let signatures = given.split(' ').take(SIGNATURES_MAX);
                let signatures = signatures.filter_map(|one| one.strip_prefix(VERSION));
                let mut signatures = signatures.filter_map(|one| decoded(Encoding::Base64, one));
                signatures.any(|signature| is_signed(Digest::Sha256, &key, &parts, &signature))
            })
        }
        Verify::GitHub(_) => {
            let given = text(headers, GITHUB)?.strip_prefix("sha256=");
            let given = given.and_then(|hex| decoded(Encoding::Hex, hex));
            let given = given.ok_or(Refused::Signature)?;
            any(&|secret| is_signed(Digest::Sha256, secret, &[body], &given))
        }
        Verify::Token { header, .. } => {
            let given = text(headers, header)?.as_bytes();
            any(&|secret| given.ct_eq(secret).into())
        }
        Verify::Bearer(_) => {
            let (scheme, given) = text(headers, AUTHORIZATION)?
                .split_once(' ')
                .ok_or(Refused::Signature)?;
            let is_bearer = scheme.eq_ignore_ascii_case("bearer");
            any(&|secret| is_bearer && bool::from(given.trim().as_bytes().ct_eq(secret)))
        }
        Verify::Hmac {
            header,
            digest,
            encoding,
            prefix,
            ..
        } => {
            let given = text(headers, header)?.strip_prefix(prefix.as_str());
            let given = given.and_then(|given| decoded(*encoding, given));
            let given = given.ok_or(Refused::Signature)?;
            any(&|secret| is_signed(*digest, secret, &[body], &given))
        }
    }
}

/// A header that is there exactly once, as text.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Refused> {
    let refused = || Refused::Header(name.to_owned());
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(one), None) => one.to_str().map_err(|_| refused()),
        (None, _) | (Some(_), Some(_)) => Err(refused()),
    }
}

/// The key that `whsec_…` stands for.
fn standard_key(secret: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(secret).ok()?;
    let text = text.strip_prefix(SECRET_PREFIX).unwrap_or(text);
    decoded(Encoding::Base64, text).filter(|key| !key.is_empty())
}

fn decoded(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Base64 => {
            let padded = STANDARD.decode(text);
            padded.or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
        }
        Encoding::Hex => {
            let pairs = text.as_bytes().chunks(2);
            let byte = |pair: &[u8]| match pair {
                [high, low] => {
                    let digit = |byte: u8| char::from(byte).to_digit(16);
                    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
                }
                _ => None,
            };
            pairs.map(byte).collect()
        }
    }
}

fn is_signed(digest: Digest, key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    match digest {
        Digest::Sha256 => Hmac::<Sha256>::new_from_slice(key).is_ok_and(|mut mac| {
            parts.iter().for_each(|part| mac.update(part));
            mac.verify_slice(signature).is_ok()
        }),
        Digest::Sha512 => Hmac::<Sha512>::new_from_slice(key).is_ok_and(|mut mac| {
            parts.iter().for_each(|part| mac.update(part));
            mac.verify_slice(signature).is_ok()
        }),
    }
}

#[cfg(test)]
mod tests;
