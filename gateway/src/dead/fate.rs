//! What hangs on a dead letter: a run that waits for it, or nothing.

use flotilla_common::{
    dead::{DeadLetter, LetterKind},
    entry::{Address, Body, Decision, Entry, Kind, Letter},
    ids::RunId,
    io::journal::{Journal, JournalError, Raw, decode},
    names::subject,
    run::{SIGNAL_DEAD, SIGNAL_DROP},
};

/// What hangs on a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// No run: it is an event or a due time, or an entry of no run.
    NoRun,
    /// This run cannot go on without it.
    Waits(RunId, Letter),
    /// Its run needs it no more, or never did: why.
    GoesOn(&'static str),
}

/// Looks at the run's journal.
pub(super) async fn fate(
    journal: &Journal,
    letter: &DeadLetter,
    payload: &[u8],
) -> Result<Fate, JournalError> {
    let about = about(letter, payload);
    let Ok(Some(address)) = Address::parse(&about.subject) else {
        return Ok(Fate::NoRun);
    };
    let messages = journal.raw(&subject::run(&address.run)).await?;
    let entries = messages.iter().filter_map(|raw| decode(raw).ok().flatten());
    let entries: Vec<Entry> = entries.collect();
    // By what can be read now: this gateway may be newer than who gave up.
    let readable = LetterKind::of(&about.subject, payload, false) != LetterKind::Unreadable;
    Ok(of(address, about, readable, &entries))
}

/// The entry that a letter is about: of a redriven action that died again, the action.
fn about(letter: &DeadLetter, payload: &[u8]) -> Letter {
    let own = Letter {
        letter: letter.seq,
        subject: letter.subject.clone(),
        seq: letter.stream_seq,
    };
    if letter.role != "executor" {
        return own;
    }
    let raw = Raw {
        seq: letter.stream_seq,
        subject: letter.subject.clone(),
        payload: payload.to_vec().into(),
    };
    match decode(&raw) {
        Ok(Some(Entry {
            body: Body::Signalled(signalled),
            ..
        })) => signalled.letter.map_or(own, |before| Letter {
            letter: letter.seq,
            ..before
        }),
        Ok(_) | Err(_) => own,
    }
}

fn of(address: Address, about: Letter, readable: bool, entries: &[Entry]) -> Fate {
    let begun = |entry: &Entry| matches!(entry.body, Body::Started(_));
    if !entries.iter().any(begun) {
        return Fate::NoRun;
    }
    if entries.iter().any(is_end) {
        return Fate::GoesOn("its run has ended");
    }
    let waits = Fate::Waits(address.run, about.clone());
    match address.kind {
        Kind::Decided if has_result(about.seq, entries) => {
            Fate::GoesOn("the action has a result, and its run went on with that")
        }
        // Both are about a letter themselves.
        Kind::Signalled if [SIGNAL_DEAD, SIGNAL_DROP].contains(&address.name.as_str()) => {
            Fate::NoRun
        }
        // Anyone may have written rubbish there, and nothing rests on it.
        Kind::Resulted | Kind::Signalled | Kind::Fired if !readable => {
            Fate::GoesOn("it is no entry, and its run goes on without it")
        }
        Kind::Decided | Kind::Started | Kind::Resulted | Kind::Signalled | Kind::Fired => waits,
    }
}

fn is_end(entry: &Entry) -> bool {
    match &entry.body {
        Body::Decided(decided) => matches!(decided.decision, Decision::End { .. }),
        Body::Started(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => false,
    }
}

fn has_result(decided: u64, entries: &[Entry]) -> bool {
    entries.iter().any(|entry| match &entry.body {
        Body::Resulted(resulted) => resulted.decided == decided,
        Body::Started(_) | Body::Decided(_) | Body::Signalled(_) | Body::Fired(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use flotilla_common::entry::{Outcome, Resulted, ToolOutcome};
    use serde_json::json;

    use super::*;
    use crate::sample::{Journal, act, at, key, name};

    fn look(journal: &Journal, kind: Kind, last: &str, seq: u64, readable: bool) -> Fate {
        let address = Address {
            run: journal.run.id.clone(),
            kind,
            name: name(last),
        };
        let about = Letter {
            letter: 1,
            subject: address.subject(),
            seq,
        };
        of(address, about, readable, &journal.entries)
    }

    #[test]
    fn a_run_waits_for_an_action_until_it_has_a_result_whoever_gave_that_up() {
        let mut journal = Journal::start("1", 10);
        journal.decide(11, "one", act(), None);
        let fate = look(&journal, Kind::Decided, "df", 11, true);
        assert!(matches!(fate, Fate::Waits(_, letter) if letter.seq == 11));
        let resulted = Body::Resulted(Resulted {
            step: key("one"),
            branch: 0,
            decided: 11,
            tool: name("df"),
            outcome: ToolOutcome::Ok { output: json!(1) },
            took_ms: 1,
            attempts: 1,
            worker: "w".into(),
            usd_nano: None,
            reconciled: None,
        });
        let payload = resulted.encode(at(12)).unwrap();
        journal.add(12, Kind::Resulted, "df", &payload);
        let fate = look(&journal, Kind::Decided, "df", 11, true);
        assert!(matches!(fate, Fate::GoesOn(why) if why.contains("result")));
        // Another action has none.
        let fate = look(&journal, Kind::Decided, "df", 13, true);
        assert!(matches!(fate, Fate::Waits(..)));
    }

    #[test]
    fn rubbish_what_is_about_a_letter_and_what_ended_stop_no_run() {
        let mut journal = Journal::start("1", 10);
        let rubbish = look(&journal, Kind::Signalled, "cancel", 11, false);
        assert!(matches!(rubbish, Fate::GoesOn(_)));
        assert!(matches!(
            look(&journal, Kind::Signalled, "cancel", 11, true),
            Fate::Waits(..)
        ));
        for about in [SIGNAL_DEAD, SIGNAL_DROP] {
            let fate = look(&journal, Kind::Signalled, about, 11, true);
            assert_eq!(fate, Fate::NoRun);
        }
        let end = Decision::End {
            outcome: Outcome::Completed,
            reason: None,
        };
        journal.decide(12, "end", end, None);
        let late = look(&journal, Kind::Signalled, "cancel", 11, true);
        assert!(matches!(late, Fate::GoesOn(why) if why.contains("ended")));
        journal.entries.clear();
        let orphan = look(&journal, Kind::Fired, "wake", 11, true);
        assert_eq!(orphan, Fate::NoRun);
    }
}
