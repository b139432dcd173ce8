//! Alerts as Alertmanager sends them, and what `df`, `du`, `tail`, `ps` and the service say about each: for the shipped example,
//! incident triage.

use std::{collections::BTreeMap, fmt::Write as _};

use fastrand::Rng;
use serde_json::{Value, json};

use super::recording::{Answer, Recording, json as answer, one_of};
use crate::demo::alert::Firing;

/// What is behind an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Incident {
    /// Rotated logs have used up the quota: a restart gives it back.
    Logs,
    /// Data has: a person has to decide.
    Data,
    /// The log names another cause.
    Dependency,
    /// It is well again by the time somebody looks.
    Healed,
    /// Nothing that knows the service answers.
    Gone,
    /// The alert does not say what it is about.
    Bare,
}

/// The mix: half of the alerts are what the workflow was made for.
const MIX: [Incident; 10] = [
    Incident::Logs,
    Incident::Dependency,
    Incident::Logs,
    Incident::Healed,
    Incident::Logs,
    Incident::Data,
    Incident::Logs,
    Incident::Gone,
    Incident::Logs,
    Incident::Bare,
];

const REGIONS: [&str; 4] = ["eu-central", "eu-west", "us-east", "ap-south"];
const DESCRIPTIONS: [&str; 4] = [
    "does not answer 200 for more than two minutes, and customers cannot order.",
    "has refused more than one in five orders over the last five minutes. Orders that were refused are not kept and have to be sent again \
by the shop; support should be told if this lasts for more than a quarter of an hour.",
    "fails its health check.",
    "answers 503 from two probes in different regions, so it is not the network. The last release of this service is older than the \
first failure by more than a day. The other services of the shop are well; payments are queued by the gateway and lose nothing for \
about an hour.",
];

/// One alert and what the tools say about it.
pub(super) fn recording(rng: &mut Rng, index: usize) -> Recording {
    let incident = MIX.get(index % MIX.len()).copied();
    let incident = incident.unwrap_or(Incident::Logs);
    let path = format!("/srv/{}-{}/orders", one_of(rng, &REGIONS), rng.u32(1..9));
    let pid = rng.u32(2_000..60_000);
    let programs = [
        ("df", df(rng)),
        ("du", du(rng, &path, incident)),
        ("tail", log(rng, incident)),
        ("ps", ps(rng, pid, &path)),
        ("flotilla", restarted(rng, pid)),
    ];
    Recording {
        path: "/v1/hooks/alertmanager",
        body: alert(rng, index, &path, incident),
        programs: programs.into(),
        answers: BTreeMap::from([("healthz", health(rng, pid, incident))]),
    }
}

fn alert(rng: &mut Rng, index: usize, path: &str, incident: Incident) -> Value {
    let instance = format!("10.{}.{}.{}:9800", rng.u8(..), rng.u8(..), rng.u8(1..255));
    let region = one_of(rng, &REGIONS);
    let mut labels = json!({
        "alertname": one_of(rng, &["ServiceUnhealthy", "OrdersRefused", "ProbeFailed"]),
        "cluster": format!("shop-{region}"),
        "instance": instance,
        "job": "blackbox",
        "namespace": "shop",
        "severity": one_of(rng, &["critical", "critical", "warning"]),
        "team": "orders",
    });
    if incident != Incident::Bare {
        labels["path"] = json!(path);
        labels["service"] = json!("orders");
    }
    let annotations = json!({
        "summary": format!("orders on {instance} fails its health check"),
        "description": format!("GET http://{instance}/healthz {}", one_of(rng, &DESCRIPTIONS)),
        "runbook_url": "https://runbooks.example.org/orders/service-unhealthy",
        "dashboard": format!("https://grafana.example.org/d/orders?var-cluster=shop-{region}&var-instance={instance}"),
    });
    let started = format!(
        "2026-11-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        1 + index % 28,
        rng.u8(0..24),
        rng.u8(0..60),
        rng.u8(0..60),
        rng.u16(0..1000)
    );
    let group = json!({"alertname": labels["alertname"], "cluster": labels["cluster"]});
    let firing = Firing {
        group_key: format!("{{}}:{group}"),
        prometheus: "http://prometheus.example.org",
        alertmanager: "http://alertmanager.example.org",
        fingerprint: rng.u64(..),
        started,
        labels,
        annotations,
        group,
    };
    firing.payload()
}

fn health(rng: &mut Rng, pid: u32, incident: Incident) -> Vec<Answer> {
    let uptime_s = rng.u32(4_000..900_000);
    let sick = |reason: &str| {
        answer(
            503,
            json!({"status": "sick", "service": "orders", "pid": pid, "uptime_s": uptime_s, "reason": reason}),
        )
    };
    let quota = "disk quota exceeded: 64.0 MiB of 64.0 MiB used";
    let well = answer(
        200,
        json!({"status": "ok", "service": "orders", "pid": pid + 61, "uptime_s": 1, "disk": "11.2 MiB of 64.0 MiB used"}),
    );
    match incident {
        Incident::Logs => vec![sick(quota), well],
        Incident::Data => vec![sick(quota)],
        Incident::Dependency => vec![sick("orders cannot be kept")],
        Incident::Healed => vec![well],
        Incident::Gone => vec![answer(
            502,
            json!({"error": "bad gateway", "message": "upstream connect error or disconnect before headers; reset reason: connection refused"}),
        )],
        Incident::Bare => Vec::new(),
    }
}

fn df(rng: &mut Rng) -> String {
    let used = rng.u32(40..70);
    format!(
        "Filesystem      Size  Used Avail Use% Mounted on\n/dev/nvme1n1p1  100G   {used}G   {}G  {used}% /srv\n",
        100 - used
    )
}

/// `du -a -k -d 2`: files first, each folder after what is in it.
fn du(rng: &mut Rng, path: &str, incident: Incident) -> String {
    let mut out = String::new();
    let mut sum = 0;
    let mut add = |out: &mut String, kib: u32, name: &str| {
        sum += kib;
        let _ = writeln!(out, "{kib}\t{path}/{name}");
    };
    let mut logs = rng.u32(200..900);
    add(&mut out, logs, "logs/orders.log");
    let rotated = if incident == Incident::Logs {
        rng.u32(9..30)
    } else {
        0
    };
    for number in 1..=rotated {
        let kib = rng.u32(1_500..2_100);
        logs += kib;
        add(&mut out, kib, &format!("logs/orders.log.{number}"));
    }
    let _ = writeln!(out, "{logs}\t{path}/logs");
    for day in 1..rng.u32(8..28) {
        let kib = rng.u32(40..400);
        add(&mut out, kib, &format!("orders/2026-10-{day:02}.jsonl"));
    }
    for name in [
        "orders.jsonl",
        "state/lock",
        "state/last.json",
        "state/ids.idx",
        "spool/outbox.jsonl",
    ] {
        let kib = rng.u32(1..60);
        add(&mut out, kib, name);
    }
    let _ = writeln!(out, "{sum}\t{path}");
    out
}

fn log(rng: &mut Rng, incident: Incident) -> String {
    let mut out = String::new();
    for line in 0..5 {
        let (order, at) = (rng.u32(100_000..999_999), rng.u32(10..59));
        let customer = rng.u32(1_000..9_999);
        let why = match incident {
            Incident::Logs | Incident::Data => "disk quota exceeded: 64.0 MiB of 64.0 MiB used",
            Incident::Dependency => {
                "stock answered 500 three times in a row: connection pool timed out while waiting for an open connection"
            }
            Incident::Healed | Incident::Gone | Incident::Bare => "none",
        };
        let _ = writeln!(
            out,
            "2026-11-21T09:{at}:{:02}.{:03}Z ERROR order {order} of customer {customer} was refused after {} ms: {why} (items={}, total={}.{:02} EUR, attempt={}, trace={:016x})",
            line * 7,
            rng.u16(0..1000),
            rng.u16(2..900),
            rng.u8(1..9),
            rng.u16(8..400),
            rng.u8(0..100),
            rng.u8(1..4),
            rng.u64(..)
        );
    }
    out
}

fn ps(rng: &mut Rng, pid: u32, path: &str) -> String {
    format!(
        "    PID    PPID     ELAPSED   RSS STAT COMMAND\n{pid:>7}       1 {:>2}-0{}:1{}:0{} {:>5} Ssl  /usr/local/bin/orders run --http 0.0.0.0:9800 --dir {path} --quota 64MiB\n",
        rng.u8(1..20),
        rng.u8(0..9),
        rng.u8(0..9),
        rng.u8(0..9),
        rng.u32(21_000..90_000)
    )
}

fn restarted(rng: &mut Rng, pid: u32) -> String {
    let report = json!({
        "service": "orders", "restarted": true, "pid_before": pid, "pid": pid + 61, "took_ms": rng.u32(240..1_900),
        "health": {"status": 200, "body": {"status": "ok", "service": "orders", "pid": pid + 61, "uptime_s": 0, "disk": "11.2 MiB of 64.0 MiB used"}},
    });
    format!("{report}\n")
}
