//! The settings: read at the start from a file, and changed while the server runs by `PUT /control`.

use crate::SimError;
use crate::dice::{Attempts, Dice};
use crate::error::ApiError;
use crate::fault::{self, Fault};
use crate::latency::{Latency, Spread, Timing};
use crate::limits::{Limit, Limiter};
use crate::policy::{self, Policies};
use crate::reply::Reply;
use crate::wire::Request;
use crate::wrong::Wrong;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// Entries of any one list of settings.
const MAX_LIST: usize = 10_000;

/// The body of `PUT /control`, and a settings file. What is absent stays as it is; a list replaces the one before, and
/// `null` is an empty one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Change {
    seed: Option<u64>,
    latency_ms: Option<Latency>,
    batch_ms: Option<Spread>,
    #[serde(deserialize_with = "list")]
    limits: Option<Vec<Limit>>,
    #[serde(deserialize_with = "list")]
    faults: Option<Vec<Fault>>,
    #[serde(deserialize_with = "list")]
    script: Option<Vec<Option<Fault>>>,
    #[serde(deserialize_with = "list")]
    wrong: Option<Vec<Wrong>>,
    /// The text of a policy file, whose policies are tried before those of the server's own files; an empty one has none.
    policies: Option<String>,
}

fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    Option::deserialize(deserializer).map(|list: Option<Vec<T>>| Some(list.unwrap_or_default()))
}

/// `GET /control`: what is in force, with what is left of counts and script.
#[derive(Debug, Serialize)]
pub(crate) struct Settings {
    seed: u64,
    latency_ms: Latency,
    batch_ms: Spread,
    limits: Vec<Limit>,
    faults: Vec<Fault>,
    script: VecDeque<Option<Fault>>,
    wrong: Vec<Wrong>,
}

/// What the settings decided for one call.
#[derive(Debug)]
pub(crate) struct Drawn {
    pub(crate) fault: Option<Fault>,
    pub(crate) timing: Timing,
    pub(crate) dice: Dice,
    /// Which settings of faults it was; a call that hangs goes on when there are others.
    pub(crate) version: u64,
}

/// The settings in force.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) limiter: Limiter,
    policies: RwLock<Arc<Policies>>,
    now: Mutex<Now>,
    attempts: Attempts,
    /// Grows with every setting of faults.
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct Now {
    seed: u64,
    latency: Latency,
    batch: Spread,
    faults: Vec<Fault>,
    script: VecDeque<Option<Fault>>,
    wrong: Vec<Wrong>,
}

impl Change {
    /// Reads a settings file, in YAML or JSON.
    ///
    /// # Errors
    /// [`SimError::Control`], with what is wrong in it.
    pub(crate) fn read(path: &Path) -> Result<Self, SimError> {
        let wrong = |message: String| SimError::Control {
            path: path.to_owned(),
            message,
        };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let change: Self =
            serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        change
            .problem()
            .map_or(Ok(change), |problem| Err(wrong(problem.to_owned())))
    }

    fn problem(&self) -> Option<&'static str> {
        let lengths = [
            self.limits.as_ref().map(Vec::len),
            self.faults.as_ref().map(Vec::len),
            self.script.as_ref().map(Vec::len),
            self.wrong.as_ref().map(Vec::len),
        ];
        if lengths
            .into_iter()
            .flatten()
            .any(|length| length > MAX_LIST)
        {
            return Some("a list of settings has at most 10000 entries");
        }
        let limits = || self.limits.iter().flatten().find_map(Limit::problem);
        let faults = || self.faults.iter().flatten().find_map(Fault::problem);
        let script = || {
            let scripted = self.script.iter().flatten().flatten();
            scripted.into_iter().find_map(Fault::problem)
        };
        let latency = || self.latency_ms.as_ref().and_then(Latency::problem);
        let batch = || self.batch_ms.as_ref().and_then(Spread::problem);
        let wrong = || self.wrong.iter().flatten().find_map(Wrong::problem);
        latency()
            .or_else(batch)
            .or_else(limits)
            .or_else(faults)
            .or_else(script)
            .or_else(wrong)
    }
}

impl Control {
    pub(crate) fn new(latency: Duration) -> Self {
        Self {
            limiter: Limiter::default(),
            policies: RwLock::default(),
            now: Mutex::new(Now {
                seed: 0,
                latency: Latency::fixed(latency),
                batch: Spread::Fixed(0),
                faults: Vec::new(),
                script: VecDeque::new(),
                wrong: Vec::new(),
            }),
            attempts: Attempts::default(),
            version: watch::Sender::new(0),
        }
    }

    /// Applies a change.
    ///
    /// # Errors
    /// 400 for a setting that makes no sense; then nothing is changed.
    pub(crate) fn change(&self, change: Change) -> Result<(), ApiError> {
        if let Some(problem) = change.problem() {
            return Err(ApiError::invalid(problem));
        }
        let policies = change.policies.as_deref().map(policy::of_text);
        let policies = policies.transpose().map_err(ApiError::invalid)?;
        let breaks = change.faults.is_some() || change.script.is_some();
        let mut now = self.now();
        if let Some(seed) = change.seed {
            now.seed = seed;
        }
        if let Some(latency) = change.latency_ms {
            now.latency = latency;
        }
        if let Some(batch) = change.batch_ms {
            now.batch = batch;
        }
        if let Some(faults) = change.faults {
            now.faults = faults;
        }
        if let Some(script) = change.script {
            now.script = script.into();
        }
        if let Some(wrong) = change.wrong {
            now.wrong = wrong;
        }
        if breaks {
            self.version.send_modify(|version| *version += 1);
        }
        drop(now);
        if let Some(policies) = policies {
            *self
                .policies
                .write()
                .unwrap_or_else(PoisonError::into_inner) = Arc::new(policies);
        }
        if let Some(limits) = change.limits {
            self.limiter.set(limits);
        }
        Ok(())
    }

    /// Policies that were set while the server runs.
    pub(crate) fn policies(&self) -> Arc<Policies> {
        let policies = self.policies.read();
        Arc::clone(&policies.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn settings(&self) -> Settings {
        let limits = self.limiter.limits();
        let now = self.now();
        Settings {
            seed: now.seed,
            latency_ms: now.latency.clone(),
            batch_ms: now.batch.clone(),
            limits,
            faults: now.faults.clone(),
            script: now.script.clone(),
            wrong: now.wrong.clone(),
        }
    }

    /// What befalls the next call, of a body with this digest; counts it.
    pub(crate) fn draw(&self, model: &str, batch: bool, digest: &[u8; 32]) -> Drawn {
        let attempt = self.attempts.next(digest);
        let mut now = self.now();
        let dice = Dice::new(now.seed, digest, attempt);
        let Now { faults, script, .. } = &mut *now;
        Drawn {
            fault: fault::choose(script, faults, model, batch, dice),
            timing: now.latency.draw(model, dice),
            dice,
            version: *self.version.borrow(),
        }
    }

    /// How long a batch takes that was created by a request with this digest.
    pub(crate) fn draw_batch(&self, digest: &[u8; 32]) -> Duration {
        let attempt = self.attempts.next(digest);
        let now = self.now();
        now.batch
            .draw(Dice::new(now.seed, digest, attempt), "batch")
    }

    /// Makes an answer wrong, in the first way set that is for it and possible. Gives the way's name.
    pub(crate) fn distort(
        &self,
        request: &Request,
        reply: &mut Reply,
        dice: Dice,
    ) -> Option<&'static str> {
        // A copy, because making an answer wrong may mean to read a long conversation.
        let ways = self.now().wrong.clone();
        let (index, wrong) = ways
            .iter()
            .enumerate()
            .filter(|(index, way)| way.hits(*index, request, dice))
            .find_map(|(index, way)| Some((index, way.apply(request, reply)?)))?;
        let mut now = self.now();
        let way = now.wrong.get_mut(index)?;
        if way.kind != ways.get(index)?.kind {
            // Set anew in between.
            return None;
        }
        if let Some(count) = &mut way.count {
            // Others may have used it up in between.
            *count = count.checked_sub(1)?;
        }
        *reply = wrong;
        Some(way.kind.name())
    }

    /// Waits until the faults are set anew after that version.
    pub(crate) async fn set_anew(&self, since: u64) {
        let mut version = self.version.subscribe();
        // It only fails when the sender is gone, and `self` holds it.
        let _ = version.wait_for(|version| *version != since).await;
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn put(control: &Control, change: serde_json::Value) -> Result<(), ApiError> {
        control.change(serde_json::from_value(change).unwrap())
    }

    fn failing(control: &Control) -> bool {
        control.draw("m", false, &[0; 32]).fault.is_some()
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let control = Control::new(Duration::ZERO);
        put(
            &control,
            json!({"faults": [{"status": 529}], "limits": [{"requests": 1}]}),
        )
        .unwrap();
        put(&control, json!({"latency_ms": 5})).unwrap();
        assert!(failing(&control));
        assert_eq!(control.limiter.limits().len(), 1);
        put(&control, json!({"faults": null})).unwrap();
        assert!(!failing(&control));
        assert_eq!(control.limiter.limits().len(), 1);
    }

    #[test]
    fn a_wrong_change_changes_nothing() {
        let control = Control::new(Duration::ZERO);
        for wrong in [
            json!({"latency_ms": 9, "faults": [{"status": 200}]}),
            json!({"latency_ms": 9, "script": [null, {"kind": "error"}]}),
            json!({"latency_ms": 9, "limits": [{"requests": 0}]}),
        ] {
            assert!(put(&control, wrong).is_err());
        }
        assert_eq!(control.draw("m", false, &[0; 32]).timing, Timing::default());
    }

    #[test]
    fn a_settings_file_is_yaml_and_a_mistake_in_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sim.yaml");
        std::fs::write(
            &file,
            "latency_ms: {p50: 800, p95: 3000}\nfaults: [{status: 529, rate: 0.1}]\n",
        )
        .unwrap();
        let change = Change::read(&file).unwrap();
        assert_eq!(change.faults.unwrap().len(), 1);
        for wrong in [
            "lateness: 1",
            "faults: [{status: 20}]",
            "latency_ms: {p50: 0, p95: 1}",
        ] {
            std::fs::write(&file, wrong).unwrap();
            let error = Change::read(&file).unwrap_err().to_string();
            assert!(error.contains("sim.yaml"), "{error}");
        }
    }

    #[tokio::test]
    async fn whoever_hangs_goes_on_when_the_faults_are_set_anew() {
        let control = Control::new(Duration::ZERO);
        put(&control, json!({"faults": [{"kind": "hang"}]})).unwrap();
        let version = control.draw("m", false, &[0; 32]).version;
        let mut waiting = Box::pin(control.set_anew(version));
        put(&control, json!({"latency_ms": 1})).unwrap();
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        put(&control, json!({"faults": []})).unwrap();
        assert!(futures_util::poll!(waiting.as_mut()).is_ready());
    }
}
