//! What one session was asked and may still answer, within each bidder's own bounds.

use exchange::bid::live::{BidRequest, NoLiveBid};
use exchange::id::{BidProfileId, CallId};
use exchange::ledger::money::Micros;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// As the bid profile says when it leaves them out.
const REQUESTS_PER_S: u32 = 100;
const IN_FLIGHT_MAX: u32 = 32;

/// The requests one session has not answered. Memory is bounded by what its bid profiles may have in flight.
#[derive(Debug, Default)]
pub(super) struct Asked {
    bidders: HashMap<BidProfileId, Bidder>,
}

/// One bid profile's requests.
#[derive(Debug)]
struct Bidder {
    open: Vec<Question>,
    second_began: Instant,
    asked_this_second: u32,
}

/// One request that may still be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) call: CallId,
    /// The most it may bid, in micro-units.
    pub(super) most_micros: Micros,
    deadline: Instant,
}

impl Asked {
    /// Notes that a request is sent, or says why it is not to be.
    pub(super) fn ask(&mut self, request: &BidRequest, now: Instant) -> Result<(), NoLiveBid> {
        let bidder = self.bidders.entry(request.bid).or_insert_with(|| Bidder {
            open: Vec::new(),
            second_began: now,
            asked_this_second: 0,
        });
        if now.duration_since(bidder.second_began) >= Duration::from_secs(1) {
            bidder.second_began = now;
            bidder.asked_this_second = 0;
        }
        if bidder.asked_this_second >= request.bidder.requests_per_s.unwrap_or(REQUESTS_PER_S) {
            return Err(NoLiveBid::RateLimited);
        }
        bidder.open.retain(|question| question.deadline > now);
        let in_flight_max = request.bidder.in_flight_max.unwrap_or(IN_FLIGHT_MAX);
        if bidder.open.len() >= usize::try_from(in_flight_max).unwrap_or(usize::MAX) {
            return Err(NoLiveBid::Busy);
        }
        bidder.asked_this_second += 1;
        bidder.open.push(Question {
            call: request.call,
            most_micros: request.most_micros,
            deadline: now + Duration::from_millis(request.time_ms().into()),
        });
        Ok(())
    }

    /// Takes the question that an answer is to. There is none when it was not asked, or was answered, or is long past its time.
    pub(super) fn take(&mut self, call: CallId, bid: BidProfileId) -> Option<Question> {
        let open = &mut self.bidders.get_mut(&bid)?.open;
        let place = open.iter().position(|question| question.call == call)?;
        Some(open.swap_remove(place))
    }

    /// Takes every question that somebody may still be waiting for.
    pub(super) fn take_all(&mut self, now: Instant) -> Vec<(CallId, BidProfileId)> {
        let bidders = self.bidders.drain();
        let open = bidders.flat_map(|(bid, bidder)| {
            let waiting = bidder.open.into_iter().filter(move |question| question.deadline > now);
            waiting.map(move |question| (question.call, bid))
        });
        open.collect()
    }

    /// Forgets bidders that are not this session's any more.
    pub(super) fn keep_only(&mut self, bids: &[BidProfileId]) {
        self.bidders.retain(|bid, _| bids.contains(bid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange::bid::live::{CallerDisclosure, LiveBidder, LiveVia};
    use exchange::ledger::money::Currency;
    use exchange::tracking_number::CallOrigin;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    const BID: BidProfileId = BidProfileId(Uuid::from_u128(1));

    fn request(call: u128, requests_per_s: Option<u32>, in_flight_max: Option<u32>) -> BidRequest {
        let caller = CallerDisclosure::Withheld;
        let via = LiveVia::Connection;
        BidRequest {
            call: CallId(Uuid::from_u128(call)),
            bid: BID,
            bidder: LiveBidder { via, timeout_ms: None, requests_per_s, in_flight_max, caller },
            deadline_ms: 80,
            floor_micros: Micros::ZERO,
            most_micros: Micros::units(50),
            currency: Currency::USD,
            vertical: "roofing".to_owned(),
            origin: CallOrigin::OrganicInbound,
            state: None,
            zip: None,
            area_code: None,
            language: None,
            attestation: None,
            tags: BTreeMap::new(),
            caller: None,
        }
    }

    #[test]
    fn a_question_is_answered_once() {
        let (mut asked, now) = (Asked::default(), Instant::now());
        asked.ask(&request(7, None, None), now).expect("room");
        let call = CallId(Uuid::from_u128(7));
        assert_eq!(asked.take(call, BidProfileId(Uuid::from_u128(2))), None, "another bid was not asked");
        assert_eq!(asked.take(CallId(Uuid::from_u128(8)), BID), None, "nor about another call");
        assert_eq!(asked.take(call, BID).map(|question| question.most_micros), Some(Micros::units(50)));
        assert_eq!(asked.take(call, BID), None);
    }

    #[test]
    fn bidders_have_bounds_in_flight_and_by_the_second() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut asked = Asked::default();
        let steps = [
            (0, Ok(())),
            (1, Ok(())),
            (2, Err(NoLiveBid::Busy)),
            // The first has run out of time.
            (80, Ok(())),
            (90, Err(NoLiveBid::RateLimited)),
            (1_000, Ok(())),
        ];
        for (step, (ms, expected)) in steps.into_iter().enumerate() {
            let request = request(step.try_into().expect("few"), Some(3), Some(2));
            assert_eq!(asked.ask(&request, at(ms)), expected, "step {step}");
        }
    }

    #[test]
    fn at_the_end_only_those_in_time_are_owed_an_answer() {
        let (mut asked, start) = (Asked::default(), Instant::now());
        asked.ask(&request(1, None, None), start).expect("room");
        asked.ask(&request(2, None, None), start + Duration::from_millis(60)).expect("room");
        let owed = asked.take_all(start + Duration::from_millis(100));
        assert_eq!(owed, [(CallId(Uuid::from_u128(2)), BID)]);
    }
}
