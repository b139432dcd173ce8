//! The messages of the Model Context Protocol that a client of tools needs: JSON-RPC 2.0, one message each.

use serde_json::{Value, json};

/// The version that we ask for. A server that speaks another one answers with that.
pub(super) const VERSION: &str = "2025-06-18";
/// The versions whose `initialize`, `tools/list` and `tools/call` are the same to us.
pub(super) const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
/// Longest message of a server, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The server's parameters were wrong, by JSON-RPC.
pub(super) const INVALID_PARAMS: i64 = -32602;
/// There is no such method, by JSON-RPC.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;

/// What a server says of a request that it does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
}

/// A message of a server.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    /// The answer to one of our requests.
    Response {
        id: u64,
        answer: Result<Value, RpcError>,
    },
    /// It asks us something.
    Request { id: Value, method: String },
    /// It tells us something.
    Notification { method: String },
}

pub(super) fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

pub(super) fn notification(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// What we say to what a server asks: that we are there, and else that we do not serve it.
pub(super) fn answer(id: &Value, method: &str) -> Value {
    if method == "ping" {
        return json!({"jsonrpc": "2.0", "id": id, "result": {}});
    }
    let error =
        json!({"code": METHOD_NOT_FOUND, "message": "this client calls tools and serves nothing"});
    json!({"jsonrpc": "2.0", "id": id, "error": error})
}

/// Reads a message; `None` for what is none: some servers print other things, too.
pub(super) fn read(bytes: &[u8]) -> Option<Incoming> {
    let mut message: Value = serde_json::from_slice(bytes).ok()?;
    let method = message["method"].as_str().map(str::to_owned);
    let id = message.get("id").filter(|id| !id.is_null()).cloned();
    match (method, id) {
        (Some(method), Some(id)) => Some(Incoming::Request { id, method }),
        (Some(method), None) => Some(Incoming::Notification { method }),
        (None, Some(id)) => {
            let id = id.as_u64()?;
            let answer = match message.get("error") {
                Some(error) => Err(RpcError {
                    code: error["code"].as_i64().unwrap_or_default(),
                    message: error["message"].as_str().unwrap_or_default().to_owned(),
                }),
                None => Ok(message.get_mut("result")?.take()),
            };
            Some(Incoming::Response { id, answer })
        }
        (None, None) => None,
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It did not reach the server.
    NotSent(String),
    /// The server has forgotten our session; it did nothing.
    Expired,
    /// It was sent, and then the connection broke, or what came back was no answer.
    Lost(String),
    /// The server refused it.
    Refused(RpcError),
    /// By its HTTP status, the server refused it before it was read as a message.
    Status(u16, String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSent(why) | Self::Lost(why) => f.write_str(why),
            Self::Expired => f.write_str("it has forgotten our session"),
            Self::Refused(error) => write!(f, "error {}: {}", error.code, error.message),
            Self::Status(status, said) => write!(f, "it answered with status {status}: {said}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_send_is_told_apart() {
        let read = |text: &str| read(text.as_bytes());
        assert_eq!(read("starting up…"), None);
        assert_eq!(read(r#"{"jsonrpc":"2.0"}"#), None);
        let told = Incoming::Notification {
            method: "notifications/tools/list_changed".into(),
        };
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#),
            Some(told)
        );
        let asked = Incoming::Request {
            id: json!("a"),
            method: "ping".into(),
        };
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#),
            Some(asked)
        );
        let answered = Incoming::Response {
            id: 7,
            answer: Ok(json!({"x": 1})),
        };
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","id":7,"result":{"x":1}}"#),
            Some(answered)
        );
        let refused = RpcError {
            code: -32602,
            message: "no".into(),
        };
        let refused = Incoming::Response {
            id: 7,
            answer: Err(refused),
        };
        assert_eq!(
            read(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no"}}"#),
            Some(refused)
        );
    }
}
