//! What the end-to-end tests stand on: real nats-servers and redis-servers, the roles as real processes, and things
//! between and around them that can hold, cut, count and kill.
//!
//! Nothing here sleeps to be in step with something else: [`eventually`] waits for a condition, within a bound, and says
//! what it last saw. Nothing outlives the test process, however that dies: see [`Process`].
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on stops where it is"
)]

mod api;
mod binary;
mod ends;
mod fake_nats;
mod fleet;
mod journal;
mod keys;
mod load;
mod nats;
mod ports;
mod process;
mod programs;
mod proxy;
mod redis_server;
mod role;
mod server;
mod sim;
mod sink;
mod sse;
mod wait;
mod watchdog;
mod workflows;

pub use api::{Answer, Api, JournalLine, RunView, Submitted, Summary};
pub use binary::{Finished, flotilla, run_flotilla};
pub use fake_nats::FakeNats;
pub use fleet::{Builder, CLAUDE_KEY, Fleet};
pub use journal::{Entry, Journal};
pub use keys::Keys;
pub use load::{Gateway, Load};
pub use nats::Nats;
pub use ports::free_port;
pub use process::Process;
pub use programs::Programs;
pub use proxy::Proxy;
pub use redis_server::Redis;
pub use role::{Role, RoleOptions};
pub use server::program;
pub use sim::{Call, Sim};
pub use sink::{Effect, Sink};
pub use sse::{Event, Sse};
pub use wait::{PATIENCE, eventually, within};
pub use workflows::Workflows;
