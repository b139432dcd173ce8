//! Who submits events while there is trouble, and keeps a list of its own of what it was promised.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

/// Between two events.
const EVERY: Duration = Duration::from_millis(250);
/// How long one event is tried: the gateway may be away for as long as NATS is.
const PATIENCE: Duration = Duration::from_secs(180);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A client of one gateway, for whom no answer is an answer too.
#[derive(Debug, Clone)]
pub struct Gateway {
    http: Client,
    base: String,
    token: Option<String>,
}

impl Gateway {
    /// Of the gateway at `base`, with a token where it asks for one.
    ///
    /// # Panics
    /// When there is no HTTP client to be had.
    pub fn new(base: String, token: Option<String>) -> Self {
        // Plain HTTP only, but the client wants to know which TLS it would use; a second time is no news.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().no_proxy().timeout(ANSWER_WITHIN);
        Self {
            http: http.build().expect("an HTTP client"),
            base,
            token,
        }
    }

    /// GET.
    ///
    /// # Errors
    /// Any answer but 200, and none.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        self.send(self.http.get(format!("{}{path}", self.base)))
            .await
    }

    async fn submit(&self, event: &Value) -> Result<Value, String> {
        let post = self.http.post(format!("{}/v1/events", self.base));
        self.send(post.json(event)).await
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Result<Value, String> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("{status} {text}"));
        }
        serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))
    }
}

/// A submitter at work.
#[derive(Debug)]
pub struct Load {
    least: watch::Sender<Option<usize>>,
    work: JoinHandle<BTreeMap<usize, String>>,
}

impl Load {
    /// Starts it. `event` makes the n-th event, which goes to one of the gateways, to each in turn until one takes it.
    ///
    /// # Panics
    /// When there is no gateway; at [`Load::stop`], when an event starts nothing or is taken in by nobody.
    pub fn start(gateways: Vec<Gateway>, event: impl Fn(usize) -> Value + Send + 'static) -> Self {
        assert!(!gateways.is_empty(), "somebody must take the events");
        let (least, told) = watch::channel(None);
        let work = tokio::spawn(async move {
            let (mut runs, mut ticks) = (BTreeMap::new(), interval(EVERY));
            while told.borrow().is_none_or(|least| runs.len() < least) {
                ticks.tick().await;
                let n = runs.len();
                runs.insert(n, submit(&gateways, n, &event(n)).await);
            }
            runs
        });
        Self { least, work }
    }

    /// Ends it, once it has submitted that many; the runs that it was promised, by the number of their event.
    ///
    /// # Panics
    /// When it failed.
    pub async fn stop(self, least: usize) -> BTreeMap<usize, String> {
        self.least.send_replace(Some(least));
        self.work.await.expect("every event is taken in")
    }
}

/// Until it is taken in: the same event as often as it takes.
async fn submit(gateways: &[Gateway], n: usize, event: &Value) -> String {
    let taken_in = async {
        for turn in n.. {
            match gateways[turn % gateways.len()].submit(event).await {
                Ok(answer) => match answer["runs"][0].as_str() {
                    Some(run) => return run.to_owned(),
                    None => panic!("event {n} started nothing: {answer}"),
                },
                Err(problem) => eprintln!("event {n} again: {problem}"),
            }
            sleep(EVERY).await;
        }
        unreachable!("there is no end of numbers")
    };
    let taken_in = timeout(PATIENCE, taken_in).await;
    taken_in.unwrap_or_else(|_| panic!("event {n} is not taken in for {PATIENCE:?}"))
}
