//! Live bidders: they answer in time, late, twice, with something unusable, in another's name, or never.

use exchange::bid::live::{BidRequest, LiveAnswer, LiveSaid, NoLiveBid};
use exchange::id::BidProfileId;
use exchange::ledger::money::Micros;
use fastrand::Rng;
use uuid::Uuid;

/// What comes back for one request, and after how many milliseconds.
pub(super) fn answers(request: &BidRequest, rng: &mut Rng) -> Vec<(u64, LiveAnswer)> {
    let deadline_ms = u64::from(request.deadline_ms);
    let in_time = rng.u64(..=deadline_ms);
    let bid = request.bid;
    let own = |said| LiveAnswer { bid, said };
    let price = price(request, rng);
    match rng.u8(..12) {
        0 => Vec::new(),
        // The very moment of the deadline, or past it.
        1 => vec![(deadline_ms, own(price))],
        2 => vec![(deadline_ms + rng.u64(1..=5_000), own(price))],
        3 => vec![(in_time, own(LiveSaid::Nothing { reason: failure(rng) }))],
        4 => vec![(in_time, own(unusable(request, rng)))],
        5 => vec![(in_time, own(price)), (in_time + rng.u64(..=deadline_ms), own(dearest(request)))],
        6 => {
            let other = BidProfileId(Uuid::from_u128(bid.0.as_u128() ^ rng.u128(1..8)));
            vec![(0, LiveAnswer { bid: other, said: dearest(request) }), (in_time, own(price))]
        }
        _ => vec![(in_time, own(price))],
    }
}

/// What the shell makes of an answer that is none.
fn failure(rng: &mut Rng) -> NoLiveBid {
    let failures = [
        NoLiveBid::Declined,
        NoLiveBid::TimedOut,
        NoLiveBid::Unreachable,
        NoLiveBid::Failed,
        NoLiveBid::Garbled,
        NoLiveBid::TooLarge,
        NoLiveBid::NotConnected,
    ];
    failures[rng.usize(..failures.len())]
}

/// A bid around the floor and up to the most, now and then on terms of its own.
fn price(request: &BidRequest, rng: &mut Rng) -> LiveSaid {
    let least = (request.floor_micros.0 / 2).max(1);
    LiveSaid::Bid {
        price_micros: Micros(rng.i64(least..=request.most_micros.0.max(least))),
        min_connected_s: (rng.u8(..3) == 0).then(|| rng.u32(..=60)),
        destination: None,
    }
}

fn dearest(request: &BidRequest) -> LiveSaid {
    LiveSaid::Bid { price_micros: request.most_micros, min_connected_s: None, destination: None }
}

/// A price outside the bounds, or a buffer no call reaches.
fn unusable(request: &BidRequest, rng: &mut Rng) -> LiveSaid {
    let most = request.most_micros.0;
    let price = [0, -1, i64::MIN, most + 1, most * 2, i64::MAX, most][rng.usize(..7)];
    let min_connected_s = (price == most).then_some(u32::MAX);
    LiveSaid::Bid { price_micros: Micros(price), min_connected_s, destination: None }
}
