//! The end of a rollout.

use super::{ChangeError, Definitions, Said, of_running};
use crate::{definition::Active, ids::Name, io::clock};

impl Definitions {
    /// All new runs get what most of them got: no part of them gets another version any more. With a `version`, only where it is
    /// that one which a part gets.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn end_rollout(
        &self,
        name: &Name,
        version: Option<u32>,
        said: &Said,
    ) -> Result<Active, ChangeError> {
        let at = clock::now();
        let change = |current: Option<&Active>| {
            let current = of_running(name, current)?;
            let candidate = current.candidate.as_ref();
            let candidate = candidate.map(|candidate| candidate.version.version);
            if let Some(refusal) = refusal(name, candidate, version) {
                return Err(ChangeError::NoRollout(refusal));
            }
            Ok(Some(Active {
                considered: current.considered,
                ..said.active(current.stable.clone(), at)
            }))
        };
        self.changed(name, change).await
    }
}

/// Why there is no rollout to end.
fn refusal(name: &Name, candidate: Option<u32>, version: Option<u32>) -> Option<String> {
    match (candidate, version) {
        (None, _) => Some(format!(
            "no version of workflow `{name}` is being rolled out, so there is nothing to end"
        )),
        (Some(candidate), Some(version)) if candidate != version => Some(format!(
            "version {candidate} of workflow `{name}` is being rolled out, not version {version}"
        )),
        (Some(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rollout_that_there_is_can_be_ended() {
        let name: Name = "w".parse().unwrap();
        let ends = |candidate, version| refusal(&name, candidate, version).is_none();
        assert!(ends(Some(2), None) && ends(Some(2), Some(2)));
        assert!(!ends(None, None) && !ends(None, Some(2)) && !ends(Some(3), Some(2)));
    }
}
