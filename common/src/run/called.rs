//! Which tools a run called.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{entry::Decision, ids::Name};

/// Tools that are kept of one run, the first ones: more than most workflows have, and few enough for the line of a run.
const CALLED_MAX: usize = 16;

/// The tools that a run called, those that it undid something with among them: the first 16. What a person was asked about and
/// refused was not called.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Called(BTreeSet<Name>);

impl Called {
    /// Takes in what was decided.
    pub fn take(&mut self, decision: &Decision) {
        if let Decision::Act { tool, .. } = decision
            && self.0.len() < CALLED_MAX
            && !self.0.contains(tool)
        {
            self.0.insert(tool.clone());
        }
    }

    /// Whether one of them is this.
    #[must_use]
    pub fn has(&self, tool: &Name) -> bool {
        self.0.contains(tool)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tools_are_kept_once_each_and_no_more_than_a_line_has_room_for() {
        let act = |n: usize| {
            let tool = format!("tool-{n:02}").parse().unwrap();
            Decision::Act {
                tool,
                version: 1,
                with: json!({}),
            }
        };
        let mut called = Called::default();
        for n in (0..9).chain(0..40) {
            called.take(&act(n));
        }
        called.take(&Decision::Skip {});
        assert_eq!(called.0.len(), CALLED_MAX);
        assert!(called.has(&"tool-15".parse().unwrap()));
        assert!(!called.has(&"tool-16".parse().unwrap()));
        // What has no room changes nothing, and its first ones stay.
        assert_eq!(json!(called)[0], "tool-00");
    }
}
