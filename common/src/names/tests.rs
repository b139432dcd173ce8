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
    for (name, role) in [
        (consumer::INTAKE, Some("gateway")),
        (consumer::PLANNER, Some("planner")),
        (consumer::REDRIVE, Some("executor")),
        (&consumer::tool(&"df".parse()?), Some("executor")),
        ("somebodys", None),
    ] {
        assert_eq!(consumer::role(name), role, "{name}");
    }
    let dead = subject::dead(
        "planner",
        &subject::entry(&run, Kind::Fired, &"wake".parse()?),
    );
    assert_eq!(subject::dead_role(&dead), Some("planner"));
    assert_eq!(key::state(&run), format!("flotilla:{{{run}}}:state"));
    Ok(())
}
