//! The ledger: one entry for every call that came in, however it ended.
//!
//! An entry is made when the last of the answer is handed to the connection, or when the client is gone before that.
//! So whoever has read an answer finds its entry, and a call that was paid for and lost is there too, with
//! `delivered: false` and the answer it would have got.

mod entry;
mod rate;
mod totals;

pub(crate) use entry::Entry;

use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use totals::Totals;

/// Entries kept in memory, some 1 kB each; the oldest go. The file, where there is one, has all.
const MAX_ENTRIES: usize = 200_000;

/// Request bodies kept, if they are kept at all.
const MAX_BODIES: usize = 1000;

/// Bytes of bodies kept.
const MAX_BODY_BYTES: usize = 256 << 20;

/// Entries in memory, totals, and the file.
#[derive(Debug)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
    file: Option<File>,
    keep_bodies: bool,
    in_flight: AtomicU64,
    max_in_flight: AtomicU64,
    /// Prompts counted, which cost nothing and have no entry.
    counted: AtomicU64,
}

#[derive(Debug, Default)]
struct Book {
    last: u64,
    entries: VecDeque<Arc<Entry>>,
    bodies: VecDeque<(u64, Bytes)>,
    body_bytes: usize,
    totals: Totals,
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
            counted: AtomicU64::new(0),
        })
    }

    /// Whether [`Ledger::record`] does anything with a body.
    pub(crate) fn keeps_bodies(&self) -> bool {
        self.keep_bodies
    }

    /// A prompt was counted.
    pub(crate) fn count(&self) {
        self.counted.fetch_add(1, Ordering::Relaxed);
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
        self.counted.store(0, Ordering::Relaxed);
        self.max_in_flight
            .store(self.in_flight.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Totals since the start or the last clearing, also of entries that are no longer in memory.
    pub(crate) fn summary(&self) -> Value {
        let mut summary = self.book().totals.json();
        summary["count_tokens"] = self.counted.load(Ordering::Relaxed).into();
        summary["in_flight"] = self.in_flight.load(Ordering::Relaxed).into();
        summary["max_in_flight"] = self.max_in_flight.load(Ordering::Relaxed).into();
        summary
    }

    /// Calls by when they came in, one figure for every `bucket_ms` in which any did. Of entries in memory.
    pub(crate) fn rate(&self, bucket_ms: u64) -> Value {
        let entries: Vec<Arc<Entry>> = self.book().entries.iter().cloned().collect();
        rate::by_time(&entries, bucket_ms)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn add(&mut self, entry: Arc<Entry>) {
        self.totals.add(&entry);
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
