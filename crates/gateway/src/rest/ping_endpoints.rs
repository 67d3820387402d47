//! `/v1/ping-endpoints`: URLs for partners that ping as they ping Ringba. An endpoint's secret is shown once, when it is made.

use super::Listed;
use crate::access::Principal;
use crate::ping_endpoint::{PingEndpoint, PingSecret, ROLE_PREFIX};
use crate::problem::{Kind, Problem};
use crate::request::{self, Body, Part, Query, RequestBody};
use crate::state::{Gateway, now};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use exchange::id::AccountId;
use exchange::phone_number::PhoneNumber;
use exchange::time::Timestamp;
use infra::store::{ApiKey, ApiKeyFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A new endpoint.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPingEndpoint {
    /// The tracking number that calls are offered on.
    number: PhoneNumber,
    /// For people: who uses it.
    name: String,
}

impl RequestBody for NewPingEndpoint {}

/// An endpoint, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PingEndpointView {
    /// Its identity; not the secret.
    id: Uuid,
    /// For people.
    name: String,
    /// The tracking number that calls are offered on.
    number: PhoneNumber,
    /// Whose calls they are.
    seller: AccountId,
    /// When it was made, in microseconds since 1970.
    created_at: Timestamp,
    /// Since when it is refused, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    /// The secret, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    rtb_id: Option<String>,
    /// Where to ping, with the secret; `.xml` in place of `.json` answers in XML.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/production/6f0c8d1a5b7e4f329a1d0c3b2e4f5a69.json")]
    path: Option<String>,
}

impl PingEndpointView {
    fn new(key: ApiKey, secret: Option<&PingSecret>) -> Option<Self> {
        let PingEndpoint { seller, number } = PingEndpoint::of(&key)?;
        Some(Self {
            id: key.id,
            name: key.name,
            number,
            seller,
            created_at: key.created_at,
            revoked_at: key.revoked_at,
            rtb_id: secret.map(ToString::to_string),
            path: secret.map(|secret| format!("/v1/production/{secret}.json")),
        })
    }
}

/// Make an endpoint. Sellers make them for their own numbers.
#[utoipa::path(post, path = "/v1/ping-endpoints", tag = "pings", request_body = NewPingEndpoint,
    responses((status = 201, body = PingEndpointView)))]
pub(crate) async fn create(
    State(gateway): State<Gateway>,
    principal: Principal,
    Body(NewPingEndpoint { number, name }): Body<NewPingEndpoint>,
) -> Result<impl IntoResponse, Problem> {
    super::api_keys::check_name(&name)?;
    let listed = gateway.tracking_number(number).await?;
    let listed = listed.filter(|listed| principal.role.sees_account(listed.seller));
    let Some(listed) = listed else {
        return Err(Problem::field(Kind::Invalid, "number", "is not listed", "list the number first"));
    };
    let endpoint = PingEndpoint { seller: listed.seller, number };
    let secret = PingSecret::mint().map_err(|error| Problem::internal(&error))?;
    let key = ApiKey {
        id: Uuid::now_v7(),
        name,
        role: endpoint.role(),
        account: Some(endpoint.seller),
        created_at: now(),
        revoked_at: None,
        session: None,
    };
    let (row, hash) = (key.clone(), secret.hash());
    gateway.engine().insert_api_key(row, hash, principal.actor()).await?;
    Ok((StatusCode::CREATED, Json(PingEndpointView::new(key, Some(&secret)))))
}

/// Which endpoints to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PingEndpointQuery {
    /// Those of this seller's numbers.
    seller: Option<AccountId>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List endpoints, revoked ones too, oldest first. Sellers see their own.
#[utoipa::path(get, path = "/v1/ping-endpoints", tag = "pings", params(PingEndpointQuery),
    responses((status = 200, body = Listed<PingEndpointView>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<PingEndpointQuery>,
) -> Result<Json<Listed<PingEndpointView>>, Problem> {
    let page = request::page(query.after, query.limit)?;
    let account = principal.confined_to(query.seller, "seller")?;
    let filter = ApiKeyFilter { account, role_prefix: Some(ROLE_PREFIX) };
    let listing = gateway.read(move |reader| reader.api_keys(&filter, &page)).await?;
    let items = listing.items.into_iter().filter_map(|key| PingEndpointView::new(key, None)).collect();
    Ok(Json(Listed { items, next: listing.next }))
}

/// Revoke an endpoint, for good, at once. What it has won before stays held.
#[utoipa::path(delete, path = "/v1/ping-endpoints/{id}", tag = "pings", params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub(crate) async fn revoke(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<Uuid>,
) -> Result<StatusCode, Problem> {
    let key = gateway.read(move |reader| reader.api_key(id)).await?;
    let is_theirs = |key: &ApiKey| {
        PingEndpoint::of(key).is_some_and(|endpoint| principal.role.sees_account(endpoint.seller))
    };
    let key = key.filter(is_theirs).ok_or_else(|| Problem::not_found("ping endpoint"))?;
    gateway.revoke_api_key(key, principal.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
