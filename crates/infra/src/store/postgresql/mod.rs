//! The store on a PostgreSQL server: one session that writes, pools of sessions that read, on replicas where there are some.

pub(super) mod error;
pub(super) mod server;
mod tls;
mod session;
mod values;
mod tables;
mod staging;
mod pipeline;
pub(super) mod migrations;
mod lease;
mod committer;
mod replicas;
pub(super) mod retention;
pub(super) mod pool;

use super::reader::Connections;
use super::writer::WriterThread;
use super::{Reader, StoreError, StoreOptions};
use committer::Committer;
use error::PostgresqlError;
use pool::Pool;
use replicas::{Replicas, Written};
use server::PostgresqlUrl;
use session::{CONNECT_DEADLINE, Session};

/// An open PostgreSQL store.
pub(super) struct PostgresqlStore {
    pub(super) writer: WriterThread,
    pub(super) reader: Reader,
}

/// Opens the store as its one writer, after bringing the schema up to date.
pub(super) fn open(url: &PostgresqlUrl, options: &StoreOptions) -> Result<PostgresqlStore, StoreError> {
    let written = Written::default();
    let for_replicas = options.replicas.is_some().then(|| written.clone());
    let committer = Committer::open(url, options.address.as_deref(), for_replicas)?;
    let replicas = match &options.replicas {
        Some(replicas) => {
            Some(Replicas::new(replicas.clone(), options.read_connections, committer.store_id()?, written))
        }
        None => None,
    };
    let pool = Pool::new(url.clone(), options.read_connections, replicas);
    let reader = Reader::new(Connections::Postgresql(Box::new(pool)));
    Ok(PostgresqlStore { writer: WriterThread::start(committer, options)?, reader })
}

/// Opens the store for reading. Nothing is created or migrated, and nobody is kept out.
pub(super) fn open_read_only(url: &PostgresqlUrl, connections: usize) -> Result<Reader, StoreError> {
    let session = Session::connect(url, CONNECT_DEADLINE)?;
    let found = migrations::version(&session)?;
    if found < migrations::NEWEST {
        let server = url.label().to_owned();
        return Err(PostgresqlError::SchemaTooOld { server, found, known: migrations::NEWEST }.into());
    }
    Ok(Reader::new(Connections::Postgresql(Box::new(Pool::new(url.clone(), connections, None)))))
}
