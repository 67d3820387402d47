//! The roll-ups against the calls: what the fold of events came to, against what the books say of the same calls.

use super::VerifyReport;
use crate::store::StoreError;
use crate::store::connection::{Dialect, ReadConnection};
use crate::store::read::roll_ups::{each_roll_up, roll_ups_are_behind};
use exchange::analytics::roll_up::{Figures, RollUpKey, of_call};
use exchange::call::Call;
use exchange::dispute::Dispute;
use exchange::time::Timestamp;
use std::collections::BTreeMap;

/// What is left of the roll-ups when what the calls say is taken away: nothing, where they agree. It grows with the rows of the
/// roll-ups, not with the calls.
pub(super) struct RollUpCheck {
    left: BTreeMap<RollUpKey, Figures>,
    /// Hours before this one are not compared: some of their calls may be detached.
    from: Timestamp,
}

impl RollUpCheck {
    /// Nothing, where the roll-ups are behind the outbox.
    pub(super) fn begin(
        connection: &dyn ReadConnection,
        dialect: Dialect,
    ) -> Result<Option<Self>, StoreError> {
        if roll_ups_are_behind(connection)? {
            return Ok(None);
        }
        let from = match dialect {
            Dialect::Sqlite => Timestamp(i64::MIN),
            Dialect::Postgresql => first_whole_hour(connection)?,
        };
        let mut left = BTreeMap::new();
        each_roll_up(connection, |key, figures| {
            if key.hour >= from {
                // Targets rung are not in the books of every call.
                left.insert(key, Figures { routed: 0, ..figures });
            }
        })?;
        Ok(Some(Self { left, from }))
    }

    /// Takes away what a call came to.
    pub(super) fn take_away(&mut self, call: &Call, dispute: Option<&Dispute>) {
        for (key, figures) in of_call(call, dispute) {
            if key.hour >= self.from {
                self.left.entry(key).or_default().subtract(&figures);
            }
        }
    }

    /// Every row that disagrees is a violation.
    pub(super) fn finish(self, report: &mut VerifyReport) {
        for (key, left) in self.left.into_iter().filter(|(_, left)| *left != Figures::default()) {
            let RollUpKey { hour, seller, buyer, vertical } = key;
            let buyer = buyer.map_or_else(|| "nobody".to_owned(), |buyer| buyer.to_string());
            let left = serde_json::to_value(left).unwrap_or_default();
            let differs =
                left.as_object().into_iter().flatten().filter(|(_, value)| value.as_i64() != Some(0));
            let differs: Vec<String> =
                differs.map(|(figure, value)| format!("{figure} by {value}")).collect();
            report.violation(format!(
                "roll-up of {} for seller {seller}, buyer {buyer}, {vertical}: differs from its calls in {}",
                hour.to_jiff(),
                differs.join(", ")
            ));
        }
    }
}

/// Where months of calls were detached: the hour after that of the first call that is left. Calls leave by their ids' millisecond, hours
/// count by the moment of receipt, which may lie behind it.
fn first_whole_hour(connection: &dyn ReadConnection) -> Result<Timestamp, StoreError> {
    let sql = "SELECT min(hour) FROM roll_ups WHERE hour > coalesce((SELECT min(received_at) FROM calls), 0)
               AND EXISTS (SELECT 1 FROM detached WHERE parent = 'calls')";
    let hour = connection.row(sql, &[], |row| row.get::<Option<i64>>(0))?.flatten();
    Ok(Timestamp(hour.unwrap_or(i64::MIN)))
}
