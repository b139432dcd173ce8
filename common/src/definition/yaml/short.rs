//! Values that can be written in a short and in a long form.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;

use crate::entry::Outcome;

/// How a run ends: `completed`, or `{outcome: failed, reason: …}`.
#[derive(Debug)]
pub(in crate::definition) enum EndYaml {
    /// An outcome, if it is one: that is told where it stands.
    Short(String),
    Long(LongEnd),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::definition) struct LongEnd {
    pub(in crate::definition) outcome: Outcome,
    #[serde(default)]
    pub(in crate::definition) reason: Option<Spanned<String>>,
}

impl<'de> Deserialize<'de> for EndYaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = EndYaml;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an outcome, or `outcome` and `reason`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<EndYaml, E> {
                Ok(EndYaml::Short(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EndYaml, A::Error> {
                LongEnd::deserialize(MapAccessDeserializer::new(map)).map(EndYaml::Long)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// How many lessons are kept: `10`, or `{keep: 10}`.
#[derive(Debug)]
pub(in crate::definition) struct Lessons(pub(in super::super) u32);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongLessons {
    keep: u32,
}

impl<'de> Deserialize<'de> for Lessons {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Lessons;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, 0 or more")
            }
            fn visit_u64<E: Error>(self, keep: u64) -> Result<Lessons, E> {
                // What does not fit is far too much anyway.
                Ok(Lessons(u32::try_from(keep).unwrap_or(u32::MAX)))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Lessons, A::Error> {
                LongLessons::deserialize(MapAccessDeserializer::new(map))
                    .map(|long| Lessons(long.keep))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
