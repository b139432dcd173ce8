//! What was used as CSV (RFC 4180), for spreadsheets: no text in it is a formula.

use super::view::{By, Line, RunSums, Usage};

/// What a text begins with that spreadsheets take for a formula.
const FORMULAS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// What was used, by its names in JSON: the columns after those that rows are told apart by.
pub(crate) const COLUMNS: [&str; 9] = [
    "calls",
    "wasted_calls",
    "rejected",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "usd_nano",
    "wasted_usd_nano",
];
/// Columns after these, where there is something to say of runs.
const OF_RUNS: [&str; 7] = [
    "runs_started",
    "runs_completed",
    "runs_escalated",
    "runs_failed",
    "runs_cancelled",
    "steps",
    "decisions",
];

/// All rows, with a head.
pub(super) fn write(usage: &Usage) -> String {
    let of_runs = usage.total.runs.is_some();
    let by = usage.by.iter().map(|by| by.as_str());
    let runs = OF_RUNS.into_iter().filter(|_| of_runs);
    let head: Vec<String> = by.chain(COLUMNS).chain(runs).map(str::to_owned).collect();
    let mut text = line(&head);
    for row in &usage.rows {
        text += &line(&cells(&usage.by, row, of_runs));
    }
    text
}

fn cells(by: &[By], row: &Line, of_runs: bool) -> Vec<String> {
    let named = |name: &Option<String>| safe(name.as_deref().unwrap_or_default());
    let mut cells: Vec<String> = by
        .iter()
        .map(|by| match by {
            By::Day => row.of.day.map(|day| day.to_string()).unwrap_or_default(),
            By::Workflow => named(&row.of.workflow),
            By::Model => named(&row.of.model),
            By::Tenant => named(&row.of.tenant),
        })
        .collect();
    let used = &row.used;
    let numbers = [
        used.calls,
        used.wasted_calls,
        used.rejected,
        used.input_tokens,
        used.output_tokens,
        used.cache_read_tokens,
        used.cache_write_tokens,
        used.usd_nano.nano(),
        used.wasted_usd_nano.nano(),
    ];
    cells.extend(numbers.map(|number| number.to_string()));
    if of_runs {
        let RunSums {
            started,
            completed,
            escalated,
            failed,
            cancelled,
            steps,
            decisions,
        } = used.runs.unwrap_or_default();
        let numbers = [
            started, completed, escalated, failed, cancelled, steps, decisions,
        ];
        cells.extend(numbers.map(|number| number.to_string()));
    }
    cells
}

/// A text that no spreadsheet takes for more.
fn safe(text: &str) -> String {
    if text.starts_with(FORMULAS) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

fn line(cells: &[String]) -> String {
    let cells = cells.iter().map(|cell| {
        if cell.contains(['"', ',', '\r', '\n']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    });
    cells.collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_and_what_separates_cells_is_quoted() {
        for formula in ["=1+1", "+x", "-x", "@x", "\tx", "\rx"] {
            assert_eq!(safe(formula), format!("'{formula}"));
        }
        assert_eq!(safe("claude-haiku-4-5"), "claude-haiku-4-5");
        let cells = ["a,b", "say \"x\"", "two\nlines", "plain"].map(str::to_owned);
        assert_eq!(
            line(&cells),
            "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",plain\r\n"
        );
    }
}
