//! TLS to PostgreSQL and Redis, on real servers: whom we trust, and what is said when we do not.

use crate::certificates::Authority;
use infra::coordination::{Coordination, CoordinationConfig, CoordinationKind, CoordinationStatus, RedisUrl};
use infra::store::{PostgresqlError, PostgresqlUrl, Store, StoreError, StoreOptions};
use std::path::Path;
use test_servers::postgresql::Server;
use test_servers::redis::RedisServer;

/// What becomes of opening a store there.
fn opened(url: &str) -> Result<Store, PostgresqlError> {
    let url = PostgresqlUrl::parse(url).expect("a sound URL");
    Store::open(url, &StoreOptions::default()).map_err(|error| {
        let shown = error.to_string();
        assert!(shown.lines().count() == 1 && shown.contains("; "), "one line with the fix: {shown}");
        match error {
            StoreError::Postgresql(error) => error,
            other => panic!("{other}"),
        }
    })
}

/// The finding of a connection that is not secure enough.
fn insecure(url: &str) -> String {
    match opened(url) {
        Err(PostgresqlError::NotSecure { finding, .. }) => finding,
        Err(other) => panic!("{url}: {other}"),
        Ok(_) => panic!("{url}: it was opened"),
    }
}

#[test]
fn postgresql_is_spoken_to_under_tls_as_the_url_asks() {
    let (ours, others) = (Authority::new("ours"), Authority::new("somebody else's"));
    let server = Server::start_with_tls(&ours.certify("localhost"));
    let url = |host: &str, mode: &str, roots: Option<&Path>| {
        let roots = roots.map(|path| format!("&sslrootcert={}", path.display())).unwrap_or_default();
        format!("postgresql://dce@{host}:{}/postgres?sslmode={mode}{roots}", server.port())
    };
    let (ours, others) = (ours.file(), others.file());
    let is_secure = "SELECT count(*) > 0 FROM pg_stat_ssl WHERE ssl AND pid <> pg_backend_pid()";
    for (url, expected) in [
        (url("localhost", "disable", None), "f"),
        (url("localhost", "prefer", None), "t"),
        (url("127.0.0.1", "require", None), "t"),
        (url("127.0.0.1", "verify-ca", Some(&ours)), "t"),
        (url("localhost", "verify-full", Some(&ours)), "t"),
    ] {
        let store = opened(&url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(server.sql("postgres", is_secure).as_deref(), Ok(expected), "{url}");
        drop(store);
    }
    for (url, expected) in [
        (url("localhost", "verify-full", None), "UnknownIssuer"),
        (url("localhost", "require", Some(&others)), "UnknownIssuer"),
        (url("localhost", "verify-ca", Some(&others)), "UnknownIssuer"),
        (url("127.0.0.1", "verify-full", Some(&ours)), "not valid for name"),
    ] {
        let finding = insecure(&url);
        assert!(finding.contains(expected), "{url}: {finding}");
    }
    for (file, expected) in [("/nowhere/ca.pem", "No such file"), ("/etc/hostname", "no certificate in it")] {
        let error = opened(&url("localhost", "verify-full", Some(Path::new(file)))).err().expect("no roots");
        let shown = error.to_string();
        assert!(shown.contains(file) && shown.contains(expected), "{shown}");
    }
}

#[test]
fn a_postgresql_without_tls_is_not_spoken_to_where_tls_is_asked_for() {
    let server = Server::start_on_loopback();
    let url = |mode: &str| format!("postgresql://dce@localhost:{}/postgres?sslmode={mode}", server.port());
    assert!(insecure(&url("require")).contains("does not support TLS"));
    assert!(insecure(&url("verify-full")).contains("does not support TLS"));
    drop(opened(&url("prefer")).unwrap_or_else(|error| panic!("{error}")));
}

/// How it stands with a Redis at this address.
async fn status(address: &str, ca_file: Option<&Path>) -> CoordinationStatus {
    let config = CoordinationConfig {
        kind: CoordinationKind::Redis,
        url: Some(RedisUrl::parse(address).expect("a sound URL")),
        ca_file: ca_file.map(Path::to_owned),
        timeout_ms: 5_000,
        ..CoordinationConfig::default()
    };
    Coordination::start(&config).await.expect("started").status()
}

fn away(status: CoordinationStatus) -> String {
    match status {
        CoordinationStatus::Away { finding, .. } => finding,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn redis_is_spoken_to_under_tls() {
    let (ours, others) = (Authority::new("ours"), Authority::new("somebody else's"));
    let server = RedisServer::start_with_tls(&ours.certify("localhost"));
    let address = |scheme: &str, host: &str| format!("{scheme}://{host}:{}", server.port());
    assert_eq!(status(&address("rediss", "localhost"), Some(&ours.file())).await, CoordinationStatus::Up);
    for (address, ca_file, expected) in [
        (address("rediss", "localhost"), None, "UnknownIssuer"),
        (address("rediss", "localhost"), Some(others.file()), "UnknownIssuer"),
        (address("rediss", "127.0.0.1"), Some(ours.file()), "not valid for name"),
    ] {
        let finding = away(status(&address, ca_file.as_deref()).await);
        assert!(finding.contains(expected) && finding.lines().count() == 1, "{address}: {finding}");
    }
    let nowhere = CoordinationConfig {
        kind: CoordinationKind::Redis,
        url: Some(RedisUrl::parse(&address("rediss", "localhost")).expect("a sound URL")),
        ca_file: Some("/nowhere/ca.pem".into()),
        ..CoordinationConfig::default()
    };
    let error = Coordination::start(&nowhere).await.expect_err("no such file").to_string();
    assert!(error.contains("coordination.ca_file /nowhere/ca.pem"), "{error}");
}

#[tokio::test]
async fn a_redis_without_tls_is_not_spoken_to_where_tls_is_asked_for() {
    let server = RedisServer::start_on_loopback();
    let finding = away(status(&format!("rediss://localhost:{}", server.port()), None).await);
    assert!(finding.contains("TLS"), "{finding}");
}
