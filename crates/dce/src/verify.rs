//! `dce verify`: an audit of the books, offline.

use crate::command_line::Format;
use crate::failure::Failure;
use crate::print;
use infra::store::{Place, Store, VerifyReport};
use serde_json::json;

/// Audits the books at `place`. Violations are printed, and fail the command.
pub(crate) fn run(place: Place, format: Format) -> Result<(), Failure> {
    let name = place.to_string();
    let report = Store::open_read_only(place)?.verify()?;
    print(&match format {
        Format::Text => text(&report),
        Format::Json => format!("{}\n", json(&report)),
    })?;
    match report.violations_total {
        0 => Ok(()),
        total => Err(Failure::found(format!(
            "{name}: {total} violations in the books; keep them as they are and restore a backup"
        ))),
    }
}

fn text(report: &VerifyReport) -> String {
    let VerifyReport {
        calls,
        transfers,
        journal_entries,
        open_holds,
        violations_total,
        ledger_sum_micros,
        roll_ups_compared,
        ..
    } = report;
    let roll_ups = if *roll_ups_compared { "compared" } else { "behind, and not compared" };
    let summary = format!(
        "{violations_total} violations in {calls} calls, {transfers} transfers, {journal_entries} journal entries; \
         {open_holds} calls hold money; balances sum to {ledger_sum_micros}; \
         roll-ups were {roll_ups}\n"
    );
    let lines = report.violations.iter().map(String::as_str).chain([summary.as_str()]);
    lines.collect::<Vec<_>>().join("\n")
}

fn json(report: &VerifyReport) -> serde_json::Value {
    json!({
        "violations": report.violations_total,
        "violation_lines": report.violations,
        "ledger_sum_micros": report.ledger_sum_micros,
        "open_holds": report.open_holds,
        "calls": report.calls,
        "transfers": report.transfers,
        "journal_entries": report.journal_entries,
        "ledger_digest": report.ledger_digest,
        "roll_ups_compared": report.roll_ups_compared,
    })
}
