//! Tools that are HTTP requests.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::{
    super::{
        problem::Report,
        schema::Schema,
        template::{Holes, Shape},
    },
    Adapter,
    blob::KeepYaml,
    yaml::ToolYaml,
};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Where a secret is: never in the definition itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A bearer token in a variable of the executor.
    Env(String),
    /// A bearer token in a file of the executor, read anew for every call.
    File(String),
}

/// The files of a client's TLS, each an absolute path in the executor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// Who is believed, as PEM; the system's own authorities are not, then.
    pub ca: Option<String>,
    /// Who we are, as PEM: the certificate with its chain, and its key.
    pub identity: Option<(String, String)>,
}

/// Statuses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses(pub u16, pub u16);

/// What counts as success, what is taken from the answer, and who we are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HttpOptions {
    /// A JSON pointer: what it leads to takes the place of the answer's body.
    pub result: Option<String>,
    /// The statuses that are no failure; empty: all below 400.
    pub expect: Vec<Statuses>,
    /// A bearer token.
    pub auth: Option<Auth>,
    /// TLS of its own.
    pub tls: Option<TlsFiles>,
    /// Up to how many bytes of an answer go to the object store; `None`: it is read.
    pub download: Option<u64>,
    /// The blob that is sent as the body.
    pub body_from: Option<Shape>,
}

impl HttpOptions {
    /// The variable of the executor that its token is in.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        match &self.auth {
            Some(Auth::Env(name)) => Some(name),
            Some(Auth::File(_)) | None => None,
        }
    }

    /// Whether a status is no failure.
    #[must_use]
    pub fn expects(&self, status: u16) -> bool {
        Statuses::expected(&self.expect, status)
    }
}

impl Statuses {
    /// Whether a status is among these; where there are none, whether it is below 400.
    #[must_use]
    pub fn expected(all: &[Self], status: u16) -> bool {
        let mut any = all.iter();
        any.any(|Self(from, to)| (*from..=*to).contains(&status))
            || (all.is_empty() && status < 400)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpYaml {
    #[serde(default)]
    method: Option<Spanned<String>>,
    url: Spanned<String>,
    #[serde(default)]
    headers: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    body: Option<Spanned<Value>>,
    #[serde(default)]
    result: Option<Spanned<String>>,
    #[serde(default)]
    expect: Vec<Spanned<Value>>,
    #[serde(default)]
    auth: Option<AuthYaml>,
    #[serde(default)]
    tls: Option<Spanned<TlsYaml>>,
    #[serde(default)]
    download: Option<Spanned<KeepYaml>>,
    #[serde(default)]
    body_from: Option<Spanned<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthYaml {
    bearer: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsYaml {
    #[serde(default)]
    ca: Option<Spanned<String>>,
    #[serde(default)]
    cert: Option<Spanned<String>>,
    #[serde(default)]
    key: Option<Spanned<String>>,
}

impl HttpYaml {
    fn options(&self, report: &mut Report<'_>) -> HttpOptions {
        if let Some(result) = self.result.as_ref().filter(|r| !r.value.starts_with('/')) {
            let message = format!("`{}` is no JSON pointer", result.value);
            let help = "it begins with `/`, such as /data/items";
            report.at(result.referenced, message, Some(help));
        }
        let expect = self.expect.iter();
        let expect = expect.filter_map(|item| statuses(report, item)).collect();
        let own = self.headers.iter();
        let mut own = own.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let (Some(auth), Some(_)) = (&self.auth, own.next()) {
            let message = "there is an `authorization` header already";
            report.at(auth.bearer.referenced, message, Some("keep one of them"));
        }
        let download = self.download.as_ref();
        let download = download.and_then(|given| given.value.download(report, given.referenced));
        if let (Some(_), Some(result)) = (download, &self.result) {
            let message = "`result` looks into an answer, and `download` keeps it unread";
            report.at(result.referenced, message, Some("keep one of them"));
        }
        if let (Some(given), Some(_)) = (&self.body_from, &self.body) {
            let message = "there is a `body` already";
            report.at(given.referenced, message, Some("keep one of them"));
        }
        HttpOptions {
            download,
            body_from: None,
            result: self.result.as_ref().map(|result| result.value.clone()),
            expect,
            auth: self.auth.as_ref().and_then(|auth| auth.compile(report)),
            tls: self
                .tls
                .as_ref()
                .map(|tls| tls.value.compile(report, tls.referenced)),
        }
    }
}

/// Notes what is no address, whatever its holes will hold.
pub(super) fn is_address(report: &mut Report<'_>, url: &Spanned<String>) {
    let starts = ["http://", "https://", "{{"];
    if !starts.iter().any(|start| url.value.starts_with(start)) {
        let message = format!("`{}` is no address", url.value);
        let help = "it starts with http://, https:// or a hole such as {{ env.BASE_URL }}";
        report.at(url.referenced, message, Some(help));
    }
}

/// `200`, or a whole class: `2xx`.
pub(super) fn statuses(report: &mut Report<'_>, item: &Spanned<Value>) -> Option<Statuses> {
    let text = item.value.as_str();
    let text = text.map_or_else(|| item.value.to_string(), str::to_owned);
    let class = text.strip_suffix("xx").and_then(|class| class.parse().ok());
    let class: Option<u16> = class.filter(|class| (1..=5).contains(class));
    let one: Option<u16> = text.parse().ok().filter(|one| (100..=599).contains(one));
    let found = match (class, one) {
        (Some(class), _) => Some(Statuses(class * 100, class * 100 + 99)),
        (None, Some(one)) => Some(Statuses(one, one)),
        (None, None) => None,
    };
    if found.is_none() {
        let help = "such as 200, or 2xx for all of a kind";
        report.at(
            item.referenced,
            format!("`{text}` is no status"),
            Some(help),
        );
    }
    found
}

impl AuthYaml {
    fn compile(&self, report: &mut Report<'_>) -> Option<Auth> {
        let (place, text) = (self.bearer.referenced, self.bearer.value.as_str());
        let is_name = |name: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            !name.is_empty() && name.bytes().all(fits)
        };
        match text.split_once(':') {
            Some(("env", name)) if is_name(name) => Some(Auth::Env(name.to_owned())),
            Some(("file", path)) if path.starts_with('/') => Some(Auth::File(path.to_owned())),
            _ => {
                let help = "env:NAME or file:/absolute/path: a secret is never in a definition";
                report.at(place, "this says of no secret where it is", Some(help));
                None
            }
        }
    }
}

impl TlsYaml {
    fn compile(&self, report: &mut Report<'_>, place: Location) -> TlsFiles {
        let mut file = |given: &Option<Spanned<String>>| {
            let given = given.as_ref()?;
            let path = given.value.strip_prefix("file:");
            let path = path.filter(|path| path.starts_with('/')).map(str::to_owned);
            if path.is_none() {
                let message = format!("`{}` is no file", given.value);
                let help = "write it so: file:/absolute/path.pem";
                report.at(given.referenced, message, Some(help));
            }
            path
        };
        let (ca, cert, key) = (file(&self.ca), file(&self.cert), file(&self.key));
        if self.cert.is_some() != self.key.is_some() {
            let message = "`cert` and `key` belong together";
            report.at(place, message, Some("give both, or neither"));
        } else if self.ca.is_none() && self.cert.is_none() {
            let help = "`ca` says who is believed, `cert` and `key` who we are";
            report.at(place, "`tls` says nothing", Some(help));
        }
        TlsFiles {
            ca,
            identity: cert.zip(key),
        }
    }
}

impl ToolYaml {
    pub(super) fn http(
        &self,
        report: &mut Report<'_>,
        http: &HttpYaml,
        input: Option<&Schema>,
    ) -> Option<Adapter> {
        let method = http.method.as_ref().map_or("GET", |m| m.value.as_str());
        if let (Some(given), false) = (&http.method, METHODS.contains(&method)) {
            report.at(
                given.referenced,
                format!("`{method}` is none of {}", METHODS.join(", ")),
                None,
            );
        }
        is_address(report, &http.url);
        let url = self.template(report, &http.url, Holes::Url, input)?;
        let headers = http.headers.iter();
        let headers = headers
            .filter_map(|(name, value)| {
                Some((
                    name.clone(),
                    self.template(report, value, Holes::Scalar, input)?,
                ))
            })
            .collect();
        let body = http.body.as_ref();
        let body = body.and_then(|body| self.shape(report, body, input));
        let body_from = http.body_from.as_ref();
        let options = Box::new(HttpOptions {
            body_from: body_from.and_then(|blob| self.shape(report, blob, input)),
            ..http.options(report)
        });
        Some(Adapter::Http {
            method: method.to_owned(),
            url,
            headers,
            body,
            options,
        })
    }

    fn shape(
        &self,
        report: &mut Report<'_>,
        given: &Spanned<Value>,
        input: Option<&Schema>,
    ) -> Option<Shape> {
        match Shape::compile(&given.value) {
            Ok(shape) => {
                self.check_paths(report, given.referenced, &shape.paths(), input);
                Some(shape)
            }
            Err(error) => {
                let message = format!("this does not compile: {error}");
                report.at(given.referenced, message, None);
                None
            }
        }
    }
}
