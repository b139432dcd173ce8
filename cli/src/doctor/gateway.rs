//! The gateway: whether it is there and ready, and takes the token.

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use reqwest::{Response, header::DATE};
use serde_json::Value;

use super::{
    LIMIT,
    clock::{Told, judge},
    finding::Finding,
    within,
};
use crate::{
    client::{Client, Refused},
    exit::Exit,
    settings::Settings,
};

const CHECK: &str = "gateway";

/// Everything there is to say of it.
pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    let url = settings.url();
    let (ready, token) = tokio::join!(within(ready(settings, &url)), within(token(settings)));
    let (mut findings, reached) = match ready {
        Ok(Ok((answer, clock))) => {
            let is_ready = answer.status().is_success();
            let mut findings = vec![if is_ready {
                Finding::ok(CHECK, format!("{url} is ready"))
            } else {
                let status = answer.status();
                let text = answer.text().await.unwrap_or_default();
                let detail: Value = serde_json::from_str(&text).unwrap_or_default();
                let why = detail["detail"].as_str().unwrap_or("it does not say why");
                Finding::fail(CHECK, format!("{url} is not ready ({status}): {why}"))
            }];
            findings.extend(clock.map(|told| judge("the gateway", told)));
            (findings, true)
        }
        Ok(Err(error)) => (vec![away(&url, &error.root_cause().to_string())], false),
        Err(silent) => (vec![away(&url, &silent)], false),
    };
    if reached {
        findings.push(match token {
            Ok(found) => found,
            Err(silent) => Finding::fail("token", silent),
        });
    }
    findings
}

fn away(url: &str, why: &str) -> Finding {
    Finding::fail(CHECK, format!("nothing answers at {url}: {why}")).todo(
        "start one (`flotilla up`, `flotilla gateway`), or say where it is: --url, FLOTILLA_URL",
    )
}

/// Whether it can do its work, and what time it is there.
async fn ready(settings: &Settings, url: &str) -> anyhow::Result<(Response, Option<Told>)> {
    let client = reqwest::Client::builder()
        .tls_certs_merge(settings.roots()?)
        .timeout(LIMIT)
        .build()?;
    let before = Timestamp::now();
    let answer = client.get(format!("{}/readyz", url.trim_end_matches('/')));
    let answer = answer.send().await?;
    let after = Timestamp::now();
    let date = answer
        .headers()
        .get(DATE)
        .and_then(|date| date.to_str().ok());
    let theirs = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
    let clock = theirs.map(|theirs| Told {
        before,
        theirs,
        after,
        coarse: SignedDuration::from_secs(1),
    });
    Ok((answer, clock))
}

/// Whether a question is answered that needs the scope `read`.
async fn token(settings: &Settings) -> Finding {
    let check = "token";
    let given = settings.token().map(|token| token.is_some());
    let asked = async {
        let client = Client::of(settings)?;
        client.runs("limit=1").await
    };
    let given = match given {
        Ok(given) => given,
        Err(error) => return Finding::fail(check, crate::in_full(&error)),
    };
    match asked.await {
        Ok(_) if given => Finding::ok(check, "the gateway takes it, for reading at least"),
        Ok(_) => Finding::ok(check, "the gateway asks for none"),
        Err(error) => unread(&error),
    }
}

/// Why a run could not be read.
fn unread(error: &anyhow::Error) -> Finding {
    let check = "token";
    let says = crate::in_full(error);
    let refused = error.downcast_ref::<Refused>();
    let no_answer = format!("the gateway was asked for a run, and did not answer: {says}");
    match Exit::of(error) {
        Exit::Refused if refused.is_some_and(Refused::is_forbidden) => Finding::warn(check, says)
            .todo("nothing, where it is for sending events alone; else have another made: flotilla token create NAME --scope read"),
        Exit::Refused => Finding::fail(check, says)
            .todo("have one made: flotilla token create NAME --scope read; --direct where no token is left"),
        Exit::Done | Exit::NotDone | Exit::Usage | Exit::NotFound | Exit::Unreachable | Exit::Incomplete => {
            if refused.is_some_and(Refused::is_failure) {
                Finding::fail(CHECK, no_answer)
                    .todo("look at its log, and at what this says of NATS and Redis")
            } else {
                Finding::warn(check, no_answer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::{super::finding::Verdict, *};

    #[test]
    fn a_gateway_that_fails_at_a_read_is_a_failure() {
        for (status, check, verdict) in [
            (500, "gateway", Verdict::Fail),
            (503, "gateway", Verdict::Fail),
            (401, "token", Verdict::Fail),
            (403, "token", Verdict::Warn),
            (429, "token", Verdict::Warn),
            (404, "token", Verdict::Warn),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let found = unread(&Refused::answered(status).into());
            assert_eq!((found.check, found.verdict), (check, verdict), "{status}");
        }
    }
}
