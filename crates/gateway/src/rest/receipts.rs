//! `/v1/calls/{id}/receipt`: why a call went where it went, as each role may know it.

use super::calls::visible;
use crate::access::{Principal, Role};
use crate::problem::Problem;
use crate::request::Part;
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::auction::clear::AuctionType;
use exchange::auction::matching::Refusal;
use exchange::auction::receipt::{AuctionReceipt, RankedBid, Receipt};
use exchange::compliance::verdict::Check;
use exchange::id::CallId;
use exchange::ledger::money::Micros;
use exchange::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How a call was decided, without what the asking role may not see: sellers see no bids, buyers see only their own
/// place and price, and no floor.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiptView {
    /// The call.
    call: CallId,
    /// When it was decided, in microseconds since 1970.
    decided_at: Timestamp,
    /// Every screening rule that was asked, in order.
    screening: Vec<Check>,
    /// The auction; absent when screening refused the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    auction: Option<AuctionView>,
    /// How long the decision took, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_in_ns: Option<u64>,
}

/// How an auction went.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuctionView {
    /// How the price was set.
    auction_type: AuctionType,
    /// The least a bid had to offer, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_micros: Option<Micros>,
    /// Bids looked at.
    considered: u32,
    /// Of those, how many were refused, by reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<BTreeMap<Refusal, u32>>,
    /// Places in the route plan.
    places: usize,
    /// The route plan, as far as it may be seen.
    ranking: Vec<Place>,
}

/// A place in the route plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Place {
    /// 1 is the winner, 2 the first fall-back, and so on.
    place: usize,
    /// The bid there.
    bid: RankedBid,
}

impl ReceiptView {
    fn new(receipt: Receipt, role: Role) -> Self {
        Self {
            call: receipt.call,
            decided_at: receipt.decided_at,
            screening: receipt.screening,
            auction: receipt.auction.map(|auction| AuctionView::new(auction, role)),
            decided_in_ns: receipt.decided_in_ns,
        }
    }
}

impl AuctionView {
    fn new(auction: AuctionReceipt, role: Role) -> Self {
        // What competitors lack, such as money, is not a buyer's to know.
        let tells_competition = !matches!(role, Role::Buyer(_));
        let places = auction.ranking.len();
        let shown = |bid: &RankedBid| match role {
            Role::Admin | Role::Analyst => true,
            Role::Buyer(own) => bid.buyer == own,
            Role::Seller(_) => false,
        };
        let ranking = auction.ranking.into_iter().enumerate().filter(|(_, bid)| shown(bid));
        Self {
            auction_type: auction.auction_type,
            floor_micros: tells_competition.then_some(auction.floor_micros),
            considered: auction.considered,
            refused: tells_competition.then_some(auction.refused),
            places,
            ranking: ranking.map(|(index, bid)| Place { place: index + 1, bid }).collect(),
        }
    }
}

/// Show how a call was decided.
#[utoipa::path(get, path = "/v1/calls/{id}/receipt", tag = "calls", params(("id" = CallId, Path)),
    responses((status = 200, body = ReceiptView)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<CallId>,
) -> Result<Json<ReceiptView>, Problem> {
    visible(&gateway, principal.role, id).await?;
    let receipt = gateway.read(move |reader| reader.receipt(id)).await?;
    let receipt = receipt.ok_or_else(|| Problem::not_found("receipt"))?;
    Ok(Json(ReceiptView::new(receipt, principal.role)))
}
