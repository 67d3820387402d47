//! Tracking numbers.

use super::query::{Conditions, blob};
use super::{Reader, documents, one_document};
use crate::store::{Listing, Page, StoreError};
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
        let (sql, values) = Conditions::default()
            .when("seller = ?", filter.seller.map(|seller| blob(seller.0)))
            .when("number > ?", after.map(|number| number.digits().cast_signed()))
            .query("SELECT document FROM tracking_numbers", "ORDER BY number");
        let items = self.with(|connection| documents(connection, "tracking_numbers", &sql, values, page))?;
        Ok(page.listing(items, |number: &TrackingNumber| number.number.to_string()))
    }

    /// One tracking number.
    pub fn tracking_number(&self, number: PhoneNumber) -> Result<Option<TrackingNumber>, StoreError> {
        let sql = "SELECT document FROM tracking_numbers WHERE number = ?1";
        let key = [number.digits().cast_signed()];
        self.with(|connection| one_document(connection, "tracking_numbers", sql, key))
    }
}
