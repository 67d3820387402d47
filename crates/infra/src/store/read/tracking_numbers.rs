//! Tracking numbers.

use super::conditions::Conditions;
use crate::store::{Listing, Page, Reader, StoreError};
use exchange::id::AccountId;
use exchange::phone_number::PhoneNumber;
use exchange::tracking_number::TrackingNumber;

/// Which tracking numbers are wanted; an absent field takes any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackingNumberFilter {
    /// Those of this seller.
    pub seller: Option<AccountId>,
}

impl Reader {
    /// Tracking numbers in the order of their digits.
    pub fn tracking_numbers(
        &self,
        filter: &TrackingNumberFilter,
        page: &Page,
    ) -> Result<Listing<TrackingNumber>, StoreError> {
        let after = page.cursor(|text| text.parse::<PhoneNumber>().ok())?;
        let query = Conditions::default()
            .when("seller = ?", filter.seller.map(|seller| seller.0))
            .when("number > ?", after.map(|number| number.digits().cast_signed()))
            .page("SELECT document FROM tracking_numbers", "number", page);
        let items = self.documents("tracking_numbers", query)?;
        Ok(page.listing(items, |number: &TrackingNumber| number.number.to_string()))
    }

    /// One tracking number.
    pub fn tracking_number(&self, number: PhoneNumber) -> Result<Option<TrackingNumber>, StoreError> {
        let sql = "SELECT document FROM tracking_numbers WHERE number = $1";
        self.one_document("tracking_numbers", sql, number.digits().cast_signed())
    }
}
