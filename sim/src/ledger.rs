//! The ledger: one entry for every call that came in, however it ended.
//!
//! An entry is made when the last of the answer is handed to the connection, or when the client is gone before that.
//! So whoever has read an answer finds its entry, and a call that was paid for and lost is there too, with
//! `delivered: false` and the answer it would have got.

use crate::reply::Usage;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries kept in memory, some 1 kB each; the oldest go. The file, where there is one, has all.
const MAX_ENTRIES: usize = 200_000;

/// Request bodies kept, if they are kept at all.
const MAX_BODIES: usize = 1000;

/// Bytes of bodies kept.
const MAX_BODY_BYTES: usize = 256 << 20;

/// One call.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Entry {
    /// Place in the ledger, from 1; grows for as long as the server runs.
    pub(crate) n: u64,
    /// When the call came in, RFC 3339.
    pub(crate) at: String,
    pub(crate) request_id: String,
    pub(crate) model: Option<String>,
    /// Which policy answered; `None` for the default answer and for calls that no policy saw.
    pub(crate) policy: Option<Arc<str>>,
    /// Which of its rules, from 0.
    pub(crate) rule: Option<usize>,
    pub(crate) user_id: Option<String>,
    /// The last 200 characters of the system prompt.
    pub(crate) system_tail: String,
    /// Assistant turns in the request.
    pub(crate) turns: usize,
    pub(crate) stream: bool,
    pub(crate) status: u16,
    /// `error.type`, where the answer is an error.
    pub(crate) error: Option<String>,
    pub(crate) stop_reason: Option<String>,
    pub(crate) tools_used: Vec<String>,
    pub(crate) usage: Option<Usage>,
    /// Hex digest of the request body.
    pub(crate) body_sha256: String,
    /// Unix milliseconds.
    pub(crate) started_ms: i64,
    /// Unix milliseconds.
    pub(crate) finished_ms: i64,
    /// False where the client was gone before the answer.
    pub(crate) delivered: bool,
}

/// Entries in memory, totals, and the file.
#[derive(Debug)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
    file: Option<File>,
    keep_bodies: bool,
    in_flight: AtomicU64,
    max_in_flight: AtomicU64,
}

#[derive(Debug, Default)]
struct Book {
    last: u64,
    entries: VecDeque<Arc<Entry>>,
    bodies: VecDeque<(u64, Bytes)>,
    body_bytes: usize,
    totals: Totals,
}

#[derive(Debug, Clone, Default)]
struct Totals {
    calls: u64,
    undelivered: u64,
    by_status: BTreeMap<u16, u64>,
    input: u64,
    cache_creation: u64,
    cache_read: u64,
    output: u64,
}

impl Ledger {
    /// Opens the file for appending, if there is to be one.
    pub(crate) fn open(path: Option<&Path>, keep_bodies: bool) -> io::Result<Self> {
        let file = path
            .map(|path| OpenOptions::new().create(true).append(true).open(path))
            .transpose()?;
        Ok(Self {
            book: Mutex::default(),
            file,
            keep_bodies,
            in_flight: AtomicU64::new(0),
            max_in_flight: AtomicU64::new(0),
        })
    }

    /// Whether [`Ledger::record`] does anything with a body.
    pub(crate) fn keeps_bodies(&self) -> bool {
        self.keep_bodies
    }

    /// A call came in.
    pub(crate) fn begin(&self) {
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.max_in_flight.fetch_max(now, Ordering::Relaxed);
    }

    /// A call that began has ended.
    pub(crate) fn record(&self, mut entry: Entry, body: Bytes) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let entry = {
            let mut book = self.book();
            book.last += 1;
            entry.n = book.last;
            let entry = Arc::new(entry);
            book.add(Arc::clone(&entry));
            if self.keep_bodies {
                book.keep(entry.n, body);
            }
            entry
        };
        // Outside the lock: the file is opened for appending, so that one write is one whole line, whatever the order.
        if let Some(mut file) = self.file.as_ref() {
            let written = serde_json::to_vec(&*entry)
                .map_err(io::Error::from)
                .and_then(|mut line| {
                    line.push(b'\n');
                    file.write_all(&line)
                });
            if let Err(error) = written {
                tracing::warn!(%error, n = entry.n, "ledger line not written");
            }
        }
    }

    /// Entries after number `since`, as a JSON array; with their bodies, where they are kept and asked for.
    pub(crate) fn read(&self, since: u64, with_bodies: bool) -> Vec<u8> {
        let (entries, bodies): (Vec<Arc<Entry>>, BTreeMap<u64, Bytes>) = {
            let book = self.book();
            let bodies = if with_bodies {
                book.bodies.iter().cloned().collect()
            } else {
                BTreeMap::new()
            };
            let first = book.entries.partition_point(|entry| entry.n <= since);
            (book.entries.range(first..).cloned().collect(), bodies)
        };
        let mut out = vec![b'['];
        for (index, entry) in entries.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let mut value = json!(**entry);
            if let Some(body) = bodies.get(&entry.n) {
                let parsed = serde_json::from_slice(body);
                value["body"] =
                    parsed.unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body)));
            }
            out.extend_from_slice(value.to_string().as_bytes());
        }
        out.push(b']');
        out
    }

    /// Forgets entries, bodies and totals. Numbers go on, so that a reader's `since` stays right; the file stays.
    pub(crate) fn clear(&self) {
        let mut book = self.book();
        *book = Book {
            last: book.last,
            ..Book::default()
        };
        self.max_in_flight
            .store(self.in_flight.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Totals since the start or the last clearing, also of entries that are no longer in memory.
    pub(crate) fn summary(&self) -> Value {
        let totals = self.book().totals.clone();
        let by_status: BTreeMap<String, u64> = totals
            .by_status
            .iter()
            .map(|(status, calls)| (status.to_string(), *calls))
            .collect();
        json!({
            "calls": totals.calls,
            "undelivered": totals.undelivered,
            "by_status": by_status,
            "tokens": {
                "input": totals.input,
                "cache_creation": totals.cache_creation,
                "cache_read": totals.cache_read,
                "output": totals.output,
            },
            "in_flight": self.in_flight.load(Ordering::Relaxed),
            "max_in_flight": self.max_in_flight.load(Ordering::Relaxed),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn add(&mut self, entry: Arc<Entry>) {
        let totals = &mut self.totals;
        totals.calls += 1;
        totals.undelivered += u64::from(!entry.delivered);
        *totals.by_status.entry(entry.status).or_default() += 1;
        if let Some(usage) = &entry.usage {
            totals.input += usage.input_tokens;
            totals.cache_creation += usage.cache_creation_input_tokens;
            totals.cache_read += usage.cache_read_input_tokens;
            totals.output += usage.output_tokens;
        }
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    fn keep(&mut self, n: u64, body: Bytes) {
        self.body_bytes += body.len();
        self.bodies.push_back((n, body));
        while self.bodies.len() > MAX_BODIES || self.body_bytes > MAX_BODY_BYTES {
            let Some((_, gone)) = self.bodies.pop_front() else {
                break;
            };
            self.body_bytes -= gone.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ledger: &Ledger, status: u16) {
        ledger.begin();
        ledger.record(
            Entry {
                status,
                delivered: true,
                ..Entry::default()
            },
            Bytes::from_static(b"{}"),
        );
    }

    #[test]
    fn the_oldest_entries_go_and_the_totals_stay() {
        let ledger = Ledger::open(None, false).unwrap();
        for _ in 0..MAX_ENTRIES + 10 {
            call(&ledger, 200);
        }
        let book = ledger.book();
        assert_eq!(
            (book.entries.len(), book.entries.front().unwrap().n),
            (MAX_ENTRIES, 11)
        );
        assert_eq!(book.totals.calls, (MAX_ENTRIES + 10) as u64);
    }

    #[test]
    fn clearing_keeps_the_numbers_going() {
        let ledger = Ledger::open(None, true).unwrap();
        call(&ledger, 200);
        ledger.clear();
        call(&ledger, 529);
        let entries: Value = serde_json::from_slice(&ledger.read(1, true)).unwrap();
        assert_eq!(
            (&entries[0]["n"], &entries[0]["body"]),
            (&json!(2), &json!({}))
        );
        assert_eq!(ledger.summary()["by_status"], json!({"529": 1}));
    }

    #[test]
    fn only_the_last_thousand_bodies_are_kept() {
        let ledger = Ledger::open(None, true).unwrap();
        for _ in 0..MAX_BODIES + 5 {
            call(&ledger, 200);
        }
        assert_eq!(ledger.book().bodies.len(), MAX_BODIES);
    }
}
