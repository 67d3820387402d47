//! Calls and their receipts.

use super::conditions::Conditions;
use crate::store::connection::{Dialect, Value};
use crate::store::{Listing, Page, Reader, StoreError};
use exchange::auction::receipt::Receipt;
use exchange::call::Call;
use exchange::id::{AccountId, CallId};
use exchange::time::Timestamp;

/// Which calls are wanted; an absent field takes any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Those of this seller's numbers.
    pub seller: Option<AccountId>,
    /// Those that ring, or were connected to, this buyer.
    pub buyer: Option<AccountId>,
    /// Those in this state.
    pub state: Option<CallStage>,
    /// Those that ended like this: `converted`, `no_bidder` and so on, as in the call's document.
    pub outcome: Option<String>,
    /// Those about this.
    pub vertical: Option<String>,
    /// Those received at this moment or later.
    pub from: Option<Timestamp>,
    /// Those received before this moment.
    pub to: Option<Timestamp>,
}

/// The name of a call's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStage {
    /// Live bidders are being asked.
    Bidding,
    /// A ping won: the call is to come.
    Reserved,
    /// A target is being rung.
    Ringing,
    /// Caller and target are connected.
    Connected,
    /// Over.
    Ended,
}

impl CallStage {
    fn name(self) -> &'static str {
        match self {
            Self::Bidding => "bidding",
            Self::Reserved => "reserved",
            Self::Ringing => "ringing",
            Self::Connected => "connected",
            Self::Ended => "ended",
        }
    }
}

impl CallFilter {
    /// The filters that are set, as conditions on the table of calls.
    pub(super) fn conditions(&self, dialect: Dialect) -> Conditions {
        let open = self.state.is_some_and(|state| state != CallStage::Ended);
        let conditions = Conditions::default();
        // Follows from the state, and lets the few open calls be found by their index.
        let conditions = if open { conditions.and("outcome IS NULL", []) } else { conditions };
        // The plus keeps SQLite from the outcome's index where an account's own is the better one. PostgreSQL counts.
        let of_account = self.seller.is_some() || self.buyer.is_some();
        let outcome = match dialect {
            Dialect::Sqlite if of_account => "+outcome = ?",
            Dialect::Sqlite | Dialect::Postgresql => "outcome = ?",
        };
        conditions
            .when("calls.seller = ?", self.seller.map(|seller| seller.0))
            .when("calls.buyer = ?", self.buyer.map(|buyer| buyer.0))
            .when("state = ?", self.state.map(|state| state.name().to_owned()))
            .when(outcome, self.outcome.clone())
            .when("vertical = ?", self.vertical.clone())
            .when("received_at >= ?", self.from.map(|from| from.0))
            .when("received_at < ?", self.to.map(|to| to.0))
    }
}

impl Reader {
    /// Calls, newest first.
    pub fn calls(&self, filter: &CallFilter, page: &Page) -> Result<Listing<Call>, StoreError> {
        let conditions = self.after_cursor(filter, page)?;
        let query = conditions.page("SELECT document FROM calls", NEWEST_FIRST, page);
        let items = self.documents("calls", query)?;
        Ok(page.listing(items, |call: &Call| write_cursor(call.received_at.0, call.id)))
    }

    /// One call.
    pub fn call(&self, id: CallId) -> Result<Option<Call>, StoreError> {
        self.one_document("calls", "SELECT document FROM calls WHERE id = $1", id.0)
    }

    /// Receipts of the calls that `filter` wants, newest call first, each with its call. Calls that were never decided have none.
    pub fn receipts(&self, filter: &CallFilter, page: &Page) -> Result<Listing<(Call, Receipt)>, StoreError> {
        let select =
            "SELECT calls.document, receipts.document FROM calls JOIN receipts ON receipts.call = calls.id";
        let query = self.after_cursor(filter, page)?.page(select, NEWEST_FIRST, page);
        let items = self.calls_with_receipts(query)?;
        Ok(page.listing(items, |(call, _)| write_cursor(call.received_at.0, call.id)))
    }

    /// The same of the calls in whose auctions `bidder` had a bid, whoever won them.
    pub fn receipts_of_bidder(
        &self,
        bidder: AccountId,
        filter: &CallFilter,
        page: &Page,
    ) -> Result<Listing<(Call, Receipt)>, StoreError> {
        let select = "SELECT calls.document, receipts.document FROM auction_buyers
            JOIN calls ON calls.id = auction_buyers.call JOIN receipts ON receipts.call = auction_buyers.call";
        let conditions = filter.conditions(self.dialect());
        let conditions = conditions.and("auction_buyers.buyer = ?", [bidder.0.into()]);
        let conditions = match page.cursor(|text| text.parse::<CallId>().ok())? {
            Some(before) => conditions.and("auction_buyers.call < ?", [before.0.into()]),
            None => conditions,
        };
        let query = conditions.page(select, "auction_buyers.call DESC", page);
        let items = self.calls_with_receipts(query)?;
        Ok(page.listing(items, |(call, _)| call.id.to_string()))
    }

    fn calls_with_receipts(
        &self,
        (sql, values): (String, Vec<Value>),
    ) -> Result<Vec<(Call, Receipt)>, StoreError> {
        self.with(|connection| {
            connection.rows(&sql, &values, |row| -> Result<(Call, Receipt), StoreError> {
                Ok((row.document("calls", 0)?, row.document("receipts", 1)?))
            })
        })
    }

    /// How a call was decided.
    pub fn receipt(&self, call: CallId) -> Result<Option<Receipt>, StoreError> {
        self.one_document("receipts", "SELECT document FROM receipts WHERE call = $1", call.0)
    }

    /// The filters that are set, from the page's cursor on.
    fn after_cursor(&self, filter: &CallFilter, page: &Page) -> Result<Conditions, StoreError> {
        let conditions = filter.conditions(self.dialect());
        Ok(match page.cursor(read_cursor)? {
            Some((received_at, id)) => {
                conditions.and("(received_at, id) < (?, ?)", [received_at.into(), id.0.into()])
            }
            None => conditions,
        })
    }
}

const NEWEST_FIRST: &str = "received_at DESC, id DESC";

/// A cursor is the last call's moment and id: calls of the same microsecond are told apart by their ids.
fn write_cursor(received_at: i64, id: CallId) -> String {
    format!("{received_at}_{id}")
}

fn read_cursor(text: &str) -> Option<(i64, CallId)> {
    let (received_at, id) = text.split_once('_')?;
    Some((received_at.parse().ok()?, id.parse().ok()?))
}
