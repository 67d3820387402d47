//! Effects as lines of text, with the script's own names.

use crate::script::Names;
use exchange::auction::receipt::{AuctionReceipt, RankedBid};
use exchange::bid::Price;
use exchange::bid::live::BidResult;
use exchange::book::Book;
use exchange::call::{Attempt, Call, CallState, Outcome, RevenueStage};
use exchange::effect::{Action, Effect, Record};
use exchange::id::AccountId;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use exchange::ping::PingAnswer;
use exchange::usage::CapOwner;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use uuid::Uuid;

pub(crate) fn effect(effect: &Effect, names: &Names) -> String {
    match effect {
        Effect::Act(action) => format!("do    {}", self::action(action, names)),
        Effect::Record(record) => self::record(record, names),
    }
}

fn action(action: &Action, names: &Names) -> String {
    match action {
        Action::RequestBid(request) => {
            let (bid, deadline_ms) = (names.of(request.bid.0), request.deadline_ms);
            let (floor, most) = (request.floor_micros, request.most_micros);
            format!("ask {bid} for a bid of {floor} to {most} within {deadline_ms} ms")
        }
        Action::StartBiddingTimer { after_ms } => format!("start bidding timer, {after_ms} ms"),
        Action::NotifyBidder(notice) => {
            let bid = names.of(notice.bid.0);
            match notice.result {
                BidResult::Won { price_micros } => format!("tell {bid} it won at {price_micros}"),
                BidResult::Lost { reason, min_to_win_micros } => {
                    let to_win = min_to_win_micros.map(|least| format!(", {least} would have won"));
                    format!("tell {bid} it lost: {reason:?}{}", to_win.unwrap_or_default())
                }
            }
        }
        Action::AnswerPing(answer) => match &**answer {
            PingAnswer::Reserved(reserved) => {
                let repeat = if reserved.is_repeat { ", as before" } else { "" };
                let (payout, number) = (reserved.payout_micros, reserved.number);
                let after = reserved.conversion.min_connected_s;
                format!("answer ping: {payout} after {after} s, call {number}{repeat}")
            }
            PingAnswer::Rejected(rejection) => {
                format!("answer ping: {}", serde_json::to_string(rejection).expect("it serialises"))
            }
        },
        Action::StartReservationTimer { after_ms } => format!("start reservation timer, {after_ms} ms"),
        Action::StartRevenueTimer { after_ms } => format!("start revenue timer, {after_ms} ms"),
        Action::RingTarget { attempt, destination, .. } => {
            format!("ring target {attempt} at {}", destination.sip_uris.join(", "))
        }
        Action::CancelTarget { attempt } => format!("cancel target {attempt}"),
        Action::ConnectCaller { attempt } => format!("connect caller to target {attempt}"),
        Action::EndCall { reason } => {
            format!("end call: {}", serde_json::to_string(reason).expect("a reason serialises"))
        }
        Action::StartRingTimer { attempt, after_ms } => {
            format!("start ring timer {attempt}, {after_ms} ms")
        }
        Action::StartDurationTimer { attempt, after_ms } => {
            format!("start duration timer {attempt}, {after_ms} ms")
        }
    }
}

fn record(record: &Record, names: &Names) -> String {
    match record {
        Record::Call(call) => format!("call  {}", self::call(call, names)),
        Record::Transfer(transfer) => format!("money {}", self::transfer(transfer, names)),
        Record::Usage(usage) => {
            let owner = match usage.owner {
                CapOwner::Bid(bid) => names.of(bid.0).to_owned(),
                CapOwner::Group(group) => format!("group {}", names.of(group.0)),
            };
            let day = usage.taken[1];
            format!("usage {owner}: {} calls, {} today", day.calls, day.spend_micros)
        }
        Record::SellerRecord(seller, record) => {
            format!(
                "record of {}: {} ended, {} converted",
                names.of(seller.0),
                record.ended,
                record.converted
            )
        }
        Record::CapGroup(group) => format!("group {}", group.name),
        Record::TradingRules(rules) => {
            format!("rules {}", serde_json::to_string(&rules.auction_type).expect("it serialises"))
        }
        Record::Deal(deal) => format!("deal {}", deal.name),
        Record::Dispute(dispute) => format!("dispute {}", dispute.stage.name()),
        Record::Receipt(receipt) => {
            let mut line = String::from("receipt");
            for check in &receipt.screening {
                let verdict = if check.passed { "ok" } else { "REFUSED" };
                let _ = write!(line, " {} {verdict};", check.rule);
            }
            if let Some(refused) = receipt.screening.iter().find(|check| !check.passed) {
                let _ = write!(line, " {} [{}]", refused.finding, refused.citation);
            }
            if let Some(auction) = &receipt.auction {
                line.push_str(&self::auction(auction, names));
            }
            line
        }
        Record::Event(event) => format!("event {}", event.kind()),
        Record::Audit(entry) => format!("audit {}", entry.action.name()),
        Record::Account(account) => format!("account {} {:?}", account.name, account.status),
        Record::TrackingNumber(number) => format!("number {}", number.number),
        Record::BidProfile(bid) => format!("bid {} {:?}", bid.name, bid.status),
    }
}

fn auction(auction: &AuctionReceipt, names: &Names) -> String {
    let refused = serde_json::to_string(&auction.refused).expect("reasons serialise");
    let ranking: Vec<String> = auction.ranking.iter().map(|ranked| self::ranked(ranked, names)).collect();
    let (floor, considered) = (auction.floor_micros, auction.considered);
    let mut line = format!(
        " floor {floor}, considered {considered}, refused {refused}, ranking [{}]",
        ranking.join(", ")
    );
    for said in &auction.live {
        let bid = names.of(said.bid.0);
        let _ = match (said.price_micros, said.missed, said.refused) {
            (Some(price), _, None) => write!(line, ", {bid} bid {price}"),
            (Some(price), _, Some(refused)) => write!(line, ", {bid} bid {price}: {refused:?}"),
            (None, Some(missed), _) => write!(line, ", {bid} did not bid: {missed:?}"),
            (None, None, _) => write!(line, ", {bid} was asked"),
        };
    }
    line
}

fn ranked(ranked: &RankedBid, names: &Names) -> String {
    let mut text = format!("{} {}", names.of(ranked.bid.0), ranked.expected_micros);
    if let Some(score) = ranked.score_micros {
        let _ = write!(text, " scores {score}");
    }
    if ranked.offered.is_some() {
        let pays = match ranked.price {
            Price::PerCall { amount_micros } => amount_micros.to_string(),
            Price::PerMinute { rate_micros, .. } => format!("{rate_micros} a minute"),
            Price::RevenueShare { share_basis_points, .. } => format!("{share_basis_points} basis points"),
        };
        let _ = write!(text, " pays {pays}");
    }
    text
}

fn call(call: &Call, names: &Names) -> String {
    let bid = |attempt: &Attempt| format!("{} (attempt {})", names.of(attempt.bid.0), attempt.number);
    match &call.state {
        CallState::Received => "received".to_owned(),
        CallState::Bidding { awaited, .. } => format!("bidding, {} asked", awaited.len()),
        CallState::Reserved { attempt, .. } => format!("reserved {}", bid(attempt)),
        CallState::Ringing { attempt, fallbacks, .. } => {
            let rest: Vec<&str> = fallbacks.iter().map(|planned| names.of(planned.bid.0)).collect();
            format!("ringing {}, then [{}]", bid(attempt), rest.join(", "))
        }
        CallState::Connected { attempt, .. } => format!("connected to {}", bid(attempt)),
        CallState::Ended { outcome, .. } => match outcome {
            Outcome::NotConverted { attempt, connected_ms, ended_by, is_duplicate } => {
                let duplicate = if *is_duplicate { ", a duplicate" } else { "" };
                format!(
                    "ended: not converted{duplicate}, {} for {connected_ms} ms, by {ended_by:?}",
                    bid(attempt)
                )
            }
            Outcome::Converted {
                attempt,
                connected_ms,
                ended_by,
                charge_micros,
                payout_micros,
                margin_micros,
                revenue,
            } => format!(
                "ended: converted, {} for {connected_ms} ms, by {ended_by:?}, {charge_micros} = {payout_micros} + {margin_micros}{}",
                bid(attempt),
                revenue.as_ref().map(|revenue| shared(&revenue.stage)).unwrap_or_default()
            ),
            other => format!("ended: {}, {} failed", other.name(), call.failed_attempts.len()),
        },
    }
}

fn shared(stage: &RevenueStage) -> String {
    match stage {
        RevenueStage::Awaited { held_micros } => format!(", {held_micros} held for its revenue"),
        RevenueStage::Reported { revenue_micros, reference, added_micros, .. } => {
            let reference = reference.as_deref().unwrap_or("no reference");
            format!(", {added_micros} of it for a revenue of {revenue_micros} ({reference})")
        }
        RevenueStage::Lapsed => ", no revenue reported".to_owned(),
    }
}

fn transfer(transfer: &Transfer, names: &Names) -> String {
    let reason = match &transfer.reason {
        TransferReason::Deposit { reference, .. } => format!("deposit {reference}"),
        TransferReason::Hold { attempt, .. } => format!("hold {attempt}"),
        TransferReason::Release { attempt, .. } => format!("release {attempt}"),
        TransferReason::Payout { .. } => "payout".to_owned(),
        TransferReason::Margin { .. } => "margin".to_owned(),
        TransferReason::RevenuePayout { .. } => "revenue payout".to_owned(),
        TransferReason::RevenueMargin { .. } => "revenue margin".to_owned(),
        TransferReason::RefundPayout { .. } => "refund payout".to_owned(),
        TransferReason::RefundMargin { .. } => "refund margin".to_owned(),
    };
    let place = |account: &LedgerAccount| match account {
        LedgerAccount::Available(id) => format!("available of {}", names.of(id.0)),
        LedgerAccount::Held(id) => format!("held of {}", names.of(id.0)),
        LedgerAccount::Payable(id) => format!("payable to {}", names.of(id.0)),
        LedgerAccount::Margin => "margin".to_owned(),
        LedgerAccount::External => "external".to_owned(),
    };
    format!("{reason}: {} from {} to {}", transfer.amount_micros, place(&transfer.from), place(&transfer.to))
}

/// Every balance that is not zero.
pub(crate) fn balances(book: &Book, ids: &BTreeMap<String, Uuid>) -> String {
    let mut out = String::new();
    let mut line = |place: String, balance: Micros| {
        if balance != Micros::ZERO {
            let _ = writeln!(out, "    {place}: {balance}");
        }
    };
    for (name, id) in ids {
        let id = AccountId(*id);
        line(format!("available of {name}"), book.balances().get(LedgerAccount::Available(id)));
        line(format!("held of {name}"), book.balances().get(LedgerAccount::Held(id)));
        line(format!("payable to {name}"), book.balances().get(LedgerAccount::Payable(id)));
    }
    line("margin".to_owned(), book.balances().get(LedgerAccount::Margin));
    line("external".to_owned(), book.balances().get(LedgerAccount::External));
    out
}
