//! What follows from a workflow's schedule as it stands. Pure: the time is an argument.

use std::fmt;

use flotilla_common::{definition::Workflow, io::schedules::Due};
use jiff::Timestamp;

/// Missed due times that are counted, at most: people need to know that, not exactly how many.
const SKIPPED_MAX: u32 = 10_000;

/// What is to be done with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// It is right.
    Keep {
        /// When it fires.
        due: Timestamp,
    },
    /// Set this in its place.
    Set(Due),
    /// There is no next time.
    Nothing,
}

/// At the start of a gateway, whose definitions are the newest. A due time of the workflow's own is never given up for a later one,
/// also when it is over: it is about to fire.
pub(super) fn at_start(workflow: &Workflow, pending: Option<&Due>, now: Timestamp) -> Plan {
    let Some(pending) = pending else {
        return next_after(workflow, now);
    };
    if Due::of(workflow, pending.due).as_ref() == Some(pending) {
        Plan::Keep { due: pending.due }
    } else if is_ours(workflow, pending) {
        Due::of(workflow, pending.due).map_or(Plan::Nothing, Plan::Set)
    } else {
        next_after(workflow, now)
    }
}

/// After a due time was handled.
pub(super) fn after(
    workflow: &Workflow,
    pending: Option<&Due>,
    handled: Timestamp,
    now: Timestamp,
) -> Plan {
    match pending {
        // Another gateway has set it: this due time was delivered twice, or that gateway has just started.
        Some(pending) if pending.due > handled => Plan::Keep { due: pending.due },
        // One that is over would be handled again for nothing.
        Some(_) | None => next_after(workflow, now.max(handled)),
    }
}

fn next_after(workflow: &Workflow, time: Timestamp) -> Plan {
    let cron = workflow.on.cron.as_ref();
    let next = cron.and_then(|cron| cron.next_after(time));
    next.and_then(|due| Due::of(workflow, due))
        .map_or(Plan::Nothing, Plan::Set)
}

/// Whether the workflow, as it is known here, falls due then.
pub(super) fn is_ours(workflow: &Workflow, due: &Due) -> bool {
    let cron = workflow.on.cron.as_ref();
    cron.is_some_and(|cron| cron.is_due(due.due))
}

/// Whether what is known here is an older version than the one that fell due.
pub(super) fn is_older(workflow: &Workflow, due: &Due) -> bool {
    workflow.pin.version < due.version
}

/// Due times that nobody was there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skipped(u32);

impl Skipped {
    pub(super) const NONE: Self = Self(0);
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.0 == SKIPPED_MAX {
            " or more"
        } else {
            ""
        };
        write!(f, "{}{more}", self.0)
    }
}

/// Those after the one that was handled, up to now.
pub(super) fn skipped(workflow: &Workflow, handled: Timestamp, now: Timestamp) -> Skipped {
    let Some(cron) = &workflow.on.cron else {
        return Skipped::NONE;
    };
    let missed = std::iter::successors(cron.next_after(handled), |due| cron.next_after(*due));
    let missed = missed.take_while(|due| *due <= now);
    Skipped(
        missed
            .zip(1..=SKIPPED_MAX)
            .last()
            .map_or(0, |(_, count)| count),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flotilla_common::{
        claude::Models,
        definition::{Catalogue, Sources},
    };

    use super::*;

    fn workflow(version: u32, cron: &str) -> Arc<Workflow> {
        let text = format!(
            "workflow: w\nversion: {version}\non: {{cron: '{cron}'}}\nsteps:\n  - {{id: a, claude: {{model: haiku, prompt: hi}}}}\n"
        );
        let sources = Sources([("w.yaml".to_owned(), text)].into());
        let catalogue = Catalogue::parse(&sources, &Models::built_in().unwrap()).unwrap();
        Arc::clone(catalogue.newest().next().unwrap())
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-11-21T{time}Z").parse().unwrap()
    }

    fn due(workflow: &Workflow, time: &str) -> Due {
        Due::of(workflow, at(time)).unwrap()
    }

    #[test]
    fn a_workflow_without_a_schedule_gets_the_next_due_time() {
        let hourly = workflow(1, "0 * * * *");
        let set = at_start(&hourly, None, at("10:20:00"));
        assert_eq!(set, Plan::Set(due(&hourly, "11:00:00")));
    }

    #[test]
    fn what_is_overdue_at_the_start_is_kept_so_that_it_fires() {
        let hourly = workflow(1, "0 * * * *");
        let overdue = due(&hourly, "07:00:00");
        let kept = at_start(&hourly, Some(&overdue), at("10:20:00"));
        assert_eq!(
            kept,
            Plan::Keep {
                due: at("07:00:00")
            }
        );
        // A new version that is due then too takes it over, with its time.
        let newer = workflow(2, "0 7,8 * * *");
        let taken = at_start(&newer, Some(&overdue), at("10:20:00"));
        assert_eq!(taken, Plan::Set(due(&newer, "07:00:00")));
    }

    #[test]
    fn a_schedule_by_another_expression_is_replaced_by_the_next_due_time() {
        let old = workflow(1, "0 * * * *");
        let newer = workflow(2, "30 * * * *");
        for pending in ["07:00:00", "11:00:00"] {
            let set = at_start(&newer, Some(&due(&old, pending)), at("10:20:00"));
            assert_eq!(set, Plan::Set(due(&newer, "10:30:00")), "{pending}");
        }
    }

    #[test]
    fn after_a_due_time_comes_the_next_that_is_not_over() {
        let hourly = workflow(1, "0 * * * *");
        let next = |now: &str| after(&hourly, None, at("07:00:00"), at(now));
        assert_eq!(next("07:00:01"), Plan::Set(due(&hourly, "08:00:00")));
        assert_eq!(next("10:20:00"), Plan::Set(due(&hourly, "11:00:00")));
        // A clock that is behind.
        assert_eq!(next("06:59:58"), Plan::Set(due(&hourly, "08:00:00")));
        let missed = |now: &str| skipped(&hourly, at("07:00:00"), at(now)).to_string();
        assert_eq!(
            (missed("07:59:59"), missed("10:20:00")),
            ("0".into(), "3".into())
        );
        let often = workflow(1, "* * * * * *");
        let missed = skipped(&often, at("07:00:00"), at("23:00:00"));
        assert_eq!(missed.to_string(), "10000 or more");
    }

    #[test]
    fn a_due_time_that_comes_twice_leaves_the_schedule_that_followed_it() {
        let hourly = workflow(1, "0 * * * *");
        let pending = due(&hourly, "08:00:00");
        let again = after(&hourly, Some(&pending), at("07:00:00"), at("07:00:02"));
        assert_eq!(
            again,
            Plan::Keep {
                due: at("08:00:00")
            }
        );
        // nats-server was killed after it had fired and before it had removed the schedule.
        let left = due(&hourly, "07:00:00");
        let set = after(&hourly, Some(&left), at("07:00:00"), at("07:00:02"));
        assert_eq!(set, Plan::Set(due(&hourly, "08:00:00")));
    }

    #[test]
    fn a_due_time_of_another_expression_is_none_of_the_workflow() {
        let hourly = workflow(2, "0 * * * *");
        assert!(is_ours(
            &hourly,
            &due(&workflow(1, "0 7 * * *"), "07:00:00")
        ));
        assert!(!is_ours(
            &hourly,
            &due(&workflow(1, "30 * * * *"), "07:30:00")
        ));
        let newer = workflow(3, "30 * * * *");
        assert!(is_older(&hourly, &due(&newer, "07:30:00")));
        assert!(!is_older(&newer, &due(&hourly, "07:00:00")));
    }
}
