//! The rows of the ledger's hashes, and what is summed up in them.

/// What stands for all rows of a hash that are too many.
pub const OTHER: &str = "(other)";
/// Between the parts of a row's name. No part has it.
const BETWEEN: char = '\u{1f}';
/// Longest part of a row's name, in characters.
const PART_MAX: usize = 80;

/// What is summed up in a row: the last part of a field of a hash.
pub mod measure {
    /// Replies of Claude's.
    pub const CALLS: &str = "calls";
    /// Calls that may have been paid and came to nothing.
    pub const WASTED_CALLS: &str = "wasted_calls";
    /// Replies that were not taken.
    pub const REJECTED: &str = "rejected";
    /// Input tokens that were neither read from nor written to the prompt cache.
    pub const INPUT: &str = "input";
    /// Output tokens.
    pub const OUTPUT: &str = "output";
    /// Input tokens that were read from the prompt cache.
    pub const CACHE_READ: &str = "cache_read";
    /// Input tokens that were written to it.
    pub const CACHE_WRITE: &str = "cache_write";
    /// What replies cost, in nano-dollars.
    pub const USD: &str = "usd";
    /// What wasted calls may have cost, at most, in nano-dollars.
    pub const WASTED_USD: &str = "wasted_usd";
    /// Runs begun.
    pub const STARTED: &str = "started";
    /// Runs that completed.
    pub const COMPLETED: &str = "completed";
    /// Runs that escalated.
    pub const ESCALATED: &str = "escalated";
    /// Runs that failed.
    pub const FAILED: &str = "failed";
    /// Runs that were cancelled.
    pub const CANCELLED: &str = "cancelled";
    /// Steps, as a run's summary counts them.
    pub const STEPS: &str = "steps";
    /// Decisions of every kind.
    pub const DECISIONS: &str = "decisions";
    /// Results that are well.
    pub const OK: &str = "ok";
    /// Results of which nobody knows whether it was done.
    pub const UNKNOWN: &str = "unknown";
}

/// Whose sums they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Row {
    /// Of a day: what Claude was asked.
    Claude {
        /// For which workflow.
        workflow: String,
        /// The model that spoke.
        model: String,
        /// Who pays.
        tenant: String,
    },
    /// Of a day: runs.
    Runs {
        /// Of which workflow.
        workflow: String,
        /// Who pays.
        tenant: String,
    },
    /// Of a minute: runs, and how long those took that ended.
    Pace {
        /// Who pays.
        tenant: String,
    },
    /// Of a minute: what Claude cost.
    Model {
        /// The model that spoke.
        model: String,
        /// Who pays.
        tenant: String,
    },
    /// Of a minute: results of a tool, and how long it took.
    Tool {
        /// Which tool.
        tool: String,
        /// Who pays.
        tenant: String,
    },
}

impl Row {
    fn parts(&self) -> (&'static str, Vec<&String>) {
        match self {
            Self::Claude {
                workflow,
                model,
                tenant,
            } => ("claude", vec![workflow, model, tenant]),
            Self::Runs { workflow, tenant } => ("runs", vec![workflow, tenant]),
            Self::Pace { tenant } => ("pace", vec![tenant]),
            Self::Model { model, tenant } => ("model", vec![model, tenant]),
            Self::Tool { tool, tenant } => ("tool", vec![tool, tenant]),
        }
    }

    /// Which kind of row it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.parts().0
    }

    /// What its fields begin with. Models are called what a provider says: nothing in a part can look like the next one.
    #[must_use]
    pub fn name(&self) -> String {
        let (kind, parts) = self.parts();
        let mut name = kind.to_owned();
        for part in parts {
            name.push(BETWEEN);
            name.extend(part.chars().filter(|c| !c.is_control()).take(PART_MAX));
        }
        name
    }

    /// The row in which what is too many of its kind goes.
    #[must_use]
    pub fn other(&self) -> Self {
        let other = || OTHER.to_owned();
        match self {
            Self::Claude { .. } => Self::Claude {
                workflow: other(),
                model: other(),
                tenant: other(),
            },
            Self::Runs { .. } => Self::Runs {
                workflow: other(),
                tenant: other(),
            },
            Self::Pace { .. } => Self::Pace { tenant: other() },
            Self::Model { .. } => Self::Model {
                model: other(),
                tenant: other(),
            },
            Self::Tool { .. } => Self::Tool {
                tool: other(),
                tenant: other(),
            },
        }
    }

    /// The field of a measure of it.
    #[must_use]
    pub fn field(&self, measure: &str) -> String {
        format!("{}{BETWEEN}{measure}", self.name())
    }

    /// The row and the measure of a field; `None`: it is none of these.
    #[must_use]
    pub fn of_field(field: &str) -> Option<(Self, &str)> {
        let (name, measure) = field.rsplit_once(BETWEEN)?;
        let mut parts = name.split(BETWEEN);
        let kind = parts.next()?;
        let mut part = || parts.next().map(ToOwned::to_owned);
        let row = match kind {
            "claude" => Self::Claude {
                workflow: part()?,
                model: part()?,
                tenant: part()?,
            },
            "runs" => Self::Runs {
                workflow: part()?,
                tenant: part()?,
            },
            "pace" => Self::Pace { tenant: part()? },
            "model" => Self::Model {
                model: part()?,
                tenant: part()?,
            },
            "tool" => Self::Tool {
                tool: part()?,
                tenant: part()?,
            },
            _ => return None,
        };
        parts.next().is_none().then_some((row, measure))
    }
}
