//! The report: one file with everything in it.

use std::fmt::Write as _;

use super::{card::Card, evidence::Evidence};

const WIDTH: i64 = 1_100;
const LEFT: i64 = 190;
const ROW: i64 = 18;
/// The height of the curve of throughput.
const CURVE: i64 = 120;

/// The page.
pub(super) fn page(card: &Card, evidence: &Evidence) -> String {
    let verdict = if card.passed { "passed" } else { "failed" };
    let mut rows = String::new();
    for row in &card.rows {
        let class = if row.wrong == 0 { "good" } else { "bad" };
        let explained = row.explanation();
        let _ = write!(
            rows,
            "<tr><th>{}</th><td class={class}>{}</td><td>{}</td><td>{explained}</td></tr>",
            escaped(row.what),
            row.wrong,
            row.of
        );
        for finding in &row.findings {
            let _ = write!(
                rows,
                "<tr><td colspan=4 class=bad>{}</td></tr>",
                escaped(finding)
            );
        }
    }
    let mut left_out = String::new();
    for one in &card.left_out {
        let (what, why) = (escaped(one.what), escaped(&one.why));
        let _ = write!(left_out, "<p class=bad>Left out: {what}: {why}</p>");
    }
    let mut recovery = String::new();
    for row in &card.recovery {
        let _ = write!(
            recovery,
            "<tr><th>{}</th><td>{}</td><td>{} ms</td><td>{} ms</td></tr>",
            escaped(row.fault),
            row.times,
            row.p50_ms,
            row.p95_ms
        );
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>flotilla chaos: {verdict}</title><style>{STYLE}</style>\
<h1>flotilla chaos: <span class={}>{verdict}</span></h1>\
<p>Profile {}, seed {}, {} runs, {} faults, {} ms. {} calls of Claude; wasted: {} tokens.</p>{left_out}\
<table><tr><td></td><th>wrong</th><th>of</th><th>explained by a fault</th></tr>{rows}</table>\
<h2>Faults against throughput</h2>{}\
<h2>Recovery</h2><p>From a fault's beginning to the report of a run that was sent then.</p>\
<table><tr><td></td><th>faults</th><th>p50</th><th>p95</th></tr>{recovery}</table></html>\n",
        if card.passed { "good" } else { "bad" },
        escaped(card.profile),
        card.seed,
        card.runs,
        card.faults,
        card.took_ms,
        card.calls,
        card.wasted_tokens,
        timeline(evidence)
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1150px;padding:0 1rem;color:#222;\
background:#fff}table{border-collapse:collapse}td,th{padding:.15rem .8rem;text-align:left;border-bottom:1px solid #ddd}\
.good{color:#17692f}.bad{color:#b3261e}svg{width:100%;height:auto;font:11px system-ui,sans-serif}";

/// Faults as bars, a row for each kind and target, over runs that came to their report in each second.
fn timeline(evidence: &Evidence) -> String {
    let reports: Vec<i64> = evidence.reports().into_values().collect();
    let sent = evidence.accepted.iter().map(|event| event.sent_ms);
    let faults = evidence
        .happened
        .iter()
        .flat_map(|fault| [fault.begun_ms, fault.ended_ms]);
    let all: Vec<i64> = reports.iter().copied().chain(sent).chain(faults).collect();
    let (Some(from), Some(to)) = (all.iter().min().copied(), all.iter().max().copied()) else {
        return "<p>Nothing happened.</p>".to_owned();
    };
    let span = (to - from).max(1_000);
    let x = |at: i64| LEFT + (at - from) * (WIDTH - LEFT) / span;
    let mut names: Vec<String> = Vec::new();
    let mut bars = String::new();
    for fault in &evidence.happened {
        let name = format!("{} {}", fault.kind.name(), fault.target);
        let row = names
            .iter()
            .position(|known| *known == name)
            .unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            });
        let top = CURVE + 20 + i64::try_from(row).unwrap_or(0) * ROW;
        let width = (x(fault.ended_ms) - x(fault.begun_ms)).max(3);
        let _ = write!(
            bars,
            "<rect x={} y={} width={width} height={} fill='#b3261e' opacity='.75'><title>{}: {} ms</title></rect>",
            x(fault.begun_ms),
            top + 3,
            ROW - 6,
            escaped(&name),
            fault.ended_ms - fault.begun_ms
        );
    }
    let mut labels = String::new();
    for (top, name) in (0i64..).map(|row| CURVE + 20 + row * ROW).zip(&names) {
        let _ = write!(labels, "<text x=0 y={}>{}</text>", top + 13, escaped(name));
    }
    let height = CURVE + 40 + i64::try_from(names.len()).unwrap_or(0) * ROW;
    format!(
        "<svg viewBox='0 0 {WIDTH} {height}' role=img aria-label='faults and throughput'>{}{bars}{labels}\
<text x=0 y=14>runs a second</text><text x={LEFT} y={}>0 s</text><text x={} y={} text-anchor=end>{} s</text></svg>",
        curve(&reports, from, span),
        height - 4,
        WIDTH - 4,
        height - 4,
        span / 1_000
    )
}

fn curve(reports: &[i64], from: i64, span: i64) -> String {
    let seconds = usize::try_from(span / 1_000 + 1).unwrap_or(1);
    let mut counts = vec![0i64; seconds];
    for at in reports {
        let second = usize::try_from((at - from) / 1_000).unwrap_or(0);
        if let Some(count) = counts.get_mut(second) {
            *count += 1;
        }
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let mut points = String::new();
    for (second, count) in (0i64..).zip(&counts) {
        let x = LEFT + second * 1_000 * (WIDTH - LEFT) / span;
        let y = CURVE - count * (CURVE - 20) / most;
        let _ = write!(points, "{x},{y} ");
    }
    format!(
        "<polyline points='{points}' fill=none stroke='#1a56a8' stroke-width=1.5 /><text x={} y=28 text-anchor=end>{most}</text>",
        LEFT - 6
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let hostile = "<script>'&\"</script>";
        assert_eq!(
            escaped(hostile),
            "&lt;script&gt;&#39;&amp;&quot;&lt;/script&gt;"
        );
    }
}
