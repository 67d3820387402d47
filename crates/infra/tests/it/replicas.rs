//! A primary and its replica: reads that never miss a write, and a failover that loses nothing.

use crate::conformance::fold;
use crate::fixtures::nth_unit;
use infra::store::{PostgresqlUrl, Store, StoreHealth, StoreOptions};
use std::time::{Duration, Instant};
use test_servers::postgresql::Server;

fn url(text: &str) -> PostgresqlUrl {
    PostgresqlUrl::parse(text).expect("a sound URL")
}

fn open(primary: &str, replica: &Server) -> Store {
    let replicas = Some(url(&replica.url("postgres")));
    Store::open(url(primary), &StoreOptions { replicas, ..StoreOptions::default() }).expect("opens")
}

/// Writes units and reads after each, which must show it. Gives the reads on the primary and on the replica.
fn write_and_read(store: &Store, units: std::ops::Range<u128>) -> (u64, u64) {
    let before = store.reader().reads().expect("a server counts them");
    for unit in units {
        store.writer().commit(nth_unit(unit)).expect("sound");
        let entries = store.reader().journal_entries().expect("readable");
        assert_eq!(u128::from(entries), unit + 1, "a read shows what was durable before it began");
    }
    let after = store.reader().reads().expect("a server counts them");
    (after.0 - before.0, after.1 - before.1)
}

/// Waits until the replica serves a read again.
fn wait_for_replica(store: &Store) {
    let until = Instant::now() + Duration::from_secs(30);
    let before = store.reader().reads().expect("a server counts them").1;
    while store.reader().reads().expect("a server counts them").1 == before {
        assert!(Instant::now() < until, "the replica never came back");
        store.reader().journal_entries().expect("readable");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn reads_go_to_a_replica_and_see_every_write_also_while_it_is_behind_or_away() {
    let primary = Server::start("-c fsync=off");
    // The schema is there before the replica is.
    drop(Store::open(url(&primary.url("postgres")), &StoreOptions::default()).expect("opens"));
    let replica = primary.replica("-c fsync=off");
    let store = open(&primary.url("postgres"), &replica);
    wait_for_replica(&store);
    let (_, on_replica) = write_and_read(&store, 0..50);
    assert!(on_replica > 0, "a replica that keeps up takes reads");

    replica.sql("postgres", "SELECT pg_wal_replay_pause()").expect("a replica");
    while replica.sql("postgres", "SELECT pg_get_wal_replay_pause_state()").expect("a replica") != "paused" {}
    let (on_primary, on_replica) = write_and_read(&store, 50..70);
    assert_eq!((on_primary, on_replica), (20, 0), "a replica that stands still takes none");
    replica.sql("postgres", "SELECT pg_wal_replay_resume()").expect("a replica");
    wait_for_replica(&store);

    replica.order("kill");
    let (on_primary, on_replica) = write_and_read(&store, 70..90);
    assert_eq!((on_primary, on_replica), (20, 0), "neither does a dead one");
    replica.order("start");
    wait_for_replica(&store);
}

#[test]
fn a_server_that_is_no_replica_of_this_store_is_not_read() {
    let (primary, other) = (Server::start("-c fsync=off"), Server::start("-c fsync=off"));
    drop(Store::open(url(&other.url("postgres")), &StoreOptions::default()).expect("opens"));
    let store = open(&primary.url("postgres"), &other);
    let (_, on_replica) = write_and_read(&store, 0..5);
    assert_eq!(on_replica, 0);
}

#[test]
fn after_a_failover_the_promoted_replica_is_written_to_without_a_restart_and_nothing_is_lost() {
    let primary = Server::start("-c fsync=off");
    let replica = primary.replica("-c fsync=off");
    // What is acknowledged is on the replica as well: only then can a failover lose nothing.
    for setting in ["synchronous_standby_names = '*'", "synchronous_commit = 'remote_apply'"] {
        primary.sql("postgres", &format!("ALTER SYSTEM SET {setting}")).expect("a superuser");
    }
    primary.sql("postgres", "SELECT pg_reload_conf()").expect("a superuser");
    let hosts = format!("{},{}", primary.folder().display(), replica.folder().display());
    let either = format!("host={hosts} user=dce dbname=postgres target_session_attrs=read-write");
    let store = open(&either, &replica);
    let (_, on_replica) = write_and_read(&store, 0..50);
    assert!(on_replica > 0, "it takes reads while it is a replica");

    primary.order("kill");
    replica.order("promote");
    replica.sql("postgres", "ALTER SYSTEM RESET ALL").expect("a superuser");
    replica.sql("postgres", "SELECT pg_reload_conf()").expect("a superuser");
    write_and_read(&store, 50..100);
    assert_eq!(store.health(), StoreHealth::Healthy);
    let history: Vec<_> = (0..100).map(nth_unit).collect();
    assert_eq!(store.load().expect("loads"), fold(&history));
    let report = store.reader().verify().expect("the audit runs");
    assert_eq!(report.violations, Vec::<String>::new());
}
