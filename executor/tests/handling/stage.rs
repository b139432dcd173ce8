//! What a test of the executor needs: servers, definitions, decisions, and executors to start and stop.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::consumer::PullConsumer;
use flotilla_common::{
    claude::Models,
    definition::{Catalogue, Sources},
    entry::{Address, Body, Decided, Decision, Kind, Outcome, Resulted, ToolOutcome},
    ids::{RunId, Slot, StepKey},
    io::{
        bus::Bus,
        definitions::Live,
        journal::{Journal, Raw, decode},
        store::{Claimed, Lease, Store},
        streams::{ensure_consumer, ensure_streams},
    },
    names::{consumer, key, stream, subject},
};
use flotilla_executor::{Config, adapter::Environment};
use flotilla_tests::{Nats, PATIENCE, Redis, Sink, eventually, within};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Long enough for a busy machine, short enough to wait for.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(2);

pub(crate) struct Stage {
    pub(crate) nats: Nats,
    pub(crate) redis: Redis,
    pub(crate) sink: Sink,
    pub(crate) journal: Journal,
    /// Another worker's view of Redis.
    pub(crate) other: Store,
    catalogue: Arc<Catalogue>,
    more: Vec<Value>,
    started: u32,
    /// Of the last executor.
    ack_wait: Duration,
}

pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), flotilla_executor::ExecutorError>>,
}

impl Running {
    /// Stops it as SIGTERM does, and waits for its end.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(within("the executor stops", PATIENCE, self.task).await??)
    }
}

/// One decided action.
pub(crate) struct Act {
    pub(crate) run: RunId,
    pub(crate) slot: Slot,
    pub(crate) seq: u64,
}

impl Stage {
    /// Tools: `once`, `idempotent` and `read`, which POST to the sink at `/<name>`; `asked`, which is `once` and is asked about by
    /// `find`, which GETs `/find`; `program`, which runs `sh -c`; and `strict`, which wants a number.
    pub(crate) async fn new() -> Result<Self> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (nats, redis, sink) = (
            Nats::start().await,
            Redis::start().await,
            Sink::start().await,
        );
        let bus = Bus::connect(&nats.url(), "test").await?;
        ensure_streams(&bus).await?;
        let journal = Journal::new(bus);
        let other = Store::connect(&redis.url(), "another").await?;
        // As planners do before they decide anything.
        other.begin_memory(&journal).await?;
        Ok(Self {
            other,
            nats,
            redis,
            catalogue: catalogue(&sink, 1, &[])?,
            more: Vec::new(),
            sink,
            journal,
            started: 0,
            ack_wait: ACK_WAIT,
        })
    }

    /// What starts from now on has another version of every tool.
    pub(crate) fn upgrade(&mut self, version: u32) -> Result<()> {
        self.catalogue = catalogue(&self.sink, version, &self.more)?;
        Ok(())
    }

    /// What starts from now on has these tools, too.
    pub(crate) fn add(&mut self, tools: Vec<Value>) -> Result<()> {
        self.more = tools;
        self.upgrade(1)
    }

    pub(crate) async fn executor(&mut self) -> Result<Running> {
        self.executor_with(ACK_WAIT, Duration::from_secs(10)).await
    }

    pub(crate) async fn executor_with(
        &mut self,
        ack_wait: Duration,
        drain: Duration,
    ) -> Result<Running> {
        self.started += 1;
        self.ack_wait = ack_wait;
        let worker = format!("executor-{}", self.started);
        let config = Config {
            journal: Journal::new(Bus::connect(&self.nats.url(), &worker).await?),
            store: Store::connect(&self.redis.url(), &worker).await?,
            definitions: Live::from(Arc::clone(&self.catalogue)),
            worker,
            slots: None,
            ack_wait,
            drain,
            environment: Environment::of_process(),
            launcher: None,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(flotilla_executor::run(config, stop.clone()));
        Ok(Running { stop, task })
    }

    /// Waits until the executor is at work.
    pub(crate) async fn at_work(&self) -> Result<()> {
        let first = self.decide("first", "read", json!({})).await?;
        self.result(&first).await;
        Ok(())
    }

    /// Decides to run a tool, for a run of its own.
    pub(crate) async fn decide(&self, id: &str, tool: &str, with: Value) -> Result<Act> {
        self.decide_at(id, tool, with, 1, Timestamp::now()).await
    }

    pub(crate) async fn decide_at(
        &self,
        id: &str,
        tool: &str,
        with: Value,
        version: u32,
        at: Timestamp,
    ) -> Result<Act> {
        let decision = Decision::Act {
            tool: tool.parse()?,
            version,
            with,
        };
        let run = RunId::derive(&"w".parse()?, "test", id);
        let slot = Slot {
            step: "act/1".parse()?,
            branch: 0,
        };
        let seq = self.write(&run, &slot.step, decision, tool, at).await?;
        Ok(Act { run, slot, seq })
    }

    /// Ends a run.
    pub(crate) async fn end(&self, run: &RunId) -> Result<()> {
        let decision = Decision::End {
            outcome: Outcome::Cancelled,
            reason: None,
        };
        self.write(run, &"end".parse()?, decision, "end", Timestamp::now())
            .await?;
        Ok(())
    }

    async fn write(
        &self,
        run: &RunId,
        step: &StepKey,
        decision: Decision,
        name: &str,
        at: Timestamp,
    ) -> Result<u64> {
        let decided = Decided {
            step: step.clone(),
            branch: 0,
            decision,
            reasoning: None,
            confidence: None,
            call: None,
            prev: "00".into(),
            rests: vec![],
        };
        let address = Address {
            run: run.clone(),
            kind: Kind::Decided,
            name: name.parse()?,
        };
        let payload = Body::Decided(Box::new(decided)).encode(at)?;
        self.publish(address.subject(), payload).await
    }

    pub(crate) async fn publish(&self, subject: String, payload: Vec<u8>) -> Result<u64> {
        let jetstream = &self.journal.bus().jetstream;
        Ok(jetstream
            .publish(subject, payload.into())
            .await?
            .await?
            .sequence)
    }

    /// The tool's consumer, made before any executor did.
    pub(crate) async fn consumer(&self, tool: &str) -> Result<PullConsumer> {
        let tool = tool.parse()?;
        let filters = vec![subject::decided(&tool)];
        let bus = self.journal.bus();
        Ok(ensure_consumer(
            bus,
            stream::RUNS,
            &consumer::tool(&tool),
            filters,
            self.ack_wait,
        )
        .await?)
    }

    /// Takes the tool's next message and hands it back at once, so many times: as executors would that never come to claim it.
    pub(crate) async fn deliver_in_vain(&self, tool: &str, times: u32) -> Result<()> {
        let consumer = self.consumer(tool).await?;
        for _ in 0..times {
            let mut batch = consumer
                .fetch()
                .max_messages(1)
                .expires(PATIENCE)
                .messages()
                .await?;
            let message = batch.next().await.ok_or("nothing was delivered")??;
            message
                .ack_with(async_nats::jetstream::AckKind::Nak(None))
                .await?;
        }
        Ok(())
    }

    /// Another executor's claim of the action's effect.
    pub(crate) async fn claim(&self, decision: &Act, lease: Duration) -> Result<Lease> {
        let key = key::effect(&decision.run, &decision.slot);
        match self.other.claim_effect::<Resulted>(key, lease).await? {
            Claimed::Free(lease) => Ok(lease),
            held @ (Claimed::Held(_) | Claimed::Done { .. }) => {
                Err(format!("not free: {held:?}").into())
            }
        }
    }

    /// All results of the action that are on the journal.
    pub(crate) async fn results(&self, decision: &Act) -> Result<Vec<Resulted>> {
        let mut results = Vec::new();
        for raw in self.journal.raw(&subject::run(&decision.run)).await? {
            if let Ok(Some(Body::Resulted(resulted))) =
                decode(&raw).map(|entry| entry.map(|e| e.body))
            {
                results.push(resulted);
            }
        }
        Ok(results)
    }

    /// Waits for the action's first result.
    pub(crate) async fn result(&self, decision: &Act) -> Resulted {
        eventually("the action has a result", PATIENCE, || async {
            match self.results(decision).await {
                Ok(results) => results.into_iter().next().ok_or_else(|| "none".to_owned()),
                Err(problem) => Err(problem.to_string()),
            }
        })
        .await
    }

    /// Waits until the tool's consumer has nothing in work and nothing to hand out.
    pub(crate) async fn settled(&self, tool: &str) -> Result<()> {
        let consumer = self.consumer(tool).await?;
        eventually("all messages are settled", PATIENCE, || async {
            let mut consumer = consumer.clone();
            let info = consumer
                .info()
                .await
                .map_err(|problem| problem.to_string())?;
            match (info.num_pending, info.num_ack_pending) {
                (0, 0) => Ok(()),
                left => Err(format!("{left:?}")),
            }
        })
        .await;
        Ok(())
    }

    /// Waits until the sink has seen so many requests of a tool.
    pub(crate) async fn asked(&self, tool: &str, times: usize) {
        let path = format!("/{tool}");
        eventually("the sink is asked", PATIENCE, || {
            let effects = self.sink.effects_at(&path);
            let requests: usize = effects.values().map(|effect| effect.requests).sum();
            std::future::ready(if requests >= times {
                Ok(())
            } else {
                Err(effects)
            })
        })
        .await;
    }

    /// How often the sink was asked by a tool.
    pub(crate) fn requests(&self, tool: &str) -> usize {
        let what = format!("POST /{tool}");
        let order = self.sink.order();
        order.iter().filter(|(_, asked)| *asked == what).count()
    }

    pub(crate) async fn dead(&self) -> Result<Vec<Raw>> {
        let stream = self
            .journal
            .bus()
            .jetstream
            .get_stream(stream::DEAD)
            .await?;
        let last = stream.cached_info().state.last_sequence;
        let mut dead = Vec::new();
        for seq in 1..=last {
            let message = stream.get_raw_message(seq).await?;
            dead.push(Raw {
                seq,
                subject: message.subject.to_string(),
                payload: message.payload,
            });
        }
        Ok(dead)
    }
}

/// The class of a failure, `ok` or `unknown`.
pub(crate) fn kind(resulted: &Resulted) -> String {
    match &resulted.outcome {
        ToolOutcome::Ok { .. } => "ok".into(),
        ToolOutcome::Failed { error, .. } => error.to_string(),
        ToolOutcome::Unknown { .. } => "unknown".into(),
    }
}

fn catalogue(sink: &Sink, version: u32, more: &[Value]) -> Result<Arc<Catalogue>> {
    let tools = tools(sink, version, more);
    let sources = Sources([("tools.yaml".to_owned(), tools)].into());
    Ok(Arc::new(Catalogue::parse(&sources, &Models::built_in()?)?))
}

fn tools(sink: &Sink, version: u32, more: &[Value]) -> String {
    let posts = ["once", "idempotent", "read"].map(|name| {
        let url = sink.url(&format!("/{name}"));
        json!({"tool": name, "version": version, "description": "d", "effect": name, "input": {"type": "object"}, "concurrency": 4,
            "timeout": "60s", "http": {"method": "POST", "url": url, "body": {"with": "{{ input }}"}}})
    });
    let asked = json!({"tool": "asked", "version": version, "description": "d", "effect": "once", "input": {"type": "object"},
        "reconcile": {"tool": "find", "with": {"key": "{{ idempotency_key }}", "of": "{{ run }} {{ step }}", "with": "{{ input }}"}},
        "http": {"method": "POST", "url": sink.url("/asked"), "body": {"with": "{{ input }}"}}});
    let find = json!({"tool": "find", "version": version, "description": "d", "effect": "read", "input": {"type": "object"},
        "http": {"method": "POST", "url": sink.url("/find"), "body": "{{ input }}"}});
    let program = json!({"tool": "program", "version": version, "description": "d", "effect": "idempotent", "input": {"type": "object"},
        "command": ["sh", "-c", "echo $$ > \"$1\"; sleep 60", "sh", "{{ input.file }}"]});
    let strict = json!({"tool": "strict", "version": version, "description": "d", "effect": "read", "command": ["true"],
        "input": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}});
    let all = posts.into_iter().chain([asked, find, program, strict]);
    let all: Vec<Value> = all.chain(more.iter().cloned()).collect();
    // JSON is YAML.
    json!({"tools": all}).to_string()
}
