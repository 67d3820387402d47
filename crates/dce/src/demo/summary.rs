//! What the calls came to: figures from the store, latencies from receipts and callers, violations from the audit.

use super::audit;
use super::traffic::Traffic;
use crate::bench::percentiles::Percentiles;
use crate::failure::Failure;
use exchange::auction::clear::AuctionType;
use exchange::auction::receipt::AuctionReceipt;
use exchange::bid::live::NoLiveBid;
use exchange::call::{Call, CallState, FailureCause, Outcome};
use exchange::id::CallId;
use exchange::ledger::money::Micros;
use infra::store::{CallFilter, MAX_PAGE, Page, Reader, VerifyReport};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use telephony::endpoint::CallReport;

/// Violations shown in full; more are only counted.
const LINES_MAX: usize = 20;

/// What `--format json` prints.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Calls that reached the exchange.
    pub(super) offered: u64,
    /// Answered 503 because the exchange had too much to do; not in the books.
    pub(super) turned_away: u64,
    /// Refused by a screening rule.
    pub(super) screened_out: u64,
    /// The same, by rule.
    pub(super) screened_out_by: BTreeMap<String, u64>,
    /// No bid wanted them.
    pub(super) no_bidder: u64,
    /// Connected with a target.
    pub(super) bridged: u64,
    /// Rang a second target because the first did not take the call.
    pub(super) fell_back: u64,
    /// Connected for long enough.
    pub(super) converted: u64,
    /// Connected, but not for long enough.
    pub(super) not_converted: u64,
    /// No target of the plan took them.
    pub(super) unanswered: u64,
    /// The caller gave up before the answer.
    pub(super) abandoned: u64,
    /// Calls whose target hung up early and that were connected to another.
    pub(super) recovered: u64,
    /// What live bidders did.
    pub(super) live: LiveFigures,
    /// What became of sellers' pings.
    pub(super) pings: PingFigures,
    /// What buyers paid.
    pub(super) charged_micros: Micros,
    /// What sellers earned.
    pub(super) paid_micros: Micros,
    /// What the house kept.
    pub(super) margin_micros: Micros,
    /// What buyers would have paid more had they paid what they offered.
    pub(super) second_price_savings_micros: Micros,
    /// The sum of all balances.
    pub(super) ledger_sum_micros: i64,
    /// Calls that still hold money.
    pub(super) open_holds: u64,
    /// Everything that is off.
    pub(super) violations: u64,
    /// The first of them.
    pub(super) violation_lines: Vec<String>,
    /// From taking the call out of the queue to its route plan, in microseconds.
    pub(super) decision_us: Percentiles,
    /// As the caller sees it: from sending the INVITE to the first 180, 183 or 200, in milliseconds.
    pub(super) setup_ms: Percentiles,
}

/// What live bidders did, over all calls.
#[derive(Debug, Default, Serialize)]
pub(super) struct LiveFigures {
    /// Questions.
    pub(super) asked: u64,
    /// Answered with a price.
    pub(super) bid: u64,
    /// Of those, the first of the route plan.
    pub(super) won: u64,
    /// Did not want the call.
    pub(super) declined: u64,
    /// Not answered in time.
    pub(super) timed_out: u64,
    /// Answered with something that is no answer.
    pub(super) garbled: u64,
    /// Not asked at all because the bidder failed too often.
    pub(super) circuit_open: u64,
    /// Any other reason.
    pub(super) failed: u64,
}

/// What became of sellers' pings. The calls they announced are counted among the others.
#[derive(Debug, Default, Serialize)]
pub(super) struct PingFigures {
    /// Questions.
    pub(super) asked: u64,
    /// Of those, won a bid that was held for the call.
    pub(super) reserved: u64,
    /// Of those, the call came in time.
    pub(super) redeemed: u64,
}

/// The summary, and what it was drawn from.
pub(super) struct Statement {
    pub(super) summary: Summary,
    pub(super) verified: VerifyReport,
    /// Every call, newest first.
    pub(super) calls: Vec<Call>,
    /// The converted calls that a live bid won.
    pub(super) won_live: BTreeSet<CallId>,
    pub(super) took_s: f64,
}

impl Summary {
    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
}

/// Reads the books, audits them, and compares them with what the outside world saw.
pub(super) fn draw_up(reader: &Reader, traffic: &Traffic) -> Result<Statement, Failure> {
    let (pings, calls): (Vec<Call>, Vec<Call>) =
        all_calls(reader)?.into_iter().partition(|call| call.is_ping);
    let totals = reader.totals(&CallFilter::default())?;
    let verified = reader.verify()?;
    let set_ups_us = traffic.callers.iter().filter_map(CallReport::set_up_us);
    let mut summary = Summary {
        charged_micros: totals.charged_micros,
        paid_micros: totals.paid_micros,
        margin_micros: totals.margin_micros,
        ledger_sum_micros: verified.ledger_sum_micros,
        open_holds: verified.open_holds,
        setup_ms: Percentiles::of(set_ups_us.collect(), 1_000.0),
        ..Summary::of(&calls)
    };
    let mut won_live = BTreeSet::new();
    let mut decisions_ns = Vec::with_capacity(calls.len());
    summary.count_pings(&pings);
    for call in pings.iter().chain(&calls) {
        let Some(receipt) = reader.receipt(call.id)? else { continue };
        decisions_ns.extend(receipt.decided_in_ns);
        if let Some(auction) = &receipt.auction
            && summary.count_auction(call, auction)
        {
            won_live.insert(call.id);
        }
    }
    summary.decision_us = Percentiles::of_ns(decisions_ns);
    summary.turned_away = turned_away(&calls, traffic);
    summary.offered += summary.turned_away;
    let mut lines = audit::compare(&calls, traffic, &summary);
    summary.violations = verified.violations_total + lines.len() as u64;
    lines.extend(verified.violations.iter().cloned());
    lines.truncate(LINES_MAX);
    summary.violation_lines = lines;
    Ok(Statement { summary, verified, calls, won_live, took_s: traffic.took.as_secs_f64() })
}

impl Summary {
    /// How many calls there were, and how they ended.
    pub(super) fn of(calls: &[Call]) -> Self {
        let mut summary = Self::default();
        for call in calls {
            summary.count(call);
        }
        summary
    }

    fn count(&mut self, call: &Call) {
        self.offered += 1;
        self.bridged += u64::from(call.was_connected());
        self.fell_back += u64::from(targets_rung(call) > 1);
        self.recovered += u64::from(early_hang_ups(call) > 0 && stayed_connected(call));
        let CallState::Ended { outcome, .. } = &call.state else { return };
        match outcome {
            Outcome::ScreenedOut { rule } => {
                self.screened_out += 1;
                *self.screened_out_by.entry(rule.clone()).or_default() += 1;
            }
            Outcome::NoBidder => self.no_bidder += 1,
            Outcome::Unanswered => self.unanswered += 1,
            // Nothing is interrupted while the exchange runs; the audit says so if it was. Pings are counted apart.
            Outcome::Interrupted | Outcome::Redeemed { .. } | Outcome::Expired => {}
            Outcome::Abandoned => self.abandoned += 1,
            Outcome::NotConverted { .. } => self.not_converted += 1,
            Outcome::Converted { .. } => self.converted += 1,
        }
    }
}

impl Summary {
    fn count_pings(&mut self, pings: &[Call]) {
        for ping in pings {
            let CallState::Ended { outcome, .. } = &ping.state else { continue };
            let is_redeemed = matches!(outcome, Outcome::Redeemed { .. });
            self.pings.asked += 1;
            self.pings.redeemed += u64::from(is_redeemed);
            self.pings.reserved += u64::from(is_redeemed || *outcome == Outcome::Expired);
        }
    }

    /// Counts what live bidders did, and what a second price saved; whether a live bid won a call that converted.
    fn count_auction(&mut self, call: &Call, auction: &AuctionReceipt) -> bool {
        let winner = auction.ranking.first();
        let is_won_live = winner.is_some_and(|winner| winner.is_live);
        self.live.won += u64::from(is_won_live);
        for said in &auction.live {
            self.live.asked += 1;
            *match said.missed {
                None => &mut self.live.bid,
                Some(NoLiveBid::Declined) => &mut self.live.declined,
                Some(NoLiveBid::TimedOut) => &mut self.live.timed_out,
                Some(NoLiveBid::Garbled) => &mut self.live.garbled,
                Some(NoLiveBid::CircuitOpen) => &mut self.live.circuit_open,
                Some(_) => &mut self.live.failed,
            } += 1;
        }
        let CallState::Ended {
            outcome: Outcome::Converted { attempt, connected_ms, charge_micros, .. }, ..
        } = &call.state
        else {
            return false;
        };
        let taken = auction.ranking.iter().find(|ranked| ranked.bid == attempt.bid);
        // What a ping had won was priced by the ping's own auction.
        if let Some(offered) = taken.and_then(|ranked| ranked.offered)
            && auction.auction_type == AuctionType::SecondPrice
            && auction.reservation.is_none()
        {
            self.second_price_savings_micros.0 += offered.charge(*connected_ms).0 - charge_micros.0;
        }
        is_won_live && winner.is_some_and(|winner| winner.bid == attempt.bid)
    }
}

/// Calls that are not in the books, as far as their callers were told to come back later.
fn turned_away(calls: &[Call], traffic: &Traffic) -> u64 {
    let missing = traffic.placed.len().saturating_sub(calls.len());
    let told = traffic.callers.iter().filter(|report| report.status == Some(503)).count();
    missing.min(told) as u64
}

/// How many targets a call rang, the one that answered included.
pub(super) fn targets_rung(call: &Call) -> usize {
    let failed =
        call.failed_attempts.iter().filter(|attempt| attempt.cause != FailureCause::NoLongerEligible).count();
    failed + usize::from(stayed_connected(call))
}

/// How many targets answered a call: each that hung up early, and the one that stayed.
pub(super) fn targets_answered(call: &Call) -> usize {
    early_hang_ups(call) + usize::from(stayed_connected(call))
}

fn early_hang_ups(call: &Call) -> usize {
    call.failed_attempts.iter().filter(|failed| failed.cause.is_early_hang_up()).count()
}

/// Whether a target was on the line until the end.
fn stayed_connected(call: &Call) -> bool {
    matches!(
        call.state,
        CallState::Connected { .. }
            | CallState::Ended { outcome: Outcome::NotConverted { .. } | Outcome::Converted { .. }, .. }
    )
}

fn all_calls(reader: &Reader) -> Result<Vec<Call>, Failure> {
    let mut calls = Vec::new();
    let mut page = Some(Page::first(MAX_PAGE));
    while let Some(asked) = page {
        let listing = reader.calls(&CallFilter::default(), &asked)?;
        page = asked.following(&listing);
        calls.extend(listing.items);
    }
    Ok(calls)
}
