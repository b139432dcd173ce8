//! Who may do what: tokens, scopes and tenants, over the gateway's HTTP.

mod audit;
mod live;
mod scopes;
mod start;
mod tenants;
mod tls;

use flotilla_tests::{Builder, Fleet, PATIENCE, Workflows};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Method, Response};
use serde_json::Value;
use sha2::Sha256;

/// The smallest workflow.
pub(crate) const WORKFLOW: &str = "
workflow: small
version: 1
on: {event: test.small}
steps:
  - {id: say, claude: {model: haiku, prompt: Say something.}}
";

/// Somebody with a token.
pub(crate) struct Asker {
    base: String,
    token: String,
    client: Client,
}

impl Asker {
    pub(crate) fn new(base: &str, token: &str) -> Self {
        Self {
            base: base.to_owned(),
            token: token.to_owned(),
            client: Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()
                .unwrap(),
        }
    }

    /// Asks, with a body of JSON unless it is null.
    async fn request(&self, method: Method, path: &str, body: &Value) -> Response {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let request = request.bearer_auth(&self.token);
        let request = if body.is_null() {
            request
        } else {
            request.json(body)
        };
        request.send().await.unwrap()
    }

    /// The status of the answer, and what it says.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.request(method, path, body).await;
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// Has a token made.
    pub(crate) async fn make(&self, wanted: &Value) -> String {
        let (status, made) = self.send(Method::POST, "/v1/tokens", wanted).await;
        assert_eq!(status, 201, "{made}");
        made["token"].as_str().unwrap().to_owned()
    }
}

/// A fleet whose gateways ask for tokens.
pub(crate) fn asking() -> Builder {
    Fleet::builder()
        .workflows(Workflows::files(&[("small.yaml", WORKFLOW)]))
        .env("FLOTILLA_AUTH", "tokens")
}

/// What a page of this token's session has in its forms.
fn csrf_of(token: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(token.as_bytes()).unwrap();
    let made = mac.chain_update("flotilla csrf 1").finalize().into_bytes();
    made.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The token that the fleet's first gateway has shown.
pub(crate) fn first_token(fleet: &Fleet) -> String {
    token_in(&std::fs::read_to_string(fleet.folder().join("gateway.log")).unwrap())
}

/// The token that a log shows.
fn token_in(log: &str) -> String {
    let at = log.find("flt_").expect("the first gateway shows a token");
    log[at..].split_whitespace().next().unwrap().to_owned()
}
