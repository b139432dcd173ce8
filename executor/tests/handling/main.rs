//! The executor's own promises, with a real nats-server, a real redis-server and a sink that counts effects. The planner's part,
//! decisions, is written by the tests.

mod crashes;
mod outages;
mod results;
mod rollout;
mod stage;
