//! What each role may say and hear on NATS, as the users of a nats-server are told. Whatever a role is not given is refused by the
//! server: a planner that was taken over cannot write a result, an executor cannot write a decision, and neither can have the
//! server remove a stream or what is on it. NATS has no permissions for headers: see docs/operations.md for what that leaves open.
//!
//! A stream or bucket that only gateways use needs no line here. One that another role uses needs one, in [`planner`] or
//! [`executor`]; one whose existence all roles check when they start, one in [`LOOKED_AT`].

use crate::{
    beat::Role,
    names::{bucket, consumer, fleet, object, stream, subject},
};

/// A user of the nats-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Makes the streams, takes events in, tells runs what people say.
    Gateway,
    /// Decides.
    Planner,
    /// Acts.
    Executor,
    /// A person with the `nats` program or a backup: everything.
    Operator,
}

/// What a user may publish to and subscribe to. Patterns as NATS reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects it may publish to.
    pub publish: Vec<String>,
    /// Of these, the ones that it may not.
    pub deny_publish: Vec<String>,
    /// Subjects it may subscribe to.
    pub subscribe: Vec<String>,
}

impl User {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gateway, Self::Planner, Self::Executor, Self::Operator];

    /// Its name, also the first part of the subjects where its answers come to.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Planner => "planner",
            Self::Executor => "executor",
            Self::Operator => "operator",
        }
    }

    /// What it may do.
    #[must_use]
    pub fn permissions(self) -> Permissions {
        let mut may = match self {
            Self::Operator => Permissions::default().says([">"]).hears([">"]),
            Self::Gateway => gateway(),
            Self::Planner => planner(),
            Self::Executor => executor(),
        };
        if self != Self::Operator {
            may = may.hears([&*(inbox(self.name()) + ".>")]);
        }
        may.publish.sort();
        may.publish.dedup();
        may
    }
}

/// Where the answers to a user come to: no other user hears them.
#[must_use]
pub fn inbox(user: &str) -> String {
    format!("_INBOX.{user}")
}

/// Streams that every role checks when it starts.
const LOOKED_AT: [&str; 5] = [
    stream::RUNS,
    stream::EVENTS,
    stream::CRON,
    stream::DEAD,
    stream::ADVISORIES,
];

/// The gateway makes and looks after all streams; only it removes what nobody needs any more. What a planner decides and an executor
/// finds it cannot write.
fn gateway() -> Permissions {
    Permissions::default()
        .hears([fleet::ALL_BEATS])
        .says([
            subject::ALL_EVENTS,
            subject::ALL_CRON,
            subject::ALL_DEAD,
            subject::ALL_AUDIT,
            &*fleet::beats(Role::Gateway),
            subject::ALL_NUDGES,
            "runs.*.started.>",
            "runs.*.signalled.>",
            "$JS.API.>",
            "$JS.ACK.>",
            "$JS.FC.>",
            "$KV.>",
            "$O.>",
        ])
        .never([
            "$JS.API.STREAM.DELETE.>",
            "$JS.API.STREAM.RESTORE.>",
            "$JS.API.STREAM.SNAPSHOT.>",
            "$JS.API.ACCOUNT.>",
        ])
}

fn planner() -> Permissions {
    // How a run within a run ended.
    let child_ended = "runs.*.resulted.run";
    role(Role::Planner)
        .says([
            "runs.*.decided.>",
            child_ended,
            "runs.*.started.>",
            "runs.*.signalled.>",
            "runs.*.timer.>",
        ])
        .reads(bucket::CEILINGS)
        .reads(bucket::LESSONS)
        .writes(bucket::LESSONS)
        .works(stream::RUNS, consumer::PLANNER)
        .says([subject::ALL_NUDGES])
        .hears([subject::ALL_NUDGES])
}

fn executor() -> Permissions {
    role(Role::Executor)
        .says(["runs.*.resulted.>", object::ALL_CHUNKS, object::ALL_METAS])
        .reads(bucket::TOOLS)
        .writes(bucket::TOOLS)
        .looks(object::STREAM)
        .gets(object::STREAM)
        .follows(object::STREAM)
        // An upload that was given up is taken away again.
        .says([&*format!("$JS.API.STREAM.PURGE.{}", object::STREAM)])
        // A consumer for each tool: NATS has no pattern for the beginning of a name.
        .works(stream::RUNS, "*")
        .works_never(stream::RUNS, consumer::PLANNER)
}

/// What planners and executors have in common: to see that the streams are there, to read runs and definitions, to give up.
fn role(role: Role) -> Permissions {
    let looked_at = LOOKED_AT.into_iter();
    let may = looked_at.fold(Permissions::default(), Permissions::looks);
    may.says([
        "$JS.API.INFO",
        &*fleet::beats(role),
        &*format!("dead.{role}.>"),
    ])
    .gets(stream::RUNS)
    .reads(bucket::DEFINITIONS)
}

impl Permissions {
    fn says<const N: usize>(mut self, subjects: [&str; N]) -> Self {
        self.publish.extend(subjects.map(str::to_owned));
        self
    }

    fn never<const N: usize>(mut self, subjects: [&str; N]) -> Self {
        self.deny_publish.extend(subjects.map(str::to_owned));
        self
    }

    fn hears<const N: usize>(mut self, subjects: [&str; N]) -> Self {
        self.subscribe.extend(subjects.map(str::to_owned));
        self
    }

    /// That a stream is there, and how it stands.
    fn looks(self, stream: &str) -> Self {
        self.says([&*format!("$JS.API.STREAM.INFO.{stream}")])
    }

    /// Single messages of a stream.
    fn gets(self, stream: &str) -> Self {
        self.says([
            &*format!("$JS.API.DIRECT.GET.{stream}"),
            &*format!("$JS.API.DIRECT.GET.{stream}.>"),
            &*format!("$JS.API.STREAM.MSG.GET.{stream}"),
        ])
    }

    /// A stream in its order, by consumers that go with who made them.
    fn follows(self, stream: &str) -> Self {
        self.says([
            &*format!("$JS.API.CONSUMER.CREATE.{stream}"),
            &*format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
            &*format!("$JS.API.CONSUMER.DELETE.{stream}.>"),
            &*format!("$JS.API.CONSUMER.INFO.{stream}.>"),
            &*format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.>"),
            &*format!("$JS.FC.{stream}.>"),
        ])
    }

    /// A bucket, and what changes in it.
    fn reads(self, bucket: &str) -> Self {
        let stream = &*bucket::stream(bucket);
        self.looks(stream).gets(stream).follows(stream)
    }

    /// The keys of a bucket.
    fn writes(self, bucket: &str) -> Self {
        self.says([&*bucket::subjects(bucket)])
    }

    /// Work of a consumer: made where it is missing, pulled, settled.
    fn works(self, stream: &str, consumer: &str) -> Self {
        let all = work(stream, consumer);
        self.says(all.each_ref().map(String::as_str))
    }

    /// Not the work of this one.
    fn works_never(self, stream: &str, consumer: &str) -> Self {
        let all = work(stream, consumer);
        self.never(all.each_ref().map(String::as_str))
    }
}

fn work(stream: &str, consumer: &str) -> [String; 6] {
    [
        format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}.>"),
        format!("$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{consumer}"),
        format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
        format!("$JS.ACK.{stream}.{consumer}.>"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a pattern of NATS covers a subject.
    fn covers(pattern: &str, subject: &str) -> bool {
        let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
        loop {
            match (pattern.next(), subject.next()) {
                (None, None) => return true,
                (Some(">"), Some(_)) => return true,
                (Some(expected), Some(found)) if expected == "*" || expected == found => {}
                (_, _) => return false,
            }
        }
    }

    fn may_say(user: User, subject: &str) -> bool {
        let may = user.permissions();
        may.publish.iter().any(|pattern| covers(pattern, subject))
            && !may
                .deny_publish
                .iter()
                .any(|pattern| covers(pattern, subject))
    }

    #[test]
    fn each_role_writes_its_own_part_of_a_run_only() {
        for (kind, writers) in [
            ("started", [true, true, false]),
            ("decided", [false, true, false]),
            ("resulted", [false, false, true]),
            ("signalled", [true, true, false]),
            ("timer", [false, true, false]),
        ] {
            let subject = format!("runs.x.{kind}.t");
            let found =
                [User::Gateway, User::Planner, User::Executor].map(|user| may_say(user, &subject));
            assert_eq!(found, writers, "{subject}");
        }
    }

    #[test]
    fn what_only_gateways_use_is_nobody_elses() {
        for user in [User::Planner, User::Executor] {
            for subject in [
                "events.x",
                "cron.due.w",
                "$KV.DEFINITIONS.active.w",
                "$KV.TOKENS.x",
                "$JS.API.STREAM.INFO.KV_TOKENS",
                "$JS.API.DIRECT.GET.KV_TOKENS.$KV.TOKENS.x",
                "$JS.API.CONSUMER.CREATE.KV_TOKENS.c",
                "$JS.API.DIRECT.GET.AUDIT",
                "audit.x.y",
                "$JS.API.STREAM.CREATE.X",
                "$JS.API.STREAM.UPDATE.RUNS",
                "$JS.API.STREAM.DELETE.RUNS",
                "$JS.API.STREAM.PURGE.RUNS",
                "$JS.API.STREAM.MSG.DELETE.RUNS",
                "$JS.API.CONSUMER.DELETE.RUNS.planner",
                "$JS.API.CONSUMER.PAUSE.RUNS.planner",
            ] {
                assert!(!may_say(user, subject), "{user:?}: {subject}");
            }
        }
    }

    #[test]
    fn an_executor_has_no_part_in_the_planners_work() {
        for subject in work(stream::RUNS, consumer::PLANNER) {
            let subject = subject.replace('>', "x");
            assert!(may_say(User::Planner, &subject), "{subject}");
            assert!(!may_say(User::Executor, &subject), "{subject}");
        }
        for subject in work(stream::RUNS, "tool-x") {
            let subject = subject.replace('>', "x");
            assert!(may_say(User::Executor, &subject), "{subject}");
            assert!(!may_say(User::Planner, &subject), "{subject}");
        }
    }

    #[test]
    fn nobody_hears_the_answers_to_another() {
        for user in User::ALL.into_iter().filter(|user| *user != User::Operator) {
            for other in User::ALL {
                let theirs = inbox(other.name()) + ".x";
                let hears = user.permissions().subscribe;
                let heard = hears.iter().any(|pattern| covers(pattern, &theirs));
                assert_eq!(heard, user == other, "{user:?} and {other:?}");
            }
        }
    }
}
