//! The executor's own promises, with a real nats-server, a real redis-server and a sink that counts effects. The planner's part,
//! decisions, is written by the tests.

mod breakers;
mod crashes;
mod forgetting;
mod moody;
mod outages;
mod rates;
mod reconciling;
mod results;
mod retries;
mod rollout;
mod stage;
