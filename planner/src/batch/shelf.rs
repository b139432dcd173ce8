//! What this process knows of batches: how far they are, and the results of those that ended. The runs of a batch come at once, and
//! share one question and one download.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flotilla_common::{
    claude::{Batch, batch_line_name},
    ids::RunId,
};
use tokio::{
    sync::{Mutex as Turn, OnceCell},
    time::Instant,
};
use tracing::debug;

use crate::claude::{CallError, Claude};

/// Batches that are remembered; the one looked at longest ago makes room.
const BATCHES_MAX: usize = 16;
/// How long an answer, or a failure, is good for all who ask.
const FRESH: Duration = Duration::from_secs(1);
/// Bytes of results of one batch that are kept for runs that have not asked yet. What somebody waits for is kept in any case.
const SPARE_BYTES_MAX: usize = 8 << 20;

type Failure = Box<CallError>;
type Status = Turn<Option<(Instant, Result<Batch, Failure>)>>;

/// The batches that were looked at last.
pub(super) struct Shelf {
    claude: Arc<Claude>,
    books: Mutex<VecDeque<Arc<Book>>>,
}

/// One batch.
struct Book {
    id: String,
    status: Status,
    /// Items that somebody here waits for.
    wanted: Mutex<BTreeSet<String>>,
    results: Turn<Option<(Instant, Result<Results, Failure>)>>,
    /// The names of all our items in it, once they were read.
    names: OnceCell<BTreeSet<String>>,
}

/// Lines of results that nobody has taken yet.
#[derive(Default)]
struct Results(BTreeMap<String, Vec<u8>>);

impl Shelf {
    pub(super) fn new(claude: Arc<Claude>) -> Self {
        Self {
            claude,
            books: Mutex::default(),
        }
    }

    /// How far a batch is.
    pub(super) async fn status(&self, id: &str) -> Result<Batch, Failure> {
        let book = self.book(id);
        let mut status = book.status.lock().await;
        if let Some((at, known)) = &*status {
            let ended = known.as_ref().is_ok_and(Batch::has_ended);
            if ended || at.elapsed() < FRESH {
                return known.clone();
            }
        }
        let asked = self.claude.batch(id).await;
        *status = Some((Instant::now(), asked.clone()));
        asked
    }

    /// The line about an item of a batch that has ended; `None`: it is not in it.
    pub(super) async fn line(&self, id: &str, item: &str) -> Result<Option<Vec<u8>>, Failure> {
        let book = self.book(id);
        lock(&book.wanted).insert(item.to_owned());
        let line = self.take(&book, item).await;
        lock(&book.wanted).remove(item);
        line
    }

    /// Whether a batch that has ended has this item.
    pub(super) async fn has(&self, id: &str, item: &str) -> Result<bool, Failure> {
        let book = self.book(id);
        if book.names.get().is_none() {
            self.take(&book, "").await?;
        }
        Ok(book.names.get().is_some_and(|names| names.contains(item)))
    }

    async fn take(&self, book: &Book, item: &str) -> Result<Option<Vec<u8>>, Failure> {
        let mut results = book.results.lock().await;
        let known = match &mut *results {
            Some((_, Ok(results))) => {
                let line = results.0.remove(item);
                let elsewhere = book.names.get().is_some_and(|names| !names.contains(item));
                (line.is_some() || elsewhere).then_some(Ok(line))
            }
            Some((at, Err(failure))) if at.elapsed() < FRESH => Some(Err(failure.clone())),
            Some((_, Err(_))) | None => None,
        };
        if let Some(known) = known {
            return known;
        }
        let mut read = self.read(book).await;
        let line = match &mut read {
            Ok(results) => Ok(results.0.remove(item)),
            Err(failure) => Err(failure.clone()),
        };
        *results = Some((Instant::now(), read));
        line
    }

    /// Downloads the results.
    async fn read(&self, book: &Book) -> Result<Results, Failure> {
        let mut names = BTreeSet::new();
        let mut results = Results::default();
        let mut spare = 0;
        let reading = self.claude.batch_results(&book.id, |line| {
            let Ok(name) = batch_line_name(line) else {
                debug!(batch = book.id, "a line of results cannot be read");
                return;
            };
            // Others may make batches with the same key.
            if !is_ours(&name) {
                return;
            }
            let wanted = lock(&book.wanted).contains(&name);
            if wanted || spare + line.len() <= SPARE_BYTES_MAX {
                spare += if wanted { 0 } else { line.len() };
                results.0.insert(name.clone(), line.to_vec());
            }
            names.insert(name);
        });
        reading.await?;
        debug!(batch = book.id, items = names.len(), "results read");
        // Read again, they are the same.
        drop(book.names.set(names));
        Ok(results)
    }

    /// What is known of a batch, which is the one looked at last now.
    fn book(&self, id: &str) -> Arc<Book> {
        let mut books = lock(&self.books);
        let at = books.iter().position(|book| book.id == id);
        let book = at.and_then(|at| books.remove(at)).unwrap_or_else(|| {
            Arc::new(Book {
                id: id.to_owned(),
                status: Turn::default(),
                wanted: Mutex::default(),
                results: Turn::default(),
                names: OnceCell::new(),
            })
        });
        books.push_back(Arc::clone(&book));
        if books.len() > BATCHES_MAX {
            books.pop_front();
        }
        book
    }
}

/// Whether an item's name is one that this fleet gives: it begins with a run's id.
fn is_ours(name: &str) -> bool {
    name.split_once('-')
        .is_some_and(|(run, _)| run.parse::<RunId>().is_ok())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
