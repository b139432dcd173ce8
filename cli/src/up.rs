//! `flotilla up`: all three roles in this process; nats-server, redis-server and a simulated Claude as children where none is
//! configured. Ctrl-C drains the roles, then ends the children.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use flotilla_common::{
    io::{bus::without_credentials, http},
    units::Span,
};
use flotilla_gateway::Auth;
use rustix::fs::{FlockOperation, flock};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{
    child::{Child, find, free_port},
    examples,
    folder::Folder,
    programs,
    roles::{self, Base, UP},
    settings::Settings,
    style::{accent, bold, dim},
    token,
};

const CHILD_PATIENCE: Duration = Duration::from_secs(20);
/// What the simulated Claude takes for an answer: enough to see the fleet wait.
const SIM_LATENCY: Span = Span(Duration::from_millis(300));
const LOG_FILTER: &str = "warn,async_nats=error";

/// The child that is nats-server: its name, and its program's.
pub(crate) const NATS: &str = "nats-server";
/// The child that is redis-server.
pub(crate) const REDIS: &str = "redis-server";
/// The child that is the simulated Claude.
pub(crate) const CLAUDE: &str = "claude-sim";

/// The children, in the order they were started.
#[derive(Debug, Default)]
pub(crate) struct Children(Vec<Child>);

/// A fleet in this process.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// Where its gateway is.
    pub(crate) url: String,
    /// Settings with the addresses of what was started.
    pub(crate) settings: Settings,
    base: Base,
    /// Where its definitions are from, for people.
    folder: String,
    listener: TcpListener,
    children: Children,
    simulated: bool,
    /// Where its token is; `None`: it asks for none.
    token: Option<PathBuf>,
    /// Where the examples' tools leave their files, if there are any.
    examples: Option<String>,
    /// Held until the end: two nats-servers on one store destroy it.
    _lock: fs::File,
}

/// `flotilla up`.
pub(crate) async fn up(settings: Settings) -> anyhow::Result<()> {
    let fleet = Fleet::start(settings).await?;
    fleet.announce();
    let stop = roles::stop_on_signals()?;
    println!(
        "{}",
        dim("Ctrl-C stops it; what is in hand is finished first.")
    );
    Box::pin(fleet.run(stop)).await?;
    println!("stopped; nothing is left running");
    Ok(())
}

impl Fleet {
    /// Starts what is missing and connects. Whatever fails, no child is left.
    pub(crate) async fn start(mut settings: Settings) -> anyhow::Result<Self> {
        let auth = settings.auth()?;
        let folder = Folder::read(&settings)?;
        let metrics = roles::telemetry(&settings, LOG_FILTER)?;
        let listener = http::bind(settings.http()).await?;
        let url = settings.url_at(listener.local_addr()?);
        let data = settings.data();
        fs::create_dir_all(&data)
            .with_context(|| format!("cannot make the folder {}", data.display()))?;
        let data = data
            .canonicalize()
            .with_context(|| format!("cannot use the folder {}", data.display()))?;
        let lock = lock(&data)?;
        let mut children = Children::default();
        let started = async {
            let simulated = children.start_missing(&mut settings, &data).await?;
            let base = Base::connect(settings.clone(), UP, folder.as_ref(), metrics);
            let base = Box::pin(base).await?;
            let own = std::env::var(examples::VARIABLE).ok();
            let examples = examples::folder(&base.definitions.current(), own, &data)?;
            let token = match auth {
                Auth::Tokens => {
                    let tokens = base.tokens().await?;
                    Some(Box::pin(token::kept(&tokens, &data, UP)).await?)
                }
                Auth::Off => None,
            };
            anyhow::Ok((simulated, base, token, examples))
        };
        match started.await {
            Ok((simulated, base, token, examples)) => Ok(Self {
                token,
                url,
                settings,
                base,
                folder: folder.map_or_else(|| "as they were applied".to_owned(), |one| one.shown()),
                listener,
                children,
                simulated,
                examples,
                _lock: lock,
            }),
            Err(error) => {
                children.stop().await;
                Err(error)
            }
        }
    }

    /// Says where everything is.
    pub(crate) fn announce(&self) {
        let line = |name: &str, what: &str| println!("  {:<10} {what}", dim(name));
        println!("{}", bold("flotilla is up"));
        line("gateway", &accent(&self.url));
        line("NATS", &without_credentials(self.settings.nats_url()));
        line("Redis", &without_credentials(self.settings.redis_url()));
        let kind = if self.simulated {
            " (simulated; set ANTHROPIC_API_KEY for the real one)"
        } else {
            ""
        };
        line("Claude", &format!("{}{kind}", self.settings.base_url()));
        line("workflows", &self.folder);
        line("data", &self.settings.data().display().to_string());
        match &self.token {
            Some(file) => line(
                "token",
                &format!("{} (it may do everything)", file.display()),
            ),
            None => line("token", "none is asked for (FLOTILLA_AUTH=off)"),
        }
        if let Some(folder) = &self.examples {
            line("examples", folder);
        }
        let nats = self.settings.nats_url();
        line(
            "watch",
            &format!(
                "nats -s {} sub 'runs.*.decided.>'",
                without_credentials(nats)
            ),
        );
    }

    /// Runs until `stop`, then drains and ends the children.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        roles::upkeep(&self.base, &stop);
        let traces = roles::traces(&self.base, UP)?;
        let planner = self.base.planner()?;
        let gateway = self.base.gateway(self.listener)?;
        let mut executor = self.base.executor();
        if let Some(folder) = self.examples {
            executor.environment = executor.environment.or(examples::VARIABLE, folder);
        }
        let mut broken = None;
        let roles = async {
            // A role that fails stops the others: half a fleet helps nobody.
            let fail = |stop: &CancellationToken| stop.cancel();
            tokio::join!(
                async {
                    Box::pin(flotilla_gateway::run(gateway, stop.clone()))
                        .await
                        .map_err(|e| {
                            fail(&stop);
                            anyhow!(e)
                        })
                },
                async {
                    Box::pin(flotilla_planner::run(planner, stop.clone()))
                        .await
                        .map_err(|e| {
                            fail(&stop);
                            anyhow!(e)
                        })
                },
                async {
                    flotilla_executor::run(executor, stop.clone())
                        .await
                        .map_err(|e| {
                            fail(&stop);
                            anyhow!(e)
                        })
                },
            )
        };
        tokio::pin!(roles);
        let (gateway, planner, executor) = tokio::select! {
            ended = &mut roles => ended,
            problem = self.children.ended() => {
                broken = Some(problem);
                stop.cancel();
                roles.await
            }
        };
        traces.finish().await;
        self.children.stop().await;
        gateway?;
        planner?;
        executor?;
        match broken {
            Some(problem) => bail!("{problem}"),
            None => Ok(()),
        }
    }
}

impl Children {
    /// Starts what is not configured; gives whether Claude is simulated.
    async fn start_missing(
        &mut self,
        settings: &mut Settings,
        data: &Path,
    ) -> anyhow::Result<bool> {
        if settings.nats_url.is_none() {
            settings.nats_url = Some(self.nats(data).await?);
        }
        if settings.redis_url.is_none() {
            settings.redis_url = Some(self.redis(data).await?);
        }
        if settings.api_key()?.is_some() || settings.auth_token().is_some() {
            return Ok(false);
        }
        if let Some(url) = &settings.anthropic_base_url {
            bail!(
                "ANTHROPIC_BASE_URL is {url}, but there is no key: set ANTHROPIC_API_KEY, or unset both for a simulated Claude"
            );
        }
        settings.anthropic_base_url =
            Some(self.sim(data, &settings.workflows(), SIM_LATENCY).await?);
        settings.simulated = true;
        Ok(true)
    }

    pub(crate) async fn nats(&mut self, data: &Path) -> anyhow::Result<String> {
        let program = find(NATS).ok_or_else(|| missing(NATS, "FLOTILLA_NATS_URL"))?;
        let address = free_port(4222)?;
        let args = programs::nats(address, &data.join("nats"));
        self.child(NATS, &program, &args, data, move || async move {
            answers(address).await
        })
        .await?;
        Ok(format!("nats://{address}"))
    }

    pub(crate) async fn redis(&mut self, data: &Path) -> anyhow::Result<String> {
        let program = find(REDIS).ok_or_else(|| missing(REDIS, "FLOTILLA_REDIS_URL"))?;
        let address = free_port(6379)?;
        let folder = data.join("redis");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let args = programs::redis(address, &folder);
        self.child(REDIS, &program, &args, data, move || async move {
            answers(address).await
        })
        .await?;
        Ok(format!("redis://{address}"))
    }

    pub(crate) async fn sim(
        &mut self,
        data: &Path,
        policies: &Path,
        latency: Span,
    ) -> anyhow::Result<String> {
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let address = free_port(8089)?;
        let args = programs::sim(address, data, policies, latency);
        self.child(CLAUDE, &own, &args, data, move || async move {
            answers(address).await
        })
        .await?;
        Ok(format!("http://{address}"))
    }

    /// One more that ends with the others.
    pub(crate) fn add(&mut self, child: Child) {
        self.0.push(child);
    }

    async fn child<F: Future<Output = bool>>(
        &mut self,
        name: &'static str,
        program: &Path,
        args: &[OsString],
        data: &Path,
        ready: impl FnMut() -> F,
    ) -> anyhow::Result<()> {
        let mut child = Child::start(name, program, args, data, &[])?;
        let waited = child.until(CHILD_PATIENCE, ready).await;
        self.0.push(child);
        waited
    }

    /// Waits until one of them ends by itself; never returns when there are none.
    async fn ended(&mut self) -> String {
        let endings = self
            .0
            .iter_mut()
            .map(|child| Box::pin(child.ended()))
            .collect::<Vec<_>>();
        if endings.is_empty() {
            return std::future::pending().await;
        }
        futures_util::future::select_all(endings).await.0
    }

    /// Each of them, in the order they were started.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Child> {
        self.0.iter_mut()
    }

    /// Ends all, the last one first.
    pub(crate) async fn stop(&mut self) {
        while let Some(child) = self.0.pop() {
            child.stop().await;
        }
    }
}

/// Takes the data folder for this process alone.
fn lock(data: &Path) -> anyhow::Result<fs::File> {
    use std::io::{Read as _, Write as _};
    let path = data.join("lock");
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        // Only for the message: without it, it says less.
        let _ = file.read_to_string(&mut holder);
        bail!(
            "another flotilla (process {}) uses the folder {}; stop it, or give this one a folder of its own (--data, FLOTILLA_DATA)",
            holder.trim(),
            data.display()
        );
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Whether somebody takes connections there.
pub(crate) async fn answers(address: SocketAddr) -> bool {
    TcpStream::connect(address).await.is_ok()
}

fn missing(program: &str, setting: &str) -> anyhow::Error {
    let tools: PathBuf = "deploy/get-tools".into();
    let help = if tools.exists() {
        "`make tools` gets it"
    } else {
        "install it"
    };
    anyhow!("there is no {program} on PATH: {help}, or set {setting} to one that runs")
}
