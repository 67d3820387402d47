//! Session timers of the two legs (RFC 4028): ours to refresh, or the peer's to be waited for.

use super::relay::{PendingInvite, refuse_short_interval};
use super::{Bridge, CallerState, Side};
use crate::field::read_number;
use crate::header::Name;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::session_timer::TimerDue;
use crate::signalling::{Owner, Signalling};
use crate::transaction::{ClientId, ServerId};
use exchange::time::Timestamp;

/// Pause before a refresh that did not go through is tried again: glare, or a peer that is busy.
const REFRESH_RETRY_MS: u64 = 2_000;

impl Bridge {
    pub(super) fn side_refreshing_with(&self, id: ClientId) -> Option<Side> {
        let refreshes =
            |refresh: &Option<(ClientId, Method)>| refresh.as_ref().is_some_and(|(own, _)| *own == id);
        if refreshes(&self.caller.leg.refresh) {
            return Some(Side::Caller);
        }
        self.target.as_ref().is_some_and(|target| refreshes(&target.leg.refresh)).then_some(Side::Target)
    }

    /// Whether a re-INVITE of our own is in progress on either leg.
    pub(super) fn has_invite_refresh(&self) -> bool {
        let is_invite = |refresh: &Option<(ClientId, Method)>| matches!(refresh, Some((_, Method::Invite)));
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

    /// UPDATE where the peer takes it, else a re-INVITE with what the peer last had from us.
    fn refresh(&mut self, side: Side, cx: &mut Signalling, now: Timestamp) {
        let relays_invite = matches!(self.pending_invite(), Some(PendingInvite::RelayedFrom(_)));
        let call = self.id;
        let Some(leg) = self.leg_mut(side) else { return };
        let method = if leg.allows_update { Method::Update } else { Method::Invite };
        if leg.refresh.is_some() || (relays_invite && method == Method::Invite) {
            return leg.timer.retry_refresh(REFRESH_RETRY_MS, now);
        }
        let mut request = leg.dialog.request(method.clone());
        cx.introduce(&mut request.headers, leg.peer);
        request.headers.push(Name::SessionExpires, leg.timer.offer());
        if let Some(body) = leg.sent_body.as_ref().filter(|_| method == Method::Invite) {
            body.attach(&mut request.headers, &mut request.body);
        }
        match cx.send_in(leg, request, Owner::Call(call), now) {
            Ok(client) => leg.refresh = Some((client, method)),
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
        let Some((client, method)) = leg.refresh.take() else { return };
        match response.status {
            200..=299 => {
                leg.dialog.refresh_target(&response.headers);
                leg.timer.settle(&response.headers, now);
                if method == Method::Invite {
                    let number = response.headers.cseq().map_or(0, |cseq| cseq.number);
                    cx.transactions.acknowledge(client, leg.dialog.ack(number), leg.hop());
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
            _ => leg.timer.retry_refresh(REFRESH_RETRY_MS, now),
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
        let session = leg.timer.answer(&update.headers, session_expires_s, now);
        if session.ends_with("uac") {
            response.headers.push(Name::Require, "timer");
        }
        response.headers.push(Name::SessionExpires, session);
        cx.answer_with(id, response, now);
    }
}
