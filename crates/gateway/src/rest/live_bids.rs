//! `/v1/live-bids`: connected bidders, over a WebSocket.

use crate::access::Principal;
use crate::live_bids::{MESSAGE_BYTES_MAX, Session, TooMany};
use crate::problem::{Kind, Problem};
use crate::request::Query;
use crate::state::Gateway;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;
use exchange::account::AccountKind;
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
    let Some(buyer) = principal.confined_to(query.buyer, "buyer")? else {
        let fix = "name the buyer to bid for";
        return Err(Problem::field(Kind::MalformedRequest, "buyer", "is missing", fix));
    };
    let account = gateway.read(move |reader| reader.account(buyer)).await?;
    if !account.is_some_and(|account| account.kind == AccountKind::Buyer) {
        return Err(Problem::field(Kind::MalformedRequest, "buyer", "is no buyer's account", "check the id"));
    }
    let upgrade = upgrade.map_err(|rejection| {
        let detail = format!("this is a WebSocket (RFC 6455), and the request is not for one: {rejection}");
        Problem::new(Kind::MalformedRequest, detail)
    })?;
    let place = gateway.sessions().open(principal.key).map_err(|too_many| match too_many {
        TooMany::OfKey { most } => {
            let detail = format!("this key has {most} sessions, the most there may be; end one first");
            Problem::new(Kind::RateLimited, detail).with_retry_after_s(5)
        }
        TooMany::OfAll => Problem::new(Kind::Overloaded, "too many live bid sessions; try again later"),
    })?;
    let session = Session::open(gateway, buyer, principal.key, place).await?;
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(|socket| session.run(socket)))
}
