//! The names of signals and timers: the last token of their subjects.

/// Stops a run.
pub const SIGNAL_CANCEL: &str = "cancel";
/// Makes a run do nothing until it is resumed.
pub const SIGNAL_PAUSE: &str = "pause";
/// Makes a paused run go on, and a parked one look again now.
pub const SIGNAL_RESUME: &str = "resume";
/// Sets a ceiling of a run or of one of its steps.
pub const SIGNAL_RAISE: &str = "raise";
/// Begins a run anew from one of its steps.
pub const SIGNAL_RETRY: &str = "retry";
/// Tells a running agent something.
pub const SIGNAL_MESSAGE: &str = "message";
/// Allows what waits for a person.
pub const SIGNAL_APPROVE: &str = "approve";
/// Refuses what waits for a person.
pub const SIGNAL_REJECT: &str = "reject";
/// Says what somebody thinks of a run: it changes nothing in it.
pub const SIGNAL_FEEDBACK: &str = "feedback";
/// Says that an entry of the run became a dead letter: nothing new is begun until that is settled.
pub const SIGNAL_DEAD: &str = "dead";
/// Has a dead letter's entry handled again.
pub const SIGNAL_REDRIVE: &str = "redrive";
/// Gives a dead letter up: its run fails.
pub const SIGNAL_DROP: &str = "drop";
/// The timer of a run's time limit.
pub const TIMER_DEADLINE: &str = "deadline";
/// The timer of whatever a run waits for next.
pub const TIMER_WAKE: &str = "wake";
