//! `/v1/calls/{id}/dispute` and `/v1/disputes`: a buyer says that a call was not what it was charged for, and the house decides.

use super::Listed;
use super::calls::visible;
use crate::access::{Principal, Role};
use crate::problem::{Kind, Problem};
use crate::request::{self, Body, Part, Query, RequestBody};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::call::{Call, CallState, Outcome};
use exchange::dispute::{ChargedCall, Dispute, DisputeReason, DisputeStage};
use exchange::effect::Command;
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::time::Timestamp;
use infra::store::DisputeFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A dispute, without what the asking role may not see: a seller sees neither the buyer nor the charge, a buyer neither the seller nor
/// what it earned.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DisputeView {
    /// The call.
    call: CallId,
    /// Who disputes.
    #[serde(skip_serializing_if = "Option::is_none")]
    buyer: Option<AccountId>,
    /// The bid that was connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    bid: Option<BidProfileId>,
    /// Who earned.
    #[serde(skip_serializing_if = "Option::is_none")]
    seller: Option<AccountId>,
    /// What the buyer was charged, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    charge_micros: Option<Micros>,
    /// What the seller earned, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    payout_micros: Option<Micros>,
    /// What is wrong with the call.
    reason: DisputeReason,
    /// In the buyer's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    /// When it was disputed, in microseconds since 1970.
    disputed_at: Timestamp,
    /// How far it has come.
    #[serde(flatten)]
    stage: DisputeStage,
}

impl DisputeView {
    fn new(dispute: Dispute, role: Role) -> Self {
        let Dispute { charged, reason, note, disputed_at, stage } = dispute;
        let (is_buyer, is_seller) = (matches!(role, Role::Buyer(_)), matches!(role, Role::Seller(_)));
        Self {
            call: charged.call,
            buyer: (!is_seller).then_some(charged.buyer),
            bid: (!is_seller).then_some(charged.bid),
            seller: (!is_buyer).then_some(charged.seller),
            charge_micros: (!is_seller).then_some(charged.charge_micros()),
            payout_micros: (!is_buyer).then_some(charged.payout_micros),
            reason,
            note,
            disputed_at,
            stage,
        }
    }
}

impl Role {
    fn sees_dispute(self, dispute: &Dispute) -> bool {
        match self {
            Self::Admin | Self::Analyst => true,
            Self::Buyer(own) => dispute.charged.buyer == own,
            Self::Seller(own) => dispute.charged.seller == own,
        }
    }
}

/// What is wrong with a call.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDispute {
    /// Which of these it is.
    reason: DisputeReason,
    /// In your own words, at most 500 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl RequestBody for NewDispute {}

/// Dispute a call that was charged, once, within 7 days of its end.
///
/// A call sold for a share of the revenue can be disputed once its revenue is reported, or the time for that is over. The same dispute
/// again changes nothing; another one is refused with 409.
#[utoipa::path(post, path = "/v1/calls/{id}/dispute", tag = "calls", params(("id" = CallId, Path)),
    request_body = NewDispute, responses((status = 200, body = DisputeView)))]
pub(crate) async fn open(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<CallId>,
    Body(NewDispute { reason, note }): Body<NewDispute>,
) -> Result<Json<DisputeView>, Problem> {
    let call = visible(&gateway, principal.role, id).await?;
    let charged = charged(&call, principal.role)?;
    let opened = gateway.read(move |reader| reader.dispute(id)).await?;
    if opened.is_none_or(|opened| opened.reason != reason || opened.note != note) {
        let command = Command::DisputeCall { charged: Box::new(charged), reason, note };
        gateway.engine().command(command, principal.actor()).await?;
    }
    of_call(&gateway, principal.role, id).await
}

/// What was charged for the call, if this role may dispute it.
fn charged(call: &Call, role: Role) -> Result<ChargedCall, Problem> {
    let conflict = |why: &str| Problem::new(Kind::Conflict, why);
    let Some(charged) = ChargedCall::of(call) else {
        return Err(conflict(match &call.state {
            CallState::Ended { outcome: Outcome::Converted { .. }, .. }
                if call.awaited_revenue().is_some() =>
            {
                "the revenue from the call is not reported yet; report it, then dispute"
            }
            CallState::Ended { .. } => "nothing was charged for the call",
            _ => "the call has not ended; dispute it when it has",
        }));
    };
    if matches!(role, Role::Buyer(own) if own != charged.buyer) {
        return Err(conflict("the call was sold to somebody else"));
    }
    Ok(charged)
}

/// What the house decided.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    /// Whether the buyer is right: its charge goes back, out of the seller's payout and the house's margin.
    upheld: bool,
}

impl RequestBody for Decision {}

/// Decide a dispute, once. The same decision again changes nothing; another one is refused with 409.
#[utoipa::path(put, path = "/v1/calls/{id}/dispute", tag = "calls", params(("id" = CallId, Path)),
    request_body = Decision, responses((status = 200, body = DisputeView)))]
pub(crate) async fn decide(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<CallId>,
    Body(Decision { upheld }): Body<Decision>,
) -> Result<Json<DisputeView>, Problem> {
    gateway.engine().command(Command::SettleDispute { call: id, upheld }, principal.actor()).await?;
    of_call(&gateway, principal.role, id).await
}

/// Show the dispute of a call.
#[utoipa::path(get, path = "/v1/calls/{id}/dispute", tag = "calls", params(("id" = CallId, Path)),
    responses((status = 200, body = DisputeView)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<CallId>,
) -> Result<Json<DisputeView>, Problem> {
    of_call(&gateway, principal.role, id).await
}

async fn of_call(gateway: &Gateway, role: Role, id: CallId) -> Result<Json<DisputeView>, Problem> {
    let dispute = gateway.read(move |reader| reader.dispute(id)).await?;
    let dispute = dispute.filter(|dispute| role.sees_dispute(dispute));
    let dispute = dispute.ok_or_else(|| Problem::not_found("dispute"))?;
    Ok(Json(DisputeView::new(dispute, role)))
}

/// How far a dispute has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StageName {
    /// The house has not decided.
    Open,
    /// The charge stands.
    Rejected,
    /// The charge went back.
    Upheld,
}

/// Which disputes are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DisputeQuery {
    /// Those of this buyer.
    buyer: Option<AccountId>,
    /// Those of this seller's calls.
    seller: Option<AccountId>,
    /// Those that have come this far.
    stage: Option<StageName>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List disputes, newest call first. Buyers and sellers see their own.
#[utoipa::path(get, path = "/v1/disputes", tag = "calls", params(DisputeQuery),
    responses((status = 200, body = Listed<DisputeView>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<DisputeQuery>,
) -> Result<Json<Listed<DisputeView>>, Problem> {
    let (seller, buyer) = principal.sides(query.seller, query.buyer)?;
    let stage = query.stage.map(|stage| match stage {
        StageName::Open => "open".to_owned(),
        StageName::Rejected => "rejected".to_owned(),
        StageName::Upheld => "upheld".to_owned(),
    });
    let filter = DisputeFilter { buyer, seller, stage };
    let page = request::page(query.after, query.limit)?;
    let listing = gateway.read(move |reader| reader.disputes(&filter, &page)).await?;
    Ok(Json(Listed::from_store(listing, |dispute| DisputeView::new(dispute, principal.role))))
}
