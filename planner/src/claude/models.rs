//! Which models Claude's server knows: a question that costs nothing.

use std::{collections::BTreeSet, time::Duration};

use reqwest::{Response, StatusCode};
use serde::Deserialize;

use super::{
    Claude,
    answer::{ERROR_BYTES_MAX, refusal},
};

/// Models in one answer: all that a page can have, and more than there are.
const PAGE: usize = 1_000;
/// Characters that are told of what a server says.
const SAYS_MAX: usize = 300;
/// Claude is asked too much by everybody.
const OVERLOADED: u16 = 529;

/// Why the list is not known.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    /// The server does not answer.
    #[error("{url} does not answer: {problem}")]
    Away {
        /// What was asked.
        url: String,
        /// Why.
        problem: String,
    },
    /// It does not take the key.
    #[error("the server at {url} does not take the key: {status}")]
    Key {
        /// What was asked.
        url: String,
        /// What it answered.
        status: StatusCode,
    },
    /// It answers that it cannot, or will not.
    #[error("the server at {url} answers, but not as it should: {problem}")]
    Failing {
        /// What was asked.
        url: String,
        /// What it said.
        problem: String,
        /// Whether it is asked too much, by us or by everybody.
        busy: bool,
    },
    /// It has no such list: one that stands in front of Claude need not.
    #[error("the server at {url} does not say which models it knows: {problem}")]
    Unlisted {
        /// What was asked.
        url: String,
        /// What it answered.
        problem: String,
    },
}

#[derive(Debug, Deserialize)]
struct Page {
    data: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
}

impl Claude {
    /// The ids of the models that the server lists (`GET /v1/models`), within `limit`.
    ///
    /// # Errors
    /// [`ModelsError`].
    pub async fn models(&self, limit: Duration) -> Result<BTreeSet<String>, ModelsError> {
        let base = self.config.base_url.trim_end_matches('/');
        let url = format!("{base}/v1/models?limit={PAGE}");
        let away = |error: reqwest::Error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            ModelsError::Away {
                url: url.clone(),
                problem: cause.to_string(),
            }
        };
        let client = self.clients.first();
        let request = client.map(|client| client.get(&url).timeout(limit).send());
        let Some(request) = request else {
            let problem = "there is no client".to_owned();
            return Err(ModelsError::Away { url, problem });
        };
        let answer = request.await.map_err(away)?;
        let status = answer.status();
        if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status) {
            return Err(ModelsError::Key { url, status });
        }
        if [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&status) {
            let problem = status.to_string();
            return Err(ModelsError::Unlisted { url, problem });
        }
        if !status.is_success() {
            return Err(failing(url, answer).await);
        }
        let body = answer.bytes().await.map_err(away)?;
        let page: Page = serde_json::from_slice(&body).map_err(|error| ModelsError::Unlisted {
            url: url.clone(),
            problem: format!("not a list of models: {error}"),
        })?;
        Ok(page.data.into_iter().map(|model| model.id).collect())
    }
}

async fn failing(url: String, mut answer: Response) -> ModelsError {
    let status = answer.status();
    let mut body = Vec::new();
    while body.len() < ERROR_BYTES_MAX
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    let says = refusal(status, answer.headers(), &body).why;
    let says = says.trim_end_matches([':', ' ']);
    ModelsError::Failing {
        url,
        problem: says.chars().take(SAYS_MAX).collect(),
        busy: status == StatusCode::TOO_MANY_REQUESTS || status.as_u16() == OVERLOADED,
    }
}
