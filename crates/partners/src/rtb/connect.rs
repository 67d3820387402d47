//! Making a connection: look the name up, refuse what is not public, connect, speak TLS.

use super::address::is_public;
use super::config::RtbConfig;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Name look-ups at the same time. One cannot be abandoned: it keeps its place until the resolver gives up.
const LOOKUPS_MAX: usize = 64;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// The most of an answer's head that is kept in memory, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1_024;

/// Where requests of one kind go: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(super) https: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("more connections are open than connections_max allows")]
    TooManyConnections,
    #[error("the name could not be looked up: {0}")]
    Lookup(io::Error),
    #[error("the name has no address")]
    NoAddress,
    #[error(
        "the name leads to an address that is not public; set allow_private_addresses where that is meant"
    )]
    PrivateAddress,
    #[error("no connection within connect_timeout_ms")]
    TimedOut,
    #[error("not connected: {0}")]
    Tcp(io::Error),
    #[error("no TLS: {0}")]
    Tls(io::Error),
    #[error("no certificate could be for this name: {0}")]
    Name(InvalidDnsNameError),
    #[error("no HTTP: {0}")]
    Http(hyper::Error),
    #[error("given up")]
    GivenUp,
}

/// A connection that is ready for requests, one at a time. Dropping it closes it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// Whether it has carried a request already, so that the other side may have closed it meanwhile.
    pub(super) was_used: bool,
    task: AbortHandle,
    _place: OwnedSemaphorePermit,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes connections, for all bidders.
pub(crate) struct Connector {
    tls: TlsConnector,
    allow_private_addresses: bool,
    connect_timeout: Duration,
    lookups: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Connector {
    pub(crate) fn new(config: &RtbConfig) -> Self {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let extra = config.extra_roots_der.iter().map(|der| CertificateDer::from(der.as_slice()));
        let (_, ignored) = roots.add_parsable_certificates(extra);
        if ignored > 0 {
            tracing::warn!(
                ignored,
                "extra_roots_der has certificates that cannot be read; give X.509 in DER"
            );
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let versions = builder.with_safe_default_protocol_versions().expect("ring speaks TLS 1.2 and 1.3");
        let mut tls = versions.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            tls: TlsConnector::from(Arc::new(tls)),
            allow_private_addresses: config.allow_private_addresses,
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            connections: Arc::new(Semaphore::new(config.connections_max)),
        }
    }

    /// A connection to the first address that takes one; `known` spares the look-up.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        known: Option<Arc<[SocketAddr]>>,
    ) -> Result<(Connection, Arc<[SocketAddr]>), ConnectError> {
        let place = Arc::clone(&self.connections).try_acquire_owned();
        let place = place.map_err(|_| ConnectError::TooManyConnections)?;
        let made = timeout(self.connect_timeout, async {
            let addresses = match known {
                Some(addresses) => addresses,
                None => self.look_up(origin).await?,
            };
            let stream = self.reach(&addresses).await?;
            Ok((self.begin(origin, stream, place).await?, addresses))
        });
        made.await.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn look_up(&self, origin: &Origin) -> Result<Arc<[SocketAddr]>, ConnectError> {
        let place = Arc::clone(&self.lookups).acquire_owned().await.map_err(|_| ConnectError::GivenUp)?;
        let (host, port) = (origin.host.clone(), origin.port);
        let looked_up = tokio::task::spawn_blocking(move || {
            let _place = place;
            (host.as_str(), port).to_socket_addrs().map(Vec::from_iter)
        });
        let found = looked_up.await.map_err(|_| ConnectError::GivenUp)?.map_err(ConnectError::Lookup)?;
        if found.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        // Of a name with both kinds of addresses only the public ones are used.
        let is_allowed = |address: &SocketAddr| self.allow_private_addresses || is_public(address.ip());
        let allowed: Arc<[SocketAddr]> = found.into_iter().filter(is_allowed).take(ADDRESSES_MAX).collect();
        if allowed.is_empty() { Err(ConnectError::PrivateAddress) } else { Ok(allowed) }
    }

    /// Each address gets its share of the time, so that a silent one does not use up that of the next.
    async fn reach(&self, addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
        let share = self.connect_timeout / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        let mut last = ConnectError::NoAddress;
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(ConnectError::Tcp)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = ConnectError::Tcp(error),
                Err(_) => last = ConnectError::TimedOut,
            }
        }
        Err(last)
    }

    async fn begin(
        &self,
        origin: &Origin,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
    ) -> Result<Connection, ConnectError> {
        if !origin.https {
            return speak_http(TokioIo::new(stream), place).await;
        }
        let name = ServerName::try_from(origin.host.clone()).map_err(ConnectError::Name)?;
        let stream = self.tls.connect(name, stream).await.map_err(ConnectError::Tls)?;
        speak_http(TokioIo::new(stream), place).await
    }
}

async fn speak_http<Stream>(stream: Stream, place: OwnedSemaphorePermit) -> Result<Connection, ConnectError>
where
    Stream: Read + Write + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (sender, connection) = builder.handshake(stream).await.map_err(ConnectError::Http)?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to a live bidder broke");
        }
    });
    Ok(Connection { sender, was_used: false, task: task.abort_handle(), _place: place })
}
