//! `dce bench reserve`: what one reservation of money, concurrency and caps costs on Redis, and how many there are a second.

use super::ground;
use super::percentiles::Percentiles;
use crate::failure::Failure;
use exchange::account::{Account, AccountKind};
use exchange::bid::caps::{CapGroup, Limit, Period};
use exchange::bid::{BidProfile, Caps, Destination, Price};
use exchange::id::{AccountId, BidProfileId, CallId, CapGroupId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::LedgerAccount;
use exchange::schedule::{LocalTime, ZoneName};
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use infra::coordination::{
    Coordination, CoordinationConfig, CoordinationError, Ended, Reservation, ReservationKey, Reserved,
};
use serde::Serialize;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// Buyers that reservations are spread over.
const BUYERS: usize = 1_000;
/// What is measured takes turns, so that a machine that changes its pace changes it for all.
const ROUNDS: usize = 5;
/// Reservations under way at the same time, where that is more than one.
const IN_FLIGHT: usize = 64;
const HOLD: Micros = Micros::units(30);
const FUNDS: Micros = Micros::units(100_000_000);
/// 2026-07-01T17:00:00Z.
const NOW: Timestamp = Timestamp(1_782_925_200_000_000);

/// What was measured. The yardstick is a bare `INCR` on the same connection.
#[derive(Debug, Serialize)]
pub(super) struct ReserveFigures {
    reservations: usize,
    /// One after the other.
    one_in_flight: Compared,
    /// 64 at the same time, spread over 1,000 buyers.
    many_in_flight: Compared,
    reservations_per_s: f64,
    increments_per_s: f64,
    /// The same, all of one buyer.
    hot_reservations_per_s: f64,
    /// That, as a share of the spread ones.
    hot_ratio: f64,
    /// Reservations that were not granted or not given back, and buyers whose money is not what it was: must be 0.
    pub(super) faults: usize,
}

/// Round trips, in microseconds.
#[derive(Debug, Serialize)]
struct Compared {
    reserve_us: Percentiles,
    increment_us: Percentiles,
    /// How many times the yardstick's median.
    ratio_p50: f64,
}

/// Round trips of one kind.
#[derive(Debug, Default)]
struct Measured {
    each_ns: Vec<u64>,
    took_s: f64,
}

impl Measured {
    fn add(&mut self, round: Self) {
        self.each_ns.extend(round.each_ns);
        self.took_s += round.took_s;
    }

    fn per_s(&self) -> f64 {
        self.each_ns.len() as f64 / self.took_s
    }
}

impl Compared {
    fn of(reserve: Measured, increment: Measured) -> Self {
        let reserve_us = Percentiles::of_ns(reserve.each_ns);
        let increment_us = Percentiles::of_ns(increment.each_ns);
        Self { reserve_us, increment_us, ratio_p50: reserve_us.p50 / increment_us.p50 }
    }
}

/// Reserves `reservations` times in each way, under a prefix of its own that is taken away afterwards.
pub(super) fn run(config: &CoordinationConfig, reservations: usize) -> Result<ReserveFigures, Failure> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::environment(format!("no threads: {error}; raise the process limit")))?;
    runtime.block_on(async {
        let coordination = ground::redis(config).await?;
        let measured = measure(coordination, reservations).await;
        measured.map_err(|error| Failure::environment(error.to_string()))
    })
}

async fn measure(
    coordination: Coordination,
    reservations: usize,
) -> Result<ReserveFigures, CoordinationError> {
    let market = Arc::new(Market::new(coordination));
    let loaded = market.coordination.rebuild(&snapshot(), NonZeroU64::MIN, |_| Uuid::nil()).await;
    let figures = match loaded {
        Ok(()) => measure_all(&market, reservations).await,
        Err(error) => Err(error),
    };
    market.coordination.erase((0..BUYERS).map(buyer)).await?;
    figures
}

async fn measure_all(market: &Arc<Market>, reservations: usize) -> Result<ReserveFigures, CoordinationError> {
    let [mut one, mut one_bare, mut many, mut many_bare, mut hot] =
        std::array::from_fn(|_| Measured::default());
    let mut faults = 0;
    let each = reservations.div_ceil(ROUNDS);
    for _ in 0..ROUNDS {
        one_bare.add(market.increment(1, each).await?);
        one.add(market.reserve(1, each, BUYERS, &mut faults).await?);
        many_bare.add(market.increment(IN_FLIGHT, each).await?);
        many.add(market.reserve(IN_FLIGHT, each, BUYERS, &mut faults).await?);
        hot.add(market.reserve(IN_FLIGHT, each, 1, &mut faults).await?);
    }
    for index in 0..BUYERS {
        let figures = market.coordination.figures(buyer(index)).await?;
        faults += usize::from(figures.is_none_or(|figures| figures.available != FUNDS));
    }
    let (per_s, hot_per_s, bare_per_s) = (many.per_s(), hot.per_s(), many_bare.per_s());
    Ok(ReserveFigures {
        reservations: each * ROUNDS,
        one_in_flight: Compared::of(one, one_bare),
        many_in_flight: Compared::of(many, many_bare),
        reservations_per_s: per_s,
        increments_per_s: bare_per_s,
        hot_reservations_per_s: hot_per_s,
        hot_ratio: hot_per_s / per_s,
        faults,
    })
}

/// Buyers with one bid each, which has caps of its own and those of a group.
struct Market {
    coordination: Coordination,
    bids: Vec<BidProfile>,
    groups: Vec<CapGroup>,
    local: LocalTime,
}

fn buyer(index: usize) -> AccountId {
    AccountId(Uuid::from_u128(1_000 + index as u128))
}

/// Buyers with money, and nothing taken of it.
fn snapshot() -> Snapshot {
    let accounts = (0..BUYERS).map(|index| {
        let id = buyer(index);
        (id, Account::new(id, AccountKind::Buyer, "a buyer", NOW))
    });
    let balances = (0..BUYERS).map(|index| (LedgerAccount::Available(buyer(index)), FUNDS));
    Snapshot { accounts: accounts.collect(), balances: balances.collect(), ..Snapshot::default() }
}

impl Market {
    fn new(coordination: Coordination) -> Self {
        let zone = ZoneName::default();
        let local = LocalTime::at(NOW, &zone.time_zone());
        Self {
            coordination,
            bids: (0..BUYERS).map(bid).collect(),
            groups: (0..BUYERS).map(group).collect(),
            local,
        }
    }

    /// Bare round trips.
    async fn increment(
        self: &Arc<Self>,
        in_flight: usize,
        count: usize,
    ) -> Result<Measured, CoordinationError> {
        let market = Arc::clone(self);
        let (measured, _) = drive(in_flight, count, move |_| {
            let market = Arc::clone(&market);
            async move { market.coordination.bare_round_trip().await.map(|()| 0) }
        })
        .await?;
        Ok(measured)
    }

    /// Reserves, over so many buyers, and then gives all of it back, which is not measured.
    async fn reserve(
        self: &Arc<Self>,
        in_flight: usize,
        count: usize,
        buyers: usize,
        faults: &mut usize,
    ) -> Result<Measured, CoordinationError> {
        let first = Uuid::now_v7().as_u128();
        let key = move |index: usize| {
            let call = CallId(Uuid::from_u128(first.wrapping_add(index as u128)));
            ReservationKey { call, attempt: 1 }
        };
        let market = Arc::clone(self);
        let (measured, refused) = drive(in_flight, count, move |index| {
            let market = Arc::clone(&market);
            async move { market.reserve_one(key(index), index % buyers).await }
        })
        .await?;
        let market = Arc::clone(self);
        let (_, lost) = drive(IN_FLIGHT, count, move |index| {
            let market = Arc::clone(&market);
            async move {
                let ended = market.coordination.release(buyer(index % buyers), key(index)).await?;
                Ok(usize::from(ended != Ended::Done))
            }
        })
        .await?;
        *faults += refused + lost;
        Ok(measured)
    }

    async fn reserve_one(&self, key: ReservationKey, buyer: usize) -> Result<usize, CoordinationError> {
        let asked = Reservation {
            key,
            node: Uuid::nil(),
            bid: &self.bids[buyer],
            group: Some(&self.groups[buyer]),
            credit_limit: Micros::ZERO,
            hold: HOLD,
            now: NOW,
            local: self.local,
        };
        let reserved = self.coordination.reserve(&asked).await?;
        Ok(usize::from(!matches!(reserved, Reserved::Granted(_))))
    }
}

/// Does `what` `count` times, keeping `in_flight` of them under way; what they took, and the faults they report.
async fn drive<Doing: Future<Output = Result<usize, CoordinationError>> + Send>(
    in_flight: usize,
    count: usize,
    what: impl Fn(usize) -> Doing + Clone + Send + 'static,
) -> Result<(Measured, usize), CoordinationError> {
    let started = Instant::now();
    let lanes = (0..in_flight).map(|lane| {
        let what = what.clone();
        tokio::spawn(async move {
            let (mut each_ns, mut faults) = (Vec::new(), 0);
            for index in (lane..count).step_by(in_flight) {
                let started = Instant::now();
                faults += what(index).await?;
                each_ns.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
            Ok((each_ns, faults))
        })
    });
    let lanes: Vec<_> = lanes.collect();
    let (mut all_ns, mut all_faults) = (Vec::with_capacity(count), 0);
    for lane in lanes {
        let (each_ns, faults) = lane.await.expect("a lane does not panic")?;
        all_ns.extend(each_ns);
        all_faults += faults;
    }
    Ok((Measured { each_ns: all_ns, took_s: started.elapsed().as_secs_f64() }, all_faults))
}

fn bid(index: usize) -> BidProfile {
    let id = BidProfileId(Uuid::from_u128(1_000_000 + index as u128));
    let price = Price::PerCall { amount_micros: HOLD };
    let limits = vec![Limit::calls(Period::Day, 10_000_000), Limit::spend(Period::Month, FUNDS)];
    BidProfile {
        caps: Caps {
            concurrent_calls: Some(10_000_000),
            limits,
            group: Some(group(index).id),
            ..Caps::default()
        },
        ..BidProfile::new(id, buyer(index), "roofing", price, Destination::of("sip:target@127.0.0.1:5090"))
    }
}

fn group(index: usize) -> CapGroup {
    CapGroup {
        id: CapGroupId(Uuid::from_u128(2_000_000 + index as u128)),
        buyer: buyer(index),
        name: "a group".to_owned(),
        time_zone: ZoneName::default(),
        concurrent_calls: Some(10_000_000),
        limits: vec![Limit::calls(Period::Day, 10_000_000)],
    }
}
