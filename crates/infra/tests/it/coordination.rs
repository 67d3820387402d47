//! The coordination port: one suite on both adapters, and what becomes of it when Redis is lost.

use crate::redis_server::{config, node, prefix, shared};
use exchange::time::Timestamp;
use infra::coordination::{
    Coordination, CoordinationConfig, CoordinationError, CoordinationStatus, RateLimit, RateLimiter,
    RedisUrl, Velocity, VelocityCounter, VelocityLimits, Verdict, WhenLost,
};
use infra::store::{ApiKey, SessionTerms};
use std::convert::Infallible;
use std::time::Duration;
use test_servers::redis::RedisServer;
use uuid::Uuid;

/// Makes a test of each function, for each adapter. It takes a node of its own.
macro_rules! on_every_adapter {
    ($($test:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test] async fn $test() {
                super::$test(infra::coordination::Coordination::in_memory()).await;
            })+
        }
        mod redis {
            $(#[tokio::test] async fn $test() { super::$test(crate::redis_server::node().await).await; })+
        }
    };
}
pub(crate) use on_every_adapter;

/// Looks again and again, for longer than any loss takes to be found or mended.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

async fn until_up(node: &Coordination) {
    until("Redis is back", async || node.status() == CoordinationStatus::Up).await;
}

async fn until_away(node: &Coordination) {
    until("Redis is away", async || node.status() != CoordinationStatus::Up).await;
}

/// One a minute, so that no time passes as far as a test is concerned.
fn one_a_minute(node: &Coordination, name: &'static str, burst: u32) -> RateLimiter<&'static str> {
    RateLimiter::new(node, name, RateLimit::new(1, burst))
}

async fn passes(limiter: &RateLimiter<&'static str>, key: &'static str) -> Option<u32> {
    match limiter.take(key).await.expect("decided") {
        Verdict::Passes { remaining } => Some(remaining),
        Verdict::Waits { for_ } => {
            // A share of a half has two minutes for one.
            assert!(for_ <= Duration::from_mins(2) && for_ > Duration::ZERO, "{for_:?}");
            None
        }
    }
}

on_every_adapter!(
    a_burst_passes_and_then_it_waits,
    a_revoked_key_is_asked_for_again,
    a_revoked_key_takes_its_sessions_along,
    the_one_too_many_shuts_out_and_others_are_not_affected,
);

async fn a_burst_passes_and_then_it_waits(node: Coordination) {
    let limiter = one_a_minute(&node, "key", 3);
    for expected in [Some(2), Some(1), Some(0), None, None] {
        assert_eq!(passes(&limiter, "one").await, expected);
    }
    assert_eq!(passes(&limiter, "another").await, Some(2), "keys are apart");
    assert_eq!(passes(&one_a_minute(&node, "address", 3), "one").await, Some(2), "limits are apart");
}

const HASH: [u8; 32] = [7; 32];

fn key() -> ApiKey {
    key_of(7)
}

fn key_of(id: u128) -> ApiKey {
    ApiKey {
        id: Uuid::from_u128(id),
        name: "a key".to_owned(),
        role: "admin".to_owned(),
        account: None,
        created_at: Timestamp(0),
        revoked_at: None,
        session: None,
    }
}

/// Looks a key up in a store that has `stored`.
async fn look_up(node: &Coordination, stored: Option<ApiKey>) -> Option<ApiKey> {
    let Ok(found) = node.api_key(HASH, || async { Ok::<_, Infallible>(stored) }).await;
    found
}

async fn a_revoked_key_is_asked_for_again(node: Coordination) {
    assert_eq!(look_up(&node, Some(key())).await, Some(key()));
    assert_eq!(look_up(&node, None).await, Some(key()), "remembered");
    node.revoked(key().id).await.expect("told");
    assert_eq!(look_up(&node, None).await, None);
}

async fn a_revoked_key_takes_its_sessions_along(node: Coordination) {
    let session = |id, key| ApiKey {
        id: Uuid::from_u128(id),
        session: Some(SessionTerms { key: Uuid::from_u128(key), expires_at: Timestamp(i64::MAX) }),
        ..key_of(id)
    };
    let look_up = async |hash: u8, stored: Option<ApiKey>| {
        let Ok(found) = node.api_key([hash; 32], || async { Ok::<_, Infallible>(stored) }).await;
        found
    };
    let (one, two, other) = (session(1, 7), session(2, 7), session(3, 8));
    for (hash, session) in [(1, &one), (2, &two), (3, &other)] {
        look_up(hash, Some(session.clone())).await.expect("stored");
    }
    node.revoked(Uuid::from_u128(1)).await.expect("told");
    assert_eq!((look_up(1, None).await, look_up(2, None).await), (None, Some(two)), "one session was ended");
    node.revoked(Uuid::from_u128(7)).await.expect("told");
    assert_eq!((look_up(2, None).await, look_up(3, None).await), (None, Some(other)), "with its key");
}

/// Three a day: no test is so slow that any of it is past.
const THREE_A_DAY: VelocityLimits = VelocityLimits { per_minute: 100, per_hour: 100, per_day: 3 };

fn three_a_day(node: &Coordination, name: &'static str) -> VelocityCounter {
    VelocityCounter::new(node, name, THREE_A_DAY)
}

/// Counts one more; whether that shut the key out.
async fn shuts_out(counter: &VelocityCounter, key: &str) -> bool {
    match counter.count(&key).await.expect("counted") {
        Velocity::Within => false,
        Velocity::ShutOut { for_ } => {
            assert!(for_ > Duration::ZERO && for_ <= Duration::from_hours(48), "{for_:?}");
            true
        }
        Velocity::Uncounted { .. } => panic!("there is room"),
    }
}

async fn the_one_too_many_shuts_out_and_others_are_not_affected(node: Coordination) {
    let counter = three_a_day(&node, "wrong_key");
    for expected in [false, false, true] {
        assert_eq!(counter.shut_for(&"one"), None);
        assert_eq!(shuts_out(&counter, "one").await, expected);
    }
    assert!(counter.shut_for(&"one").is_some());
    assert_eq!(counter.shut_for(&"another"), None);
    assert!(!shuts_out(&counter, "another").await, "keys are apart");
    assert_eq!(three_a_day(&node, "wrong_pin").shut_for(&"one"), None, "counters are apart");
}

/// The steps of `velocity::tests`, with the clock as an argument.
#[test]
fn redis_counts_velocity_in_the_same_integers() {
    let coordination = tokio::runtime::Runtime::new().expect("threads");
    coordination.block_on(async { drop(node().await) });
    let functions = shared().say(&["FUNCTION", "LIST"]);
    let count = functions.iter().find(|line| line.starts_with("dce_count_")).expect("loaded");
    let prefix = prefix();
    let (even, odd, channel) = (format!("{prefix}:even"), format!("{prefix}:odd"), format!("{prefix}:news"));
    let ask = |key: &str, keys_max: &str, now_ms: &str| {
        let limits = ["3", "5", "7"];
        let arguments = [key, keys_max, &channel, "shut_out it"];
        let call = [&["FCALL", count, "2", &even, &odd], &arguments[..], &limits[..], &[now_ms]].concat();
        shared().say(&call)
    };
    let steps = include_str!("velocity.txt").lines().filter(|line| !line.starts_with('#'));
    let mut latest = "";
    for line in steps {
        let mut words = line.split(' ');
        let (now_ms, wait_ms) = (words.next().expect("a moment"), words.next().expect("a wait"));
        assert_eq!(ask("one", "10", now_ms), [wait_ms], "{line}");
        latest = now_ms;
    }
    assert_eq!(ask("two", "1", latest), ["-1"], "no room for another key");
    assert_eq!(ask("two", "2", latest), ["0"]);
    let lives_ms: u64 = shared().say(&["PTTL", &even])[0]
        .parse()
        .or_else(|_| shared().say(&["PTTL", &odd])[0].parse())
        .expect("a time");
    assert!(lives_ms <= 2 * 86_400_000, "what is past is gone by itself: {lives_ms}");
}

/// The limit's own steps, with the clock as an argument: see `rate::tests`.
#[test]
fn redis_counts_in_the_same_integers() {
    let coordination = tokio::runtime::Runtime::new().expect("threads");
    coordination.block_on(async { drop(node().await) });
    let functions = shared().say(&["FUNCTION", "LIST"]);
    let rate = functions.iter().find(|line| line.starts_with("dce_rate_")).expect("loaded");
    let cell = prefix();
    let start_us = 1_782_925_200_000_000_u64;
    for (step, (second, expected)) in [
        (0, [1, 2]),
        (0, [1, 1]),
        (0, [1, 0]),
        (0, [0, 1_000_000]),
        (1, [1, 0]),
        (1, [0, 1_000_000]),
        (60, [1, 2]),
    ]
    .into_iter()
    .enumerate()
    {
        let now = (start_us + second * 1_000_000).to_string();
        let answer = shared().say(&["FCALL", rate, "1", &cell, "1000000", "3", &now]);
        assert_eq!(answer, expected.map(|figure: u64| figure.to_string()), "step {step}");
    }
}

#[tokio::test]
async fn nodes_share_cells_and_hear_of_revocations() {
    let config = config(shared(), &prefix());
    let here = Coordination::start(&config).await.expect("Redis is there");
    let there = Coordination::start(&config).await.expect("Redis is there");
    let (limit_here, limit_there) = (one_a_minute(&here, "key", 2), one_a_minute(&there, "key", 2));
    assert_eq!(passes(&limit_here, "one").await, Some(1));
    assert_eq!(passes(&limit_there, "one").await, Some(0));
    assert_eq!(passes(&limit_here, "one").await, None);

    assert_eq!(look_up(&there, Some(key())).await, Some(key()));
    here.revoked(key().id).await.expect("told");
    until("the other node hears of it", async || look_up(&there, None).await.is_none()).await;
}

#[tokio::test]
async fn nodes_share_counts_and_hear_of_who_is_shut_out() {
    let config = config(shared(), &prefix());
    let here = three_a_day(&Coordination::start(&config).await.expect("Redis is there"), "wrong_key");
    let there = three_a_day(&Coordination::start(&config).await.expect("Redis is there"), "wrong_key");
    assert!(!shuts_out(&here, "one").await);
    assert!(!shuts_out(&there, "one").await);
    assert!(shuts_out(&here, "one").await);
    until("the other node hears of it", async || there.shut_for(&"one").is_some()).await;
    assert_eq!(there.shut_for(&"another"), None);
}

#[tokio::test]
async fn without_redis_a_node_goes_on_with_its_share() {
    let server = RedisServer::start();
    let config = CoordinationConfig { nodes: 2, ..config(&server, "share") };
    let node = Coordination::start(&config).await.expect("Redis is there");
    let limiter = one_a_minute(&node, "key", 4);
    assert_eq!(passes(&limiter, "one").await, Some(3));
    assert_eq!(look_up(&node, Some(key())).await, Some(key()));

    server.order("kill");
    for expected in [Some(1), Some(0), None] {
        assert_eq!(passes(&limiter, "one").await, expected);
    }
    until_away(&node).await;
    let CoordinationStatus::Away { policy, .. } = node.status() else { panic!("{:?}", node.status()) };
    assert_eq!(policy, WhenLost::Degrade);
    assert_eq!(look_up(&node, None).await, None, "nothing is remembered where revocations are not heard");

    server.order("start");
    until_up(&node).await;
    assert_eq!(passes(&limiter, "one").await, Some(3), "it came back empty");
    assert_eq!(node.losses(), 1);
}

#[tokio::test]
async fn without_redis_a_node_counts_by_itself_and_who_is_shut_out_stays_so() {
    let server = RedisServer::start();
    let config = CoordinationConfig { nodes: 3, ..config(&server, "velocity") };
    let node = Coordination::start(&config).await.expect("Redis is there");
    let counter = three_a_day(&node, "wrong_key");
    for _ in 0..3 {
        shuts_out(&counter, "one").await;
    }
    server.order("kill");
    until_away(&node).await;
    assert!(counter.shut_for(&"one").is_some());
    assert!(shuts_out(&counter, "another").await, "its share of three is one");
    server.order("start");
    until_up(&node).await;
    assert!(!shuts_out(&counter, "another").await, "it came back empty");
}

#[tokio::test]
async fn without_redis_a_node_refuses_where_that_is_the_policy() {
    let server = RedisServer::start();
    let config = CoordinationConfig { when_lost: WhenLost::Refuse, ..config(&server, "refuse") };
    let node = Coordination::start(&config).await.expect("Redis is there");
    let limiter = one_a_minute(&node, "key", 4);
    server.order("kill");
    until_away(&node).await;
    assert!(matches!(limiter.take("one").await, Err(CoordinationError::Away { .. })));
    let counted = three_a_day(&node, "wrong_key").count(&"one").await;
    assert!(matches!(counted, Err(CoordinationError::Away { .. })));
    server.order("start");
    until_up(&node).await;
    assert_eq!(passes(&limiter, "one").await, Some(3));
}

#[tokio::test]
async fn a_redis_that_hangs_costs_one_timeout_and_comes_back() {
    let server = RedisServer::start();
    let config = CoordinationConfig { timeout_ms: 100, ..config(&server, "hang") };
    let node = Coordination::start(&config).await.expect("Redis is there");
    let limiter = one_a_minute(&node, "key", 4);
    server.order("pause");
    assert_eq!(passes(&limiter, "one").await, Some(3), "its own share: it is the only node");
    assert!(matches!(node.status(), CoordinationStatus::Away { .. }), "found by the one that waited");
    server.order("resume");
    until_up(&node).await;
}

#[tokio::test]
async fn a_redis_that_is_emptied_gets_its_functions_again() {
    let server = RedisServer::start();
    // Going on without Redis would look the same.
    let config = CoordinationConfig { when_lost: WhenLost::Refuse, ..config(&server, "empty") };
    let node = Coordination::start(&config).await.expect("Redis is there");
    let limiter = one_a_minute(&node, "key", 2);
    assert_eq!(passes(&limiter, "one").await, Some(1));
    server.say(&["FUNCTION", "FLUSH"]);
    server.say(&["FLUSHALL"]);
    assert_eq!(passes(&limiter, "one").await, Some(1));
    assert_eq!(node.losses(), 0);
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_waited_for() {
    let nobody = RedisUrl::parse("redis://:secret@127.0.0.1:1").expect("a sound URL");
    let config = CoordinationConfig { url: Some(nobody), ..config(shared(), "nobody") };
    let node = Coordination::start(&config).await.expect("being away is no error");
    assert_eq!(passes(&one_a_minute(&node, "key", 2), "one").await, Some(1));
    let CoordinationStatus::Away { finding, .. } = node.status() else { panic!("{:?}", node.status()) };
    assert!(!finding.is_empty() && !finding.contains("secret"), "{finding}");

    let config = CoordinationConfig { url: None, ..config };
    let error = Coordination::start(&config).await.expect_err("no address").to_string();
    assert!(error.starts_with("coordination.url is not set"), "{error}");
}
