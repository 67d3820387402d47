//! What bidders are promised: the rules in force, the floors and deals agreed, terms no worse than they offered, no live bid paid
//! above its answer or its most, and a reason for every live bid that lost.

use engine::Decided;
use exchange::auction::receipt::{AuctionReceipt, RankedBid};
use exchange::bid::live::{BidResult, LiveSaid};
use exchange::call::{Attempt, Call, CallState, Outcome};
use exchange::effect::{Action, Input, JournalInput, Record};
use exchange::id::{BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::policy::Policy;
use exchange::snapshot::Snapshot;
use exchange::trading_rules::{Duplicates, Scope, ScopedRules};
use infra::store::UnitOfWork;
use std::collections::{BTreeMap, BTreeSet};

/// What live bidders answered.
#[derive(Debug, Default)]
pub(super) struct Auctions {
    /// Each live bidder's first answer that is a bid within its most, in micro-units.
    said: BTreeMap<(CallId, BidProfileId), Micros>,
    /// The ping in whose auction a call was sold.
    sold_by: BTreeMap<CallId, CallId>,
    /// Live bids that won their auction.
    pub(super) live_won: u64,
    /// Places in route plans that came under a deal.
    pub(super) dealt: u64,
}

impl Auctions {
    /// What a unit breaks; `before` is all that is on disk so far, which is what the auction was held on.
    pub(super) fn broken_by(&mut self, before: &Snapshot, unit: &UnitOfWork) -> Vec<String> {
        self.note_answer(before, unit);
        let mut found = Vec::new();
        for record in &unit.records {
            match record {
                Record::Receipt(receipt) => {
                    let Some(auction) = &receipt.auction else { continue };
                    self.sold_by.extend(auction.reservation.map(|ping| (receipt.call, ping)));
                    self.live_won += u64::from(auction.ranking.first().is_some_and(|winner| winner.is_live));
                    self.dealt +=
                        auction.ranking.iter().filter(|ranked| ranked.deal.is_some()).count() as u64;
                    let whose = |what| format!("call {}: {what}", receipt.call);
                    found.extend(other_rules(before, unit, receipt.call, auction).map(whose));
                    found.extend(wrong_terms(before, auction).map(whose));
                    found.extend(wrong_order(before, auction).map(whose));
                }
                Record::Call(call) => found.extend(self.overpaid(before, call)),
                _ => {}
            }
        }
        found
    }

    fn note_answer(&mut self, before: &Snapshot, unit: &UnitOfWork) {
        let Some(JournalInput::Call { call, input: Input::BidAnswered(answer) }) =
            unit.journal.as_ref().map(|journal| &journal.entry)
        else {
            return;
        };
        let LiveSaid::Bid { price_micros, .. } = &answer.said else { return };
        let most = before.bid_profiles.get(&answer.bid).map(|profile| profile.price.amount());
        if most.is_some_and(|most| (Micros(1)..=most).contains(price_micros)) {
            self.said.entry((*call, answer.bid)).or_insert(*price_micros);
        }
    }

    /// A live bid is rung for, and charged, at most what its bidder answered.
    fn overpaid(&self, before: &Snapshot, call: &Call) -> Option<String> {
        let (attempt, charge): (&Attempt, Micros) = match &call.state {
            CallState::Ended { outcome: Outcome::Converted { attempt, charge_micros, .. }, .. } => {
                (attempt, *charge_micros)
            }
            _ => (call.held_attempt()?, Micros::ZERO),
        };
        before.bid_profiles.get(&attempt.bid)?.live.as_ref()?;
        let auction = self.sold_by.get(&call.id).unwrap_or(&call.id);
        let answers = [call.id, *auction].map(|asked| self.said.get(&(asked, attempt.bid)));
        let Some(answer) = answers.into_iter().flatten().max() else {
            return Some(format!("call {}: live bid {} never answered", call.id, attempt.bid));
        };
        let pays = attempt.price.amount().max(charge);
        (pays > *answer)
            .then(|| format!("call {}: live bid {} said {answer}, and pays {pays}", call.id, attempt.bid))
    }
}

/// The auction was held under the rules of the narrowest scope that says something; of floors the highest applies.
fn other_rules(
    before: &Snapshot,
    unit: &UnitOfWork,
    call: CallId,
    auction: &AuctionReceipt,
) -> Option<String> {
    let call = unit.records.iter().find_map(|record| match record {
        Record::Call(decided) if decided.id == call => Some(decided),
        _ => None,
    })?;
    let house = Policy::default().trading;
    let own = before.tracking_numbers.get(&call.called)?.floor_micros;
    let floors = scopes(before, call).filter_map(|rules| rules.floor_micros);
    let wanted = (
        scopes(before, call).find_map(|rules| rules.auction_type).unwrap_or(house.auction_type),
        scopes(before, call).find_map(|rules| rules.algorithm).unwrap_or(house.algorithm),
        scopes(before, call).find_map(|rules| rules.quality_adjusted).unwrap_or(house.quality_adjusted),
        floors.fold(house.floor_micros.max(own), Micros::max),
    );
    let held_under =
        (auction.auction_type, auction.algorithm, auction.quality_adjusted, auction.floor_micros);
    (held_under != wanted).then(|| format!("held under {held_under:?} instead of {wanted:?}"))
}

/// What is done about the same caller again.
pub(super) fn duplicates(disk: &Snapshot, call: &Call) -> Duplicates {
    let said = scopes(disk, call).find_map(|rules| rules.duplicates);
    said.unwrap_or(Policy::default().trading.duplicates)
}

/// The rules of the scopes a call is in, narrowest first.
fn scopes<'a>(disk: &'a Snapshot, call: &Call) -> impl Iterator<Item = &'a ScopedRules> {
    let scopes =
        [Scope::Number(call.called), Scope::Seller(call.seller), Scope::Vertical(call.vertical.clone())];
    scopes.into_iter().filter_map(|scope| disk.trading_rules.get(&scope))
}

/// Nobody in the plan pays more than it offered or less than the floor that applies to it.
fn wrong_terms(before: &Snapshot, auction: &AuctionReceipt) -> Option<String> {
    let typical_call_ms = u64::from(Policy::default().typical_call_s) * 1_000;
    auction.ranking.iter().find_map(|ranked| {
        let RankedBid { bid, price, offered, .. } = ranked;
        let offered = offered.unwrap_or(*price);
        let deal = ranked.deal.and_then(|deal| before.deals.get(&deal));
        let floor = deal.map_or(auction.floor_micros, |deal| deal.floor_micros);
        let profile = before.bid_profiles.get(bid)?;
        if price.amount() > offered.amount() {
            return Some(format!("bid {bid} offered {offered:?} and pays {price:?}"));
        }
        if price.expected(typical_call_ms) < floor {
            return Some(format!("bid {bid} pays {price:?}, below the floor of {floor}"));
        }
        if !ranked.is_live && (offered != profile.price || profile.live.is_some()) {
            return Some(format!("bid {bid} stands at {:?} and was taken at {offered:?}", profile.price));
        }
        deal.filter(|deal| !deal.active || !deal.buyers.contains(&ranked.buyer))
            .map(|deal| format!("bid {bid} came under deal {}, which is not its own", deal.id))
    })
}

/// Deals with a first look go before everyone else, and nobody has two places.
fn wrong_order(before: &Snapshot, auction: &AuctionReceipt) -> Option<String> {
    let has_first_look = |ranked: &RankedBid| {
        ranked.deal.and_then(|deal| before.deals.get(&deal)).is_some_and(|deal| deal.first_look)
    };
    let places: BTreeSet<BidProfileId> = auction.ranking.iter().map(|ranked| ranked.bid).collect();
    if places.len() < auction.ranking.len() {
        return Some("a bid has two places in the plan".to_owned());
    }
    let is_sorted = auction.ranking.is_sorted_by_key(|ranked| !has_first_look(ranked));
    (!is_sorted).then(|| "a bid of the open auction goes before a deal with a first look".to_owned())
}

/// Every live bidder who bid is told, once, that it won and what it pays, or that it lost and why, as the receipt has it.
pub(super) fn untold(decided: &Decided) -> Vec<String> {
    let receipts = decided.unit.records.iter().filter_map(|record| match record {
        Record::Receipt(receipt) => Some((receipt.call, receipt.auction.as_ref()?)),
        _ => None,
    });
    let mut found = Vec::new();
    for (call, auction) in receipts {
        let winner = auction.ranking.first().map(|winner| (winner.bid, winner.price.amount()));
        for said in auction.live.iter().filter(|said| said.price_micros.is_some()) {
            let told = decided.actions.iter().filter_map(|action| match action {
                Action::NotifyBidder(notice) if (notice.call, notice.bid) == (call, said.bid) => {
                    Some(notice.result)
                }
                _ => None,
            });
            let is_told_right = match told.collect::<Vec<_>>()[..] {
                [BidResult::Won { price_micros }] => winner == Some((said.bid, price_micros)),
                [BidResult::Lost { reason, .. }] => {
                    let lost = auction.lost.iter().find(|loss| loss.bid == said.bid);
                    winner.is_none_or(|(bid, _)| bid != said.bid)
                        && lost.is_some_and(|lost| lost.reason == reason)
                }
                _ => false,
            };
            if !is_told_right {
                found.push(format!("call {call}: live bid {} was not told how it went", said.bid));
            }
        }
    }
    found
}
