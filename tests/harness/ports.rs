//! Ports for servers that must be told theirs.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that systems take outgoing ports from (32768 on, on Linux). A port from that range may be taken by any
/// connection while its server is down for a restart; and a client that keeps knocking on it in that time can even be
/// connected to itself, after which the server cannot bind it again.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A loopback port that nobody listens on now, and that this process has not handed out before. Another process may still
/// be quicker: what starts on one tries again with another.
///
/// # Panics
/// When none is free.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Two test processes at once begin at different places.
    let next = NEXT.get_or_init(|| AtomicU16::new(fastrand::u16(0..COUNT)));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!(
        "no loopback port is free between {FIRST} and {}",
        FIRST + COUNT
    );
}
