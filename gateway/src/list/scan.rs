//! Going through the index: the lists that have what is wanted, merged, newest first, and no more lines than one request may look at.

use std::collections::VecDeque;

use flotilla_common::{
    io::{
        http::Problem,
        store::{Cursor, Line, Store, rests},
    },
    run::Status,
};

use super::{Ask, Listed};
use crate::problem::ask_store;

/// Lines that one request looks at for what passes its filters, each of its lists a part of them; the next page goes on from there.
const LOOKED_AT_MAX: usize = 10_000;
/// Lines asked for at once when there are filters.
const LOOKED_AT_ONCE: usize = 500;

/// One of the lists of the index, from a place on.
#[derive(Debug)]
struct Feed {
    /// `None`: the list of all runs, of which those are taken that have no list of their own, unless `all`.
    status: Option<Status>,
    all: bool,
    /// Where the page begins.
    start: Option<Cursor>,
    lines: VecDeque<Line>,
    /// Up to where it was looked through.
    after: Option<Cursor>,
    /// Whether there is more than `lines`.
    more: bool,
    /// Lines of it that this request may still look at.
    left: usize,
}

impl Feed {
    /// Whether a line is to be found here rather than in another list.
    fn has(&self, line: &Line) -> bool {
        let is_own = |status| self.all || self.status.is_some() || !rests(status);
        let status = line.summary.as_ref().map(|run| run.status);
        status.is_none_or(is_own)
    }

    /// Gets lines if there are none at hand, as long as it may look at more; gives whether the index is complete.
    async fn fill(&mut self, store: &Store, count: usize) -> Result<bool, Problem> {
        let mut complete = true;
        while self.lines.is_empty() && self.more && self.left > 0 {
            let page = ask_store(store.list(self.status, self.after.as_ref(), count)).await?;
            complete &= page.complete;
            // Nobody can go on from lines that cannot be read.
            self.more = page.more && !page.lines.is_empty();
            self.after = page.lines.last().map(|line| line.cursor.clone());
            for line in page.lines {
                // Where the place itself is gone, the index gives those of the same moment again. They do not count, so that every page
                // comes to a later place.
                let start = self.start.as_ref();
                if start.is_some_and(|start| line.cursor >= *start) {
                    continue;
                }
                self.left = self.left.saturating_sub(1);
                if self.has(&line) {
                    self.lines.push_back(line);
                }
            }
        }
        Ok(complete)
    }
}

/// The lists that have the wanted statuses.
fn feeds(ask: &Ask) -> Vec<Feed> {
    let statuses = &ask.filter.statuses;
    let mut lists: Vec<Option<Status>> = statuses
        .iter()
        .copied()
        .filter(|status| rests(*status))
        .map(Some)
        .collect();
    if statuses.is_empty() || !statuses.iter().all(|status| rests(*status)) {
        lists.push(None);
    }
    lists.sort_by_key(|list| list.map(|status| status.to_string()));
    lists.dedup();
    let start = start(ask);
    // Each looks at its own part, so that none keeps another from going on: the next page begins at a place that all have passed.
    let left = (LOOKED_AT_MAX / lists.len().max(1)).max(1);
    let feed = |status| Feed {
        status,
        all: statuses.is_empty(),
        start: start.clone(),
        lines: VecDeque::new(),
        after: start.clone(),
        more: true,
        left,
    };
    lists.into_iter().map(feed).collect()
}

/// Where to begin: after the page before, and not before the wanted time.
fn start(ask: &Ask) -> Option<Cursor> {
    let until = ask.filter.until.map(Cursor::by);
    match (ask.after.clone(), until) {
        (Some(after), Some(until)) => Some(after.min(until)),
        (after, until) => after.or(until),
    }
}

/// A page of what passes.
pub(super) async fn scan(store: &Store, ask: &Ask) -> Result<Listed, Problem> {
    let mut listed = Listed {
        complete: true,
        ..Listed::default()
    };
    let mut feeds = feeds(ask);
    let count = lines_at_once(ask);
    loop {
        for feed in &mut feeds {
            listed.complete &= feed.fill(store, count).await?;
        }
        // A list that was looked through as far as may be: what comes after its place is not known.
        let stuck = feeds
            .iter()
            .filter(|feed| feed.lines.is_empty() && feed.more);
        let stuck = stuck.filter_map(|feed| feed.after.clone()).max();
        let Some(line) = newest(&mut feeds, stuck.as_ref()) else {
            listed.next = stuck.map(|place| place.to_string());
            return Ok(listed);
        };
        let is_over = |since| line.cursor.is_before(since);
        if ask.filter.since.is_some_and(is_over) {
            return Ok(listed);
        }
        listed
            .runs
            .extend(line.summary.filter(|run| ask.filter.passes(run)));
        if listed.runs.len() == ask.limit {
            let there_is_more = feeds.iter().any(|feed| feed.more || !feed.lines.is_empty());
            listed.next = there_is_more.then(|| line.cursor.to_string());
            return Ok(listed);
        }
    }
}

/// How many lines are asked for: where each one passes, no more than are wanted.
fn lines_at_once(ask: &Ask) -> usize {
    let has_list = ask.filter.statuses.iter().all(|status| rests(*status));
    if has_list && ask.filter.is_met_by_status() {
        ask.limit
    } else {
        LOOKED_AT_ONCE
    }
}

/// The newest line of all, as long as none that is newer may still be found.
fn newest(feeds: &mut [Feed], stuck: Option<&Cursor>) -> Option<Line> {
    let newest = feeds
        .iter_mut()
        .filter(|feed| !feed.lines.is_empty())
        .max_by(|one, other| {
            let place = |feed: &Feed| feed.lines.front().map(|line| line.cursor.clone());
            place(one).cmp(&place(other))
        })?;
    let is_known = |line: &Line| stuck.is_none_or(|stuck| line.cursor > *stuck);
    if newest.lines.front().is_some_and(is_known) {
        newest.lines.pop_front()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::Filter;

    #[test]
    fn each_list_has_a_part_of_what_is_looked_at_whatever_comes_before_it() {
        for statuses in [
            Vec::new(),
            vec![Status::Running, Status::Waiting],
            Status::ALL.to_vec(),
        ] {
            let filter = Filter {
                statuses,
                ..Filter::default()
            };
            let feeds = feeds(&Ask {
                filter,
                ..Ask::default()
            });
            assert!(feeds.iter().all(|feed| feed.left > 0), "{feeds:?}");
            let all: usize = feeds.iter().map(|feed| feed.left).sum();
            assert!(all <= LOOKED_AT_MAX, "{feeds:?}");
        }
    }
}
