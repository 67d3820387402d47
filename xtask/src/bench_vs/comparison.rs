//! A baseline beside what was measured now: ratios to the yardstick, and how they changed.

use super::baseline::Baseline;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt;

/// How every benchmark of a baseline fared.
#[derive(Debug)]
pub(super) struct Comparison {
    yardstick: String,
    /// The yardstick's median in nanoseconds: then and now.
    yardstick_ns: (f64, f64),
    rows: Vec<Row>,
    tolerance_percent: f64,
}

/// One benchmark, in yardsticks: then, and now.
#[derive(Debug)]
struct Row {
    id: String,
    was: Option<f64>,
    is: Option<f64>,
}

impl Row {
    /// How much the ratio grew, in percent.
    fn change_percent(&self) -> Option<f64> {
        Some((self.is? / self.was? - 1.0) * 100.0)
    }
}

impl Comparison {
    /// Compares; fails when the yardstick is missing on either side.
    pub(super) fn of(
        baseline: &Baseline,
        medians_ns: &BTreeMap<String, f64>,
        tolerance_percent: f64,
    ) -> Result<Self> {
        let yardstick = baseline.yardstick.clone();
        // A bench that is recorded for the first time has no figures to compare with.
        let is_new = baseline.medians_ns.is_empty();
        let side = |medians: &BTreeMap<String, f64>, which: &str| {
            let median = medians.get(&yardstick).copied();
            let median = median.with_context(|| format!("{which} has no yardstick {yardstick}"))?;
            if median > 0.0 { Ok(median) } else { bail!("{which}: the yardstick took {median} ns") }
        };
        let is = side(medians_ns, "this run")?;
        let was = if is_new { is } else { side(&baseline.medians_ns, "the baseline")? };
        let ids = baseline.medians_ns.keys().chain(medians_ns.keys()).filter(|id| **id != yardstick);
        let ids: std::collections::BTreeSet<&String> = ids.collect();
        let rows = ids.into_iter().map(|id| Row {
            id: id.clone(),
            was: baseline.medians_ns.get(id).map(|ns| ns / was),
            is: medians_ns.get(id).map(|ns| ns / is),
        });
        let rows = rows.collect();
        Ok(Self { yardstick, yardstick_ns: (was, is), rows, tolerance_percent })
    }

    /// Whether a benchmark of the baseline grew beyond the tolerance, or was not run.
    pub(super) fn has_regressed(&self) -> bool {
        self.rows.iter().any(|row| self.verdict(row) == "slower" || (row.was.is_some() && row.is.is_none()))
    }

    fn verdict(&self, row: &Row) -> &'static str {
        match (row.change_percent(), row.is) {
            (Some(change), _) if change > self.tolerance_percent => "slower",
            (Some(change), _) if change < -self.tolerance_percent => "faster",
            (Some(_), _) => "",
            (None, Some(_)) => "new",
            (None, None) => "not run",
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (was, is) = self.yardstick_ns;
        writeln!(f, "yardstick {}: {was:.0} ns then, {is:.0} ns now", self.yardstick)?;
        writeln!(f, "{:<32} {:>12} {:>12} {:>9}", "benchmark", "baseline", "now", "change")?;
        for row in &self.rows {
            let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.5}"));
            let change = row.change_percent().map_or("-".to_owned(), |change| format!("{change:+.0} %"));
            let (was, is) = (ratio(row.was), ratio(row.is));
            let line = format!("{:<32} {was:>12} {is:>12} {change:>9}  {}", row.id, self.verdict(row));
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medians(of: &[(&str, f64)]) -> BTreeMap<String, f64> {
        of.iter().map(|(id, ns)| ((*id).to_owned(), *ns)).collect()
    }

    fn compared(was: &[(&str, f64)], is: &[(&str, f64)]) -> Result<Comparison> {
        let text = |text: &str| text.to_owned();
        let baseline = Baseline {
            package: text("p"),
            bench: text("b"),
            command: text("c"),
            machine: text("m"),
            date: text("d"),
            yardstick: text("scan"),
            medians_ns: medians(was),
        };
        Comparison::of(&baseline, &medians(is), 25.0)
    }

    #[test]
    fn ratios_count_and_not_times() {
        let was = [("scan", 1_000.0), ("search", 10.0)];
        for (is, regressed, shown) in [
            // A machine half as fast, and one twice as fast.
            ([("scan", 2_000.0), ("search", 20.0)], false, "+0 %"),
            ([("scan", 500.0), ("search", 5.0)], false, "+0 %"),
            ([("scan", 1_000.0), ("search", 12.4)], false, "+24 %"),
            ([("scan", 1_000.0), ("search", 12.6)], true, "+26 %  slower"),
            // As fast as before on a machine twice as fast is slower.
            ([("scan", 500.0), ("search", 10.0)], true, "+100 %  slower"),
            ([("scan", 1_000.0), ("search", 5.0)], false, "-50 %  faster"),
        ] {
            let comparison = compared(&was, &is).expect("both have the yardstick");
            assert_eq!(comparison.has_regressed(), regressed, "{comparison}");
            assert!(comparison.to_string().contains(shown), "{shown} in {comparison}");
        }
    }

    #[test]
    fn a_benchmark_that_was_not_run_is_no_success_and_a_new_one_no_failure() {
        let scan = ("scan", 1_000.0);
        let missing = compared(&[scan, ("search", 10.0)], &[scan]).expect("both have the yardstick");
        assert!(missing.has_regressed() && missing.to_string().contains("not run"), "{missing}");
        let new = compared(&[scan], &[scan, ("search", 10.0)]).expect("both have the yardstick");
        assert!(!new.has_regressed() && new.to_string().contains("new"), "{new}");
        let first = compared(&[], &[scan, ("search", 10.0)]).expect("the first time");
        assert!(!first.has_regressed(), "{first}");
    }

    #[test]
    fn without_its_yardstick_nothing_can_be_said() {
        for (was, is) in [([("search", 1.0)], [("scan", 1.0)]), ([("scan", 1.0)], [("search", 1.0)])] {
            assert!(compared(&was, &is).is_err());
        }
        assert!(compared(&[("scan", 1.0)], &[("scan", 0.0)]).is_err());
    }
}
