//! The prompt cache: which part of a prompt is read, which is written, and for how long.
//!
//! It follows the rules that decide a bill. An entry is written only at a breakpoint, and only if its prefix is as long
//! as the model's minimum. A request reads the longest entry found by looking back from its breakpoints, at most
//! [`LOOK_BACK`] blocks each. What is used lives on: five minutes or one hour from its last use. An entry can be read
//! once the reply that writes it has begun, not while it is still waiting; so [`PromptCache::look_up`] and
//! [`PromptCache::commit`] are two steps.

use crate::prompt::{Key, Prefix, Prompt};
use crate::wire::Ttl;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Blocks looked at from a breakpoint backwards, the breakpoint's own included.
pub(crate) const LOOK_BACK: usize = 20;

/// Locks; a power of two.
const SHARDS: usize = 64;

/// Entries a shard holds; together 262,144, some 20 MB.
const SHARD_LIMIT: usize = 4096;

/// Cached prefixes, by hash. Bounded: the entries nearest to their end go first.
#[derive(Debug)]
pub(crate) struct PromptCache {
    shards: Vec<Mutex<HashMap<Key, Entry>>>,
    shard_limit: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    until: Instant,
    ttl: Ttl,
}

/// What the cache does for one prompt. All sizes in tokens; with what is left, `input_tokens`, they add up to the prompt.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Use {
    /// `cache_read_input_tokens`.
    pub(crate) read: u64,
    /// Written for five minutes.
    pub(crate) written_5m: u64,
    /// Written for one hour.
    pub(crate) written_1h: u64,
    /// Entries to write, or to keep alive, when the reply begins.
    entries: Vec<(Key, Ttl)>,
}

impl Use {
    /// `cache_creation_input_tokens`.
    pub(crate) fn written(&self) -> u64 {
        self.written_5m + self.written_1h
    }
}

impl PromptCache {
    pub(crate) fn new() -> Self {
        Self::with_shard_limit(SHARD_LIMIT)
    }

    fn with_shard_limit(shard_limit: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_limit,
        }
    }

    /// What of `prompt` is read and what will be written. `minimum` is the model's shortest prefix, in tokens.
    pub(crate) fn look_up(&self, prompt: &Prompt, minimum: u64, now: Instant) -> Use {
        let prefixes = &prompt.prefixes;
        let wanted = |prefix: &Prefix| prefix.breakpoint.filter(|_| prefix.tokens >= minimum);
        let mut found = None;
        for (index, _) in prefixes
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, prefix)| wanted(prefix).is_some())
        {
            let oldest = (index + 1).saturating_sub(LOOK_BACK);
            found = (oldest..=index)
                .rev()
                .find_map(|at| Some((at, self.live(&prefixes.get(at)?.key, now)?)));
            if found.is_some() {
                break;
            }
        }
        let hit = found.and_then(|(at, ttl)| Some((prefixes.get(at)?, ttl)));
        let read = hit.map_or(0, |(prefix, _)| prefix.tokens);
        let until = |ttl: Option<Ttl>| {
            let counts = |prefix: &&Prefix| {
                wanted(prefix).is_some_and(|own| ttl.is_none_or(|ttl| own == ttl))
            };
            prefixes
                .iter()
                .rev()
                .find(counts)
                .map_or(read, |prefix| prefix.tokens.max(read))
        };
        let (end_1h, end) = (until(Some(Ttl::OneHour)), until(None));
        let mut entries: Vec<(Key, Ttl)> = prefixes
            .iter()
            .filter_map(|prefix| Some((prefix.key, wanted(prefix)?)))
            .collect();
        entries.extend(hit.map(|(prefix, ttl)| (prefix.key, ttl)));
        Use {
            read,
            written_1h: end_1h - read,
            written_5m: end - end_1h,
            entries,
        }
    }

    /// The reply begins: what it writes can be read from now on, what it read lives on.
    pub(crate) fn commit(&self, used: &Use, now: Instant) {
        for (key, ttl) in &used.entries {
            let mut shard = self.shard(key);
            let ttl = shard
                .get(key)
                .filter(|entry| entry.until > now)
                .map_or(*ttl, |entry| entry.ttl.max(*ttl));
            if shard.len() >= self.shard_limit && !shard.contains_key(key) {
                make_room(&mut shard, self.shard_limit, now);
            }
            shard.insert(
                *key,
                Entry {
                    until: now + life(ttl),
                    ttl,
                },
            );
        }
    }

    /// Forgets everything, as if it had not been used for longer than it lives.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn live(&self, key: &Key, now: Instant) -> Option<Ttl> {
        self.shard(key)
            .get(key)
            .filter(|entry| entry.until > now)
            .map(|entry| entry.ttl)
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Entry>> {
        let index = usize::from(key[0]) % SHARDS;
        self.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn life(ttl: Ttl) -> Duration {
    match ttl {
        Ttl::FiveMinutes => Duration::from_secs(5 * 60),
        Ttl::OneHour => Duration::from_secs(60 * 60),
    }
}

/// Drops what has ended and, if that is not enough, the eighth that ends first: so that a full shard is not sorted
/// for every insert.
fn make_room(shard: &mut HashMap<Key, Entry>, limit: usize, now: Instant) {
    shard.retain(|_, entry| entry.until > now);
    if shard.len() < limit {
        return;
    }
    let mut ends: Vec<Instant> = shard.values().map(|entry| entry.until).collect();
    let (_, cut, _) = ends.select_nth_unstable(limit / 8);
    let cut = *cut;
    shard.retain(|_, entry| entry.until > cut);
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
