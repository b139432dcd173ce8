//! The settings as variables.

use std::{ffi::OsString, path::PathBuf};

use super::{AuthKind, LogKind, Settings};

impl Settings {
    /// The settings as variables, for a process of ours that is to have the same ones.
    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        fn shown<T: std::fmt::Display>(value: Option<&T>) -> Option<OsString> {
            value.map(|value| value.to_string().into())
        }
        let path = |path: Option<&PathBuf>| path.map(|path| path.clone().into_os_string());
        let log = self.log.map(|log| match log {
            LogKind::Text => OsString::from("text"),
            LogKind::Json => OsString::from("json"),
        });
        let auth = self.auth.map(|auth| match auth {
            AuthKind::Tokens => OsString::from("tokens"),
            AuthKind::Off => OsString::from("off"),
        });
        let all = [
            ("FLOTILLA_CONFIG", path(self.config.as_ref())),
            ("FLOTILLA_NATS_URL", shown(self.nats_url.as_ref())),
            ("FLOTILLA_REDIS_URL", shown(self.redis_url.as_ref())),
            ("FLOTILLA_REPLICAS", shown(self.replicas.as_ref())),
            ("FLOTILLA_HTTP", shown(self.http.as_ref())),
            ("FLOTILLA_WORKFLOWS", path(self.workflows.as_ref())),
            ("FLOTILLA_DATA", path(self.data.as_ref())),
            ("FLOTILLA_MODELS", path(self.models.as_ref())),
            ("FLOTILLA_ACK_WAIT", shown(self.ack_wait.as_ref())),
            ("FLOTILLA_DRAIN", shown(self.drain.as_ref())),
            ("FLOTILLA_SLOTS", shown(self.slots.as_ref())),
            (
                "FLOTILLA_EVENT_BYTES_MAX",
                shown(self.event_bytes_max.map(|size| size.0).as_ref()),
            ),
            ("FLOTILLA_PENDING_MAX", shown(self.pending_max.as_ref())),
            ("FLOTILLA_BLOBS_KEEP", shown(self.blobs_keep.as_ref())),
            ("FLOTILLA_WATCHERS_MAX", shown(self.watchers_max.as_ref())),
            ("FLOTILLA_CALL_TIMEOUT", shown(self.call_timeout.as_ref())),
            ("FLOTILLA_CALL_PATIENCE", shown(self.call_patience.as_ref())),
            ("FLOTILLA_PARK_PAUSE", shown(self.park_pause.as_ref())),
            ("FLOTILLA_BATCH_LINGER", shown(self.batch_linger.as_ref())),
            ("FLOTILLA_BATCH_ITEMS", shown(self.batch_items.as_ref())),
            ("FLOTILLA_BATCH_LOOK", shown(self.batch_look.as_ref())),
            (
                "FLOTILLA_BATCH_CREATE_TIMEOUT",
                shown(self.batch_create_timeout.as_ref()),
            ),
            (
                "FLOTILLA_FIRST_BYTE_TIMEOUT",
                shown(self.first_byte_timeout.as_ref()),
            ),
            ("FLOTILLA_CLAUDE_STREAM", shown(self.claude_stream.as_ref())),
            ("FLOTILLA_CLAUDE_CACHE", shown(self.claude_cache.as_ref())),
            (
                "ANTHROPIC_BASE_URL",
                shown(self.anthropic_base_url.as_ref()),
            ),
            (
                "ANTHROPIC_API_KEY_FILE",
                path(self.anthropic_api_key_file.as_ref()),
            ),
            ("FLOTILLA_LOG", log),
            ("FLOTILLA_AUTH", auth),
            ("FLOTILLA_TLS_CERT", path(self.tls_cert.as_ref())),
            ("FLOTILLA_TLS_KEY", path(self.tls_key.as_ref())),
            ("FLOTILLA_CA", path(self.ca.as_ref())),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}
