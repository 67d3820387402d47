//! The conversation of live bids as protocol buffers: `dce/v1/live_bids.proto`.

use super::dce_v1::{
    self as proto, BidderMessage, ExchangeMessage, bid_request, bidder_message, exchange_message, notice,
};
use crate::live_bids::{Answer, Heard, Misread, Offer, ToBidder, invalid};
use crate::problem::{FieldProblem, Problem};
use engine::{Caller, OwnNotice, OwnRequest};
use exchange::bid::criteria::Attestation;
use exchange::bid::live::{BidResult, LossReason};
use exchange::id::{BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::tracking_number::CallOrigin;

/// Reads a message.
pub(super) fn read(message: BidderMessage) -> Heard {
    let (call, bid, offer) = match message.message {
        Some(bidder_message::Message::KeepAlive(_)) => return Heard::Life,
        Some(bidder_message::Message::NoBid(proto::NoBid { call, bid })) => (call, bid, Ok(None)),
        Some(bidder_message::Message::Bid(proto::Bid {
            call,
            bid,
            price_micros,
            min_connected_s,
            sip_uri,
        })) => {
            let missing = || invalid("price_micros", "is missing", "set it, or send no_bid");
            let offer = price_micros.ok_or_else(missing).map(|price_micros| {
                let price_micros = Micros(price_micros);
                Some(Offer { price_micros, price_field: "price_micros", min_connected_s, sip_uri })
            });
            (call, bid, offer)
        }
        None => {
            let problem = invalid("message", "is missing or unknown", "set bid, no_bid or keep_alive");
            return Heard::Misread(Misread { problem, meant: None });
        }
    };
    let (call, bid) = match ids(&call, &bid) {
        Ok(ids) => ids,
        Err(problem) => return Heard::Misread(Misread { problem, meant: None }),
    };
    match offer {
        Ok(offer) => Heard::Answer(Answer { call, bid, offer }),
        Err(problem) => Heard::Misread(Misread { problem, meant: Some((call, bid)) }),
    }
}

fn ids(call: &str, bid: &str) -> Result<(CallId, BidProfileId), Problem> {
    let fix = "send the bid request's own";
    let call = call.parse().map_err(|_| invalid("call", "is not an id", fix))?;
    let bid = bid.parse().map_err(|_| invalid("bid", "is not an id", fix))?;
    Ok((call, bid))
}

/// Writes a message.
pub(super) fn write(message: ToBidder<'_>) -> ExchangeMessage {
    wrapped(match message {
        ToBidder::Bids { bids } => {
            let bids = bids.iter().map(ToString::to_string).collect();
            exchange_message::Message::Bids(proto::Bids { bids })
        }
        ToBidder::BidRequest(request) => exchange_message::Message::BidRequest(bid_request_of(request)),
        ToBidder::Notice(notice) => exchange_message::Message::Notice(notice_of(notice)),
        ToBidder::Error { detail, errors } => {
            let errors = errors.iter().map(field_problem).collect();
            exchange_message::Message::Error(proto::Error { detail: detail.to_owned(), errors })
        }
    })
}

/// Asks for a sign of life.
pub(super) fn keep_alive() -> ExchangeMessage {
    wrapped(exchange_message::Message::KeepAlive(proto::KeepAlive {}))
}

fn wrapped(message: exchange_message::Message) -> ExchangeMessage {
    ExchangeMessage { message: Some(message) }
}

fn bid_request_of(request: OwnRequest<'_>) -> proto::BidRequest {
    proto::BidRequest {
        id: request.id.to_string(),
        bid: request.bid.to_string(),
        vertical: request.vertical.to_owned(),
        origin: origin(request.origin).into(),
        state: request.state.map(|state| state.to_string()),
        zip: request.zip.map(|zip| zip.to_string()),
        area_code: request.area_code.map(u32::from),
        language: request.language.map(|language| language.to_string()),
        attestation: attestation(request.attestation).into(),
        tags: request.tags.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        floor_micros: request.floor_micros.0,
        currency: request.currency.to_string(),
        tmax_ms: request.tmax_ms,
        caller: request.caller.map(|caller| match caller {
            Caller::Token(token) => bid_request::Caller::CallerToken(token),
            Caller::Number(number) => bid_request::Caller::CallerNumber(number.to_string()),
        }),
    }
}

fn notice_of(notice: OwnNotice) -> proto::Notice {
    let result = match notice.result {
        BidResult::Won { price_micros } => notice::Result::Won(proto::Won { price_micros: price_micros.0 }),
        BidResult::Lost { reason, min_to_win_micros } => {
            let min_to_win_micros = min_to_win_micros.map(|micros| micros.0);
            notice::Result::Lost(proto::Lost { reason: loss_reason(reason).into(), min_to_win_micros })
        }
    };
    proto::Notice { id: notice.id.to_string(), bid: notice.bid.to_string(), result: Some(result) }
}

fn field_problem(error: &FieldProblem) -> proto::FieldProblem {
    let FieldProblem { field, problem, fix } = error.clone();
    proto::FieldProblem { field, problem, fix }
}

fn origin(origin: CallOrigin) -> proto::CallOrigin {
    match origin {
        CallOrigin::OrganicInbound => proto::CallOrigin::OrganicInbound,
        CallOrigin::CallbackRequested => proto::CallOrigin::CallbackRequested,
        CallOrigin::OutboundTransfer => proto::CallOrigin::OutboundTransfer,
        CallOrigin::Outbound => proto::CallOrigin::Outbound,
    }
}

fn attestation(attestation: Option<Attestation>) -> proto::Attestation {
    match attestation {
        None => proto::Attestation::Unspecified,
        Some(Attestation::A) => proto::Attestation::A,
        Some(Attestation::B) => proto::Attestation::B,
        Some(Attestation::C) => proto::Attestation::C,
    }
}

fn loss_reason(reason: LossReason) -> proto::LossReason {
    match reason {
        LossReason::BelowFloor => proto::LossReason::BelowFloor,
        LossReason::BelowDealFloor => proto::LossReason::BelowDealFloor,
        LossReason::LostToHigherBid => proto::LossReason::LostToHigherBid,
        LossReason::LostToDeal => proto::LossReason::LostToDeal,
        LossReason::LostByRouting => proto::LossReason::LostByRouting,
        LossReason::LostToReservation => proto::LossReason::LostToReservation,
        LossReason::NotEligible => proto::LossReason::NotEligible,
        LossReason::Late => proto::LossReason::Late,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "00000000-0000-0000-0000-0000000000c1";
    const BID: &str = "00000000-0000-0000-0000-0000000000b1";

    fn bid(call: &str, bid: &str, price_micros: Option<i64>) -> BidderMessage {
        let (call, bid) = (call.to_owned(), bid.to_owned());
        let bid = proto::Bid { call, bid, price_micros, min_connected_s: Some(90), sip_uri: None };
        BidderMessage { message: Some(bidder_message::Message::Bid(bid)) }
    }

    #[test]
    fn a_bid_is_read_exactly() {
        let Heard::Answer(answer) = read(bid(CALL, BID, Some(12_500_001))) else { panic!("it can be read") };
        let offer = answer.offer.expect("an offer");
        assert_eq!((answer.call.to_string(), answer.bid.to_string()), (CALL.to_owned(), BID.to_owned()));
        assert_eq!((offer.price_micros, offer.min_connected_s), (Micros(12_500_001), Some(90)));
    }

    #[test]
    fn what_cannot_be_used_names_the_field_and_if_it_can_the_question() {
        let known = Some((CALL.parse().expect("an id"), BID.parse().expect("an id")));
        for (message, field, question) in [
            (BidderMessage { message: None }, "message", None),
            (bid("", BID, Some(1)), "call", None),
            (bid(CALL, "b1", Some(1)), "bid", None),
            (bid(CALL, BID, None), "price_micros", known),
        ] {
            let Heard::Misread(Misread { problem, meant }) = read(message) else { panic!("{field}") };
            assert_eq!((problem.errors()[0].field.as_str(), meant), (field, question));
        }
    }
}
