//! The gateway's API, as the command line uses it.

mod problem;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, anyhow};
use flotilla_common::{
    access::token::Secret,
    definition::percent_encoded,
    ids::{Name, RunId, StepKey},
    io::{ceilings::Payer, journal::Raw},
    money::Usd,
    run::Summary,
};
use reqwest::{
    Certificate, Method, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use serde::Deserialize;
use serde_json::Value;

pub(crate) use problem::{Refused, Unreachable};

use crate::{dead::Letter, replay::RawLine, settings::Settings, waiting::Waiting};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Of one blob, 1 GiB at most.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Of one stream of a run's entries: then there is another one.
const LIVE_TIMEOUT: Duration = Duration::from_secs(3_600);

/// A client of one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

/// What became of an event.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Submitted {
    pub(crate) id: String,
    pub(crate) runs: Vec<RunId>,
    #[serde(default)]
    pub(crate) duplicate: bool,
}

#[derive(Debug, Deserialize)]
struct Hooked {
    events: Vec<Submitted>,
}

/// A page of runs.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Runs {
    pub(crate) runs: Vec<Summary>,
    #[serde(default)]
    pub(crate) next: Option<String>,
    /// False while the list is being built anew: older runs may be missing.
    #[serde(default = "yes")]
    pub(crate) complete: bool,
}

fn yes() -> bool {
    true
}

/// A run and (a part of) its journal.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Shown {
    #[serde(default)]
    pub(crate) run: Option<Summary>,
    /// What the runs within it cost that have ended.
    #[serde(default)]
    pub(crate) children_usd_nano: Usd,
    #[serde(default)]
    pub(crate) broken: Option<String>,
    #[serde(default)]
    pub(crate) approvals: Vec<Waiting>,
    #[serde(default)]
    pub(crate) dead_letters: Vec<Letter>,
    pub(crate) journal: Vec<Line>,
    #[serde(default)]
    next: Option<u64>,
}

/// Some entries of a run as they are.
#[derive(Debug, Deserialize)]
struct Page {
    entries: Vec<RawLine>,
    next: Option<u64>,
}

/// A line of a journal.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Line {
    pub(crate) seq: u64,
    pub(crate) subject: String,
    pub(crate) entry: Value,
}

impl Client {
    /// Of the gateway that the settings name, with the token that they have.
    pub(crate) fn of(settings: &Settings) -> anyhow::Result<Self> {
        let token = settings.token()?;
        Self::trusting(&settings.url(), token.as_ref(), settings.roots()?)
    }

    pub(crate) fn new(url: &str, token: Option<&Secret>) -> anyhow::Result<Self> {
        Self::trusting(url, token, Vec::new())
    }

    pub(crate) fn trusting(
        url: &str,
        token: Option<&Secret>,
        roots: Vec<Certificate>,
    ) -> anyhow::Result<Self> {
        let http = Self::connections(token, roots)?
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(3))
            .build()?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// How a gateway is reached that is asked for such a token, and is trusted by these certificates too.
    pub(crate) fn connections(
        token: Option<&Secret>,
        roots: Vec<Certificate>,
    ) -> anyhow::Result<reqwest::ClientBuilder> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(reqwest::Client::builder()
            .tls_certs_merge(roots)
            .default_headers(headers))
    }

    pub(crate) async fn submit(
        &self,
        body: Vec<u8>,
        content_type: &str,
    ) -> anyhow::Result<Submitted> {
        self.send(Method::POST, "/v1/events", Some((body, content_type)))
            .await
    }

    pub(crate) async fn alertmanager(&self, body: &Value) -> anyhow::Result<Vec<Submitted>> {
        let hooked: Hooked = self
            .send_json(Method::POST, "/v1/hooks/alertmanager", body)
            .await?;
        Ok(hooked.events)
    }

    pub(crate) async fn runs(&self, query: &str) -> anyhow::Result<Runs> {
        self.send(Method::GET, &format!("/v1/runs?{query}"), None)
            .await
    }

    /// A run with the entries of its journal after a sequence; `None` when there is no such run (yet).
    pub(crate) async fn run(&self, run: &RunId, since: u64) -> anyhow::Result<Option<Shown>> {
        let Some(mut shown) = self.run_page(run, since).await? else {
            return Ok(None);
        };
        // A long journal comes in several answers; the last one has the newest state.
        while let Some(next) = shown.next {
            let Some(more) = self.run_page(run, next).await? else {
                break;
            };
            let mut journal = std::mem::take(&mut shown.journal);
            shown = more;
            journal.append(&mut shown.journal);
            shown.journal = journal;
        }
        Ok(Some(shown))
    }

    async fn run_page(&self, run: &RunId, since: u64) -> anyhow::Result<Option<Shown>> {
        let response = self
            .http
            .get(format!("{}/v1/runs/{run}?since={since}", self.url))
            .send()
            .await;
        let response = response.map_err(|error| self.unreachable(&error))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read(response).await.map(Some)
    }

    /// The entries of a run after a sequence, as they come; `None` when there is no such run (yet).
    pub(crate) async fn live(
        &self,
        run: &RunId,
        after: u64,
    ) -> anyhow::Result<Option<reqwest::Response>> {
        let url = format!("{}/v1/runs/{run}/live?since={after}", self.url);
        let answer = self.http.get(url).timeout(LIVE_TIMEOUT).send().await;
        let response = answer.map_err(|error| self.unreachable(&error))?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(response)),
            _ => read::<Value>(response).await.map(|_| None),
        }
    }

    /// The entries of a run byte for byte, in order; `None` when there is no such run.
    pub(crate) async fn journal(&self, run: &RunId) -> anyhow::Result<Option<Vec<Raw>>> {
        let mut entries = Vec::new();
        let mut since = 0;
        loop {
            let path = format!("{}/v1/runs/{run}/journal?since={since}", self.url);
            let response = self.http.get(path).send().await;
            let response = response.map_err(|error| self.unreachable(&error))?;
            if response.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let page: Page = read(response).await?;
            for line in page.entries {
                entries.push(
                    line.raw()
                        .context("the gateway's answer is not understood")?,
                );
            }
            match page.next.filter(|next| *next > since) {
                Some(next) => since = next,
                None => return Ok(Some(entries)),
            }
        }
    }

    /// The files of the definition that a run is pinned to.
    pub(crate) async fn definition(&self, run: &RunId) -> anyhow::Result<BTreeMap<String, String>> {
        #[derive(Deserialize)]
        struct Texts {
            files: BTreeMap<String, String>,
        }
        let texts: Texts = self.get(&format!("/v1/runs/{run}/definition")).await?;
        Ok(texts.files)
    }

    /// How a step or turn was decided.
    pub(crate) async fn explain(&self, run: &RunId, step: &StepKey) -> anyhow::Result<Value> {
        let step = percent_encoded(&step.to_string());
        let path = format!("/v1/runs/{run}/explain/{step}");
        self.send(Method::GET, &path, None).await
    }

    /// What a run was to do outside.
    pub(crate) async fn effects(&self, run: &RunId) -> anyhow::Result<Value> {
        self.send(Method::GET, &format!("/v1/runs/{run}/effects"), None)
            .await
    }

    /// An answer that is streamed, however long that takes.
    pub(crate) async fn download(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        let request = self.http.get(format!("{}{path}", self.url));
        let response = request.timeout(DOWNLOAD_TIMEOUT).send().await;
        let response = response.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let refused: anyhow::Result<Value> = read(response).await;
        refused.and_then(|_| Err(anyhow!("the gateway's answer is not understood")))
    }

    /// Tells a run something.
    pub(crate) async fn signal(
        &self,
        run: &RunId,
        signal: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        self.send_json(Method::POST, &format!("/v1/runs/{run}/{signal}"), body)
            .await
    }

    /// What waits for people.
    pub(crate) async fn approvals(&self, query: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, &format!("/v1/approvals?{query}"), None)
            .await
    }

    pub(crate) async fn ceilings(&self) -> anyhow::Result<Value> {
        self.send(Method::GET, "/v1/ceilings", None).await
    }

    pub(crate) async fn set_ceiling(
        &self,
        payer: Payer,
        name: &Name,
        body: &Value,
    ) -> anyhow::Result<Value> {
        self.send_json(Method::PUT, &format!("/v1/ceilings/{payer}/{name}"), body)
            .await
    }

    pub(crate) async fn clear_ceiling(&self, payer: Payer, name: &Name) -> anyhow::Result<Value> {
        let path = format!("/v1/ceilings/{payer}/{name}");
        self.send(Method::DELETE, &path, None).await
    }

    /// An answer without a body of ours.
    pub(crate) async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> anyhow::Result<T> {
        self.send(Method::GET, path, None).await
    }

    /// What is to go.
    pub(crate) async fn delete<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
    ) -> anyhow::Result<T> {
        self.send(Method::DELETE, path, None).await
    }

    pub(crate) async fn send_json<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_vec(body)?;
        self.send(method, path, Some((body, "application/json")))
            .await
    }

    async fn send<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        body: Option<(Vec<u8>, &str)>,
    ) -> anyhow::Result<T> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some((body, content_type)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        read(
            request
                .send()
                .await
                .map_err(|error| self.unreachable(&error))?,
        )
        .await
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Unreachable {
            url: self.url.clone(),
            cause: cause.to_string(),
            was_there: !error.is_connect(),
        }
        .into()
    }
}

async fn read<T: for<'de> Deserialize<'de>>(response: reqwest::Response) -> anyhow::Result<T> {
    let status = response.status();
    let body = response
        .bytes()
        .await
        .context("the gateway's answer broke off")?;
    if status.is_success() {
        return serde_json::from_slice(&body)
            .context("the gateway's answer is not understood; is it another version?");
    }
    let problem = serde_json::from_slice(&body).unwrap_or_default();
    Err(Refused { status, problem }.into())
}

/// Prints an answer: as it is, or as lines for people.
pub(crate) fn print<T: for<'de> Deserialize<'de>>(
    json: bool,
    answer: Value,
    lines: impl FnOnce(T) -> Vec<String>,
) -> anyhow::Result<()> {
    if json {
        println!("{answer}");
        return Ok(());
    }
    let answer = serde_json::from_value(answer)
        .context("the gateway's answer is not understood; is it another version?")?;
    lines(answer).iter().for_each(|line| println!("{line}"));
    Ok(())
}
