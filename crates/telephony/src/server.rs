//! The running SIP server: one task that owns the stack, around it sockets, a clock and the engine.

use crate::config::{SipConfig, SipConfigError};
use crate::peer::Peer;
use crate::stack::{Counters, Output, Stack};
use crate::transport::{BindError, Incoming, Sockets, TransportCounters};
use exchange::effect::{Action, Input};
use exchange::id::CallId;
use exchange::time::Timestamp;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::lookup_host;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Longest sleep when nothing is due.
const IDLE_SLEEP: Duration = Duration::from_mins(1);
/// Actions done before packets are looked at again.
const ACTIONS_PER_TURN: usize = 256;

/// Host names looked up at once, at most; over it a destination's known addresses must do.
const LOOKUPS_MAX: usize = 256;
/// All host names of a destination must be found within this.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] SipConfigError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// The engine did not take an input; the call is refused with 503 and `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the exchange is overloaded")]
pub struct Overloaded;

/// How the server is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerStatus {
    /// Calls with a leg still up.
    pub live_calls: usize,
    /// What happened in SIP.
    pub sip: Counters,
    /// What happened on the sockets.
    pub transport: TransportCounters,
}

/// A handle on the running server. Dropping it leaves the server running until its runtime ends.
#[derive(Debug)]
pub struct SipServer {
    local_addresses: Vec<Peer>,
    control: mpsc::Sender<Control>,
    status: watch::Receiver<ServerStatus>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control {
    Drain,
    Stop,
}

/// Listens and serves. Actions of the exchange come in on `actions`, whose depth is bounded by the calls the engine let
/// in; what happens to calls goes out through `deliver`, which must not block. `seed` decides all identifiers: draw it
/// from the operating system.
pub async fn start(
    mut config: SipConfig,
    seed: u64,
    actions: UnboundedReceiver<(CallId, Action)>,
    deliver: impl Fn(CallId, Input) -> Result<(), Overloaded> + Send + 'static,
) -> Result<SipServer, ServerError> {
    config.check()?;
    let (sockets, incoming) = Sockets::bind(&mut config).await?;
    let local_addresses = config.listen.iter().map(|own| own.0).collect();
    let stack = Stack::new(config, seed)?;
    let (control, controls) = mpsc::channel(4);
    let (publish, status) = watch::channel(ServerStatus::default());
    let shell = Shell { stack, sockets, clock: Clock::start(), deliver, lookups: JoinSet::new(), publish };
    let task = tokio::spawn(shell.run(incoming, actions, controls));
    Ok(SipServer { local_addresses, control, status, task })
}

impl SipServer {
    /// Where it listens, with the ports the system chose.
    pub fn local_addresses(&self) -> &[Peer] {
        &self.local_addresses
    }

    /// How it is doing.
    pub fn status(&self) -> ServerStatus {
        *self.status.borrow()
    }

    /// How it is doing, from now on, for whoever reports it.
    pub fn watch(&self) -> watch::Receiver<ServerStatus> {
        self.status.clone()
    }

    /// Calls with a leg still up.
    pub fn live_calls(&self) -> usize {
        self.status().live_calls
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.status().sip
    }

    /// Takes no new calls from now on (503); those that are up go on.
    pub async fn drain(&self) {
        // A server that has stopped takes no calls either.
        let _ = self.control.send(Control::Drain).await;
    }

    /// Waits until no call is up, or until `patience` is over; `true` if none is.
    pub async fn drained(&self, patience: Duration) -> bool {
        let mut status = self.status.clone();
        let idle = status.wait_for(|status| status.live_calls == 0);
        tokio::time::timeout(patience, idle).await.is_ok()
    }

    /// Stops at once: sends what is queued and closes every socket. Drain first to spare the calls.
    pub async fn shutdown(self) {
        let _ = self.control.send(Control::Stop).await;
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the SIP server ended badly");
        }
    }
}

/// A clock that never runs backwards, for timers. It starts at the system's time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    started: Instant,
    started_at: Timestamp,
}

impl Clock {
    fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_at = Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX));
        Self { started: Instant::now(), started_at }
    }

    fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }

    fn instant(&self, at: Timestamp) -> Instant {
        self.started + Duration::from_micros(u64::try_from(at - self.started_at).unwrap_or(0))
    }
}

/// An action that waited for addresses, and what was found.
struct Lookup {
    call: CallId,
    action: Action,
    hosts: Vec<(String, Vec<IpAddr>)>,
}

async fn look_up(names: Vec<String>, call: CallId, action: Action) -> Lookup {
    let mut hosts = Vec::with_capacity(names.len());
    let give_up_at = Instant::now() + LOOKUP_TIMEOUT;
    for name in names {
        let found = timeout_at(give_up_at, lookup_host((name.as_str(), 0))).await.ok().and_then(Result::ok);
        let addresses = found.into_iter().flatten().map(|address| address.ip()).collect();
        hosts.push((name, addresses));
    }
    Lookup { call, action, hosts }
}

struct Shell<F> {
    stack: Stack,
    sockets: Sockets,
    clock: Clock,
    deliver: F,
    lookups: JoinSet<Lookup>,
    publish: watch::Sender<ServerStatus>,
}

impl<F: Fn(CallId, Input) -> Result<(), Overloaded> + Send + 'static> Shell<F> {
    async fn run(
        mut self,
        mut incoming: Receiver<Incoming>,
        mut actions: UnboundedReceiver<(CallId, Action)>,
        mut controls: Receiver<Control>,
    ) {
        let mut engine_lives = true;
        loop {
            let idle = Instant::now() + IDLE_SLEEP;
            let wake_at = self.stack.next_deadline().map_or(idle, |at| self.clock.instant(at).min(idle));
            // In this order: calls that are up go before packets, which may be new calls.
            tokio::select! {
                biased;
                // Without a handle nobody can stop the server, and it goes on.
                Some(control) = controls.recv() => match control {
                    Control::Drain => self.stack.drain(),
                    Control::Stop => break,
                },
                action = actions.recv(), if engine_lives => {
                    engine_lives = action.is_some();
                    self.act(action, &mut actions);
                }
                () = sleep_until(wake_at) => self.stack.tick(self.clock.now()),
                Some(found) = self.lookups.join_next() => self.ring_found(found),
                Some(received) = incoming.recv() => self.take(received),
            }
            self.flush();
        }
        while let Ok((call, action)) = actions.try_recv() {
            self.stack.act(call, &action, self.clock.now());
        }
        self.flush();
        self.sockets.close().await;
    }

    fn act(&mut self, first: Option<(CallId, Action)>, more: &mut UnboundedReceiver<(CallId, Action)>) {
        let now = self.clock.now();
        let waiting = std::iter::from_fn(|| more.try_recv().ok());
        for (call, action) in first.into_iter().chain(waiting.take(ACTIONS_PER_TURN)) {
            let names = self.stack.hosts_needed(&action, now);
            if names.is_empty() || self.lookups.len() >= LOOKUPS_MAX {
                self.stack.act(call, &action, now);
            } else {
                self.lookups.spawn(look_up(names, call, action));
            }
        }
    }

    /// Rings a target whose host names have been looked up. Should the call have moved on, the stack ignores it.
    fn ring_found(&mut self, found: Result<Lookup, JoinError>) {
        // A look-up that panicked has said so; the engine's ring timer moves the call on.
        let Ok(Lookup { call, action, hosts }) = found else { return };
        let now = self.clock.now();
        for (name, addresses) in hosts {
            self.stack.host_found(&name, addresses, now);
        }
        self.stack.act(call, &action, now);
    }

    fn take(&mut self, received: Incoming) {
        let now = self.clock.now();
        match received {
            Incoming::Message { from, bytes } => self.stack.receive(&bytes, from, now),
            Incoming::Accepted { stream, address } => self.sockets.accept(stream, address),
            Incoming::Closed { address, number } => {
                if self.sockets.forget(address, number) {
                    self.stack.transport_failed(Peer::tcp(address), now);
                }
            }
        }
    }

    fn flush(&mut self) {
        while let Some(output) = self.stack.poll_output() {
            match output {
                Output::Send { to, bytes } => {
                    if !self.sockets.send(to, bytes) {
                        self.stack.transport_failed(to, self.clock.now());
                    }
                }
                Output::Input { call, input } => {
                    if (self.deliver)(call, input).is_err() {
                        self.stack.refuse(call, self.clock.now());
                    }
                }
            }
        }
        let live_calls = self.stack.live_calls();
        let (sip, transport) = (self.stack.counters(), self.sockets.counters());
        self.publish.send_if_modified(|status| {
            let fresh = ServerStatus { live_calls, sip, transport };
            let changed = *status != fresh;
            *status = fresh;
            changed
        });
    }
}
