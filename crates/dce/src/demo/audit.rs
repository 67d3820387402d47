//! Compares the books with what the outside world saw. The store audits its own rows; this asks whether they tell the
//! truth.

use super::summary::{Summary, is_bridged};
use super::traffic::{Placed, Traffic};
use exchange::call::Call;
use exchange::phone_number::PhoneNumber;
use std::collections::BTreeMap;
use telephony::endpoint::{CallEnd, CallReport};

/// What is off, one readable line each; empty when all is well.
pub(super) fn compare(calls: &[Call], traffic: &Traffic, summary: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    let mut unless = |holds: bool, line: String| {
        if !holds {
            lines.push(line);
        }
    };
    let (placed, told) = (traffic.placed.len(), traffic.callers.len());
    unless(told == placed, format!("{placed} calls were placed, but only {told} ended for their callers"));
    unless(calls.len() == placed, format!("{placed} calls were placed, but the books have {}", calls.len()));
    unless(traffic.callers_hanging == 0, format!("{} callers are left hanging", traffic.callers_hanging));
    unless(traffic.targets_hanging == 0, format!("{} targets are left hanging", traffic.targets_hanging));
    unless(traffic.live_calls == 0, format!("the exchange still has {} calls up", traffic.live_calls));
    for (who, reports) in [("caller", &traffic.callers), ("target", &traffic.targets)] {
        let lost = reports.iter().filter(|report| report.end == CallEnd::PeerLost).count();
        unless(lost == 0, format!("for {lost} {who}s the exchange fell silent"));
    }
    let malformed: u64 = traffic.counters.iter().map(|counters| counters.malformed).sum();
    unless(malformed == 0, format!("{malformed} packets of the exchange were malformed"));
    let unknown: u64 = traffic.counters.iter().map(|counters| counters.unknown_targets).sum();
    unless(unknown == 0, format!("{unknown} calls went to targets that no bid names"));
    let answered = traffic.targets.iter().filter(|report| report.answered_at.is_some()).count() as u64;
    unless(
        answered >= summary.bridged,
        format!("{} calls are booked as bridged, but targets answered only {answered}", summary.bridged),
    );
    let (charged, shared) = (summary.charged_micros.0, summary.paid_micros.0 + summary.margin_micros.0);
    unless(charged == shared, format!("{charged} charged, but {shared} paid and kept, in micro-units"));
    unless(summary.open_holds == 0, format!("{} calls still hold money", summary.open_holds));
    let ended = summary.screened_out
        + summary.no_bidder
        + summary.unanswered
        + summary.abandoned
        + summary.bridged;
    unless(
        ended == summary.offered,
        format!("{} calls were offered, but {ended} ended as they should", summary.offered),
    );
    lines.extend(compare_answers(calls, traffic));
    lines
}

/// How often a caller reached a number, as the callers and as the books have it.
#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    answered: u32,
    /// Gave up before an answer; it may have crossed.
    gave_up: u32,
    bridged: u32,
}

/// Whoever heard an answer is booked as bridged, and nobody else. Only a caller who gave up may be booked so without
/// having heard it.
fn compare_answers(calls: &[Call], traffic: &Traffic) -> Vec<String> {
    let mut reached: BTreeMap<(PhoneNumber, Option<PhoneNumber>), Reached> = BTreeMap::new();
    for report in &traffic.callers {
        let Some(Placed { called, caller }) = placed(report, traffic) else { continue };
        let reached = reached.entry((*called, caller.number())).or_default();
        reached.answered += u32::from(report.answered_at.is_some());
        reached.gave_up += u32::from(report.end == CallEnd::Cancelled);
    }
    for call in calls.iter().filter(|call| is_bridged(call)) {
        reached.entry((call.called, call.caller.number())).or_default().bridged += 1;
    }
    let is_off = |reached: &Reached| {
        reached.bridged < reached.answered || reached.bridged > reached.answered + reached.gave_up
    };
    reached
        .into_iter()
        .filter(|(_, reached)| is_off(reached))
        .map(|((called, _), Reached { answered, bridged, .. })| {
            format!("a caller of {called} heard {answered} answers, but {bridged} are booked")
        })
        .collect()
}

/// The call a caller's report is about: the carrier counts its calls from 1.
fn placed<'a>(report: &CallReport, traffic: &'a Traffic) -> Option<&'a Placed> {
    traffic.placed.get(usize::try_from(report.id.0).ok()?.checked_sub(1)?)
}
