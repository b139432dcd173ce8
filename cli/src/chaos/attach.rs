//! `flotilla chaos --attach`: the same load and scorecard for a fleet that runs somewhere. Only what can be broken from outside is
//! broken here; people kill what they like meanwhile. Definitions have names of their own, tools go to a sink of ours, and everything
//! else in that fleet is left alone.

use std::{fs, net::Ipv4Addr, process::ExitCode, str::FromStr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use flotilla_common::{
    access::token::Secret,
    io::{
        bus::Bus,
        ceilings::Payer,
        journal::Journal,
        tokens::{self, Tokens},
    },
};
use flotilla_sim::sink::Sink;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Options, all_faults, all_reported, announce,
    card::Card,
    claude::Claude,
    definitions::Attached,
    evidence::Evidence,
    html,
    inject::{Injector, Outside, now_ms},
    load::{self, Submitter, Workload},
    people::People,
    schedule::{self, Fault},
    send,
};
use crate::{
    client::Client,
    definitions,
    exit::{Exit, Usage},
    roles,
    settings::Settings,
    style::dim,
};

/// Load and faults are made for so long at once.
const ROUND: Duration = Duration::from_secs(60);
/// Numbers of one round's faults.
const FAULTS_MAX: usize = 1_000;
/// A token that was made for the kit, and that nobody could revoke, ends by itself: so long after all that was planned, and no later
/// than in a day.
const TOKEN_GRACE: Duration = Duration::from_mins(10);
const TOKEN_TTL_MAX: Duration = Duration::from_hours(24);

/// Where the fleet's executors reach the kit's sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SinkAddress {
    host: String,
    port: u16,
}

impl FromStr for SinkAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.rsplit_once(':');
        let parsed = parts.and_then(|(host, port)| {
            let port = port.parse().ok().filter(|port| *port > 0)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            let is_host = !host.is_empty() && host.chars().all(plain);
            is_host.then(|| Self {
                host: host.to_owned(),
                port,
            })
        });
        parsed.ok_or_else(|| "it looks like chaos:8099".to_owned())
    }
}

impl SinkAddress {
    fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }
}

/// What is asked of a kit that attaches.
#[derive(Debug)]
pub(super) struct Attach {
    pub(super) sink: SinkAddress,
    /// Until somebody says that it is enough.
    pub(super) until_signal: bool,
}

/// A token that was made for this, straight on NATS.
struct Made {
    tokens: Tokens,
    name: String,
}

/// Plays it; gives the exit status.
pub(super) async fn run(
    settings: &Settings,
    attach: &Attach,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    let Some(claude) = settings.sim_url.as_deref() else {
        let needed = "--attach needs a fleet that a simulated Claude answers, and that one's address: FLOTILLA_SIM_URL";
        return Err(Usage(needed.to_owned()).into());
    };
    let stop = roles::stop_on_signals()?;
    let sink = Sink::start_on(Ipv4Addr::UNSPECIFIED, attach.sink.port).await;
    let sink = sink.with_context(|| format!("the sink's port {}", attach.sink.port))?;
    let bus = roles::bus(settings, "chaos").await?;
    let outside = Outside {
        sink: Arc::new(sink),
        journal: Journal::new(bus.clone()),
        claude: Claude::at(claude.trim_end_matches('/')),
        redis_url: settings.redis_url().to_owned(),
    };
    let ledger = outside.claude.in_flight().await;
    ledger.with_context(|| format!("there is no simulated Claude at {claude}"))?;
    let ttl = token_ttl(attach, options);
    // Last: what fails before leaves nothing that must be revoked.
    let (token, made) = Box::pin(token(settings, &bus, ttl)).await?;
    let play = Play {
        settings,
        options,
        until_signal: attach.until_signal,
        token: token.as_ref(),
        stop,
    };
    let card = Box::pin(play.all(&outside, &Attached::new(&attach.sink.url()))).await;
    // The simulated Claude goes on as it was, whatever came of this.
    drop(outside.claude.policies("").await);
    drop(outside.claude.faults(json!([])).await);
    if let Some(made) = made {
        made.revoke().await;
    }
    card
}

/// How long a token that is made for this is good for.
fn token_ttl(attach: &Attach, options: &Options) -> Duration {
    if attach.until_signal {
        return TOKEN_TTL_MAX;
    }
    let planned = options.span.saturating_add(options.patience);
    planned.saturating_add(TOKEN_GRACE).min(TOKEN_TTL_MAX)
}

/// What commands show; where that is nothing, and the gateway asks for something, a token made for this.
async fn token(
    settings: &Settings,
    bus: &Bus,
    ttl: Duration,
) -> anyhow::Result<(Option<Secret>, Option<Made>)> {
    if let Some(token) = settings.token()? {
        return Ok((Some(token), None));
    }
    match Client::of(settings)?.approvals("limit=1").await {
        Ok(_) => return Ok((None, None)),
        Err(refused) if Exit::of(&refused) == Exit::Refused => {}
        Err(problem) => return Err(problem),
    }
    let tokens = Box::pin(Tokens::open(bus)).await?;
    let name = format!("chaos-{}", now_ms());
    let (secret, mut token) = tokens::admin(name.parse()?, "flotilla chaos")?;
    token.expires_at = Timestamp::now().checked_add(ttl).ok();
    Box::pin(tokens.add(&token)).await?;
    Ok((Some(secret), Some(Made { tokens, name })))
}

impl Made {
    async fn revoke(self) {
        let revoking = Box::pin(self.tokens.revoke(&self.name, Timestamp::now(), true));
        if let Err(problem) = revoking.await {
            eprintln!("the token {} was not revoked: {problem}", self.name);
        }
    }
}

/// One such run of the kit.
struct Play<'a> {
    settings: &'a Settings,
    options: &'a Options,
    until_signal: bool,
    token: Option<&'a Secret>,
    stop: CancellationToken,
}

impl Play<'_> {
    async fn all(&self, outside: &Outside, own: &Attached) -> anyhow::Result<ExitCode> {
        let (options, url) = (self.options, self.settings.url());
        if !options.output.json() {
            announce::all(options, &[]);
        }
        let client = Client::trusting(&url, self.token, self.settings.roots()?)?;
        apply(&client, own).await?;
        outside.claude.policies(&own.policies).await?;
        let http = Client::connections(self.token, self.settings.roots()?)?;
        // Never the same again: this fleet still knows the runs of the last time.
        let session = format!("{}-{}", options.seed, now_ms());
        let submitter = Arc::new(Submitter::new(&url, http, &own.kit, session)?);
        let people = Arc::new(People::new(client, &own.kit));
        let working = {
            let people = Arc::clone(&people);
            tokio::spawn(async move { people.work().await }).abort_handle()
        };
        let injector = Injector::outside(outside.clone(), Arc::clone(&submitter));
        let begun_ms = now_ms();
        let schedule = self.rounds(&injector).await;
        injector.heal_outside().await?;
        if !options.output.json() {
            println!(
                "{}",
                dim("  all is well again; waiting for what has not come to its end")
            );
        }
        all_reported(&submitter, &outside.sink, options).await;
        working.abort();
        let evidence = Evidence::gather_own(&injector, &people, self.settings.ack_wait()).await?;
        if evidence.accepted.is_empty() {
            bail!("{url} has taken no event at all; is that the fleet's gateway?");
        }
        let took_ms = now_ms() - begun_ms;
        let card = Card::of(&evidence, options, schedule, submitter.wrong(), took_ms);
        if let Some(path) = &options.html {
            fs::write(path, html::page(&card, &evidence))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        card.told(options.output.json())
    }

    /// Load and faults, round by round; gives all that was to go wrong.
    async fn rounds(&self, injector: &Injector) -> Vec<Fault> {
        let options = self.options;
        let begun = Instant::now();
        let mut all = Vec::new();
        for round in 0_u32.. {
            let elapsed = ROUND.saturating_mul(round);
            let length = round_length(elapsed, options.span, self.until_signal);
            if length.is_zero() || self.stop.is_cancelled() {
                break;
            }
            let before = begun + elapsed;
            let seed = options.seed.wrapping_add(u64::from(round));
            let schedule = schedule::of(seed, &options.kinds, length);
            if !options.output.json() {
                announce::faults(&schedule);
            }
            let number = usize::try_from(round).unwrap_or(usize::MAX);
            let first = options.runs_by(elapsed);
            let runs = options.runs_by(elapsed + length).saturating_sub(first);
            let planned = load::plan(seed, first, runs);
            let first_fault = number.saturating_mul(FAULTS_MAX);
            let playing = async {
                tokio::join!(
                    all_faults(injector, before, first_fault, &schedule),
                    send(
                        &injector.submitter,
                        before,
                        &planned,
                        length,
                        options.output
                    ),
                    sleep_until(before + length),
                );
            };
            tokio::select! {
                () = playing => {}
                () = self.stop.cancelled() => {}
            }
            all.extend(schedule);
            if !options.output.json() {
                let accepted = injector.submitter.accepted().len();
                let reported = injector.outside.sink.effects_at("/report").len();
                let line =
                    format!("  {accepted} runs so far, {reported} of them have come to their end");
                println!("{}", dim(line));
            }
        }
        all
    }
}

/// How long the round is that begins after so long; nothing after the last one.
fn round_length(elapsed: Duration, span: Duration, until_signal: bool) -> Duration {
    if until_signal {
        return ROUND;
    }
    ROUND.min(span.saturating_sub(elapsed))
}

/// Has the fleet know the kit's workflows, and forget what an earlier kit raised.
async fn apply(client: &Client, own: &Attached) -> anyhow::Result<()> {
    let body = json!({
        "files": own.files,
        "activate": "always",
        "by": "flotilla chaos",
        "reason": "faults on purpose",
    });
    let answer = definitions::post(client, &body).await;
    let answer = answer.context("the fleet does not take the kit's definitions")?;
    let mut lines = answer["workflows"].as_array().into_iter().flatten();
    if let Some(refused) = lines.find(|line| line["outcome"] == json!("refused")) {
        bail!("the fleet does not take the kit's definitions: {refused}");
    }
    let ceiling = Workload::Ceiling.workflow(&own.kit).parse()?;
    // There is none the first time.
    drop(client.clear_ceiling(Payer::Workflow, &ceiling).await);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let address: SinkAddress = "chaos:8099".parse().unwrap();
        assert_eq!(address.url(), "http://chaos:8099");
        for wrong in [
            "chaos",
            ":80",
            "chaos:0",
            "http://chaos:80",
            "a b:80",
            "a:b",
        ] {
            assert!(wrong.parse::<SinkAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn rounds_come_to_what_was_asked_for_and_the_last_one_is_as_long_as_is_left() {
        let seconds = Duration::from_secs;
        let length = |at, span| round_length(seconds(at), seconds(span), false);
        assert_eq!(length(0, 20), seconds(20));
        assert_eq!(length(0, 150), seconds(60));
        assert_eq!(length(120, 150), seconds(30));
        assert_eq!(length(120, 120), Duration::ZERO);
        assert_eq!(round_length(seconds(600), seconds(20), true), ROUND);
    }

    #[test]
    fn definitions_of_an_attached_kit_are_named_for_it_and_know_its_sink() {
        let own = Attached::new("http://10.0.0.7:8099");
        let again = Attached::new("http://10.0.0.7:8099");
        assert_eq!(own.kit, again.kit);
        assert_ne!(own.kit, Attached::new("http://10.0.0.8:8099").kit);
        let all: String = own.files.values().cloned().chain([own.policies]).collect();
        for foreign in ["chaos-", "chaos_", "chaos.", "chaos/", "SINK_URL"] {
            assert!(!all.contains(foreign), "{foreign}");
        }
        assert!(all.contains("url: 'http://10.0.0.7:8099/note'"), "{all}");
        assert!(all.contains(&format!("workflow: {}-main", own.kit)));
    }
}
