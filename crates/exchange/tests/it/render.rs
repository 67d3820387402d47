//! Effects as lines of text, with the script's own names.

use crate::script::Names;
use exchange::book::Book;
use exchange::call::{Attempt, Call, CallState, Outcome};
use exchange::effect::{Action, DailyUsage, Effect, Record};
use exchange::id::AccountId;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use uuid::Uuid;

pub(crate) fn effect(effect: &Effect, names: &Names) -> String {
    match effect {
        Effect::Act(action) => format!("do    {}", self::action(action)),
        Effect::Record(record) => self::record(record, names),
    }
}

fn action(action: &Action) -> String {
    match action {
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
        Action::StartDurationTimer { after_ms } => format!("start duration timer, {after_ms} ms"),
    }
}

fn record(record: &Record, names: &Names) -> String {
    match record {
        Record::Call(call) => format!("call  {}", self::call(call, names)),
        Record::Transfer(transfer) => format!("money {}", self::transfer(transfer, names)),
        Record::DailyUsage(DailyUsage { bid, calls, spend_micros, .. }) => {
            format!("usage {}: {calls} calls, {spend_micros}", names.of(bid.0))
        }
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
                let refused = serde_json::to_string(&auction.refused).expect("reasons serialise");
                let ranking = auction.ranking.iter();
                let ranking: Vec<String> = ranking
                    .map(|ranked| format!("{} {}", names.of(ranked.bid.0), ranked.expected_micros))
                    .collect();
                let _ = write!(
                    line,
                    " floor {}, considered {}, refused {refused}, ranking [{}]",
                    auction.floor_micros,
                    auction.considered,
                    ranking.join(", ")
                );
            }
            line
        }
        Record::Event(event) => format!("event {}", event.kind()),
        Record::Account(account) => format!("account {} {:?}", account.name, account.status),
        Record::TrackingNumber(number) => format!("number {}", number.number),
        Record::BidProfile(bid) => format!("bid {} {:?}", bid.name, bid.status),
    }
}

fn call(call: &Call, names: &Names) -> String {
    let bid = |attempt: &Attempt| format!("{} (attempt {})", names.of(attempt.bid.0), attempt.number);
    match &call.state {
        CallState::Received => "received".to_owned(),
        CallState::Ringing { attempt, fallbacks } => {
            let rest: Vec<&str> = fallbacks.iter().map(|bid| names.of(bid.0)).collect();
            format!("ringing {}, then [{}]", bid(attempt), rest.join(", "))
        }
        CallState::Connected { attempt, .. } => format!("connected to {}", bid(attempt)),
        CallState::Ended { outcome, .. } => match outcome {
            Outcome::NotConverted { attempt, connected_ms, ended_by } => {
                format!("ended: not converted, {} for {connected_ms} ms, by {ended_by:?}", bid(attempt))
            }
            Outcome::Converted {
                attempt,
                connected_ms,
                ended_by,
                charge_micros,
                payout_micros,
                margin_micros,
            } => format!(
                "ended: converted, {} for {connected_ms} ms, by {ended_by:?}, {charge_micros} = {payout_micros} + {margin_micros}",
                bid(attempt)
            ),
            other => format!("ended: {}, {} failed", other.name(), call.failed_attempts.len()),
        },
    }
}

fn transfer(transfer: &Transfer, names: &Names) -> String {
    let reason = match &transfer.reason {
        TransferReason::Deposit { reference, .. } => format!("deposit {reference}"),
        TransferReason::Hold { attempt, .. } => format!("hold {attempt}"),
        TransferReason::Release { attempt, .. } => format!("release {attempt}"),
        TransferReason::Payout { .. } => "payout".to_owned(),
        TransferReason::Margin { .. } => "margin".to_owned(),
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
