//! The bodies of signals.

use axum::{body::Body, http::HeaderMap};
use flotilla_common::{entry::Signalled, io::http::Problem, money::Usd};

use super::Signal;
use crate::fields::{BODY_BYTES_MAX, Fields, NAME_LENGTH_MAX, wrong};

/// Longest text to an agent, or about a run, in bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// What a signal says that comes as a body of its own.
pub(super) async fn signal(
    signal: Signal,
    headers: &HeaderMap,
    body: Body,
) -> Result<Signalled, Problem> {
    let fields = Fields::read(headers, body, BODY_BYTES_MAX).await?;
    signalled(signal, fields)
}

/// What a signal says.
pub(super) fn signalled(signal: Signal, mut fields: Fields) -> Result<Signalled, Problem> {
    let mut signalled = common(&mut fields)?;
    let known = match signal {
        Signal::Pause | Signal::Resume => r#"{"reason"?, "by"?, "id"?}"#,
        Signal::Cancel => {
            signalled.compensate = fields.flag("compensate")?;
            r#"{"compensate"?, "reason"?, "by"?, "id"?}"#
        }
        Signal::Raise => {
            let usd = fields.usd("usd")?;
            if usd == Usd::default() {
                return Err(wrong("usd", "must be more than 0"));
            }
            signalled.usd_nano = Some(usd);
            signalled.step = fields.id("step")?;
            r#"{"usd", "step"?, "reason"?, "by"?, "id"?}"#
        }
        Signal::Retry => {
            let step = fields.id("step")?;
            signalled.step = Some(step.ok_or_else(|| wrong("step", "is missing"))?);
            r#"{"step", "reason"?, "by"?, "id"?}"#
        }
        Signal::Message => {
            signalled.text = Some(said(&mut fields)?);
            signalled.step = fields.id("step")?;
            r#"{"text", "step"?, "reason"?, "by"?, "id"?}"#
        }
        Signal::Feedback => {
            signalled.text = Some(said(&mut fields)?);
            signalled.good = good(&mut fields)?;
            r#"{"text", "verdict"?, "reason"?, "by"?, "id"?}"#
        }
    };
    fields.end(known)?;
    Ok(signalled)
}

/// What every signal can say: its id, or one that nobody else has; who sends it; why.
pub(crate) fn common(fields: &mut Fields) -> Result<Signalled, Problem> {
    let id = fields.text("id", NAME_LENGTH_MAX)?;
    // It becomes a header of the message.
    if id.as_ref().is_some_and(|id| !id.is_ascii()) {
        return Err(wrong("id", "must be ASCII"));
    }
    Ok(Signalled {
        id: id.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..))),
        by: fields.by()?,
        reason: fields.reason()?,
        ..Signalled::default()
    })
}

fn said(fields: &mut Fields) -> Result<String, Problem> {
    let text = fields.prose("text", TEXT_BYTES_MAX)?;
    text.ok_or_else(|| wrong("text", "is missing"))
}

fn good(fields: &mut Fields) -> Result<Option<bool>, Problem> {
    match fields.text("verdict", NAME_LENGTH_MAX)?.as_deref() {
        None => Ok(None),
        Some("good") => Ok(Some(true)),
        Some("bad") => Ok(Some(false)),
        Some(_) => Err(wrong("verdict", "must be `good` or `bad`")),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;
    use flotilla_common::ids::Name;

    use super::*;
    use crate::body::JSON;

    async fn ask(asked: Signal, body: &str) -> Result<Signalled, Problem> {
        let headers = [(CONTENT_TYPE, JSON.parse().unwrap())];
        let body = Body::from(body.to_owned());
        signal(asked, &headers.into_iter().collect(), body).await
    }

    #[tokio::test]
    async fn a_cancel_needs_no_body_and_takes_no_field_of_a_raise() {
        let none = signal(Signal::Cancel, &HeaderMap::new(), Body::empty()).await;
        let none = none.unwrap();
        assert_eq!((none.id.len(), none.compensate), (32, false));
        let undo = ask(Signal::Cancel, r#"{"compensate": true}"#).await;
        assert!(undo.unwrap().compensate);
        let asked = ask(
            Signal::Resume,
            r#"{"by": "me", "reason": "paid", "id": "c1"}"#,
        );
        let asked = asked.await.unwrap();
        assert_eq!((asked.id.as_str(), asked.by.as_deref()), ("c1", Some("me")));
        for bad in [
            r#"{"usd": 1}"#,
            r#"{"id": "ü"}"#,
            r#"{"why": "x"}"#,
            r#"{"compensate": "yes"}"#,
        ] {
            let problem = ask(Signal::Cancel, bad).await.unwrap_err();
            assert_eq!(problem.status, 400, "{bad}");
        }
        assert!(ask(Signal::Pause, r#"{"compensate": true}"#).await.is_err());
    }

    #[tokio::test]
    async fn a_raise_needs_an_amount_of_more_than_nothing() {
        let asked = ask(Signal::Raise, r#"{"usd": 2.5, "step": "triage"}"#)
            .await
            .unwrap();
        assert_eq!(asked.usd_nano, Some(Usd::from_nano(2_500_000_000)));
        assert_eq!(asked.step.as_ref().map(Name::as_str), Some("triage"));
        for bad in [
            "{}",
            r#"{"usd": 0}"#,
            r#"{"usd": 1e-12}"#,
            r#"{"usd": 1e7}"#,
        ] {
            let problem = ask(Signal::Raise, bad).await.unwrap_err();
            assert!(problem.detail.starts_with("`/usd`"), "{}", problem.detail);
        }
    }

    #[tokio::test]
    async fn a_retry_names_its_step_and_words_are_not_missing_or_endless() {
        let asked = ask(Signal::Retry, r#"{"step": "triage"}"#).await.unwrap();
        assert_eq!(asked.step.as_ref().map(Name::as_str), Some("triage"));
        let long = format!(r#"{{"text": "{}"}}"#, "x".repeat(TEXT_BYTES_MAX + 1));
        let whole = format!(r#"{{"text": "{}"}}"#, "x".repeat(TEXT_BYTES_MAX));
        for (kind, bad, pointer) in [
            (Signal::Retry, "{}", "`/step`"),
            (Signal::Retry, r#"{"step": "triage/3"}"#, "`/step`"),
            (Signal::Message, "{}", "`/text`"),
            (Signal::Message, &long, "`/text`"),
            (Signal::Feedback, r#"{"verdict": "bad"}"#, "`/text`"),
            (
                Signal::Feedback,
                r#"{"text": "x", "verdict": "so"}"#,
                "`/verdict`",
            ),
        ] {
            let problem = ask(kind, bad).await.unwrap_err();
            assert!(problem.detail.starts_with(pointer), "{}", problem.detail);
        }
        let asked = ask(Signal::Message, &whole).await.unwrap();
        assert_eq!(asked.text.unwrap().len(), TEXT_BYTES_MAX);
        let asked = ask(Signal::Feedback, r#"{"text": "x", "verdict": "bad"}"#).await;
        assert_eq!(asked.unwrap().good, Some(false));
    }
}
