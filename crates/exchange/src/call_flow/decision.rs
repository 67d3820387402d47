//! The decision: the auction is held, told, and acted on.

use super::bidding::not_asked;
use super::effects::{Effects, count};
use super::ending::turn_away;
use super::reservation::reserve;
use super::ringing::ring_next;
use crate::auction::contest::{Contest, hold};
use crate::auction::matching::Refusal;
use crate::auction::receipt::{AuctionReceipt, Loss};
use crate::bid::live::{BidNotice, LiveAnswer, LossReason};
use crate::book::Book;
use crate::call::{Call, Outcome, Planned};
use crate::compliance::verdict::Check;
use crate::effect::{Action, EndReason};
use crate::event::Fact;
use crate::id::{BidProfileId, CallId};
use crate::ping::PingRejection;

/// Clears the auction and acts on it: ring the winner, or reserve it for the call that a ping announced. `sold` is what a
/// ping has won before: it goes first.
pub(super) fn decide(
    book: &mut Book,
    call: Call,
    screening: Vec<Check>,
    answers: &[LiveAnswer],
    reserve_ms: Option<u64>,
    sold: Option<(CallId, Planned)>,
    out: &mut Effects,
) {
    let deals = book.deals(&call);
    let again = book.again(&call, out.now);
    let places = usize::from(book.policy.route_plan_max);
    let Some(facts) = book.facts(&call, &deals) else {
        // Numbers and accounts are never removed; a call without them is a call nobody can be paid for.
        out.receipt(screening, None);
        turn_away(call, Outcome::NoBidder, PingRejection::UnknownNumber, EndReason::NoBidder, out);
        return;
    };
    let contest = hold(&book.bids, &facts, &book.market(out.now), answers, again, places);
    // Only where nobody takes the call is it worth asking why others were not even asked.
    let not_asked =
        if contest.plan.is_empty() { not_asked(book, &facts, answers, out.now) } else { Vec::new() };
    let Contest { mut receipt, mut plan, notices, turn } = contest;
    for (bid, result) in notices {
        let bidder = book.bids.get(bid).and_then(|standing| standing.profile.live.as_deref().cloned());
        if let Some(bidder) = bidder {
            out.act(Action::NotifyBidder(Box::new(BidNotice { call: call.id, bid, bidder, result })));
        }
    }
    if let Some((reservation, planned)) = sold {
        receipt.reservation = Some(reservation);
        receipt.lost = lost_to_reservation(&receipt, planned.bid);
        plan.retain(|other| other.bid != planned.bid);
        plan.insert(0, planned);
        plan.truncate(places);
    } else if let Some((slot, turn)) = turn {
        // A call that a ping sold has had its turn then.
        book.usages.change_record(slot, |record| record.took_turn(turn));
    }
    tell_decision(&receipt, &plan, out);
    let rejection = rejection(&receipt, &not_asked);
    out.receipt(screening, Some(receipt));

    if plan.is_empty() {
        turn_away(call, Outcome::NoBidder, rejection, EndReason::NoBidder, out);
    } else if let Some(reserve_ms) = reserve_ms {
        reserve(book, call, plan, reserve_ms, out);
    } else {
        ring_next(book, call, 1, plan, 0, out);
    }
}

fn tell_decision(receipt: &AuctionReceipt, plan: &[Planned], out: &mut Effects) {
    let winner = plan.first();
    let ranked = winner.and_then(|winner| receipt.ranking.iter().find(|ranked| ranked.bid == winner.bid));
    out.tell(Fact::AuctionCompleted {
        auction_type: receipt.auction_type,
        considered: receipt.considered,
        ranked: count(receipt.ranking.len()),
        winner: winner.map(|planned| planned.bid),
        price: winner.map(|planned| planned.price),
        reservation: receipt.reservation,
        expected_micros: ranked.map(|ranked| ranked.expected_micros),
        lost: receipt.lost.clone(),
    });
    let plan = plan.iter().map(|planned| planned.bid).collect();
    out.tell(Fact::RoutingDecision { algorithm: receipt.algorithm, plan });
}

/// Where a ping had won the call, all others lost to it, and no price would have won.
fn lost_to_reservation(receipt: &AuctionReceipt, sold: BidProfileId) -> Vec<Loss> {
    let best = receipt.ranking.iter().take(1).map(|ranked| (ranked.bid, ranked.buyer));
    let rest = receipt.lost.iter().map(|loss| (loss.bid, loss.buyer));
    let others = best.chain(rest).filter(|(bid, _)| *bid != sold);
    let reason = LossReason::LostToReservation;
    others.map(|(bid, buyer)| Loss { bid, buyer, reason, min_to_win_micros: None }).collect()
}

/// Why nobody takes a call that no bid is left for. Bids that are switched off say nothing of the call, so they count only where
/// there are no others.
fn rejection(receipt: &AuctionReceipt, not_asked: &[Refusal]) -> PingRejection {
    let live = receipt.live.iter().filter_map(|said| said.refused);
    let refused = receipt.refused.keys().chain(not_asked).copied().chain(live);
    match refused.max_by_key(|refusal| (*refusal != Refusal::Paused, *refusal)) {
        Some(closest) => PingRejection::NoMatch { closest },
        None if receipt.live.is_empty() => PingRejection::NoBidder,
        None => PingRejection::NoLiveBid,
    }
}
