//! `POST /v1/hooks/alertmanager`: the webhook of Prometheus Alertmanager, one event for each alert.
//!
//! Alertmanager sends a group again until it is answered with 2xx, but never after a 4xx; and it repeats what still fires. So the
//! whole hook can be repeated: an alert's event has the same id every time, until the alert's status changes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use flotilla_common::{
    access::Caller,
    event::Event,
    ids::{EventType, RunId},
    io::http::Problem,
};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::{
    access::tenants,
    body::{self, JSON},
    hooks,
    large::Read,
    problem::{bad_request, of_not_taken, unavailable},
    publish::{self, Taken, publish},
    routes::App,
};

const EVENT_TYPE: &str = "alertmanager.alert";
/// The body's version, and the only one Alertmanager has sent since 2016.
const VERSION: &str = "4";
/// Alerts of one group, and their bytes.
const ALERTS_MAX: usize = 2_000;
const BODY_BYTES_MAX: usize = 4 << 20;
/// Events on their way to NATS at once.
const PUBLISHED_AT_ONCE: usize = 32;

/// How long a group may take from when its request came: less than a request may, whose time limit is answered with a 4xx.
const PATIENCE: Duration = Duration::from_secs(20);

type Texts = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    version: String,
    receiver: String,
    #[serde(default)]
    group_labels: Option<Texts>,
    #[serde(rename = "externalURL")]
    external_url: String,
    #[serde(default)]
    truncated_alerts: u64,
    alerts: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: Status,
    labels: Texts,
    #[serde(default)]
    annotations: Option<Texts>,
    starts_at: String,
    #[serde(default)]
    ends_at: Option<String>,
    #[serde(rename = "generatorURL", default)]
    generator_url: Option<String>,
    fingerprint: String,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Firing,
    Resolved,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct TakenGroup {
    events: Vec<TakenAlert>,
}

#[derive(Debug, Serialize)]
struct TakenAlert {
    id: String,
    runs: Vec<RunId>,
    duplicate: bool,
    /// Workflows whose condition could not be evaluated for this alert, and why. The event is kept as a dead letter for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// Takes in a group of alerts: 202 once all of them are on disk.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<TakenGroup>), Problem> {
    let until = Instant::now() + PATIENCE;
    let hook = hooks::of_alertmanager(&app)?;
    app.backlog.check()?;
    let read = app.large.read(body, BODY_BYTES_MAX);
    let Read { bytes, turn: _turn } = match hook {
        Some(hook) => hooks::verified(&hook, &headers, read).await?,
        None => read.await?,
    };
    body::media_type(&headers, &[JSON])?;
    let events = events(&bytes)?.into_iter();
    let events = events.map(|event| tenants::sent_by(&caller, event));
    let events = events.collect::<Result<Vec<_>, _>>()?;
    let taking = stream::iter(events)
        .map(|event| take(&app, event))
        .buffered(PUBLISHED_AT_ONCE)
        .collect();
    let outcomes: Vec<Result<TakenAlert, Problem>> = timeout_at(until, taking)
        .await
        .map_err(|_| unavailable("not all alerts could be taken in in time; send them again"))?;
    let events = all_or_problem(outcomes)?;
    Ok((StatusCode::ACCEPTED, Json(TakenGroup { events })))
}

/// The events of a body.
fn events(bytes: &[u8]) -> Result<Vec<Event>, Problem> {
    let group: Group = serde_json::from_slice(bytes).map_err(|error| {
        let what = if error.is_data() {
            "not the body of Alertmanager's webhook"
        } else {
            "the body is not valid JSON"
        };
        bad_request(format!("{what}: {error}"))
    })?;
    if group.version != VERSION {
        return Err(bad_request(format!(
            "the webhook's version is `{}`, only {VERSION} is known",
            group.version
        )));
    }
    if group.alerts.len() > ALERTS_MAX {
        let detail = format!(
            "the group has {} alerts, at most {ALERTS_MAX} are taken; set `max_alerts` of the webhook, or group by more labels",
            group.alerts.len()
        );
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    if group.truncated_alerts > 0 {
        warn!(
            receiver = group.receiver,
            left_out = group.truncated_alerts,
            "Alertmanager left out alerts of a group (its `max_alerts`)"
        );
    }
    group
        .alerts
        .iter()
        .map(|alert| alert.event(&group))
        .collect()
}

impl Alert {
    fn event(&self, group: &Group) -> Result<Event, Problem> {
        let kind: EventType = EVENT_TYPE
            .parse()
            .map_err(|error: flotilla_common::ids::IdError| bad_request(error.to_string()))?;
        let time: Timestamp = self
            .starts_at
            .parse()
            .map_err(|e| bad_request(format!("`startsAt` is no time: {e}")))?;
        let status = self.status.as_str();
        let none = Texts::new();
        let data = json!({
            "status": status,
            "labels": self.labels,
            "annotations": self.annotations.as_ref().unwrap_or(&none),
            "startsAt": self.starts_at,
            "endsAt": self.ends_at,
            "generatorURL": self.generator_url,
            "fingerprint": self.fingerprint,
            "receiver": group.receiver,
            "groupLabels": group.group_labels.as_ref().unwrap_or(&none),
            "externalURL": group.external_url,
        });
        let id = format!("{}:{}:{status}", self.fingerprint, self.starts_at);
        let source = format!("alertmanager:{}", group.external_url);
        let mut event = Event::new(kind, source, id, data);
        event.subject = self.labels.get("alertname").cloned();
        event.time = Some(time);
        Ok(event)
    }
}

async fn take(app: &App, event: Event) -> Result<TakenAlert, Problem> {
    let taken = take_in(app, &event).await;
    let (taken, problems) = match taken {
        Ok((taken, problems)) => (Ok(taken), problems),
        Err(problem) => (Err(problem), Vec::new()),
    };
    publish::count("alertmanager", &taken);
    taken.map(|taken| TakenAlert {
        id: taken.id,
        runs: taken.runs,
        duplicate: taken.duplicate,
        problems,
    })
}

/// An alert that a condition does not fit is taken in all the same: Alertmanager would not send it again, and as a dead letter it
/// can be seen and redriven.
async fn take_in(app: &App, event: &Event) -> Result<(Taken, Vec<String>), Problem> {
    publish::check_depth(event).map_err(bad_request)?;
    let verdict = app
        .current
        .judge(event)
        .await
        .map_err(|why| of_not_taken(&why))?;
    let taken = publish(app, event, &verdict).await?;
    Ok((taken, verdict.faults))
}

/// All alerts, or what stopped some: what another try can mend goes first, so that Alertmanager makes one.
fn all_or_problem(outcomes: Vec<Result<TakenAlert, Problem>>) -> Result<Vec<TakenAlert>, Problem> {
    let count = outcomes.len();
    let mut events = Vec::with_capacity(count);
    let mut worst: Option<Problem> = None;
    for outcome in outcomes {
        match outcome {
            Ok(taken) => events.push(taken),
            Err(problem) => {
                if worst
                    .as_ref()
                    .is_none_or(|worst| problem.status > worst.status)
                {
                    worst = Some(problem);
                }
            }
        }
    }
    match worst {
        None => Ok(events),
        Some(mut problem) => {
            let (lost, detail) = (count - events.len(), &problem.detail);
            problem.detail = format!("{lost} of {count} alerts were not taken in: {detail}");
            Err(problem)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// As Alertmanager 0.28 sends it.
    const SENT: &str = r#"{"receiver":"flotilla","status":"firing","alerts":[
        {"status":"firing","labels":{"alertname":"DiskFull","instance":"host-1:9100","severity":"critical"},
         "annotations":{"summary":"disk is full"},"startsAt":"2026-11-21T07:00:00.123456789+02:00","endsAt":"0001-01-01T00:00:00Z",
         "generatorURL":"http://prometheus:9090/graph?g0.expr=up","fingerprint":"1a30ba71cca2921f"},
        {"status":"resolved","labels":{"alertname":"DiskSlow"},"annotations":{},"startsAt":"2026-11-21T06:00:00Z",
         "endsAt":"2026-11-21T06:30:00Z","generatorURL":"","fingerprint":"2b"}],
        "groupLabels":{"alertname":"DiskFull"},"commonLabels":{"severity":"critical"},"commonAnnotations":{},
        "externalURL":"http://alertmanager:9093","version":"4","groupKey":"{}:{alertname=\"DiskFull\"}","truncatedAlerts":0}"#;

    #[test]
    fn each_alert_becomes_an_event_that_has_the_same_id_every_time() {
        let events = events(SENT.as_bytes()).unwrap();
        let [full, slow] = &events[..] else {
            panic!("two events: {events:?}");
        };
        assert_eq!(
            full.id,
            "1a30ba71cca2921f:2026-11-21T07:00:00.123456789+02:00:firing"
        );
        assert_eq!(full.source, "alertmanager:http://alertmanager:9093");
        assert_eq!(full.subject.as_deref(), Some("DiskFull"));
        assert_eq!(
            full.time,
            Some("2026-11-21T05:00:00.123456789Z".parse().unwrap())
        );
        assert_eq!(full.data["labels"]["instance"], "host-1:9100");
        assert_eq!(full.data["endsAt"], "0001-01-01T00:00:00Z");
        assert_eq!(
            (
                &full.data["receiver"],
                &full.data["groupLabels"]["alertname"]
            ),
            (&json!("flotilla"), &json!("DiskFull"))
        );
        assert_eq!(
            (&slow.data["status"], slow.id.as_str()),
            (&json!("resolved"), "2b:2026-11-21T06:00:00Z:resolved")
        );
        publish::check(full).unwrap();
    }

    #[test]
    fn a_body_that_alertmanager_does_not_send_is_told_where_it_is_wrong() {
        let told = |change: &dyn Fn(&mut Value)| {
            let mut body: Value = serde_json::from_str(SENT).unwrap();
            change(&mut body);
            let problem = events(body.to_string().as_bytes()).unwrap_err();
            (problem.status, problem.detail)
        };
        let (status, detail) = told(&|body| body["alerts"][0]["startsAt"] = json!("today"));
        assert!(status == 400 && detail.contains("startsAt"), "{detail}");
        let (status, detail) = told(&|body| body["version"] = json!("3"));
        assert!(status == 400 && detail.contains("only 4"), "{detail}");
        let (status, detail) = told(&|body| body["alerts"] = json!(1));
        assert!(status == 400 && detail.contains("Alertmanager"), "{detail}");
        let (status, _) = told(&|body| {
            let alert = body["alerts"][0].clone();
            body["alerts"] = json!(vec![alert; ALERTS_MAX + 1]);
        });
        assert_eq!(status, 413);
        let cut = events(&SENT.as_bytes()[..40]).unwrap_err();
        assert!(
            cut.status == 400 && cut.detail.contains("not valid JSON"),
            "{}",
            cut.detail
        );
    }

    #[test]
    fn one_alert_that_must_come_again_makes_alertmanager_send_all_again() {
        let problem = |status: StatusCode| Err(Problem::new(status, "x"));
        let taken = || {
            Ok(TakenAlert {
                id: String::new(),
                runs: Vec::new(),
                duplicate: false,
                problems: Vec::new(),
            })
        };
        assert_eq!(all_or_problem(vec![taken(), taken()]).unwrap().len(), 2);
        let outcomes = vec![
            problem(StatusCode::SERVICE_UNAVAILABLE),
            taken(),
            problem(StatusCode::PAYLOAD_TOO_LARGE),
        ];
        let told = all_or_problem(outcomes).unwrap_err();
        assert_eq!(
            (told.status, told.detail.as_str()),
            (503, "2 of 3 alerts were not taken in: x")
        );
    }
}
