//! `/v1/accounts`: buyers and sellers.

use super::Listed;
use crate::access::{Principal, Role};
use crate::problem::{Kind, Problem};
use crate::request::{self, Body, Part, Query, RequestBody};
use crate::state::{Gateway, now};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use engine::CommandError;
use exchange::account::{Account, AccountKind, AccountStatus};
use exchange::effect::Command;
use exchange::id::AccountId;
use exchange::ledger::money::{Currency, Micros};
use exchange::refused::FieldError;
use exchange::schedule::ZoneName;
use exchange::time::Timestamp;
use infra::store::AccountFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A new account.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    /// Its id, a UUID of your own: sending the request again then opens no second account. Drawn when absent.
    #[serde(default)]
    id: Option<AccountId>,
    /// Buyer or seller.
    kind: AccountKind,
    /// For people.
    name: String,
    /// Pending when absent: it trades once it is set to active.
    #[serde(default = "pending")]
    status: AccountStatus,
    /// IANA name; UTC when absent.
    #[serde(default)]
    time_zone: ZoneName,
    /// ISO 4217; USD when absent.
    #[serde(default = "dollars")]
    currency: Currency,
    /// How far below zero a buyer's balance may go, in micro-units; 0, prepaid, when absent.
    #[serde(default)]
    credit_limit_micros: Micros,
}

impl RequestBody for NewAccount {
    fn problems(&self) -> Vec<FieldError> {
        self.opened(AccountId(Uuid::nil()), Timestamp(0)).problems()
    }
}

impl NewAccount {
    /// The account, with an id of its own if it has none.
    fn opened(&self, id: AccountId, opened_at: Timestamp) -> Account {
        Account {
            id: self.id.unwrap_or(id),
            kind: self.kind,
            name: self.name.clone(),
            status: self.status,
            time_zone: self.time_zone.clone(),
            currency: self.currency,
            credit_limit_micros: self.credit_limit_micros,
            opened_at,
        }
    }
}

fn pending() -> AccountStatus {
    AccountStatus::Pending
}

fn dollars() -> Currency {
    Currency::USD
}

/// Open an account. Sending the same again, with its id, changes nothing and is answered with 200.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", request_body = NewAccount,
    responses((status = 201, body = Account), (status = 200, description = "It was open already", body = Account)))]
pub(crate) async fn open(
    State(gateway): State<Gateway>,
    principal: Principal,
    Body(new): Body<NewAccount>,
) -> Result<impl IntoResponse, Problem> {
    let account = new.opened(AccountId(Uuid::now_v7()), now());
    let command = Command::OpenAccount { account: account.clone() };
    let opened = gateway.engine().command(command, principal.actor()).await;
    let (status, account) = match opened {
        Ok(()) => (StatusCode::CREATED, account),
        Err(CommandError::Conflict(why)) => {
            let id = account.id;
            let there = gateway.account(id).await?;
            let is_same =
                |there: &Account| Account { opened_at: there.opened_at, ..account.clone() } == *there;
            let there = there.filter(is_same).ok_or_else(|| Problem::new(Kind::Conflict, why))?;
            (StatusCode::OK, there)
        }
        Err(error) => return Err(error.into()),
    };
    let location = format!("/v1/accounts/{}", account.id);
    Ok((status, [(header::LOCATION, location)], Json(account)))
}

/// Which accounts to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccountQuery {
    /// Buyers or sellers.
    kind: Option<AccountKind>,
    /// Those of this status.
    status: Option<AccountStatus>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List accounts, oldest first. Buyers and sellers see their own.
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", params(AccountQuery),
    responses((status = 200, body = Listed<Account>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<AccountQuery>,
) -> Result<Json<Listed<Account>>, Problem> {
    if let Some(own) = principal.role.account() {
        let account = gateway.account(own).await?;
        let wanted = |account: &Account| {
            query.kind.is_none_or(|kind| kind == account.kind)
                && query.status.is_none_or(|status| status == account.status)
        };
        return Ok(Json(Listed { items: account.into_iter().filter(wanted).collect(), next: None }));
    }
    let page = request::page(query.after, query.limit)?;
    let filter = AccountFilter { kind: query.kind, status: query.status };
    let listing = gateway.read(move |reader| reader.accounts(&filter, &page)).await?;
    Ok(Json(Listed::from_store(listing, |account| account)))
}

/// Show an account.
#[utoipa::path(get, path = "/v1/accounts/{id}", tag = "accounts", params(("id" = AccountId, Path)),
    responses((status = 200, body = Account)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<AccountId>,
) -> Result<Json<Account>, Problem> {
    visible(&gateway, principal.role, id).await.map(Json)
}

/// The account, if there is one and `role` may know it.
pub(super) async fn visible(gateway: &Gateway, role: Role, id: AccountId) -> Result<Account, Problem> {
    if !role.sees_account(id) {
        return Err(Problem::not_found("account"));
    }
    let account = gateway.account(id).await?;
    account.ok_or_else(|| Problem::not_found("account"))
}

/// Changes to an account.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountChange {
    /// Its new status.
    #[serde(default)]
    status: Option<AccountStatus>,
    /// How far below zero a buyer's balance may go, in micro-units.
    #[serde(default)]
    credit_limit_micros: Option<Micros>,
}

impl RequestBody for AccountChange {}

/// Change an account's status or credit limit: one of them a request, so that a request comes about whole or not at all.
#[utoipa::path(patch, path = "/v1/accounts/{id}", tag = "accounts", params(("id" = AccountId, Path)),
    request_body = AccountChange, responses((status = 200, body = Account)))]
pub(crate) async fn change(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<AccountId>,
    Body(change): Body<AccountChange>,
) -> Result<Json<Account>, Problem> {
    let command = match (change.status, change.credit_limit_micros) {
        (Some(status), None) => Command::SetAccountStatus { account: id, status },
        (None, Some(credit_limit_micros)) => Command::SetCreditLimit { account: id, credit_limit_micros },
        _ => {
            let fix = "send one of status and credit_limit_micros";
            return Err(Problem::field(Kind::Invalid, "body", "changes nothing, or two things at once", fix));
        }
    };
    gateway.engine().command(command, principal.actor()).await?;
    visible(&gateway, principal.role, id).await.map(Json)
}
