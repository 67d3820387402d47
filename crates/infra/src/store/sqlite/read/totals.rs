//! What calls came to, in numbers.

use super::Reader;
use super::calls::CallFilter;
use crate::store::StoreError;
use exchange::ledger::money::Micros;
use rusqlite::params_from_iter;
use std::collections::BTreeMap;

/// How many calls there were, how they ended, and the money they moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallTotals {
    /// All of them.
    pub offered: u64,
    /// Those still ringing or connected.
    pub open: u64,
    /// Those that ended, by outcome: `converted`, `no_bidder` and so on.
    pub ended: BTreeMap<String, u64>,
    /// What buyers paid, in micro-units.
    pub charged_micros: Micros,
    /// What sellers earned, in micro-units.
    pub paid_micros: Micros,
    /// What the house kept, in micro-units.
    pub margin_micros: Micros,
}

impl Reader {
    /// Sums up the calls that pass the filter. Costs a scan of them; narrow it with `from` and `to`.
    pub fn totals(&self, filter: &CallFilter) -> Result<CallTotals, StoreError> {
        let (sql, values) = filter.conditions().query(
            "SELECT outcome, count(*), sum(charge_micros), sum(payout_micros), sum(margin_micros) FROM calls",
            "GROUP BY outcome",
        );
        self.with(|connection| {
            let mut totals = CallTotals::default();
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                let calls: u64 = row.get::<_, i64>(1)?.cast_unsigned();
                totals.offered += calls;
                match row.get::<_, Option<String>>(0)? {
                    None => totals.open = calls,
                    Some(outcome) => {
                        totals.ended.insert(outcome, calls);
                    }
                }
                totals.charged_micros.0 += row.get::<_, i64>(2)?;
                totals.paid_micros.0 += row.get::<_, i64>(3)?;
                totals.margin_micros.0 += row.get::<_, i64>(4)?;
            }
            Ok(totals)
        })
    }
}
