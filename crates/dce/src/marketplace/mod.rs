//! A believable marketplace, made from a seed: who buys which calls for how much, who sells them, and who calls. The
//! demo and the simulator trade on it.
//!
//! Every telephone number is one that the North American plan keeps for fiction: 555-0100 to 555-0199. Within these, the
//! last two digits say whose it is: 00 to 79 consumers, 80 to 89 sellers, 90 to 99 targets.

mod verticals;
mod regions;
mod buyers;
mod sellers;
mod callers;
#[cfg(test)]
mod tests;

pub(crate) use callers::Callers;

use exchange::account::Account;
use exchange::bid::BidProfile;
use exchange::compliance::area_code::{AreaCodeKind, AreaCodes, RuleDataError};
use exchange::effect::Command;
use exchange::ledger::money::Micros;
use exchange::place::State;
use exchange::schedule::ZoneName;
use exchange::time::Timestamp;
use exchange::tracking_number::TrackingNumber;
use fastrand::Rng;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// What shall be made.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The same seed makes the same marketplace.
    pub(crate) seed: u64,
    /// When its accounts were opened.
    pub(crate) opened_at: Timestamp,
    /// Where targets listen. Never empty.
    pub(crate) trunks: Vec<SocketAddr>,
    /// How many buyers.
    pub(crate) buyers: u32,
    /// Bid profiles of each buyer.
    pub(crate) bids_per_buyer: u32,
    /// How many sellers, of ten tracking numbers each.
    pub(crate) sellers: u32,
    /// How fast its calls are.
    pub(crate) pace: Pace,
}

/// How fast calls are.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Seconds connected before a call is billable.
    pub(crate) buffer_s: RangeInclusive<u32>,
    /// How long targets may ring, in milliseconds.
    pub(crate) ring_timeout_ms: RangeInclusive<u64>,
    /// The longest a call may last, in seconds.
    pub(crate) max_call_s: u32,
}

/// Who trades, and on what terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marketplace {
    /// Sellers and buyers.
    pub(crate) accounts: Vec<Account>,
    /// What buyers paid in: account, amount, reference.
    pub(crate) deposits: Vec<Command>,
    /// What consumers can dial.
    pub(crate) numbers: Vec<TrackingNumber>,
    /// What buyers bid.
    pub(crate) bids: Vec<BidProfile>,
}

impl Marketplace {
    /// Makes it.
    ///
    /// # Errors
    /// When the area codes that the exchange ships cannot be read.
    pub(crate) fn make(layout: &Layout) -> Result<Self, RuleDataError> {
        let mut draw = Draw { rng: Rng::with_seed(layout.seed), area_codes: consumer_area_codes()?, ids: 0 };
        let (sellers, numbers) = sellers::make(layout, &mut draw);
        let buyers::Buyers { mut accounts, deposits, bids } = buyers::make(layout, &mut draw);
        accounts.splice(0..0, sellers);
        Ok(Self { accounts, deposits, numbers, bids })
    }

    /// What has to be told to an exchange, in two waves: first the accounts, then what refers to them. Within a wave the
    /// order does not matter.
    pub(crate) fn commands(&self) -> [Vec<Command>; 2] {
        let accounts = self.accounts.iter().cloned().map(|account| Command::OpenAccount { account });
        let numbers = self.numbers.iter().cloned().map(|number| Command::PutTrackingNumber { number });
        let bids = self.bids.iter().cloned().map(|bid| Command::PutBidProfile { bid: Box::new(bid) });
        [accounts.collect(), self.deposits.iter().cloned().chain(numbers).chain(bids).collect()]
    }
}

/// What everything is drawn from.
struct Draw {
    rng: Rng,
    /// Area codes of exactly one state of the United States, with that state.
    area_codes: Vec<(u16, State)>,
    ids: u64,
}

impl Draw {
    /// The next id; ids sort in the order they were drawn.
    fn id(&mut self, at: Timestamp) -> Uuid {
        self.ids += 1;
        let ms = u64::try_from(at.micros() / 1_000).unwrap_or(0) + self.ids;
        let mut random = [0; 10];
        self.rng.fill(&mut random);
        uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(0..n) == 0
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.rng.usize(0..choices.len())]
    }

    /// An amount within whole units, in steps of a quarter.
    fn amount(&mut self, (low, high): (i64, i64)) -> Micros {
        Micros(self.rng.i64(low * 4..=high * 4) * 250_000)
    }
}

/// The `nth` fictional number of an area code, which is also whose it is.
fn fictional_number(area_code: u16, nth: u32) -> String {
    format!("+1{area_code}55501{:02}", nth % 100)
}

/// Area codes of exactly one state that has consumers here.
fn consumer_area_codes() -> Result<Vec<(u16, State)>, RuleDataError> {
    let shipped = AreaCodes::shipped()?;
    let in_one_state = |code| {
        let known = shipped.get(code).filter(|known| known.kind == AreaCodeKind::Geographic)?;
        let state = shipped.only_state_of(known.code)?;
        regions::of(state).map(|_| (code, state))
    };
    Ok((200..1_000).filter_map(in_one_state).collect())
}

fn state(code: &str) -> State {
    State::try_from(code.to_owned()).expect("the table has two capital letters")
}

fn zone(name: &str) -> ZoneName {
    ZoneName::try_from(name.to_owned()).expect("the table has IANA names")
}
