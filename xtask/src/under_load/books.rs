//! Compares what the outside saw with what the books say.

use super::deposits::PaidIn;
use super::http::Api;
use super::load::Load;
use super::marketplace::Buyer;
use super::report::Report;
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

/// How often each of these keys was seen.
type Tally = BTreeMap<String, usize>;

/// Looks everything up that was acknowledged: there once, or it is lost, or it is there twice.
pub(crate) fn compare(
    api: &Api,
    buyers: &[Buyer],
    load: &Load,
    paid_in: &PaidIn,
    report: &mut Report,
) -> Result<()> {
    report.calls_offered = load.offered()?.len();
    let answered = load.answered()?;
    report.calls_answered = answered.len();
    report.deposits_sent = paid_in.sent.len();
    report.deposits_acknowledged = paid_in.acknowledged.len();
    let in_books = answered_calls(api, report)?;
    note(&answered, &in_books, "call of caller", report);
    let booked = booked_deposits(api, buyers)?;
    note(&paid_in.acknowledged, &booked, "deposit", report);
    Ok(())
}

/// Callers whose calls are in the books as answered.
fn answered_calls(api: &Api, report: &mut Report) -> Result<Tally> {
    let mut answered = Tally::new();
    api.list("/v1/calls", |call| {
        let outcome = call["outcome"].as_str().context("every call has ended")?;
        *report.outcomes.entry(outcome.to_owned()).or_default() += 1;
        if outcome == "converted" || outcome == "not_converted" {
            let caller = call["caller"].as_str().context("a call has a caller")?;
            *answered.entry(caller.to_owned()).or_default() += 1;
        }
        Ok(())
    })?;
    Ok(answered)
}

/// References of the deposits in the books.
fn booked_deposits(api: &Api, buyers: &[Buyer]) -> Result<Tally> {
    let mut booked = Tally::new();
    for buyer in buyers {
        api.list(&format!("/v1/accounts/{}/transfers", buyer.account), |transfer| {
            let reason = &transfer["reason"];
            if reason["reason"] == "deposit" {
                let reference = reason["reference"].as_str().context("a deposit has a reference")?;
                *booked.entry(reference.to_owned()).or_default() += usize::from(reference != "first");
            }
            Ok(())
        })?;
    }
    Ok(booked)
}

/// Acknowledged but not in the books is lost; more than once in the books is twice, acknowledged or not.
fn note(acknowledged: &BTreeSet<String>, in_books: &Tally, what: &str, report: &mut Report) {
    let lost = acknowledged.iter().filter(|key| !in_books.contains_key(*key));
    report.lost.extend(lost.map(|key| format!("{what} {key}")));
    let twice = in_books.iter().filter(|(_, count)| **count > 1);
    report.twice.extend(twice.map(|(key, count)| format!("{what} {key}, {count} times")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_twice_are_told_apart() {
        let acknowledged = ["a", "b", "c"].map(str::to_owned).into();
        let in_books =
            [("a", 1), ("b", 2), ("d", 2), ("e", 1)].map(|(key, count)| (key.to_owned(), count)).into();
        let mut report = Report::default();
        note(&acknowledged, &in_books, "deposit", &mut report);
        assert_eq!(report.lost, ["deposit c"]);
        assert_eq!(report.twice, ["deposit b, 2 times", "deposit d, 2 times"]);
        assert!(!report.is_clean());
    }
}
