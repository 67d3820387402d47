//! What a benchmark stands on, as the configuration says it: a store, Redis, brokers. Real books are refused.

use crate::config::Config;
use crate::failure::Failure;
use infra::bus::kafka::KafkaConfig;
use infra::coordination::{Coordination, CoordinationConfig, CoordinationKind};
use infra::store::{AccountFilter, Page, Place, PostgresqlUrl, Store, StoreOptions};
use tempfile::TempDir;
use uuid::Uuid;

/// A store without books in it.
pub(super) enum EmptyStore {
    /// In a directory of its own, which goes away with this. That of the configuration is left alone.
    Sqlite(TempDir),
    /// The database of `store.url`.
    Postgresql(PostgresqlUrl),
}

impl EmptyStore {
    /// On the database that the configuration names.
    pub(super) fn of(config: &Config) -> Result<Self, Failure> {
        let Place::Postgresql(url) = config.place() else {
            let directory = tempfile::Builder::new().prefix("dce-bench-").tempdir();
            return directory
                .map(Self::Sqlite)
                .map_err(|error| Failure::environment(format!("temporary directory: {error}")));
        };
        let store = Self::Postgresql(url);
        let reader = store.open()?.reader();
        if reader.accounts(&AccountFilter::default(), &Page::first(1))?.items.is_empty() {
            return Ok(store);
        }
        Err(Failure::usage(format!(
            "store.url {}: there are accounts in it; name an empty database",
            config.place()
        )))
    }

    /// Opens it, as a node that is alone would.
    pub(super) fn open(&self) -> Result<Store, Failure> {
        self.open_with(&StoreOptions::default())
    }

    pub(super) fn open_with(&self, options: &StoreOptions) -> Result<Store, Failure> {
        Ok(match self {
            Self::Sqlite(directory) => Store::open(directory.path(), options)?,
            Self::Postgresql(url) => Store::open(url.clone(), options)?,
        })
    }

    /// As `store.kind` has it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgresql(_) => "postgresql",
        }
    }
}

/// Redis as the configuration names it, under a prefix of the benchmark's own. One that nodes of this exchange use is refused.
pub(super) async fn redis(config: &CoordinationConfig) -> Result<Coordination, Failure> {
    if config.kind == CoordinationKind::Memory {
        let fix = "is memory; set it to redis, and coordination.url to its address";
        return Err(Failure::usage(format!("coordination.kind {fix}")));
    }
    // What is measured is not how soon a busy server is given up.
    let config = CoordinationConfig { timeout_ms: 5_000, ..config.clone() };
    let failure = |error: infra::coordination::CoordinationError| Failure::environment(error.to_string());
    let nodes = Coordination::start(&config).await.map_err(failure)?.other_nodes().await.map_err(failure)?;
    if nodes > 0 {
        let url = config.url.as_ref().map(ToString::to_string).unwrap_or_default();
        let fix = "stop them, or name another server";
        return Err(Failure::usage(format!(
            "coordination.url {url}: an exchange uses it under the prefix {}, with so many nodes: {nodes}; {fix}",
            config.key_prefix
        )));
    }
    let key_prefix = format!("{}-bench-{}", config.key_prefix, Uuid::now_v7().simple());
    Coordination::start(&CoordinationConfig { key_prefix, ..config }).await.map_err(failure)
}

/// Kafka as the configuration names it, with topics of the benchmark's own.
pub(super) fn kafka(config: &KafkaConfig) -> Result<KafkaConfig, Failure> {
    if config.brokers.is_empty() {
        let fix = "is not set; name Kafka's brokers, such as [\"127.0.0.1:9092\"]";
        return Err(Failure::usage(format!("bus.kafka.brokers {fix}")));
    }
    let topic_prefix = format!("dce-bench-{}", Uuid::now_v7().simple());
    Ok(KafkaConfig { topic_prefix, ..config.clone() })
}
