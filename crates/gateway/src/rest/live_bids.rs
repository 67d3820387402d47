//! `/v1/live-bids`: connected bidders, over a WebSocket.

use crate::access::Principal;
use crate::live_bids::{MESSAGE_BYTES_MAX, Session, WebSocketLine};
use crate::problem::{Kind, Problem};
use crate::request::Query;
use crate::state::Gateway;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;
use exchange::id::AccountId;
use serde::Deserialize;
use utoipa::IntoParams;

/// For whom to bid.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LiveBidQuery {
    /// The buyer; its own key may leave it out.
    buyer: Option<AccountId>,
}

/// Bid live, over a WebSocket (RFC 6455). Each message is a JSON text with a `type`, of at most 64 KiB.
///
/// The exchange sends `bids` (the bid profiles with `live.via` = `connection` that calls are offered to here; a later session takes
/// them over), `bid_request` (as to bidders over HTTP: `id` is the call, `floor` and `currency` say what it must bring, `tmax_ms`
/// how long there is), `notice` (`result` is `won` or `lost`) and `error` (with the fields that cannot be used).
///
/// Answer each request once: `{"type":"bid","call":"<id>","bid":"<bid>","price":"12.50"}`, if you like with `min_connected_s` and
/// `sip_uri`, or `{"type":"no_bid","call":"<id>","bid":"<bid>"}`. An answer that cannot be used is no bid.
///
/// A session that shows no sign of life for a minute, or takes no messages, is ended; a WebSocket ping comes every 20 s.
#[utoipa::path(get, path = "/v1/live-bids", tag = "live bids", params(LiveBidQuery),
    responses((status = 101, description = "The session begins")))]
pub(crate) async fn connect(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<LiveBidQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        let detail = format!("this is a WebSocket (RFC 6455), and the request is not for one: {rejection}");
        Problem::new(Kind::MalformedRequest, detail)
    })?;
    let session = Session::open(gateway, principal, query.buyer, "buyer").await?;
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(|socket| session.run(WebSocketLine::new(socket))))
}
