//! Sellers and the numbers they advertise.

use super::verticals::{Vertical, nth_of_hundred};
use super::{Draw, Layout, fictional_number, zone};
use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::id::AccountId;
use exchange::tracking_number::{CallOrigin, TrackingNumber};
use std::collections::{BTreeMap, BTreeSet};

/// Tracking numbers of one seller.
const NUMBERS_PER_SELLER: u32 = 10;

const NAMES: [&str; 10] = [
    "Brightline",
    "Clickhouse Lane",
    "Northstar",
    "Beacon",
    "Keystone",
    "Harbor",
    "Prairie",
    "Cobalt",
    "Juniper",
    "Summit",
];
const KINDS: [&str; 5] = ["Media", "Leads", "Performance", "Digital", "Calls"];
const TOLL_FREE: [u16; 7] = [800, 833, 844, 855, 866, 877, 888];
const SOURCES: [&str; 5] = ["search", "social", "tv", "radio", "directory"];

/// How many of a hundred numbers have this origin.
const ORIGINS: [(CallOrigin, u32); 4] = [
    (CallOrigin::OrganicInbound, 74),
    (CallOrigin::CallbackRequested, 12),
    (CallOrigin::OutboundTransfer, 11),
    (CallOrigin::Outbound, 3),
];

pub(super) fn make(layout: &Layout, draw: &mut Draw) -> (Vec<Account>, Vec<TrackingNumber>) {
    let mut accounts = Vec::new();
    let mut numbers = Vec::new();
    let mut taken = BTreeSet::new();
    for index in 0..layout.sellers {
        let seller = account(index, layout, draw);
        for nth in 0..NUMBERS_PER_SELLER {
            let mut text = number_text(draw);
            while !taken.insert(text.clone()) {
                text = number_text(draw);
            }
            let vertical = nth_of_hundred(index * 37 + nth * 11);
            numbers.push(number(&text, seller.id, vertical, draw));
        }
        accounts.push(seller);
    }
    (accounts, numbers)
}

fn account(index: u32, layout: &Layout, draw: &mut Draw) -> Account {
    let (name, kind) =
        (NAMES[index as usize % NAMES.len()], KINDS[index as usize / NAMES.len() % KINDS.len()]);
    let id = AccountId(draw.id(layout.opened_at));
    Account {
        // One in fifty has been stopped, and his callers are turned away.
        status: if index % 50 == 33 { AccountStatus::Suspended } else { AccountStatus::Active },
        time_zone: zone("America/New_York"),
        ..Account::new(id, AccountKind::Seller, format!("{name} {kind}"), layout.opened_at)
    }
}

/// Toll-free or local.
fn number_text(draw: &mut Draw) -> String {
    let nth = 80 + draw.rng.u32(0..10);
    if draw.one_in(8) {
        return fictional_number(TOLL_FREE[draw.rng.usize(0..TOLL_FREE.len())], nth);
    }
    let (area_code, _) = draw.area_codes[draw.rng.usize(0..draw.area_codes.len())];
    fictional_number(area_code, nth)
}

fn number(text: &str, seller: AccountId, vertical: &Vertical, draw: &mut Draw) -> TrackingNumber {
    let (low, high) = vertical.price;
    // Now and then a seller asks for more than anybody pays.
    let floor = if draw.one_in(40) { (high * 2, high * 3) } else { (low / 3, low) };
    TrackingNumber {
        number: text.parse().expect("a fictional number is well formed"),
        seller,
        vertical: vertical.name.to_owned(),
        origin: origin(draw.rng.u32(0..100)),
        floor_micros: draw.amount(floor),
        payout_basis_points: draw.rng.u16(60..=85) * 100,
        language: None,
        tags: BTreeMap::from([("source".to_owned(), (*draw.one_of(&SOURCES)).to_owned())]),
        active: true,
    }
}

fn origin(mut nth: u32) -> CallOrigin {
    for (origin, of_hundred) in ORIGINS {
        if nth < of_hundred {
            return origin;
        }
        nth -= of_hundred;
    }
    CallOrigin::OrganicInbound
}
