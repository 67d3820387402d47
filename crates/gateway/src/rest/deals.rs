//! `/v1/deals`: terms that a seller and some buyers agreed on beside the open auction.

use super::Listed;
use crate::access::{Principal, Role};
use crate::problem::Problem;
use crate::request::{self, Fields, Part, Query, RequestBody};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::effect::Command;
use exchange::id::{AccountId, DealId};
use exchange::ledger::money::Micros;
use exchange::refused::FieldError;
use exchange::trading_rules::Deal;
use infra::store::DealFilter;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A deal, without what the asking role may not see: a seller does not see which buyers are in it, a buyer sees only that it is
/// in it, and its floor.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DealView {
    /// Its identity.
    id: DealId,
    /// Whether it is in force.
    active: bool,
    /// The floor for bids under it, in micro-units, in place of every other floor.
    floor_micros: Micros,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The seller whose calls it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    seller: Option<AccountId>,
    /// Only calls of this vertical; absent, all of the seller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    vertical: Option<String>,
    /// The buyers it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    buyers: Option<BTreeSet<AccountId>>,
    /// Whether their bids go before the open auction's, whatever those offer.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_look: Option<bool>,
}

impl DealView {
    /// The deal as `role` may see it. Only for deals that it may know of: [`Role::sees_deal`].
    fn new(deal: Deal, role: Role) -> Self {
        let Deal { id, name, active, seller, vertical, buyers, floor_micros, first_look } = deal;
        let is_house = matches!(role, Role::Admin | Role::Analyst);
        let is_buyer = matches!(role, Role::Buyer(_));
        Self {
            id,
            active,
            floor_micros,
            name: (!is_buyer).then_some(name),
            seller: (!is_buyer).then_some(seller),
            vertical: vertical.filter(|_| !is_buyer),
            buyers: is_house.then_some(buyers),
            first_look: (!is_buyer).then_some(first_look),
        }
    }
}

impl Role {
    fn sees_deal(self, deal: &Deal) -> bool {
        match self {
            Self::Admin | Self::Analyst => true,
            Self::Seller(own) => deal.seller == own,
            Self::Buyer(own) => deal.buyers.contains(&own),
        }
    }
}

impl RequestBody for Deal {
    fn problems(&self) -> Vec<FieldError> {
        self.problems()
    }

    fn stand_in() -> Map<String, Value> {
        request::members(&Self {
            id: DealId(Uuid::nil()),
            name: "any".to_owned(),
            active: true,
            seller: AccountId(Uuid::nil()),
            vertical: None,
            buyers: BTreeSet::from([AccountId(Uuid::nil())]),
            floor_micros: Micros::ZERO,
            first_look: false,
        })
    }
}

/// Agree a deal, or change it. `id` may be left out of the body. Sending the same again changes nothing.
#[utoipa::path(put, path = "/v1/deals/{id}", tag = "deals", params(("id" = DealId, Path)),
    request_body = Deal, responses((status = 200, body = Deal)))]
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<DealId>,
    fields: Fields,
) -> Result<Json<Deal>, Problem> {
    let deal = fields.read_at("id", &id, |deal: &Deal| &deal.id)?;
    gateway.engine().command(Command::PutDeal { deal: deal.clone() }, principal.actor()).await?;
    Ok(Json(deal))
}

/// Show a deal. Buyers and sellers see those they are in.
#[utoipa::path(get, path = "/v1/deals/{id}", tag = "deals", params(("id" = DealId, Path)),
    responses((status = 200, body = DealView)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<DealId>,
) -> Result<Json<DealView>, Problem> {
    let deal = gateway.read(move |reader| reader.deal(id)).await?;
    let deal =
        deal.filter(|deal| principal.role.sees_deal(deal)).ok_or_else(|| Problem::not_found("deal"))?;
    Ok(Json(DealView::new(deal, principal.role)))
}

/// Which deals to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DealQuery {
    /// Those about this seller's calls.
    seller: Option<AccountId>,
    /// Those this buyer is in.
    buyer: Option<AccountId>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List deals in the order of their ids. Buyers and sellers see those they are in.
#[utoipa::path(get, path = "/v1/deals", tag = "deals", params(DealQuery),
    responses((status = 200, body = Listed<DealView>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<DealQuery>,
) -> Result<Json<Listed<DealView>>, Problem> {
    let page = request::page(query.after, query.limit)?;
    let (seller, buyer) = principal.sides(query.seller, query.buyer)?;
    let filter = DealFilter { seller, buyer };
    let listing = gateway.read(move |reader| reader.deals(&filter, &page)).await?;
    Ok(Json(Listed::from_store(listing, |deal| DealView::new(deal, principal.role))))
}
