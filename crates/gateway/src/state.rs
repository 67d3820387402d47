//! What every handler is given: the engine, the store, the limits.

use crate::config::HttpConfig;
use crate::live_bids::Sessions;
use crate::problem::Problem;
use crate::wrong_keys::WrongKeys;
use engine::Engine;
use exchange::account::Account;
use exchange::audit::Actor;
use exchange::bid::BidProfile;
use exchange::id::{AccountId, BidProfileId};
use exchange::phone_number::PhoneNumber;
use exchange::time::Timestamp;
use exchange::tracking_number::TrackingNumber;
use infra::coordination::{Coordination, RateLimit, RateLimiter, SecretHash};
use infra::store::{ApiKey, Reader, StoreError};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Whether something the exchange depends on works (`Ok`) or not (`Err`), with what was found.
pub type Probe = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// What the gateway stands on.
pub struct Dependencies {
    /// Takes commands.
    pub engine: Engine,
    /// Answers reads.
    pub reader: Reader,
    /// What nodes agree on: rate limits, and keys that are revoked.
    pub coordination: Coordination,
    /// Renders metrics.
    pub metrics: PrometheusHandle,
    /// Further parts of the exchange that `/health/ready` tells about, such as `sip`.
    pub probes: Vec<(&'static str, Probe)>,
}

/// Shared by all requests; clones are cheap.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Inner>);

struct Inner {
    dependencies: Dependencies,
    rates: RateLimiter<Uuid>,
    wrong_keys: WrongKeys,
    in_flight: Semaphore,
    request_timeout: Duration,
    public_sip_host: Option<String>,
    sessions: Sessions,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    pub(crate) fn new(config: &HttpConfig, dependencies: Dependencies) -> Self {
        let coordination = &dependencies.coordination;
        let rate = RateLimit::new(config.requests_per_minute, config.requests_burst);
        Self(Arc::new(Inner {
            rates: RateLimiter::new(coordination, "key", rate),
            wrong_keys: WrongKeys::new(config, coordination),
            dependencies,
            in_flight: Semaphore::new(config.requests_in_flight_max),
            request_timeout: Duration::from_millis(config.request_timeout_ms),
            public_sip_host: config.public_sip_host.clone(),
            sessions: Sessions::new(config.live_bid_sessions_max),
        }))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.dependencies.engine
    }

    pub(crate) fn metrics(&self) -> &PrometheusHandle {
        &self.0.dependencies.metrics
    }

    pub(crate) fn probes(&self) -> &[(&'static str, Probe)] {
        &self.0.dependencies.probes
    }

    pub(crate) fn rates(&self) -> &RateLimiter<Uuid> {
        &self.0.rates
    }

    pub(crate) fn wrong_keys(&self) -> &WrongKeys {
        &self.0.wrong_keys
    }

    pub(crate) fn in_flight(&self) -> &Semaphore {
        &self.0.in_flight
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.0.request_timeout
    }

    pub(crate) fn public_sip_host(&self) -> Option<&str> {
        self.0.public_sip_host.as_deref()
    }

    /// The sessions of connected bidders.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// The store, for what reads on a thread of its own.
    pub(crate) fn reader(&self) -> &Reader {
        &self.0.dependencies.reader
    }

    /// Reads from the store, off the threads that serve connections.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let reader = self.0.dependencies.reader.clone();
        let read = tokio::task::spawn_blocking(move || read(&reader)).await;
        read.map_err(|error| Problem::internal(&error))?.map_err(Problem::from)
    }

    /// An account. Looked up a moment ago, and not changed since, the store is not asked.
    pub(crate) async fn account(&self, id: AccountId) -> Result<Option<Account>, Problem> {
        let read = || self.read(move |reader| reader.account(id));
        self.engine().documents().account(id, read).await
    }

    /// A tracking number, in the same way.
    pub(crate) async fn tracking_number(
        &self,
        number: PhoneNumber,
    ) -> Result<Option<TrackingNumber>, Problem> {
        let read = || self.read(move |reader| reader.tracking_number(number));
        self.engine().documents().tracking_number(number, read).await
    }

    /// A bid profile, in the same way.
    pub(crate) async fn bid_profile(&self, id: BidProfileId) -> Result<Option<BidProfile>, Problem> {
        let read = || self.read(move |reader| reader.bid_profile(id));
        self.engine().documents().bid_profile(id, read).await
    }

    /// The API key or session with this secret, unless it is revoked. Looked up a moment ago, the store is not asked.
    pub(crate) async fn api_key(&self, hash: SecretHash) -> Result<Option<ApiKey>, Problem> {
        let read = || self.read(move |reader| reader.api_key_by_hash(&hash));
        self.0.dependencies.coordination.api_key(hash, read).await
    }

    /// Revokes an API key with its sessions, or a session, for good: no node hears it from now on. One that is revoked already keeps its
    /// first moment.
    pub(crate) async fn revoke_api_key(&self, key: ApiKey, actor: Actor) -> Result<(), Problem> {
        let id = key.id;
        if key.revoked_at.is_none() {
            self.engine().revoke_api_key(key, now(), actor).await?;
        }
        if let Err(error) = self.0.dependencies.coordination.revoked(id).await {
            tracing::warn!(%error, key = %id, "other nodes may believe a revoked key for some seconds");
        }
        Ok(())
    }
}

/// The wall clock. Commands are dated by the engine; this dates what never reaches it.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
