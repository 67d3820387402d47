//! Live bids: who is asked, and waiting for the answers.

use super::decision::decide;
use super::effects::Effects;
use super::effects::count;
use super::ending::{end, turn_away};
use super::keep;
use crate::auction::matching::{CallFacts, Refusal, offer};
use crate::bid::live::{BidRequest, LiveAnswer, LiveSaid, NoLiveBid};
use crate::book::Book;
use crate::call::{Call, CallState, Outcome};
use crate::compliance::verdict::Check;
use crate::effect::{Action, Effect, EndReason, Input, Record};
use crate::event::Fact;
use crate::fraud::score;
use crate::id::BidProfileId;
use crate::ledger::money::Micros;
use crate::ping::PingRejection;
use crate::time::Timestamp;

/// At most this many live bidders are asked about one call.
pub const LIVE_BIDDERS_MAX: usize = 64;

/// Opens the auction: asks the live bidders and waits for them, or clears it at once when there are none.
pub(super) fn auction(
    book: &mut Book,
    call: Call,
    screening: Vec<Check>,
    reserve_ms: Option<u64>,
    out: &mut Effects,
) {
    let deals = book.deals(&call);
    let facts = book.facts(&call, &deals);
    let deadline_ms = facts.map_or(0, |facts| facts.rules.bidding_deadline_ms);
    let requests = match &facts {
        Some(facts) if deadline_ms > 0 => bid_requests(book, &call, facts, out.now),
        _ => Vec::new(),
    };
    tell_start(book, &call, facts.as_ref(), requests.len(), out);
    if requests.is_empty() {
        decide(book, call, screening, &[], reserve_ms, None, out);
        return;
    }
    let awaited = requests.iter().map(|request| request.bid).collect();
    out.decided
        .extend(requests.into_iter().map(|request| Effect::Act(Action::RequestBid(Box::new(request)))));
    out.act(Action::StartBiddingTimer { after_ms: deadline_ms.into() });
    let state = CallState::Bidding { screening, awaited, answers: Vec::new(), reserve_ms };
    let call = Call { state, ..call };
    out.write(Record::Call(Box::new(call.clone())));
    book.calls.insert(call.id, call);
}

/// Tells how suspicious the call is, that the auction begins, and how many live bidders are asked.
pub(super) fn tell_start(
    book: &Book,
    call: &Call,
    facts: Option<&CallFacts>,
    asked: usize,
    out: &mut Effects,
) {
    if let Some(facts) = facts {
        let signals = score::signals(&book.fraud_signals(call)).collect();
        out.tell(Fact::FraudScored { score: facts.fraud_score, signals, version: score::VERSION });
    }
    let rules = facts.map_or_else(|| book.rules(call), |facts| facts.rules);
    out.tell(Fact::AuctionStarted {
        vertical: call.vertical.clone(),
        auction_type: rules.auction_type,
        floor_micros: facts.map_or(Micros::ZERO, |facts| facts.floor),
        asked: count(asked),
        deadline_ms: if asked == 0 { 0 } else { rules.bidding_deadline_ms },
    });
}

/// What each live bidder that wants the call, and could take it, is asked.
fn bid_requests(book: &Book, call: &Call, facts: &CallFacts, now: Timestamp) -> Vec<BidRequest> {
    let market = book.market(now);
    let clocks = book.bids.clocks(now);
    let mut asked = Vec::new();
    for slot in book.bids.live(facts.vertical) {
        let standing = book.bids.at(*slot);
        let profile = &standing.profile;
        let Some(bidder) = &profile.live else { continue };
        // Whatever it answered, a call that its profile refuses at its highest price would not be its.
        if offer(*slot, standing, facts, &market, &clocks).is_err() {
            continue;
        }
        asked.push(BidRequest {
            call: call.id,
            bid: profile.id,
            bidder: (**bidder).clone(),
            deadline_ms: bidder.timeout_ms.map_or(facts.rules.bidding_deadline_ms, |timeout_ms| {
                timeout_ms.min(facts.rules.bidding_deadline_ms)
            }),
            floor_micros: facts.floor_for(profile.buyer),
            most_micros: profile.price.amount(),
            currency: facts.currency,
            vertical: call.vertical.clone(),
            origin: call.origin,
            state: facts.state,
            zip: facts.zip,
            area_code: facts.area_code,
            language: facts.language,
            attestation: facts.attestation,
            tags: facts.tags.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            caller: call.caller.number(),
        });
        if asked.len() == LIVE_BIDDERS_MAX {
            break;
        }
    }
    asked
}

/// Why the live bidders that were not asked were not.
pub(super) fn not_asked(
    book: &Book,
    facts: &CallFacts,
    answers: &[LiveAnswer],
    now: Timestamp,
) -> Vec<Refusal> {
    let market = book.market(now);
    let clocks = book.bids.clocks(now);
    let live = book.bids.live(facts.vertical).iter().map(|slot| (*slot, book.bids.at(*slot)));
    let not_asked = live.filter(|(_, standing)| answers.iter().all(|said| said.bid != standing.profile.id));
    not_asked.filter_map(|(slot, standing)| offer(slot, standing, facts, &market, &clocks).err()).collect()
}

/// A call whose live bidders are being asked.
pub(super) struct Asking {
    pub(super) screening: Vec<Check>,
    pub(super) awaited: Vec<BidProfileId>,
    pub(super) answers: Vec<LiveAnswer>,
    pub(super) reserve_ms: Option<u64>,
}

pub(super) fn while_bidding(
    book: &mut Book,
    call: Call,
    mut asking: Asking,
    input: Input,
    out: &mut Effects,
) {
    match input {
        Input::BidAnswered(answer) => {
            // A second answer, or one from somebody who was not asked, changes nothing.
            let awaited = asking.awaited.iter().position(|bid| *bid == answer.bid);
            if let Some(place) = awaited {
                asking.awaited.swap_remove(place);
                asking.answers.push(answered(book, answer, out));
            }
        }
        Input::BiddingClosed => {
            for bid in std::mem::take(&mut asking.awaited) {
                let late = LiveAnswer { bid, said: LiveSaid::Nothing { reason: NoLiveBid::TimedOut } };
                asking.answers.push(answered(book, late, out));
            }
        }
        Input::Resumed => {
            let after_ms = book.rules(&call).bidding_deadline_ms.into();
            out.act(Action::StartBiddingTimer { after_ms });
        }
        Input::CallerHungUp | Input::PeerLost => {
            end(call, Outcome::Abandoned, out);
            out.act(Action::EndCall { reason: EndReason::Abandoned });
            return;
        }
        Input::ShutDown | Input::Recovered { .. } => {
            turn_away(call, Outcome::Interrupted, PingRejection::Stopping, EndReason::Stopping, out);
            return;
        }
        _ => {}
    }
    let Asking { screening, awaited, answers, reserve_ms } = asking;
    if awaited.is_empty() {
        decide(book, call, screening, &answers, reserve_ms, None, out);
    } else {
        keep(book, call, CallState::Bidding { screening, awaited, answers, reserve_ms });
    }
}

/// Tells of an answer, and takes it for what it is: a price above the most its profile allows, or a buffer that no call can
/// reach, is no bid.
pub(super) fn answered(book: &Book, answer: LiveAnswer, out: &mut Effects) -> LiveAnswer {
    let bid = answer.bid;
    let reason = match (&answer.said, book.bids.get(bid)) {
        (LiveSaid::Bid { price_micros, min_connected_s, .. }, Some(standing))
            if (Micros(1)..=standing.profile.price.amount()).contains(price_micros)
                && min_connected_s.is_none_or(|buffer_s| buffer_s <= standing.max_call_s) =>
        {
            let (buyer, price_micros) = (standing.profile.buyer, *price_micros);
            out.tell(Fact::LiveBidPlaced { bid, buyer, price_micros });
            return answer;
        }
        (LiveSaid::Bid { .. }, _) => NoLiveBid::Garbled,
        (LiveSaid::Nothing { reason }, _) => *reason,
    };
    out.tell(Fact::LiveBidMissed { bid, reason });
    LiveAnswer { bid, said: LiveSaid::Nothing { reason } }
}
