//! `submit`, `runs`, `show`.

use std::{io::Read as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use flotilla_common::{
    ids::{EventType, Name, RunId},
    money::Usd,
    run::{Status, Summary},
};
use serde_json::{Value, json};

use crate::{
    client::{Client, Shown, Submitted},
    dead,
    exit::{NotFound, Usage},
    figures::{millis, status, totals},
    follow::{follow, goes_on},
    live::Following,
    output::Output,
    parked::Park,
    style::{bold, dim, one_line},
    timeline::Timeline,
    waiting,
};

/// An event to submit.
#[derive(Debug, clap::Args)]
pub(crate) struct Submit {
    /// File with an event: a CloudEvent, or plain JSON {type, data, …}; `-` reads standard input
    #[arg(conflicts_with_all = ["kind", "payload"], required_unless_present = "kind")]
    file: Option<PathBuf>,
    /// Type of the event
    #[arg(long = "type", id = "kind", value_name = "TYPE")]
    kind: Option<EventType>,
    /// Its data: JSON, or @FILE
    #[arg(long, requires = "kind")]
    payload: Option<String>,
    /// Its id: the same source and id is the same event, and starts nothing twice
    #[arg(long, requires = "kind")]
    id: Option<String>,
    /// Its source
    #[arg(long, requires = "kind")]
    source: Option<String>,
    /// Return at once instead of following the runs to their end
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    output: Output,
}

/// Which runs to list.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// At most so many, newest first
    #[arg(long, default_value_t = 20)]
    limit: u16,
    /// Only these: running, parked, waiting, paused, completed, escalated, failed, cancelled
    #[arg(long)]
    status: Option<Status>,
    /// Only of this workflow
    #[arg(long)]
    workflow: Option<Name>,
    /// Only those that called this tool
    #[arg(long)]
    tool: Option<Name>,
    /// Go on where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Which run to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The run
    run: RunId,
    /// Follow it to its end
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) async fn submit(client: &Client, args: Submit) -> anyhow::Result<ExitCode> {
    let (body, content_type) = event_of(&args)?;
    let submitted = client.submit(body, content_type).await?;
    if args.output.json() {
        println!(
            "{}",
            json!({"id": submitted.id, "runs": submitted.runs, "duplicate": submitted.duplicate})
        );
    } else {
        let twice = if submitted.duplicate {
            " (it was there already)"
        } else {
            ""
        };
        println!(
            "event {} is on disk{twice}",
            bold(one_line(&submitted.id, 100))
        );
    }
    if submitted.runs.is_empty() && !args.output.json() {
        println!("no workflow's condition holds for it: nothing starts");
    }
    if args.detach || args.output.json() {
        if !args.output.json() {
            submitted.runs.iter().for_each(|run| println!("{run}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    follow_all(client, &submitted).await
}

async fn follow_all(client: &Client, submitted: &Submitted) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for run in &submitted.runs {
        let shown = follow(Following::new(client, run)).await?;
        println!();
        shown
            .run
            .iter()
            .flat_map(totals)
            .for_each(|line| println!("{line}"));
        if !went_well(shown.run.as_ref()) {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Whether a run did what it should, or has escalated as its definition says.
fn went_well(run: Option<&Summary>) -> bool {
    run.is_some_and(|run| matches!(run.status, Status::Completed | Status::Escalated))
}

/// What a command ends with that ends with a run.
pub(crate) fn exit_code(run: Option<Summary>) -> ExitCode {
    if went_well(run.as_ref()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn event_of(args: &Submit) -> anyhow::Result<(Vec<u8>, &'static str)> {
    let body = match (&args.file, &args.kind) {
        (Some(path), _) if path.as_os_str() == "-" => {
            let mut body = Vec::new();
            std::io::stdin()
                .read_to_end(&mut body)
                .context("cannot read standard input")?;
            body
        }
        (Some(path), _) => {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
        }
        (None, Some(kind)) => {
            let data: Value = match args.payload.as_deref() {
                None => Value::Null,
                Some(text) => json_of("--payload", text)?,
            };
            let mut event = json!({"type": kind, "data": data});
            for (name, value) in [("id", &args.id), ("source", &args.source)] {
                if let Some(value) = value {
                    event[name] = json!(value);
                }
            }
            serde_json::to_vec(&event)?
        }
        (None, None) => bail!(Usage("give a file, or --type and --payload".to_owned())),
    };
    let structured = serde_json::from_slice::<Value>(&body)
        .is_ok_and(|event| event.get("specversion").is_some());
    Ok((
        body,
        if structured {
            "application/cloudevents+json"
        } else {
            "application/json"
        },
    ))
}

/// The JSON that a flag gives: as a text, or in a file behind `@`.
pub(crate) fn json_of(flag: &str, text: &str) -> anyhow::Result<Value> {
    let text = match text.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?
        }
        None => text.to_owned(),
    };
    serde_json::from_str(&text).with_context(|| format!("{flag} is not JSON"))
}

pub(crate) async fn list(client: &Client, args: List) -> anyhow::Result<ExitCode> {
    let mut query = format!("limit={}", args.limit);
    if let Some(status) = args.status {
        query += &format!("&status={status}");
    }
    if let Some(workflow) = &args.workflow {
        query += &format!("&workflow={workflow}");
    }
    if let Some(tool) = &args.tool {
        query += &format!("&tool={tool}");
    }
    if let Some(cursor) = &args.cursor {
        query += &format!("&cursor={cursor}");
    }
    let page = client.runs(&query).await?;
    if args.output.json() {
        println!("{}", json!({"runs": page.runs, "next": page.next}));
        return Ok(ExitCode::SUCCESS);
    }
    let filters: String = [
        args.status.map(|status| format!(" --status {status}")),
        args.workflow
            .map(|workflow| format!(" --workflow {workflow}")),
        args.tool.map(|tool| format!(" --tool {tool}")),
        Some(format!(" --limit {}", args.limit)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let more = page
        .next
        .map(|next| format!("more: flotilla runs{filters} --cursor {next}"));
    if page.runs.is_empty() && more.is_none() {
        println!("no runs; submit an event: flotilla submit --type TYPE --payload '{{…}}'");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{}",
        bold(format!(
            "{:<37} {:<22} {:<10} {:>5} {:>10} {:>9}  started",
            "run", "workflow", "status", "steps", "cost", "time"
        ))
    );
    for run in &page.runs {
        let took = run
            .ended_at
            .unwrap_or_else(jiff::Timestamp::now)
            .duration_since(run.started_at)
            .as_millis();
        let pad = " ".repeat(10_usize.saturating_sub(run.status.to_string().len()));
        println!(
            "{:<37} {:<22} {}{pad} {:>5} {:>10} {:>9}  {}",
            run.id,
            format!("{} v{}", run.workflow, run.version),
            status(run.status),
            run.steps,
            run.usd_nano,
            millis(u64::try_from(took).unwrap_or(0)),
            dim(run
                .started_at
                .round(jiff::Unit::Second)
                .unwrap_or(run.started_at)),
        );
    }
    page.runs
        .iter()
        .filter_map(dead::in_list)
        .for_each(|line| println!("{line}"));
    if let Some(more) = more {
        println!("{}", dim(more));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn show(client: &Client, args: Show) -> anyhow::Result<ExitCode> {
    let Some(shown) = client.run(&args.run, 0).await? else {
        bail!(NotFound(format!("there is no run {}", args.run)))
    };
    if args.output.json() {
        let journal: Vec<Value> = shown
            .journal
            .iter()
            .map(|line| json!({"seq": line.seq, "subject": line.subject, "entry": line.entry}))
            .collect();
        let children = shown.children_usd_nano;
        println!(
            "{}",
            json!({"run": shown.run, "children_usd_nano": children, "journal": journal})
        );
        return Ok(ExitCode::SUCCESS);
    }
    let on = shown.run.as_ref().is_some_and(|run| goes_on(run.status));
    let mut timeline = Timeline::default();
    let shown = if args.follow && on {
        follow(Following::known(client, &args.run)).await?
    } else {
        shown
            .journal
            .iter()
            .flat_map(|line| timeline.lines(line))
            .for_each(|line| println!("{line}"));
        shown
    };
    ending(&shown, timeline.park())?;
    Ok(ExitCode::SUCCESS)
}

/// How a run stands in the end, or now.
///
/// # Errors
/// Its journal is broken.
pub(crate) fn ending(shown: &Shown, park: Option<&Park>) -> anyhow::Result<()> {
    println!();
    if shown.broken.is_some() {
        let lines = dead::waits(&shown.dead_letters);
        lines.iter().for_each(|line| println!("{line}"));
    } else if let Some(run) = &shown.run {
        totals(run)
            .into_iter()
            .chain(of_children(shown))
            .chain(waiting::lines(shown, park))
            .for_each(|line| println!("{line}"));
    }
    whole(shown)
}

/// That a run can be read as a whole.
///
/// # Errors
/// Its journal is broken.
pub(crate) fn whole(shown: &Shown) -> anyhow::Result<()> {
    match &shown.broken {
        Some(broken) => bail!("its journal is broken: {broken}"),
        None => Ok(()),
    }
}

/// What the runs within it cost, where there were any.
fn of_children(shown: &Shown) -> Option<String> {
    let cost = shown.children_usd_nano;
    let text = format!("the runs within it that have ended cost {cost} besides");
    (cost > Usd::default()).then(|| dim(text))
}
