//! Turns of requests, and bodies that come slowly. A turn is what a request has while it is in work: so many bound the memory that
//! bodies take. Whose body is not there in a moment gives its turn to somebody else and takes one of a few places of its own, and
//! keeps that only as long as the body gets on. So clients that send byte by byte, or stop in the middle, stand in nobody's way,
//! however many they are.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, BodyDataStream, HttpBody as _},
    http::StatusCode,
};
use bytes::Bytes;
use flotilla_common::io::http::Problem;
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout},
};

use crate::problem::unavailable;

/// Requests in work at once. More wait.
const TURNS: usize = 512;
/// Requests at once, besides those, whose bodies come slowly. More are refused.
const SLOW_MAX: usize = 128;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// A body that takes longer comes slowly: most are there with their head.
const PROMPT: Duration = Duration::from_secs(1);
/// A body that comes slowly brings, in each such time, so many bytes at least: 8 kbit/s, a bad connection of a phone.
const WINDOW: Duration = Duration::from_secs(5);
const WINDOW_BYTES: usize = 5 << 10;

/// Who is in work.
#[derive(Debug)]
pub(crate) struct Turns {
    prompt: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    /// All of both.
    most: usize,
}

impl Default for Turns {
    fn default() -> Self {
        Self::of(TURNS, SLOW_MAX)
    }
}

impl Turns {
    fn of(turns: usize, slow: usize) -> Self {
        Self {
            prompt: Arc::new(Semaphore::new(turns)),
            slow: Arc::new(Semaphore::new(slow)),
            most: turns + slow,
        }
    }

    /// A turn, as soon as one is free.
    ///
    /// # Errors
    /// A 503, where none is in time.
    pub(crate) async fn take(&self) -> Result<Turn, Problem> {
        let turn = timeout(PATIENCE, Arc::clone(&self.prompt).acquire_owned()).await;
        let Ok(Ok(held)) = turn else {
            return Err(unavailable("too many requests at once; try again"));
        };
        Ok(Turn(Arc::new(Place {
            slow: Arc::clone(&self.slow),
            held: Mutex::new(Held {
                permit: held,
                fault: None,
            }),
        })))
    }

    /// Requests in work.
    pub(crate) fn taken(&self) -> u64 {
        let free = self.prompt.available_permits() + self.slow.available_permits();
        self.most.saturating_sub(free) as u64
    }
}

/// A request's turn, which its body shares. It ends with both of them.
#[derive(Debug, Clone)]
pub(crate) struct Turn(Arc<Place>);

#[derive(Debug)]
struct Place {
    slow: Arc<Semaphore>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    permit: OwnedSemaphorePermit,
    fault: Option<Fault>,
}

/// Why a body is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("the body comes too slowly: less than 5 KiB in 5 seconds")]
    Slow,
    #[error("too many requests whose bodies come slowly; try again")]
    Crowded,
}

impl Turn {
    /// A body that is read as long as it gets on.
    pub(crate) fn watch(&self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let watched = Watched {
            chunks: body.into_data_stream(),
            turn: self.clone(),
            came: 0,
            left: PROMPT,
            is_slow: false,
        };
        let chunks = stream::unfold(Some(watched), |watched| async {
            let mut watched = watched?;
            let chunk = watched.next().await?;
            let rest = chunk.is_ok().then_some(watched);
            Some((chunk, rest))
        });
        Body::from_stream(chunks)
    }

    /// What is to be answered, where the body was given up.
    pub(crate) fn fault(&self) -> Option<Problem> {
        let fault = self.held().fault?;
        Some(match fault {
            Fault::Slow => Problem::new(StatusCode::REQUEST_TIMEOUT, fault.to_string()),
            Fault::Crowded => unavailable(fault.to_string()),
        })
    }

    /// Gives the turn to somebody else and takes a place among the slow, if one is free.
    fn step_aside(&self) -> Result<(), Fault> {
        let place = Arc::clone(&self.0.slow).try_acquire_owned();
        let place = place.map_err(|_| Fault::Crowded)?;
        drop(std::mem::replace(&mut self.held().permit, place));
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing in there is ever half done.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body on its way.
struct Watched {
    chunks: BodyDataStream,
    turn: Turn,
    /// Bytes since the last look.
    came: usize,
    /// How long until it is looked at next, of the time in which somebody waits for it: what else the gateway waits for is not the
    /// client's slowness.
    left: Duration,
    is_slow: bool,
}

impl Watched {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            let look = Instant::now() + self.left;
            tokio::select! {
                biased;
                chunk = self.chunks.next() => {
                    self.left = look.saturating_duration_since(Instant::now());
                    self.came += chunk.as_ref()?.as_ref().map_or(0, Bytes::len);
                    return Some(chunk?.map_err(Into::into));
                }
                () = sleep_until(look) => {
                    if let Err(fault) = self.look() {
                        self.turn.held().fault = Some(fault);
                        return Some(Err(fault.into()));
                    }
                }
            }
        }
    }

    /// Whether it gets on.
    fn look(&mut self) -> Result<(), Fault> {
        if self.is_slow && self.came < WINDOW_BYTES {
            return Err(Fault::Slow);
        }
        if !self.is_slow {
            self.turn.step_aside()?;
            self.is_slow = true;
        }
        self.came = 0;
        self.left = WINDOW;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::body::read;

    /// A body of so many chunks, one every so often.
    fn body(chunk: usize, every: Duration, count: usize) -> Body {
        let chunks = stream::iter(0..count).then(move |_| async move {
            sleep(every).await;
            Ok::<_, BoxError>(Bytes::from(vec![b'x'; chunk]))
        });
        Body::from_stream(chunks)
    }

    const MB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_gets_on_is_read_however_long_it_takes_and_one_that_does_not_is_given_up() {
        let turns = Turns::default();
        for (chunk, every, count, fault) in [
            (1, Duration::ZERO, 100, None),
            (1_024, Duration::from_millis(900), 100, None),
            (1, Duration::from_millis(100), 100, Some(408)),
            (MB, Duration::from_secs(9), 2, Some(408)),
        ] {
            let turn = turns.take().await.unwrap();
            let read = read(turn.watch(body(chunk, every, count)), 9 * MB).await;
            let told = turn.fault().map(|problem| problem.status);
            assert_eq!((read.is_ok(), told), (fault.is_none(), fault), "{chunk}");
            drop(turn);
            assert_eq!(turns.taken(), 0, "{chunk}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_gateway_does_before_and_between_is_not_the_clients_slowness() {
        // Whoever is slow is refused.
        let turns = Turns::of(1, 0);
        let turn = turns.take().await.unwrap();
        let mut chunks = turn
            .watch(body(1, Duration::from_millis(400), 2))
            .into_data_stream();
        for _ in 0..2 {
            sleep(Duration::from_secs(9)).await;
            assert_eq!(chunks.next().await.unwrap().unwrap(), "x");
        }
        assert!(chunks.next().await.is_none());
        // Its own time counts together, however it comes.
        let late = body(1, Duration::from_millis(400), 3);
        assert!(read(turn.watch(late), MB).await.is_err());
        assert_eq!(turn.fault().unwrap().status, 503);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_gives_its_turn_away_and_of_many_who_are_most_are_refused() {
        let turns = Turns::of(1, 1);
        let stopped = || body(1, Duration::from_secs(3_600), 1);
        let first = turns.take().await.unwrap();
        let mut reading = Box::pin(read(first.watch(stopped()), MB));
        // The second has its turn when the first is told to be slow.
        let second = tokio::select! {
            turn = turns.take() => turn.unwrap(),
            _ = &mut reading => panic!("it was read"),
        };
        let crowded = read(second.watch(stopped()), MB);
        assert!(crowded.await.is_err());
        assert_eq!(second.fault().unwrap().status, 503);
        assert_eq!(first.fault().map(|problem| problem.status), None);
        assert!(reading.await.is_err());
        assert_eq!(first.fault().unwrap().status, 408);
    }
}
