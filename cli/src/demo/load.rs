//! Customers: real orders over HTTP, until the service cannot take any more.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::{
    probe,
    service::{Item, Order},
};

/// How many customers order at the same time.
const CUSTOMERS: u64 = 8;

/// What it took to make the service sick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// Orders that were accepted.
    pub orders: u64,
    /// How long it took.
    pub took: Duration,
}

/// Sends orders to the service on `http` until `/healthz` answers 503.
///
/// # Errors
/// When it is still well after `patience`, or does not answer.
pub async fn fill(http: SocketAddr, patience: Duration) -> anyhow::Result<Filled> {
    let begun = Instant::now();
    let client = probe::client()?;
    let accepted = AtomicU64::new(0);
    let customers =
        (0..CUSTOMERS).map(|customer| order_until_refused(&client, http, customer, &accepted));
    timeout(patience, try_join_all(customers))
        .await
        .with_context(|| format!("{http} still takes orders after {patience:?}"))??;
    probe::until(http, 503, Duration::from_secs(2)).await?;
    Ok(Filled {
        orders: accepted.into_inner(),
        took: begun.elapsed(),
    })
}

async fn order_until_refused(
    client: &reqwest::Client,
    http: SocketAddr,
    customer: u64,
    accepted: &AtomicU64,
) -> anyhow::Result<()> {
    for n in 0_u64.. {
        let answer = client
            .post(format!("http://{http}/orders"))
            .json(&order(customer, n))
            .send()
            .await?;
        match answer.status().as_u16() {
            201 => accepted.fetch_add(1, Ordering::Relaxed),
            503 => return Ok(()),
            other => anyhow::bail!("{http}/orders answers {other}: {}", answer.text().await?),
        };
        // Read to its end, so that the connection is used again.
        answer.bytes().await?;
    }
    Ok(())
}

/// The order number `n` of a customer: a dozen different articles, about 1 KiB of JSON.
fn order(customer: u64, n: u64) -> Order {
    const ARTICLES: [&str; 6] = [
        "espresso beans 1 kg",
        "filter paper 100 pc",
        "milk jug 350 ml",
        "burr grinder",
        "descaler 250 ml",
        "cup and saucer",
    ];
    let item = |i: u64| Item {
        sku: format!(
            "SKU-{:05}",
            (customer * 7_919 + n * 31 + i * 104_729) % 100_000
        ),
        name: ARTICLES[((n + i) % 6) as usize].to_owned(),
        quantity: 1 + ((n + i) % 4) as u32,
        price_cents: 390 + ((n * 37 + i * 211) % 9_000) as u32,
    };
    Order {
        customer: format!("customer-{customer:04}"),
        address: format!(
            "{} Harbour Road, 2730{} Bremerhaven",
            1 + n % 180,
            customer % 10
        ),
        items: (0..12).map(item).collect(),
    }
}
