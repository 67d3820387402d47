//! The statement for people.

use super::floor::Floor;
use super::summary::{LiveFigures, PingFigures, Statement, Summary, targets_rung};
use crate::bench::percentiles::Percentiles;
use crate::command_line::Format;
use crate::failure::Failure;
use crate::key;
use comfy_table::{CellAlignment, Table, presets};
use exchange::auction::receipt::{AuctionReceipt, Receipt};
use exchange::audit::RoleKind;
use exchange::bid::Price;
use exchange::call::{Attempt, Call, CallState, FailureCause, Outcome};
use exchange::id::AccountId;
use exchange::ledger::transfer::{LedgerAccount, TransferReason};
use exchange::phone_number::CallerId;
use exchange::tracking_number::CallOrigin;
use infra::store::Reader;
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;

/// The whole statement: figures, one receipt, the audit.
pub(super) fn statement(reader: &Reader, statement: &Statement) -> Result<String, Failure> {
    let mut text = figures(statement);
    if let Some(call) = specimen(statement)
        && let Some(receipt) = reader.receipt(call.id)?
    {
        text.push_str(&one_receipt(reader, call, &receipt)?);
    }
    text.push_str(&audit(statement));
    Ok(text)
}

fn figures(statement: &Statement) -> String {
    let summary = &statement.summary;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let share = |count: u64| format!("{:.1} %", count as f64 * 100.0 / summary.offered.max(1) as f64);
    let mut row = |name: &str, count: u64| {
        table.add_row([name.to_owned(), count.to_string(), share(count)]);
    };
    row("offered", summary.offered);
    if summary.turned_away > 0 {
        row("turned away by an overloaded exchange", summary.turned_away);
    }
    row("screened out", summary.screened_out);
    for (rule, count) in &summary.screened_out_by {
        row(&format!("  by {rule}"), *count);
    }
    row("no bidder", summary.no_bidder);
    row("unanswered by every target", summary.unanswered);
    row("abandoned by the caller", summary.abandoned);
    row("bridged", summary.bridged);
    row("  fell back to another target", summary.fell_back);
    row("  moved on from a target that hung up early", summary.recovered);
    row("  hung up within the buffer", summary.not_converted);
    row("  converted", summary.converted);
    for (name, amount) in [
        ("charged to buyers", summary.charged_micros),
        ("paid to sellers", summary.paid_micros),
        ("kept as margin", summary.margin_micros),
        ("saved by second prices", summary.second_price_savings_micros),
    ] {
        table.add_row([name.to_owned(), amount.to_string(), "USD".to_owned()]);
    }
    let (live, pings) = (live_bidders(&summary.live), pings(&summary.pings));
    let latencies = latencies(summary, statement.took_s);
    format!("{}\n\n{live}\n{pings}\n\n{latencies}\n\n", aligned(table))
}

fn pings(PingFigures { asked, reserved, redeemed }: &PingFigures) -> String {
    format!(
        " sellers pinged before {asked} of the calls: {reserved} pings won a bid, {redeemed} were redeemed by the call"
    )
}

fn live_bidders(live: &LiveFigures) -> String {
    let LiveFigures { asked, bid, won, declined, timed_out, garbled, circuit_open, failed } = live;
    format!(
        " live bidders were asked {asked} times: {bid} bids, of which {won} won; {declined} declined, {timed_out} too \
         late, {garbled} garbled, {circuit_open} left alone after failures, {failed} failed otherwise"
    )
}

fn latencies(summary: &Summary, took_s: f64) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "p50", "p90", "p99", "max"]);
    let mut row = |name: &str, Percentiles { p50, p90, p99, max }: Percentiles| {
        table.add_row([name.to_owned(), tenths(p50), tenths(p90), tenths(p99), tenths(max)]);
    };
    row("decision, us (screening, auction, holds)", summary.decision_us);
    row("set-up, ms (INVITE sent to 180, 183 or 200)", summary.setup_ms);
    format!("{}\n all calls were over after {took_s:.1} s", aligned(table))
}

/// Figures stand to the right, their names to the left.
fn aligned(mut table: Table) -> String {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

/// A converted call that shows most of what can happen: one that a live bid won, if there is one.
fn specimen(statement: &Statement) -> Option<&Call> {
    let converted = statement
        .calls
        .iter()
        .filter(|call| matches!(call.state, CallState::Ended { outcome: Outcome::Converted { .. }, .. }));
    converted.max_by_key(|call| (statement.won_live.contains(&call.id), targets_rung(call)))
}

/// Everything the exchange can say about one call.
fn one_receipt(reader: &Reader, call: &Call, receipt: &Receipt) -> Result<String, Failure> {
    let mut text = String::new();
    let caller = match &call.caller {
        CallerId::Number(number) => number.masked(),
        CallerId::Anonymous => "anonymous".to_owned(),
        CallerId::Malformed => "malformed".to_owned(),
    };
    let seller = name_of(reader, call.seller)?;
    line(&mut text, format_args!("One receipt in full: call {}", call.id));
    line(
        &mut text,
        format_args!(
            "  {}  {caller} called {} ({}, {}), a number of {seller}",
            call.received_at.to_jiff(),
            call.called,
            call.vertical,
            word(&call.origin)
        ),
    );
    line(&mut text, format_args!("  screening"));
    for check in &receipt.screening {
        let verdict = if check.passed { "passed" } else { "refused" };
        line(
            &mut text,
            format_args!("    {:<16} {verdict}: {} [{}]", check.rule, check.finding, check.citation),
        );
    }
    if let Some(auction) = &receipt.auction {
        write_auction(reader, auction, &mut text)?;
    }
    if let Some(ns) = receipt.decided_in_ns {
        line(&mut text, format_args!("  decided in {:.1} us", ns as f64 / 1_000.0));
    }
    write_attempts(reader, call, &mut text)?;
    write_money(reader, call, &mut text)?;
    text.push('\n');
    Ok(text)
}

fn write_auction(reader: &Reader, auction: &AuctionReceipt, text: &mut String) -> Result<(), Failure> {
    let AuctionReceipt { auction_type, algorithm, floor_micros, considered, refused, live, ranking, .. } =
        auction;
    let (auction_type, algorithm) = (word(auction_type), word(algorithm));
    line(
        text,
        format_args!(
            "  auction: {auction_type}, {algorithm} first, floor {floor_micros}, {considered} bids looked at"
        ),
    );
    for said in live {
        let buyer = name_of(reader, said.buyer)?;
        match (said.price_micros, said.missed) {
            (Some(price), _) => line(text, format_args!("    {buyer} was asked and bid {price}")),
            (None, missed) => {
                let why = missed.map(|missed| word(&missed)).unwrap_or_default();
                line(text, format_args!("    {buyer} was asked: {why}"));
            }
        }
    }
    for (reason, count) in refused {
        line(text, format_args!("    {count} refused: {}", word(reason)));
    }
    for (place, ranked) in ranking.iter().enumerate() {
        let buyer = name_of(reader, ranked.buyer)?;
        line(
            text,
            format_args!(
                "    {}. {buyer}: {}{}, expected {}{}",
                place + 1,
                price(&ranked.price),
                ranked.offered.map(|offered| format!(" (offered {})", price(&offered))).unwrap_or_default(),
                ranked.expected_micros,
                if ranked.is_live { ", a live bid" } else { "" }
            ),
        );
    }
    Ok(())
}

fn write_attempts(reader: &Reader, call: &Call, text: &mut String) -> Result<(), Failure> {
    line(text, format_args!("  route"));
    for failed in &call.failed_attempts {
        let buyer = name_of(reader, failed.buyer)?;
        let cause = match failed.cause {
            FailureCause::Busy => "busy".to_owned(),
            FailureCause::Declined => "declined".to_owned(),
            FailureCause::RingTimeout => "rang out".to_owned(),
            FailureCause::Unreachable => "unreachable".to_owned(),
            FailureCause::Rejected { sip_status } => format!("rejected with {sip_status}"),
            FailureCause::NoLongerEligible => "no longer eligible".to_owned(),
            FailureCause::HungUpEarly { connected_ms } => format!("hung up after {connected_ms} ms"),
        };
        let after_ms = failed.failed_at.ms_since(call.received_at);
        line(text, format_args!("    {}. {buyer}: {cause}, {after_ms} ms after the INVITE", failed.number));
    }
    let CallState::Ended { outcome: Outcome::Converted { attempt, connected_ms, ended_by, .. }, .. } =
        &call.state
    else {
        return Ok(());
    };
    let Attempt { number, buyer, conversion, hold_micros, .. } = attempt;
    let buyer = name_of(reader, *buyer)?;
    line(
        text,
        format_args!(
            "    {number}. {buyer}: held {hold_micros}, connected {:.1} s (billable from {} s), ended by the {}",
            *connected_ms as f64 / 1_000.0,
            conversion.min_connected_s,
            word(ended_by)
        ),
    );
    Ok(())
}

fn write_money(reader: &Reader, call: &Call, text: &mut String) -> Result<(), Failure> {
    line(text, format_args!("  ledger"));
    for booked in reader.transfers_of_call(call.id)? {
        let transfer = booked.transfer;
        let what = match transfer.reason {
            TransferReason::Deposit { .. } => "deposit".to_owned(),
            TransferReason::Hold { attempt, .. } => format!("hold {attempt}"),
            TransferReason::Release { attempt, .. } => format!("release {attempt}"),
            TransferReason::Payout { .. } => "payout".to_owned(),
            TransferReason::Margin { .. } => "margin".to_owned(),
            TransferReason::RevenuePayout { .. } => "revenue payout".to_owned(),
            TransferReason::RevenueMargin { .. } => "revenue margin".to_owned(),
            TransferReason::RefundPayout { .. } => "refund payout".to_owned(),
            TransferReason::RefundMargin { .. } => "refund margin".to_owned(),
        };
        let (from, to) = (ledger(reader, transfer.from)?, ledger(reader, transfer.to)?);
        line(text, format_args!("    {what:<14} {:>10}  {from} -> {to}", transfer.amount_micros));
    }
    Ok(())
}

fn audit(statement: &Statement) -> String {
    let Statement { summary, verified, .. } = statement;
    let mut text = String::new();
    for violation in &summary.violation_lines {
        line(&mut text, format_args!("VIOLATION {violation}"));
    }
    line(
        &mut text,
        format_args!(
            "Audit: {} violations in {} calls, {} transfers and {} journal entries, and against what callers and \
             targets saw; {} open holds; all balances sum to {}",
            summary.violations,
            verified.calls,
            verified.transfers,
            verified.journal_entries,
            summary.open_holds,
            summary.ledger_sum_micros
        ),
    );
    text
}

/// Where everything is, for `--keep`.
pub(super) fn invitation(floor: &Floor, format: Format) -> Result<String, Failure> {
    let writer = floor.exchange().writer().ok_or_else(|| Failure::environment("the book is elsewhere"))?;
    let api_key = key::mint(&writer, "demo", RoleKind::Admin, None)?.to_string();
    let http = floor.http().map(|address| format!("http://{address}")).unwrap_or_default();
    let mut numbers = floor.marketplace.numbers.iter();
    let number = numbers.find(|number| number.origin == CallOrigin::OrganicInbound);
    let number = number.map(|number| number.number.to_string()).unwrap_or_default();
    let (sip, directory) = (floor.sip(), floor.directory().display());
    if format == Format::Json {
        let line =
            json!({ "http": http, "api_key": api_key, "sip": sip, "data_directory": directory.to_string() });
        return Ok(format!("{line}\n"));
    }
    Ok(format!(
        "\nIt all runs until Ctrl-C.\n  API      {http} (described at {http}/docs)\n  API key  {api_key}\n  \
         SIP      udp://{sip}, for example sip:{number}@{sip} from this machine\n  data     {directory}\n  \
         try      curl -H 'Authorization: Bearer {api_key}' {http}/v1/calls?limit=5\n"
    ))
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing to a String");
}

/// A value's name as the API has it, in plain words.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| Some(value.as_str()?.replace('_', " ")))
        .unwrap_or_default()
}

fn price(price: &Price) -> String {
    match price {
        Price::PerCall { amount_micros } => format!("{amount_micros} a call"),
        Price::PerMinute { rate_micros, first_increment_s, next_increment_s } => {
            format!("{rate_micros} a minute, {first_increment_s}/{next_increment_s}")
        }
        Price::RevenueShare { share_basis_points, min_micros, max_micros, .. } => {
            format!(
                "{}.{:02} % of the revenue, {min_micros} to {max_micros}",
                share_basis_points / 100,
                share_basis_points % 100
            )
        }
    }
}

fn name_of(reader: &Reader, account: AccountId) -> Result<String, Failure> {
    Ok(reader.account(account)?.map_or_else(|| account.to_string(), |account| account.name))
}

fn ledger(reader: &Reader, ledger: LedgerAccount) -> Result<String, Failure> {
    Ok(match ledger {
        LedgerAccount::Available(account) => format!("{} (available)", name_of(reader, account)?),
        LedgerAccount::Held(account) => format!("{} (held)", name_of(reader, account)?),
        LedgerAccount::Payable(account) => format!("{} (payable)", name_of(reader, account)?),
        LedgerAccount::Margin => "the house's margin".to_owned(),
        LedgerAccount::External => "outside".to_owned(),
    })
}
