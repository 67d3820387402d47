//! `/v1/accounts/{id}/balance` and `/v1/accounts/{id}/deposits`: an account's money.

use super::accounts::visible;
use crate::access::Principal;
use crate::problem::{Kind, Problem};
use crate::request::{Body, Part, RequestBody};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::account::AccountKind;
use exchange::effect::Command;
use exchange::id::AccountId;
use exchange::ledger::money::{Currency, Micros};
use exchange::ledger::transfer::TransferReason;
use infra::store::Balances;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an account has. A buyer has the first four amounts, a seller the last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Balance {
    /// The account.
    account: AccountId,
    /// The currency of the amounts.
    currency: Currency,
    /// What can be spent without going below zero, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    available_micros: Option<Micros>,
    /// Set aside for calls in progress, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_micros: Option<Micros>,
    /// How far below zero the available amount may go, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    credit_limit_micros: Option<Micros>,
    /// Available and credit together: what a new call may cost, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    spendable_micros: Option<Micros>,
    /// Earned and not yet paid out, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    payable_micros: Option<Micros>,
}

/// Show what an account has.
#[utoipa::path(get, path = "/v1/accounts/{id}/balance", tag = "accounts", params(("id" = AccountId, Path)),
    responses((status = 200, body = Balance)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<AccountId>,
) -> Result<Json<Balance>, Problem> {
    balance(&gateway, principal, id).await.map(Json)
}

async fn balance(gateway: &Gateway, principal: Principal, id: AccountId) -> Result<Balance, Problem> {
    let account = visible(gateway, principal.role, id).await?;
    let Balances { available_micros, held_micros, payable_micros } =
        gateway.read(move |reader| reader.balances(id)).await?;
    let buyer = |micros| (account.kind == AccountKind::Buyer).then_some(micros);
    Ok(Balance {
        account: id,
        currency: account.currency,
        available_micros: buyer(available_micros),
        held_micros: buyer(held_micros),
        credit_limit_micros: buyer(account.credit_limit_micros),
        spendable_micros: available_micros.checked_add(account.credit_limit_micros).and_then(buyer),
        payable_micros: (account.kind == AccountKind::Seller).then_some(payable_micros),
    })
}

/// A payment to book.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deposit {
    /// How much, in micro-units.
    amount_micros: Micros,
    /// The payment's own reference; the same one again, with the same amount, books nothing and answers the same.
    reference: String,
}

impl RequestBody for Deposit {}

/// Book a buyer's payment, and answer with its balance.
#[utoipa::path(post, path = "/v1/accounts/{id}/deposits", tag = "accounts", params(("id" = AccountId, Path)),
    request_body = Deposit, responses((status = 200, body = Balance)))]
pub(crate) async fn deposit(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<AccountId>,
    Body(Deposit { amount_micros, reference }): Body<Deposit>,
) -> Result<Json<Balance>, Problem> {
    let reason = TransferReason::Deposit { account: id, reference: reference.clone() };
    let command = Command::Deposit { account: id, amount_micros, reference };
    gateway.engine().command(command, principal.actor()).await?;
    let booked = gateway.read(move |reader| reader.transfer(&reason)).await?;
    if let Some(booked) = booked.filter(|booked| booked.transfer.amount_micros != amount_micros) {
        let was = booked.transfer.amount_micros;
        let detail =
            format!("this reference was booked before, with {was}; give another payment its own reference");
        return Err(Problem::new(Kind::Conflict, detail));
    }
    balance(&gateway, principal, id).await.map(Json)
}
