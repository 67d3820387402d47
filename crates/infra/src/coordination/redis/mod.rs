//! Coordination on a Redis server: cells, counts, revocations and reservations that all nodes share.
//!
//! What must happen at once is a function that runs inside Redis (`dce.lua`): one round trip. All keys of a buyer have its id as
//! their hash tag.

mod library;
mod link;
mod reserve;

pub(super) use reserve::MICROS_MAX;

use super::config::{CoordinationConfig, WhenLost};
use super::news::{Known, News};
use super::rate::{RateLimit, Verdict};
use super::velocity::{self, Velocity, VelocityLimits};
use super::{CoordinationError, CoordinationStatus};
use link::Link;
use std::fmt::Display;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use uuid::Uuid;

/// A Redis server, as one node sees it.
#[derive(Debug)]
pub(super) struct Redis {
    link: Link,
    key_prefix: String,
    when_lost: WhenLost,
    nodes: u32,
    /// The epoch this node reserves in; 0 is none.
    epoch: AtomicU64,
}

impl Redis {
    pub(super) async fn start(
        config: &CoordinationConfig,
        known: Arc<Known>,
    ) -> Result<Self, CoordinationError> {
        let url = config.url.as_ref().ok_or(CoordinationError::NoUrl)?;
        let timeout = Duration::from_millis(config.timeout_ms);
        Ok(Self {
            link: Link::start(url, config.ca_file.as_deref(), timeout, news(&config.key_prefix), known)
                .await?,
            key_prefix: config.key_prefix.clone(),
            when_lost: config.when_lost,
            nodes: config.nodes,
            epoch: AtomicU64::new(0),
        })
    }

    pub(super) fn nodes(&self) -> u32 {
        self.nodes
    }

    pub(super) fn degrades(&self) -> bool {
        self.when_lost == WhenLost::Degrade
    }

    pub(super) fn losses(&self) -> u64 {
        self.link.losses()
    }

    pub(super) fn status(&self) -> CoordinationStatus {
        match self.link.trouble() {
            None => CoordinationStatus::Up,
            Some(finding) => CoordinationStatus::Away { finding, policy: self.when_lost },
        }
    }

    /// Counts one more of a key, by Redis's clock.
    pub(super) async fn take(
        &self,
        name: &str,
        key: &impl Display,
        limit: RateLimit,
    ) -> Result<Verdict, CoordinationError> {
        let mut call = library::call("rate", &[format!("{}:rate:{name}:{key}", self.key_prefix)]);
        call.arg(limit.interval_us).arg(limit.burst);
        let (passes, figure): (bool, u64) = self.link.query(&call).await?;
        Ok(if passes {
            Verdict::Passes { remaining: u32::try_from(figure).unwrap_or(u32::MAX) }
        } else {
            Verdict::Waits { for_: Duration::from_micros(figure) }
        })
    }

    /// Counts what happened to a key, by Redis's clock. The one too many is told to all nodes.
    pub(super) async fn count(
        &self,
        name: &str,
        key: &impl Display,
        limits: VelocityLimits,
    ) -> Result<Velocity, CoordinationError> {
        let days = ["even", "odd"].map(|days| format!("{}:velocity:{{{name}}}:{days}", self.key_prefix));
        let mut call = library::call("count", &days);
        call.arg(key.to_string()).arg(velocity::KEYS_MAX).arg(news(&self.key_prefix));
        call.arg(News::ShutOut(velocity::subject(name, key)).to_string());
        for limit in limits.each() {
            call.arg(limit);
        }
        let wait_ms: i64 = self.link.query(&call).await?;
        Ok(Velocity::of(u64::try_from(wait_ms).ok()))
    }

    pub(super) async fn publish_revocation(&self, id: Uuid) -> Result<(), CoordinationError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(news(&self.key_prefix)).arg(News::Revoked(id).to_string());
        self.link.query::<u64>(&publish).await.map(|_| ())
    }

    /// How many nodes listen to the news.
    pub(super) async fn listeners(&self) -> Result<u64, CoordinationError> {
        let mut ask = redis::cmd("PUBSUB");
        ask.arg("NUMSUB").arg(news(&self.key_prefix));
        let (_, count): (String, u64) = self.link.query(&ask).await?;
        Ok(count)
    }

    /// A bare round trip.
    pub(super) async fn increment(&self) -> Result<(), CoordinationError> {
        self.link.query::<u64>(redis::cmd("INCR").arg(self.yardstick())).await.map(|_| ())
    }

    fn yardstick(&self) -> String {
        format!("{}:yardstick", self.key_prefix)
    }

    fn epoch(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.epoch.load(Ordering::Acquire))
    }
}

/// The channel of the news.
fn news(key_prefix: &str) -> String {
    format!("{key_prefix}:news")
}
