//! Named points of the order of writes at which a process can be made to die as by `kill -9`: for tests of what that costs. Only in
//! builds with debug assertions; in a release build the points are nothing.

/// Dies here if `FLOTILLA_KILL_AT` says so: `reply_saved:7` dies at the seventh time that this process passes that point.
#[cfg(debug_assertions)]
pub fn pass(point: &'static str) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    static WHERE: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WHERE.get_or_init(|| {
        let text = std::env::var("FLOTILLA_KILL_AT").ok()?;
        let (point, times) = text.split_once(':')?;
        Some((point.to_owned(), times.parse().ok()?))
    });
    if let Some((wanted, times)) = wanted
        && wanted == point
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *times
    {
        let killed =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        tracing::error!(?killed, point, "still alive after a kill");
    }
}

/// Dies here if a test says so; not in this build.
#[cfg(not(debug_assertions))]
pub fn pass(_point: &'static str) {}
