//! A server as a catalogue names it, with at most one session, which is begun anew when it is over: at once the first time, then
//! with longer and longer pauses.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex as Lock, PoisonError},
    time::Duration,
};

use flotilla_common::definition::{McpServer, McpVia, ProgramLimits, Template};
use reqwest::{
    Url,
    header::{HeaderName, HeaderValue},
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};

use super::{
    super::{
        Scene,
        failure::{Class, Failure},
        http::HttpClient,
        launch,
    },
    http,
    session::{Link, Session},
    stdio,
    trouble::Trouble,
    watched::Shared,
};

/// How long a server may take to get ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// The pause after the second time in a row that it ended or did not start, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// A session that lasted so long was a good one: the next pause is the first again.
const GOOD_AFTER: Duration = Duration::from_secs(60);

/// How a server is reached, with all holes filled: two tools that agree in this share a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    Program {
        argv: Vec<String>,
        env: BTreeMap<String, String>,
    },
    Endpoint {
        url: String,
        headers: Vec<(String, String)>,
    },
}

impl Reach {
    pub(super) fn of(server: &McpServer, scene: &Scene<'_>) -> Result<Self, Failure> {
        let filled = |place: &str, template: &Template| {
            let text = template.render(&scene.context);
            text.map_err(|error| Failure::hole(place, &error))
        };
        Ok(match &server.via {
            McpVia::Command(argv) => {
                let argv = argv.iter().map(|item| filled("command", item));
                Self::Program {
                    argv: argv.collect::<Result<_, _>>()?,
                    env: scene.env.clone(),
                }
            }
            McpVia::Url { url, headers } => {
                let headers = headers.iter();
                let headers = headers.map(|(name, value)| Ok((name.clone(), filled(name, value)?)));
                Self::Endpoint {
                    url: filled("url", url)?,
                    headers: headers.collect::<Result<_, Failure>>()?,
                }
            }
        })
    }

    async fn begin(&self, scene: &Scene<'_>, client: &HttpClient) -> Result<Session, Trouble> {
        let no = |why: String| Trouble::NotSent(why);
        match self {
            Self::Program { argv, .. } => {
                let (program, args) = argv
                    .split_first()
                    .ok_or_else(|| no("its `command` is empty".into()))?;
                let shared = Arc::new(Shared::of_program());
                let command = launch::command(program, None, &ProgramLimits::default(), scene);
                let started = command.and_then(|mut command| {
                    command.args(args);
                    stdio::start(&mut command, &shared)
                });
                let (program, pipes) =
                    started.map_err(|e| no(format!("cannot start `{program}`: {e}")))?;
                Session::begin(Link::Stdio(program, Box::new(pipes)), shared).await
            }
            Self::Endpoint { url, headers } => {
                let url = Url::parse(url).map_err(|e| no(format!("its `url` is none: {e}")))?;
                let mut map = HashMap::new();
                for (name, value) in headers {
                    let name = HeaderName::from_bytes(name.as_bytes());
                    let name = name.map_err(|_| no("a header has no valid name".into()))?;
                    let value = HeaderValue::from_str(value);
                    let mut value =
                        value.map_err(|_| no(format!("header `{name}` has no valid value")))?;
                    value.set_sensitive(true);
                    map.insert(name, value);
                }
                let shared = Arc::new(Shared::default());
                let http = http::transport(client.without_redirects(), &url, map, &shared);
                Session::begin(Link::Http(http), shared).await
            }
        }
    }
}

/// A server, whether it runs or not.
#[derive(Debug)]
pub(super) struct Server {
    reach: Reach,
    state: Mutex<State>,
    used: Lock<Instant>,
}

#[derive(Debug)]
struct State {
    session: Option<(Arc<Session>, Instant)>,
    /// How often in a row it ended soon or did not get ready.
    failures: u32,
    not_before: Instant,
}

impl Server {
    pub(super) fn new(reach: Reach) -> Self {
        let now = Instant::now();
        Self {
            reach,
            state: Mutex::new(State {
                session: None,
                failures: 0,
                not_before: now,
            }),
            used: Lock::new(now),
        }
    }

    /// How long nobody has asked for it.
    pub(super) fn idle(&self) -> Duration {
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    /// The session, begun if there is none; of several who want it one begins it.
    pub(super) async fn session(
        &self,
        name: &str,
        scene: &Scene<'_>,
        client: &HttpClient,
    ) -> Result<Arc<Session>, Failure> {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let mut state = self.state.lock().await;
        if let Some((session, since)) = &state.session {
            if !session.is_over() {
                return Ok(Arc::clone(session));
            }
            let was_good = since.elapsed() >= GOOD_AFTER;
            state.session = None;
            state.failed(was_good);
        }
        sleep_until(state.not_before).await;
        let begun = Box::pin(self.reach.begin(scene, client));
        let problem = match timeout(READY_LIMIT, begun).await {
            Ok(Ok(session)) => {
                let session = Arc::new(session);
                state.session = Some((Arc::clone(&session), Instant::now()));
                return Ok(session);
            }
            Ok(Err(trouble)) => trouble.to_string(),
            Err(_) => format!("it was not ready within {READY_LIMIT:?}"),
        };
        state.failed(false);
        let message = format!("the MCP server `{name}` cannot be used: {problem}");
        Err(Failure::new(Class::Connect, message))
    }
}

impl State {
    fn failed(&mut self, was_good: bool) {
        self.failures = if was_good {
            1
        } else {
            self.failures.saturating_add(1)
        };
        self.not_before = Instant::now() + pause(self.failures);
    }
}

/// The pause after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let (first, longest) = PAUSES;
    match failures {
        0 | 1 => Duration::ZERO,
        more => first.saturating_mul(1 << (more - 2).min(16)).min(longest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_keeps_ending_is_begun_with_longer_and_longer_pauses() {
        let pauses: Vec<u128> = (0..12).map(|n| pause(n).as_millis()).collect();
        assert_eq!(pauses[..5], [0, 0, 500, 1_000, 2_000]);
        assert_eq!(pauses[11], 60_000);
        assert_eq!(pause(u32::MAX), PAUSES.1);
    }
}
