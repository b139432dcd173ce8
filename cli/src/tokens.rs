//! `token`: makes, lists and revokes tokens, by the gateway or straight on NATS; `audit`: who changed what.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::Context as _;
use flotilla_common::{
    access::{
        Scope,
        token::{Allowance, Token},
    },
    ids::Name,
    io::tokens::{self, Tokens},
    units::{Rate, Span},
};
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    client::{Client, print},
    exit::Usage,
    output::Output,
    roles,
    settings::Settings,
    style::{bold, dim, one_line},
};

const TOKENS: &str = "/v1/tokens";
/// Longest name, reason or other text from elsewhere in a line.
const SHOWN: usize = 60;
/// How this program calls itself where it changes tokens itself.
const DIRECT: &str = "flotilla token";

/// What to do with tokens.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; it is printed this once, alone on stdout
    Create(Create),
    /// List tokens: what they may, until when, who made them; never the tokens themselves
    List(Look),
    /// Revoke a token: every gateway refuses it within a moment
    Revoke(Revoke),
}

/// A new token.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// What it is called
    name: Name,
    /// What it may: ingest, read, approve (which reads, too) or admin (everything); more than one by saying it again
    #[arg(long = "scope", required = true)]
    scopes: Vec<Scope>,
    /// The one tenant that it sees and sends for [default: all]
    #[arg(long)]
    tenant: Option<Name>,
    /// How long it holds, such as 90d [default: until it is revoked]
    #[arg(long)]
    expires: Option<Span>,
    /// How many requests it may send a second, such as 50/s [default: events 200/s, others as many as there are]
    #[arg(long)]
    rate: Option<String>,
    #[command(flatten)]
    way: Way,
}

/// Which tokens to list.
#[derive(Debug, clap::Args)]
pub(crate) struct Look {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    way: Way,
}

/// Which token to revoke.
#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// Its id, or the name of one that holds
    which: String,
    #[command(flatten)]
    way: Way,
}

/// By whom it is done.
#[derive(Debug, clap::Args)]
struct Way {
    /// Straight on NATS (FLOTILLA_NATS_URL), for when no token with the scope admin is left
    #[arg(long)]
    direct: bool,
}

/// What to look at in the audit.
#[derive(Debug, clap::Args)]
pub(crate) struct Audit {
    /// From when on: a time, or how long ago
    #[arg(long, default_value = "24h")]
    since: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Deserialize)]
struct Listed {
    tokens: Vec<Shown>,
}

#[derive(Debug, Deserialize)]
struct Shown {
    id: String,
    name: String,
    scopes: Vec<Scope>,
    tenant: Option<String>,
    created_at: Timestamp,
    created_by: String,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    holds: bool,
}

#[derive(Debug, Deserialize)]
struct Page {
    entries: Vec<Value>,
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    at: Timestamp,
    who: Who,
    method: String,
    route: String,
    #[serde(default)]
    ids: BTreeMap<String, String>,
    reason: Option<String>,
    status: u16,
    times: Option<u64>,
    from: String,
}

#[derive(Debug, Deserialize)]
struct Who {
    id: String,
    name: String,
}

/// `flotilla token`.
pub(crate) async fn run(settings: &Settings, command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Create(create) => made(settings, create).await?,
        TokenCommand::List(look) => list(settings, look).await?,
        TokenCommand::Revoke(revoke) => revoked(settings, revoke).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn bucket(settings: &Settings) -> anyhow::Result<Tokens> {
    let bus = roles::bus(settings, DIRECT).await?;
    Ok(Box::pin(Tokens::open(&bus)).await?)
}

async fn made(settings: &Settings, create: Create) -> anyhow::Result<()> {
    if create.way.direct {
        let tokens = bucket(settings).await?;
        let (now, secret) = (Timestamp::now(), tokens::secret()?);
        let scopes = create.scopes.into_iter().collect();
        let mut token = Token::new(&secret, create.name, scopes, DIRECT, now);
        token.tenant = create.tenant;
        let end = create.expires.map(|span| now.checked_add(span.0));
        token.expires_at = end.transpose().context("--expires is too long")?;
        token.rate = create.rate.as_deref().map(allowance).transpose()?;
        Box::pin(tokens.add(&token)).await?;
        println!("{}", secret.reveal());
        return Ok(());
    }
    let body = json!({
        "name": create.name,
        "scopes": create.scopes,
        "tenant": create.tenant,
        "expires": create.expires.map(|span| span.to_string()),
        "rate": create.rate,
    });
    let client = Client::of(settings)?;
    let answer: Value = client.send_json(Method::POST, TOKENS, &body).await?;
    let token = answer["token"].as_str();
    println!(
        "{}",
        token.context("the gateway's answer is not understood")?
    );
    Ok(())
}

fn allowance(rate: &str) -> anyhow::Result<Allowance> {
    let rate: Rate = rate.parse()?;
    Allowance::of(rate).ok_or_else(|| Usage(format!("--rate is {}", Allowance::MUST)).into())
}

async fn list(settings: &Settings, look: Look) -> anyhow::Result<()> {
    let answer = if look.way.direct {
        let known = Box::pin(bucket(settings).await?.list()).await?;
        let now = Timestamp::now();
        let all = known.tokens.values().map(|token| token.shown(now));
        json!({"tokens": all.collect::<Vec<_>>()})
    } else {
        Client::of(settings)?.get(TOKENS).await?
    };
    print(look.output.json(), answer, |listed: Listed| {
        listed.tokens.iter().map(line).collect()
    })
}

fn line(token: &Shown) -> String {
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let tenant = token.tenant.as_ref().map(|tenant| format!(" of {tenant}"));
    let end = match (token.revoked_at, token.expires_at) {
        (Some(at), _) => format!("revoked {at:.0}"),
        (None, Some(at)) if token.holds => format!("until {at:.0}"),
        (None, Some(at)) => format!("expired {at:.0}"),
        (None, None) => "until it is revoked".to_owned(),
    };
    let name = format!("{:<20}", one_line(&token.name, SHOWN));
    let made = format!(
        "made {:.0} by {}",
        token.created_at,
        one_line(&token.created_by, SHOWN)
    );
    format!(
        "{}  {}  {}{}  {end}  {}",
        token.id,
        if token.holds { bold(name) } else { dim(name) },
        scopes.join(", "),
        tenant.unwrap_or_default(),
        dim(made)
    )
}

async fn revoked(settings: &Settings, revoke: Revoke) -> anyhow::Result<()> {
    if revoke.way.direct {
        let tokens = bucket(settings).await?;
        // Who is at NATS itself can make another one.
        let revoked = tokens.revoke(&revoke.which, Timestamp::now(), true);
        let token = Box::pin(revoked).await?;
        println!("{} ({}) is revoked", token.name, token.id());
        return Ok(());
    }
    let which = flotilla_common::definition::percent_encoded(&revoke.which);
    let client = Client::of(settings)?;
    let shown: Shown = client.delete(&format!("{TOKENS}/{which}")).await?;
    println!("{} ({}) is revoked", shown.name, shown.id);
    Ok(())
}

/// `flotilla audit`.
pub(crate) async fn audit(client: &Client, args: Audit) -> anyhow::Result<ExitCode> {
    let since = flotilla_common::definition::percent_encoded(&args.since);
    let mut query = format!("since={since}");
    loop {
        let page: Page = client.get(&format!("/v1/audit?limit=1000&{query}")).await?;
        for entry in page.entries {
            if args.output.json() {
                println!("{entry}");
            } else {
                println!("{}", told(&serde_json::from_value(entry)?));
            }
        }
        let Some(next) = page.next else {
            return Ok(ExitCode::SUCCESS);
        };
        query = format!("cursor={next}");
    }
}

fn told(entry: &Entry) -> String {
    let route = entry
        .ids
        .iter()
        .fold(entry.route.clone(), |route, (name, id)| {
            route.replace(&format!("{{{name}}}"), id)
        });
    let times = entry.times.filter(|times| *times > 1);
    let times = times.map(|times| format!(" ({times} times)"));
    let reason = entry.reason.as_deref();
    let reason = reason.map(|reason| format!("  {}", one_line(reason, SHOWN)));
    format!(
        "{:.0}  {}  {} {}  {}{}{}",
        entry.at,
        bold(one_line(&entry.who.name, SHOWN)),
        entry.method,
        one_line(&route, 2 * SHOWN),
        entry.status,
        times.unwrap_or_default(),
        reason.unwrap_or_default()
    ) + &dim(format!("  {} from {}", entry.who.id, entry.from))
}
