//! Connections: accepts them, a bounded number at a time, and closes them in good order.

use crate::config::HttpConfig;
use crate::state::{Dependencies, Gateway};
use crate::{grpc, layers, rest};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tower_service::Service;

/// How long a client may take to send a request's head, and after connecting, the first one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long it has to answer that: longer than a session's own patience, which knows better why it ends.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_mins(2);

/// Requests one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 64;

/// The largest head of an HTTP/2 request, in bytes.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// What waits to be sent on one HTTP/2 stream, in bytes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What a client may send ahead of being read, in bytes: on one HTTP/2 stream, and on all of a connection.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// How long requests in progress may take when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before accepting again when the system is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("http.listen {address}: {problem}")]
pub struct ServerError {
    address: String,
    problem: String,
}

impl ServerError {
    fn new(address: &str, error: &std::io::Error) -> Self {
        let problem = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "the port is in use; stop what uses it, or set another port".to_owned()
            }
            std::io::ErrorKind::PermissionDenied => {
                "permission denied; set a port above 1023, or run with the right to bind it".to_owned()
            }
            std::io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address; set one it has".to_owned()
            }
            _ => format!("{error}; write it as 127.0.0.1:8080"),
        };
        Self { address: address.to_owned(), problem }
    }
}

/// The API, being served. Dropping it stops accepting.
#[derive(Debug)]
pub struct HttpServer {
    addresses: Vec<SocketAddr>,
    gateway: Gateway,
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
}

/// The API without a socket, for tests and for other servers.
pub fn router(config: &HttpConfig, dependencies: Dependencies) -> Router {
    routes(&Gateway::new(config, dependencies))
}

fn routes(gateway: &Gateway) -> Router {
    layers::around(rest::router(gateway).merge(grpc::router(gateway)), gateway)
}

/// Binds every address, then serves the API on all of them.
pub async fn start(config: &HttpConfig, dependencies: Dependencies) -> Result<HttpServer, ServerError> {
    let mut bound = Vec::new();
    for address in &config.listen {
        let listener = TcpListener::bind(address).await.map_err(|error| ServerError::new(address, &error))?;
        let local = listener.local_addr().map_err(|error| ServerError::new(address, &error))?;
        bound.push((listener, local));
    }
    let gateway = Gateway::new(config, dependencies);
    let router = routes(&gateway);
    let connections = Arc::new(Semaphore::new(config.connections_max));
    let (stop, stopping) = watch::channel(false);
    let addresses = bound.iter().map(|(_, local)| *local).collect();
    let listeners = bound.into_iter().map(|(listener, _)| {
        tokio::spawn(accept(listener, router.clone(), Arc::clone(&connections), stopping.clone()))
    });
    Ok(HttpServer { addresses, gateway, stop, listeners: listeners.collect() })
}

impl HttpServer {
    /// Where it listens; a port 0 of the configuration is a real one here.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Stops accepting, ends the sessions of connected bidders, and returns when the requests in progress have been answered or have had their time.
    pub async fn stop(self) {
        // No receiver is left when every listener has ended already.
        let _ = self.stop.send(true);
        self.gateway.sessions().stop();
        for listener in self.listeners {
            // A panic has been reported by the panic hook.
            let _ = listener.await;
        }
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    connections: Arc<Semaphore>,
    mut stopping: watch::Receiver<bool>,
) {
    // Closed when the last connection has dropped its end.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    loop {
        let accepted = async {
            let permit = Arc::clone(&connections).acquire_owned().await.ok()?;
            Some((listener.accept().await, permit))
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
            _ = stopping.changed() => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let (router, stopping, open) = (router.clone(), stopping.clone(), open.clone());
                tokio::spawn(async move {
                    serve(stream, from, router, permit, stopping).await;
                    drop(open);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, open));
    // What has not finished by then is cut off when the process ends.
    let _ = tokio::time::timeout(STOP_TIMEOUT, all_closed.recv()).await;
}

/// Serves one connection; when the server stops, no further than the request in progress.
async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    permit: OwnedSemaphorePermit,
    mut stopping: watch::Receiver<bool>,
) {
    let begun = Arc::new(Notify::new());
    let first_request = Arc::clone(&begun);
    let answer = service_fn(move |mut request: Request<Incoming>| {
        begun.notify_one();
        request.extensions_mut().insert(ConnectInfo(from));
        router.clone().call(request.map(Body::new))
    });
    let protocols = protocols();
    let mut connection = pin!(protocols.serve_connection_with_upgrades(TokioIo::new(stream), answer));
    // A connection that breaks off is the client's business. One that was upgraded goes on by itself.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = silence(&first_request) => {}
        () = stop_of(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
    drop(permit);
}

/// HTTP/1.1 and, for those who begin with its preface, HTTP/2 (RFC 9113 section 3.3: prior knowledge). What each may cost is bounded.
fn protocols() -> auto::Builder<TokioExecutor> {
    let mut protocols = auto::Builder::new(TokioExecutor::new());
    protocols.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    protocols
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    protocols
}

/// Ends when a connection has had its time to send a first request, and has not.
async fn silence(first_request: &Notify) {
    if tokio::time::timeout(HEAD_TIMEOUT, first_request.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the server stops.
async fn stop_of(stopping: &mut watch::Receiver<bool>) {
    // The sender is gone when the server was dropped instead of stopped.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
