//! `/v1/trading-rules`: how auctions are held and calls are routed, by vertical, seller or number. They are the house's.

use super::Listed;
use crate::access::Principal;
use crate::problem::Problem;
use crate::request::{self, Fields, Part, Query, RequestBody};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::effect::Command;
use exchange::refused::FieldError;
use exchange::trading_rules::{Scope, ScopedRules};
use serde::Deserialize;
use utoipa::IntoParams;

impl RequestBody for ScopedRules {
    fn problems(&self) -> Vec<FieldError> {
        self.problems()
    }
}

/// Set the rules of one scope in place of those it had. What a scope leaves out is as the next wider one has it: number, seller,
/// vertical, house. `scope` may be left out of the body. Sending the same again changes nothing.
#[utoipa::path(put, path = "/v1/trading-rules/{scope}", tag = "trading rules",
    params(("scope" = String, Path, example = "vertical:roofing",
        description = "`vertical:<vertical>`, `seller:<account id>` or `number:<number>`")),
    request_body = ScopedRules, responses((status = 200, body = ScopedRules)))]
pub(crate) async fn put(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(scope): Part<Scope>,
    fields: Fields,
) -> Result<Json<ScopedRules>, Problem> {
    let rules = fields.read_at("scope", &scope, |rules: &ScopedRules| &rules.scope)?;
    gateway
        .engine()
        .command(Command::PutTradingRules { rules: Box::new(rules.clone()) }, principal.actor())
        .await?;
    Ok(Json(rules))
}

/// Show the rules of one scope.
#[utoipa::path(get, path = "/v1/trading-rules/{scope}", tag = "trading rules",
    params(("scope" = String, Path, example = "vertical:roofing")), responses((status = 200, body = ScopedRules)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    Part(scope): Part<Scope>,
) -> Result<Json<ScopedRules>, Problem> {
    let found = gateway.read(move |reader| reader.trading_rules_of(&scope)).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("scope with rules of its own"))
}

/// Which part of the list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TradingRulesQuery {
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List rules in the order of their scopes.
#[utoipa::path(get, path = "/v1/trading-rules", tag = "trading rules", params(TradingRulesQuery),
    responses((status = 200, body = Listed<ScopedRules>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    Query(query): Query<TradingRulesQuery>,
) -> Result<Json<Listed<ScopedRules>>, Problem> {
    let page = request::page(query.after, query.limit)?;
    let listing = gateway.read(move |reader| reader.trading_rules(&page)).await?;
    Ok(Json(Listed::from_store(listing, |rules| rules)))
}
