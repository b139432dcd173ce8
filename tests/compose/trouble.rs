//! What happens to the stack while it works. Between two troubles the fleet must get on: effects, as the sink counts them.

use std::time::Duration;

use flotilla_tests::{Sink, eventually};

use crate::stack::{Stack, WELL_WITHIN, docker};

/// Effects after which the fleet has got on.
const EFFECTS: usize = 12;
/// How long a planner stands still: longer than its leases, whose length is FLOTILLA_ACK_WAIT (30 s).
const PAUSE: Duration = Duration::from_secs(35);

/// Waits until so many more effects are done.
pub(crate) async fn progress(sink: &Sink) {
    let goal = sink.effects().len() + EFFECTS;
    eventually("the fleet gets on", WELL_WITHIN, || {
        let done = sink.effects().len();
        std::future::ready(if done >= goal { Ok(()) } else { Err(done) })
    })
    .await;
}

/// One trouble after the other.
pub(crate) async fn all(stack: &mut Stack, sink: &Sink) {
    progress(sink).await;
    say("more planners and executors");
    stack.up(3, 4).await;
    progress(sink).await;

    say("a planner and an executor die");
    die(stack, "planner").await;
    die(stack, "executor").await;
    progress(sink).await;
    stack.well().await;

    say("a planner stands still, longer than its leases last, and goes on as if nothing had been");
    let still = stack.container("planner").await;
    docker(&["pause", &still]).await;
    let since = tokio::time::Instant::now();

    say("an executor is cut off");
    cut_off(stack, sink).await;
    tokio::time::sleep_until(since + PAUSE).await;
    docker(&["unpause", &still]).await;
    stack.well().await;

    say("Redis is restarted");
    stack.compose(&["restart", "redis"]).await;
    progress(sink).await;

    say("NATS dies");
    let nats = stack.container("nats").await;
    stack.kill(&nats).await;
    stack.start("nats").await;
    progress(sink).await;

    say("the gateway dies");
    die(stack, "gateway").await;
    stack.well().await;

    say("fewer planners and executors");
    stack.up(1, 2).await;
    progress(sink).await;
}

/// Every process of a container but its first is killed: that ends it, and Docker starts it again by itself, as it would after a
/// crash.
async fn die(stack: &Stack, service: &str) {
    let container = stack.container(service).await;
    let started = started(&container).await;
    // It kills the very shell that says so, or is not told of its end.
    docker(&["exec", &container, "sh", "-c", "kill -9 -1 || true"]).await;
    eventually("it is started again", WELL_WITHIN, || async {
        let now = self::started(&container).await;
        if now == started { Err(now) } else { Ok(()) }
    })
    .await;
}

async fn started(container: &str) -> String {
    docker(&["inspect", "-f", "{{.State.StartedAt}}", container]).await
}

async fn cut_off(stack: &Stack, sink: &Sink) {
    let (network, executor) = (stack.network(), stack.container("executor").await);
    docker(&["network", "disconnect", &network, &executor]).await;
    progress(sink).await;
    docker(&[
        "network", "connect", "--alias", "executor", &network, &executor,
    ])
    .await;
    progress(sink).await;
}

fn say(what: &str) {
    eprintln!("compose: {what}");
}
