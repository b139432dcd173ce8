//! `replay --since`: Claude is asked again what runs were asked, and what it says now is held beside what was recorded.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
};

use anyhow::bail;
use flotilla_common::money::Usd;
use flotilla_planner::{Alone, Purse};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use super::{
    arguments::Replay,
    cases::{Candidate, Case, Tried},
    definitions::{OfFleet, OfFolder, models},
    report::{Report, Scope},
    select::{self, Wanted, Window},
};
use crate::{
    client::Client,
    exit::{Exit, Usage},
    progress::Progress,
    settings::Settings,
};

/// Questions in flight at once.
const AT_ONCE: usize = 16;
/// Journals that are read at once.
const READS_AT_ONCE: usize = 4;

/// `flotilla replay --since`.
pub(super) async fn run(settings: &Settings, args: &Replay) -> anyhow::Result<ExitCode> {
    let wanted = Wanted::of(args)?;
    let window = Window::of(args, Timestamp::now())?;
    let candidate = candidate(settings, args, &wanted)?;
    let claude = settings
        .claude()
        .map_err(|error| Usage(error.to_string()))?;
    let alone = Alone::new(claude, AT_ONCE)?;
    let client = Client::of(settings)?;
    let (runs, complete) = select::runs(&client, window, wanted.name.as_ref()).await?;
    let (cases, broken, cut) = cases(&client, &candidate, &runs, args.limit).await;
    let scope = Scope {
        window,
        runs: runs.len(),
        decisions: cases.len(),
        complete,
        broken,
        cut,
    };
    let limit = allowed(args, &cases, &alone)?;
    let purse = Purse::new(limit);
    let progress = Progress::of(cases.len() as u64, "decisions", args.output);
    let asking = cases.into_iter().map(|case| case.ask(&alone, &purse));
    let tried: Vec<Tried> = stream::iter(asking)
        .buffer_unordered(AT_ONCE)
        .inspect(|_| progress.more(1))
        .collect()
        .await;
    drop(progress);
    let report = Report::new(scope, tried, purse.spent());
    if args.output.json() {
        println!("{}", report.json());
    } else {
        report.lines().iter().for_each(|line| println!("{line}"));
    }
    Ok(match (report.differ(), report.is_whole()) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => Exit::Incomplete.into(),
        (_, _) => Exit::NotDone.into(),
    })
}

fn candidate(settings: &Settings, args: &Replay, wanted: &Wanted) -> anyhow::Result<Candidate> {
    let models = models(settings)?;
    let model = match &args.model {
        None => None,
        Some(name) => Some(models.find(name).cloned().ok_or_else(|| {
            Usage(format!(
                "--model: {} has no `{name}`; there are {}",
                models.file,
                models.names().join(", ")
            ))
        })?),
    };
    let other = wanted.folder.as_deref();
    let other = other
        .map(|folder| OfFolder::read(folder, &models))
        .transpose()?;
    Ok(Candidate {
        own: OfFleet::new(models),
        other,
        model,
        step: args.step.clone(),
    })
}

/// The decisions of these runs, those of the first ones first; runs whose journals cannot be folded, with why; and whether there
/// are more decisions than are wanted.
async fn cases(
    client: &Client,
    candidate: &Candidate,
    runs: &[flotilla_common::run::Summary],
    limit: u32,
) -> (Vec<Case>, Vec<String>, bool) {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut found, mut broken) = (Vec::new(), Vec::new());
    let asked = runs.iter().filter(|run| run.model_calls > 0);
    // One more than is wanted says that there are more.
    let reading = asked.map(|run| candidate.cases(client, &run.id, most + 1));
    let mut read = stream::iter(reading).buffered(READS_AT_ONCE);
    while let Some(cases) = read.next().await {
        match cases {
            Ok(cases) => found.extend(cases),
            Err(error) => broken.push(crate::in_full(&error)),
        }
        if found.len() > most {
            found.truncate(most);
            return (found, broken, true);
        }
    }
    (found, broken, false)
}

/// What may be spent: told, and asked, before anything is.
fn allowed(args: &Replay, cases: &[Case], alone: &Alone) -> anyhow::Result<Usd> {
    let worst: Usd = cases.iter().map(|case| case.worst(alone)).sum();
    let asked = cases.iter().filter(|case| case.ask.is_ok()).count();
    eprintln!(
        "{asked} of {} decisions are asked again; that costs {worst} at most, if each reply has to be mended once",
        cases.len()
    );
    if asked == 0 {
        return Ok(Usd::default());
    }
    if let Some(limit) = args.usd {
        if limit < worst {
            eprintln!(
                "the ceiling is {limit}: a call that could cost more than is left of it is not made"
            );
        }
        return Ok(limit);
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!(Usage(format!(
            "say what it may cost: --usd {:.2} is enough for all of it",
            up_to_cents(worst)
        )));
    }
    eprint!("go on? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(worst)
    } else {
        bail!(Usage("nothing was asked".to_owned()))
    }
}

/// In dollars, and not less.
fn up_to_cents(usd: Usd) -> f64 {
    const CENT: u64 = 10_000_000;
    Usd::from_nano(usd.nano().div_ceil(CENT).saturating_mul(CENT)).dollars()
}
