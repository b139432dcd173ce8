//! What all calls come to.

use super::Entry;
use crate::reply::Usage;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Model names kept apart; what clients make up beyond that is counted as one.
const MAX_MODELS: usize = 100;

/// Sums over all calls since the start or the last clearing.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) calls: u64,
    undelivered: u64,
    by_status: BTreeMap<u16, u64>,
    by_fault: BTreeMap<&'static str, u64>,
    by_wrong: BTreeMap<&'static str, u64>,
    tokens: Tokens,
    usd_nano: u64,
    usd_nano_undelivered: u64,
    by_model: BTreeMap<String, OfModel>,
}

#[derive(Debug, Clone, Default)]
struct OfModel {
    calls: u64,
    tokens: Tokens,
    usd_nano: u64,
}

#[derive(Debug, Clone, Default)]
struct Tokens {
    input: u64,
    cache_creation: u64,
    cache_read: u64,
    output: u64,
}

impl Totals {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.calls += 1;
        *self.by_status.entry(entry.status).or_default() += 1;
        if let Some(fault) = entry.fault {
            *self.by_fault.entry(fault).or_default() += 1;
        }
        if let Some(wrong) = entry.wrong {
            *self.by_wrong.entry(wrong).or_default() += 1;
        }
        self.usd_nano += entry.usd_nano;
        if !entry.delivered {
            self.undelivered += 1;
            self.usd_nano_undelivered += entry.usd_nano;
        }
        self.tokens.add(entry.usage.as_ref());
        let model = entry.model.as_deref().unwrap_or("none");
        let known = self.by_model.contains_key(model) || self.by_model.len() < MAX_MODELS;
        let model = if known { model } else { "others" };
        let of_model = self.by_model.entry(model.to_owned()).or_default();
        of_model.calls += 1;
        of_model.usd_nano += entry.usd_nano;
        of_model.tokens.add(entry.usage.as_ref());
    }

    pub(super) fn json(&self) -> Value {
        let by_status: Map<String, Value> = self
            .by_status
            .iter()
            .map(|(status, calls)| (status.to_string(), (*calls).into()))
            .collect();
        let by_model: Map<String, Value> = self
            .by_model
            .iter()
            .map(|(model, of_model)| {
                let OfModel {
                    calls,
                    tokens,
                    usd_nano,
                } = of_model;
                let sums = json!({"calls": calls, "tokens": tokens.json(), "usd_nano": usd_nano});
                (model.clone(), sums)
            })
            .collect();
        let limited = self.by_status.get(&429).copied().unwrap_or(0);
        let share_429 = if self.calls == 0 {
            0.0
        } else {
            limited as f64 / self.calls as f64
        };
        json!({
            "calls": self.calls,
            "undelivered": self.undelivered,
            "by_status": by_status,
            "share_429": share_429,
            "by_fault": self.by_fault,
            "by_wrong": self.by_wrong,
            "tokens": self.tokens.json(),
            "usd_nano": self.usd_nano,
            "usd_nano_undelivered": self.usd_nano_undelivered,
            "by_model": by_model,
        })
    }
}

impl Tokens {
    fn add(&mut self, usage: Option<&Usage>) {
        let Some(usage) = usage else { return };
        self.input += usage.input_tokens;
        self.cache_creation += usage.cache_creation_input_tokens;
        self.cache_read += usage.cache_read_input_tokens;
        self.output += usage.output_tokens;
    }

    fn json(&self) -> Value {
        json!({
            "input": self.input,
            "cache_creation": self.cache_creation,
            "cache_read": self.cache_read,
            "output": self.output,
        })
    }
}
