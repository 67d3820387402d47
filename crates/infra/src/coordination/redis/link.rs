//! The one connection to Redis, and whether it is up.
//!
//! Requests share it. The first that gets no answer in time takes it down, and until a new one answers nobody waits for Redis: a
//! dead server costs one timeout, not one each. News, such as of revoked API keys, come over the same connection, so that losing it and
//! not hearing are one and the same.

use super::library;
use crate::coordination::CoordinationError;
use crate::coordination::config::RedisUrl;
use crate::coordination::news::Known;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, PushInfo, PushKind, RedisError, TlsCertificates,
    Value,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long a connection may take to be set up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait before the next try.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// How often a quiet connection is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A connection that is kept up. Dropping it lets go.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    label: String,
    is_tls: bool,
    response_timeout: Duration,
    channel: String,
    known: Arc<Known>,
    state: Mutex<State>,
    losses: AtomicU64,
    /// Whether this connection was refused something, and the log says so.
    has_refused: AtomicBool,
    /// Rung when a request found the connection dead.
    is_down: Notify,
}

enum State {
    Up(MultiplexedConnection),
    Away(String),
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("to", &self.label).finish_non_exhaustive()
    }
}

impl Link {
    /// Looks for the server, once now, and from then on in the background.
    pub(super) async fn start(
        url: &RedisUrl,
        ca_file: Option<&Path>,
        response_timeout: Duration,
        channel: String,
        known: Arc<Known>,
    ) -> Result<Self, CoordinationError> {
        let shared = Arc::new(Shared {
            client: client(url, ca_file)?,
            label: url.to_string(),
            is_tls: url.is_tls(),
            response_timeout,
            channel,
            known,
            state: Mutex::new(State::Away("not yet connected".to_owned())),
            losses: AtomicU64::new(0),
            has_refused: AtomicBool::new(false),
            is_down: Notify::new(),
        });
        let (tried, first_try) = oneshot::channel();
        tokio::spawn(keep(Arc::downgrade(&shared), tried));
        // The keeper has tried, or is gone.
        let _ = first_try.await;
        Ok(Self { shared })
    }

    /// Asks Redis, if it is up.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CoordinationError> {
        let mut connection = self.shared.connection()?;
        let mut answer = ask(&mut connection, command).await;
        if answer.as_ref().is_err_and(|error| error.detail().is_some_and(library::is_missing)) {
            // Somebody emptied it: the connection need not have broken for that.
            answer = match load_library(&mut connection).await {
                Ok(()) => ask(&mut connection, command).await,
                Err(error) => Err(error),
            };
        }
        let value = answer.map_err(|error| self.shared.lost(&error))?;
        redis::from_redis_value(value)
            .map_err(|error| CoordinationError::Refuses { finding: error.to_string() })
    }

    /// What is wrong, when something is.
    pub(super) fn trouble(&self) -> Option<String> {
        match &*self.shared.state() {
            State::Up(_) => None,
            State::Away(finding) => Some(finding.clone()),
        }
    }

    /// How often it was lost.
    pub(super) fn losses(&self) -> u64 {
        self.shared.losses.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The keeper finds nobody to keep it for.
        self.shared.is_down.notify_one();
    }
}

/// The driver's client. A file of certificates is read now.
fn client(url: &RedisUrl, ca_file: Option<&Path>) -> Result<Client, CoordinationError> {
    let refused = |error: RedisError| CoordinationError::Refuses { finding: error.to_string() };
    let Some(path) = ca_file.filter(|_| url.is_tls()) else {
        return Client::open(url.info()).map_err(refused);
    };
    let bad = |finding: String| CoordinationError::CaFile { path: path.to_owned(), finding };
    let root_cert = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(root_cert) };
    Client::build_with_tls(url.info(), certificates).map_err(|error| bad(error.to_string()))
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> Result<MultiplexedConnection, CoordinationError> {
        match &*self.state() {
            State::Up(connection) => Ok(connection.clone()),
            State::Away(finding) => Err(CoordinationError::Away { finding: finding.clone() }),
        }
    }

    /// What an error means; one that says that the server is gone takes the connection down.
    fn lost(&self, error: &RedisError) -> CoordinationError {
        let finding = error.to_string();
        // These come from a server that is up and cannot work.
        let cannot_work = matches!(error.code(), Some("LOADING" | "BUSY" | "READONLY" | "MASTERDOWN"));
        if error.is_io_error() || cannot_work {
            self.take_down(&finding);
            self.is_down.notify_one();
            CoordinationError::Away { finding }
        } else {
            if !self.has_refused.swap(true, Ordering::Relaxed) {
                tracing::warn!(server = self.label, finding, "Redis refuses; said once a connection");
            }
            CoordinationError::Refuses { finding }
        }
    }

    fn take_down(&self, finding: &str) {
        let mut state = self.state();
        if let State::Up(_) = *state {
            *state = State::Away(finding.to_owned());
            drop(state);
            self.losses.fetch_add(1, Ordering::Relaxed);
            self.known.listen(false);
            tracing::warn!(server = self.label, finding, "Redis is away");
        }
    }

    /// Connects, loads the functions, and subscribes.
    async fn connect(&self) -> Result<(MultiplexedConnection, UnboundedReceiver<PushInfo>), RedisError> {
        // Only news come this way.
        let (pushed, pushes) = unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(CONNECT_TIMEOUT))
            .set_push_sender(pushed);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        load_library(&mut connection).await?;
        self.warn_of_eviction(&mut connection).await?;
        connection.subscribe(&self.channel).await?;
        connection.set_response_timeout(self.response_timeout);
        Ok((connection, pushes))
    }

    /// A server that drops what it likes when its memory is full drops buyers, too, and then has to be rebuilt.
    async fn warn_of_eviction(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let info = ask(connection, redis::cmd("INFO").arg("memory")).await?;
        let info: String = redis::from_redis_value(info)?;
        let says = |line: &str| info.lines().any(|found| found == line);
        if !says("maxmemory:0") && !says("maxmemory_policy:noeviction") {
            tracing::warn!(server = self.label, "Redis may evict keys; set maxmemory-policy to noeviction");
        }
        Ok(())
    }

    /// Takes in what Redis tells; whether the connection still lives.
    fn hear(&self, push: Option<PushInfo>) -> bool {
        let Some(push) = push else { return false };
        match push.kind {
            PushKind::Disconnection => return false,
            PushKind::Message => {
                let text = push.data.last().and_then(|last| match last {
                    Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
                    Value::SimpleString(text) => Some(text.as_str()),
                    _ => None,
                });
                self.known.hear(text.unwrap_or_default());
            }
            _ => {}
        }
        true
    }
}

/// Asks, and takes a refusal for the error it is: the driver hands it over as a value.
async fn ask(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    connection.send_packed_command(command).await?.extract_error()
}

async fn load_library(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    match ask(connection, &library::load()).await {
        Err(error) if !error.detail().is_some_and(library::is_there_already) => Err(error),
        _ => Ok(()),
    }
}

/// Keeps the connection up for as long as somebody wants it.
async fn keep(link: Weak<Shared>, tried: oneshot::Sender<()>) {
    let mut tried = Some(tried);
    while let Some(shared) = link.upgrade() {
        match timeout(CONNECT_TIMEOUT, shared.connect()).await {
            Ok(Ok((connection, pushes))) => {
                // In this order: nothing is remembered before news come.
                shared.has_refused.store(false, Ordering::Relaxed);
                *shared.state() = State::Up(connection.clone());
                shared.known.listen(true);
                tracing::info!(server = shared.label, "Redis is there");
                tried.take().map(|tried| tried.send(()));
                drop(shared);
                let finding = watch(&link, connection, pushes).await;
                let Some(shared) = link.upgrade() else { return };
                shared.take_down(&finding);
            }
            failed => {
                let finding = match failed {
                    Ok(Err(error)) if error.to_string().contains("unknown command") => {
                        format!("it is older than Redis 7: {error}")
                    }
                    Ok(Err(error)) if !error.is_timeout() => error.to_string(),
                    _ if shared.is_tls => {
                        "it does not answer to TLS: write redis:// if it speaks none".to_owned()
                    }
                    _ => "it does not answer".to_owned(),
                };
                let is_new = shared.trouble_is_new(&finding);
                if is_new {
                    tracing::warn!(server = shared.label, finding, "cannot reach Redis; it is tried again");
                }
                tried.take().map(|tried| tried.send(()));
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

impl Shared {
    /// Notes why there is no connection; whether that is another reason than before.
    fn trouble_is_new(&self, finding: &str) -> bool {
        let mut state = self.state();
        let is_new = !matches!(&*state, State::Away(before) if before == finding);
        *state = State::Away(finding.to_owned());
        is_new
    }
}

/// Hears what Redis tells until the connection is dead, and says how that was found.
async fn watch(
    link: &Weak<Shared>,
    mut connection: MultiplexedConnection,
    mut pushes: UnboundedReceiver<PushInfo>,
) -> String {
    let mut pings = interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let Some(shared) = link.upgrade() else { return String::new() };
        tokio::select! {
            push = pushes.recv() => if !shared.hear(push) { return "the connection broke".to_owned() },
            () = shared.is_down.notified() => {
                // A request found it so; or the last one let go.
                let away = matches!(&*shared.state(), State::Away(_));
                if away { return "a request got no answer".to_owned() }
            }
            _ = pings.tick() => {
                if let Err(error) = ask(&mut connection, &redis::cmd("PING")).await {
                    return error.to_string();
                }
            }
        }
    }
}
