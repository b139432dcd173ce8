//! What there is: letters by cause, the letters of a cause, one letter.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
};
use flotilla_common::{
    access::Caller,
    dead::{DeadLetter, LetterKind},
    ids::RunId,
    io::http::Problem,
    redact,
    run::Run,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{
    Post,
    fate::{Fate, fate},
    of_journal,
    settle::letter_seq,
    shown,
};
use crate::{
    access::tenants,
    list::limit,
    problem::{ask_journal, wrong_parameter},
    query::{Fields, Pairs},
    routes::App,
};

/// Letters per page, when the request does not say.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;
/// Bytes of a payload in an answer; the rest is on the stream.
const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Digits of a fingerprint.
const FINGERPRINT_LENGTH: usize = 12;

/// Letters that have one cause.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) fingerprint: String,
    pub(crate) role: String,
    pub(crate) kind: LetterKind,
    pub(crate) count: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// The last one's.
    pub(crate) seq: u64,
    pub(crate) subject: String,
    pub(crate) reason: String,
}

/// The letters of a cause, the first ones first.
#[derive(Debug)]
pub(crate) struct OfCause {
    pub(crate) letters: Vec<DeadLetter>,
    /// After which one the next page begins.
    pub(crate) next: Option<u64>,
    /// False when there are more letters than one look goes through.
    pub(crate) complete: bool,
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
    Extension(caller): Extension<Caller>,
    pairs: Pairs,
) -> Result<Json<Listed>, Problem> {
    let mut fields = Fields::read(pairs)?;
    let most = limit(&mut fields, LIMIT_DEFAULT, LIMIT_MAX)?;
    let after: u64 = fields.one("cursor")?.unwrap_or(0);
    let print: Option<String> = fields.one("fingerprint")?;
    fields.end("`fingerprint`, `limit`, `cursor`")?;
    let Some(print) = print else {
        let (groups, complete) = groups(&app, &caller, after).await?;
        return Ok(Json(Listed {
            groups: Some(groups),
            complete,
            ..Listed::default()
        }));
    };
    let page = of_cause(&app, &caller, print, after, most).await?;
    Ok(Json(Listed {
        letters: Some(page.letters),
        next: page.next.map(|last| last.to_string()),
        complete: page.complete,
        ..Listed::default()
    }))
}

/// Letters after a sequence by cause, the last ones first, and whether these are all.
pub(crate) async fn groups(
    app: &App,
    caller: &Caller,
    after: u64,
) -> Result<(Vec<Group>, bool), Problem> {
    let looked = ask_journal(app.post.letters.look(after)).await?;
    let looked = tenants::own_letters(app, caller, looked).await?;
    Ok((grouped(looked.letters), looked.complete))
}

/// The letters of one cause, `most` of those after a sequence.
pub(crate) async fn of_cause(
    app: &App,
    caller: &Caller,
    print: String,
    after: u64,
    most: usize,
) -> Result<OfCause, Problem> {
    let print = checked(print)?;
    let mut looked = ask_journal(app.post.letters.look(after)).await?;
    looked.letters.retain(|letter| letter.fingerprint == print);
    let looked = tenants::own_letters(app, caller, looked).await?;
    let mut its = looked.letters.into_iter();
    let page: Vec<_> = its.by_ref().take(most).map(shown).collect();
    let more = its.next().is_some() || !looked.complete;
    Ok(OfCause {
        next: page.last().filter(|_| more).map(|last| last.seq),
        letters: page,
        complete: looked.complete,
    })
}

/// A fingerprint as it can be.
pub(super) fn checked(print: String) -> Result<String, Problem> {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if print.len() == FINGERPRINT_LENGTH && print.bytes().all(is_hex) {
        return Ok(print);
    }
    let must = format!("{FINGERPRINT_LENGTH} digits, as `flotilla dead list` shows them");
    Err(wrong_parameter("fingerprint", must))
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
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) letter: DeadLetter,
    /// JSON where it is that, else a text; what looks like a secret is taken out.
    pub(crate) payload: Value,
    /// Whether `payload` is not all of it.
    pub(crate) truncated: bool,
    /// Whether a run waits until somebody settles it.
    pub(crate) waits: bool,
    /// Why nothing hangs on it, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) goes_on: Option<&'static str>,
}

/// One letter.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    seq: Result<Path<String>, PathRejection>,
) -> Result<Json<Shown>, Problem> {
    shown_letter(&app, letter_seq(seq)?).await.map(Json)
}

/// One letter, with what is kept of it and what hangs on it.
pub(crate) async fn shown_letter(app: &App, seq: u64) -> Result<Shown, Problem> {
    let (letter, payload) = app.post.letter(seq).await?;
    let fate = fate(&app.journal, &letter, &payload).await;
    let (waits, goes_on) = match fate.map_err(|e| of_journal(&e))? {
        Fate::Waits(..) => (true, None),
        Fate::GoesOn(why) => (false, Some(why)),
        Fate::NoRun => (false, None),
    };
    let (text, truncated) = bounded(&payload);
    Ok(Shown {
        truncated: truncated || letter.cut.is_some(),
        letter: shown(letter),
        payload: text,
        waits,
        goes_on,
    })
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
    pub(crate) seq: u64,
    pub(crate) reason: String,
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
