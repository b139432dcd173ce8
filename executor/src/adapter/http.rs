//! The `http` adapter: one request.

use std::{error::Error as _, time::Duration};

use flotilla_common::{
    blob::BYTES,
    definition::{Adapter, HttpOptions, Shape, Template},
    names::header,
};
use reqwest::{
    Body, Client, ClientBuilder, Method, Request, Response, StatusCode, Url,
    header::{
        ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    },
    redirect::Policy,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Call, Scene,
    address::Address,
    capture::Captured,
    failure::{Class, Failure},
    http_body::{self, content},
    http_options::{TlsClients, TlsMaterial, authorize},
    public::{NotPublic, PublicOnly, check_literal},
    told::retry_after,
};

/// A host that does not take a connection in this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Redirects that are followed, within one origin only.
const REDIRECTS_MAX: usize = 3;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static(header::TRACEPARENT);

/// Why there is no HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    /// `rustls` was not told which cryptography to use.
    #[error(
        "no TLS provider is installed; call rustls::crypto::ring::default_provider().install_default() at the start of the program"
    )]
    NoTlsProvider,
    /// It cannot be built.
    #[error("the HTTP client cannot be built")]
    Build(#[source] reqwest::Error),
}

/// The HTTP client of all tools: made once, its connections are shared. It uses no proxy.
///
/// The host that a definition names may have any address. It does so when its URL's host and port are over before the first hole
/// other than exactly `{{ env.NAME }}`. Where a parameter may have a part in them, only public addresses are reached: what a
/// name resolves to is checked, and the connection is made to exactly that.
#[derive(Debug, Clone)]
pub struct HttpClient {
    any: Client,
    public: Client,
    direct: Client,
    with_tls: TlsClients,
}

impl HttpClient {
    /// A client.
    ///
    /// # Errors
    /// [`HttpClientError`].
    pub fn new() -> Result<Self, HttpClientError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(HttpClientError::NoTlsProvider);
        }
        Ok(Self {
            any: builder(false).build().map_err(HttpClientError::Build)?,
            public: builder(true).build().map_err(HttpClientError::Build)?,
            direct: builder(false)
                .redirect(Policy::none())
                .build()
                .map_err(HttpClientError::Build)?,
            with_tls: TlsClients::default(),
        })
    }

    /// A client for the operator's own addresses that follows no redirect.
    pub(super) fn without_redirects(&self) -> Client {
        self.direct.clone()
    }

    /// Makes the request. Its output is `{"status", "body", "truncated"?}`; the body is JSON where the answer says so, else text,
    /// and null where there was none; with `result`, it is what that leads to; with `download`, the reference to a blob.
    pub(super) async fn run(&self, call: &Call<'_>, scene: &Scene<'_>) -> Result<Value, Failure> {
        let limit = call.tool.timeout;
        let prepared = timeout(limit, self.prepare(call, scene)).await;
        let (request, client, options) = prepared.unwrap_or_else(|_| {
            let message = "a file that the tool names cannot be read in time";
            Err(Failure::new(Class::Config, message))
        })?;
        let target = Target::of(&request);
        let exchange = async {
            let answered = client.execute(request).await;
            let mut response = answered.map_err(|error| failure(&target, error))?;
            let status = response.status();
            if let (Some(limit), true) = (options.download, is_wanted(options, status)) {
                let upload = scene.shelf.upload(call, limit)?;
                let body = http_body::keep(&mut response, &target, upload, scene).await?;
                return Ok(json!({"status": status.as_u16(), "body": body}));
            }
            let body = http_body::read(&mut response, &target, call.tool.output_limit).await?;
            outcome(&target, options, &response, &body, scene)
        };
        timeout(limit, exchange).await.unwrap_or_else(|_| {
            let message = format!("{target} gave no full answer within {limit:?}");
            Err(Failure::new(Class::Timeout, message))
        })
    }

    /// The status that a URL answers with; its body is not read.
    pub(super) async fn status(&self, url: &Template, scene: &Scene<'_>) -> Result<u16, Failure> {
        let (url, public_only) = address(url, scene)?;
        let request = Request::new(Method::GET, url);
        let target = Target::of(&request);
        let answered = self.by_host(public_only).execute(request).await;
        let response = answered.map_err(|error| failure(&target, error))?;
        Ok(response.status().as_u16())
    }

    fn by_host(&self, public_only: bool) -> &Client {
        if public_only { &self.public } else { &self.any }
    }

    async fn prepare<'t>(
        &self,
        call: &Call<'t>,
        scene: &Scene<'_>,
    ) -> Result<(Request, Client, &'t HttpOptions), Failure> {
        let Adapter::Http {
            method,
            url,
            headers,
            body,
            options,
        } = &call.tool.adapter
        else {
            return Err(Failure::new(Class::Config, "the tool is no HTTP request"));
        };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Failure::new(Class::Config, format!("`{method}` is no HTTP method")))?;
        let (url, public_only) = address(url, scene)?;
        let client = match &options.tls {
            Some(files) => {
                let material = TlsMaterial::read(files).await?;
                let builder = builder(public_only);
                self.with_tls.get(material, public_only, builder)?
            }
            None => self.by_host(public_only).clone(),
        };
        let mut request = Request::new(method, url);
        *request.headers_mut() = header_map(headers, call, scene)?;
        authorize(&mut request, options, scene)?;
        if let Some(body) = body {
            *request.body_mut() = Some(json_body(body, scene)?.into());
            let headers = request.headers_mut().entry(CONTENT_TYPE);
            headers.or_insert(HeaderValue::from_static("application/json"));
        }
        if let Some(blob) = &options.body_from {
            send_blob(&mut request, blob, call, scene).await?;
        }
        Ok((request, client, &**options))
    }
}

/// Where a request goes, and whether only public addresses may be reached.
fn address(url: &Template, scene: &Scene<'_>) -> Result<(Url, bool), Failure> {
    let address = Address::of(url, &scene.context, &scene.env)?;
    let public_only = !address.host_is_fixed;
    if public_only {
        check_literal(&address.url)
            .map_err(|refused| Failure::new(Class::Refused, refused.to_string()))?;
    }
    Ok((address.url, public_only))
}

fn builder(public_only: bool) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(concat!("flotilla/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .no_proxy()
        .redirect(within_one_origin());
    if public_only {
        builder.dns_resolver(PublicOnly::by_system())
    } else {
        builder
    }
}

fn within_one_origin() -> Policy {
    Policy::custom(|attempt| {
        let from = attempt.previous().last().map(reqwest::Url::origin);
        if from == Some(attempt.url().origin()) && attempt.previous().len() <= REDIRECTS_MAX {
            attempt.follow()
        } else {
            attempt.stop()
        }
    })
}

fn header_map(
    headers: &[(String, Template)],
    call: &Call<'_>,
    scene: &Scene<'_>,
) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        let place = format!("header `{name}`");
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Failure::new(Class::Config, format!("{place} has no valid name")))?;
        let text = value
            .render(&scene.context)
            .map_err(|error| Failure::hole(&place, &error))?;
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            let message = format!(
                "{place} would hold a line break or another character that no header can have"
            );
            Failure::new(Class::Input, message)
        })?;
        // Keeps it out of the logs of the libraries below, whatever their level.
        value.set_sensitive(true);
        map.append(header, value);
    }
    let key = HeaderValue::from_str(&call.idempotency_key)
        .map_err(|_| Failure::new(Class::Config, "the idempotency key is no header value"))?;
    map.insert(IDEMPOTENCY_KEY, key);
    if let Ok(trace) = HeaderValue::from_str(&call.traceparent()) {
        map.entry(TRACEPARENT).or_insert(trace);
    }
    let encodings = map.entry(ACCEPT_ENCODING);
    encodings.or_insert(HeaderValue::from_static("gzip"));
    Ok(map)
}

fn json_body(body: &Shape, scene: &Scene<'_>) -> Result<Vec<u8>, Failure> {
    let value = body
        .render(&scene.context)
        .map_err(|error| Failure::hole("body", &error))?;
    serde_json::to_vec(&value).map_err(|error| Failure::new(Class::Input, format!("body: {error}")))
}

/// Has a blob sent as the body, as it is read.
async fn send_blob(
    request: &mut Request,
    blob: &Shape,
    call: &Call<'_>,
    scene: &Scene<'_>,
) -> Result<(), Failure> {
    let value = blob
        .render(&scene.context)
        .map_err(|error| Failure::hole("body_from", &error))?;
    let found = scene.shelf.find(call, "body_from", &value).await?;
    let (length, kind) = (found.blob.bytes, HeaderValue::from_str(&found.blob.kind));
    *request.body_mut() = Some(Body::wrap_stream(scene.shelf.blobs()?.read(&found)));
    let headers = request.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    let bytes = HeaderValue::from_static(BYTES);
    headers.entry(CONTENT_TYPE).or_insert(kind.unwrap_or(bytes));
    Ok(())
}

/// What a message calls the request: no path and no query, for they are long and may be confidential.
pub(super) struct Target(String);

impl Target {
    fn of(request: &Request) -> Self {
        let host = request.url().host_str().unwrap_or_default();
        let port = request.url().port().map(|port| format!(":{port}"));
        let port = port.unwrap_or_default();
        Self(format!("{} {host}{port}", request.method()))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn outcome(
    target: &Target,
    options: &HttpOptions,
    response: &Response,
    body: &Captured,
    scene: &Scene<'_>,
) -> Result<Value, Failure> {
    let status = response.status();
    let (content, truncated) = content(response.headers(), body, scene);
    let mut output = json!({"status": status.as_u16(), "body": content});
    if truncated {
        output["truncated"] = true.into();
    }
    if !is_wanted(options, status) {
        let to = response.headers().get(LOCATION);
        if let Some(to) = to.filter(|_| status.is_redirection()) {
            return Err(redirected(target, status, response, to).with(output));
        }
    }
    if !options.expects(status.as_u16()) {
        let message = format!("{target} answered {status}");
        let after = retry_after(response.headers());
        return Err(Failure::new(Class::Status, message)
            .with(output)
            .after(after));
    }
    match &options.result {
        None => Ok(output),
        Some(pointer) => match output["body"].pointer_mut(pointer).map(Value::take) {
            Some(found) => {
                output["body"] = found;
                Ok(output)
            }
            None => {
                let message = format!("{target} answered {status} with nothing at `{pointer}`");
                Err(Failure::new(Class::Reply, message).with(output))
            }
        },
    }
}

/// Whether an answer is what was asked for. A redirect that the definition expects is, and is not followed to another host either.
fn is_wanted(options: &HttpOptions, status: StatusCode) -> bool {
    let is_named = !options.expect.is_empty();
    options.expects(status.as_u16()) && (is_named || !status.is_redirection())
}

fn redirected(
    target: &Target,
    status: StatusCode,
    response: &Response,
    location: &HeaderValue,
) -> Failure {
    let to = location.to_str().ok();
    let to = to.and_then(|to| response.url().join(to).ok());
    let host = to.as_ref().and_then(|to| to.host_str()).unwrap_or("?");
    let message = format!(
        "{target} answered {status}, a redirect to {host}; at most {REDIRECTS_MAX} are followed, and none to another host, port or scheme"
    );
    Failure::new(Class::Redirect, message)
}

pub(super) fn failure(target: &Target, error: reqwest::Error) -> Failure {
    // The URL may be confidential, and the target says enough.
    let error = error.without_url();
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<NotPublic>() {
            return Failure::new(Class::Refused, refused.to_string());
        }
        causes.push(cause.to_string());
        source = cause.source();
    }
    let class = if error.is_connect() {
        Class::Connect
    } else if error.is_timeout() {
        Class::Timeout
    } else if error.is_builder() {
        Class::Input
    } else {
        Class::Network
    };
    Failure::new(class, format!("{target}: {}", causes.join(": ")))
}
