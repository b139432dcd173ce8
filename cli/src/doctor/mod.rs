//! `doctor`: what is wrong, from the settings to Claude, and how to mend it. It looks, and changes nothing; it works where
//! nothing else does.

mod claude;
mod clock;
mod definitions;
mod finding;
mod gateway;
mod machine;
mod nats;
mod redis;
mod token;
mod work;

use std::{process::ExitCode, time::Duration};

use tokio::time::timeout;

use crate::{
    exit::Exit,
    output::Output,
    settings::{Settings, unknown},
    style::width,
};
use finding::{Finding, any_wrong, as_json, told};

const SETTINGS: &str = "settings";
/// Longest time for one check.
const LIMIT: Duration = Duration::from_secs(5);

/// What to look for.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// This is where an executor runs: look whether the secrets and variables of its tools are here
    #[arg(long)]
    executor: bool,
    #[command(flatten)]
    output: Output,
}

/// `flotilla doctor`.
pub(crate) async fn run(given: Settings, args: Doctor) -> anyhow::Result<ExitCode> {
    let mut findings = Vec::new();
    let settings = match given.clone().complete() {
        Ok(settings) => {
            findings.extend(of_settings(&settings));
            settings
        }
        Err(error) => {
            let says = crate::in_full(&error);
            let todo = "mend it; what follows was looked at without the settings file";
            findings.push(Finding::fail(SETTINGS, says).todo(todo));
            given
        }
    };
    findings.extend(unknown().into_iter().map(|one| {
        Finding::warn(SETTINGS, one.to_string()).todo("rename it, or unset it: nothing reads it")
    }));
    findings.push(machine::open_files());
    findings.push(machine::disk(&settings.data()));
    let (nats, redis, claude, gateway, folder) = tokio::join!(
        Box::pin(nats::check(&settings)),
        Box::pin(redis::check(&settings)),
        Box::pin(claude::check(&settings)),
        Box::pin(gateway::check(&settings)),
        Box::pin(definitions::folder(&settings, args.executor)),
    );
    for found in [nats, redis, claude, gateway, folder] {
        findings.extend(found);
    }
    if args.output.json() {
        println!("{}", as_json(&findings));
    } else {
        let lines = told(&findings, width());
        lines.iter().for_each(|line| println!("{line}"));
    }
    Ok(if any_wrong(&findings) {
        Exit::NotDone
    } else {
        Exit::Done
    }
    .into())
}

/// Where they are from; or what is wrong with those that a role looks at only when it starts.
fn of_settings(settings: &Settings) -> Vec<Finding> {
    let refused = [
        settings.auth().err(),
        settings.tls().err(),
        settings.replicas().err(),
        settings.event_bytes_max().err(),
    ];
    let refused = refused.into_iter().flatten();
    let refused: Vec<Finding> = refused
        .map(|error| Finding::fail(SETTINGS, crate::in_full(&error)))
        .collect();
    if !refused.is_empty() {
        return refused;
    }
    let file = settings.file();
    let says = match &file {
        Some(file) => format!("from {}, variables and flags", file.display()),
        None => "from variables and flags; there is no settings file".to_owned(),
    };
    vec![Finding::ok(SETTINGS, says)]
}

/// What something says within its time.
async fn within<T>(what: impl Future<Output = T>) -> Result<T, String> {
    let answered = timeout(LIMIT, what).await;
    answered.map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::{finding::Verdict, *};

    #[test]
    fn each_setting_that_a_role_does_not_start_with_is_a_failure() {
        let settings = Settings {
            replicas: Some(2),
            tls_cert: Some("cert.pem".into()),
            ..Settings::default()
        };
        let findings = of_settings(&settings);
        let all: Vec<(Verdict, &str)> = findings
            .iter()
            .map(|finding| (finding.verdict, &*finding.says))
            .collect();
        assert!(
            matches!(all[..], [(Verdict::Fail, tls), (Verdict::Fail, replicas)]
                if tls.contains("FLOTILLA_TLS_KEY") && replicas.contains("FLOTILLA_REPLICAS")),
            "{all:?}"
        );
        let [right] = &of_settings(&Settings::default())[..] else {
            panic!("one finding");
        };
        assert_eq!(right.verdict, Verdict::Ok);
    }
}
