//! `/tools`: the catalogue of tools, how each stands, and what people say of it.

use std::sync::Arc;

use askama::Template;
use axum::{
    Router,
    extract::{ConnectInfo, Path, Query, State},
    response::Response,
    routing::{get, post},
};
use flotilla_common::{
    breaker::{Forced, State as Breaker},
    definition::{Catalogue, Effect, Risk, Switched},
    io::{
        clock,
        http::{Peer, Problem},
    },
};
use jiff::Timestamp;

use super::{
    chart::{Markup, used},
    did::{self, Did, said},
    dlq::pretty,
    door::Door,
    form::Form,
    frame::{Frame, Section, page as framed},
    ink,
    words::Sign,
};
use crate::{
    definitions::{self, ToolLine, ToolVersion, Word, every_tool, off, on, set_breaker},
    problem::bad_request,
    routes::App,
};

/// The page and its forms.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/tools", get(all))
        .route("/tools/{name}/off", post(switch_off))
        .route("/tools/{name}/on", post(switch_on))
        .route("/tools/{name}/breaker", post(breaker))
}

#[derive(Debug, Template)]
#[template(path = "tools.html")]
struct All {
    frame: Frame,
    tools: Vec<One>,
    may: bool,
    now: Timestamp,
}

/// A tool with all that is known of it.
#[derive(Debug)]
struct One {
    line: ToolLine,
    versions: Vec<Full>,
}

/// A version with its schemas.
#[derive(Debug)]
struct Full {
    version: ToolVersion,
    input: String,
    output: Option<String>,
}

/// Where a breaker stands, in a word and a colour.
pub(super) fn badge_of(state: Breaker) -> (&'static str, &'static str) {
    match state {
        Breaker::Closed => ("good", "closed"),
        Breaker::HalfOpen => ("warn", "half-open"),
        Breaker::Open => ("bad", "open"),
    }
}

impl One {
    fn tone(&self) -> &'static str {
        badge_of(self.line.breaker).0
    }

    fn word(&self) -> &'static str {
        badge_of(self.line.breaker).1
    }

    fn sign(&self) -> Sign {
        match self.line.breaker {
            Breaker::Closed => Sign::Check,
            Breaker::HalfOpen => Sign::Unknown,
            Breaker::Open => Sign::Cross,
        }
    }

    fn has_breaker(&self) -> bool {
        self.line.versions.iter().any(|version| version.has_breaker)
    }

    fn is_off(&self) -> bool {
        !self.line.switched_off.is_empty()
    }

    /// Calls that executors have in work now, of how many they take at once.
    fn bulkhead(&self) -> Option<(String, Markup)> {
        let at_once = u64::from(self.newest()?.version.concurrency);
        let executors = self.line.executors.iter();
        let in_work: u64 = executors.map(|one| u64::from(one.in_work)).sum();
        let count = self.line.executors.len();
        let room = at_once.saturating_mul(u64::try_from(count).unwrap_or(u64::MAX));
        let words = match count {
            0 => "no executor has it".to_owned(),
            1 => format!("{in_work} of {room} in 1 executor"),
            _ => format!("{in_work} of {room} in {count} executors"),
        };
        let bar = used(in_work, room, &words);
        Some((words, bar))
    }

    /// Whether somebody should look at it before the others.
    fn needs_look(&self) -> bool {
        self.is_off()
            || self.line.breaker != Breaker::Closed
            || self.line.forced.is_some()
            || self.line.executors.is_empty()
    }

    fn newest(&self) -> Option<&Full> {
        self.versions.iter().max_by_key(|full| full.version.version)
    }
}

impl Full {
    fn effect(&self) -> &'static str {
        match self.version.effect {
            Effect::Read => "read: repeat at will",
            Effect::Idempotent => "idempotent: the same with the same key",
            Effect::Once => "once: never repeated blindly",
        }
    }

    fn is_risky(&self) -> bool {
        self.version.risk == Risk::High
    }
}

/// What people said of a breaker.
fn forced(state: Forced) -> &'static str {
    match state {
        Forced::Open => "open",
        Forced::Closed => "closed",
    }
}

/// All tools.
async fn all(
    State(app): State<Arc<App>>,
    door: Door,
    Query(query): Query<did::Query>,
) -> Result<Response, Problem> {
    let lines = every_tool(&app).await?;
    let known = app.definitions.catalogue();
    let may = door.may_for_all();
    let frame = Frame::load(&app, door, Section::Workflows, "Tools").await;
    let mut tools: Vec<One> = lines.into_iter().map(|line| one(&known, line)).collect();
    tools.sort_by_key(|tool| !tool.needs_look());
    framed(&All {
        frame: frame.notice(query.notice()),
        tools,
        may,
        now: clock::now(),
    })
}

fn one(known: &Catalogue, mut line: ToolLine) -> One {
    let versions = std::mem::take(&mut line.versions);
    let versions = versions.into_iter().map(|version| {
        let tool = known.tools.get(&line.name, version.version);
        let source = |schema: &flotilla_common::definition::Schema| pretty(schema.source());
        Full {
            input: tool.map_or_else(String::new, |tool| source(&tool.input)),
            output: tool.and_then(|tool| tool.output.as_ref().map(source)),
            version,
        }
    });
    One {
        versions: versions.collect(),
        line,
    }
}

/// Switches a tool off, all versions or one.
async fn switch_off(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    form.door.must_for_all()?;
    let what = what(&name, &form)?;
    off(&app, what, said(&form)?, form.is_ticked("hold"), peer).await?;
    Ok(Did::SwitchedOff.at("/tools"))
}

/// Switches a tool on again.
async fn switch_on(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    form.door.must_for_all()?;
    let what = what(&name, &form)?;
    on(&app, what, said(&form)?, peer).await?;
    Ok(Did::SwitchedOn.at("/tools"))
}

/// Opens or closes a tool's breakers, or lets them decide for themselves.
async fn breaker(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    form.door.must_for_all()?;
    let word = Word::read(form.must("state")?)?;
    let name = definitions::name(&name)?;
    set_breaker(&app, name, word, said(&form)?, peer).await?;
    let did = match word {
        Word::Open | Word::Closed => Did::BreakerForced,
        Word::Auto => Did::BreakerAuto,
    };
    // The form is on two pages.
    Ok(did.at(match form.get("from") {
        Some("fleet") => "/fleet",
        Some(_) | None => "/tools",
    }))
}

fn what(name: &str, form: &Form) -> Result<Switched, Problem> {
    let named = match form.get("version") {
        Some(version) => format!("{name}@{version}"),
        None => name.to_owned(),
    };
    Switched::tool(&named).map_err(bad_request)
}
