//! What of the settings is about Claude.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::bail;
use flotilla_common::units::Span;
use flotilla_planner::{BatchConfig, ClaudeConfig, Key};

use super::{Settings, read_secret, secret};

const PARK_PAUSE: Duration = Duration::from_secs(30);
const BASE_URL: &str = "https://api.anthropic.com";

impl Settings {
    /// Takes the simulated Claude, where one is named and there is no key.
    pub(super) fn simulate(&mut self) -> anyhow::Result<()> {
        let Some(url) = self.sim_url.clone() else {
            return Ok(());
        };
        // Where a file is expected and there may be no key, as in a compose file, there is an empty one.
        let empty = |file: &PathBuf| fs::metadata(file).is_ok_and(|file| file.len() == 0);
        self.anthropic_api_key_file.take_if(|file| empty(file));
        if self.api_key()?.is_none() && self.auth_token().is_none() {
            self.simulated = true;
            self.anthropic_base_url = Some(url);
        }
        Ok(())
    }

    /// How Claude is called; what is not set here is as its client has it.
    ///
    /// # Errors
    /// No key, or a key file that cannot be read.
    pub(crate) fn claude(&self) -> anyhow::Result<ClaudeConfig> {
        let (key, auth_token) = (self.api_key()?, self.auth_token());
        if key.is_none() && auth_token.is_none() {
            bail!(
                "no Claude key: set ANTHROPIC_API_KEY (or ANTHROPIC_API_KEY_FILE, or ANTHROPIC_AUTH_TOKEN); to try without one, `flotilla up` starts a simulated Claude"
            );
        }
        let plain = ClaudeConfig::new(self.base_url());
        let span = |given: Option<Span>, plain| given.map_or(plain, |span| span.0);
        Ok(ClaudeConfig {
            key,
            auth_token,
            stream: self.claude_stream.unwrap_or(plain.stream),
            cache: self.claude_cache.unwrap_or(plain.cache),
            first_byte_timeout: span(self.first_byte_timeout, plain.first_byte_timeout),
            call_timeout: span(self.call_timeout, plain.call_timeout),
            patience: span(self.call_patience, plain.patience),
            ..plain
        })
    }

    pub(crate) fn park_pause(&self) -> Duration {
        self.park_pause.map_or(PARK_PAUSE, |span| span.0)
    }

    /// How batches are made and looked at.
    pub(crate) fn batch(&self) -> BatchConfig {
        let plain = BatchConfig::default();
        let span = |given: Option<Span>, plain| given.map_or(plain, |span| span.0);
        BatchConfig {
            linger: span(self.batch_linger, plain.linger),
            items_max: self.batch_items.unwrap_or(plain.items_max),
            first_look: span(self.batch_look, plain.first_look),
            create_timeout: span(self.batch_create_timeout, plain.create_timeout),
            ..plain
        }
    }

    pub(crate) fn base_url(&self) -> &str {
        self.anthropic_base_url.as_deref().unwrap_or(BASE_URL)
    }

    /// The Claude key, from the environment or the file it names; `None` when there is none.
    ///
    /// # Errors
    /// A key file that cannot be read.
    pub(crate) fn api_key(&self) -> anyhow::Result<Option<Key>> {
        if self.simulated {
            return Ok(Some(Key::new("simulated".into())));
        }
        let key = match (secret("ANTHROPIC_API_KEY"), &self.anthropic_api_key_file) {
            (Some(key), _) => Some(key),
            (None, Some(file)) => Some(read_secret(file)?),
            (None, None) => None,
        };
        Ok(key.map(Key::new))
    }

    /// The token for a gateway in front of Claude, from the environment; `None` when there is none, or Claude is simulated.
    pub(crate) fn auth_token(&self) -> Option<Key> {
        let token = secret("ANTHROPIC_AUTH_TOKEN").filter(|_| !self.simulated);
        token.map(Key::new)
    }
}
