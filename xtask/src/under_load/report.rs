//! What a crash run came to.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Losses and doublets named in the text report, at most.
const NAMED_MAX: usize = 20;

/// One kill.
#[derive(Debug)]
pub(crate) struct Cycle {
    pub(crate) number: u32,
    pub(crate) cycles: u32,
    /// From ready to SIGKILL.
    pub(crate) life: Duration,
    /// From SIGKILL to ready.
    pub(crate) down: Duration,
    pub(crate) calls_answered: usize,
    pub(crate) deposits_acknowledged: usize,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, cycles, life, down, calls_answered, deposits_acknowledged } = self;
        write!(
            f,
            "cycle {number}/{cycles}: killed after {} ms, ready {} ms later; so far {calls_answered} calls answered, \
             {deposits_acknowledged} deposits acknowledged",
            life.as_millis(),
            down.as_millis()
        )
    }
}

/// The whole run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) cycles: u32,
    pub(crate) calls_offered: usize,
    /// Calls that the carrier saw answered with 200.
    pub(crate) calls_answered: usize,
    /// Calls in the books, by outcome.
    pub(crate) outcomes: BTreeMap<String, usize>,
    pub(crate) deposits_sent: usize,
    pub(crate) deposits_acknowledged: usize,
    /// Acknowledged, and not in the books.
    pub(crate) lost: Vec<String>,
    /// More than once in the books.
    pub(crate) twice: Vec<String>,
    /// Audits made while the exchange was stopped.
    pub(crate) audits: u32,
    /// What they found wrong.
    pub(crate) violations: Vec<String>,
}

impl Report {
    /// Takes in what `dce verify` said.
    pub(crate) fn note_audit(&mut self, audit: &Value) {
        self.audits += 1;
        let lines = audit["violation_lines"].as_array().into_iter().flatten();
        self.violations.extend(lines.map(|line| line.as_str().unwrap_or_default().to_owned()));
        for count in ["violations", "open_holds", "ledger_sum_micros"] {
            if audit[count] != 0 {
                self.violations.push(format!("audit {}: {count} is {}", self.audits, audit[count]));
            }
        }
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.twice.is_empty() && self.violations.is_empty()
    }

    /// For machines.
    pub(crate) fn json(&self) -> Value {
        json!({
            "seed": self.seed,
            "cycles": self.cycles,
            "calls_offered": self.calls_offered,
            "calls_answered": self.calls_answered,
            "outcomes": self.outcomes,
            "deposits_sent": self.deposits_sent,
            "deposits_acknowledged": self.deposits_acknowledged,
            "lost": self.lost.len(),
            "twice": self.twice.len(),
            "audits": self.audits,
            "violations": self.violations.len(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, lines) in [("lost", &self.lost), ("twice", &self.twice), ("violation", &self.violations)] {
            for line in lines.iter().take(NAMED_MAX) {
                writeln!(f, "{what}: {line}")?;
            }
        }
        let outcomes: Vec<_> = self.outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
        write!(
            f,
            "{} cycles; {} calls offered, {} answered ({} in the books); {} deposits acknowledged of {} sent; \
             lost {}, twice {}; {} violations in {} audits",
            self.cycles,
            self.calls_offered,
            self.calls_answered,
            outcomes.join(", "),
            self.deposits_acknowledged,
            self.deposits_sent,
            self.lost.len(),
            self.twice.len(),
            self.violations.len(),
            self.audits
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_is_clean_only_when_all_three_figures_are_zero() {
        let good = json!({ "violations": 0, "open_holds": 0, "ledger_sum_micros": 0, "violation_lines": [] });
        let mut report = Report::default();
        report.note_audit(&good);
        assert!(report.is_clean());
        for key in ["violations", "open_holds", "ledger_sum_micros"] {
            let mut bad = good.clone();
            bad[key] = 1.into();
            let mut report = Report::default();
            report.note_audit(&bad);
            assert!(!report.is_clean(), "{key}");
        }
        let mut report = Report::default();
        report.note_audit(&json!({}));
        assert!(!report.is_clean(), "an audit that says nothing is no clean one");
    }
}
