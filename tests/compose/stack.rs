//! The stack: docker-compose and docker, as a person types them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use flotilla_tests::{eventually, free_port};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::address;

/// How long a command may take: starting all of it on a slow machine.
const COMMAND_WITHIN: Duration = Duration::from_secs(300);
/// How long until everything is well again.
pub(crate) const WELL_WITHIN: Duration = Duration::from_secs(180);
/// Which docker-compose: the variable with its program and first words, as `deploy/compose-test` sets it.
#[derive(Clone, Copy)]
pub(crate) enum Compose {
    /// 1.29.
    V1,
    /// Or what there is.
    V2,
}

impl Compose {
    fn words(self) -> String {
        let variable = match self {
            Self::V1 => "FLOTILLA_COMPOSE",
            Self::V2 => "FLOTILLA_COMPOSE_V2",
        };
        let words = std::env::var(variable);
        words.expect("this is started by `deploy/compose-test`, or `make test-compose`")
    }
}

/// The profile with the kit of faults, how long it sends load, and how long it may take in all.
const CHAOS: [&str; 2] = ["--profile", "chaos"];
const CHAOS_FOR: &str = "20s";
const CHAOS_WITHIN: Duration = Duration::from_secs(400);

/// The services that are Flotilla's roles.
const ROLES: [&str; 3] = ["gateway", "planner", "executor"];

/// A project of docker-compose. Dropped, all of it is gone.
pub(crate) struct Stack {
    words: String,
    project: String,
    files: Vec<&'static str>,
    port: u16,
    folder: TempDir,
    scale: (usize, usize),
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("tests/ is in the repository")
        .to_owned()
}

impl Stack {
    /// Makes the network, and starts nothing.
    pub(crate) async fn create(compose: Compose, files: &[&'static str]) -> Self {
        let stack = Self {
            words: compose.words(),
            project: format!("flotilla-test-{:08x}", fastrand::u32(..)),
            files: files.to_vec(),
            port: free_port(),
            folder: tempfile::tempdir().unwrap(),
            scale: (1, 1),
        };
        readable(stack.folder.path());
        // With a container of one service comes the network. Of all of them, docker-compose 1.29 would wait for `setup` to end.
        stack.compose(&["up", "--no-start", "sim"]).await;
        stack
    }

    /// Writes the definitions that it is to run.
    pub(crate) fn workflows(&self, files: &[(&str, String)]) {
        for (name, text) in files {
            std::fs::write(self.folder.path().join(name), text).unwrap();
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut words = self.words.split_whitespace();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).args(["-p", &self.project]);
        for file in &self.files {
            command.args(["-f", file]);
        }
        command
            .args(args)
            .current_dir(root())
            .env("FLOTILLA_PORT", self.port.to_string())
            .env("FLOTILLA_WORKFLOWS_DIR", self.folder.path())
            .env("FLOTILLA_CHAOS_FOR", CHAOS_FOR)
            .env_remove("ANTHROPIC_API_KEY_FILE");
        command
    }

    /// What docker-compose says.
    pub(crate) async fn compose(&self, args: &[&str]) -> String {
        output(self.command(args), args).await
    }

    /// All of it, with so many planners and executors; waits until every container is well.
    pub(crate) async fn up(&mut self, planners: usize, executors: usize) {
        self.scale = (planners, executors);
        let (planners, executors) = (
            format!("planner={planners}"),
            format!("executor={executors}"),
        );
        let scale = ["--scale", &planners, "--scale", &executors];
        self.compose(&[&["up", "-d"], &scale[..]].concat()).await;
        self.well().await;
    }

    /// Waits until every container is there and well, as its health check says.
    pub(crate) async fn well(&self) {
        eventually("all containers are well", WELL_WITHIN, || async {
            let (planners, executors) = self.scale;
            for (service, count) in [("planner", planners), ("executor", executors)] {
                let found = self.containers(service).await.len();
                if found != count {
                    return Err(format!("{found} {service}s of {count}"));
                }
            }
            for service in ROLES.into_iter().chain(["nats", "redis"]) {
                for container in self.containers(service).await {
                    let state = inspect(&container).await["State"].take();
                    if state["Health"]["Status"] != "healthy" {
                        return Err(format!("{service}: {state}"));
                    }
                }
            }
            Ok(())
        })
        .await;
    }

    /// Starts the kit of faults beside it, and waits until it has a fault to tell of.
    pub(crate) async fn start_chaos(&self) {
        self.compose(&[&CHAOS[..], &["up", "-d", "chaos"]].concat())
            .await;
        eventually("the kit has begun", WELL_WITHIN, || async {
            let log = self.chaos_log().await;
            log.contains(" s  ").then_some(()).ok_or(log)
        })
        .await;
    }

    /// Waits until the kit has come to its end; its exit status, and what it printed.
    pub(crate) async fn chaos_ended(&self) -> (i64, String) {
        let ps = [&CHAOS[..], &["ps", "-a", "-q", "chaos"]].concat();
        let container = self.compose(&ps).await;
        let code = eventually("the kit has ended", CHAOS_WITHIN, || async {
            let state = inspect(container.trim()).await["State"].take();
            match state["Status"].as_str() {
                Some("exited") => Ok(state["ExitCode"].as_i64().unwrap()),
                _ => Err(self.chaos_log().await),
            }
        });
        (code.await, self.chaos_log().await)
    }

    async fn chaos_log(&self) -> String {
        let logs = [&CHAOS[..], &["logs", "--no-color", "chaos"]].concat();
        self.compose(&logs).await
    }

    /// The containers of a service, running or not.
    pub(crate) async fn containers(&self, service: &str) -> Vec<String> {
        let found = self.compose(&["ps", "-a", "-q", service]).await;
        found.split_whitespace().map(str::to_owned).collect()
    }

    /// One of them.
    pub(crate) async fn container(&self, service: &str) -> String {
        let mut found = self.containers(service).await;
        assert!(!found.is_empty(), "there is no {service}");
        found.remove(0)
    }

    /// The address of this machine that containers reach it by.
    pub(crate) async fn host(&self) -> Ipv4Addr {
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        address(&docker(&["network", "inspect", "-f", format, &self.network()]).await)
    }

    /// The network that they share.
    pub(crate) fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    /// A container's own address.
    pub(crate) async fn address(&self, service: &str) -> Ipv4Addr {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        address(&docker(&["inspect", "-f", format, &self.container(service).await]).await)
    }

    /// Where the gateway is published.
    pub(crate) fn gateway(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The gateway's first token, if it printed one.
    pub(crate) async fn token(&self) -> Option<String> {
        let log = self.logs("gateway").await;
        let at = log.find("flt_")?;
        let rest = log.get(at..)?;
        let word = rest.split(|c: char| !c.is_ascii_alphanumeric() && !"-_".contains(c));
        word.into_iter().next().map(str::to_owned)
    }

    pub(crate) async fn logs(&self, service: &str) -> String {
        self.compose(&["logs", "--no-color", service]).await
    }

    /// SIGKILL for a container. Docker takes this for a person's wish, and does not start it again.
    pub(crate) async fn kill(&self, container: &str) {
        docker(&["kill", "-s", "KILL", container]).await;
    }

    /// Starts what was killed.
    pub(crate) async fn start(&self, service: &str) {
        self.compose(&["start", service]).await;
        self.well().await;
    }

    /// That nothing in it runs as root, writes where it should not, or knows another's secrets.
    pub(crate) async fn is_confined(&self) {
        for service in ROLES.into_iter().chain(["nats", "redis", "sim"]) {
            let told = inspect(&self.container(service).await).await;
            assert_eq!(told["Config"]["User"], "65532:65532", "{service}");
            assert_eq!(told["HostConfig"]["ReadonlyRootfs"], true, "{service}");
            assert_eq!(told["HostConfig"]["CapDrop"][0], "ALL", "{service}");
            let mounts = told["Mounts"].as_array().unwrap().iter();
            let names = mounts.filter_map(|mount| mount["Name"].as_str());
            let secrets: Vec<_> = names.filter(|name| name.contains("credentials")).collect();
            let own = format!("{}_{service}-credentials", self.project);
            let expected = if service == "sim" {
                vec![]
            } else {
                vec![&*own]
            };
            assert_eq!(secrets, expected, "{service}");
        }
        let planner = self.container("planner").await;
        let shell = |script: &'static str| {
            let planner = planner.clone();
            async move { docker(&["exec", &planner, "sh", "-c", script]).await }
        };
        assert_eq!(shell("id -u").await.trim(), "65532");
        let url = shell("cat /credentials/nats_url").await;
        assert!(url.starts_with("nats://planner:"), "whose is it?");
        for place in ["/x", "/credentials/x", "/usr/local/bin/x"] {
            let wrote = try_docker(&["exec", &planner, "touch", place]).await;
            assert!(wrote.is_err(), "a planner writes to {place}");
        }
    }

    /// That no role asked NATS for what it may not.
    pub(crate) async fn nobody_was_refused(&self) {
        let log = self.logs("nats").await;
        let refused: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("Violation"))
            .collect();
        assert!(refused.is_empty(), "{refused:?}");
    }

    /// That the gateway knows of a limit before which it turns events away, and operators are alerted.
    pub(crate) async fn tells_how_full_nats_is(&self) {
        let metrics = format!("{}/metrics", self.gateway());
        let told = reqwest::get(metrics).await.unwrap().text().await.unwrap();
        let storage = "flotilla_backlog_used_ratio{kind=\"storage\"} ";
        let share = told.lines().find_map(|line| line.strip_prefix(storage));
        let share: f64 = share.expect(&told).parse().unwrap();
        assert!(share > 0.0 && share < 0.5, "{share}");
    }

    /// Stops all of it, as `docker compose stop` does; all end by themselves, in time and well.
    pub(crate) async fn stops_gracefully(&self) {
        self.compose(&["stop"]).await;
        for service in ROLES.into_iter().chain(["nats", "redis", "sim"]) {
            for container in self.containers(service).await {
                let state = inspect(&container).await["State"].take();
                assert_eq!(state["ExitCode"], 0, "{service}: {state}");
            }
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.command(&["logs", "--no-color", "--tail=40"]);
            let _ = logs.into_std().status();
        }
        let down = self.command(&[
            "--profile",
            "chaos",
            "down",
            "--volumes",
            "--timeout=2",
            "--remove-orphans",
        ]);
        let _ = down
            .into_std()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// What `docker inspect` says of a container.
pub(crate) async fn inspect(container: &str) -> Value {
    let told = docker(&["inspect", container]).await;
    let mut told: Value = serde_json::from_str(&told).unwrap();
    told[0].take()
}

/// What docker says.
pub(crate) async fn docker(args: &[&str]) -> String {
    let said = try_docker(args).await;
    said.unwrap_or_else(|problem| panic!("docker {args:?}: {problem}"))
}

async fn try_docker(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("docker");
    command.args(args);
    run(command).await
}

async fn output(command: Command, args: &[&str]) -> String {
    let said = run(command).await;
    said.unwrap_or_else(|problem| panic!("docker-compose {args:?}: {problem}"))
}

async fn run(mut command: Command) -> Result<String, String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(COMMAND_WITHIN, command.output()).await;
    let ended = ended.map_err(|_| format!("not within {COMMAND_WITHIN:?}"))?;
    let ended = ended.map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if ended.status.success() {
        Ok(text(&ended.stdout))
    } else {
        Err(format!("{}: {}", ended.status, text(&ended.stderr)))
    }
}

/// Containers run as somebody else.
fn readable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}
