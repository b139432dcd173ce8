//! `/v1/tools`: what tools there are, how their breakers stand in every executor, and what people say of them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode},
};
use flotilla_common::{
    breaker::{Forced, State as Breaker},
    definition::{Adapter, Catalogue, Effect, Risk, Switch, Switched, Tool},
    ids::Name,
    io::{
        clock,
        definitions::Said,
        http::{Peer, Problem},
        tools::{Force, Told, ToolState, Unreachable},
    },
    names::{consumer, stream},
};
use futures_util::{StreamExt as _, stream as streams};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::timeout;
use tracing::info;

use super::{ask, body, name, path};
use crate::{fields::wrong, problem::unavailable, routes::App};

/// Consumers that are asked how much waits at the same time.
const CONSUMERS_AT_ONCE: usize = 32;
/// How long NATS may take to say how much waits for a tool.
const CONSUMER_PATIENCE: Duration = Duration::from_secs(2);
/// What a body says.
const BODY: &str = r#"{"state": "open", "closed" or "auto", "by"?, "reason"?}"#;
/// Longest word for a state.
const WORD_MAX: usize = 16;

/// All tools.
#[derive(Debug, Serialize)]
pub(crate) struct All {
    tools: Vec<Line>,
}

/// A tool, with all its versions.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) name: Name,
    pub(crate) versions: Vec<Version>,
    /// Where its breakers stand: the worst of all executors and versions, hosts of parameters left aside.
    pub(crate) breaker: Breaker,
    /// What a person decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forced: Option<ByPerson>,
    /// Of its versions, those that are switched off; of all, `version` is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) switched_off: Vec<Off>,
    /// Decisions that wait in the stream; `None`: not known.
    pub(crate) waiting: Option<u64>,
    /// Decisions that executors hold, or have put off; `None`: not known.
    pub(crate) in_hand: Option<usize>,
    pub(crate) executors: Vec<Executor>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Version {
    pub(crate) version: u32,
    pub(crate) description: String,
    pub(crate) adapter: &'static str,
    pub(crate) effect: Effect,
    pub(crate) risk: Risk,
    pub(crate) concurrency: u32,
    /// Calls a minute in the whole fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fleet_per_minute: Option<u64>,
    /// How often it is tried again.
    pub(crate) retries: u32,
    pub(crate) has_breaker: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deprecated: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ByPerson {
    pub(crate) state: Forced,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Serialize)]
pub(crate) struct Off {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u32>,
    pub(crate) hold: bool,
    pub(crate) at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What an executor said last.
#[derive(Debug, Serialize)]
pub(crate) struct Executor {
    pub(crate) worker: String,
    pub(crate) at: Timestamp,
    pub(crate) in_work: u32,
    pub(crate) versions: Vec<flotilla_common::io::tools::VersionState>,
}

/// What a person's word did.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    name: Name,
    /// `open`, `closed` or `auto`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    at: Timestamp,
}

type One = Result<Path<String>, PathRejection>;

/// Every tool.
pub(crate) async fn all(State(app): State<Arc<App>>) -> Result<Json<All>, Problem> {
    let tools = every(&app).await?;
    Ok(Json(All { tools }))
}

/// A line for each tool.
pub(crate) async fn every(app: &App) -> Result<Vec<Line>, Problem> {
    let told = ask(app.tools.list(), away).await?;
    let catalogue = app.definitions.live.current();
    let names = by_name(&catalogue).into_keys();
    let lines = streams::iter(names)
        .map(|name| line(app, &catalogue, &told, name))
        .buffered(CONSUMERS_AT_ONCE)
        .filter_map(async |line| line);
    Ok(lines.collect().await)
}

/// One tool.
pub(crate) async fn one(State(app): State<Arc<App>>, one: One) -> Result<Json<Line>, Problem> {
    let name = name(&path(one)?)?;
    let told = ask(app.tools.list(), away).await?;
    let catalogue = app.definitions.live.current();
    let line = line(&app, &catalogue, &told, name.clone()).await;
    line.map(Json).ok_or_else(|| no_tool(&name))
}

/// What a person decides about a tool's breakers.
pub(crate) async fn force(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    one: One,
    headers: HeaderMap,
    content: Body,
) -> Result<Json<Changed>, Problem> {
    let name = name(&path(one)?)?;
    let (mut fields, said) = body(&headers, content).await?;
    let word = fields.text("state", WORD_MAX)?;
    fields.end(BODY)?;
    let word = Word::read(word.as_deref().unwrap_or_default())?;
    set_breaker(&app, name, word, said, peer).await.map(Json)
}

/// What a person can say of a tool's breakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Refuse all calls.
    Open,
    /// Let all calls pass.
    Closed,
    /// They decide for themselves.
    Auto,
}

impl Word {
    /// As people write it.
    pub(crate) fn read(word: &str) -> Result<Self, Problem> {
        match word {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            "auto" => Ok(Self::Auto),
            _ => Err(wrong("state", "must be `open`, `closed` or `auto`")),
        }
    }
}

/// Says what a person decides about a tool's breakers.
pub(crate) async fn set_breaker(
    app: &App,
    name: Name,
    word: Word,
    Said { by, reason }: Said,
    peer: Peer,
) -> Result<Changed, Problem> {
    let (word, state) = match word {
        Word::Open => ("open", Some(Forced::Open)),
        Word::Closed => ("closed", Some(Forced::Closed)),
        Word::Auto => ("auto", None),
    };
    let catalogue = app.definitions.live.current();
    // What was said of a tool that is gone can still be taken back.
    if state.is_some() && !by_name(&catalogue).contains_key(&name) {
        return Err(no_tool(&name));
    }
    info!(%name, state = word, from = %peer.0, by, reason, "a person decides about a tool's breakers");
    let force = state.map(|state| Force::now(state, by.clone(), reason.clone()));
    ask(app.tools.force(&name, force.as_ref()), away).await?;
    Ok(Changed {
        name,
        state: word,
        by,
        reason,
        at: force.map_or_else(clock::now, |force| force.at),
    })
}

fn by_name(catalogue: &Catalogue) -> BTreeMap<Name, Vec<&Tool>> {
    let mut tools: BTreeMap<Name, Vec<&Tool>> = BTreeMap::new();
    for tool in catalogue.tools.iter() {
        tools.entry(tool.name.clone()).or_default().push(tool);
    }
    tools
}

/// `None`: there is no such tool.
async fn line(app: &App, catalogue: &Catalogue, told: &Told, name: Name) -> Option<Line> {
    let tools = by_name(catalogue).remove(&name)?;
    let of_tool = |state: &&ToolState| state.tool == name;
    let executors: Vec<&ToolState> = told.states.iter().filter(of_tool).collect();
    let forced = told.forced.get(&name);
    let waits = waiting(app, &name).await;
    Some(Line {
        versions: tools.into_iter().map(version).collect(),
        breaker: told.breaker(&name, &executors),
        forced: forced.map(|said| ByPerson {
            state: said.state,
            by: said.by.clone(),
            reason: said.reason.clone(),
            at: said.at,
        }),
        switched_off: off(catalogue, &name),
        waiting: waits.map(|(waiting, _)| waiting),
        in_hand: waits.map(|(_, in_hand)| in_hand),
        executors: executors
            .into_iter()
            .map(|state| Executor {
                worker: state.worker.clone(),
                at: state.at,
                in_work: state.in_work,
                versions: state.versions.clone(),
            })
            .collect(),
        name,
    })
}

fn version(tool: &Tool) -> Version {
    Version {
        version: tool.version,
        description: tool.description.clone(),
        adapter: match tool.adapter {
            Adapter::Command { .. } => "command",
            Adapter::Http { .. } => "http",
            Adapter::Nats { .. } => "nats",
            Adapter::Mcp { .. } => "mcp",
            Adapter::Builtin(_) => "builtin",
        },
        effect: tool.effect,
        risk: tool.risk,
        concurrency: tool.concurrency,
        fleet_per_minute: tool.fleet_rate,
        retries: tool.retries.as_ref().map_or(0, |retries| retries.times),
        has_breaker: tool.breaker.is_some(),
        deprecated: tool.deprecated.clone(),
    }
}

fn off(catalogue: &Catalogue, tool: &Name) -> Vec<Off> {
    let line = |version: Option<u32>, switch: &Switch| Off {
        version,
        hold: switch.hold,
        at: switch.off_since,
        by: switch.by.clone(),
        reason: switch.reason.clone(),
    };
    let switches = catalogue.switches().iter();
    let of_tool = switches.filter_map(|(what, switch)| match what {
        Switched::Tool { name, version } if name == tool => Some(line(*version, switch)),
        Switched::Tool { .. } | Switched::Step { .. } => None,
    });
    of_tool.collect()
}

/// Decisions that wait for a tool, and those that are in hand.
async fn waiting(app: &App, tool: &Name) -> Option<(u64, usize)> {
    let asked = async {
        let jetstream = &app.journal.bus().jetstream;
        let stream = jetstream.get_stream_no_info(stream::RUNS).await.ok()?;
        stream.consumer_info(consumer::tool(tool)).await.ok()
    };
    let info = timeout(CONSUMER_PATIENCE, asked).await.ok()??;
    Some((info.num_pending, info.num_ack_pending))
}

fn no_tool(name: &Name) -> Problem {
    let detail = format!("there is no tool `{name}`; `GET /v1/tools` lists those there are");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

fn away(problem: Unreachable) -> Problem {
    unavailable(format!("{problem}; try again"))
}
