//! Coordination: what nodes must agree on from one moment to the next. Rate limits, velocity counters, API keys and sessions that were
//! revoked, and reservations of a buyer's money and of bids' caps.
//!
//! Two adapters behind one API: in memory, for the only node there is, and on a Redis server that nodes share. Nothing here is the
//! truth: it is rebuilt from the store when it is lost. What happens meanwhile is a policy ([`WhenLost`]).
//!
//! Absent on purpose: durability, and decisions that are not about having room.

mod config;
mod rate;
mod velocity;
mod remembered;
mod news;
mod reservation;
mod memory;
mod redis;

pub use config::{BadRedisUrl, CoordinationConfig, CoordinationKind, RedisUrl, WhenLost};
pub use rate::{RateLimit, RateLimiter, Verdict};
pub use remembered::Remembered;
pub use reservation::{
    BuyerFigures, Ended, InUse, OpenReservation, Reservation, ReservationKey, Reserved, Shortage,
};
pub use velocity::{Velocity, VelocityCounter, VelocityLimits};

use self::redis::Redis;
use crate::store::ApiKey;
use exchange::id::{AccountId, CallId};
use exchange::ledger::money::Micros;
use exchange::snapshot::Snapshot;
use memory::MemoryReservations;
use news::Known;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use uuid::Uuid;

/// SHA-256 of an API key's secret.
pub type SecretHash = [u8; 32];

/// Why nothing was agreed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoordinationError {
    /// Redis is not there, or did not answer in time: what was asked may have been done, or be done yet.
    #[error("Redis is away: {finding}; check that the server of `coordination.url` is up and reachable")]
    Away {
        /// What was found.
        finding: String,
    },
    /// Redis answered, and refused.
    #[error("Redis refuses: {finding}; see what its log says")]
    Refuses {
        /// In its words.
        finding: String,
    },
    /// `coordination.kind` is redis, and there is no address.
    #[error("coordination.url is not set; write redis://user:password@host:6379/0")]
    NoUrl,
    /// The certificates of authorities cannot be read.
    #[error(
        "coordination.ca_file {path}: {finding}; name a PEM file with the certificates of those you trust"
    )]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        finding: String,
    },
    /// A newer epoch is there already: another node has rebuilt it since.
    #[error("epoch {epoch} is not newer than what is there; another node has rebuilt it: take its epoch")]
    StaleEpoch {
        /// What was to be loaded.
        epoch: NonZeroU64,
    },
    /// Redis counts in doubles, which are exact up to here.
    #[error("{micros} micro-units are more than {} can be counted in Redis; move less", redis::MICROS_MAX)]
    TooMuchMoney {
        /// The amount.
        micros: i64,
    },
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoordinationStatus {
    /// There is nothing to lose.
    InMemory,
    /// Redis answers.
    Up,
    /// Redis is away; this node goes on, or not, as the policy says.
    Away {
        /// What was found.
        finding: String,
        /// What is done meanwhile.
        policy: WhenLost,
    },
}

/// What nodes agree on. Clones are the same.
#[derive(Debug, Clone)]
pub struct Coordination(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    adapter: Adapter,
    known: Arc<Known>,
}

/// Where it is kept.
#[derive(Debug)]
enum Adapter {
    Memory(Box<MemoryReservations>),
    Redis(Redis),
}

impl Coordination {
    /// In memory: for a node that is alone.
    pub fn in_memory() -> Self {
        let known = Arc::new(Known::default());
        // Every revocation comes through here.
        known.listen(true);
        Self(Arc::new(Inner { adapter: Adapter::Memory(Box::default()), known }))
    }

    /// As configured. Redis is looked for at once, and for ever: being away is no error. Within a tokio runtime.
    pub async fn start(config: &CoordinationConfig) -> Result<Self, CoordinationError> {
        if config.kind == CoordinationKind::Memory {
            return Ok(Self::in_memory());
        }
        let known = Arc::new(Known::default());
        let redis = Redis::start(config, Arc::clone(&known)).await?;
        Ok(Self(Arc::new(Inner { adapter: Adapter::Redis(redis), known })))
    }

    fn adapter(&self) -> &Adapter {
        &self.0.adapter
    }

    /// Whether what nodes share is there.
    pub fn status(&self) -> CoordinationStatus {
        match self.adapter() {
            Adapter::Memory(_) => CoordinationStatus::InMemory,
            Adapter::Redis(redis) => redis.status(),
        }
    }

    /// How often Redis was lost since the start.
    pub fn losses(&self) -> u64 {
        match self.adapter() {
            Adapter::Memory(_) => 0,
            Adapter::Redis(redis) => redis.losses(),
        }
    }

    /// The API key or session with this secret: remembered for a moment, else as `read` finds it.
    pub async fn api_key<E, Reading: Future<Output = Result<Option<ApiKey>, E>>>(
        &self,
        hash: SecretHash,
        read: impl FnOnce() -> Reading,
    ) -> Result<Option<ApiKey>, E> {
        self.0.known.api_keys.find(hash, read).await
    }

    /// Has every node forget an API key with its sessions, or a session. To be called when the revocation is durable; a failure leaves
    /// it to other nodes' short memory, and is not the revocation's.
    pub async fn revoked(&self, id: Uuid) -> Result<(), CoordinationError> {
        self.0.known.revoked(id);
        match self.adapter() {
            Adapter::Memory(_) => Ok(()),
            Adapter::Redis(redis) => redis.publish_revocation(id).await,
        }
    }

    /// Takes the money and the room of one attempt, all of it or nothing. The same key again is answered as before.
    pub async fn reserve(&self, wanted: &Reservation<'_>) -> Result<Reserved, CoordinationError> {
        match self.adapter() {
            Adapter::Memory(memory) => Ok(memory.reserve(wanted)),
            Adapter::Redis(redis) => redis.reserve(wanted).await,
        }
    }

    /// Gives back all that an attempt took: nobody answered. Never reserved, it can never be from now on.
    pub async fn release(&self, buyer: AccountId, key: ReservationKey) -> Result<Ended, CoordinationError> {
        match self.adapter() {
            Adapter::Memory(memory) => Ok(memory.release(buyer, key)),
            Adapter::Redis(redis) => redis.release(buyer, key).await,
        }
    }

    /// Ends an answered attempt: what was charged, or stays held for the buyer's revenue, is spent; `None` did not convert.
    pub async fn finish(
        &self,
        buyer: AccountId,
        key: ReservationKey,
        spent: Option<Micros>,
    ) -> Result<Ended, CoordinationError> {
        match self.adapter() {
            Adapter::Memory(memory) => Ok(memory.finish(buyer, key, spent)),
            Adapter::Redis(redis) => redis.finish(buyer, key, spent).await,
        }
    }

    /// Gives back, after the call, what stayed spent and was not charged in the end. Once for each attempt.
    pub async fn give_back_spend(
        &self,
        ended: &OpenReservation,
        unspent: Micros,
    ) -> Result<Ended, CoordinationError> {
        match self.adapter() {
            Adapter::Memory(memory) => Ok(memory.give_back_spend(ended, unspent)),
            Adapter::Redis(redis) => redis.give_back_spend(ended, unspent).await,
        }
    }

    /// A buyer paid in. The same reference again within minutes changes nothing; later, the store has refused it before.
    pub async fn deposit(
        &self,
        buyer: AccountId,
        amount: Micros,
        reference: &str,
    ) -> Result<Ended, CoordinationError> {
        match self.adapter() {
            Adapter::Memory(memory) => Ok(memory.deposit(buyer, amount, reference)),
            Adapter::Redis(redis) => redis.deposit(buyer, amount, reference).await,
        }
    }

    /// A new buyer, without money. One that is there stays as it is.
    pub async fn open_buyer(&self, buyer: AccountId) -> Result<(), CoordinationError> {
        match self.adapter() {
            Adapter::Memory(memory) => memory.open_buyer(buyer),
            Adapter::Redis(redis) => redis.open_buyer(buyer).await?,
        }
        Ok(())
    }

    /// Loads every buyer's money, usage and open attempts, as of an epoch that is newer than any before. `node_of` says where a
    /// call is. For when [`Coordination::join`] finds nothing: what was reserved since the snapshot is overwritten. Until it is done
    /// nothing is reserved for the buyers that are missing; one that fails half way is tried again under the next epoch.
    pub async fn rebuild(
        &self,
        snapshot: &Snapshot,
        epoch: NonZeroU64,
        node_of: impl Fn(CallId) -> Uuid,
    ) -> Result<(), CoordinationError> {
        match self.adapter() {
            Adapter::Memory(memory) => memory.rebuild(snapshot, epoch, &node_of),
            Adapter::Redis(redis) => redis.rebuild(snapshot, epoch, &node_of).await,
        }
    }

    /// Goes on with the epoch that some node has loaded, and says which; `None` asks for a rebuild.
    pub async fn join(&self) -> Result<Option<NonZeroU64>, CoordinationError> {
        match self.adapter() {
            Adapter::Memory(memory) => Ok(memory.epoch()),
            Adapter::Redis(redis) => redis.join().await,
        }
    }

    /// What a buyer has, and its bids and groups have in use; `None` when it is not loaded.
    pub async fn figures(&self, buyer: AccountId) -> Result<Option<BuyerFigures>, CoordinationError> {
        match self.adapter() {
            Adapter::Memory(memory) => Ok(memory.figures(buyer)),
            Adapter::Redis(redis) => redis.figures(buyer).await,
        }
    }

    /// What a node has reserved for these buyers and not ended: what is to be ended for it when it is dead.
    pub async fn reserved_by(
        &self,
        node: Uuid,
        buyers: impl IntoIterator<Item = AccountId>,
    ) -> Result<Vec<OpenReservation>, CoordinationError> {
        let mut found = Vec::new();
        for buyer in buyers {
            let open = self.figures(buyer).await?.map(|figures| figures.open).unwrap_or_default();
            found.extend(open.into_iter().filter(|open| open.node == node));
        }
        Ok(found)
    }

    /// Takes away what is there of these buyers, and the epoch: nothing is reserved until the next rebuild. For an exchange that is
    /// given up, such as a benchmark's. In memory, all there is.
    pub async fn erase(&self, buyers: impl IntoIterator<Item = AccountId>) -> Result<(), CoordinationError> {
        match self.adapter() {
            Adapter::Memory(memory) => {
                memory.erase();
                Ok(())
            }
            Adapter::Redis(redis) => redis.erase(buyers).await,
        }
    }

    /// How many other nodes listen to this exchange's news on Redis now; in memory there is none.
    pub async fn other_nodes(&self) -> Result<u64, CoordinationError> {
        match self.adapter() {
            Adapter::Memory(_) => Ok(0),
            Adapter::Redis(redis) => Ok(redis.listeners().await?.saturating_sub(1)),
        }
    }

    /// The least that asking costs: one round trip that counts, on the connection that reservations take. In memory there is none.
    pub async fn bare_round_trip(&self) -> Result<(), CoordinationError> {
        match self.adapter() {
            Adapter::Memory(_) => Ok(()),
            Adapter::Redis(redis) => redis.increment().await,
        }
    }
}
