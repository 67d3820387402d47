//! Bid profiles.

use super::query::{Conditions, blob};
use super::{Reader, documents, one_document};
use crate::store::{Listing, Page, StoreError};
use exchange::bid::BidProfile;
use exchange::id::{AccountId, BidProfileId};

/// Which bid profiles are wanted; an absent field takes any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BidProfileFilter {
    /// Those of this buyer.
    pub buyer: Option<AccountId>,
    /// Those for this vertical.
    pub vertical: Option<String>,
}

impl Reader {
    /// Bid profiles in the order of their ids, oldest first.
    pub fn bid_profiles(
        &self,
        filter: &BidProfileFilter,
        page: &Page,
    ) -> Result<Listing<BidProfile>, StoreError> {
        let after = page.cursor(|text| text.parse::<BidProfileId>().ok())?;
        let (sql, values) = Conditions::default()
            .when("buyer = ?", filter.buyer.map(|buyer| blob(buyer.0)))
            .when("vertical = ?", filter.vertical.clone())
            .when("id > ?", after.map(|id| blob(id.0)))
            .query("SELECT document FROM bid_profiles", "ORDER BY id");
        let items = self.with(|connection| documents(connection, "bid_profiles", &sql, values, page))?;
        Ok(page.listing(items, |bid: &BidProfile| bid.id.to_string()))
    }

    /// One bid profile.
    pub fn bid_profile(&self, id: BidProfileId) -> Result<Option<BidProfile>, StoreError> {
        let sql = "SELECT document FROM bid_profiles WHERE id = ?1";
        self.with(|connection| one_document(connection, "bid_profiles", sql, [id.0.as_bytes()]))
    }
}
