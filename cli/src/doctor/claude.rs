//! Claude: whether there is a key, and whether the server takes it and knows our models. No call that costs anything is made.

use std::{collections::BTreeSet, sync::Arc};

use flotilla_common::{claude::Models, io::definitions::load_models};
use flotilla_planner::{Claude, ModelsError};

use super::{LIMIT, finding::Finding};
use crate::settings::Settings;

const CHECK: &str = "claude";

/// Everything there is to say of it.
pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    let models = match load_models(settings.models.as_deref()) {
        Ok(models) => Arc::new(models),
        Err(error) => return vec![Finding::fail("models", error.to_string())],
    };
    if let Err(error) = settings.api_key() {
        return vec![Finding::fail(CHECK, crate::in_full(&error))];
    }
    let config = match settings.claude() {
        Ok(config) => config,
        Err(error) => return vec![no_key(&crate::in_full(&error))],
    };
    let claude = match Claude::new(config, 1) {
        Ok(claude) => claude,
        Err(error) => return vec![Finding::fail(CHECK, error.to_string())],
    };
    let simulated = if settings.simulated {
        ", simulated"
    } else {
        ""
    };
    let url = settings.base_url();
    match claude.models(LIMIT).await {
        Ok(known) => vec![
            Finding::ok(
                CHECK,
                format!("{url} answers{simulated}, and takes the key"),
            ),
            of_models(&models, &known),
        ],
        Err(error) => vec![of_error(&error)],
    }
}

fn of_error(error: &ModelsError) -> Finding {
    let says = error.to_string();
    match error {
        ModelsError::Away { .. } => Finding::fail(CHECK, says).todo(
            "look at ANTHROPIC_BASE_URL and at what is between: a proxy, a firewall. Runs wait until it answers",
        ),
        ModelsError::Key { .. } => Finding::fail(CHECK, says)
            .todo("set another ANTHROPIC_API_KEY (or ANTHROPIC_API_KEY_FILE) and restart the planners"),
        ModelsError::Failing { busy: true, .. } => Finding::warn(CHECK, says)
            .todo("ask again in a while: it is asked too much now, and runs wait for it"),
        ModelsError::Failing { busy: false, .. } => Finding::fail(CHECK, says).todo(
            "look at what it says, and at ANTHROPIC_BASE_URL and what is between. Runs wait until it answers",
        ),
        ModelsError::Unlisted { .. } => Finding::warn(CHECK, says)
            .todo("nothing, if it is a gateway of yours in front of Claude that has no such list"),
    }
}

fn no_key(problem: &str) -> Finding {
    Finding::warn(CHECK, problem).todo("nothing, where no planner runs: only planners hold the key")
}

fn of_models(models: &Models, known: &BTreeSet<String>) -> Finding {
    let names = models.names();
    let ours: BTreeSet<&str> = names
        .iter()
        .filter_map(|name| models.find(name))
        .map(|model| model.id.as_str())
        .collect();
    let strange: Vec<&str> = ours
        .iter()
        .filter(|id| !is_known(id, known))
        .copied()
        .collect();
    if strange.is_empty() {
        return Finding::ok(
            "models",
            format!("the server knows all {} of our table", ours.len()),
        );
    }
    Finding::warn("models", format!("the server does not list {}", strange.join(", "))).todo(
        "only what workflows name matters: give them other models, or set FLOTILLA_MODELS to a newer table",
    )
}

/// Whether the server lists it, or a dated one of it.
fn is_known(id: &str, known: &BTreeSet<String>) -> bool {
    known.iter().any(|listed| {
        let date = listed
            .strip_prefix(id)
            .and_then(|rest| rest.strip_prefix('-'));
        let dated =
            date.is_some_and(|date| date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()));
        listed == id || dated
    })
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    #[test]
    fn a_claude_that_fails_is_a_failure_and_one_that_is_busy_a_warning() {
        let failing = |busy| {
            let (url, problem) = ("http://x".to_owned(), "503 some_error: it is".to_owned());
            of_error(&ModelsError::Failing { url, problem, busy })
        };
        assert_eq!(failing(false).verdict, Verdict::Fail);
        assert_eq!(failing(true).verdict, Verdict::Warn);
        assert!(failing(false).says.contains("503 some_error: it is"));
    }

    #[test]
    fn a_model_that_the_server_does_not_list_is_named() {
        let models = Models::built_in().unwrap();
        let all = models.names();
        let ids = all.iter().filter_map(|name| models.find(name));
        let mut known: BTreeSet<String> = ids.map(|model| model.id.clone()).collect();
        assert_eq!(of_models(&models, &known).verdict, Verdict::Ok);
        let first = known.pop_first().unwrap();
        let found = of_models(&models, &known);
        assert_eq!(found.verdict, Verdict::Warn);
        assert!(found.says.contains(&first), "{found:?}");
        known.insert(format!("{first}-20260101"));
        assert_eq!(of_models(&models, &known).verdict, Verdict::Ok);
    }
}
