//! Reports: the roll-ups, summed up by hour or day and by seller, buyer or vertical.

use super::conditions::Conditions;
use crate::bus::place_of;
use crate::store::connection::{ReadConnection, Row};
use crate::store::{Reader, StoreError};
use exchange::analytics::roll_up::{FIGURES, Figures, HOUR_MICROS, RollUpKey};
use exchange::id::{AccountId, CallId};
use exchange::time::Timestamp;
use std::collections::HashMap;
use std::fmt::Write as _;
use uuid::Uuid;

/// The group of consumers that makes the roll-ups.
pub(crate) const ANALYTICS: &str = "analytics";

/// How long each row of a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportStep {
    /// An hour.
    Hour,
    /// A day, in UTC.
    Day,
}

impl ReportStep {
    /// In microseconds.
    pub fn micros(self) -> i64 {
        match self {
            Self::Hour => HOUR_MICROS,
            Self::Day => 24 * HOUR_MICROS,
        }
    }
}

/// What the rows of a report are told apart by, beside time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportBy {
    /// Whose calls they were.
    Seller,
    /// Who was rung, connected or charged.
    Buyer,
    /// What they were about.
    Vertical,
}

/// Which calls a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFilter {
    /// Received from then on; from the step that this lies in.
    pub from: Timestamp,
    /// Received before then; up to the end of the step that this lies in.
    pub until: Timestamp,
    /// How long each row is.
    pub step: ReportStep,
    /// What rows are told apart by; absent, by time alone.
    pub by: Option<ReportBy>,
    /// Those of this seller.
    pub seller: Option<AccountId>,
    /// Those that this buyer was rung for.
    pub buyer: Option<AccountId>,
    /// Those about this.
    pub vertical: Option<String>,
}

/// One row of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRow {
    /// When its hour or day began.
    pub start: Timestamp,
    /// Whose calls, in a report by seller.
    pub seller: Option<AccountId>,
    /// Who was rung, in a report by buyer; absent there for what calls come to before they are anybody's.
    pub buyer: Option<AccountId>,
    /// What they were about, in a report by vertical.
    pub vertical: Option<String>,
    /// What they came to.
    pub figures: Figures,
}

impl Reader {
    /// A report, in the order of time; `most` rows of it, and one more where there are more.
    pub fn report(&self, filter: &ReportFilter, most: u32) -> Result<Vec<ReportRow>, StoreError> {
        let step = filter.step.micros();
        let floor = |at: Timestamp| at.0.div_euclid(step) * step;
        let until = floor(Timestamp(filter.until.0.saturating_add(step - 1)));
        let by = match filter.by {
            None => "NULL",
            Some(ReportBy::Seller) => "seller",
            Some(ReportBy::Buyer) => "buyer",
            Some(ReportBy::Vertical) => "vertical",
        };
        let group = if filter.by.is_some() { format!("start, {by}") } else { "start".to_owned() };
        // Rows begin with the hour, so that the division needs no floor: there were no calls before 1970.
        let mut select = format!("SELECT hour / {step} * {step} AS start, {by}");
        for figure in FIGURES {
            // The cast: PostgreSQL's sums are wider than what is summed.
            let _ = write!(select, ", CAST(sum({figure}) AS BIGINT)");
        }
        select.push_str(" FROM roll_ups");
        let (sql, values) = Conditions::default()
            .and("hour >= ?", [floor(filter.from).into()])
            .and("hour < ?", [until.into()])
            .when("seller = ?", filter.seller.map(|seller| seller.0))
            .when("buyer = ?", filter.buyer.map(|buyer| buyer.0))
            .when("vertical = ?", filter.vertical.clone())
            .query(&select, &format!("GROUP BY {group} ORDER BY {group} LIMIT {}", u64::from(most) + 1));
        self.with(|connection| connection.rows(&sql, &values, |row| report_row(row, filter.by)))
    }

    /// Calls by their ids, as the roll-ups need them. Those that are not there are left out.
    pub(crate) fn calls_of(
        &self,
        ids: &[CallId],
    ) -> Result<HashMap<CallId, exchange::call::Call>, StoreError> {
        let sql = "SELECT document FROM calls WHERE id = $1";
        self.with(|connection| {
            let mut found = HashMap::new();
            for id in ids {
                let call = connection.row(sql, &[id.0.into()], |row| row.document("calls", 0))?;
                found.extend(call.map(|call| (*id, call)));
            }
            Ok(found)
        })
    }

    /// Whether the roll-ups lack events of calls.
    pub fn roll_ups_are_behind(&self) -> Result<bool, StoreError> {
        self.with(roll_ups_are_behind)
    }
}

/// Whether the roll-ups lack events of calls: those behind their place, and those that were thrown away before they were read.
/// Others do not count.
pub(in crate::store) fn roll_ups_are_behind(connection: &dyn ReadConnection) -> Result<bool, StoreError> {
    let sql = "SELECT seq FROM cursors WHERE name = $1";
    let place = connection.row(sql, &[place_of(ANALYTICS).into()], |row| row.get::<i64>(0))?;
    // Nobody ever made any.
    let Some(place) = place else { return Ok(true) };
    let first = connection.row("SELECT min(seq) FROM outbox", &[], |row| row.get::<Option<i64>>(0))?;
    if first.flatten().is_some_and(|first| first > place + 1) {
        return Ok(true);
    }
    let sql = "SELECT seq FROM outbox WHERE subject LIKE 'call/%' AND seq > $1 LIMIT 1";
    Ok(connection.row(sql, &[place.into()], |row| row.get::<i64>(0))?.is_some())
}

fn report_row(row: &dyn Row, by: Option<ReportBy>) -> Result<ReportRow, StoreError> {
    let mut read = ReportRow {
        start: Timestamp(row.get(0)?),
        seller: None,
        buyer: None,
        vertical: None,
        figures: figures(row, 2)?,
    };
    match by {
        None => {}
        Some(ReportBy::Seller) => read.seller = Some(AccountId(row.get(1)?)),
        Some(ReportBy::Buyer) => read.buyer = somebody(row.get(1)?),
        Some(ReportBy::Vertical) => read.vertical = Some(row.get(1)?),
    }
    Ok(read)
}

fn figures(row: &dyn Row, from: usize) -> Result<Figures, StoreError> {
    Figures::read(|place| row.get(from + place))
}

/// The UUID of all zeros is nobody.
fn somebody(id: Uuid) -> Option<AccountId> {
    (!id.is_nil()).then_some(AccountId(id))
}

/// Gives every row of the roll-ups to `take`.
pub(in crate::store) fn each_roll_up(
    connection: &dyn ReadConnection,
    mut take: impl FnMut(RollUpKey, Figures),
) -> Result<(), StoreError> {
    let sql = format!("SELECT hour, seller, buyer, vertical, {} FROM roll_ups", FIGURES.join(", "));
    connection.each(&sql, |row| {
        let key = RollUpKey {
            hour: Timestamp(row.get(0)?),
            seller: AccountId(row.get(1)?),
            buyer: somebody(row.get(2)?),
            vertical: row.get(3)?,
        };
        take(key, figures(row, 4)?);
        Ok(())
    })
}
