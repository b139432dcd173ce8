//! A whole fleet: NATS, Redis, the simulated Claude, and the roles as processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::HeaderMap;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::{Api, RunView, Submitted, Summary};
use crate::binary::flotilla;
use crate::journal::Journal;
use crate::keys::Keys;
use crate::nats::Nats;
use crate::redis_server::Redis;
use crate::role::{Role, RoleOptions};
use crate::sim::Sim;
use crate::wait::{PATIENCE, within};
use crate::workflows::Workflows;

/// Fleets at once in one test process. Each is half a dozen processes, which wait more than they work: two leave half of two cores
/// idle.
const FLEETS: usize = 3;
/// What planners hold as the Claude key.
pub const CLAUDE_KEY: &str = "sk-ant-only-a-test";
static ROOM: Semaphore = Semaphore::const_new(FLEETS);
/// For the tests before this one to end.
const ROOM_WITHIN: Duration = Duration::from_secs(1800);

/// A running fleet. Each role is a user of its own to NATS and Redis, with the rights that `flotilla credentials` gives it; the test's
/// own connections may do anything. Dropped, all of it is gone, and a role that asked NATS for what it may not fails the test; dropped
/// by a failing test, every process shows the end of its log.
pub struct Fleet {
    /// Those that the builder started; a test may kill them, take them out, put more in.
    pub planners: Vec<Role>,
    /// The same, of executors.
    pub executors: Vec<Role>,
    /// The one gateway.
    pub gateway: Role,
    /// The simulated Claude.
    pub sim: Sim,
    /// The fleet's own nats-server.
    pub nats: Nats,
    /// The fleet's own redis-server.
    pub redis: Redis,
    env: Vec<(String, String)>,
    keys: Option<Keys>,
    started: usize,
    workflows: Workflows,
    folder: TempDir,
    _room: SemaphorePermit<'static>,
}

/// How a fleet is to be.
#[derive(Debug)]
pub struct Builder {
    workflows: Option<Workflows>,
    planners: usize,
    executors: usize,
    ack_wait: String,
    env: Vec<(String, String)>,
    keep_bodies: bool,
    keep_redis: bool,
    nats_password: Option<String>,
    program: Option<PathBuf>,
}

impl Builder {
    /// What it runs.
    #[must_use]
    pub fn workflows(mut self, workflows: Workflows) -> Self {
        self.workflows = Some(workflows);
        self
    }

    /// How many planners; 1 unless said.
    #[must_use]
    pub fn planners(mut self, planners: usize) -> Self {
        self.planners = planners;
        self
    }

    /// How many executors; 1 unless said.
    #[must_use]
    pub fn executors(mut self, executors: usize) -> Self {
        self.executors = executors;
        self
    }

    /// How long a dead worker's message waits for another: `2s` unless said, so that tests need not wait for it.
    #[must_use]
    pub fn ack_wait(mut self, ack_wait: &str) -> Self {
        ack_wait.clone_into(&mut self.ack_wait);
        self
    }

    /// A variable for all roles.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The simulated Claude keeps what it is asked, for [`Sim::requests`].
    #[must_use]
    pub fn keep_bodies(mut self) -> Self {
        self.keep_bodies = true;
        self
    }

    /// Redis writes down what it is told, as the one that `up` starts does: it is there again after a restart.
    #[must_use]
    pub fn keep_redis(mut self) -> Self {
        self.keep_redis = true;
        self
    }

    /// The roles know a password for NATS. The server asks for none, and takes any: they are no users of their own, then.
    #[must_use]
    pub fn nats_password(mut self, password: &str) -> Self {
        self.nats_password = Some(password.to_owned());
        self
    }

    /// Its roles begin with another `flotilla` than the one that is built here.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Starts it, and waits until every role is ready.
    ///
    /// # Panics
    /// When it has no workflows, or something does not start.
    pub async fn start(self) -> Fleet {
        let workflows = self.workflows.expect("a fleet runs some workflows");
        let room = within("room for one more fleet", ROOM_WITHIN, ROOM.acquire())
            .await
            .expect("never closed");
        let folder = tempfile::tempdir().expect("a scratch folder");
        // Built before anything waits for it.
        flotilla();
        let keys = match &self.nats_password {
            Some(_) => None,
            None => Some(Keys::make(folder.path()).await),
        };
        let nats = keys.as_ref().map(Keys::nats_configuration);
        let acl = keys.as_ref().map(Keys::redis_users);
        let mut redis = Vec::new();
        if self.keep_redis {
            redis.extend(["--appendonly", "yes"]);
        }
        if let Some(acl) = &acl {
            redis.extend(["--aclfile", acl]);
        }
        let (nats, redis, sim) = tokio::join!(
            Nats::start_with(nats.as_deref().unwrap_or_default()),
            Redis::start_with(&redis),
            Sim::start(workflows.folder(), folder.path(), self.keep_bodies)
        );
        let nats_url = match &self.nats_password {
            Some(password) => format!("nats://flotilla:{password}@127.0.0.1:{}", nats.port()),
            None => nats.url(),
        };
        let mut env: Vec<(String, String)> = [
            ("FLOTILLA_NATS_URL", nats_url),
            ("FLOTILLA_REDIS_URL", redis.url()),
            (
                "FLOTILLA_WORKFLOWS",
                workflows.folder().display().to_string(),
            ),
            (
                "FLOTILLA_DATA",
                folder.path().join("data").display().to_string(),
            ),
            ("FLOTILLA_ACK_WAIT", self.ack_wait),
            // A test that wants tokens asks for them.
            ("FLOTILLA_AUTH", "off".to_owned()),
            ("RUST_LOG", "info".to_owned()),
            ("NO_COLOR", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        env.extend(self.env);
        let mut gateway = env.clone();
        if let Some(keys) = &keys {
            gateway.extend(keys.urls("gateway", nats.port(), redis.port()));
        }
        let mut options = RoleOptions::default();
        if let Some(program) = &self.program {
            options = options.program(program);
        }
        let program = options.its_program();
        let gateway = Role::start(program, "gateway", "gateway", &gateway, folder.path());
        let mut fleet = Fleet {
            planners: Vec::new(),
            executors: Vec::new(),
            gateway,
            sim,
            nats,
            redis,
            env,
            keys,
            started: 0,
            workflows,
            folder,
            _room: room,
        };
        // It makes the streams; the others may not.
        fleet.gateway.wait_ready().await;
        for _ in 0..self.planners {
            let planner = fleet.start_role("planner", options.clone());
            fleet.planners.push(planner);
        }
        for _ in 0..self.executors {
            let executor = fleet.start_role("executor", options.clone());
            fleet.executors.push(executor);
        }
        fleet.wait_ready().await;
        fleet
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.refused(), Vec::<String>::new());
        }
    }
}

impl Fleet {
    /// A fleet of one gateway, one planner and one executor, unless told otherwise.
    pub fn builder() -> Builder {
        Builder {
            workflows: None,
            planners: 1,
            executors: 1,
            ack_wait: "2s".to_owned(),
            env: Vec::new(),
            keep_bodies: false,
            keep_redis: false,
            nats_password: None,
            program: None,
        }
    }

    /// One more planner, ready; the caller keeps it.
    pub async fn planner(&mut self, options: RoleOptions) -> Role {
        let mut planner = self.start_role("planner", options);
        planner.wait_ready().await;
        planner
    }

    /// One more executor, ready; the caller keeps it.
    pub async fn executor(&mut self, options: RoleOptions) -> Role {
        let mut executor = self.start_role("executor", options);
        executor.wait_ready().await;
        executor
    }

    /// One more gateway, which need not be ready yet; the caller keeps it.
    pub fn start_gateway(&mut self, options: RoleOptions) -> Role {
        self.start_role("gateway", options)
    }

    /// Another gateway in the place of the one there is, ready.
    pub async fn replace_gateway(&mut self, options: RoleOptions) {
        self.gateway = self.start_role("gateway", options);
        self.gateway.wait_ready().await;
    }

    /// SIGKILL for every process of it, nats-server and redis-server among them. The simulated Claude is no part of it.
    pub fn kill_all(&mut self) {
        let roles = self.planners.iter_mut().chain(&mut self.executors);
        for role in roles.chain([&mut self.gateway]) {
            role.kill9();
        }
        self.nats.kill();
        self.redis.kill();
    }

    /// Starts as many of everything again, and waits until every role is ready.
    pub async fn start_all(&mut self) {
        tokio::join!(self.nats.restart(), self.redis.restart());
        self.gateway = self.start_role("gateway", RoleOptions::default());
        for at in 0..self.planners.len() {
            self.planners[at] = self.start_role("planner", RoleOptions::default());
        }
        for at in 0..self.executors.len() {
            self.executors[at] = self.start_role("executor", RoleOptions::default());
        }
        self.wait_ready().await;
    }

    fn start_role(&mut self, role: &str, options: RoleOptions) -> Role {
        self.started += 1;
        let mut env = self.env.clone();
        if let Some(keys) = &self.keys {
            env.extend(keys.urls(role, self.nats.port(), self.redis.port()));
        }
        env.retain(|(name, _)| !options.lacks(name));
        // The only role that holds the key; without a way of its own it goes to this fleet's Claude.
        if role == "planner" {
            env.push(("ANTHROPIC_BASE_URL".to_owned(), self.sim.url()));
            env.push(("ANTHROPIC_API_KEY".to_owned(), CLAUDE_KEY.to_owned()));
        }
        let program = options.its_program().to_owned();
        env.extend(options.into_env());
        Role::start(
            &program,
            role,
            &format!("{role}-{}", self.started),
            &env,
            self.folder.path(),
        )
    }

    /// What nats-server refused because its user may not, in its own words.
    pub fn refused(&self) -> Vec<String> {
        let log = self.nats.log();
        let lines = log.lines().filter(|line| line.contains("Violation"));
        lines.map(str::to_owned).collect()
    }

    /// Waits until every role that this fleet holds is ready.
    pub async fn wait_ready(&mut self) {
        let roles = self.planners.iter_mut().chain(&mut self.executors);
        for role in roles.chain([&mut self.gateway]) {
            role.wait_ready().await;
        }
    }

    /// The definitions it runs.
    pub fn workflows(&self) -> &Workflows {
        &self.workflows
    }

    /// Where its processes leave their logs, each as `<name>.log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The gateway's API.
    pub fn api(&self) -> &Api {
        self.gateway.api()
    }

    /// Sends an event over HTTP, as plain JSON.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn submit(&self, event: &Value) -> Submitted {
        self.api().submit(event).await
    }

    /// Publishes an event straight to `events.<type>`, and waits until JetStream has it; with a `Nats-Msg-Id` if there is one.
    ///
    /// # Panics
    /// When JetStream does not take it.
    pub async fn publish_event(&self, kind: &str, event: &Value, message_id: Option<&str>) {
        let mut headers = HeaderMap::new();
        if let Some(id) = message_id {
            headers.insert("Nats-Msg-Id", id);
        }
        let jetstream = self.nats.jetstream().await;
        let sent = jetstream.publish_with_headers(
            format!("events.{kind}"),
            headers,
            event.to_string().into(),
        );
        let taken = async { sent.await.expect("publish").await.expect("JetStream's ack") };
        within("JetStream takes the event", PATIENCE, taken).await;
    }

    /// Every run, as the gateway lists them.
    pub async fn runs(&self) -> Vec<Summary> {
        self.api().runs().await
    }

    /// One run, as the gateway shows it.
    pub async fn run(&self, id: &str) -> Option<RunView> {
        self.api().run(id).await
    }

    /// One run's journal, as the stream has it.
    pub async fn journal(&self, id: &str) -> Journal {
        Journal::read(&self.nats, &format!("runs.{id}.>")).await
    }

    /// The whole journal.
    pub async fn journal_of_all(&self) -> Journal {
        Journal::read(&self.nats, "runs.>").await
    }
}
