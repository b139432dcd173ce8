//! What there is: letters by cause, the letters of a cause, one letter.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use flotilla_common::{
    dead::{DeadLetter, LetterKind},
    ids::RunId,
    io::http::Problem,
    redact,
    run::Run,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Post,
    fate::{Fate, fate},
    of_journal,
    settle::letter_seq,
    shown,
};
use crate::{
    list::limit,
    problem::{ask_journal, bad_request},
    query,
    routes::App,
};

/// Letters per page, when the request does not say.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;
/// Bytes of a payload in an answer; the rest is on the stream.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Digits of a fingerprint.
const FINGERPRINT_LENGTH: usize = 12;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    fingerprint: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Letters that have one cause.
#[derive(Debug, Serialize)]
struct Group {
    fingerprint: String,
    role: String,
    kind: LetterKind,
    count: u64,
    first: Timestamp,
    last: Timestamp,
    /// The last one's.
    seq: u64,
    subject: String,
    reason: String,
}

/// Letters by cause, or those of one.
#[derive(Debug, Default, Serialize)]
pub(super) struct Listed {
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<Group>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    letters: Option<Vec<DeadLetter>>,
    /// `cursor` of the next page.
    next: Option<String>,
    /// False when there are more letters than one look goes through.
    complete: bool,
}

/// Letters by cause, the last ones first; with `fingerprint` the letters of that cause, the first ones first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Listed>, Problem> {
    let asked = query::fields(asked)?;
    let most = limit(asked.limit.as_deref(), LIMIT_DEFAULT, LIMIT_MAX)?;
    let after: u64 = query::value("cursor", asked.cursor.as_deref())?.unwrap_or(0);
    let looked = ask_journal(app.post.letters.look(after)).await?;
    let Some(print) = asked.fingerprint.filter(|print| !print.is_empty()) else {
        return Ok(Json(Listed {
            groups: Some(grouped(looked.letters)),
            complete: looked.complete,
            ..Listed::default()
        }));
    };
    let print = checked(print)?;
    let mut letters = looked.letters.into_iter();
    let mut its = letters
        .by_ref()
        .filter(|letter| letter.fingerprint == print);
    let page: Vec<_> = its.by_ref().take(most).map(shown).collect();
    let more = its.next().is_some() || !looked.complete;
    let next = page
        .last()
        .filter(|_| more)
        .map(|last| last.seq.to_string());
    Ok(Json(Listed {
        letters: Some(page),
        next,
        complete: looked.complete,
        ..Listed::default()
    }))
}

/// A fingerprint as it can be.
pub(super) fn checked(print: String) -> Result<String, Problem> {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if print.len() == FINGERPRINT_LENGTH && print.bytes().all(is_hex) {
        return Ok(print);
    }
    Err(bad_request(format!(
        "`fingerprint`: {FINGERPRINT_LENGTH} digits, as `flotilla dead list` shows them"
    )))
}

fn grouped(letters: Vec<DeadLetter>) -> Vec<Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for letter in letters.into_iter().map(shown) {
        let (count, first) = groups
            .get(&letter.fingerprint)
            .map_or((0, letter.at), |group| (group.count, group.first));
        let group = Group {
            fingerprint: letter.fingerprint.clone(),
            role: letter.role,
            kind: letter.kind,
            count: count + 1,
            first,
            last: letter.at,
            seq: letter.seq,
            subject: letter.subject,
            reason: letter.reason,
        };
        groups.insert(letter.fingerprint, group);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.seq));
    groups
}

/// A letter with what is kept of it.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    letter: DeadLetter,
    /// JSON where it is that, else a text; what looks like a secret is taken out.
    payload: Value,
    /// Whether `payload` is not all of it.
    truncated: bool,
    /// Whether a run waits until somebody settles it.
    waits: bool,
    /// Why nothing hangs on it, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    goes_on: Option<&'static str>,
}

/// One letter.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    seq: Result<Path<String>, PathRejection>,
) -> Result<Json<Shown>, Problem> {
    let (letter, payload) = app.post.letter(letter_seq(seq)?).await?;
    let fate = fate(&app.journal, &letter, &payload).await;
    let (waits, goes_on) = match fate.map_err(|e| of_journal(&e))? {
        Fate::Waits(..) => (true, None),
        Fate::GoesOn(why) => (false, Some(why)),
        Fate::NoRun => (false, None),
    };
    let (text, truncated) = bounded(&payload);
    Ok(Json(Shown {
        truncated: truncated || letter.cut.is_some(),
        letter: shown(letter),
        payload: text,
        waits,
        goes_on,
    }))
}

fn bounded(payload: &[u8]) -> (Value, bool) {
    match payload.get(..PAYLOAD_BYTES_MAX) {
        Some(beginning) if payload.len() > PAYLOAD_BYTES_MAX => (text(beginning), true),
        _ => match serde_json::from_slice(payload) {
            Ok(value) => (redact::value(&value), false),
            Err(_) => (text(payload), false),
        },
    }
}

fn text(bytes: &[u8]) -> Value {
    Value::String(redact::text(&String::from_utf8_lossy(bytes)))
}

/// A letter that a run has, as the run's page shows it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Waits {
    seq: u64,
    reason: String,
}

impl Waits {
    /// What a run says that can be folded.
    pub(crate) fn of(run: &Run) -> Vec<Self> {
        let open = run.dead.open().filter(|_| run.end.is_none());
        open.map(|(seq, reason)| Self {
            seq,
            reason: reason.to_owned(),
        })
        .collect()
    }
}

impl Post {
    /// The letters of a run whose journal cannot be folded: only the stream knows.
    pub(crate) async fn of_run(&self, run: &RunId) -> Result<Vec<Waits>, Problem> {
        let looked = ask_journal(self.letters.of_run(run)).await?;
        let letters = looked.letters.into_iter().map(shown);
        let letters = letters.map(|letter| Waits {
            seq: letter.seq,
            reason: letter.reason,
        });
        Ok(letters.collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_payload_is_shown_as_what_it_is_without_secrets_and_not_too_much_of_it() {
        let secret = br#"{"key": "sk-ant-REDACTED", "n": 1}"#;
        let (shown, cut) = bounded(secret);
        assert_eq!((shown["n"].clone(), cut), (json!(1), false));
        assert!(!shown.to_string().contains("api03"), "{shown}");
        assert_eq!(bounded(b"{ \xff"), (json!("{ \u{fffd}"), false));
        let (long, cut) = bounded(&vec![b'x'; PAYLOAD_BYTES_MAX + 1]);
        assert_eq!(long.as_str().map(str::len), Some(PAYLOAD_BYTES_MAX));
        assert!(cut);
    }

    #[test]
    fn a_fingerprint_is_checked_before_anything_is_done_by_it() {
        assert!(checked("0123456789ab".into()).is_ok());
        for wrong in ["", "0123", "0123456789AB", "0123456789a>"] {
            assert_eq!(checked(wrong.into()).unwrap_err().status, 400);
        }
    }
}
