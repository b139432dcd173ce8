//! The commands.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};
use flotilla_common::units::Span;

use crate::{
    bench::Bench,
    blob::{self, Fetch},
    ceilings::{self, Ceiling},
    chaos::{self, Chaos},
    check::{self, Check},
    child,
    client::Client,
    completion::{self, Completion},
    cost::{self, Cost},
    credentials::{self, Credentials},
    dead::{self, Dead},
    definitions::{self, Definitions},
    demo::{self, command::DemoService},
    doctor::{self, Doctor},
    effects::{self, Effects},
    events::{self, List, Show, Submit},
    exit::{Exit, Usage},
    explain::{self, Explain},
    fleet::{self, Fleet},
    fork::{self, Fork},
    healthcheck,
    people::{self, Approvals, Approve, Feedback, Message, Reject},
    replay::{self, Export, Replay},
    roles,
    settings::Settings,
    signals::{self, Cancel, Raise, Retry, Tell},
    tokens::{self, Audit, TokenCommand},
    tools::{self, Tools},
    up,
    watch::{self, Watch},
};

/// Where somebody new goes on.
const BEGIN: &str = "Begin with `flotilla up`; `flotilla submit --type TYPE --payload JSON` starts a run, and `flotilla doctor` says what is wrong.";

/// A self-hosted fleet of workers that runs Claude-driven workflows on NATS JetStream.
#[derive(Debug, Parser)]
#[command(
    name = "flotilla",
    version,
    propagate_version = true,
    max_term_width = 120,
    after_help = format!("{BEGIN}\n\n{}", Exit::help())
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything in one process, with NATS, Redis and a simulated Claude where none is configured
    Up,
    /// The gateway: takes events in, starts runs, answers questions
    Gateway,
    /// A planner: asks Claude, decides
    Planner,
    /// An executor: runs tools
    Executor,
    /// A simulated Claude that speaks the Messages API
    Sim(Sim),
    /// Submit an event and follow the runs it starts
    Submit(Submit),
    /// List runs, newest first
    Runs(List),
    /// Show a run: every decision with its reasoning, outcome, tokens, cost and time
    Show(Show),
    /// Watch a run to its end, and end as it does
    Watch(Watch),
    /// Explain a decision: what Claude saw, what it said, what the checks said, what it cost
    Explain(Explain),
    /// List what a run was to do outside: keys, outcomes, what nobody knows and what to do about it
    Effects(Effects),
    /// Fetch a blob of a run: what is too large for its journal
    Blob(Fetch),
    /// Fold a run, or an exported one, again and show every state; or ask Claude again what it was asked, and compare
    Replay(Replay),
    /// Write a run with its definition to a file that `replay` reads anywhere
    Export(Export),
    /// Begin a new run from another one's state
    Fork(Fork),
    /// List what waits for a person
    Approvals(Approvals),
    /// Allow what waits for a person, as it is or with other parameters
    Approve(Approve),
    /// Refuse what waits for a person
    Reject(Reject),
    /// Stop a run
    Cancel(Cancel),
    /// Make a run begin nothing new until it is resumed
    Pause(Tell),
    /// Make a paused run go on, and a parked one look again now
    Resume(Tell),
    /// Begin a run anew from one of its steps
    Retry(Retry),
    /// Tell the agents of a run something
    Message(Message),
    /// Say what you think of a run, for later ones
    Feedback(Feedback),
    /// Set what a run, or one of its steps, may spend; a parked run looks again
    Raise(Raise),
    /// What was used and what it cost, by workflow, model, tenant and day
    Cost(Cost),
    /// Who is there, what waits for whom, and what a person should look at
    Fleet(Fleet),
    /// What workflows and tenants may spend in a day
    #[command(subcommand)]
    Ceiling(Ceiling),
    /// What nobody could handle: by its causes, handled again, or dropped
    #[command(subcommand)]
    Dead(Dead),
    #[command(flatten)]
    Definitions(Definitions),
    /// List tools and how their breakers stand; stop one, or let it go; try one by itself, and see what MCP servers offer
    Tools(Tools),
    /// Tokens: what people and programs show the gateway
    #[command(subcommand)]
    Token(TokenCommand),
    /// Who changed what by a gateway, and who was turned away
    Audit(Audit),
    Credentials(Credentials),
    /// Look for what is wrong, from the settings to Claude, and say how to mend it; nothing is changed
    Doctor(Doctor),
    /// Ask the role that serves here (--http) whether it is ready
    Healthcheck,
    /// Check the definitions of a folder
    Check(Check),
    Completion(Completion),
    /// The demo: a service that is really sick, and the fleet that makes it well
    Demo(demo::story::Demo),
    /// Break a fleet on purpose, and see whether anything is lost or doubled
    Chaos(Chaos),
    /// Measure
    #[command(subcommand)]
    Bench(Bench),
    /// The demo's service
    #[command(subcommand, hide = true)]
    DemoService(DemoService),
    /// Becomes a program that ends with its parent
    #[command(hide = true)]
    Launch {
        parent: u32,
        #[command(flatten)]
        limits: child::Limits,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

#[derive(Debug, clap::Args)]
struct Sim {
    /// Policy files, or folders with them [default: the workflows' folder]
    #[arg(long)]
    policies: Vec<PathBuf>,
    /// How long an answer takes
    #[arg(long, default_value = "0s")]
    latency: Span,
    /// File with settings to start with: limits, faults, latencies, as PUT /control takes them
    #[arg(long)]
    control: Option<PathBuf>,
    /// File that gets one JSON line per call
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// Keep the last request bodies for GET /ledger?bodies=1
    #[arg(long)]
    keep_bodies: bool,
}

pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    // Settings are read by what needs them: the launcher and the demo's service must not fail for a wrong settings file.
    let settings = || {
        let settings = cli.settings.clone().complete();
        settings.map_err(|error| Usage::of(&error))
    };
    let client = Client::of;
    match cli.command {
        Command::Up => Box::pin(up::up(settings()?)).await.map(done),
        Command::Gateway => Box::pin(roles::gateway(settings()?)).await.map(done),
        Command::Planner => Box::pin(roles::planner(settings()?)).await.map(done),
        Command::Executor => Box::pin(roles::executor(settings()?)).await.map(done),
        Command::Sim(args) => sim(settings()?, args).await.map(done),
        Command::Submit(args) => events::submit(&client(&settings()?)?, args).await,
        Command::Runs(args) => events::list(&client(&settings()?)?, args).await,
        Command::Show(args) => events::show(&client(&settings()?)?, args).await,
        Command::Watch(args) => watch::run(&client(&settings()?)?, args).await,
        Command::Explain(args) => explain::run(&client(&settings()?)?, args).await,
        Command::Effects(args) => effects::run(&client(&settings()?)?, args).await,
        Command::Blob(args) => blob::run(&client(&settings()?)?, args).await,
        Command::Replay(args) => Box::pin(replay::run(settings()?, args)).await,
        Command::Export(args) => replay::export(&settings()?, args).await,
        Command::Fork(args) => fork::run(&client(&settings()?)?, args).await,
        Command::Approvals(args) => people::list(&client(&settings()?)?, args).await,
        Command::Approve(args) => people::approve(&client(&settings()?)?, args).await,
        Command::Reject(args) => people::reject(&client(&settings()?)?, args).await,
        Command::Message(args) => people::message(&client(&settings()?)?, args).await,
        Command::Feedback(args) => people::feedback(&client(&settings()?)?, args).await,
        Command::Pause(args) => signals::pause(&client(&settings()?)?, args).await,
        Command::Retry(args) => signals::retry(&client(&settings()?)?, args).await,
        Command::Cancel(args) => signals::cancel(&client(&settings()?)?, args).await,
        Command::Resume(args) => signals::resume(&client(&settings()?)?, args).await,
        Command::Raise(args) => signals::raise(&client(&settings()?)?, args).await,
        Command::Cost(args) => cost::run(&client(&settings()?)?, args).await,
        Command::Fleet(args) => fleet::run(&client(&settings()?)?, args).await,
        Command::Ceiling(command) => ceilings::run(&client(&settings()?)?, command).await,
        Command::Dead(command) => dead::run(&client(&settings()?)?, command).await,
        Command::Definitions(command) => definitions::run(settings()?, command).await,
        Command::Tools(args) => tools::run(settings()?, args).await,
        Command::Token(command) => Box::pin(tokens::run(&settings()?, command)).await,
        Command::Audit(args) => tokens::audit(&client(&settings()?)?, args).await,
        Command::Credentials(args) => credentials::run(&args),
        Command::Doctor(args) => Box::pin(doctor::run(cli.settings.clone(), args)).await,
        Command::Healthcheck => healthcheck::run(&settings()?).await,
        Command::Completion(args) => Ok(completion::run(&args, Cli::command())),
        Command::Check(args) => check::run(settings()?, args),
        Command::Demo(args) => demo::story::run(settings()?, args).await,
        Command::Chaos(args) => Box::pin(chaos::run(settings()?, args)).await,
        Command::Bench(bench) => bench.run(settings()?).await.map(done),
        Command::DemoService(service) => service.run().await.map(done),
        Command::Launch {
            parent,
            limits,
            program,
            args,
        } => match child::launch(parent, &limits, &program, &args)? {},
    }
}

async fn sim(settings: Settings, args: Sim) -> anyhow::Result<()> {
    let default = SocketAddr::from(([127, 0, 0, 1], 8089));
    let policies = if args.policies.is_empty() {
        vec![settings.workflows()]
    } else {
        args.policies
    };
    roles::logs(&settings, "info")?;
    let server = flotilla_sim::bind(flotilla_sim::Config {
        http: settings.http.unwrap_or(default),
        policies,
        latency: args.latency.0,
        control: args.control,
        ledger: args.ledger,
        keep_bodies: args.keep_bodies,
        quiet: true,
        ..flotilla_sim::Config::default()
    })
    .await?;
    println!("simulated Claude on http://{}", server.addr());
    let stop = roles::stop_on_signals()?;
    server.serve(stop).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_can_be_given_and_no_flag_means_two_things() {
        Cli::command().debug_assert();
        let run = "run_00000000000000000000000000000000";
        for line in [
            "up --http 127.0.0.1:1 --data x --nats-url nats://x --log json",
            "gateway --watchers-max 9",
            "planner --slots 1 --ack-wait 1s",
            "executor --config x.toml",
            "sim --latency 1s --policies a --policies b --control c.yaml",
            "submit event.json --url http://x",
            "submit --type a.b --payload {} --id 1 --source s --data x --detach --json",
            &format!("show {run} --follow --json"),
            &format!("watch {run}"),
            &format!("watch {run} --json"),
            &format!("explain {run} triage/3 --json"),
            &format!("effects {run} --json"),
            &format!("blob {run} blob_00000000000000000000000000000000 -o file"),
            &format!("replay {run} --at 7 --json"),
            "replay file.jsonl",
            "replay --since 24h --until 2h --workflow w --workflow ./v2 --model haiku --step s --limit 9 --usd 1 --json",
            &format!("export {run} -o file.jsonl --with-children --without-definition"),
            &format!(
                "fork {run} --at fix --with @f --workflow-version 2 --reason r --by b --id i --json"
            ),
            "runs --limit 3 --status parked --workflow w --tool t --cursor c --json",
            "runs --status waiting",
            "runs --status paused",
            "approvals --limit 100 --workflow w --cursor c --json",
            &format!("approve {run}"),
            &format!("approve {run} triage/3#1 --with @f --hash h --reason r --by b"),
            &format!("reject {run} fetch[3]@1/2 --reason r"),
            &format!("cancel {run} --reason r --compensate"),
            &format!("pause {run} --reason r"),
            &format!("retry {run} triage --reason r --by b"),
            &format!("message {run} text --step triage"),
            &format!("feedback {run} text --bad"),
            &format!("resume {run} --reason r"),
            &format!("raise {run} --usd 2.5 --step s --reason r"),
            "cost --by workflow,day --since 30d --workflow w --model m --tenant t --json",
            "cost --csv",
            "fleet --json",
            "ceiling list --json",
            "ceiling set workflow w 20 --reason r --json",
            "ceiling set tenant t $0.5",
            "ceiling clear workflow w --json",
            "dead list --json",
            "dead list --fingerprint 0123456789ab --limit 5 --cursor 7",
            "dead show 7 --json",
            "dead edit 7 --payload @f --reason r --by b",
            "dead redrive 7 --reason r",
            "dead redrive --fingerprint 0123456789ab --rate 50/s --detach --json",
            "dead drop 7 --reason r --by b",
            "dead drop --fingerprint 0123456789ab --reason r --json",
            "token create n --scope read --scope ingest --tenant t --expires 90d --rate 50/s --direct",
            "token list --json --direct",
            "token revoke n --direct",
            "audit --since 24h --json",
            "doctor --executor -o json",
            "credentials d --nats n:1 --redis r:1 --executor-subject svc.> --owner 1:2 --hand-over /d",
            "healthcheck --http 127.0.0.1:1",
            "completion bash",
            "check --workflows w",
            "check w --json",
            "apply",
            "apply w --dry-run --activate never --reason r --by b --json",
            "workflows --json",
            "workflows w --json",
            "activate w 2 --reason r",
            "activate w v2",
            "deactivate w --reason r --json",
            "rollout w 3 10% --reason r",
            "rollout w 3 0.5",
            "rollout w --end --json",
            "rollback w --reason r --by b",
            "diff w",
            "diff w 1 2 --workflows x --json",
            "switch off tool t@2 --hold --reason r",
            "switch off step w s --reason r --json",
            "switch on tool t",
            "switch on step w s --reason r",
            "switch list --json",
            "tools test disk_free --with {} --json",
            "tools test disk_free@1 --with @f --workflows w",
            "tools mcp clock --json",
            "demo --keep",
            "bench steps --runs 1 --json",
            "bench planner --calls 1 --latency 1s",
            "bench limits --planners 2 --span 1s",
            "bench effects --effects 9 --kills --json",
            "bench watchers --watchers 9 --runs 3 --json",
            "bench storm --per-second 1 --json",
            "bench cost --runs 2 --apart --json",
            "chaos",
            "chaos --profile hour --rate 2.5 --seed 7 --for 1m --faults kill,fan-in --json --html h --keep --patience 9s",
            "chaos --profile cluster --skip-if-impossible",
            "chaos --attach --sink-address chaos:8099 --until-signal --flush --rate 2 --for 90s",
            "demo-service run --dir d",
            "launch 1 /bin/true --x",
            "launch 1 --memory=16777216 --cpu=1 --file=1 --open-files=16 -- /bin/true --x",
        ] {
            let parsed = Cli::try_parse_from(std::iter::once("flotilla").chain(line.split(' ')));
            let cli = parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
            // A flag of a command that shadowed a setting would panic when the setting is read.
            drop(cli.settings.clone());
        }
    }
}
