//! Whether and when a tool that failed is tried again. Pure.

use std::time::Duration;

use flotilla_common::definition::{Effect, Tool};

use crate::adapter::told::Told;

/// The longest `Retry-After` that is waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Doublings of a pause after which it is at its longest in any case.
const DOUBLINGS_MAX: u32 = 31;

/// How long to wait before the next try; `None`: there is none. `tries` is how often it was tried, this one included, `since_first`
/// when that was first; `dice` is from 0 to 1.
pub(crate) fn pause(
    tool: &Tool,
    told: Told,
    tries: u32,
    since_first: Duration,
    dice: f64,
) -> Option<Duration> {
    let retries = tool.retries.as_ref()?;
    let fault = told.fault.filter(|fault| retries.covers(*fault))?;
    let may = tool.effect != Effect::Once || fault.is_harmless();
    if !may || tries > retries.times {
        return None;
    }
    let doubled = 1_u32 << tries.saturating_sub(1).min(DOUBLINGS_MAX);
    let most = retries.pause.saturating_mul(doubled).min(retries.max_pause);
    let drawn = most.mul_f64(dice.clamp(0.0, 1.0));
    // All who were told the same time would come back at the same moment.
    let pause = match told.retry_after {
        Some(after) if after > RETRY_AFTER_MAX => return None,
        Some(after) => after + drawn,
        None => drawn,
    };
    let is_late = |within: Duration| since_first.saturating_add(pause) > within;
    (!retries.within.is_some_and(is_late)).then_some(pause)
}

#[cfg(test)]
mod tests {
    use flotilla_common::{
        claude::Models,
        definition::{Catalogue, Fault, Sources, TOO_MANY},
    };

    use super::*;
    use crate::adapter::failure::Class;

    type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;
    const NOW: Duration = Duration::ZERO;

    fn tool(effect: &str, retry: &str) -> Result<Tool> {
        let yaml = format!(
            "tools:\n- {{tool: t, version: 1, description: d, effect: {effect}, input: {{type: object}}, command: [ls], retry: {retry}}}\n"
        );
        let sources = Sources([("t.yaml".to_owned(), yaml)].into());
        let catalogue = Catalogue::parse(&sources, &Models::built_in()?)?;
        let tool = catalogue.tools.iter().next().ok_or("no tool")?;
        Ok(Tool::clone(tool))
    }

    fn told(fault: Fault) -> Told {
        Told {
            class: Class::Status,
            fault: Some(fault),
            retry_after: None,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_drawn_from_nothing_up() -> Result<()> {
        let tool = tool("read", "{times: 4, pause: 2s, max_pause: 5s}")?;
        let pauses = |dice| {
            let pause = |tries| pause(&tool, told(Fault::Timeout), tries, NOW, dice);
            (1..=5).map(pause).collect::<Vec<_>>()
        };
        let seconds = |all: [Option<u64>; 5]| all.map(|one| one.map(Duration::from_secs)).to_vec();
        assert_eq!(
            pauses(1.0),
            seconds([Some(2), Some(4), Some(5), Some(5), None])
        );
        assert_eq!(
            pauses(0.0),
            seconds([Some(0), Some(0), Some(0), Some(0), None])
        );
        assert_eq!(pause(&tool, told(Fault::Timeout), u32::MAX, NOW, 1.0), None);
        Ok(())
    }

    #[test]
    fn only_what_is_named_is_tried_again() -> Result<()> {
        let tool = tool("read", "{times: 1, on: [503, exit]}")?;
        let again = |fault| pause(&tool, told(fault), 1, NOW, 0.5).is_some();
        assert!(again(Fault::Status(Some(503))) && again(Fault::Exit(Some(3))));
        assert!(!again(Fault::Status(Some(500))) && !again(Fault::Timeout));
        let unnamed = Told {
            fault: None,
            ..told(Fault::Timeout)
        };
        assert_eq!(pause(&tool, unnamed, 1, NOW, 0.5), None);
        Ok(())
    }

    #[test]
    fn what_must_not_happen_twice_is_tried_again_only_when_it_did_not_happen() -> Result<()> {
        let mut tool = tool("once", "{times: 1}")?;
        let again = |tool: &Tool, fault| pause(tool, told(fault), 1, NOW, 0.5).is_some();
        assert!(again(&tool, Fault::Connect));
        assert!(again(&tool, Fault::Status(Some(TOO_MANY))));
        assert!(!again(&tool, Fault::Timeout));
        // Whatever a definition says.
        if let Some(retries) = &mut tool.retries {
            retries.on.insert(Fault::Timeout);
        }
        assert!(!again(&tool, Fault::Timeout));
        Ok(())
    }

    #[test]
    fn who_wants_to_be_left_alone_is_and_nothing_is_begun_after_the_deadline() -> Result<()> {
        let tool = tool("read", "{times: 9, pause: 1s, within: 1m}")?;
        let busy = |seconds| Told {
            retry_after: Some(Duration::from_secs(seconds)),
            ..told(Fault::Status(Some(TOO_MANY)))
        };
        let pause = |told, since| pause(&tool, told, 1, Duration::from_secs(since), 1.0);
        assert_eq!(pause(busy(30), 0), Some(Duration::from_secs(31)));
        assert_eq!(pause(busy(30), 29), Some(Duration::from_secs(31)));
        assert_eq!(pause(busy(30), 30), None);
        assert_eq!(pause(busy(3_601), 0), None);
        assert_eq!(pause(told(Fault::Timeout), 60), None);
        Ok(())
    }
}
