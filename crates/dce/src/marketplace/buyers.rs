//! Buyers, their money and their standing bids.

use super::regions::{REGIONS, Region};
use super::verticals::{Vertical, nth_of_hundred};
use super::{Draw, Layout, fictional_number, state, zone};
use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::bid::caps::{Limit, Period};
use exchange::bid::criteria::{TagRule, TagTest};
use exchange::bid::{BidProfile, BidStatus, Caps, Conversion, Criteria, Destination, Price};
use exchange::effect::Command;
use exchange::id::{AccountId, BidProfileId};
use exchange::ledger::money::Micros;
use exchange::schedule::{Day, MinuteOfDay, OpenHours, Schedule};
use exchange::tracking_number::CallOrigin;
use std::collections::BTreeSet;

/// The seconds at which the exchange compares per-minute with per-call bids, by its default policy.
const TYPICAL_CALL_MIN: i64 = 5;

const NAMES: [&str; 24] = [
    "Apex",
    "Bluebird",
    "Cardinal",
    "Crestview",
    "Evergreen",
    "First Choice",
    "Granite",
    "Guardian",
    "Heritage",
    "Ironwood",
    "Lakeside",
    "Liberty",
    "Lone Star",
    "Magnolia",
    "Maple",
    "Monarch",
    "Patriot",
    "Pinnacle",
    "Redwood",
    "Silver Oak",
    "Sterling",
    "Tri-County",
    "True North",
    "Westbrook",
];

/// First and next billing increment, in seconds.
const INCREMENTS: [(u32, u32); 4] = [(60, 60), (30, 6), (6, 6), (1, 1)];

pub(super) struct Buyers {
    pub(super) accounts: Vec<Account>,
    pub(super) deposits: Vec<Command>,
    pub(super) bids: Vec<BidProfile>,
}

pub(super) fn make(layout: &Layout, draw: &mut Draw) -> Buyers {
    let mut made = Buyers { accounts: Vec::new(), deposits: Vec::new(), bids: Vec::new() };
    for index in 0..layout.buyers {
        let vertical = nth_of_hundred(index * 41);
        let region = &REGIONS[index as usize % REGIONS.len()];
        let account = account(index, vertical, region, layout, draw);
        made.deposits.push(deposit(account.id, index, vertical, draw));
        for nth in 0..layout.bids_per_buyer {
            let seat = Seat { index, nth, vertical, home: region, buyer: &account };
            made.bids.push(bid(&seat, layout, draw));
        }
        made.accounts.push(account);
    }
    made
}

/// Whose bid, and which of his.
struct Seat<'a> {
    index: u32,
    nth: u32,
    vertical: &'static Vertical,
    home: &'static Region,
    buyer: &'a Account,
}

fn account(index: u32, vertical: &Vertical, region: &Region, layout: &Layout, draw: &mut Draw) -> Account {
    let status = match index % 60 {
        17 => AccountStatus::Suspended,
        43 => AccountStatus::Pending,
        _ => AccountStatus::Active,
    };
    let credit_limit_micros = if draw.one_in(6) { draw.amount((500, 5_000)) } else { Micros::ZERO };
    let id = AccountId(draw.id(layout.opened_at));
    let name = format!("{} {} {}", NAMES[index as usize % NAMES.len()], region.name, vertical.trade);
    Account {
        status,
        time_zone: zone(region.time_zone),
        credit_limit_micros,
        ..Account::new(id, AccountKind::Buyer, name, layout.opened_at)
    }
}

/// One in twenty-five has hardly anything left.
fn deposit(account: AccountId, index: u32, vertical: &Vertical, draw: &mut Draw) -> Command {
    let (_, high) = vertical.price;
    let range = if draw.one_in(25) { (1, high) } else { (high * 40, high * 400) };
    Command::Deposit { account, amount_micros: draw.amount(range), reference: format!("wire-{index:05}") }
}

fn bid(seat: &Seat<'_>, layout: &Layout, draw: &mut Draw) -> BidProfile {
    let Seat { index, nth, vertical, home, buyer } = *seat;
    // The first bids are for where the buyer is at home, the others farther away.
    let region = if nth < 4 { home } else { draw.one_of(&REGIONS) };
    let nationwide = nth % 5 == 4;
    let price = price(vertical, draw);
    let area = if nationwide { "Nationwide" } else { region.name };
    let id = BidProfileId(draw.id(layout.opened_at));
    BidProfile {
        name: format!("{area} {}", nth + 1),
        status: if draw.one_in(40) { BidStatus::Paused } else { BidStatus::Active },
        conversion: Conversion { min_connected_s: draw.rng.u32(layout.pace.buffer_s.clone()) },
        criteria: criteria(region, nationwide, draw),
        schedule: schedule(region, draw),
        caps: caps(vertical, draw),
        priority: draw.rng.u8(1..=3),
        ring_timeout_ms: Some(draw.rng.u64(layout.pace.ring_timeout_ms.clone())),
        max_call_s: Some(layout.pace.max_call_s),
        ..BidProfile::new(id, buyer.id, vertical.name, price, destination(index, nth, layout, draw))
    }
}

/// Two in three pay by the call, the others by the minute.
fn price(vertical: &Vertical, draw: &mut Draw) -> Price {
    let amount = draw.amount(vertical.price);
    if !draw.one_in(3) {
        return Price::PerCall { amount_micros: amount };
    }
    let (first_increment_s, next_increment_s) = *draw.one_of(&INCREMENTS);
    let rate_micros = Micros(amount.0 / TYPICAL_CALL_MIN / 10_000 * 10_000);
    Price::PerMinute { rate_micros, first_increment_s, next_increment_s }
}

fn criteria(region: &Region, nationwide: bool, draw: &mut Draw) -> Criteria {
    let mut criteria = Criteria::default();
    if !nationwide {
        criteria.states = region.states.iter().map(|code| state(code)).collect();
    }
    if draw.one_in(12) {
        let (area_code, of_state) = draw.area_codes[draw.rng.usize(0..draw.area_codes.len())];
        criteria.area_codes = BTreeSet::from([area_code]);
        criteria.states = BTreeSet::from([of_state]);
    }
    match draw.rng.u32(0..10) {
        0..=4 => {}
        5..=7 => criteria.origins = [CallOrigin::OrganicInbound, CallOrigin::CallbackRequested].into(),
        _ => criteria.origins = [CallOrigin::OrganicInbound].into(),
    }
    if draw.one_in(10) {
        let is = TagTest::Equals("search".to_owned());
        criteria.tags = vec![TagRule { name: "source".to_owned(), is, not: false }];
    }
    criteria
}

/// More than half the targets work round the clock, so that calls find somebody at any hour.
fn schedule(region: &Region, draw: &mut Draw) -> Schedule {
    const WEEKDAYS: [Day; 5] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri];
    let on =
        |day, from: u16, to: u16| OpenHours { day, from: MinuteOfDay(from * 60), to: MinuteOfDay(to * 60) };
    let hours = match draw.rng.u32(0..10) {
        0..=5 => Vec::new(),
        6..=7 => WEEKDAYS.into_iter().map(|day| on(day, 9, 18)).collect(),
        _ => {
            let mut hours: Vec<_> = WEEKDAYS.into_iter().map(|day| on(day, 8, 21)).collect();
            hours.extend([on(Day::Sat, 9, 17), on(Day::Sun, 12, 17)]);
            hours
        }
    };
    Schedule { time_zone: zone(region.time_zone), hours, ..Schedule::default() }
}

fn caps(vertical: &Vertical, draw: &mut Draw) -> Caps {
    let (_, high) = vertical.price;
    Caps {
        concurrent_calls: (!draw.one_in(30)).then(|| draw.rng.u32(1..=5)),
        limits: [
            draw.rng.bool().then(|| Limit::calls(Period::Day, draw.rng.u32(10..=120))),
            draw.one_in(3).then(|| Limit::spend(Period::Day, draw.amount((high * 10, high * 60)))),
        ]
        .into_iter()
        .flatten()
        .collect(),
        ..Caps::default()
    }
}

/// A buyer has three call centres; one in five is reached over a second trunk too.
fn destination(index: u32, nth: u32, layout: &Layout, draw: &mut Draw) -> Destination {
    let centre = index * 3 + nth % 3;
    let (area_code, _) = draw.area_codes[centre as usize / 10 % draw.area_codes.len()];
    let user = fictional_number(area_code, 90 + centre % 10);
    let trunks = layout.trunks.len();
    let over = |trunk: usize| format!("sip:{user}@{}", layout.trunks[trunk % trunks]);
    let first = centre as usize;
    let mut sip_uris = vec![over(first)];
    if trunks > 1 && centre.is_multiple_of(5) {
        sip_uris.push(over(first + 1));
    }
    Destination { sip_uris }
}
