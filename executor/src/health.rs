//! Whether a tool is well, as one try of it tells.

use flotilla_common::{
    breaker::Outcome,
    definition::{Fault, TOO_MANY},
};

use crate::{
    adapter::{Output, failure::Class, told::Told},
    tools::Ready,
};

/// Statuses of programs that say that what they need is not there, or not now: `EX_UNAVAILABLE` and `EX_TEMPFAIL` of sysexits.h.
const PASSING_EXITS: [u8; 2] = [69, 75];
/// The first HTTP status that says that the server is to blame.
const SERVER_ERRORS: u16 = 500;

/// What a try says about whether the tool is well: what its parameters or its definition are to blame for does not count against it,
/// and what it answered at all speaks for it.
pub(crate) fn health(ready: &Ready, output: &Output) -> Outcome {
    let Some(Told { class, fault, .. }) = output.told else {
        return Outcome::Success;
    };
    let retries = ready.tool.retries.as_ref();
    let is_named = |fault| retries.is_some_and(|retries| retries.covers(fault));
    match fault {
        Some(fault) if is_named(fault) || is_ill(fault) => Outcome::Failure,
        Some(_) => Outcome::Success,
        None if matches!(class, Class::Output | Class::Redirect | Class::Service) => {
            Outcome::Success
        }
        None => Outcome::Neutral,
    }
}

fn is_ill(fault: Fault) -> bool {
    match fault {
        Fault::Timeout
        | Fault::Connect
        | Fault::Network
        | Fault::Spawn
        | Fault::Signal
        | Fault::Lost => true,
        Fault::Status(code) => code.is_some_and(|code| code >= SERVER_ERRORS || code == TOO_MANY),
        Fault::Exit(code) => code.is_some_and(|code| PASSING_EXITS.contains(&code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parameters_are_to_blame_for_says_that_the_tool_is_well() {
        for ill in [500, 503, 599, TOO_MANY] {
            assert!(is_ill(Fault::Status(Some(ill))), "{ill}");
        }
        for well in [400, 404, 422, 499] {
            assert!(!is_ill(Fault::Status(Some(well))), "{well}");
        }
        assert!(is_ill(Fault::Exit(Some(75))) && !is_ill(Fault::Exit(Some(1))));
        assert!(is_ill(Fault::Timeout) && !is_ill(Fault::Exit(None)));
    }
}
