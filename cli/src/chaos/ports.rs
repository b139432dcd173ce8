//! Ports of servers that are killed and start again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context as _;

/// Below the range that Linux takes outgoing ports from (32768 on): such a port may be some connection's while its server is down. A
/// client that knocks on it then, as every proxy does, can even be connected to itself, and the server never binds it again.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// So many different loopback ports that nobody listens on now.
pub(super) fn free(count: usize) -> anyhow::Result<Vec<SocketAddr>> {
    // Two kits at once begin at different places.
    let begin = fastrand::u16(0..COUNT);
    let all = (0..COUNT).map(|step| FIRST + (begin + step) % COUNT);
    let free = all.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    let found: Vec<SocketAddr> = free
        .take(count)
        .map(|port| (Ipv4Addr::LOCALHOST, port).into())
        .collect();
    (found.len() == count)
        .then_some(found)
        .with_context(|| format!("no {count} ports are free from {FIRST} on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_different_and_no_outgoing_ones() {
        let found = free(8).unwrap();
        let distinct: std::collections::BTreeSet<u16> =
            found.iter().map(SocketAddr::port).collect();
        assert_eq!(distinct.len(), 8);
        assert!(
            distinct
                .iter()
                .all(|port| (FIRST..FIRST + COUNT).contains(port))
        );
        let taken = TcpListener::bind(found[0]).unwrap();
        assert!(
            !free(usize::from(COUNT) / 2)
                .unwrap()
                .contains(&taken.local_addr().unwrap())
        );
    }
}
