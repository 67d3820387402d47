//! `/v1/cap-groups`: caps that several bids of one buyer share.

use super::Listed;
use crate::access::Principal;
use crate::problem::Problem;
use crate::request::{self, Fields, Part, Query, RequestBody};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::bid::caps::CapGroup;
use exchange::effect::Command;
use exchange::id::{AccountId, CapGroupId};
use exchange::refused::FieldError;
use exchange::schedule::ZoneName;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;
use uuid::Uuid;

impl RequestBody for CapGroup {
    fn problems(&self) -> Vec<FieldError> {
        self.problems()
    }

    fn stand_in() -> Map<String, Value> {
        request::members(&Self {
            id: CapGroupId(Uuid::nil()),
            buyer: AccountId(Uuid::nil()),
            name: "any".to_owned(),
            time_zone: ZoneName::default(),
            concurrent_calls: None,
            limits: Vec::new(),
        })
    }
}

/// Set a group up, or change it. Bids join it by naming it in `caps.group`. `id` may be left out of the body. Sending the same again changes nothing.
#[utoipa::path(put, path = "/v1/cap-groups/{id}", tag = "cap groups", params(("id" = CapGroupId, Path)),
    request_body = CapGroup, responses((status = 200, body = CapGroup)))]
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<CapGroupId>,
    fields: Fields,
) -> Result<Json<CapGroup>, Problem> {
    let group = fields.read_at("id", &id, |group: &CapGroup| &group.id)?;
    principal.confined_to(Some(group.buyer), "buyer")?;
    // Ids cannot be guessed, but they may leak: that there is such a group is not another buyer's to know.
    let there = gateway.read(move |reader| reader.cap_group(id)).await?;
    if there.is_some_and(|there| !principal.role.sees_account(there.buyer)) {
        return Err(Problem::not_found("cap group"));
    }
    gateway.engine().command(Command::PutCapGroup { group: group.clone() }, principal.actor()).await?;
    Ok(Json(group))
}

/// Show a group. Buyers see their own.
#[utoipa::path(get, path = "/v1/cap-groups/{id}", tag = "cap groups", params(("id" = CapGroupId, Path)),
    responses((status = 200, body = CapGroup)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<CapGroupId>,
) -> Result<Json<CapGroup>, Problem> {
    let group = gateway.read(move |reader| reader.cap_group(id)).await?;
    let group = group.filter(|group| principal.role.sees_account(group.buyer));
    group.map(Json).ok_or_else(|| Problem::not_found("cap group"))
}

/// Which groups to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CapGroupQuery {
    /// Those of this buyer.
    buyer: Option<AccountId>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List groups in the order of their ids. Buyers see their own.
#[utoipa::path(get, path = "/v1/cap-groups", tag = "cap groups", params(CapGroupQuery),
    responses((status = 200, body = Listed<CapGroup>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<CapGroupQuery>,
) -> Result<Json<Listed<CapGroup>>, Problem> {
    let page = request::page(query.after, query.limit)?;
    let buyer = principal.confined_to(query.buyer, "buyer")?;
    let listing = gateway.read(move |reader| reader.cap_groups(buyer, &page)).await?;
    Ok(Json(Listed::from_store(listing, |group| group)))
}
