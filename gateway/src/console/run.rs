//! `/runs/{id}`: one run: how it stands and what keeps it, what it cost, what it can be told, and all that happened in it.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use flotilla_common::{
    definition::{StepKind, Workflow},
    entry::Entry,
    ids::RunId,
    io::{clock, http::Problem, journal::Raw, journal::decode},
    money::Usd,
    run::{Begun, Run, Status, Summary},
};
use jiff::Timestamp;

use super::{
    door::Door,
    frame::{Frame, Section, page as framed},
    question::Question,
    stuck::{Banner, banners},
    tell, text,
    timeline::{Builder, Timeline},
    words::{Badge, Sign, When, between, count, short, short_id, span, usd},
};
use crate::{approvals::Waiting, dead::Waits, history, problem::unavailable, query, routes::App};

/// Steps that can be picked for a retry.
const STEPS_MAX: usize = 200;

/// What it cost of what it may.
#[derive(Debug)]
struct Budget {
    spent: String,
    limit: String,
    /// Percent of the limit, as far as it goes.
    width: String,
    percent: u64,
    tone: &'static str,
}

/// How a run stands.
#[derive(Debug)]
struct Standing {
    summary: Summary,
    now: Timestamp,
    budget: Option<Budget>,
    cost: String,
    tenant: String,
    parent: Option<(String, String)>,
    event: (String, String, Option<String>),
    /// Steps that it can begin anew from.
    steps: Vec<String>,
    agents: Vec<String>,
}

#[derive(Debug, Template)]
#[template(path = "run.html")]
struct Page {
    frame: Frame,
    id: String,
    short: String,
    /// `None` where the journal cannot be folded.
    standing: Option<Standing>,
    banners: Vec<Banner>,
    questions: Vec<Question>,
    timeline: Timeline,
    base: String,
}

impl Standing {
    fn badge(&self) -> Badge {
        Badge(self.summary.status)
    }
    fn has_ended(&self) -> bool {
        self.summary.ended_at.is_some()
    }
    fn is_paused(&self) -> bool {
        self.summary.status == Status::Paused
    }
    fn is_parked(&self) -> bool {
        self.summary.status == Status::Parked
    }
    fn started(&self) -> When {
        When::new(self.summary.started_at, self.now)
    }
    fn took(&self) -> String {
        let end = self.summary.ended_at.unwrap_or(self.now);
        span(between(self.summary.started_at, end))
    }
    fn tokens(&self) -> String {
        let run = &self.summary;
        let input = run.input_tokens.saturating_add(run.cache_read_tokens);
        let cached = match run.cache_read_tokens {
            0 => String::new(),
            read => format!(" ({} cached)", short(read)),
        };
        format!(
            "{} in{cached}, {} out",
            short(input),
            short(run.output_tokens)
        )
    }
    fn calls(&self) -> String {
        let run = &self.summary;
        match run.wasted_calls {
            0 => count(run.model_calls),
            lost => format!("{} and {lost} lost", count(run.model_calls)),
        }
    }
}

/// The page of a run.
pub(crate) async fn page(
    State(app): State<Arc<App>>,
    door: Door,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id: RunId = history::run_id(Ok(Path(id)))?;
    let asked = uri.query().unwrap_or_default();
    let before = before(asked)?;
    let now = clock::now();
    let slot = app.histories.acquire().await;
    let slot = slot.map_err(|_| unavailable("the gateway shuts down"))?;
    let messages = history::messages(&app, &id).await?;
    let last = messages.last().map_or(0, |message| message.seq);
    let folded = history::fold(&id, &messages);
    if let Ok((_, summary)) = &folded
        && !door.caller().sees(&summary.tenant)
    {
        return Err(history::no_run(&id));
    }
    let entries = readable(&messages);
    drop(messages);
    let (standing, banners, questions, ended) = match &folded {
        Ok((run, summary)) => {
            let letters = Waits::of(run);
            let waiting = Waiting::of(run).into_iter();
            (
                Some(standing(&app, run, summary.clone(), now)),
                banners(&app, run, &letters, now).await,
                waiting
                    .map(|one| Question::new(&app, one, &entries, now))
                    .collect(),
                summary.ended_at,
            )
        }
        Err(problem) => (None, vec![broken(problem)], Vec::new(), None),
    };
    let mut builder = Builder::default();
    entries.iter().for_each(|entry| builder.add(entry));
    drop((entries, slot));
    let timeline = builder.end(ended, now, before);
    let title = title(standing.as_ref(), &id);
    let mut frame = Frame::load(&app, door, Section::Runs, title)
        .await
        .notice(tell::notice(asked));
    if ended.is_none() && before.is_none() {
        frame = frame.live(format!("/runs/{id}/live?after={last}"));
    }
    framed(&Page {
        frame,
        short: short_id(&id),
        base: format!("/runs/{id}"),
        id: id.to_string(),
        standing,
        banners,
        questions,
        timeline,
    })
}

fn title(standing: Option<&Standing>, id: &RunId) -> String {
    match standing {
        Some(standing) => format!("{} {}", standing.summary.workflow, short_id(id)),
        None => format!("Run {}", short_id(id)),
    }
}

fn before(query: &str) -> Result<Option<u64>, Problem> {
    let mut fields = form_urlencoded::parse(query.as_bytes());
    let before = fields.find(|(name, _)| name == "before");
    query::value("before", before.as_ref().map(|(_, value)| value.as_ref()))
}

/// The entries that can be read: what cannot keeps the run, and its page says so.
fn readable(messages: &[Raw]) -> Vec<Entry> {
    messages
        .iter()
        .filter_map(|message| decode(message).ok().flatten())
        .collect()
}

fn broken(problem: &str) -> Banner {
    let text = format!(
        "{}. It cannot go on, whatever it is told; what can be read of it is below.",
        text::line(problem, 600)
    );
    Banner::new("bad", Sign::Cross, "Its journal cannot be folded", text)
}

fn standing(app: &App, run: &Run, summary: Summary, now: Timestamp) -> Standing {
    let begun = run.begun.as_ref();
    let catalogue = app.current.catalogue();
    let workflow = begun.and_then(|begun| catalogue.as_written(&begun.pin));
    let event = begun.map(|begun| &begun.event);
    let told = |words: &str| text::line(words, 200);
    Standing {
        budget: workflow.and_then(|workflow| budget(run, workflow)),
        cost: usd(run.cost()),
        tenant: told(&summary.tenant),
        parent: begun.and_then(parent),
        event: (
            event
                .map(|event| event.kind.to_string())
                .unwrap_or_default(),
            event.map(|event| told(&event.source)).unwrap_or_default(),
            event.and_then(|event| event.subject.as_deref().map(told)),
        ),
        steps: steps(run),
        agents: agents(workflow.map(AsRef::as_ref)),
        summary,
        now,
    }
}

/// The run that this one is a step of: its id, and the step.
fn parent(begun: &Begun) -> Option<(String, String)> {
    let parent = begun.parent.as_ref()?;
    Some((parent.run.to_string(), parent.step.to_string()))
}

/// The steps that something was decided for, outside of loops.
fn steps(run: &Run) -> Vec<String> {
    let tops = run.steps.keys().filter(|place| place.items.is_empty());
    tops.take(STEPS_MAX)
        .map(|place| place.step.to_string())
        .collect()
}

/// The agents that can be told something.
fn agents(workflow: Option<&Workflow>) -> Vec<String> {
    let steps = workflow.map(Workflow::all_steps).unwrap_or_default();
    let agents = steps
        .into_iter()
        .filter(|step| matches!(step.kind, StepKind::Agent(_)));
    agents.map(|step| step.id.to_string()).collect()
}

fn budget(run: &Run, workflow: &Workflow) -> Option<Budget> {
    let limit = run.may_cost(workflow)?;
    let spent = run.cost();
    let percent = percent(spent, limit);
    Some(Budget {
        spent: usd(spent),
        limit: usd(limit),
        width: format!("{}%", percent.min(100)),
        percent,
        tone: match percent {
            0..80 => "good",
            80..100 => "warn",
            _ => "bad",
        },
    })
}

fn percent(spent: Usd, limit: Usd) -> u64 {
    let percent = u128::from(spent.nano()) * 100 / u128::from(limit.nano().max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}
