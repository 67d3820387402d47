//! The connections of one bidder, kept open between requests.
//!
//! A request takes one that is idle, or waits for one: for a new one, or for one that is given back meanwhile. What is being
//! made when the request's time is up is finished and kept for the next, else a bidder whose TLS handshake takes longer than an
//! auction would never be reached.

use super::connect::{ConnectError, Connection, Connector, Origin};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::CONTENT_ENCODING;
use hyper::{Request, Response, StatusCode};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The most of an answer's body that is read, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1_024;

/// A request as it goes out: to be sent again if a kept connection turns out to have been closed.
pub(crate) type Message = Request<Full<Bytes>>;

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// It has a content coding, which was not asked for.
    pub(super) is_encoded: bool,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("not HTTP: {0}")]
    Garbled(hyper::Error),
    #[error("the answer is larger than it may be")]
    TooLarge,
    #[error("the connection broke: {0}")]
    Broken(hyper::Error),
}

impl From<hyper::Error> for SendError {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::TooLarge
        } else if error.is_parse() {
            Self::Garbled(error)
        } else {
            Self::Broken(error)
        }
    }
}

type Waiter = oneshot::Sender<Result<Connection, ConnectError>>;

/// The connections to one origin.
pub(crate) struct Pool {
    origin: Origin,
    connector: Arc<Connector>,
    lookup_lifetime: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one used last is at the end, and used next: the surplus ages.
    idle: Vec<(Connection, Instant)>,
    waiters: VecDeque<Waiter>,
    /// Connections being made.
    connecting: usize,
    addresses: Option<(Arc<[SocketAddr]>, Instant)>,
}

impl Pool {
    pub(crate) fn new(origin: Origin, connector: Arc<Connector>, lookup_lifetime: Duration) -> Self {
        Self { origin, connector, lookup_lifetime, state: Mutex::default() }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn idle_count(&self) -> usize {
        self.state().idle.len()
    }

    /// Closes what was idle for longer than `idle_timeout`, or was closed by the other side.
    pub(crate) fn sweep(&self, idle_timeout: Duration) {
        let now = Instant::now();
        self.state().idle.retain(|(connection, since)| {
            !connection.sender.is_closed() && now.duration_since(*since) < idle_timeout
        });
    }

    /// Sends a request and reads the answer to its end. A kept connection may have been closed while the request was on its
    /// way: then it is sent once more, on another connection. Asking the same question twice changes nothing (RFC 9110
    /// section 9.2.2): it names the call and the bid.
    pub(crate) async fn send(self: &Arc<Self>, message: Message) -> Result<Answer, SendError> {
        let mut connection = self.take(true).await?;
        let sent = match connection.send(message.clone()).await {
            Err(SendError::Broken(_)) if connection.was_used => {
                connection = self.take(false).await?;
                connection.send(message).await
            }
            sent => sent,
        };
        let answer = read(sent?).await?;
        connection.was_used = true;
        self.give_back(connection);
        Ok(answer)
    }

    async fn take(self: &Arc<Self>, idle_too: bool) -> Result<Connection, ConnectError> {
        let waiting = {
            let mut state = self.state();
            while idle_too && let Some((connection, _)) = state.idle.pop() {
                if !connection.sender.is_closed() {
                    return Ok(connection);
                }
            }
            // Those whose time was up are gone: as many wait as requests are in flight.
            state.waiters.retain(|waiter| !waiter.is_closed());
            let (waiter, waiting) = oneshot::channel();
            state.waiters.push_back(waiter);
            if state.connecting < state.waiters.len() {
                state.connecting += 1;
                tokio::spawn(Arc::clone(self).connect());
            }
            waiting
        };
        waiting.await.unwrap_or(Err(ConnectError::GivenUp))
    }

    async fn connect(self: Arc<Self>) {
        let known = self.state().addresses.clone();
        let known = known.filter(|(_, since)| since.elapsed() < self.lookup_lifetime);
        let looked_up = known.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        let made = self.connector.connect(&self.origin, known.map(|(addresses, _)| addresses)).await;
        let mut state = self.state();
        state.connecting -= 1;
        match made {
            Ok((connection, addresses)) => {
                state.addresses = Some((addresses, looked_up));
                state.hand_over(connection);
            }
            Err(error) => {
                tracing::debug!(origin = %self.origin, %error, "no connection to a live bidder");
                state.addresses = None;
                state.fail_one(error);
            }
        }
    }

    fn give_back(&self, connection: Connection) {
        if !connection.sender.is_closed() {
            self.state().hand_over(connection);
        }
    }

    /// Nothing in here is left half done by a panic: the state is good even if one happened.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// To whoever waits longest, else to the idle ones.
    fn hand_over(&mut self, mut connection: Connection) {
        while let Some(waiter) = self.waiters.pop_front() {
            match waiter.send(Ok(connection)) {
                Err(Ok(not_taken)) => connection = not_taken,
                Ok(()) | Err(Err(_)) => return,
            }
        }
        self.idle.push((connection, Instant::now()));
    }

    fn fail_one(&mut self, error: ConnectError) {
        let mut error = error;
        while let Some(waiter) = self.waiters.pop_front() {
            match waiter.send(Err(error)) {
                Err(Err(not_taken)) => error = not_taken,
                Ok(()) | Err(Ok(_)) => return,
            }
        }
    }
}

impl Connection {
    async fn send(&mut self, message: Message) -> Result<Response<Incoming>, SendError> {
        self.sender.ready().await?;
        Ok(self.sender.send_request(message).await?)
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, SendError> {
    let (head, mut rest) = response.into_parts();
    if rest.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(SendError::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(frame) = rest.frame().await {
        // Trailers say nothing that is asked for.
        let Ok(data) = frame?.into_data() else { continue };
        if body.len() + data.len() > BODY_BYTES_MAX {
            return Err(SendError::TooLarge);
        }
        body.extend_from_slice(&data);
    }
    let is_encoded = head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    Ok(Answer { status: head.status, is_encoded, body })
}
