//! The event that a dead letter is, as it is or edited.

use bytes::Bytes;
use flotilla_common::{
    dead::DeadLetter,
    event::Event,
    io::{
        http::Problem,
        worker::{Form, Incoming},
    },
};
use serde_json::Value;

use crate::{
    intake,
    problem::{bad_request, conflict},
};

/// The event of a letter. Whatever is edited, it is the same event as long as its source and id are not.
pub(super) fn event(
    letter: &DeadLetter,
    payload: Bytes,
    edit: Option<Value>,
) -> Result<Event, Problem> {
    let seq = letter.seq;
    let message = |payload: Bytes, form: Form| Incoming {
        subject: letter.subject.clone(),
        seq: letter.stream_seq,
        payload,
        form,
        published: letter.at,
        delivered: 1,
        message_id: letter.message_id.clone(),
        ..Incoming::default()
    };
    let Some(edit) = edit else {
        if let Some(cut) = &letter.cut {
            return Err(conflict(format!(
                "only its beginning was kept ({cut}); give all of it: flotilla dead edit {seq} --payload @FILE"
            )));
        }
        return intake::read(&message(payload, Form::of(letter))).map_err(|problem| {
            conflict(format!(
                "it is no event, and would come back: {problem}; give another payload: flotilla dead edit {seq} --payload @FILE"
            ))
        });
    };
    let has = |field: &str| edit.get(field).is_some();
    let is_envelope = has("specversion") || (has("type") && has("data"));
    if !is_envelope
        && letter.cut.is_none()
        && let Ok(original) = intake::read(&message(payload, Form::of(letter)))
    {
        return Ok(Event {
            data: edit,
            ..original
        });
    }
    let bytes = serde_json::to_vec(&edit).map_err(|e| bad_request(e.to_string()))?;
    // However the event was written, this is what somebody wrote now.
    intake::read(&message(bytes.into(), Form::Plain)).map_err(bad_request)
}

#[cfg(test)]
mod tests {
    use flotilla_common::dead::LetterKind;
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn letter(message_id: Option<&str>, cut: Option<&str>) -> DeadLetter {
        DeadLetter {
            seq: 3,
            fingerprint: "0".repeat(12),
            role: "gateway".into(),
            kind: LetterKind::Unreadable,
            subject: "events.test.alert".into(),
            stream: Some("EVENTS".into()),
            stream_seq: 7,
            run: None,
            reason: "no".into(),
            at: Timestamp::UNIX_EPOCH,
            deliveries: Some(1),
            message_id: message_id.map(Into::into),
            promise: None,
            form: None,
            cut: cut.map(Into::into),
            bytes: 1,
        }
    }

    fn read(letter: &DeadLetter, payload: &str, edit: Option<Value>) -> Result<Event, Problem> {
        event(letter, payload.to_owned().into(), edit)
    }

    #[test]
    fn a_redriven_event_is_the_same_event_wherever_its_id_comes_from() {
        let id = |message_id, payload: &str, edit| {
            let event = read(&letter(message_id, None), payload, edit).unwrap();
            (event.id, event.source)
        };
        let own =
            r#"{"specversion": "1.0", "id": "x", "source": "s", "type": "test.alert", "data": {}}"#;
        let known = |id: &str, source: &str| (id.to_owned(), source.to_owned());
        assert_eq!(id(None, "{}", None), known("nats:EVENTS:7", "nats"));
        assert_eq!(id(Some("m1"), "{}", None), known("m1", "nats"));
        assert_eq!(id(Some("m1"), own, None), known("x", "s"));
        // Edited: the data only, or all of it.
        let data = Some(json!({"level": 1}));
        assert_eq!(id(Some("m1"), own, data.clone()), known("x", "s"));
        assert_eq!(id(None, "{", data), known("nats:EVENTS:7", "nats"));
        let whole = json!({"specversion": "1.0", "id": "y", "source": "t", "type": "test.alert"});
        assert_eq!(id(None, own, Some(whole)), known("y", "t"));
    }

    #[test]
    fn what_cannot_be_read_or_was_cut_needs_another_payload() {
        let broken = read(&letter(None, None), "{", None).unwrap_err();
        assert_eq!(broken.status, 409);
        assert!(broken.detail.contains("flotilla dead edit 3"));
        let cut = letter(None, Some("9999999 bytes"));
        assert_eq!(read(&cut, "{}", None).unwrap_err().status, 409);
        assert!(read(&cut, "{}", Some(json!({"a": 1}))).is_ok());
        let other = json!({"specversion": "1.0", "id": "y", "source": "t", "type": "test.other"});
        let wrong = read(&letter(None, None), "{", Some(other)).unwrap_err();
        assert_eq!(wrong.status, 400);
    }

    #[test]
    fn a_broken_cloud_event_is_never_taken_for_the_data_of_another_event() {
        let of_form = |form: &str| DeadLetter {
            form: Some(form.into()),
            reason: "the header `ce-id` is there twice".into(),
            ..letter(Some("m1"), None)
        };
        let edit = json!({"level": 1});
        for form in ["wrong", "structured", "written", "of another version"] {
            let letter = of_form(form);
            let refused = read(&letter, r#"{"level": 2}"#, None).unwrap_err();
            assert_eq!(refused.status, 409, "{form}");
            assert!(refused.detail.contains("would come back"), "{form}");
            let edited = read(&letter, r#"{"level": 2}"#, Some(edit.clone())).unwrap();
            assert_eq!((edited.id.as_str(), &edited.data), ("m1", &edit), "{form}");
        }
        let refused = read(&of_form("wrong"), "{}", None).unwrap_err();
        assert!(refused.detail.contains("`ce-id`"), "{}", refused.detail);
    }

    #[test]
    fn an_event_that_grew_when_it_was_written_down_can_be_read_again() {
        let large = json!({
            "specversion": "1.0", "id": "x", "source": "s", "type": "test.alert",
            "datacontenttype": "application/octet-stream", "data_base64": "A".repeat(4 * 150_000),
        });
        let of_form = |form: Option<&str>| DeadLetter {
            form: form.map(Into::into),
            ..letter(None, None)
        };
        let large = large.to_string();
        assert_eq!(
            read(&of_form(Some("written")), &large, None).unwrap().id,
            "x"
        );
        assert!(read(&of_form(Some("structured")), &large, None).is_err());
        assert!(read(&of_form(None), &large, None).is_err());
    }
}
