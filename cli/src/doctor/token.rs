//! What is kept of the token that commands show: what it may, and until when.

use flotilla_common::{
    access::token::Token,
    io::{bus::Bus, tokens::Tokens},
};
use jiff::{SignedDuration, Timestamp};

use super::{finding::Finding, within};
use crate::settings::Settings;

const CHECK: &str = "token";
/// So long before its end people are told.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What there is to say of it, where NATS may be asked and there is one.
pub(super) async fn check(settings: &Settings, bus: &Bus, is_there: bool) -> Option<Finding> {
    // The gateway's check tells what is wrong with one that cannot be read.
    let secret = settings.token().ok().flatten()?;
    if !is_there {
        return None;
    }
    let kept = async {
        let tokens = Box::pin(Tokens::open(bus)).await.ok()?;
        Box::pin(tokens.list()).await.ok()
    };
    let known = within(Box::pin(kept)).await.ok().flatten()?;
    let now = Timestamp::now();
    Some(match known.of(&secret, now) {
        Some(token) => told(token, now),
        None => Finding::fail(
            CHECK,
            "the token of these settings is not one of this fleet's, or holds no more",
        )
        .todo("have one made: flotilla token create NAME --scope read"),
    })
}

fn told(token: &Token, now: Timestamp) -> Finding {
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
    let tenant = match &token.tenant {
        Some(tenant) => format!("tenant {tenant} alone"),
        None => "all tenants".to_owned(),
    };
    let scopes = scopes.join(", ");
    let says = format!("`{}` has the scopes {scopes}, for {tenant}", token.name);
    match token.expires_at {
        Some(end) if end.duration_since(now) < SOON => {
            Finding::warn(CHECK, format!("{says}, until {end}")).todo("have the next one made")
        }
        Some(end) => Finding::ok(CHECK, format!("{says}, until {end}")),
        None => Finding::ok(CHECK, says),
    }
}
