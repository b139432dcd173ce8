//! Every letter that comes to DEAD, whoever gave up: the run that cannot go on without it is told, so that it waits and shows it.

use flotilla_common::{
    dead::DeadLetter,
    entry::Signalled,
    io::{
        journal::JournalError,
        telemetry::metric,
        worker::{DELIVERIES_MAX, Disposition, HAND_BACK_PAUSE, Incoming},
    },
    names::signal,
    run::SIGNAL_DEAD,
};
use metrics::counter;
use tracing::{error, warn};

use super::{
    Post,
    fate::{Fate, fate},
};

/// One message of DEAD. It never becomes a letter itself.
pub(crate) async fn handle(post: Post, message: Incoming) -> Disposition {
    match tell(&post, &message).await {
        Ok(()) => Disposition::Ack,
        Err(problem) if message.delivered < DELIVERIES_MAX => Disposition::Retry {
            after: HAND_BACK_PAUSE,
            why: problem.to_string(),
        },
        Err(problem) => {
            error!(letter = message.seq, %problem, "a run cannot be told of its dead letter");
            Disposition::Ack
        }
    }
}

async fn tell(post: &Post, message: &Incoming) -> Result<(), JournalError> {
    // Settled before anybody saw it.
    let Some((letter, payload)) = post.letters.get(message.seq).await? else {
        return Ok(());
    };
    if message.delivered == 1 {
        let (role, kind) = (letter.role.clone(), letter.kind.to_string());
        counter!(metric::DEAD_LETTERS_CAME, "role" => role, "kind" => kind).increment(1);
    }
    let Fate::Waits(run, about) = fate(&post.journal, &letter, &payload).await? else {
        return Ok(());
    };
    let DeadLetter {
        seq, reason, role, ..
    } = letter;
    warn!(%run, letter = seq, reason, "a run waits on a dead letter");
    let signalled = Signalled {
        id: signal::dead(seq),
        by: Some(role),
        reason: Some(reason),
        letter: Some(about),
        ..Signalled::default()
    };
    post.signal(&run, SIGNAL_DEAD, signalled).await
}
