//! What one watcher gets, one after the other.

use std::{sync::Arc, vec};

use flotilla_common::{
    access::Caller,
    entry::{Address, Body, Entry, Kind},
    ids::RunId,
    io::{
        http::Problem,
        journal::{Raw, decode},
        telemetry::metric,
    },
    names::subject,
};
use tokio::sync::{broadcast, mpsc};

use super::{changes::Changes, hub::Place, seen::Seen};
use crate::{
    history,
    problem::{ask_journal, unavailable},
};

/// Why there is nothing more, though more may come to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It was too slow, or what was read does not fit what came: look again.
    Lagged,
    /// The gateway stops: come again, here or elsewhere.
    Stopping,
}

/// The entries of a run, in order, each once.
#[derive(Debug)]
pub(crate) struct Watching {
    run: RunId,
    /// Whose it is; `None` where its beginning cannot be read.
    tenant: Option<String>,
    /// What was on the journal already.
    before: vec::IntoIter<Raw>,
    /// Whether the journal had more than is kept at once.
    more: bool,
    /// What comes.
    live: mpsc::Receiver<Arc<Seen>>,
    /// The last one's sequence.
    last: u64,
    end: Option<Arc<Seen>>,
    place: Place,
}

impl Watching {
    pub(super) async fn open(
        place: Place,
        live: mpsc::Receiver<Arc<Seen>>,
        run: RunId,
        after: u64,
    ) -> Result<Self, Problem> {
        let mut watching = Self {
            run,
            tenant: None,
            before: Vec::new().into_iter(),
            more: false,
            live,
            last: after,
            end: None,
            place,
        };
        let messages = watching.read().await?;
        watching.tenant = messages.iter().find_map(tenant);
        watching.keep(messages);
        Ok(watching)
    }

    /// Whether the run is there for whoever asks; one whose beginning cannot be read is no tenant's.
    pub(crate) fn is_seen_by(&self, caller: &Caller) -> bool {
        match self.tenant.as_deref() {
            Some(tenant) => caller.sees(tenant),
            None => caller.tenant.is_none(),
        }
    }

    /// The end, once it was given or was there before.
    pub(crate) fn end(&self) -> Option<&Seen> {
        self.end.as_deref()
    }

    /// The next entry; `None` after those of a run that has ended. It may be given up and asked again.
    pub(crate) async fn next(&mut self) -> Option<Result<Arc<Seen>, Cut>> {
        loop {
            if let Some(raw) = self.before.next() {
                if let Some(seen) = Seen::new(raw).map(Arc::new) {
                    return Some(Ok(self.gives(seen)));
                }
            } else if self.more {
                match self.read().await {
                    Ok(messages) => self.keep(messages),
                    Err(_) => return Some(Err(Cut::Lagged)),
                }
            } else if self.end.is_some() {
                return None;
            } else {
                let stop = &self.place.shared.stop;
                let seen = tokio::select! {
                    seen = self.live.recv() => seen,
                    () = stop.cancelled() => return Some(Err(Cut::Stopping)),
                };
                match seen {
                    None => return Some(Err(Cut::Lagged)),
                    // It was on the journal already when that was read.
                    Some(seen) if seen.seq() <= self.last => {}
                    Some(seen) => return Some(Ok(self.gives(seen))),
                }
            }
        }
    }

    fn gives(&mut self, seen: Arc<Seen>) -> Arc<Seen> {
        self.last = seen.seq();
        if seen.is_end() {
            self.end = Some(Arc::clone(&seen));
        }
        seen
    }

    /// What is on the journal.
    async fn read(&self) -> Result<Vec<Raw>, Problem> {
        let shared = &self.place.shared;
        let turn = shared.reads.acquire().await;
        let _turn = turn.map_err(|_| unavailable("the gateway shuts down"))?;
        let messages = ask_journal(shared.journal.raw(&subject::run(&self.run))).await?;
        if messages.is_empty() {
            return Err(history::no_run(&self.run));
        }
        Ok(messages)
    }

    /// Keeps what comes after the last one, as much as one answer may hold: the rest is read again.
    fn keep(&mut self, messages: Vec<Raw>) {
        let mut bytes = 0;
        let mut kept = Vec::new();
        self.more = false;
        for raw in messages {
            if raw.seq <= self.last {
                // Whoever has seen the end is not to wait for another.
                let end = Seen::new(raw).filter(Seen::is_end);
                self.end = end.map(Arc::new).or(self.end.take());
                continue;
            }
            bytes += raw.payload.len();
            if !kept.is_empty() && bytes > history::JOURNAL_BYTES_MAX {
                self.more = true;
                break;
            }
            kept.push(raw);
        }
        self.before = kept.into_iter();
    }
}

/// Whose a run is, of its beginning.
fn tenant(raw: &Raw) -> Option<String> {
    let is_start = |address: &Address| address.kind == Kind::Started;
    Address::parse(&raw.subject).ok()?.filter(is_start)?;
    let Entry { body, .. } = decode(raw).ok()??;
    match body {
        Body::Started(started) => Some(started.event.tenant().to_owned()),
        Body::Decided(_) | Body::Resulted(_) | Body::Signalled(_) | Body::Fired(_) => None,
    }
}

/// The lines of runs that changed.
#[derive(Debug)]
pub(crate) struct ChangesWatch {
    lines: broadcast::Receiver<Arc<Changes>>,
    place: Place,
}

impl ChangesWatch {
    pub(super) fn new(place: Place, lines: broadcast::Receiver<Arc<Changes>>) -> Self {
        Self { lines, place }
    }

    /// The next ones. It may be given up and asked again.
    pub(crate) async fn next(&mut self) -> Result<Arc<Changes>, Cut> {
        let stop = &self.place.shared.stop;
        tokio::select! {
            lines = self.lines.recv() => lines.map_err(|_| {
                metrics::counter!(metric::WATCHERS_LAGGED, "kind" => "list").increment(1);
                Cut::Lagged
            }),
            () = stop.cancelled() => Err(Cut::Stopping),
        }
    }
}
