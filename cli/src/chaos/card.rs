//! The scorecard.

use std::{collections::BTreeMap, process::ExitCode};

use flotilla_common::money::Usd;
use serde::Serialize;

use super::{
    Options,
    checks::{self, Found},
    evidence::Evidence,
    inject::Happened,
    permitted::LeftOut,
    schedule::Fault,
};
use crate::{
    figures::{millis, number},
    style::{bad, bold, dim, good, warn},
};

/// Findings of one row that are shown to people; all of them are in the JSON.
const SHOWN: usize = 5;

/// One promise, and how often it was broken.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) wrong: usize,
    /// Of how many.
    pub(super) of: usize,
    /// How many others a fault explains, by the definitions of `docs/reliability.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) explained: Option<usize>,
    /// How many others only the fleet itself speaks for; of a fleet that is not the kit's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owned_up: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) findings: Vec<String>,
}

impl Row {
    /// What speaks for those that are not wrong, for people.
    pub(super) fn explanation(&self) -> String {
        let count = |count: usize| number(count as u64);
        let explained = self.explained.map_or(String::new(), count);
        match self.owned_up {
            Some(owned_up) if owned_up > 0 => {
                format!(
                    "{explained}, and {} that the fleet tells itself",
                    count(owned_up)
                )
            }
            Some(_) | None => explained,
        }
    }
}

/// How long runs took that were sent when a fault began.
#[derive(Debug, Serialize)]
pub(super) struct Recovery {
    pub(super) fault: &'static str,
    pub(super) times: usize,
    pub(super) p50_ms: i64,
    pub(super) p95_ms: i64,
}

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Card {
    pub(super) passed: bool,
    pub(super) seed: u64,
    pub(super) profile: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broken: Option<&'static str>,
    pub(super) runs: usize,
    pub(super) faults: usize,
    pub(super) took_ms: i64,
    pub(super) rows: Vec<Row>,
    pub(super) calls: usize,
    pub(super) spent_nano: u64,
    pub(super) wasted_tokens: u64,
    pub(super) wasted_nano: u64,
    pub(super) recovery: Vec<Recovery>,
    pub(super) schedule: Vec<Fault>,
    /// What was done in fact, scenes included.
    pub(super) happened: Vec<Happened>,
    pub(super) scenes: Vec<&'static str>,
    /// What of the profile was not tested, for this machine does not permit it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) left_out: Vec<LeftOut>,
}

impl Card {
    pub(super) fn of(
        evidence: &Evidence,
        options: &Options,
        schedule: Vec<Fault>,
        mut problems: Vec<String>,
        took_ms: i64,
    ) -> Self {
        let accepted = evidence.accepted.len();
        let paid = checks::paid(evidence);
        let row = |what, of, wrong: Vec<String>| Row {
            what,
            wrong: wrong.len(),
            of,
            explained: None,
            owned_up: None,
            findings: wrong,
        };
        let with = |what, of, found: Found| Row {
            explained: Some(found.explained),
            ..row(what, of, found.wrong)
        };
        problems.extend(checks::missing(evidence));
        problems.sort();
        let said = evidence.said.verdicts.len();
        let booked = evidence.effects_at("/book").count();
        let rows = vec![
            row("runs lost", accepted, checks::lost(evidence)),
            row(
                "steps repeated",
                evidence.journal.len(),
                checks::repeated(evidence),
            ),
            row(
                "effects doubled",
                evidence.effects.len(),
                checks::doubled(evidence),
            ),
            Row {
                owned_up: evidence.attached.then_some(paid.owned_up),
                ..with("calls paid twice", evidence.calls.len(), paid.twice)
            },
            with("ceilings passed", accepted, checks::over_ceilings(evidence)),
            row("approvals misapplied", said, checks::misapplied(evidence)),
            with("not undone", booked, checks::not_undone(evidence)),
            row("other problems", 0, problems),
        ];
        Self {
            passed: rows.iter().all(|row| row.wrong == 0),
            seed: options.seed,
            profile: options.profile(),
            broken: options.broken.map(flotilla_common::io::broken::Rule::name),
            runs: accepted,
            faults: evidence.happened.len(),
            took_ms,
            rows,
            calls: evidence.calls.len(),
            spent_nano: paid.nano,
            wasted_tokens: paid.wasted_tokens,
            wasted_nano: paid.wasted_nano,
            recovery: recovery(evidence),
            schedule,
            happened: evidence.happened.clone(),
            scenes: options.scenes.iter().map(|scene| scene.name()).collect(),
            left_out: options.left_out.clone(),
        }
    }

    /// Tells it, as JSON or for people; gives the exit status.
    pub(super) fn told(&self, json: bool) -> anyhow::Result<ExitCode> {
        if json {
            println!("{}", serde_json::to_string(self)?);
        } else {
            self.print();
        }
        Ok(if self.passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn print(&self) {
        self.print_rows();
        println!();
        println!(
            "{} calls of Claude for {}; wasted: {} tokens, {}",
            number(self.calls as u64),
            Usd::from_nano(self.spent_nano),
            number(self.wasted_tokens),
            Usd::from_nano(self.wasted_nano)
        );
        self.print_recovery();
        println!();
        for left_out in &self.left_out {
            println!(
                "{}",
                warn(format!("left out: {}: {}", left_out.what, left_out.why))
            );
        }
        let verdict = self.verdict();
        let verdict = if self.passed {
            good(verdict)
        } else {
            bad(verdict)
        };
        let took = millis(u64::try_from(self.took_ms).unwrap_or(0));
        println!(
            "{} · {} runs, {} faults in {took}, seed {}",
            bold(verdict),
            number(self.runs as u64),
            self.faults,
            self.seed
        );
    }

    /// What it comes to.
    fn verdict(&self) -> String {
        let owned_up: usize = self.rows.iter().filter_map(|row| row.owned_up).sum();
        match (self.passed, owned_up) {
            (false, _) => "FAILED".to_owned(),
            (true, 0) => "passed: nothing was lost, nothing was doubled".to_owned(),
            (true, count) => format!(
                "passed: nothing was lost; {} calls were paid twice, and the fleet says so itself",
                number(count as u64)
            ),
        }
    }

    fn print_rows(&self) {
        println!();
        println!(
            "{:<24}{}  {:>8}  {}",
            "",
            bold(format!("{:>8}", "wrong")),
            "of",
            dim("explained by a fault")
        );
        for row in &self.rows {
            let wrong = format!("{:>8}", number(row.wrong as u64));
            let wrong = if row.wrong == 0 {
                good(wrong)
            } else {
                bad(wrong)
            };
            let explained = row.explanation();
            println!(
                "{:<24}{wrong}  {:>8}  {}",
                row.what,
                number(row.of as u64),
                dim(explained)
            );
            for finding in row.findings.iter().take(SHOWN) {
                println!("    {}", warn(crate::style::one_line(finding, 300)));
            }
            if row.findings.len() > SHOWN {
                println!(
                    "    {}",
                    dim(format!("and {} more", row.findings.len() - SHOWN))
                );
            }
        }
    }

    fn print_recovery(&self) {
        if self.recovery.is_empty() {
            return;
        }
        println!();
        println!(
            "{}{:>8}  {:>10}  {:>10}",
            dim(format!("{:<24}", "recovery")),
            "faults",
            "p50",
            "p95"
        );
        for row in &self.recovery {
            let ms = |ms: i64| millis(u64::try_from(ms).unwrap_or(0));
            println!(
                "{:<24}{:>8}  {:>10}  {:>10}",
                row.fault,
                row.times,
                ms(row.p50_ms),
                ms(row.p95_ms)
            );
        }
    }
}

/// From the beginning of each fault to the report of the run that was sent then, by kind.
fn recovery(evidence: &Evidence) -> Vec<Recovery> {
    let reports = evidence.reports();
    let mut times: BTreeMap<&'static str, Vec<i64>> = BTreeMap::new();
    for fault in &evidence.happened {
        let probe = fault.probe.as_ref();
        if let Some(done) = probe.and_then(|probe| reports.get(probe.as_str())) {
            let took = done.saturating_sub(fault.begun_ms);
            times.entry(fault.kind.name()).or_default().push(took);
        }
    }
    let all = times.into_iter().map(|(fault, mut times)| {
        times.sort_unstable();
        Recovery {
            fault,
            times: times.len(),
            p50_ms: percentile(&times, 50),
            p95_ms: percentile(&times, 95),
        }
    });
    all.collect()
}

/// The smallest of sorted values that so many of a hundred do not exceed; 0 of none.
fn percentile(sorted: &[i64], of_hundred: usize) -> i64 {
    let rank = (sorted.len() * of_hundred).div_ceil(100);
    let at = rank.saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0)
}
