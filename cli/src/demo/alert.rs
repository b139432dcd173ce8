//! The alert about the service, and what Alertmanager's webhook sends of any (payload version 4).

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use jiff::Timestamp;
use serde_json::{Value, json};

/// The body of Alertmanager's `POST` when the service on `http` with its data in `dir` has failed its health check since `started`.
///
/// One firing alert in one group, labelled as a Prometheus rule on a blackbox probe labels it; `path` is the data folder's absolute path.
#[must_use]
pub fn alert(http: SocketAddr, dir: &Path, started: Timestamp) -> Value {
    let instance = http.to_string();
    let path = dir.display().to_string();
    let labels = BTreeMap::from([
        ("alertname", "ServiceUnhealthy"),
        ("instance", instance.as_str()),
        ("job", "blackbox"),
        ("path", path.as_str()),
        ("service", "orders"),
        ("severity", "critical"),
    ]);
    let annotations = json!({
        "summary": format!("orders on {instance} fails its health check"),
        "description": format!("GET http://{instance}/healthz does not answer 200, and customers cannot order. The data folder of orders is {path}."),
        "runbook_url": "https://runbooks.example.org/orders/service-unhealthy",
    });
    let group = json!({"alertname": labels["alertname"], "service": labels["service"]});
    let group_key =
        r#"{}/{severity="critical"}:{alertname="ServiceUnhealthy", service="orders"}"#.to_owned();
    let firing = Firing {
        started: format!("{started:.3}"),
        fingerprint: fingerprint(&labels),
        prometheus: "http://127.0.0.1:9090",
        alertmanager: "http://127.0.0.1:9093",
        labels: json!(labels),
        annotations,
        group,
        group_key,
    };
    firing.payload()
}

/// One firing alert in a group of its own, with what differs between any two.
#[derive(Debug)]
pub(crate) struct Firing {
    /// Names and texts; `job` and others as the rule gives them.
    pub(crate) labels: Value,
    /// Names and texts.
    pub(crate) annotations: Value,
    /// RFC 3339.
    pub(crate) started: String,
    /// Of the labels.
    pub(crate) fingerprint: u64,
    /// Where the rule was evaluated: a URL without a path.
    pub(crate) prometheus: &'static str,
    /// Who sends it: a URL without a path.
    pub(crate) alertmanager: &'static str,
    /// The labels that it is grouped by.
    pub(crate) group: Value,
    /// Its route and group.
    pub(crate) group_key: String,
}

impl Firing {
    /// The body of Alertmanager's `POST`.
    pub(crate) fn payload(self) -> Value {
        let prometheus = self.prometheus;
        json!({
            "receiver": "flotilla",
            "status": "firing",
            "alerts": [{
                "status": "firing",
                "labels": self.labels,
                "annotations": self.annotations,
                "startsAt": self.started,
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": format!("{prometheus}/graph?g0.expr=probe_success%7Bservice%3D%22orders%22%7D+%3D%3D+0&g0.tab=1"),
                "fingerprint": format!("{:016x}", self.fingerprint),
            }],
            "groupLabels": self.group,
            "commonLabels": self.labels,
            "commonAnnotations": self.annotations,
            "externalURL": self.alertmanager,
            "version": "4",
            "groupKey": self.group_key,
            "truncatedAlerts": 0,
        })
    }
}

/// Prometheus' fingerprint of a label set: 64-bit FNV-1a over the names and values in order of name, a 0xff byte after each.
fn fingerprint(labels: &BTreeMap<&str, &str>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const SEPARATOR: &[u8] = &[0xff];
    labels
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), SEPARATOR, value.as_bytes(), SEPARATOR])
        .flatten()
        .fold(OFFSET, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        alert(
            "127.0.0.1:9876".parse().unwrap(),
            Path::new("/var/lib/orders"),
            "2026-11-21T07:39:12.3456Z".parse().unwrap(),
        )
    }

    #[test]
    fn the_fingerprint_is_the_one_prometheus_computes() {
        // From the tests of prometheus/common, model/signature_test.go.
        assert_eq!(fingerprint(&BTreeMap::new()), 14_695_981_039_346_656_037);
        let labels = BTreeMap::from([("name", "garland, briggs"), ("fear", "love is not enough")]);
        assert_eq!(fingerprint(&labels), 5_799_056_148_416_392_346);
    }

    #[test]
    fn the_payload_has_what_alertmanager_sends() {
        let payload = sample();
        let keys: Vec<_> = payload
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            [
                "receiver",
                "status",
                "alerts",
                "groupLabels",
                "commonLabels",
                "commonAnnotations",
                "externalURL",
                "version",
                "groupKey",
                "truncatedAlerts"
            ]
        );
        let alert = &payload["alerts"][0];
        assert_eq!(alert["startsAt"], "2026-11-21T07:39:12.345Z");
        assert_eq!(alert["endsAt"], "0001-01-01T00:00:00Z");
        assert_eq!(alert["labels"]["path"], "/var/lib/orders");
        assert_eq!(alert["fingerprint"].as_str().map(str::len), Some(16));
    }

    #[test]
    fn the_same_labels_give_the_same_fingerprint_at_any_time() {
        let later = alert(
            "127.0.0.1:9876".parse().unwrap(),
            Path::new("/var/lib/orders"),
            Timestamp::now(),
        );
        assert_eq!(
            later["alerts"][0]["fingerprint"],
            sample()["alerts"][0]["fingerprint"]
        );
        let other = alert(
            "127.0.0.1:9877".parse().unwrap(),
            Path::new("/var/lib/orders"),
            Timestamp::now(),
        );
        assert_ne!(
            other["alerts"][0]["fingerprint"],
            sample()["alerts"][0]["fingerprint"]
        );
    }
}
