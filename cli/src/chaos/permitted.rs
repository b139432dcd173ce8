//! What this machine permits: a kit that was to make a fault, and did not, must not pass for that in silence.

use std::{path::Path, process::ExitCode};

use serde::Serialize;

use super::{
    clocks::Clocks,
    cluster,
    disk::Disk,
    fleet,
    options::{Options, Profile},
    scenes::Scene,
    schedule::{Kind, Part},
};

/// A fault or scene of the profile that cannot be made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LeftOut {
    pub(super) what: &'static str,
    pub(super) why: String,
}

/// That the profile can be run here.
///
/// # Errors
/// Why not.
pub(super) fn profile(options: &Options) -> anyhow::Result<()> {
    match options.profile {
        Profile::Cluster => cluster::possible(),
        Profile::Smoke | Profile::Hour => Ok(()),
    }
}

/// What the faults need: a small disk for nats-server, and clocks that can be set. Faults of the profile for which there can be none
/// are left out.
///
/// # Errors
/// Why a fault or scene that somebody has named cannot be made here.
pub(super) fn faults(
    options: &mut Options,
    folder: &Path,
) -> anyhow::Result<(Option<Disk>, Option<Clocks>)> {
    let disk = Needed {
        is_of: |kind| kind == Kind::DiskFull,
        scene: None,
    };
    let disk = disk.made(options, || fleet::small_disk(folder))?;
    let clocks = Needed {
        is_of: |kind| kind.part() == Part::Clock,
        scene: Some(Scene::WrongClock),
    };
    let clocks = clocks.made(options, || Clocks::new(folder))?;
    Ok((disk, clocks))
}

/// Ends without having run: well only where somebody has said so.
pub(super) fn skipped(options: &Options, why: anyhow::Error) -> anyhow::Result<ExitCode> {
    if !options.skip_if_impossible {
        return Err(why);
    }
    eprintln!(
        "*** SKIPPED: the profile {} did not run: {why:#} ***",
        options.profile()
    );
    Ok(ExitCode::SUCCESS)
}

/// What some faults and scenes need.
struct Needed {
    is_of: fn(Kind) -> bool,
    scene: Option<Scene>,
}

impl Needed {
    /// Makes it, where any of them is to be made.
    fn made<T>(
        &self,
        options: &mut Options,
        make: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        let kinds = options.kinds.iter().filter(|kind| (self.is_of)(**kind));
        let scenes = options.scenes.iter();
        let scenes = scenes.filter(|scene| Some(**scene) == self.scene);
        let all = kinds.map(|kind| kind.name());
        let all: Vec<&'static str> = all.chain(scenes.map(|scene| scene.name())).collect();
        if all.is_empty() {
            return Ok(None);
        }
        let why = match make() {
            Ok(made) => return Ok(Some(made)),
            Err(why) => why,
        };
        let names = all.join(", ");
        if options.is_named {
            return Err(why.context(format!("{names} cannot be made here")));
        }
        let why = format!("{why:#}");
        eprintln!("LEFT OUT, for this machine does not permit it: {names}: {why}");
        options.kinds.retain(|kind| !(self.is_of)(*kind));
        options.scenes.retain(|scene| Some(*scene) != self.scene);
        let left_out = all.into_iter().map(|what| LeftOut {
            what,
            why: why.clone(),
        });
        options.left_out.extend(left_out);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::{super::options::tests::settled, *};

    const CLOCKS: Needed = Needed {
        is_of: |kind| kind.part() == Part::Clock,
        scene: Some(Scene::WrongClock),
    };

    fn none() -> anyhow::Result<()> {
        Err(anyhow!("there is no library"))
    }

    #[test]
    fn what_a_profile_has_and_cannot_be_made_is_left_out_and_told() {
        let mut options = settled("", false).unwrap();
        let before = options.kinds.len() + options.scenes.len();
        assert_eq!(CLOCKS.made(&mut options, none).unwrap(), None);
        assert_eq!(options.left_out.len(), 5);
        let after = options.kinds.len() + options.scenes.len();
        assert_eq!(before - after, 5);
        let scene = LeftOut {
            what: Scene::WrongClock.name(),
            why: "there is no library".to_owned(),
        };
        assert!(options.left_out.contains(&scene));
    }

    #[test]
    fn what_somebody_has_named_and_cannot_be_made_is_an_error() {
        let mut options = settled("--faults kill,clock-step", false).unwrap();
        let why = CLOCKS.made(&mut options, none).unwrap_err();
        let told = format!("{why:#}");
        assert_eq!(told, "clock-step cannot be made here: there is no library");
        assert!(skipped(&options, why).is_err());
        let mut options = settled("--faults wrong-clock --skip-if-impossible", false).unwrap();
        let why = CLOCKS.made(&mut options, none).unwrap_err();
        assert!(skipped(&options, why).is_ok());
        let mut options = settled("--faults kill", false).unwrap();
        assert_eq!(CLOCKS.made(&mut options, none).unwrap(), None);
        assert_eq!(options.left_out, []);
    }
}
