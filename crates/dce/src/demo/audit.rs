//! Compares the books with what the outside world saw. The store audits its own rows; this asks whether they tell the
//! truth.

use super::summary::{Summary, targets_answered};
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
    unless(
        calls.len() as u64 + summary.turned_away == placed as u64,
        format!(
            "{placed} calls were placed and {} turned away, but the books have {}",
            summary.turned_away,
            calls.len()
        ),
    );
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
    // One call may be connected to several targets in turn.
    let connected: u64 = calls.iter().map(|call| targets_answered(call) as u64).sum();
    unless(
        answered >= connected,
        format!("{connected} targets are booked as connected, but targets answered only {answered}"),
    );
    let (charged, shared) = (summary.charged_micros.0, summary.paid_micros.0 + summary.margin_micros.0);
    unless(charged == shared, format!("{charged} charged, but {shared} paid and kept, in micro-units"));
    unless(summary.open_holds == 0, format!("{} calls still hold money", summary.open_holds));
    let ended = summary.turned_away
        + summary.screened_out
        + summary.no_bidder
        + summary.unanswered
        + summary.abandoned
        + summary.not_converted
        + summary.converted;
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
    for call in calls.iter().filter(|call| call.was_connected()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use exchange::phone_number::CallerId;
    use exchange::time::Timestamp;
    use serde_json::json;
    use std::time::Duration;
    use telephony::endpoint::{EndpointCallId, Side};

    const CALLED: &str = "+18005550180";
    const CALLER: &str = "+12125550123";

    fn call(bridged: bool) -> Call {
        let id = "01941f29-7c00-7000-8000-000000000001";
        let attempt = json!({
            "number": 1, "bid": id, "buyer": id, "price": { "type": "per_call", "amount_micros": 1 },
            "conversion": { "min_connected_s": 1 }, "max_call_s": 60, "hold_micros": 1, "started_at": 1,
        });
        let outcome = if bridged {
            json!({ "outcome": "not_converted", "attempt": attempt, "connected_ms": 1, "ended_by": "caller" })
        } else {
            json!({ "outcome": "abandoned" })
        };
        serde_json::from_value(json!({
            "id": id, "received_at": 1, "called": CALLED, "caller": { "number": CALLER }, "trunk": "t", "seller": id,
            "vertical": "legal", "origin": "organic_inbound", "payout_basis_points": 1,
            "state": { "state": "ended", "outcome": outcome, "ended_at": 1 },
        }))
        .expect("a call")
    }

    fn report(side: Side, answered: bool, end: CallEnd) -> CallReport {
        CallReport {
            id: EndpointCallId(1),
            side,
            invited_at: Timestamp(1),
            ringing_at: None,
            answered_at: answered.then_some(Timestamp(2)),
            ended_at: Timestamp(3),
            status: None,
            reason: None,
            reinvites_accepted: 0,
            end,
        }
    }

    fn traffic(answered: bool, end: CallEnd) -> Traffic {
        let (called, caller) = (CALLED.parse().expect("a number"), CallerId::from_user_part(CALLER));
        let target = report(Side::Target { user: String::new() }, true, CallEnd::HungUpByPeer);
        Traffic {
            placed: vec![Placed { called, caller }],
            callers: vec![report(Side::Caller, answered, end)],
            targets: vec![target],
            callers_hanging: 0,
            targets_hanging: 0,
            counters: Vec::new(),
            live_calls: 0,
            took: Duration::ZERO,
            retired: Vec::new(),
        }
    }

    fn lines(calls: &[Call], traffic: &Traffic) -> Vec<String> {
        compare(calls, traffic, &Summary::of(calls))
    }

    #[test]
    fn what_callers_heard_and_what_is_booked_must_agree() {
        let cases = [
            (true, CallEnd::HungUp, true, true),
            (true, CallEnd::HungUp, false, false),
            (false, CallEnd::Refused, true, false),
            (false, CallEnd::Refused, false, true),
            // The answer crossed the CANCEL.
            (false, CallEnd::Cancelled, true, true),
        ];
        for (answered, end, bridged, agrees) in cases {
            let lines = lines(&[call(bridged)], &traffic(answered, end));
            assert_eq!(
                lines.is_empty(),
                agrees,
                "answered {answered}, {end:?}, bridged {bridged}: {lines:?}"
            );
        }
    }

    #[test]
    fn whatever_is_missing_or_left_over_is_named() {
        type Spoil = fn(&mut Traffic, &mut Vec<Call>);
        let cases: [(&str, Spoil); 6] = [
            ("only 0 ended for their callers", |traffic, _| traffic.callers.clear()),
            ("the books have 0", |_, calls| calls.clear()),
            ("1 callers are left hanging", |traffic, _| traffic.callers_hanging = 1),
            ("2 targets are left hanging", |traffic, _| traffic.targets_hanging = 2),
            ("still has 3 calls up", |traffic, _| traffic.live_calls = 3),
            ("targets answered only 0", |traffic, _| traffic.targets.clear()),
        ];
        for (part, spoil) in cases {
            let (mut traffic, mut calls) = (traffic(true, CallEnd::HungUp), vec![call(true)]);
            assert_eq!(lines(&calls, &traffic), Vec::<String>::new());
            spoil(&mut traffic, &mut calls);
            let lines = lines(&calls, &traffic);
            assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:?}");
        }
    }
}
