//! The YAML of a webhook.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::{Digest, Encoding, Hook, HookMap, Inlet, InletKey, InletText, Secret, Verify, Written};
use crate::{
    definition::{problem::Report, template::Shape},
    ids::Name,
    names::ALERTMANAGER_HOOK,
};

/// Secrets of one hook, at most: the one in use and those that are on their way in or out.
const SECRETS_MAX: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HookYaml {
    hook: Spanned<Name>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    enabled: Option<bool>,
    verify: Spanned<VerifyYaml>,
    #[serde(default)]
    map: Option<Spanned<MapYaml>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct MapYaml {
    #[serde(default, rename = "type")]
    kind: Option<Spanned<Value>>,
    #[serde(default)]
    id: Option<Spanned<Value>>,
    #[serde(default)]
    source: Option<Spanned<Value>>,
    #[serde(default)]
    subject: Option<Spanned<Value>>,
    #[serde(default)]
    time: Option<Spanned<Value>>,
    #[serde(default)]
    data: Option<Spanned<Value>>,
}

/// `none`, or exactly one way.
#[derive(Debug)]
enum VerifyYaml {
    Short(String),
    Long(Box<Ways>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ways {
    #[serde(default)]
    standard_webhooks: Option<SecretYaml>,
    #[serde(default)]
    github: Option<SecretYaml>,
    #[serde(default)]
    token: Option<TokenYaml>,
    #[serde(default)]
    bearer: Option<SecretYaml>,
    #[serde(default)]
    hmac: Option<HmacYaml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretYaml {
    secret: Spanned<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenYaml {
    header: Spanned<String>,
    secret: Spanned<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HmacYaml {
    header: Spanned<String>,
    #[serde(default)]
    algorithm: Option<Spanned<String>>,
    #[serde(default)]
    encoding: Option<Spanned<String>>,
    #[serde(default)]
    prefix: String,
    secret: Spanned<Value>,
}

impl<'de> Deserialize<'de> for VerifyYaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = VerifyYaml;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`none`, or how requests are signed")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<VerifyYaml, E> {
                Ok(VerifyYaml::Short(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<VerifyYaml, A::Error> {
                let ways = Ways::deserialize(MapAccessDeserializer::new(map))?;
                Ok(VerifyYaml::Long(Box::new(ways)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Reads its file.
pub(super) fn read(report: &mut Report<'_>) -> Option<Written> {
    let read = serde_saphyr::from_str::<HookYaml>(report.text)
        .and_then(|yaml| Ok((yaml, serde_saphyr::from_str::<Value>(report.text)?)));
    let (yaml, source) = match read {
        Ok(read) => read,
        Err(error) => {
            report.yaml(&error);
            return None;
        }
    };
    let before = report.problems.len();
    let place = yaml.hook.referenced;
    let name = yaml.hook.value;
    let verify = verify(report, &yaml.verify);
    let map = yaml.map.as_ref().map(|map| map.value.compile(report));
    let is_built_in = name.as_str() == ALERTMANAGER_HOOK;
    if let Some(map) = yaml.map.as_ref().filter(|_| is_built_in) {
        let message = format!("what `{name}` sends becomes events without a mapping");
        let help = "leave out `map`, or give the hook another name";
        report.at(map.referenced, message, Some(help));
    }
    let map = map.unwrap_or_default();
    if let Some(verify) = verify.as_ref().filter(|_| !is_built_in) {
        missing(report, place, verify, &map);
    }
    let verify = verify.filter(|_| report.problems.len() == before)?;
    Some(Written {
        text: InletText::new(InletKey::Hook { hook: name.clone() }, &source),
        place,
        inlet: Inlet::Hook(Arc::new(Hook {
            name,
            description: yaml.description,
            enabled: yaml.enabled.unwrap_or(true),
            verify,
            map,
        })),
    })
}

/// What a mapping must say, where the kind of webhook does not.
fn missing(report: &mut Report<'_>, place: Location, verify: &Verify, map: &HookMap) {
    let (has_kind, has_id) = match verify {
        Verify::GitHub(_) => (true, true),
        Verify::Standard(_) => (false, true),
        Verify::Open | Verify::Token { .. } | Verify::Bearer(_) | Verify::Hmac { .. } => {
            (false, false)
        }
    };
    if map.kind.is_none() && !has_kind {
        let help = "such as `map: {type: shop.order, …}`";
        report.at(
            place,
            "nothing says which `type` its events have",
            Some(help),
        );
    }
    if map.id.is_none() && !has_id {
        let help =
            "such as `map: {id: '{{ body.id }}', …}`: what is sent again with it counts once";
        report.at(place, "nothing says which `id` its events have", Some(help));
    }
}

fn verify(report: &mut Report<'_>, given: &Spanned<VerifyYaml>) -> Option<Verify> {
    const HELP: &str = "`verify: none`, or one of standard_webhooks, github, token, bearer, hmac";
    let ways = match &given.value {
        VerifyYaml::Short(word) if word == "none" => return Some(Verify::Open),
        VerifyYaml::Short(word) => {
            let message = format!("`{word}` is no way to verify a webhook");
            report.at(given.referenced, message, Some(HELP));
            return None;
        }
        VerifyYaml::Long(ways) => ways,
    };
    let mut found = Vec::new();
    if let Some(way) = &ways.standard_webhooks {
        found.push(secrets(report, &way.secret).map(Verify::Standard));
    }
    if let Some(way) = &ways.github {
        found.push(secrets(report, &way.secret).map(Verify::GitHub));
    }
    if let Some(way) = &ways.bearer {
        found.push(secrets(report, &way.secret).map(Verify::Bearer));
    }
    if let Some(way) = &ways.token {
        found.push(way.compile(report));
    }
    if let Some(way) = &ways.hmac {
        found.push(way.compile(report));
    }
    if found.len() != 1 {
        report.at(
            given.referenced,
            "`verify` says one way, exactly",
            Some(HELP),
        );
        return None;
    }
    found.pop().flatten()
}

impl TokenYaml {
    fn compile(&self, report: &mut Report<'_>) -> Option<Verify> {
        let (header, secrets) = (header(report, &self.header), secrets(report, &self.secret));
        Some(Verify::Token {
            header: header?,
            secrets: secrets?,
        })
    }
}

impl HmacYaml {
    fn compile(&self, report: &mut Report<'_>) -> Option<Verify> {
        let digests = [("sha256", Digest::Sha256), ("sha512", Digest::Sha512)];
        let encodings = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
        let digest = word(report, self.algorithm.as_ref(), digests);
        let encoding = word(report, self.encoding.as_ref(), encodings);
        let (header, secrets) = (header(report, &self.header), secrets(report, &self.secret));
        Some(Verify::Hmac {
            header: header?,
            digest: digest?,
            encoding: encoding?,
            prefix: self.prefix.clone(),
            secrets: secrets?,
        })
    }
}

/// One of two words; the first where there is none.
fn word<T: Copy>(
    report: &mut Report<'_>,
    given: Option<&Spanned<String>>,
    known: [(&str, T); 2],
) -> Option<T> {
    let Some(given) = given else {
        return known.first().map(|(_, value)| *value);
    };
    let found = known.iter().find(|(word, _)| *word == given.value);
    if found.is_none() {
        let [(one, _), (other, _)] = known;
        let message = format!("`{}` is neither {one} nor {other}", given.value);
        report.at(given.referenced, message, None);
    }
    found.map(|(_, value)| *value)
}

fn header(report: &mut Report<'_>, given: &Spanned<String>) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if given.value.is_empty() || !given.value.bytes().all(fits) {
        let message = format!("`{}` is no name of a header", given.value);
        report.at(given.referenced, message, None);
        return None;
    }
    Some(given.value.to_ascii_lowercase())
}

/// A secret, or a list of them.
fn secrets(report: &mut Report<'_>, given: &Spanned<Value>) -> Option<Vec<Secret>> {
    let all = given.value.as_array().map(Vec::as_slice);
    let all = all.unwrap_or(std::slice::from_ref(&given.value));
    let found: Option<Vec<Secret>> = all.iter().map(|one| Secret::read(one.as_str()?)).collect();
    let found = found.filter(|found| (1..=SECRETS_MAX).contains(&found.len()));
    if found.is_none() {
        let help = "env:NAME or file:/absolute/path, or a list of up to 8 of these: a secret is never in a definition";
        report.at(
            given.referenced,
            "this says of no secret where it is",
            Some(help),
        );
    }
    found
}

impl Secret {
    fn read(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match text.split_once(':')? {
            ("env", name) if !name.is_empty() && name.bytes().all(fits) => {
                Some(Self::Env(name.to_owned()))
            }
            ("file", path) if path.starts_with('/') => Some(Self::File(path.to_owned())),
            _ => None,
        }
    }
}

impl MapYaml {
    fn compile(&self, report: &mut Report<'_>) -> HookMap {
        let mut part = |name: &str, given: &Option<Spanned<Value>>| {
            let given = given.as_ref()?;
            let shape = match Shape::compile(&given.value) {
                Ok(shape) => shape,
                Err(error) => {
                    let message = format!("`{name}` does not compile: {error}");
                    report.at(given.referenced, message, None);
                    return None;
                }
            };
            for path in shape.paths() {
                let root = path.split('.').next().unwrap_or_default();
                if !["body", "headers", "query"].contains(&root) {
                    let message = format!("`{path}`: there is no `{root}` here");
                    let help = "there are `body`, `headers` and `query`";
                    report.at(given.referenced, message, Some(help));
                }
            }
            Some(shape)
        };
        HookMap {
            kind: part("type", &self.kind),
            id: part("id", &self.id),
            source: part("source", &self.source),
            subject: part("subject", &self.subject),
            time: part("time", &self.time),
            data: part("data", &self.data),
        }
    }
}
