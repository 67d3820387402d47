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
use infra::store::{BookedTransfer, Listing, Page, Reader, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Money that moved, once. A buyer sees its whole statement: what it has available plus what is held for it is the sum of what
/// entered less what left; the two parts of a charge, which are others' business, are one. A seller sees its payouts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TransferView {
    /// Its place in the ledger; later ones have higher numbers.
    seq: i64,
    /// Why it moved.
    reason: Reason,
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

/// Why money moved: as it is booked, or, for the buyer of a call, its charge.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Reason {
    Booked(TransferReason),
    OfBuyer(BuyerReason),
}

/// What left a buyer's held money for good, and what came back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub(crate) enum BuyerReason {
    /// The call converted.
    Charge {
        /// The call.
        call: CallId,
    },
    /// The buyer's reported revenue from the call added to its charge.
    RevenueCharge {
        /// The call.
        call: CallId,
    },
    /// The charge went back: the buyer disputed the call, and was right.
    Refund {
        /// The call.
        call: CallId,
    },
}

impl TransferView {
    fn new(booked: BookedTransfer) -> Self {
        let BookedTransfer { seq, transfer } = booked;
        Self {
            seq,
            reason: Reason::Booked(transfer.reason),
            from: Some(transfer.from),
            to: Some(transfer.to),
            amount_micros: transfer.amount_micros,
            at: transfer.at,
        }
    }

    /// The transfer as `role` may see it, if it may.
    fn for_role(reader: &Reader, booked: BookedTransfer, role: Role) -> Result<Option<Self>, StoreError> {
        match role {
            Role::Admin | Role::Analyst => Ok(Some(Self::new(booked))),
            Role::Buyer(own) => Self::for_buyer(reader, booked, own),
            Role::Seller(own) => Ok(Self::for_seller(booked, own)),
        }
    }

    /// A charge is told once, with its payout, or with its margin where the house keeps it all.
    fn for_buyer(
        reader: &Reader,
        booked: BookedTransfer,
        own: AccountId,
    ) -> Result<Option<Self>, StoreError> {
        let own_ledgers = [LedgerAccount::Available(own), LedgerAccount::Held(own)];
        let is_own = |ledger: &LedgerAccount| own_ledgers.contains(ledger);
        let (charge, [payout, margin]) = match booked.transfer.reason {
            _ if !is_own(&booked.transfer.from) && !is_own(&booked.transfer.to) => return Ok(None),
            TransferReason::Payout { call } | TransferReason::Margin { call } => {
                let parts = [TransferReason::Payout { call }, TransferReason::Margin { call }];
                (BuyerReason::Charge { call }, parts)
            }
            TransferReason::RevenuePayout { call } | TransferReason::RevenueMargin { call } => {
                let parts = [TransferReason::RevenuePayout { call }, TransferReason::RevenueMargin { call }];
                (BuyerReason::RevenueCharge { call }, parts)
            }
            TransferReason::RefundPayout { call } | TransferReason::RefundMargin { call } => {
                let parts = [TransferReason::RefundPayout { call }, TransferReason::RefundMargin { call }];
                (BuyerReason::Refund { call }, parts)
            }
            TransferReason::Deposit { .. } | TransferReason::Hold { .. } | TransferReason::Release { .. } => {
                return Ok(Some(Self::new(booked)));
            }
        };
        let is_payout = booked.transfer.reason == payout;
        let other = reader.transfer(if is_payout { &margin } else { &payout })?;
        let other = other.map(|other| other.transfer.amount_micros);
        if other.is_some() && !is_payout {
            return Ok(None);
        }
        let amount_micros = Micros(booked.transfer.amount_micros.0 + other.unwrap_or_default().0);
        let own_side = |ledger: LedgerAccount| is_own(&ledger).then_some(ledger);
        let (from, to) = (own_side(booked.transfer.from), own_side(booked.transfer.to));
        Ok(Some(Self { reason: Reason::OfBuyer(charge), from, to, amount_micros, ..Self::new(booked) }))
    }

    /// The other side of a payout is a buyer.
    fn for_seller(booked: BookedTransfer, own: AccountId) -> Option<Self> {
        let payable = LedgerAccount::Payable(own);
        let shown = |ledger| (ledger == payable).then_some(ledger);
        let (from, to) = (shown(booked.transfer.from), shown(booked.transfer.to));
        (from.is_some() || to.is_some()).then(|| Self { from, to, ..Self::new(booked) })
    }
}

/// Which part of the list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
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
    let listing = gateway.read(move |reader| statement(reader, id, principal.role, &page)).await?;
    Ok(Json(Listed { items: listing.items, next: listing.next }))
}

/// Reads on until the page is full of what `role` may see: at least every second transfer of an account is.
fn statement(
    reader: &Reader,
    account: AccountId,
    role: Role,
    page: &Page,
) -> Result<Listing<TransferView>, StoreError> {
    let mut items = Vec::new();
    let mut next = page.clone();
    loop {
        let listing = reader.transfers_of_account(account, &next)?;
        next.after = listing.next;
        for booked in listing.items {
            items.extend(TransferView::for_role(reader, booked, role)?);
        }
        next.limit = page.limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        if next.limit == 0 || next.after.is_none() {
            return Ok(Listing { items, next: next.after });
        }
    }
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
    let role = principal.role;
    let read = move |reader: &Reader| {
        let booked = reader.transfers_of_call(id)?;
        booked
            .into_iter()
            .filter_map(|booked| TransferView::for_role(reader, booked, role).transpose())
            .collect()
    };
    Ok(Json(Listed { items: gateway.read(read).await?, next: None }))
}
