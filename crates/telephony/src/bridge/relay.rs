//! Requests passed from one side to the other: re-INVITE (hold, resume, late offer), UPDATE, INFO.

use super::refresh::acknowledge;
use super::{Bridge, Side};
use crate::body::Body;
use crate::field::read_number;
use crate::header::Name;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::session_timer::SessionExpires;
use crate::signalling::{Owner, Signalling, hops_left};
use crate::transaction::{ClientId, ServerId};
use exchange::time::Timestamp;

/// The most requests of one call on their way at once.
const RELAYS_MAX: usize = 8;

/// When a side may try again what could not be passed on. RFC 3261 section 14.2 asks for 0 to 10 seconds.
const RETRY_AFTER_S: u32 = 2;

/// One request on its way.
#[derive(Debug)]
pub(super) struct Relay {
    /// Who sent it.
    from: Side,
    pub(super) server: ServerId,
    /// Without its body.
    request: Request,
    body: Option<Body>,
    pub(super) client: ClientId,
    /// For an INVITE that was answered 2xx: the number its ACK to the other side needs.
    ack_cseq: Option<u32>,
    /// The other side left after that; only the ACK is still awaited.
    is_orphan: bool,
}

/// A re-INVITE that is not finished; there is one at a time in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingInvite {
    RelayedFrom(Side),
    /// Our own, for a session timer or to move the caller to another target.
    Ours,
}

impl Relay {
    /// The call is over; a request never stays unanswered (RFC 3261 section 15.1.2).
    pub(super) fn abandon(self, cx: &mut Signalling, now: Timestamp) {
        if self.ack_cseq.is_none() {
            cx.answer(self.server, &self.request, 487, now);
            self.cancel(cx, now);
        }
    }

    /// So that an INVITE ends even if the other side never finishes it.
    fn cancel(&self, cx: &mut Signalling, now: Timestamp) {
        if self.request.method == Method::Invite {
            cx.transactions.cancel(self.client, None, now);
        }
    }
}

impl Bridge {
    /// Passes a request on, or says why not.
    pub(super) fn relay(
        &mut self,
        from: Side,
        id: ServerId,
        request: Request,
        cx: &mut Signalling,
        now: Timestamp,
    ) {
        if let Err(response) = self.try_relay(from, id, &request, cx, now) {
            cx.answer_with(id, response, now);
        }
    }

    fn try_relay(
        &mut self,
        from: Side,
        server: ServerId,
        request: &Request,
        cx: &mut Signalling,
        now: Timestamp,
    ) -> Result<(), Response> {
        let later = |status| request.reply(status).with(Name::RetryAfter, RETRY_AFTER_S);
        let changes_session = request.method != Method::Info;
        match self.pending_invite() {
            // RFC 3261 section 14.2: haste of the same side, or glare with the other side's or our own.
            Some(PendingInvite::RelayedFrom(side)) if changes_session && side == from => {
                return Err(later(500));
            }
            Some(_) if changes_session => return Err(request.reply(491)),
            _ => {}
        }
        if self.is_between_targets() {
            // The session is about to change; what is asked now is asked again.
            return Err(if changes_session { request.reply(491) } else { later(500) });
        }
        if self.relays.len() >= RELAYS_MAX || self.connected_leg_mut(from).is_none() {
            return Err(later(500));
        }
        let hops = hops_left(&request.headers).ok_or_else(|| request.reply(483))?;
        refuse_short_interval(request, cx)?;
        let call = self.id;
        let Some(leg) = self.connected_leg_mut(from.other()) else { return Err(later(500)) };
        let mut onward = leg.dialog.request(request.method.clone());
        onward.headers.set(Name::MaxForwards, hops);
        if changes_session {
            cx.introduce(&mut onward.headers, leg.peer);
            onward.headers.push(Name::SessionExpires, leg.timer.offer());
        }
        onward.headers.copy_from(&request.headers, Name::InfoPackage);
        let body = Body::of(&request.headers, &request.body);
        let description = body.clone().filter(|_| changes_session).map(|body| leg.continued(body));
        if let Some(body) = description.as_ref().or(body.as_ref()) {
            body.attach(&mut onward.headers, &mut onward.body);
        }
        let client = cx.send_in(leg, onward, Owner::Call(call), now).map_err(|_| later(503))?;
        if description.is_some() {
            leg.sent_body = description;
        }
        cx.transactions.set_owner(server, Owner::Call(call));
        if request.method == Method::Invite {
            cx.answer(server, request, 100, now);
        }
        let head = Request { body: Vec::new(), ..request.clone() };
        let relay = Relay { from, server, request: head, body, client, ack_cseq: None, is_orphan: false };
        self.relays.push(relay);
        Ok(())
    }

    /// The INVITE in progress, if any.
    pub(super) fn pending_invite(&self) -> Option<PendingInvite> {
        let relayed = self.relays.iter().find(|relay| relay.request.method == Method::Invite);
        relayed.map(|relay| PendingInvite::RelayedFrom(relay.from)).or_else(|| {
            let is_ours = self.has_invite_refresh() || self.handover_invite().is_some();
            is_ours.then_some(PendingInvite::Ours)
        })
    }

    /// The target is gone. What was on its way to it gets its answer; what came from it ends in order.
    pub(super) fn detach_relays(&mut self, cx: &mut Signalling, now: Timestamp) {
        for mut relay in std::mem::take(&mut self.relays) {
            match (relay.from, relay.ack_cseq) {
                (Side::Caller, None) => {
                    let status = if relay.request.method == Method::Info { 500 } else { 491 };
                    cx.answer(relay.server, &relay.request, status, now);
                    relay.cancel(cx, now);
                }
                (Side::Caller, Some(_)) => {
                    relay.is_orphan = true;
                    self.relays.push(relay);
                }
                (Side::Target, None) => {
                    cx.answer(relay.server, &relay.request, 487, now);
                    relay.cancel(cx, now);
                    if relay.request.method == Method::Invite {
                        self.caller.leg.adopt_invite(relay.client, relay.body.is_some(), now);
                    }
                }
                (Side::Target, Some(number)) => {
                    if relay.body.is_none() {
                        acknowledge(&self.caller.leg, relay.client, number, false, cx);
                    }
                }
            }
        }
    }

    pub(super) fn on_relayed_response(
        &mut self,
        index: usize,
        response: &Response,
        cx: &mut Signalling,
        now: Timestamp,
    ) {
        let relay = &self.relays[index];
        if relay.ack_cseq.is_some() || response.status == 100 {
            return;
        }
        if response.is_success() {
            return self.on_relayed_success(index, response, cx, now);
        }
        let relay = if response.is_provisional() { &self.relays[index] } else { &self.relays.remove(index) };
        let (from, method) = (relay.from, relay.request.method.clone());
        // A challenge or a redirection is between the two who exchange it.
        let status =
            if matches!(response.status, 300..=399 | 401 | 407 | 422) { 488 } else { response.status };
        let mut onward = relay.request.reply(status);
        onward.headers.copy_from(&response.headers, Name::RetryAfter);
        onward.headers.copy_from(&response.headers, Name::Warning);
        if let Some(body) = Body::of(&response.headers, &response.body) {
            body.attach(&mut onward.headers, &mut onward.body);
        }
        let server = relay.server;
        cx.answer_with(server, onward, now);
        match response.status {
            422 => {
                let wanted_s = response.headers.get(Name::MinSe).and_then(read_number).unwrap_or(0);
                if let Some(leg) = self.leg_mut(from.other()) {
                    leg.timer.raise_to(wanted_s);
                }
            }
            // RFC 5057: the other side knows nothing of the dialog any more.
            408 | 481 if method != Method::Info => self.lose_peer(cx, now),
            _ => {}
        }
    }

    fn on_relayed_success(&mut self, index: usize, response: &Response, cx: &mut Signalling, now: Timestamp) {
        let relay = &mut self.relays[index];
        let (from, client) = (relay.from, relay.client);
        let had_body = relay.body.is_some();
        let offer =
            if relay.request.method == Method::Invite { relay.body.clone() } else { relay.body.take() };
        let (method, request_headers) = (relay.request.method.clone(), relay.request.headers.clone());
        let mut body = Body::of(&response.headers, &response.body);
        let mut onward = relay.request.reply(response.status);
        let mut ack_cseq = None;
        if let Some(other) = self.leg_mut(from.other()) {
            if method != Method::Info {
                other.dialog.refresh_target(&response.headers);
                other.timer.settle(&response.headers, now);
                if body.is_some() {
                    other.received_body.clone_from(&body);
                }
            }
            if method == Method::Invite {
                let number = response.headers.cseq().map_or(0, |cseq| cseq.number);
                ack_cseq = Some(number);
                if had_body {
                    let (ack, to) = (other.dialog.ack(number), other.hop());
                    cx.transactions.acknowledge(client, ack, to);
                }
            }
        }
        let session_expires_s = cx.config.session_expires_s;
        if let Some(leg) = self.leg_mut(from).filter(|_| method != Method::Info) {
            leg.dialog.refresh_target(&request_headers);
            cx.introduce(&mut onward.headers, leg.peer);
            leg.agree_on_session(&request_headers, &mut onward.headers, session_expires_s, now);
            if offer.is_some() {
                leg.received_body = offer;
            }
            if let Some(description) = body.take() {
                body = Some(leg.continued(description));
                leg.sent_body.clone_from(&body);
            }
        }
        if let Some(body) = &body {
            body.attach(&mut onward.headers, &mut onward.body);
        }
        cx.answer_with(self.relays[index].server, onward, now);
        self.relays[index].ack_cseq = ack_cseq;
        if ack_cseq.is_none() {
            self.relays.remove(index);
        }
    }

    /// The ACK of a re-INVITE; it may carry the answer to a late offer.
    pub(super) fn on_relayed_ack(&mut self, invite: ServerId, ack: &Request, cx: &mut Signalling) {
        let Some(index) = self.relays.iter().position(|relay| relay.server == invite) else { return };
        let relay = self.relays.remove(index);
        let Some(number) = relay.ack_cseq.filter(|_| relay.body.is_none()) else { return };
        let answer = Body::of(&ack.headers, &ack.body);
        if let Some(leg) = self.leg_mut(relay.from).filter(|_| answer.is_some()) {
            leg.received_body.clone_from(&answer);
        }
        if let Some(other) = self.leg_mut(relay.from.other()).filter(|_| !relay.is_orphan) {
            let mut onward = other.dialog.ack(number);
            if let Some(body) = answer.map(|answer| other.continued(answer)) {
                body.attach(&mut onward.headers, &mut onward.body);
                other.sent_body = Some(body);
            }
            cx.transactions.acknowledge(relay.client, onward, other.hop());
        }
    }

    /// The other side did not answer.
    pub(super) fn on_relay_failure(&mut self, index: usize, cx: &mut Signalling, now: Timestamp) {
        let relay = self.relays.remove(index);
        if relay.ack_cseq.is_none() {
            cx.answer(relay.server, &relay.request, 408, now);
        }
        if relay.request.method != Method::Info {
            self.lose_peer(cx, now);
        }
    }
}

/// 422 if the peer asks for a session interval below our floor (RFC 4028 section 9).
pub(crate) fn refuse_short_interval(request: &Request, cx: &Signalling) -> Result<(), Response> {
    let floor_s = cx.config.min_session_expires_s;
    let supports = request.headers.lists(Name::Supported, "timer");
    match SessionExpires::of(&request.headers) {
        Some(wish) if supports && wish.interval_s < floor_s => {
            Err(request.reply(422).with(Name::MinSe, floor_s))
        }
        _ => Ok(()),
    }
}
