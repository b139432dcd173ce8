//! The tokens that a request can show.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, header};
use flotilla_common::{
    access::{
        Caller,
        token::{Secret, Token, TokenId},
    },
    io::{
        clock,
        tokens::{Known, Tokens},
    },
};
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tracing::debug;

use super::COOKIE;

/// How long an answer waits until its own gateway goes by what was changed: its watch tells within milliseconds.
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

/// How long, at most, until a token that holds is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);

/// Tokens that this gateway does not know, which it asks NATS for at once; whoever guesses tokens gets no more work out of it.
const ASKED_MAX: usize = 4;

/// How long it waits for that answer.
const ASKED_WITHIN: Duration = Duration::from_secs(1);

/// All tokens, as this gateway knows them now.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    known: watch::Receiver<Arc<Known>>,
    /// Where they are made and revoked.
    pub(super) tokens: Tokens,
    asking: Arc<Semaphore>,
}

impl Keys {
    pub(crate) fn new(known: watch::Receiver<Arc<Known>>, tokens: Tokens) -> Self {
        Self {
            known,
            tokens,
            asking: Arc::new(Semaphore::new(ASKED_MAX)),
        }
    }

    /// Whoever shows this secret; `None`: no token that holds.
    pub(crate) async fn caller(&self, secret: &str) -> Option<Caller> {
        let token = self.token(secret).await;
        token.map(|token| token.caller())
    }

    /// Waits until this gateway goes by a token as it was changed, or a little while.
    pub(super) async fn settled(&self, token: &Token) {
        let mut known = self.known.clone();
        let is_known = known.wait_for(|known| known.tokens.get(&token.id()) == Some(token));
        if timeout(SETTLED_WITHIN, is_known).await.is_err() {
            debug!("this gateway does not know yet that a token was changed");
        }
    }

    /// Waits until a token does not hold any more: it was revoked, or its time is over.
    pub(super) async fn gone(&self, id: &TokenId) {
        let mut known = self.known.clone();
        loop {
            let now = clock::now();
            let holds = |token: &&Token| token.holds(now);
            let token = known
                .borrow_and_update()
                .tokens
                .get(id)
                .filter(holds)
                .cloned();
            let Some(token) = token else {
                return;
            };
            let left = token.expires_at.map(|until| until.duration_since(now));
            let left = left.map_or(LOOK_AGAIN, |left| left.try_into().unwrap_or_default());
            // Nobody tells any more what changes: the gateway stops.
            if let Ok(Err(_)) = timeout(left.min(LOOK_AGAIN), known.changed()).await {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The token of this secret, if it holds.
    pub(super) async fn token(&self, secret: &str) -> Option<Token> {
        let secret: Secret = secret.parse().ok()?;
        let id = secret.id();
        let is_known = self.known.borrow().knows(&id);
        if !is_known {
            Box::pin(self.made_elsewhere(&id)).await;
        }
        let known = Arc::clone(&self.known.borrow());
        known.of(&secret, clock::now()).cloned()
    }

    /// Waits for a token that was made by another gateway, or straight on NATS, a moment ago: who makes one may use it at once,
    /// wherever.
    async fn made_elsewhere(&self, id: &TokenId) {
        let Ok(_turn) = self.asking.try_acquire() else {
            return;
        };
        if let Ok(Ok(Some(token))) = timeout(ASKED_WITHIN, self.tokens.get(id)).await {
            self.settled(&token).await;
        }
    }
}

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown<'r> {
    pub(super) secret: &'r str,
    pub(super) by_cookie: bool,
}

/// The token in `Authorization`, else in the cookie. Whoever sends both means the first one.
pub(super) fn shown(headers: &HeaderMap) -> Option<Shown<'_>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        let secret = cookie(headers)?;
        return Some(Shown {
            secret,
            by_cookie: true,
        });
    };
    let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
    let secret = secret.trim();
    scheme.eq_ignore_ascii_case("bearer").then_some(Shown {
        secret,
        by_cookie: false,
    })
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter();
    let pairs = all.filter_map(|value| value.to_str().ok());
    let pairs = pairs.flat_map(|value| value.split(';'));
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == COOKIE).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_token_is_found_where_it_is_shown_and_nowhere_else() {
        let bearer = |text| (header::AUTHORIZATION, text);
        let cookie = |text| (header::COOKIE, text);
        for (sent, found) in [
            (vec![], None),
            (vec![bearer("Bearer a")], Some(("a", false))),
            (vec![bearer("bearer  a ")], Some(("a", false))),
            (vec![bearer("Basic a")], None),
            (vec![bearer("a")], None),
            (
                vec![cookie("x=1; flotilla_token=a; y=2")],
                Some(("a", true)),
            ),
            (vec![cookie("not_flotilla_token=a")], None),
            (
                vec![bearer("Bearer a"), cookie("flotilla_token=b")],
                Some(("a", false)),
            ),
            (vec![bearer("Basic a"), cookie("flotilla_token=b")], None),
        ] {
            let headers = headers(&sent);
            let shown = shown(&headers).map(|shown| (shown.secret, shown.by_cookie));
            assert_eq!(shown, found, "{sent:?}");
        }
    }
}
