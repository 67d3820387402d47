//! `/v1/api-keys`: who may call this API. A key's text is shown once, when it is made.

use super::Listed;
use crate::access::Principal;
use crate::api_key::ApiKeyText;
use crate::problem::{Kind, Problem};
use crate::request::{self, Body, Part, Query, RequestBody};
use crate::state::{Gateway, now};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use exchange::account::AccountKind;
use exchange::audit::RoleKind;
use exchange::id::AccountId;
use exchange::time::Timestamp;
use infra::store::{ApiKey, ApiKeyFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A new key.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApiKey {
    /// For people: who or what uses it.
    name: String,
    /// What it may do.
    role: RoleKind,
    /// The buyer's or seller's account, for those roles.
    #[serde(default)]
    account: Option<AccountId>,
}

impl RequestBody for NewApiKey {}

/// A key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeyView {
    /// Its identity: the second part of its text.
    id: Uuid,
    /// For people.
    name: String,
    /// What it may do.
    role: String,
    /// The account it acts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountId>,
    /// When it was made, in microseconds since 1970.
    created_at: Timestamp,
    /// Since when it is refused, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    /// Its text, shown this once: send it as `Authorization: Bearer <key>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl ApiKeyView {
    fn new(key: ApiKey, text: Option<&ApiKeyText>) -> Self {
        let ApiKey { id, name, role, account, created_at, revoked_at, session: _ } = key;
        Self { id, name, role, account, created_at, revoked_at, key: text.map(ToString::to_string) }
    }
}

/// Make a key.
#[utoipa::path(post, path = "/v1/api-keys", tag = "API keys", request_body = NewApiKey,
    responses((status = 201, body = ApiKeyView)))]
pub(crate) async fn create(
    State(gateway): State<Gateway>,
    principal: Principal,
    Body(new): Body<NewApiKey>,
) -> Result<impl IntoResponse, Problem> {
    check_name(&new.name)?;
    check_account(&gateway, new.role, new.account).await?;
    let text = ApiKeyText::mint().map_err(|error| Problem::internal(&error))?;
    let key = ApiKey {
        id: text.id,
        name: new.name,
        role: new.role.name().to_owned(),
        account: new.account,
        created_at: now(),
        revoked_at: None,
        session: None,
    };
    let (row, hash) = (key.clone(), text.secret_hash());
    gateway.engine().insert_api_key(row, hash, principal.actor()).await?;
    Ok((StatusCode::CREATED, Json(ApiKeyView::new(key, Some(&text)))))
}

/// A name for people, as commands have it.
pub(super) fn check_name(name: &str) -> Result<(), Problem> {
    if name.trim().is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
        let problem = "is empty, longer than 200 bytes, or has control characters";
        return Err(Problem::field(Kind::Invalid, "name", problem, "give a short name"));
    }
    Ok(())
}

/// A buyer's or seller's key names an account of that kind, other keys none.
async fn check_account(gateway: &Gateway, role: RoleKind, account: Option<AccountId>) -> Result<(), Problem> {
    let invalid = |problem, fix| Err(Problem::field(Kind::Invalid, "account", problem, fix));
    let kind = match role {
        RoleKind::Buyer => AccountKind::Buyer,
        RoleKind::Seller => AccountKind::Seller,
        RoleKind::Admin | RoleKind::Analyst if account.is_some() => {
            return invalid("is set for a role that has none", "leave it out");
        }
        RoleKind::Admin | RoleKind::Analyst => return Ok(()),
    };
    let Some(id) = account else { return invalid("is missing", "name the account the key acts for") };
    match gateway.account(id).await? {
        Some(account) if account.kind == kind => Ok(()),
        Some(_) => {
            invalid("is not of the kind that the role is for", "name a buyer for buyer, a seller for seller")
        }
        None => invalid("does not exist", "open it first"),
    }
}

/// Which part of the list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApiKeyQuery {
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List keys, revoked ones too, oldest first.
#[utoipa::path(get, path = "/v1/api-keys", tag = "API keys", params(ApiKeyQuery),
    responses((status = 200, body = Listed<ApiKeyView>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    Query(query): Query<ApiKeyQuery>,
) -> Result<Json<Listed<ApiKeyView>>, Problem> {
    let page = request::page(query.after, query.limit)?;
    let listing = gateway.read(move |reader| reader.api_keys(&ApiKeyFilter::default(), &page)).await?;
    Ok(Json(Listed::from_store(listing, |key| ApiKeyView::new(key, None))))
}

/// Revoke a key with its sessions, for good, at once.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "API keys", params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub(crate) async fn revoke(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<Uuid>,
) -> Result<StatusCode, Problem> {
    let key = gateway.read(move |reader| reader.api_key(id)).await?;
    let key = key.filter(|key| key.session.is_none()).ok_or_else(|| Problem::not_found("API key"))?;
    gateway.revoke_api_key(key, principal.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
