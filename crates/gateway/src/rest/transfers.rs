//! `/v1/accounts/{id}/transfers` and `/v1/calls/{id}/transfers`: money that moved, as each role may know it.

use super::{Listed, accounts, calls};
use crate::access::{Principal, Role};
use crate::problem::Problem;
use crate::request::{self, Part, Query};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::id::{AccountId, CallId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, TransferReason};
use exchange::time::Timestamp;
use infra::store::BookedTransfer;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Money that moved, once. A buyer sees what enters and leaves its available balance: deposits, holds, and what of them
/// was released; the charge of a call is its hold less its release, once it has one. A seller sees its payouts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TransferView {
    /// Its place in the ledger; later ones have higher numbers.
    seq: i64,
    /// Why it moved.
    reason: TransferReason,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<LedgerAccount>,
    /// Where it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<LedgerAccount>,
    /// How much, in micro-units.
    amount_micros: Micros,
    /// When, in microseconds since 1970.
    at: Timestamp,
}

impl TransferView {
    /// The transfer as `role` may see it, if it may.
    fn new(booked: BookedTransfer, role: Role) -> Option<Self> {
        let BookedTransfer { seq, transfer } = booked;
        let (from, to) = (transfer.from, transfer.to);
        let (from, to) = match role {
            Role::Admin | Role::Analyst => (Some(from), Some(to)),
            Role::Buyer(own) => {
                let available = LedgerAccount::Available(own);
                (from == available || to == available).then_some((Some(from), Some(to)))?
            }
            // The other side of a payout is a buyer.
            Role::Seller(own) => {
                let payable = LedgerAccount::Payable(own);
                let shown = |ledger| (ledger == payable).then_some(ledger);
                (from == payable || to == payable).then_some((shown(from), shown(to)))?
            }
        };
        Some(Self {
            seq,
            reason: transfer.reason,
            from,
            to,
            amount_micros: transfer.amount_micros,
            at: transfer.at,
        })
    }
}

/// Which part of the list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent. A page may hold fewer although more follow: go by `next`.
    limit: Option<u32>,
}

/// List the money an account moved, newest first.
#[utoipa::path(get, path = "/v1/accounts/{id}/transfers", tag = "accounts", params(("id" = AccountId, Path), PageQuery),
    responses((status = 200, body = Listed<TransferView>)))]
pub(crate) async fn of_account(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<AccountId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Listed<TransferView>>, Problem> {
    accounts::visible(&gateway, principal.role, id).await?;
    let page = request::page(query.after, query.limit)?;
    let listing = gateway.read(move |reader| reader.transfers_of_account(id, &page)).await?;
    let items =
        listing.items.into_iter().filter_map(|booked| TransferView::new(booked, principal.role)).collect();
    Ok(Json(Listed { items, next: listing.next }))
}

/// List the money a call moved, in order.
#[utoipa::path(get, path = "/v1/calls/{id}/transfers", tag = "calls", params(("id" = CallId, Path)),
    responses((status = 200, body = Listed<TransferView>)))]
pub(crate) async fn of_call(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<CallId>,
) -> Result<Json<Listed<TransferView>>, Problem> {
    calls::visible(&gateway, principal.role, id).await?;
    let booked = gateway.read(move |reader| reader.transfers_of_call(id)).await?;
    let items = booked.into_iter().filter_map(|booked| TransferView::new(booked, principal.role)).collect();
    Ok(Json(Listed { items, next: None }))
}
