//! Rules of the protocol that a process can be made to break: for `flotilla chaos`, whose scorecard must turn red then. Only in
//! builds with debug assertions; in a release build no rule can be broken.

/// A rule that can be broken. What a variant says is what the broken process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Saves a state, or finishes a claim, whoever saved or holds it meanwhile.
    Fencing,
    /// Appends whatever the chain's last sequence is.
    ExpectedSequence,
    /// Appends what follows from a reply without saving the reply in its claim.
    ReplyNotSaved,
    /// Acknowledges a message before it is handled.
    AckBeforeAppend,
    /// Goes on although another holds the claim, or is done.
    ClaimIgnored,
    /// Goes by its own machine's clock.
    OwnClock,
}

/// The variable that names the one rule to break.
pub const VARIABLE: &str = "FLOTILLA_BREAK";

impl Rule {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Fencing,
        Self::ExpectedSequence,
        Self::ReplyNotSaved,
        Self::AckBeforeAppend,
        Self::ClaimIgnored,
        Self::OwnClock,
    ];

    /// As [`VARIABLE`] names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fencing => "fencing",
            Self::ExpectedSequence => "expected_sequence",
            Self::ReplyNotSaved => "reply_not_saved",
            Self::AckBeforeAppend => "ack_before_append",
            Self::ClaimIgnored => "claim_ignored",
            Self::OwnClock => "own_clock",
        }
    }
}

/// Whether this process is to break that rule.
#[cfg(debug_assertions)]
#[must_use]
pub fn is(rule: Rule) -> bool {
    static BROKEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let broken = BROKEN.get_or_init(|| std::env::var(VARIABLE).ok());
    broken.as_deref() == Some(rule.name())
}

/// Whether this process is to break that rule; not in this build.
#[cfg(not(debug_assertions))]
#[must_use]
pub fn is(_rule: Rule) -> bool {
    false
}
