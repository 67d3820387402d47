//! Sockets: UDP, a TCP listener, TCP connections in both directions. Everything received ends up in one bounded queue;
//! what does not fit is dropped where the protocol repeats it (UDP), or waits where the sender can (TCP).

use crate::config::{ListenAddress, SipConfig};
use crate::framing::{Frame, Framer};
use crate::parse::MESSAGE_BYTES_MAX;
use crate::peer::{Peer, Transport};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Packets waiting for the stack.
const INCOMING_MAX: usize = 4_096;
/// Messages waiting for one TCP connection to take them.
const CONNECTION_QUEUE_MAX: usize = 256;
/// One host may open this part of all connections, so that none shuts the others out.
const HOST_SHARE: usize = 4;
/// A peer that takes no bytes for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a socket error, so that an error that stays does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// How long open connections may take to send what is queued when the server stops.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process, or this one started twice.
    #[error("{address} is in use; stop the program that listens there, or change sip.listen")]
    InUse {
        /// The address asked for.
        address: Peer,
    },
    /// A port below 1024, usually.
    #[error(
        "{address} may not be listened on by this user; use a port above 1023, or grant CAP_NET_BIND_SERVICE"
    )]
    NotAllowed {
        /// The address asked for.
        address: Peer,
    },
    /// No interface of this machine has it.
    #[error(
        "{address} is no address of this machine; change sip.listen (and set sip.advertised_ip behind NAT)"
    )]
    NotOurs {
        /// The address asked for.
        address: Peer,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {error}")]
    Other {
        /// The address asked for.
        address: Peer,
        /// What the system says.
        error: io::Error,
    },
}

impl BindError {
    fn new(address: Peer, error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::AddrInUse => Self::InUse { address },
            ErrorKind::PermissionDenied => Self::NotAllowed { address },
            ErrorKind::AddrNotAvailable => Self::NotOurs { address },
            _ => Self::Other { address, error },
        }
    }
}

/// What happened on the sockets so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransportCounters {
    /// Datagrams dropped because too many were waiting.
    pub datagrams_dropped: u64,
    /// Datagrams of ours that the system did not take.
    pub datagrams_unsent: u64,
    /// TCP connections closed because their bytes were no SIP.
    pub streams_unreadable: u64,
    /// TCP connections closed because a message took too long, or the peer took none of ours.
    pub streams_too_slow: u64,
    /// TCP connections refused because too many were open.
    pub connections_refused: u64,
}

#[derive(Debug, Default)]
struct Tallies {
    datagrams_dropped: AtomicU64,
    datagrams_unsent: AtomicU64,
    streams_unreadable: AtomicU64,
    streams_too_slow: AtomicU64,
    connections_refused: AtomicU64,
}

fn count(tally: &AtomicU64) {
    tally.fetch_add(1, Ordering::Relaxed);
}

/// What the sockets bring.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A datagram, or one message of a stream.
    Message { from: Peer, bytes: Vec<u8> },
    /// Somebody connected.
    Accepted { stream: TcpStream, address: SocketAddr },
    /// A connection is over, or could not be made.
    Closed { address: SocketAddr, number: u64 },
}

/// All sockets of the server.
#[derive(Debug)]
pub(crate) struct Sockets {
    udp: Vec<Arc<UdpSocket>>,
    connections: HashMap<SocketAddr, Connection>,
    next_number: u64,
    incoming: mpsc::Sender<Incoming>,
    limits: Limits,
    tallies: Arc<Tallies>,
    /// Readers and connections; dropped, and so ended, with the server.
    tasks: JoinSet<()>,
    connection_tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Connection {
    number: u64,
    outgoing: mpsc::Sender<Vec<u8>>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    connections_max: usize,
    idle: Duration,
    message: Duration,
    connect: Duration,
}

impl Sockets {
    /// Listens on every address of `config`, and writes the ports that the system chose back into it.
    pub(crate) async fn bind(config: &mut SipConfig) -> Result<(Self, mpsc::Receiver<Incoming>), BindError> {
        let (incoming, received) = mpsc::channel(INCOMING_MAX);
        let limits = Limits {
            connections_max: config.max_tcp_connections,
            idle: Duration::from_secs(config.tcp_idle_timeout_s),
            message: Duration::from_millis(config.tcp_message_timeout_ms),
            connect: Duration::from_millis(config.trunk_timeout_ms),
        };
        let mut sockets = Self {
            udp: Vec::new(),
            connections: HashMap::new(),
            next_number: 0,
            incoming,
            limits,
            tallies: Arc::default(),
            tasks: JoinSet::new(),
            connection_tasks: JoinSet::new(),
        };
        for ListenAddress(own) in &mut config.listen {
            let bound = match own.transport {
                Transport::Udp => sockets.bind_udp(own.address).await,
                Transport::Tcp => sockets.bind_tcp(own.address).await,
            };
            own.address = bound.map_err(|error| BindError::new(*own, error))?;
        }
        Ok((sockets, received))
    }

    async fn bind_udp(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let socket = Arc::new(UdpSocket::bind(address).await?);
        let bound = socket.local_addr()?;
        self.udp.push(Arc::clone(&socket));
        self.tasks.spawn(read_datagrams(socket, self.incoming.clone(), Arc::clone(&self.tallies)));
        Ok(bound)
    }

    async fn bind_tcp(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        self.tasks.spawn(accept_connections(listener, self.incoming.clone()));
        Ok(bound)
    }

    pub(crate) fn counters(&self) -> TransportCounters {
        let read = |tally: &AtomicU64| tally.load(Ordering::Relaxed);
        TransportCounters {
            datagrams_dropped: read(&self.tallies.datagrams_dropped),
            datagrams_unsent: read(&self.tallies.datagrams_unsent),
            streams_unreadable: read(&self.tallies.streams_unreadable),
            streams_too_slow: read(&self.tallies.streams_too_slow),
            connections_refused: read(&self.tallies.connections_refused),
        }
    }

    /// Sends without waiting. `false` if the peer cannot be reached this way.
    pub(crate) fn send(&mut self, to: Peer, bytes: Vec<u8>) -> bool {
        match to.transport {
            Transport::Udp => self.send_datagram(to.address, &bytes),
            Transport::Tcp => self.send_on_connection(to.address, bytes),
        }
    }

    fn send_datagram(&self, to: SocketAddr, bytes: &[u8]) -> bool {
        let same_family =
            |socket: &&Arc<UdpSocket>| socket.local_addr().is_ok_and(|own| own.is_ipv4() == to.is_ipv4());
        let Some(socket) = self.udp.iter().find(same_family) else { return false };
        match socket.try_send_to(bytes, to) {
            Ok(_) => true,
            Err(error) => {
                count(&self.tallies.datagrams_unsent);
                // A full socket buffer is a lost packet, which will be repeated; anything else does not get better.
                error.kind() == ErrorKind::WouldBlock
            }
        }
    }

    fn send_on_connection(&mut self, to: SocketAddr, bytes: Vec<u8>) -> bool {
        if !self.connections.contains_key(&to) && !self.open(to, None) {
            return false;
        }
        let Some(connection) = self.connections.get(&to) else { return false };
        let taken = connection.outgoing.try_send(bytes).is_ok();
        if !taken {
            count(&self.tallies.streams_too_slow);
            // Dropping the queue ends the connection.
            self.connections.remove(&to);
        }
        taken
    }

    /// Takes a connection somebody made.
    pub(crate) fn accept(&mut self, stream: TcpStream, address: SocketAddr) {
        let of_same_host = self.connections.keys().filter(|other| other.ip() == address.ip()).count();
        let of_same_host_max = (self.limits.connections_max / HOST_SHARE).max(1);
        if of_same_host >= of_same_host_max || !self.open(address, Some(stream)) {
            count(&self.tallies.connections_refused);
            tracing::debug!(%address, "TCP connection refused: too many are open");
        }
    }

    /// A connection is over. `false` if it had been replaced or given up already.
    pub(crate) fn forget(&mut self, address: SocketAddr, number: u64) -> bool {
        while self.connection_tasks.try_join_next().is_some() {}
        let is_current = self.connections.get(&address).is_some_and(|connection| connection.number == number);
        if is_current {
            self.connections.remove(&address);
        }
        is_current
    }

    fn open(&mut self, address: SocketAddr, stream: Option<TcpStream>) -> bool {
        if self.connections.len() >= self.limits.connections_max {
            return false;
        }
        let (outgoing, queue) = mpsc::channel(CONNECTION_QUEUE_MAX);
        let number = self.next_number;
        self.next_number += 1;
        let task = ConnectionTask {
            address,
            number,
            incoming: self.incoming.clone(),
            queue,
            limits: self.limits,
            tallies: Arc::clone(&self.tallies),
        };
        self.connection_tasks.spawn(task.run(stream));
        self.connections.insert(address, Connection { number, outgoing });
        true
    }

    /// Stops listening, lets connections send what is queued, and closes them.
    pub(crate) async fn close(mut self) {
        self.tasks.shutdown().await;
        self.connections.clear();
        let all = async { while self.connection_tasks.join_next().await.is_some() {} };
        if timeout(CLOSE_TIMEOUT, all).await.is_err() {
            tracing::debug!("some TCP peers did not take the last messages in time");
        }
    }
}

async fn read_datagrams(socket: Arc<UdpSocket>, incoming: mpsc::Sender<Incoming>, tallies: Arc<Tallies>) {
    let mut buffer = vec![0; MESSAGE_BYTES_MAX + 1];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, address)) => {
                let message =
                    Incoming::Message { from: Peer::udp(address), bytes: buffer[..length].to_vec() };
                match incoming.try_send(message) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => count(&tallies.datagrams_dropped),
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot receive datagrams");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

async fn accept_connections(listener: TcpListener, incoming: mpsc::Sender<Incoming>) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if incoming.send(Incoming::Accepted { stream, address }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept TCP connections");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// One TCP connection.
struct ConnectionTask {
    address: SocketAddr,
    number: u64,
    incoming: mpsc::Sender<Incoming>,
    queue: mpsc::Receiver<Vec<u8>>,
    limits: Limits,
    tallies: Arc<Tallies>,
}

impl ConnectionTask {
    async fn run(mut self, stream: Option<TcpStream>) {
        let stream = match stream {
            Some(stream) => Some(stream),
            None => {
                timeout(self.limits.connect, TcpStream::connect(self.address)).await.ok().and_then(Result::ok)
            }
        };
        if let Some(stream) = stream {
            // A small message must not wait for the next one; where that cannot be set it is only slower.
            let _ = stream.set_nodelay(true);
            self.serve(stream).await;
        }
        let closed = Incoming::Closed { address: self.address, number: self.number };
        // Nobody listens any more when the server has stopped.
        let _ = self.incoming.send(closed).await;
    }

    async fn serve(&mut self, mut stream: TcpStream) {
        let mut framer = Framer::default();
        let mut chunk = vec![0; 16 * 1024];
        let mut message_began = None;
        loop {
            let patience = match message_began {
                Some(began) => began + self.limits.message,
                None => Instant::now() + self.limits.idle,
            };
            tokio::select! {
                received = stream.read(&mut chunk) => match received {
                    Ok(0) | Err(_) => return,
                    Ok(length) => {
                        framer.push(&chunk[..length]);
                        let Some(any_whole) = self.take_frames(&mut framer, &mut stream).await else { return };
                        let began = message_began.filter(|_| !any_whole).unwrap_or(Instant::now());
                        message_began = framer.is_mid_message().then_some(began);
                    }
                },
                bytes = self.queue.recv() => match bytes {
                    Some(bytes) if self.write(&mut stream, &bytes).await => {}
                    _ => return,
                },
                () = sleep_until(patience) => {
                    if message_began.is_some() {
                        count(&self.tallies.streams_too_slow);
                    }
                    return;
                }
            }
        }
    }

    /// Hands on whole messages: whether there was any, or `None` when the stream is of no more use.
    async fn take_frames(&self, framer: &mut Framer, stream: &mut TcpStream) -> Option<bool> {
        let mut any_whole = false;
        loop {
            match framer.next_frame() {
                Ok(Some(Frame::Message(bytes))) => {
                    let message = Incoming::Message { from: Peer::tcp(self.address), bytes };
                    self.incoming.send(message).await.ok()?;
                    any_whole = true;
                }
                Ok(Some(Frame::Ping)) => {
                    self.write(stream, b"\r\n").await.then_some(())?;
                    any_whole = true;
                }
                Ok(None) => return Some(any_whole),
                Err(error) => {
                    count(&self.tallies.streams_unreadable);
                    tracing::debug!(address = %self.address, %error, "TCP connection closed");
                    return None;
                }
            }
        }
    }

    /// `false` when the peer does not take it.
    async fn write(&self, stream: &mut TcpStream, bytes: &[u8]) -> bool {
        let written = timeout(WRITE_TIMEOUT, stream.write_all(bytes)).await;
        if written.is_err() {
            count(&self.tallies.streams_too_slow);
        }
        matches!(written, Ok(Ok(())))
    }
}
