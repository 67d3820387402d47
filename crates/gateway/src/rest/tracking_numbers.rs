//! `/v1/tracking-numbers`: the numbers sellers offer calls on.

use super::Listed;
use crate::access::Principal;
use crate::problem::Problem;
use crate::request::{self, Fields, Part, Query, RequestBody};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::effect::Command;
use exchange::id::AccountId;
use exchange::phone_number::PhoneNumber;
use exchange::refused::FieldError;
use exchange::tracking_number::TrackingNumber;
use infra::store::TrackingNumberFilter;
use serde::Deserialize;
use utoipa::IntoParams;

impl RequestBody for TrackingNumber {
    fn problems(&self) -> Vec<FieldError> {
        self.problems()
    }
}

/// List a number, or change it. `number` may be left out of the body. Sending the same again changes nothing.
#[utoipa::path(put, path = "/v1/tracking-numbers/{number}", tag = "tracking numbers",
    params(("number" = PhoneNumber, Path)), request_body = TrackingNumber, responses((status = 200, body = TrackingNumber)))]
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(at): Part<PhoneNumber>,
    fields: Fields,
) -> Result<Json<TrackingNumber>, Problem> {
    let number = fields.read_at("number", &at, |number: &TrackingNumber| &number.number)?;
    gateway
        .engine()
        .command(Command::PutTrackingNumber { number: number.clone() }, principal.actor())
        .await?;
    Ok(Json(number))
}

/// Show a number. Sellers see their own.
#[utoipa::path(get, path = "/v1/tracking-numbers/{number}", tag = "tracking numbers",
    params(("number" = PhoneNumber, Path)), responses((status = 200, body = TrackingNumber)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(number): Part<PhoneNumber>,
) -> Result<Json<TrackingNumber>, Problem> {
    let found = gateway.tracking_number(number).await?;
    let found = found.filter(|number| principal.role.sees_account(number.seller));
    found.map(Json).ok_or_else(|| Problem::not_found("tracking number"))
}

/// Which numbers to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TrackingNumberQuery {
    /// Those of this seller.
    seller: Option<AccountId>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List numbers in the order of their digits. Sellers see their own.
#[utoipa::path(get, path = "/v1/tracking-numbers", tag = "tracking numbers", params(TrackingNumberQuery),
    responses((status = 200, body = Listed<TrackingNumber>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<TrackingNumberQuery>,
) -> Result<Json<Listed<TrackingNumber>>, Problem> {
    let page = request::page(query.after, query.limit)?;
    let filter = TrackingNumberFilter { seller: principal.confined_to(query.seller, "seller")? };
    let listing = gateway.read(move |reader| reader.tracking_numbers(&filter, &page)).await?;
    Ok(Json(Listed::from_store(listing, |number| number)))
}
