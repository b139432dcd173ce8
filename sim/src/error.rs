//! Errors as the Messages API shapes them.

use serde_json::{Value, json};

/// An answer other than a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    /// HTTP status, 400 to 599.
    pub(crate) status: u16,
    /// `error.type`, such as `rate_limit_error`.
    pub(crate) kind: String,
    /// `error.message`.
    pub(crate) message: String,
    /// `error.details`, such as `{"error_code": "enforced_spend_limit_reached"}`.
    pub(crate) details: Option<Box<Value>>,
    /// The `retry-after` header, in seconds.
    pub(crate) retry_after: Option<f64>,
    /// The `retry-after-ms` header.
    pub(crate) retry_after_ms: Option<u64>,
    /// The `x-should-retry` header.
    pub(crate) should_retry: Option<bool>,
    /// Sent in place of the JSON body: what a proxy between the client and the API answers.
    pub(crate) raw: Option<Box<RawBody>>,
}

/// A body that is not the API's own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RawBody {
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl ApiError {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: kind_of(status).to_owned(),
            message: message.into(),
            details: None,
            retry_after: None,
            retry_after_ms: None,
            should_retry: None,
            raw: None,
        }
    }

    /// 400: the request is wrong, and sending it again will not help.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// The JSON body, with the id that is also in the `request-id` header.
    pub(crate) fn body(&self, request_id: &str) -> String {
        self.json(request_id).to_string()
    }

    /// The same, not yet written.
    pub(crate) fn json(&self, request_id: &str) -> Value {
        let mut error = json!({"type": self.kind, "message": self.message});
        if let Some(details) = &self.details {
            error["details"] = (**details).clone();
        }
        json!({"type": "error", "error": error, "request_id": request_id})
    }

    /// Its headers besides `request-id` and `content-type`.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(seconds) = self.retry_after {
            headers.push(("retry-after", seconds.to_string()));
        }
        if let Some(ms) = self.retry_after_ms {
            headers.push(("retry-after-ms", ms.to_string()));
        }
        if let Some(retry) = self.should_retry {
            headers.push(("x-should-retry", retry.to_string()));
        }
        headers
    }
}

/// The `error.type` that goes with a status.
pub(crate) fn kind_of(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_three_parts_of_the_real_shape() {
        let body = ApiError::new(529, "Overloaded").body("req_1");
        assert_eq!(
            body,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#
        );
    }
}
