//! Who sends events: what the gateway accepted (2xx) is on a list here, and none of that may be lost.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use flotilla_common::ids::{Name, RunId};
use jiff::Timestamp;
use reqwest::{Client, ClientBuilder, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const SOURCE: &str = "chaos";
/// One try; the same event is sent again after it.
const TRY_FOR: Duration = Duration::from_secs(8);
/// All tries of one event.
const SEND_FOR: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(200);
/// Events whose order is mixed up.
const WINDOW: usize = 6;
/// How often an event is sent a second time, and something comes that is none.
const TWICE: f64 = 0.1;
const MALFORMED: f64 = 0.05;
/// Items of a loop.
const ITEMS: [u32; 3] = [1, 2, 3];
/// Items of the loop that passes its ceiling.
const CEILING_ITEMS: u32 = 10;

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Workload {
    Main,
    Short,
    Approval,
    Ceiling,
    Fan,
    Undo,
    Sides,
    Slow,
}

impl Workload {
    /// In a mixed load, each as often as it is here.
    const MIX: [Self; 12] = [
        Self::Main,
        Self::Main,
        Self::Main,
        Self::Main,
        Self::Main,
        Self::Approval,
        Self::Approval,
        Self::Ceiling,
        Self::Fan,
        Self::Undo,
        Self::Undo,
        Self::Short,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Short => "short",
            Self::Approval => "approval",
            Self::Ceiling => "ceiling",
            Self::Fan => "fan",
            Self::Undo => "undo",
            Self::Sides => "sides",
            Self::Slow => "slow",
        }
    }

    /// The name of its workflow, of a kit whose definitions are named so.
    pub(super) fn workflow(self, kit: &str) -> String {
        format!("{kit}-{}", self.word())
    }

    fn data(self, number: usize) -> Value {
        match self {
            Self::Ceiling => {
                json!({"number": number, "items": (0..CEILING_ITEMS).collect::<Vec<_>>()})
            }
            Self::Fan => json!({"number": number, "items": ITEMS}),
            Self::Main | Self::Short | Self::Approval | Self::Undo | Self::Sides | Self::Slow => {
                json!({"number": number})
            }
        }
    }
}

/// An event to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Planned {
    /// Of that number, which says which event it is.
    Event(Workload, usize),
    /// Something that the gateway must refuse.
    Malformed(usize),
}

/// What is sent, in this order: a pure function of a seed. Events are numbered from `first` on.
pub(super) fn plan(seed: u64, first: usize, runs: usize) -> Vec<Planned> {
    let mut dice = fastrand::Rng::with_seed(seed ^ 0x10ad);
    let mut planned = Vec::with_capacity(runs);
    for number in first..first + runs {
        let workload = dice.choice(Workload::MIX).unwrap_or(Workload::Main);
        let event = Planned::Event(workload, number);
        if dice.f64() < TWICE {
            planned.push(event.clone());
        }
        planned.push(event);
        if dice.f64() < MALFORMED {
            planned.push(Planned::Malformed(number));
        }
    }
    for window in planned.chunks_mut(WINDOW) {
        dice.shuffle(window);
    }
    planned
}

/// An event that was accepted, and the run that it is.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) workload: Workload,
    pub(super) run: RunId,
    /// When it was sent first, Unix milliseconds.
    pub(super) sent_ms: i64,
}

/// Sends events to the gateway.
#[derive(Debug)]
pub(super) struct Submitter {
    http: Client,
    url: String,
    /// What the kit's definitions are named by.
    kit: String,
    /// In every event's id, so that no two kits mean the same event.
    session: String,
    /// All tries of one event.
    send_for: Duration,
    accepted: Mutex<Vec<Accepted>>,
    /// What went otherwise than it must, for people.
    wrong: Mutex<Vec<String>>,
}

#[derive(Deserialize)]
struct Taken {
    runs: Vec<RunId>,
}

impl Submitter {
    /// To this gateway, by such a client.
    pub(super) fn new(
        url: &str,
        http: ClientBuilder,
        kit: &str,
        session: String,
    ) -> anyhow::Result<Self> {
        let http = http
            .timeout(TRY_FOR)
            .connect_timeout(Duration::from_secs(2))
            .build()?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
            kit: kit.to_owned(),
            session,
            send_for: SEND_FOR,
            accepted: Mutex::default(),
            wrong: Mutex::default(),
        })
    }

    /// What the kit's definitions are named by.
    pub(super) fn kit(&self) -> &str {
        &self.kit
    }

    /// Everything that was accepted so far.
    pub(super) fn accepted(&self) -> Vec<Accepted> {
        let accepted = self.accepted.lock();
        accepted.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What went otherwise than it must.
    pub(super) fn wrong(&self) -> Vec<String> {
        let wrong = self.wrong.lock();
        wrong.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what went otherwise than it must.
    pub(super) fn complain(&self, problem: String) {
        let wrong = self.wrong.lock();
        wrong.unwrap_or_else(PoisonError::into_inner).push(problem);
    }

    /// Sends what was planned. Where this is dropped in the middle of it, for somebody has said that it is enough, that is no problem.
    pub(super) async fn send(&self, planned: &Planned) {
        match planned {
            Planned::Event(workload, number) => {
                let id = number.to_string();
                self.try_submit(*workload, &id, *number).await;
            }
            Planned::Malformed(number) => self.send_malformed(*number).await,
        }
    }

    /// Sends one event until it is accepted; gives its run. One that never is breaks no promise; but of what was to be tested, it was
    /// not, and the scorecard must not pass for that.
    pub(super) async fn try_submit(
        &self,
        workload: Workload,
        id: &str,
        number: usize,
    ) -> Option<RunId> {
        let sent = self.submit(workload, id, number).await;
        sent.map_err(|problem| self.complain(format!("{problem:#}")))
            .ok()
    }

    /// The same, for those who tell themselves what went wrong.
    ///
    /// # Errors
    /// It was never accepted, or not as a 2xx must be.
    pub(super) async fn submit(
        &self,
        workload: Workload,
        id: &str,
        number: usize,
    ) -> anyhow::Result<RunId> {
        let id = format!("{}-{}-{id}", workload.word(), self.session);
        let name: Name = workload.workflow(&self.kit).parse()?;
        let run = RunId::derive(&name, SOURCE, &id);
        let event = json!({
            "id": id,
            "source": SOURCE,
            "type": format!("{}.{}", self.kit, workload.word()),
            "data": workload.data(number),
        });
        let sent_ms = Timestamp::now().as_millisecond();
        let until = Instant::now() + self.send_for;
        let mut last = "it was not sent".to_owned();
        while Instant::now() < until {
            let answer = self.post(event.to_string()).await;
            if let Ok((status, text)) = &answer
                && status.is_success()
            {
                let taken = serde_json::from_str(text);
                let taken: Taken =
                    taken.with_context(|| format!("event {id}: a 2xx without runs"))?;
                if taken.runs != [run.clone()] {
                    self.complain(format!("event {id} is {run}, and was accepted as {text}"));
                }
                self.note(Accepted {
                    workload,
                    run: run.clone(),
                    sent_ms,
                });
                return Ok(run);
            }
            last = match answer {
                Ok((status, text)) => format!("{status} {text}"),
                Err(error) => format!("{error:#}"),
            };
            sleep(PAUSE).await;
        }
        let within = self.send_for;
        bail!("event {id} was not accepted within {within:?}, at last: {last}")
    }

    fn note(&self, event: Accepted) {
        let accepted = self.accepted.lock();
        let mut accepted = accepted.unwrap_or_else(PoisonError::into_inner);
        // Sent twice, it is one event and one run.
        if accepted.iter().all(|known| known.run != event.run) {
            accepted.push(event);
        }
    }

    async fn send_malformed(&self, number: usize) {
        let bodies = [
            "{\"type\": \"chaos.main\", \"data\": {",
            "{\"data\": {\"number\": 1}}",
            "{\"type\": \"chaos main\", \"data\": {}}",
            "[]",
        ];
        let body = bodies.get(number % bodies.len()).copied().unwrap_or("");
        // One that is not answered says nothing: it is not sent again.
        if let Ok((status, text)) = self.post(body.to_owned()).await
            && status.is_success()
        {
            self.complain(format!("{body} was accepted: {text}"));
        }
    }

    async fn post(&self, body: String) -> anyhow::Result<(StatusCode, String)> {
        let request = self.http.post(format!("{}/v1/events", self.url));
        let request = request
            .header("content-type", "application/json")
            .body(body);
        let answer = request.send().await?;
        Ok((answer.status(), answer.text().await?))
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tokio::net::TcpListener;

    use super::*;

    /// What a gateway is complained of that answers each of these planned ones so.
    async fn complaints(status: StatusCode, body: &'static str, planned: Planned) -> Vec<String> {
        // Another test may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Router::new().fallback(move || async move { (status, body) });
        let serving = tokio::spawn(async move { axum::serve(listener, answers).await });
        let http = Client::builder();
        let submitter = Submitter::new(&url, http, "chaos", "1".to_owned()).unwrap();
        let submitter = Submitter {
            send_for: Duration::from_millis(1),
            ..submitter
        };
        submitter.send(&planned).await;
        serving.abort();
        submitter.wrong()
    }

    #[tokio::test]
    async fn a_planned_event_that_is_never_accepted_is_a_problem() {
        let event = || Planned::Event(Workload::Main, 7);
        for (status, body, why) in [
            (StatusCode::SERVICE_UNAVAILABLE, "full", "503"),
            (StatusCode::ACCEPTED, "{}", "a 2xx without runs"),
            (StatusCode::ACCEPTED, "{\"runs\": []}", "was accepted as"),
        ] {
            let told = complaints(status, body, event()).await;
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(
                told[0].contains("main-1-7") && told[0].contains(why),
                "{told:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_malformed_must_be_refused() {
        let malformed = || Planned::Malformed(3);
        let told = complaints(StatusCode::BAD_REQUEST, "no event", malformed()).await;
        assert_eq!(told, Vec::<String>::new());
        let told = complaints(StatusCode::ACCEPTED, "{}", malformed()).await;
        assert!(told[0].contains("[] was accepted"), "{told:?}");
    }

    #[test]
    fn a_load_is_the_same_by_seed_and_has_everything_in_it() {
        let planned = plan(7, 0, 400);
        assert_eq!(planned, plan(7, 0, 400));
        assert_ne!(planned, plan(8, 0, 400));
        let events = |event: &&Planned| matches!(event, Planned::Event(..));
        let count = planned.iter().filter(events).count();
        assert!(count > 410, "{count}: some come twice");
        assert!(planned.len() > count, "some are malformed");
        for workload in Workload::MIX {
            let is = |event: &Planned| matches!(event, Planned::Event(own, _) if *own == workload);
            assert!(planned.iter().any(is), "{workload:?}");
        }
    }
}
