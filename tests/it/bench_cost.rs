//! What Claude costs: the bench's own figure, on few runs. It is money, not time, and the same on every machine.

use std::time::Duration;

use flotilla_tests::run_flotilla;
use serde_json::Value;

/// Two fleets, one after the other, on a machine that does other things.
const LIMIT: Duration = Duration::from_secs(300);
/// The share of the naive bill that a fleet may cost at most.
const RATIO_MAX: f64 = 0.30;

/// PATH with what `make` fetched.
fn path() -> String {
    let tools = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/bin");
    format!("{tools}:{}", std::env::var("PATH").unwrap())
}

async fn cost(runs: &str) -> Value {
    let args = ["bench", "cost", "--runs", runs, "--json"];
    let told = run_flotilla(&args, &[("PATH", &path())], LIMIT).await;
    assert!(told.status.success(), "{}", told.output);
    serde_json::from_str(&told.output).unwrap_or_else(|error| panic!("{error}: {}", told.output))
}

fn tokens(bill: &Value, kind: &str) -> u64 {
    bill["all"][kind]["tokens"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_costs_less_than_a_third_of_asking_one_model_without_a_cache() {
    let told = cost("12").await;
    let (naive, ours) = (&told["naive"], &told["ours"]);
    assert_eq!(naive["all"]["calls"], ours["all"]["calls"], "{told}");
    assert!(naive["all"]["calls"].as_u64() > Some(60), "{told}");
    let models = |bill: &Value| -> Vec<String> {
        let models = bill["by_model"].as_object().unwrap();
        models.keys().cloned().collect()
    };
    assert_eq!(models(naive), ["claude-sonnet-5-5"]);
    assert_eq!(models(ours), ["claude-haiku-5-5", "claude-sonnet-5-5"]);

    // The same prompts and the same answers: only what is paid for them differs.
    assert_eq!(tokens(naive, "output"), tokens(ours, "output"));
    let prompts = ["input", "cache_write", "cache_read"].map(|kind| tokens(ours, kind));
    assert_eq!(tokens(naive, "input"), prompts.iter().sum::<u64>());
    assert_eq!(
        tokens(naive, "cache_write") + tokens(naive, "cache_read"),
        0
    );

    let usd = |bill: &Value| bill["all"]["usd_nano"].as_f64().unwrap();
    let ratio = told["ratio"].as_f64().unwrap();
    assert!((ratio - usd(ours) / usd(naive)).abs() < 1e-9, "{told}");
    assert!(ratio <= RATIO_MAX, "{ratio} of the naive bill: {told}");
}
