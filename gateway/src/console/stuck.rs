//! Why a run does not go on, where anybody knows: said before anything else on its page.

use std::{collections::BTreeSet, time::Duration};

use flotilla_common::{
    breaker::{Forced, State},
    entry::ParkedBy,
    ids::Name,
    io::tools::Told,
    run::Run,
};
use jiff::Timestamp;
use tokio::time::timeout;

use super::{
    text,
    timeline::parked,
    words::{Sign, When},
};
use crate::{dead::Waits, routes::App};

/// How long a page waits for what executors say of their tools.
const PATIENCE: Duration = Duration::from_millis(700);
/// How long an action may wait for an executor before anybody asks whether there is one, in seconds.
const UNTAKEN_SECONDS: i64 = 5;

/// Something that keeps a run.
#[derive(Debug)]
pub(crate) struct Banner {
    pub(crate) tone: &'static str,
    pub(crate) sign: Sign,
    /// What keeps it.
    pub(crate) title: String,
    /// More of that, or what to do.
    pub(crate) text: String,
    pub(crate) until: Option<When>,
}

impl Banner {
    pub(crate) fn new(
        tone: &'static str,
        sign: Sign,
        title: impl Into<String>,
        text: String,
    ) -> Self {
        Self {
            tone,
            sign,
            title: title.into(),
            text,
            until: None,
        }
    }
}

/// What keeps a run, the most serious first.
pub(crate) async fn banners(
    app: &App,
    run: &Run,
    letters: &[Waits],
    now: Timestamp,
) -> Vec<Banner> {
    if run.end.is_some() {
        return Vec::new();
    }
    let mut banners: Vec<Banner> = letters.iter().map(letter).collect();
    if let Some(cancel) = &run.cancel {
        let why = text::line(&cancel.reason, 400);
        banners.push(Banner::new("warn", Sign::Stop, "It is about to stop", why));
    }
    if let Some(paused) = &run.paused {
        let text = format!(
            "{}. It does nothing until somebody tells it to go on.",
            text::line(paused, 400)
        );
        banners.push(Banner::new("calm", Sign::Pause, "Paused", text));
    }
    if let Some(waits) = run.waits() {
        let tone = match waits.by {
            ParkedBy::Batch => "calm",
            ParkedBy::Ceiling | ParkedBy::Unavailable | ParkedBy::Blocked | ParkedBy::Dead => {
                "warn"
            }
        };
        let title = format!("Step {} {}", waits.step, parked(waits.by));
        let mut banner = Banner::new(tone, Sign::Clock, title, text::words(&waits.why));
        banner.until = waits.until.map(|until| When::new(until, now));
        banners.push(banner);
    }
    banners.extend(of_tools(app, run, now).await);
    banners
}

fn letter(letter: &Waits) -> Banner {
    let title = format!("An entry of it is dead letter {}", letter.seq);
    let text = format!(
        "{}. It begins nothing new until somebody redrives or drops the letter.",
        text::line(&letter.reason, 600)
    );
    Banner::new("bad", Sign::Cross, title, text)
}

/// What keeps actions that nobody has given a result for.
async fn of_tools(app: &App, run: &Run, now: Timestamp) -> Vec<Banner> {
    let catalogue = app.current.catalogue();
    let mut wanted = BTreeSet::new();
    let mut banners = Vec::new();
    for act in run.outstanding() {
        let tool = (act.action.tool.clone(), act.action.version);
        if !wanted.insert(tool) {
            continue;
        }
        if let Some(switch) = catalogue
            .switches()
            .tool(&act.action.tool, act.action.version)
        {
            let by = switch.by.as_deref().unwrap_or("somebody");
            let why = switch.reason.as_deref().unwrap_or("no reason was given");
            let title = format!("{} is switched off", act.action.tool);
            let text = format!("By {}: {}", text::line(by, 60), text::line(why, 300));
            banners.push(Banner::new("warn", Sign::Pause, title, text));
        }
    }
    let waits_long = now.duration_since(run.at).as_secs() >= UNTAKEN_SECONDS;
    if wanted.is_empty() || !waits_long {
        return banners;
    }
    let told = timeout(PATIENCE, app.tools.list()).await;
    let Some(told) = told.ok().and_then(Result::ok) else {
        return banners;
    };
    banners.extend(
        wanted
            .iter()
            .filter_map(|(tool, version)| of_tool(&told, tool, *version, now)),
    );
    banners
}

fn of_tool(told: &Told, tool: &Name, version: u32, now: Timestamp) -> Option<Banner> {
    if let Some(force) = told.forced.get(tool)
        && force.state == Forced::Open
    {
        let title = format!("The breaker of {tool} is held open");
        return Some(Banner::new(
            "warn",
            Sign::Stop,
            title,
            "Its actions wait until somebody lets it close.".to_owned(),
        ));
    }
    let mut theirs = told
        .states
        .iter()
        .filter(|state| state.tool == *tool)
        .peekable();
    if theirs.peek().is_none() {
        let title = format!("No executor is online for {tool}");
        let text = "The action waits on the journal. It is done as soon as an executor that has the tool is there.";
        return Some(Banner::new("bad", Sign::Tool, title, text.to_owned()));
    }
    let breakers = theirs.flat_map(|state| &state.versions);
    let mut of_version = breakers
        .filter(|breaker| breaker.version == version)
        .peekable();
    of_version.peek()?;
    let open: Vec<_> = of_version
        .filter(|breaker| breaker.state == State::Open)
        .collect();
    let last = open.iter().max_by_key(|breaker| breaker.until)?;
    let title = format!("The breaker of {tool} is open");
    let why = last
        .why
        .as_deref()
        .map_or(String::new(), |why| text::line(why, 400));
    let mut banner = Banner::new("warn", Sign::Stop, title, why);
    banner.until = last.until.map(|until| When::new(until, now));
    Some(banner)
}
