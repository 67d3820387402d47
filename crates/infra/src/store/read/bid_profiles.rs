//! Bid profiles.

use super::conditions::Conditions;
use crate::store::{Listing, Page, Reader, StoreError};
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
        let query = Conditions::default()
            .when("buyer = ?", filter.buyer.map(|buyer| buyer.0))
            .when("vertical = ?", filter.vertical.clone())
            .when("id > ?", after.map(|id| id.0))
            .page("SELECT document FROM bid_profiles", "id", page);
        let items = self.documents("bid_profiles", query)?;
        Ok(page.listing(items, |bid: &BidProfile| bid.id.to_string()))
    }

    /// One bid profile.
    pub fn bid_profile(&self, id: BidProfileId) -> Result<Option<BidProfile>, StoreError> {
        let sql = "SELECT document FROM bid_profiles WHERE id = $1";
        self.one_document("bid_profiles", sql, id.0)
    }
}
