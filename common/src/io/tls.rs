//! TLS for a listener. A handshake is made where its connection is served, so nobody waits for a client that says nothing; and the
//! certificate is read again when its files change.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    signal::unix::{SignalKind, signal},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{Accept, TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::listener::{Bounded, Connection};

/// Longest handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How often the files are looked at, if no SIGHUP says so before.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// What clients can be spoken to in, the first one that they know: RFC 7301.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there is no certificate to be shown.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{path}: {problem}. FLOTILLA_TLS_CERT and FLOTILLA_TLS_KEY are files in PEM")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// Both can be read, and do not fit, or are of a kind that is not known.
    #[error(
        "the certificate in FLOTILLA_TLS_CERT cannot be used with the key in FLOTILLA_TLS_KEY: {0}"
    )]
    Pair(#[from] rustls::Error),
}

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate, and those that it rests on, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// The bytes of both.
type Read = (Vec<u8>, Vec<u8>);

impl Files {
    fn read(&self) -> Result<Read, TlsError> {
        let bytes = |path: &Path| std::fs::read(path).map_err(|error| wrong(path, &error));
        Ok((bytes(&self.certificate)?, bytes(&self.key)?))
    }

    fn certified(
        &self,
        (certificate, key): &Read,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let chain =
            CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, pem::Error>>();
        let chain = chain.map_err(|error| wrong(&self.certificate, &error))?;
        if chain.is_empty() {
            return Err(wrong(&self.certificate, &"there is no certificate in it"));
        }
        // What is wrong with a key must not tell of the key.
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|_| wrong(&self.key, &"there is no private key in it"))?;
        Ok(CertifiedKey::from_der(chain, key, provider)?)
    }
}

fn wrong(path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.display().to_string(),
        problem: problem.to_string(),
    }
}

/// The certificate that is shown now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

/// TLS 1.2 and 1.3 with a certificate from files.
#[derive(Clone)]
pub struct Tls {
    files: Files,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
    /// The files as they were read last.
    read: Arc<RwLock<Read>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.files).finish()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(files: Files) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let read = files.read()?;
        let certified = files.certified(&read, &provider)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        let shown: Arc<dyn ResolvesServerCert> = current.clone();
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(shown);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Self {
            files,
            provider,
            current,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            read: Arc::new(RwLock::new(read)),
        })
    }

    /// Reads the files again whenever they change, until `stop`. Where the new ones cannot be used, the old ones go on being shown.
    pub async fn keep_current(&self, stop: CancellationToken) {
        let mut hangups = signal(SignalKind::hangup()).ok();
        loop {
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                // Either way it is time to look.
                _ = timeout(LOOK_EVERY, hangup) => {}
            }
            match self.look() {
                Ok(true) => info!("the certificate of TLS is another one now"),
                Ok(false) => {}
                Err(problem) => warn!(%problem, "the certificate of TLS stays what it was"),
            }
        }
    }

    /// Whether the files have changed.
    fn look(&self) -> Result<bool, TlsError> {
        let fresh = self.files.read()?;
        if *self.read.read().unwrap_or_else(PoisonError::into_inner) == fresh {
            return Ok(false);
        }
        let certified = Arc::new(self.files.certified(&fresh, &self.provider)?);
        *self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = certified;
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(true)
    }
}

/// A listener whose connections speak TLS.
#[derive(Debug)]
pub struct Secured {
    inner: Bounded,
    tls: Tls,
}

impl Secured {
    /// TLS over these connections.
    #[must_use]
    pub fn new(inner: Bounded, tls: Tls) -> Self {
        Self { inner, tls }
    }
}

impl Listener for Secured {
    type Io = Secure;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Secure, SocketAddr) {
        let (connection, address) = self.inner.accept().await;
        let accept = Box::new(self.tls.acceptor.accept(connection));
        (
            Secure::Shaking(accept, Box::pin(sleep(HANDSHAKE_MAX))),
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that speaks TLS once its first byte is asked for.
pub enum Secure {
    /// It is about to, within a time.
    Shaking(Box<Accept<Connection>>, Pin<Box<Sleep>>),
    /// It does.
    Open(Box<TlsStream<Connection>>),
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shaking(..) => "Shaking",
            Self::Open(_) => "Open",
        })
    }
}

impl Secure {
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<Connection>>>> {
        if let Self::Shaking(accept, end) = self {
            match Pin::new(accept.as_mut()).poll(context) {
                Poll::Ready(stream) => *self = Self::Open(Box::new(stream?)),
                Poll::Pending => {
                    ready!(end.as_mut().poll(context));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        match self {
            Self::Open(stream) => Poll::Ready(Ok(Pin::new(stream.as_mut()))),
            Self::Shaking(..) => Poll::Pending,
        }
    }
}

impl AsyncRead for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Shaking(..) => Poll::Ready(Ok(())),
            Self::Open(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Shaking(..) => Poll::Ready(Ok(())),
            Self::Open(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
