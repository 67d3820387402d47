//! `/v1/bid-profiles`: what buyers pay, for which calls, when, and how many.

use super::Listed;
use crate::access::{Principal, Role};
use crate::live_bids::{BidChange, is_connected};
use crate::problem::{Kind, Problem};
use crate::request::{self, Body, Fields, Part, Query, RequestBody};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use exchange::bid::{BidProfile, BidStatus, Destination, Price};
use exchange::effect::Command;
use exchange::id::{AccountId, BidProfileId};
use exchange::ledger::money::Micros;
use exchange::refused::FieldError;
use infra::store::BidProfileFilter;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

impl RequestBody for BidProfile {
    fn problems(&self) -> Vec<FieldError> {
        self.problems()
    }

    fn stand_in() -> Map<String, Value> {
        let price = Price::PerCall { amount_micros: Micros::units(1) };
        let (id, buyer) = (BidProfileId(Uuid::nil()), AccountId(Uuid::nil()));
        request::members(&Self::new(id, buyer, "any", price, Destination::of("sip:any@example.com")))
    }
}

/// Place a bid profile under a new id. Leave `id` out; a buyer may leave `buyer` out. To be able to send the request again
/// safely, draw an id of your own and PUT it instead.
#[utoipa::path(post, path = "/v1/bid-profiles", tag = "bid profiles", request_body = BidProfile,
    responses((status = 201, body = BidProfile)))]
pub(crate) async fn place(
    State(gateway): State<Gateway>,
    principal: Principal,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let id = BidProfileId(Uuid::now_v7());
    if fields.has("id") {
        let fix = "leave it out, or PUT the bid under an id of your own";
        return Err(Problem::field(Kind::Invalid, "id", "is drawn here", fix));
    }
    if let Some(own) = principal.role.account() {
        fields = fields.or_add("buyer", &own);
    }
    let bid: BidProfile = fields.or_add("id", &id).read()?;
    let bid = store(&gateway, principal, bid).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/bid-profiles/{id}"))], Json(bid)))
}

/// Place a bid profile, or change it. `id` may be left out of the body. Sending the same again changes nothing.
#[utoipa::path(put, path = "/v1/bid-profiles/{id}", tag = "bid profiles", params(("id" = BidProfileId, Path)),
    request_body = BidProfile, responses((status = 200, body = BidProfile)))]
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<BidProfileId>,
    fields: Fields,
) -> Result<Json<BidProfile>, Problem> {
    let bid = fields.read_at("id", &id, |bid: &BidProfile| &bid.id)?;
    store(&gateway, principal, bid).await.map(Json)
}

async fn store(gateway: &Gateway, principal: Principal, bid: BidProfile) -> Result<BidProfile, Problem> {
    principal.confined_to(Some(bid.buyer), "buyer")?;
    if principal.role.account().is_some() {
        // Ids cannot be guessed, but they may leak: a bid of another buyer must not be taken over.
        let id = bid.id;
        let there = gateway.bid_profile(id).await?;
        if there.is_some_and(|there| !principal.role.sees_account(there.buyer)) {
            return Err(Problem::not_found("bid profile"));
        }
    }
    let command = Command::PutBidProfile { bid: Box::new(bid.clone()) };
    gateway.engine().command(command, principal.actor()).await?;
    let change = BidChange { buyer: bid.buyer, bid: bid.id, is_connected: is_connected(&bid) };
    gateway.sessions().tell(change);
    Ok(bid)
}

/// Show a bid profile. Buyers see their own.
#[utoipa::path(get, path = "/v1/bid-profiles/{id}", tag = "bid profiles", params(("id" = BidProfileId, Path)),
    responses((status = 200, body = BidProfile)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<BidProfileId>,
) -> Result<Json<BidProfile>, Problem> {
    visible(&gateway, principal, id).await.map(Json)
}

async fn visible(gateway: &Gateway, principal: Principal, id: BidProfileId) -> Result<BidProfile, Problem> {
    let bid = gateway.bid_profile(id).await?;
    let bid = bid.filter(|bid| principal.role.sees_account(bid.buyer));
    bid.map(|bid| shown(bid, principal)).ok_or_else(|| Problem::not_found("bid profile"))
}

/// Analysts read everything but what opens a live bidder's doors.
fn shown(bid: BidProfile, principal: Principal) -> BidProfile {
    if principal.role == Role::Analyst { bid.without_secrets() } else { bid }
}

/// A bid profile's new status.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusChange {
    /// Paused, or active again.
    status: BidStatus,
}

impl RequestBody for StatusChange {}

/// Pause or resume a bid profile.
#[utoipa::path(patch, path = "/v1/bid-profiles/{id}", tag = "bid profiles", params(("id" = BidProfileId, Path)),
    request_body = StatusChange, responses((status = 200, body = BidProfile)))]
pub(crate) async fn change_status(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<BidProfileId>,
    Body(StatusChange { status }): Body<StatusChange>,
) -> Result<Json<BidProfile>, Problem> {
    visible(&gateway, principal, id).await?;
    gateway.engine().command(Command::SetBidStatus { bid: id, status }, principal.actor()).await?;
    visible(&gateway, principal, id).await.map(Json)
}

/// Which bid profiles to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BidProfileQuery {
    /// Those of this buyer.
    buyer: Option<AccountId>,
    /// Those for this vertical.
    vertical: Option<String>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List bid profiles, oldest first. Buyers see their own.
#[utoipa::path(get, path = "/v1/bid-profiles", tag = "bid profiles", params(BidProfileQuery),
    responses((status = 200, body = Listed<BidProfile>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<BidProfileQuery>,
) -> Result<Json<Listed<BidProfile>>, Problem> {
    let page = request::page(query.after, query.limit)?;
    let buyer = principal.confined_to(query.buyer, "buyer")?;
    let filter = BidProfileFilter { buyer, vertical: query.vertical };
    let listing = gateway.read(move |reader| reader.bid_profiles(&filter, &page)).await?;
    Ok(Json(Listed::from_store(listing, |bid| shown(bid, principal))))
}
