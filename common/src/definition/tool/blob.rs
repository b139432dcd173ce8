//! What of a tool goes through the object store: answers and outputs that are kept there, and parameters that are fetched from it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::{Location, Spanned};

use super::{
    super::{problem::Report, schema::Schema},
    Adapter, Tool,
};
use crate::units::ByteSize;

/// What is kept where nothing is said of a limit.
const LIMIT: usize = 100 << 20;
/// The most that can be kept of one answer.
const LIMIT_MAX: usize = 1 << 30;
/// The word in a parameter's schema that says how its blob is given to a program.
pub(in crate::definition) const KEYWORD: &str = "x-blob";
/// The one way there is: as the path of a file.
const PATH: &str = "path";

/// `true` or `blob`, or up to how much.
#[derive(Debug)]
pub(super) enum KeepYaml {
    Flag(bool),
    Word,
    UpTo(LimitYaml),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitYaml {
    limit: Spanned<ByteSize>,
}

impl<'de> Deserialize<'de> for KeepYaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = KeepYaml;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`download: true`, `stdout: blob`, or `{limit: 100MiB}`")
            }
            fn visit_bool<E: Error>(self, on: bool) -> Result<KeepYaml, E> {
                Ok(KeepYaml::Flag(on))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<KeepYaml, E> {
                match text {
                    "blob" => Ok(KeepYaml::Word),
                    "true" => Ok(KeepYaml::Flag(true)),
                    "false" => Ok(KeepYaml::Flag(false)),
                    other => Err(E::custom(format!(
                        "`{other}` says nothing of what is kept: `download: true`, `stdout: blob`, or `{{limit: 100MiB}}`"
                    ))),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<KeepYaml, A::Error> {
                LimitYaml::deserialize(MapAccessDeserializer::new(map)).map(KeepYaml::UpTo)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl KeepYaml {
    /// Of `http`'s `download`: up to how many bytes of an answer are kept; `None`: it is read.
    pub(super) fn download(&self, report: &mut Report<'_>, place: Location) -> Option<u64> {
        match self {
            Self::Flag(true) => Some(LIMIT as u64),
            Self::Flag(false) => None,
            Self::UpTo(limit) => Some(limit.compile(report)),
            Self::Word => {
                let help = "write `download: true`, or `download: {limit: 100MiB}`";
                report.at(place, "`download` is no word", Some(help));
                None
            }
        }
    }

    /// Of a `command`'s `stdout`: up to how many bytes of it are kept.
    pub(super) fn stdout(&self, report: &mut Report<'_>, place: Location) -> Option<u64> {
        match self {
            Self::Word => Some(LIMIT as u64),
            Self::UpTo(limit) => Some(limit.compile(report)),
            Self::Flag(_) => {
                let help = "write `stdout: blob`, or `stdout: {limit: 100MiB}`";
                report.at(place, "`stdout` is neither true nor false", Some(help));
                None
            }
        }
    }
}

impl LimitYaml {
    fn compile(&self, report: &mut Report<'_>) -> u64 {
        let limit = self.limit.value.0;
        if !(1..=LIMIT_MAX).contains(&limit) {
            let message = "`limit` must be from 1B to 1GiB";
            report.at(self.limit.referenced, message, None);
        }
        limit as u64
    }
}

impl Schema {
    /// The parameters whose blob a program is given as the path of a file.
    pub fn blob_paths(&self) -> impl Iterator<Item = &str> {
        let properties = self.source().get("properties");
        let properties = properties.and_then(serde_json::Value::as_object);
        let all = properties.into_iter().flatten();
        all.filter(|(_, schema)| schema.get(KEYWORD).is_some())
            .map(|(name, _)| name.as_str())
    }
}

impl Tool {
    /// Whether it cannot be used without the object store.
    #[must_use]
    pub fn needs_blobs(&self) -> bool {
        let keeps = match &self.adapter {
            Adapter::Command { stdout, .. } => stdout.is_some(),
            Adapter::Http { options, .. } => {
                options.download.is_some() || options.body_from.is_some()
            }
            Adapter::Nats { .. } | Adapter::Mcp { .. } | Adapter::Builtin(_) => false,
        };
        keeps || self.input.blob_paths().next().is_some()
    }
}

/// Notes parameters that are to be given as something else than a file, or to something else than a program.
pub(super) fn check(
    report: &mut Report<'_>,
    place: Location,
    input: Option<&Schema>,
    is_command: bool,
) {
    let Some(input) = input else { return };
    for name in input.blob_paths() {
        if input.source()["properties"][name][KEYWORD] != PATH {
            let message = format!("`{KEYWORD}` of `{name}` can only be `{PATH}`");
            report.at(place, message, None);
        } else if !is_command {
            let message = format!("`{KEYWORD}` of `{name}` belongs to a `command`");
            let help = "an `http` tool sends a blob by its `body_from`";
            report.at(place, message, Some(help));
        }
    }
}
