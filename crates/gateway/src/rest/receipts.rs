//! `/v1/calls/{id}/receipt` and `/v1/receipts`: why calls went where they went, as each role may know it.

use super::Listed;
use super::calls::CallQuery;
use crate::access::{Principal, Role};
use crate::problem::Problem;
use crate::request::{self, Part, Query};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::auction::clear::AuctionType;
use exchange::auction::matching::Refusal;
use exchange::auction::receipt::{AuctionReceipt, LiveReceipt, Loss, RankedBid, Receipt, Versions};
use exchange::compliance::verdict::Check;
use exchange::id::{AccountId, CallId};
use exchange::ledger::money::Micros;
use exchange::routing::Algorithm;
use exchange::time::Timestamp;
use infra::store::{CallFilter, Reader};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How a call was decided, without what the asking role may not see: sellers see no bids, prices or buyers; buyers see what
/// became of their own bids, and no floor.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiptView {
    /// The call.
    call: CallId,
    /// When it was decided, in microseconds since 1970.
    decided_at: Timestamp,
    /// What decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<Versions>,
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
    /// How the route plan was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<Algorithm>,
    /// Whether bids were ranked by price and quality rather than by price alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    quality_adjusted: Option<bool>,
    /// The least a bid outside any deal had to offer, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_micros: Option<Micros>,
    /// The call's fraud score, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    fraud_score: Option<u8>,
    /// The seller's quality, 0 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    seller_quality: Option<u16>,
    /// The ping that had won the call before it came: its bid is rung first.
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation: Option<CallId>,
    /// Bids looked at.
    considered: u32,
    /// Of those, how many were refused, by reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<BTreeMap<Refusal, u32>>,
    /// Whether live bidders were asked.
    asked_live_bidders: bool,
    /// What live bidders said, as far as it may be seen.
    live: Vec<LiveReceipt>,
    /// Places in the route plan.
    places: usize,
    /// The route plan, as far as it may be seen.
    ranking: Vec<Place>,
    /// Bids that wanted the call and did not win it, as far as they may be seen.
    lost: Vec<Loss>,
}

/// A place in the route plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Place {
    /// 1 is the winner, 2 the first fall-back, and so on.
    place: usize,
    /// The bid there.
    bid: RankedBid,
}

/// Whether a role may see what became of this buyer's bids.
fn shows(role: Role, buyer: AccountId) -> bool {
    match role {
        Role::Admin | Role::Analyst => true,
        Role::Buyer(own) => own == buyer,
        Role::Seller(_) => false,
    }
}

impl ReceiptView {
    /// `is_party` is whether `role` may know the call itself, and not only that it bid for it.
    fn new(receipt: Receipt, role: Role, is_party: bool) -> Self {
        let is_house = matches!(role, Role::Admin | Role::Analyst);
        Self {
            call: receipt.call,
            decided_at: receipt.decided_at,
            versions: is_house.then_some(receipt.versions),
            screening: if is_party { receipt.screening } else { Vec::new() },
            auction: receipt.auction.map(|auction| AuctionView::new(auction, role)),
            decided_in_ns: receipt.decided_in_ns,
        }
    }
}

impl AuctionView {
    fn new(auction: AuctionReceipt, role: Role) -> Self {
        let is_house = matches!(role, Role::Admin | Role::Analyst);
        // What competitors lack, such as money, is not a buyer's to know; nor is what the house thinks of a seller.
        let is_buyer = matches!(role, Role::Buyer(_));
        let places = auction.ranking.len();
        let asked_live_bidders = !auction.live.is_empty();
        let ranking = auction.ranking.into_iter().enumerate().filter(|(_, bid)| shows(role, bid.buyer));
        let ranking = ranking.map(|(index, bid)| {
            let estimate = bid.estimate.filter(|_| is_house);
            Place { place: index + 1, bid: RankedBid { estimate, ..bid } }
        });
        Self {
            auction_type: auction.auction_type,
            algorithm: is_house.then_some(auction.algorithm),
            quality_adjusted: is_house.then_some(auction.quality_adjusted),
            floor_micros: (!is_buyer).then_some(auction.floor_micros),
            fraud_score: (!is_buyer).then_some(auction.fraud_score),
            seller_quality: (!is_buyer).then_some(auction.seller_quality),
            reservation: auction.reservation.filter(|_| !is_buyer),
            considered: auction.considered,
            refused: (!is_buyer).then_some(auction.refused),
            asked_live_bidders,
            live: auction.live.into_iter().filter(|live| shows(role, live.buyer)).collect(),
            places,
            ranking: ranking.collect(),
            lost: auction.lost.into_iter().filter(|loss| shows(role, loss.buyer)).collect(),
        }
    }
}

/// Show how a call was decided. Buyers see it of every call in whose auction they had a bid: ranked, named among the losers, or live.
/// Bids that did not match the call are only counted, by reason.
#[utoipa::path(get, path = "/v1/calls/{id}/receipt", tag = "calls", params(("id" = CallId, Path)),
    responses((status = 200, body = ReceiptView)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<CallId>,
) -> Result<Json<ReceiptView>, Problem> {
    let role = principal.role;
    let found = gateway.read(move |reader| Ok((reader.call(id)?, reader.receipt(id)?))).await?;
    let (Some(call), receipt) = found else { return Err(Problem::not_found("call")) };
    let is_party = role.sees_call(&call);
    let bid = |receipt: &Receipt| matches!(role, Role::Buyer(own) if receipt.buyers().contains(&own));
    if !is_party && !receipt.as_ref().is_some_and(bid) {
        return Err(Problem::not_found("call"));
    }
    let receipt = receipt.ok_or_else(|| Problem::not_found("receipt"))?;
    Ok(Json(ReceiptView::new(receipt, role, is_party)))
}

/// List how calls were decided, newest call first, by the filters that calls have. Sellers see those of their own calls, buyers
/// those of calls in whose auction they had a bid, won or lost, with the reason and what would have won; with `state` or `outcome`
/// only those of calls that rang or were connected to them.
#[utoipa::path(get, path = "/v1/receipts", tag = "calls", params(CallQuery),
    responses((status = 200, body = Listed<ReceiptView>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<CallQuery>,
) -> Result<Json<Listed<ReceiptView>>, Problem> {
    let filter = query.filter(principal)?;
    let page = request::page(query.after, query.limit)?;
    let role = principal.role;
    // What became of a call is its winner's to know.
    let asks_for_the_end = filter.state.is_some() || filter.outcome.is_some();
    let read = move |reader: &Reader| match role {
        Role::Buyer(own) if !asks_for_the_end => {
            reader.receipts_of_bidder(own, &CallFilter { buyer: None, ..filter }, &page)
        }
        _ => reader.receipts(&filter, &page),
    };
    let listing = gateway.read(read).await?;
    Ok(Json(Listed::from_store(listing, |(call, receipt)| {
        let is_party = role.sees_call(&call);
        ReceiptView::new(receipt, role, is_party)
    })))
}
