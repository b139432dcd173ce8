use std::sync::Arc;

use flotilla_common::{
    breaker::{Forced, State},
    claude::Models,
    definition::{Catalogue, Sources},
    io::{tools::Force, worker::Leave},
};
use tokio::time::advance;

use super::*;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;
const COOL: Duration = Duration::from_secs(10);
/// The longest that jitter makes of it.
const COOLED: Duration = Duration::from_millis(12_500);

fn catalogue() -> Result<Catalogue> {
    let tool = |name: &str, version: u32, breaker: &str| {
        format!(
            "- {{tool: {name}, version: {version}, description: d, effect: read, input: {{type: object}}, command: [ls], breaker: {breaker}}}\n"
        )
    };
    let on = "{failures: 2, cool: {min: 10s}}";
    let yaml = format!(
        "tools:\n{}{}{}",
        tool("t", 1, on),
        tool("t", 2, on),
        tool("free", 1, "off")
    );
    let sources = Sources([("t.yaml".to_owned(), yaml)].into());
    Ok(Catalogue::parse(&sources, &Models::built_in()?)?)
}

fn breakers() -> Result<Breakers> {
    let breakers = Breakers::new();
    breakers.update(&catalogue()?);
    Ok(breakers)
}

fn target(tool: &str, version: u32, host: Option<&str>) -> Result<Target> {
    Ok(Target {
        tool: tool.parse()?,
        version,
        host: host.map(str::to_owned),
    })
}

impl Breakers {
    fn call(&self, target: &Target, outcome: Outcome) -> bool {
        let admitted = self.admit(target.clone());
        admitted.map(|one| one.ended(outcome, "it broke")).is_ok()
    }

    fn fails(&self, target: &Target, times: usize) {
        for _ in 0..times {
            assert!(self.call(target, Outcome::Failure));
        }
    }

    fn leave(&self, tool: &str) -> Leave {
        let name = tool.parse().unwrap_or_else(|_| panic!("a name"));
        self.with(&name, |guarded, now| guarded.leave(now))
    }

    fn state(&self, tool: &str) -> Option<ToolState> {
        let states = self.states("w", true);
        states.into_iter().find(|state| state.tool.as_str() == tool)
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_stops_the_pulling_and_probes_come_one_at_a_time() -> Result<()> {
    let (breakers, one) = (breakers()?, target("t", 1, None)?);
    assert_eq!(breakers.leave("t"), Leave::All);
    breakers.fails(&one, 2);
    assert_eq!(breakers.leave("t"), Leave::None);
    let open = breakers.admit(one.clone()).err().ok_or("it is open")?;
    assert!(open.left >= COOL && open.left <= COOLED, "{open:?}");
    assert_eq!(open.why, "its breaker is open: it broke");
    advance(COOLED).await;
    breakers.look();
    assert_eq!(breakers.leave("t"), Leave::Few(1));
    let probe = breakers.admit(one.clone()).map_err(|open| open.why)?;
    assert_eq!(breakers.leave("t"), Leave::None);
    assert!(breakers.admit(one.clone()).is_err() && breakers.open(&one).is_some());
    probe.ended(Outcome::Success, "");
    assert_eq!(breakers.leave("t"), Leave::Few(1));
    assert!(breakers.call(&one, Outcome::Success));
    assert_eq!(breakers.leave("t"), Leave::All);
    assert!(breakers.open(&one).is_none());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_stops_it_again_and_one_that_was_not_made_gives_its_place_back()
-> Result<()> {
    let (breakers, one) = (breakers()?, target("t", 1, None)?);
    breakers.fails(&one, 2);
    advance(COOLED).await;
    drop(breakers.admit(one.clone()).map_err(|open| open.why)?);
    assert_eq!(breakers.leave("t"), Leave::Few(1));
    assert!(breakers.call(&one, Outcome::Failure));
    assert_eq!(breakers.leave("t"), Leave::None);
    let open = breakers.admit(one).err().ok_or("it is open")?;
    assert!(open.left >= COOL * 2, "{open:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_well_and_in_use_keeps_the_tool_pulling() -> Result<()> {
    let (breakers, old, new) = (breakers()?, target("t", 1, None)?, target("t", 2, None)?);
    assert!(breakers.call(&old, Outcome::Success));
    breakers.fails(&new, 2);
    assert_eq!(breakers.leave("t"), Leave::All);
    assert!(!breakers.call(&new, Outcome::Success) && breakers.call(&old, Outcome::Success));
    // Nobody has asked for the old one in a while, and the new one is still ill.
    for _ in 0..60 {
        advance(COOLED).await;
        breakers.call(&new, Outcome::Failure);
    }
    assert_eq!(breakers.leave("t"), Leave::None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_ill_stops_neither_the_others_nor_the_pulling() -> Result<()> {
    let breakers = breakers()?;
    let (ill, well) = (
        target("t", 1, Some("a.example"))?,
        target("t", 1, Some("b.example"))?,
    );
    breakers.fails(&ill, 2);
    assert!(breakers.admit(ill).is_err() && breakers.call(&well, Outcome::Success));
    assert_eq!(breakers.leave("t"), Leave::All);
    let state = breakers.state("t").ok_or("no state")?;
    let hosts = &state.versions[0].hosts;
    assert_eq!((hosts.len(), hosts[0].host.as_str()), (1, "a.example"));
    assert_eq!(hosts[0].state, State::Open);
    // However many there are, they take no more memory than this.
    for number in 0..1_000 {
        let host = format!("{number}.example");
        assert!(breakers.call(&target("t", 2, Some(&host))?, Outcome::Success));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_person_stops_a_tool_lets_it_go_and_takes_it_back() -> Result<()> {
    let (breakers, one) = (breakers()?, target("t", 1, None)?);
    let force = |state| {
        let force = Force::now(state, Some("ann".into()), Some("it hurts".into()));
        Ok::<_, Box<dyn std::error::Error>>(Arc::new([("t".parse()?, force)].into()))
    };
    breakers.force(&force(Forced::Open)?);
    assert_eq!(breakers.leave("t"), Leave::None);
    let open = breakers.admit(one.clone()).err().ok_or("it is open")?;
    assert_eq!(open.why, "it was stopped by ann: it hurts");
    breakers.force(&force(Forced::Closed)?);
    breakers.fails(&one, 9);
    assert_eq!(breakers.leave("t"), Leave::All);
    breakers.force(&Arc::default());
    breakers.fails(&one, 2);
    assert_eq!(breakers.leave("t"), Leave::None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tool_without_a_breaker_is_always_called_but_for_a_person() -> Result<()> {
    let (breakers, free) = (breakers()?, target("free", 1, None)?);
    breakers.fails(&free, 500);
    assert_eq!(breakers.leave("free"), Leave::All);
    let force = Force::now(Forced::Open, None, None);
    breakers.force(&Arc::new([("free".parse()?, force)].into()));
    assert!(breakers.admit(free).is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_once_and_everything_when_it_is_asked_for() -> Result<()> {
    let (breakers, one) = (breakers()?, target("t", 1, None)?);
    assert_eq!(breakers.states("w", false).len(), 2);
    assert_eq!(breakers.states("w", false).len(), 0);
    let changes = *breakers.changes().borrow();
    let in_work = breakers.begin(&one.tool);
    breakers.fails(&one, 2);
    assert_eq!(*breakers.changes().borrow(), changes + 1);
    let [state] = &breakers.states("w", false)[..] else {
        return Err("one has changed".into());
    };
    assert_eq!((state.in_work, state.versions[0].failures), (1, 2));
    assert_eq!(state.versions[0].why.as_deref(), Some("it broke"));
    drop(in_work);
    assert_eq!(breakers.state("t").map(|state| state.in_work), Some(0));
    assert_eq!(breakers.states("w", true).len(), 2);
    Ok(())
}
