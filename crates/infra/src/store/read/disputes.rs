//! Disputes.

use super::conditions::Conditions;
use crate::store::{Listing, Page, Reader, StoreError};
use exchange::dispute::Dispute;
use exchange::id::{AccountId, CallId};

/// Which disputes are wanted; an absent field takes any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DisputeFilter {
    /// Those of this buyer.
    pub buyer: Option<AccountId>,
    /// Those of this seller's calls.
    pub seller: Option<AccountId>,
    /// Those that have come this far: `open`, `rejected`, `upheld`.
    pub stage: Option<String>,
}

impl Reader {
    /// Disputes, newest call first.
    pub fn disputes(&self, filter: &DisputeFilter, page: &Page) -> Result<Listing<Dispute>, StoreError> {
        let before = page.cursor(|text| text.parse::<CallId>().ok())?;
        let query = Conditions::default()
            .when("buyer = ?", filter.buyer.map(|buyer| buyer.0))
            .when("seller = ?", filter.seller.map(|seller| seller.0))
            .when("stage = ?", filter.stage.clone())
            .when("call < ?", before.map(|call| call.0))
            .page("SELECT document FROM disputes", "call DESC", page);
        let items = self.documents("disputes", query)?;
        Ok(page.listing(items, |dispute: &Dispute| dispute.charged.call.to_string()))
    }

    /// The dispute of one call, if there is one.
    pub fn dispute(&self, call: CallId) -> Result<Option<Dispute>, StoreError> {
        self.one_document("disputes", "SELECT document FROM disputes WHERE call = $1", call.0)
    }
}
