//! Workflows that run others: all of them are there, and none runs itself in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{parse::Parsed, problem::Report, words::nearest};
use crate::ids::Name;

/// Notes `run` steps of workflows that are not there (where all files could be read), and circles of them. `others` are
/// workflows that are there besides, and which they run; a file takes the place of one with its name.
pub(super) fn check(
    files: &mut [(Report<'_>, Parsed)],
    others: &BTreeMap<Name, Vec<Name>>,
    all_read: bool,
) {
    let others = others.iter();
    let mut newest: BTreeMap<Name, (u32, Vec<Name>)> = others
        .map(|(name, runs)| (name.clone(), (0, runs.clone())))
        .collect();
    for (_, parsed) in files.iter() {
        let version = parsed.version.value;
        let known = newest.get(&parsed.name);
        if known.is_none_or(|(other, _)| *other < version) {
            let runs = parsed.runs.iter().map(|run| run.value.clone()).collect();
            newest.insert(parsed.name.clone(), (version, runs));
        }
    }
    let mut told = BTreeSet::new();
    for (report, parsed) in files {
        let is_newest = newest
            .get(&parsed.name)
            .is_some_and(|(version, _)| *version == parsed.version.value);
        for run in &parsed.runs {
            if !newest.contains_key(&run.value) {
                if all_read {
                    let (message, help) = not_there(&run.value, &newest);
                    report.at(run.referenced, message, Some(&help));
                }
                continue;
            }
            let back = is_newest
                .then(|| way(&run.value, &parsed.name, &newest))
                .flatten();
            let Some(back) = back else {
                continue;
            };
            if told.insert(back.iter().cloned().collect::<BTreeSet<_>>()) {
                let words = back.iter().map(|name| format!(" runs `{name}`"));
                let words: String = words.collect();
                let message = format!("`{}`{words}: it would never end", parsed.name);
                report.at(run.referenced, message, None);
            }
        }
    }
}

fn not_there(name: &Name, known: &BTreeMap<Name, (u32, Vec<Name>)>) -> (String, String) {
    let names: Vec<&str> = known.keys().map(Name::as_str).collect();
    let help = match nearest(name.as_str(), names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", names.join(", ")),
    };
    (format!("there is no workflow `{name}`"), help)
}

/// The shortest way from one workflow to another, both included: a workflow runs the newest version of another.
fn way(from: &Name, to: &Name, newest: &BTreeMap<Name, (u32, Vec<Name>)>) -> Option<Vec<Name>> {
    let mut seen = BTreeSet::from([from]);
    let mut ways = VecDeque::from([vec![from]]);
    while let Some(way) = ways.pop_front() {
        let last = *way.last()?;
        if last == to {
            return Some(way.into_iter().cloned().collect());
        }
        let (_, runs) = newest.get(last)?;
        for next in runs {
            if newest.contains_key(next) && seen.insert(next) {
                let mut longer = way.clone();
                longer.push(next);
                ways.push_back(longer);
            }
        }
    }
    None
}
