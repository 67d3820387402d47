//! Session timers of the two legs (RFC 4028): ours to refresh, or the peer's to be waited for.

use super::relay::{PendingInvite, refuse_short_interval};
use super::{Bridge, CallerState, Side};
use crate::body::Body;
use crate::field::read_number;
use crate::header::Name;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::session_timer::TimerDue;
use crate::signalling::{Leg, Owner, REFRESH_RETRY_MS, Refresh, Signalling};
use crate::transaction::{ClientId, ServerId, TableFull};
use exchange::id::CallId;
use exchange::time::Timestamp;

impl Bridge {
    pub(super) fn side_refreshing_with(&self, id: ClientId) -> Option<Side> {
        let refreshes =
            |refresh: &Option<Refresh>| refresh.as_ref().is_some_and(|refresh| refresh.client == id);
        if refreshes(&self.caller.leg.refresh) {
            return Some(Side::Caller);
        }
        self.target.as_ref().is_some_and(|target| refreshes(&target.leg.refresh)).then_some(Side::Target)
    }

    /// Whether a re-INVITE of our own is in progress on either leg.
    pub(super) fn has_invite_refresh(&self) -> bool {
        let is_invite = |refresh: &Option<Refresh>| {
            refresh.as_ref().is_some_and(|refresh| refresh.method == Method::Invite)
        };
        is_invite(&self.caller.leg.refresh)
            || self.target.as_ref().is_some_and(|target| is_invite(&target.leg.refresh))
    }

    pub(super) fn check_session_timer(&mut self, side: Side, cx: &mut Signalling, now: Timestamp) {
        let is_up = match side {
            Side::Caller => self.caller.state == CallerState::Talking,
            Side::Target => self.target.as_ref().is_some_and(super::TargetLeg::is_up),
        };
        let Some(leg) = self.leg_mut(side).filter(|_| is_up) else { return };
        match leg.timer.take_due(now) {
            None => {}
            Some(TimerDue::Expired) => self.lose_peer(cx, now),
            Some(TimerDue::Refresh) => self.refresh(side, cx, now),
        }
    }

    /// UPDATE where the peer takes it and nothing is to be said, else a re-INVITE with what the peer last had from us.
    pub(super) fn refresh(&mut self, side: Side, cx: &mut Signalling, now: Timestamp) {
        let relays_invite = matches!(self.pending_invite(), Some(PendingInvite::RelayedFrom(_)));
        let moves_caller = side == Side::Caller && self.handover_invite().is_some();
        let call = self.id;
        let Some(leg) = self.leg_mut(side) else { return };
        let updates = leg.allows_update && !leg.owes_description;
        let method = if updates { Method::Update } else { Method::Invite };
        if leg.refresh.is_some() || ((relays_invite || moves_caller) && method == Method::Invite) {
            return leg.timer.retry_refresh(REFRESH_RETRY_MS, now);
        }
        match send_session(leg, &method, call, cx, now) {
            Ok(client) => {
                let has_offer = method == Method::Invite && leg.sent_body.is_some();
                leg.refresh = Some(Refresh { client, method, has_offer });
            }
            Err(_) => leg.timer.retry_refresh(REFRESH_RETRY_MS, now),
        }
    }

    pub(super) fn on_refresh_response(
        &mut self,
        side: Side,
        response: &Response,
        cx: &mut Signalling,
        now: Timestamp,
    ) {
        if response.is_provisional() {
            return;
        }
        let Some(leg) = self.leg_mut(side) else { return };
        let Some(Refresh { client, method, has_offer }) = leg.refresh.take() else { return };
        let is_invite = method == Method::Invite;
        match response.status {
            200..=299 => {
                leg.dialog.refresh_target(&response.headers);
                leg.timer.settle(&response.headers, now);
                if let Some(body) = Body::of(&response.headers, &response.body).filter(|_| is_invite) {
                    leg.received_body = Some(body);
                }
                if is_invite {
                    leg.owes_description = false;
                    let number = response.headers.cseq().map_or(0, |cseq| cseq.number);
                    acknowledge(leg, client, number, has_offer, cx);
                }
            }
            408 | 481 => self.lose_peer(cx, now),
            405 | 501 if method == Method::Update => {
                leg.allows_update = false;
                self.refresh(side, cx, now);
            }
            422 => {
                leg.timer.raise_to(response.headers.get(Name::MinSe).and_then(read_number).unwrap_or(0));
                leg.timer.retry_refresh(REFRESH_RETRY_MS, now);
            }
            status => {
                // Glare and haste pass; what the peer refuses for good is not asked of it again soon.
                let passes = !leg.owes_description || matches!(status, 491 | 500..=599);
                let quarter_ms = u64::from(leg.timer.interval_s()) * 250;
                leg.owes_description &= passes;
                leg.timer.retry_refresh(if passes { REFRESH_RETRY_MS } else { quarter_ms }, now);
            }
        }
    }

    /// The peer's own refresh by UPDATE concerns only its leg.
    pub(super) fn on_refresh(
        &mut self,
        side: Side,
        id: ServerId,
        update: &Request,
        cx: &mut Signalling,
        now: Timestamp,
    ) {
        if let Err(response) = refuse_short_interval(update, cx) {
            return cx.answer_with(id, response, now);
        }
        let session_expires_s = cx.config.session_expires_s;
        let mut response = update.reply(200);
        let Some(leg) = self.connected_leg_mut(side) else {
            return cx.answer_with(id, update.reply(500).with(Name::RetryAfter, 1), now);
        };
        leg.dialog.refresh_target(&update.headers);
        cx.introduce(&mut response.headers, leg.peer);
        leg.agree_on_session(&update.headers, &mut response.headers, session_expires_s, now);
        cx.answer_with(id, response, now);
    }
}

/// Sends a request of our own that keeps the session alive; if it is an INVITE, with what we last sent, or shall send now.
pub(super) fn send_session(
    leg: &mut Leg,
    method: &Method,
    call: CallId,
    cx: &mut Signalling,
    now: Timestamp,
) -> Result<ClientId, TableFull> {
    let mut request = leg.dialog.request(method.clone());
    cx.introduce(&mut request.headers, leg.peer);
    request.headers.push(Name::SessionExpires, leg.timer.offer());
    if let Some(body) = leg.sent_body.as_ref().filter(|_| *method == Method::Invite) {
        body.attach(&mut request.headers, &mut request.body);
    }
    cx.send_in(leg, request, Owner::Call(call), now)
}

/// The ACK of a 2xx to an INVITE of our own. An offer in that 2xx is answered with what the peer has from us already.
pub(super) fn acknowledge(leg: &Leg, client: ClientId, number: u32, has_offer: bool, cx: &mut Signalling) {
    let mut ack = leg.dialog.ack(number);
    if let Some(body) = leg.sent_body.as_ref().filter(|_| !has_offer) {
        body.attach(&mut ack.headers, &mut ack.body);
    }
    cx.transactions.acknowledge(client, ack, leg.hop());
}
