use super::*;
use crate::{entry::Kind, ids::RunId};

#[test]
fn subjects_keep_the_order_run_kind_name() -> Result<(), Box<dyn std::error::Error>> {
    let run = RunId::derive(&"w".parse()?, "s", "1");
    assert_eq!(
        subject::entry(&run, Kind::Decided, &"claude".parse()?),
        format!("runs.{run}.decided.claude")
    );
    assert_eq!(subject::event_type("events.a.b"), Some("a.b".parse()?));
    assert_eq!(subject::event_type("events."), None);
    let timer = subject::cron_timer(&"w".parse()?);
    assert_eq!(subject::cron_timer_workflow(&timer), Some("w".parse()?));
    assert_eq!(subject::cron_timer_workflow("cron.due.w"), None);
    let whose = bucket::ceiling("tenant", &"acme".parse()?);
    assert_eq!(whose, "tenant.acme");
    assert_eq!(bucket::ceiling_parts(&whose)?, ("tenant", "acme".parse()?));
    assert!(bucket::ceiling_parts("tenant").is_err());
    assert_eq!(key::state(&run), format!("flotilla:{{{run}}}:state"));
    Ok(())
}
