//! The operations, by what they are about.

mod control;
mod dead;
mod definitions;
mod events;
mod figures;
mod runs;
mod signals;
pub(super) mod tokens;

use serde_json::{Value, json};

use super::operation::Operation;

/// The headings, in their order.
const TAGS: [(&str, &str); 9] = [
    ("events", "What comes in and starts runs"),
    ("runs", "What runs do, and have done; live, too"),
    (
        "signals",
        "What people tell runs, and say to their questions",
    ),
    (
        "definitions",
        "Workflows: which versions there are, and which of them new runs get",
    ),
    (
        "tools",
        "Tools, how their breakers stand, and what is switched off",
    ),
    ("money", "What may be spent"),
    ("dead letters", "What nobody could handle"),
    (
        "figures",
        "What was used and what it cost, how the fleet does, and who is there",
    ),
    ("access", "Who may ask what, and who did"),
];

/// Every operation.
pub(super) fn all() -> Vec<Operation> {
    let tables = [
        ("events", events::all()),
        ("runs", runs::all()),
        ("signals", signals::all()),
        ("definitions", definitions::all()),
        ("tools", control::tools()),
        ("money", control::money()),
        ("dead letters", dead::all()),
        ("figures", figures::all()),
        ("access", tokens::all()),
    ];
    let tagged = |(tag, operations): (&'static str, Vec<Operation>)| {
        operations
            .into_iter()
            .map(move |operation| operation.tagged(tag))
    };
    tables.into_iter().flat_map(tagged).collect()
}

/// The headings as the document has them.
pub(super) fn tags() -> Vec<Value> {
    let tag = |(name, description)| json!({"name": name, "description": description});
    TAGS.into_iter().map(tag).collect()
}
