//! Kills what this process leaves behind when it dies without a chance to clean up (SIGKILL, abort).
//!
//! One shell per test process reads a pipe that only this process can write to. It is told of every child that is born and
//! of every one that is gone; at the pipe's end, which comes when this process dies of whatever, it kills the rest.
//! Not `PR_SET_PDEATHSIG`: that fires when the *thread* that started the child ends, and threads of a runtime come and go.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

const SCRIPT: &str = r#"
trap '' HUP INT TERM
living=
while read -r what pid; do
    case $what in
    born) living="$living $pid" ;;
    gone)
        rest=
        for p in $living; do [ "$p" = "$pid" ] || rest="$rest $p"; done
        living=$rest
        ;;
    esac
done
[ -z "$living" ] || kill -9 $living 2>/dev/null
"#;

struct Watchdog {
    orders: Mutex<ChildStdin>,
    /// Kept, so that it is clear that nobody waits for it: it ends after this process does.
    _shell: Child,
}

fn watchdog() -> &'static Watchdog {
    static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();
    WATCHDOG.get_or_init(|| {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "flotilla-tests-watchdog"])
            .stdin(Stdio::piped())
            // Not this process's output: whoever reads that to its end must not wait for the watchdog.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start sh as the watchdog");
        let orders = shell.stdin.take().expect("its stdin is a pipe");
        Watchdog {
            orders: Mutex::new(orders),
            _shell: shell,
        }
    })
}

fn tell(what: &str, pid: u32) {
    let mut orders = watchdog()
        .orders
        .lock()
        .expect("nobody panics while writing an order");
    // One write, one line: shorter than a pipe's atomic size.
    orders
        .write_all(format!("{what} {pid}\n").as_bytes())
        .expect("the watchdog lives as long as this process");
}

/// From now on, this process's death is the child's.
pub(crate) fn born(pid: u32) {
    tell("born", pid);
}

/// The child is dead: its id may soon be somebody else's.
pub(crate) fn gone(pid: u32) {
    tell("gone", pid);
}
