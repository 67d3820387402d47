//! What calls came to, in numbers.

use super::calls::CallFilter;
use crate::store::{Reader, StoreError};
use exchange::ledger::money::Micros;
use std::collections::BTreeMap;

/// How a ping ends whose call came ([`exchange::call::Outcome::Redeemed`]).
const REDEEMED: &str = "redeemed";

/// How many calls there were, how they ended, and the money they moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallTotals {
    /// All of them, and pings; a ping whose call came is counted once, as the call.
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
        // The cast: PostgreSQL's sums are wider than what is summed.
        let select = "SELECT outcome, count(*), CAST(sum(charge_micros) AS BIGINT),
            CAST(sum(payout_micros) AS BIGINT), CAST(sum(margin_micros) AS BIGINT) FROM calls";
        let (sql, values) = filter.conditions(self.dialect()).query(select, "GROUP BY outcome");
        self.with(|connection| {
            let mut totals = CallTotals::default();
            connection.query(&sql, &values, &mut |row| {
                let calls = row.get::<i64>(1)?.cast_unsigned();
                totals.offered += calls;
                match row.get::<Option<String>>(0)? {
                    None => totals.open = calls,
                    Some(outcome) => {
                        totals.ended.insert(outcome, calls);
                    }
                }
                totals.charged_micros.0 += row.get::<i64>(2)?;
                totals.paid_micros.0 += row.get::<i64>(3)?;
                totals.margin_micros.0 += row.get::<i64>(4)?;
                Ok(())
            })?;
            totals.offered -= totals.ended.get(REDEEMED).copied().unwrap_or(0);
            Ok(totals)
        })
    }
}
