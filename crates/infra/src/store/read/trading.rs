//! Cap groups, trading rules and private deals.

use super::conditions::Conditions;
use crate::store::connection::Dialect;
use crate::store::{Listing, Page, Reader, StoreError};
use exchange::bid::caps::CapGroup;
use exchange::id::{AccountId, CapGroupId, DealId};
use exchange::trading_rules::{Deal, Scope, ScopedRules};

/// Which deals are wanted; an absent field takes any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DealFilter {
    /// Those about this seller's calls.
    pub seller: Option<AccountId>,
    /// Those this buyer is in.
    pub buyer: Option<AccountId>,
}

impl Reader {
    /// Cap groups in the order of their ids, those of one buyer or of all.
    pub fn cap_groups(&self, buyer: Option<AccountId>, page: &Page) -> Result<Listing<CapGroup>, StoreError> {
        let after = page.cursor(|text| text.parse::<CapGroupId>().ok())?;
        let query = Conditions::default()
            .when("buyer = ?", buyer.map(|buyer| buyer.0))
            .when("id > ?", after.map(|id| id.0))
            .page("SELECT document FROM cap_groups", "id", page);
        let items = self.documents("cap_groups", query)?;
        Ok(page.listing(items, |group: &CapGroup| group.id.to_string()))
    }

    /// One cap group.
    pub fn cap_group(&self, id: CapGroupId) -> Result<Option<CapGroup>, StoreError> {
        let sql = "SELECT document FROM cap_groups WHERE id = $1";
        self.one_document("cap_groups", sql, id.0)
    }

    /// Deals in the order of their ids.
    pub fn deals(&self, filter: &DealFilter, page: &Page) -> Result<Listing<Deal>, StoreError> {
        let after = page.cursor(|text| text.parse::<DealId>().ok())?;
        let with_buyer = match self.dialect() {
            Dialect::Sqlite => "EXISTS (SELECT 1 FROM json_each(document, '$.buyers') WHERE value = ?)",
            Dialect::Postgresql => "(document -> 'buyers')::jsonb @> to_jsonb(?::text)",
        };
        let query = Conditions::default()
            .when("seller = ?", filter.seller.map(|seller| seller.0))
            .when(with_buyer, filter.buyer.map(|buyer| buyer.to_string()))
            .when("id > ?", after.map(|id| id.0))
            .page("SELECT document FROM deals", "id", page);
        let items = self.documents("deals", query)?;
        Ok(page.listing(items, |deal: &Deal| deal.id.to_string()))
    }

    /// One deal.
    pub fn deal(&self, id: DealId) -> Result<Option<Deal>, StoreError> {
        let sql = "SELECT document FROM deals WHERE id = $1";
        self.one_document("deals", sql, id.0)
    }

    /// Trading rules in the order of their scopes.
    pub fn trading_rules(&self, page: &Page) -> Result<Listing<ScopedRules>, StoreError> {
        let after = page.cursor(|text| Some(text.to_owned()))?;
        let query = Conditions::default().when("scope > ?", after).page(
            "SELECT document FROM trading_rules",
            "scope",
            page,
        );
        let items = self.documents("trading_rules", query)?;
        Ok(page.listing(items, |rules: &ScopedRules| rules.scope.to_string()))
    }

    /// The rules of one scope.
    pub fn trading_rules_of(&self, scope: &Scope) -> Result<Option<ScopedRules>, StoreError> {
        let sql = "SELECT document FROM trading_rules WHERE scope = $1";
        self.one_document("trading_rules", sql, scope.to_string())
    }
}
