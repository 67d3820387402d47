//! What the calls came to: figures from the store, latencies from receipts and callers, violations from the audit.

use super::audit;
use super::traffic::Traffic;
use crate::bench::percentiles::Percentiles;
use crate::failure::Failure;
use exchange::call::{Call, CallState, FailureCause, Outcome};
use exchange::ledger::money::Micros;
use infra::store::{CallFilter, MAX_PAGE, Page, Reader, VerifyReport};
use serde::Serialize;
use std::collections::BTreeMap;
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
    /// What buyers paid.
    pub(super) charged_micros: Micros,
    /// What sellers earned.
    pub(super) paid_micros: Micros,
    /// What the house kept.
    pub(super) margin_micros: Micros,
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

/// The summary, and what it was drawn from.
pub(super) struct Statement {
    pub(super) summary: Summary,
    pub(super) verified: VerifyReport,
    /// Every call, newest first.
    pub(super) calls: Vec<Call>,
    pub(super) took_s: f64,
}

impl Summary {
    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }
}

/// Reads the books, audits them, and compares them with what the outside world saw.
pub(super) fn draw_up(reader: &Reader, traffic: &Traffic) -> Result<Statement, Failure> {
    let calls = all_calls(reader)?;
    let totals = reader.totals(&CallFilter::default())?;
    let verified = reader.verify()?;
    let set_ups_us = traffic.callers.iter().filter_map(CallReport::set_up_us);
    let mut summary = Summary {
        charged_micros: totals.charged_micros,
        paid_micros: totals.paid_micros,
        margin_micros: totals.margin_micros,
        ledger_sum_micros: verified.ledger_sum_micros,
        open_holds: verified.open_holds,
        decision_us: Percentiles::of_ns(decisions_ns(reader, &calls)?),
        setup_ms: Percentiles::of(set_ups_us.collect(), 1_000.0),
        ..Summary::of(&calls)
    };
    summary.turned_away = turned_away(&calls, traffic);
    summary.offered += summary.turned_away;
    let mut lines = audit::compare(&calls, traffic, &summary);
    summary.violations = verified.violations_total + lines.len() as u64;
    lines.extend(verified.violations.iter().cloned());
    lines.truncate(LINES_MAX);
    summary.violation_lines = lines;
    Ok(Statement { summary, verified, calls, took_s: traffic.took.as_secs_f64() })
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
        self.fell_back += u64::from(targets_rung(call) > 1);
        let CallState::Ended { outcome, .. } = &call.state else { return };
        match outcome {
            Outcome::ScreenedOut { rule } => {
                self.screened_out += 1;
                *self.screened_out_by.entry(rule.clone()).or_default() += 1;
            }
            Outcome::NoBidder => self.no_bidder += 1,
            Outcome::Unanswered => self.unanswered += 1,
            // Nothing is interrupted while the exchange runs; the audit says so if it was.
            Outcome::Interrupted => {}
            // The demo sends no pings.
            Outcome::Redeemed { .. } | Outcome::Expired => {}
            Outcome::Abandoned => self.abandoned += 1,
            Outcome::NotConverted { .. } => {
                self.bridged += 1;
                self.not_converted += 1;
            }
            Outcome::Converted { .. } => {
                self.bridged += 1;
                self.converted += 1;
            }
        }
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
    failed + usize::from(is_bridged(call))
}

/// Whether caller and target were connected.
pub(super) fn is_bridged(call: &Call) -> bool {
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

fn decisions_ns(reader: &Reader, calls: &[Call]) -> Result<Vec<u64>, Failure> {
    let mut decisions_ns = Vec::with_capacity(calls.len());
    for call in calls {
        decisions_ns.extend(reader.receipt(call.id)?.and_then(|receipt| receipt.decided_in_ns));
    }
    Ok(decisions_ns)
}
