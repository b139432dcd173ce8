//! Definitions in a bucket: applied, activated, rolled back, rolled out and switched off on a running fleet.

mod bucket;
mod changes;
mod clock;
mod fleet;
mod switches;
mod versions;
