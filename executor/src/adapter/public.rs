//! Which addresses are public: the only ones that a parameter may lead to.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
};

use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// A host that a parameter may not choose.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{host}` is a private, local or reserved address; a parameter may lead to public hosts only. To allow it, write the host into the tool's definition"
)]
pub(super) struct NotPublic {
    host: String,
}

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Resolves names to their public addresses. The connection is made to exactly these, so a name that changes its address between
/// check and use gains nothing.
#[derive(Debug)]
pub(super) struct PublicOnly {
    lookup: fn(String) -> Found,
}

impl PublicOnly {
    /// By the system's resolver.
    pub(super) fn by_system() -> Self {
        Self {
            lookup: |host| {
                Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) })
            },
        }
    }
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let found = (self.lookup)(host.clone());
        Box::pin(async move {
            let found = found.await?;
            if found.is_empty() {
                let message = format!("`{host}` has no address");
                return Err(io::Error::new(io::ErrorKind::NotFound, message).into());
            }
            let public: Vec<_> = found.into_iter().filter(|at| is_public(at.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic { host }.into());
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

/// Checks a host that is an address itself: it is not resolved. So is `localhost`, and what is below it, by whatever the system
/// resolves them to. Every spelling of IPv4 (`0x7f.1`, `2130706433`) is in its
/// usual form after parsing.
///
/// # Errors
/// It is not public.
pub(super) fn check_literal(url: &Url) -> Result<(), NotPublic> {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_private = match bare.parse::<IpAddr>() {
        Ok(ip) => !is_public(ip),
        Err(_) => is_localhost(bare),
    };
    if is_private {
        let host = host.to_owned();
        return Err(NotPublic { host });
    }
    Ok(())
}

/// Names that mean this very machine (RFC 6761), as a URL's parser writes them: in lower case.
fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host == "localhost" || host.ends_with(".localhost")
}

/// Whether an address is one of the public internet, by the registries of special-purpose addresses of IANA.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let special = match ip.octets() {
        // "This network", private, loopback, link-local, private, private.
        [0 | 10 | 127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] => true,
        // Carrier-grade NAT.
        [100, 64..=127, ..] => true,
        // Protocol assignments, documentation, 6to4 relays, benchmarking.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => true,
        [198, 18 | 19, ..] => true,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => true,
        _ => false,
    };
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        // Protocol assignments (Teredo among them), documentation, 6to4 (which wraps any IPv4 address).
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] => false,
        [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast; so not: loopback, wrapped IPv4, unique local, link-local, multicast.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() -> Result<(), std::net::AddrParseError> {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(private.parse()?), "{private}");
        }
        for public in [
            "8.8.8.8",
            "172.32.0.1",
            "192.0.1.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(public.parse()?), "{public}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_name_that_changes_its_address_after_the_check_gains_nothing()
    -> Result<(), Box<dyn std::error::Error>> {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        // Public when it is checked, and loopback from then on.
        let resolver = PublicOnly {
            lookup: |_| {
                let first = ASKED.fetch_add(1, Ordering::Relaxed) == 0;
                let address = if first { [8, 8, 8, 8] } else { [127, 0, 0, 1] };
                let mixed = [
                    SocketAddr::from((address, 0)),
                    SocketAddr::from(([10, 0, 0, 1], 0)),
                ];
                Box::pin(async move { Ok(mixed.to_vec()) })
            },
        };
        let resolved = resolver.resolve("rebind.example".parse()?).await;
        let resolved: Vec<_> = resolved.map_err(|e| e.to_string())?.collect();
        // What is connected to is what was checked, and nothing is asked in between.
        assert_eq!(resolved, [SocketAddr::from(([8, 8, 8, 8], 0))]);
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
        let again = resolver.resolve("rebind.example".parse()?).await;
        assert!(again.is_err_and(|error| error.is::<NotPublic>()));
        Ok(())
    }

    #[test]
    fn no_spelling_of_a_local_address_passes() {
        for bad in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://127.1/",
        ] {
            assert!(
                Url::parse(bad).is_ok_and(|url| check_literal(&url).is_err()),
                "{bad}"
            );
        }
        assert!(Url::parse("http://8.8.8.8/").is_ok_and(|url| check_literal(&url).is_ok()));
    }
}
