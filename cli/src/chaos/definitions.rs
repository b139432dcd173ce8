//! What the fleet runs: workflows that come to a report whatever happens, and say on the way what was done.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;

/// What the definitions are named by, in a fleet of our own.
pub(super) const KIT: &str = "chaos";
/// How they name the kit: in names of workflows, tools, event types and policies.
const NAMED: [char; 4] = ['-', '_', '.', '/'];
/// Digits of what tells two attached kits apart.
const KIT_DIGITS: usize = 6;
const POLICIES: &str = "policies.yaml";
/// How tools know where the sink is, where executors are ours.
const SINK: [&str; 2] = ["{{ env.SINK_URL }}", "    env: [SINK_URL]\n"];

macro_rules! files {
    ($($file:literal),+ $(,)?) => { &[$( ($file, include_str!(concat!("definitions/", $file))) ),+] };
}

const FILES: &[(&str, &str)] = files!(
    "approval.yaml",
    "ceiling.yaml",
    "fan.yaml",
    "main.yaml",
    "part.yaml",
    "policies.yaml",
    "short.yaml",
    "sides.yaml",
    "slow.yaml",
    "tools.yaml",
    "undo.yaml",
);

/// Writes them into a folder of their own.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, text) in FILES {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The same for a fleet of others: under names that nobody else has, and with the sink's address in them.
#[derive(Debug)]
pub(super) struct Attached {
    /// What they are named by. The same sink has the same names, so a fleet that is attached to again gets nothing new.
    pub(super) kit: String,
    /// By their files' names.
    pub(super) files: BTreeMap<&'static str, String>,
    /// How the simulated Claude answers.
    pub(super) policies: String,
}

impl Attached {
    /// For a sink there: `http://host:port`.
    pub(super) fn new(sink_url: &str) -> Self {
        let all = FILES.iter().map(|(_, text)| *text).chain([sink_url]);
        let digest = flotilla_sim::key_digest(&all.collect::<String>());
        let short: String = digest.chars().take(KIT_DIGITS).collect();
        let kit = format!("{KIT}{short}");
        let renamed = |text: &str| {
            let text = text.replace(SINK[0], sink_url).replace(SINK[1], "");
            NAMED.into_iter().fold(text, |text, mark| {
                text.replace(&format!("{KIT}{mark}"), &format!("{kit}{mark}"))
            })
        };
        let mut files: BTreeMap<_, _> = FILES
            .iter()
            .map(|(name, text)| (*name, renamed(text)))
            .collect();
        let policies = files.remove(POLICIES).unwrap_or_default();
        Self {
            files,
            policies,
            kit,
        }
    }
}
