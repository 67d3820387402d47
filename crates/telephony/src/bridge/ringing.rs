//! Ringing a target: its trunks one after the other, what the caller hears meanwhile, and its final answer.

use super::ending::failure_cause;
use super::{Bridge, CallerState};
use crate::body::Body;
use crate::dialog::{Dialog, decline_answer};
use crate::field::read_number;
use crate::header::Name;
use crate::message::Response;
use crate::method::Method;
use crate::peer::Peer;
use crate::signalling::{Leg, Owner, Signalling, hops_left};
use crate::transaction::ClientId;
use crate::uri::Uri;
use exchange::bid::Destination;
use exchange::call::FailureCause;
use exchange::effect::Input;
use exchange::phone_number::CallerId;
use exchange::time::Timestamp;
use std::collections::VecDeque;

/// A target does not ring for longer, whatever happens to the engine's ring timer (RFC 3261's timer C).
const RINGING_MS_MAX: u64 = 600_000;

/// The side we call.
#[derive(Debug)]
pub(super) struct TargetLeg {
    pub(super) attempt: u8,
    pub(super) leg: Leg,
    pub(super) invite: ClientId,
    pub(super) state: TargetState,
    /// What its 200 carried: the answer to the caller's offer, or an offer of its own.
    pub(super) answer: Option<Body>,
    /// The trunk being tried.
    trunk: Trunk,
    /// The trunks not tried yet.
    further_trunks: VecDeque<Trunk>,
    caller: CallerId,
    /// By when the trunk must have said anything at all, later by when it must have come to a final response.
    trunk_deadline: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Trunk {
    uri: String,
    peer: Peer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetState {
    /// INVITE sent, no final response.
    Calling,
    /// Answered 200. Its ACK, for the INVITE of this `CSeq` number, may still wait for the caller's answer.
    Up { ack_due: Option<u32> },
}

impl TargetLeg {
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, TargetState::Up { .. })
    }

    /// Whether it is up and has its ACK.
    pub(super) fn is_settled(&self) -> bool {
        self.state == TargetState::Up { ack_due: None }
    }

    /// Sends the ACK if it is still due.
    pub(super) fn acknowledge(&mut self, body: Option<Body>, cx: &mut Signalling) {
        let TargetState::Up { ack_due: Some(number) } = self.state else { return };
        let mut ack = self.leg.dialog.ack(number);
        if let Some(body) = body {
            body.attach(&mut ack.headers, &mut ack.body);
            self.leg.sent_body = Some(body);
        }
        cx.transactions.acknowledge(self.invite, ack, self.leg.hop());
        self.state = TargetState::Up { ack_due: None };
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let session = if self.is_up() { self.leg.timer.next() } else { None };
        self.trunk_deadline.into_iter().chain(session).min()
    }
}

impl Bridge {
    /// Rings a target in place of the one before, if any.
    pub(super) fn ring(
        &mut self,
        attempt: u8,
        destination: &Destination,
        caller: &CallerId,
        cx: &mut Signalling,
        now: Timestamp,
    ) {
        let is_waiting = match self.caller.state {
            CallerState::Waiting => true,
            // The target before hung up early; the caller is still on the line.
            CallerState::Talking | CallerState::Answered { hang_up: None } => false,
            CallerState::Answered { hang_up: Some(_) } | CallerState::Gone => return,
        };
        self.detach_relays(cx, now);
        self.drop_target("SIP;cause=487", cx, now);
        if attempt > 1 && is_waiting {
            // A dialog of its own for each target, as if the call had forked: an answer binds only its own attempt.
            let tag = cx.tokens.tag();
            cx.dialogs.insert(tag, self.id);
            self.tags.push(tag);
            self.caller.leg.dialog.set_local_tag(tag);
        }
        if self.caller.has_rung {
            // Early media of the target before has stopped; the caller shall not hear silence.
            self.ring_caller(180, None, cx, now);
        }
        let trunks = order_trunks(destination, cx);
        self.ring_next_trunk(attempt, caller.clone(), trunks, cx.config.session_expires_s, cx, now);
    }

    /// Sends the INVITE over the next trunk that can be sent to.
    fn ring_next_trunk(
        &mut self,
        attempt: u8,
        caller: CallerId,
        mut trunks: VecDeque<Trunk>,
        session_expires_s: u32,
        cx: &mut Signalling,
        now: Timestamp,
    ) {
        while let Some(trunk) = trunks.pop_front() {
            cx.trunks.used(trunk.peer, now);
            let tag = cx.tokens.tag();
            let from = caller_address(&caller, trunk.peer, cx);
            let dialog = Dialog::calling(cx.tokens.sip_call_id(), tag, from, &trunk.uri);
            let mut leg = Leg::new(dialog, trunk.peer, session_expires_s);
            let invite = self.build_invite(&mut leg, &caller, cx);
            let Ok(invite) = cx.transactions.send(invite, trunk.peer, Owner::Call(self.id), now) else {
                continue;
            };
            cx.dialogs.insert(tag, self.id);
            self.tags.push(tag);
            self.target = Some(TargetLeg {
                attempt,
                leg,
                invite,
                state: TargetState::Calling,
                answer: None,
                trunk,
                further_trunks: trunks,
                caller,
                trunk_deadline: Some(now.plus_ms(cx.config.trunk_timeout_ms)),
            });
            return;
        }
        self.tell(Input::TargetFailed { attempt, cause: FailureCause::Unreachable }, cx, now);
    }

    fn build_invite(&self, leg: &mut Leg, caller: &CallerId, cx: &Signalling) -> crate::message::Request {
        let mut invite = leg.dialog.request(Method::Invite);
        let headers = &mut invite.headers;
        headers.set(Name::MaxForwards, hops_left(&self.caller.invite.headers).unwrap_or(0));
        cx.introduce(headers, leg.peer);
        headers.push(Name::SessionExpires, leg.timer.offer());
        match caller {
            CallerId::Number(number) => {
                let own = cx.local.facing(leg.peer);
                headers.push(Name::PAssertedIdentity, format_args!("<sip:{number}@{own}>"));
            }
            CallerId::Anonymous => headers.push(Name::Privacy, "id"),
            CallerId::Malformed => {}
        }
        leg.sent_body.clone_from(&self.caller.leg.received_body);
        if let Some(body) = &leg.sent_body {
            body.attach(headers, &mut invite.body);
        }
        invite
    }

    /// `false` if it is an answer that nobody wants.
    pub(super) fn on_target_response(
        &mut self,
        response: &Response,
        cx: &mut Signalling,
        now: Timestamp,
    ) -> bool {
        let Some(target) = &mut self.target else { return false };
        if target.is_up() {
            // Another fork of the INVITE answered as well.
            return false;
        }
        target.trunk_deadline = response.is_provisional().then(|| now.plus_ms(RINGING_MS_MAX));
        match response.status {
            503 => {
                cx.trunks.refused(target.trunk.peer);
                self.ring_further(cx, now);
                return true;
            }
            _ => cx.trunks.answered(target.trunk.peer),
        }
        match response.status {
            100 => {}
            101..=199 => self.on_target_ringing(response, cx, now),
            200..=299 => self.on_target_answer(response, cx, now),
            422 => self.on_interval_too_small(response, cx, now),
            status => self.fail_target(failure_cause(status), cx, now),
        }
        true
    }

    fn on_target_ringing(&mut self, response: &Response, cx: &mut Signalling, now: Timestamp) {
        let Some(target) = &mut self.target else { return };
        if response.headers.to_tag().is_some() {
            target.leg.dialog.confirm(response);
        }
        let body = Body::of(&response.headers, &response.body);
        match (response.status, &body) {
            (180, _) | (183, Some(_)) => self.ring_caller(response.status, body.as_ref(), cx, now),
            // Progress without ringing or media says nothing to a caller.
            _ => {}
        }
    }

    /// 180, or 183 with early media.
    fn ring_caller(&mut self, status: u16, body: Option<&Body>, cx: &mut Signalling, now: Timestamp) {
        if self.caller.state == CallerState::Waiting {
            let response = self.caller.reply(status, body, cx);
            cx.transactions.respond(self.caller.server, &response, now);
            self.caller.has_rung = true;
        }
    }

    fn on_target_answer(&mut self, response: &Response, cx: &mut Signalling, now: Timestamp) {
        let Some(target) = &mut self.target else { return };
        target.leg.dialog.confirm(response);
        target.leg.allows_update = response.headers.lists(Name::Allow, "UPDATE");
        target.leg.timer.settle(&response.headers, now);
        target.answer = Body::of(&response.headers, &response.body);
        target.state = TargetState::Up { ack_due: Some(target.leg.dialog.latest_cseq()) };
        if target.leg.sent_body.is_some() {
            // The caller made the offer, so this 200 has the answer and the ACK carries nothing.
            target.acknowledge(None, cx);
        }
        let attempt = target.attempt;
        if target.answer.is_none() && self.caller.state != CallerState::Waiting {
            // A caller that is on the line can only be moved to media.
            self.drop_target("SIP;cause=488;text=\"No session description\"", cx, now);
            let cause = FailureCause::Rejected { sip_status: 200 };
            return self.tell(Input::TargetFailed { attempt, cause }, cx, now);
        }
        self.tell(Input::TargetAnswered { attempt }, cx, now);
    }

    /// The target wants a longer session interval: the same trunk again, with what it asks for (RFC 4028 section 7.4).
    fn on_interval_too_small(&mut self, response: &Response, cx: &mut Signalling, now: Timestamp) {
        let Some(target) = &self.target else { return };
        let wanted_s = response.headers.get(Name::MinSe).and_then(read_number).unwrap_or(0);
        if wanted_s <= target.leg.timer.interval_s() {
            return self.fail_target(FailureCause::Rejected { sip_status: 422 }, cx, now);
        }
        if let Some(TargetLeg { attempt, caller, trunk, mut further_trunks, .. }) = self.target.take() {
            further_trunks.push_front(trunk);
            self.ring_next_trunk(attempt, caller, further_trunks, wanted_s, cx, now);
        }
    }

    fn fail_target(&mut self, cause: FailureCause, cx: &mut Signalling, now: Timestamp) {
        if let Some(target) = self.target.take() {
            self.tell(Input::TargetFailed { attempt: target.attempt, cause }, cx, now);
        }
    }

    /// The trunk did not answer at all.
    pub(super) fn on_trunk_failure(&mut self, cx: &mut Signalling, now: Timestamp) {
        if let Some(target) = &self.target {
            cx.trunks.missed(target.trunk.peer);
            self.ring_further(cx, now);
        }
    }

    pub(super) fn check_trunk_deadline(&mut self, cx: &mut Signalling, now: Timestamp) {
        let Some(target) = &self.target else { return };
        if target.trunk_deadline.is_some_and(|at| at <= now) {
            // Should it be slow rather than dead, it is stopped once it speaks.
            cx.transactions.cancel(target.invite, None, now);
            self.on_trunk_failure(cx, now);
        }
    }

    /// On to the next trunk of the same attempt.
    fn ring_further(&mut self, cx: &mut Signalling, now: Timestamp) {
        if let Some(TargetLeg { attempt, caller, further_trunks, .. }) = self.target.take() {
            cx.counters.trunk_failovers += u64::from(!further_trunks.is_empty());
            self.ring_next_trunk(attempt, caller, further_trunks, cx.config.session_expires_s, cx, now);
        }
    }
}

/// The trunks that are up, in the order given; if none is, all of them, for the watch may be wrong.
fn order_trunks(destination: &Destination, cx: &mut Signalling) -> VecDeque<Trunk> {
    let mut trunks = VecDeque::with_capacity(destination.sip_uris.len());
    for text in &destination.sip_uris {
        let peers = peers_of(text, cx);
        cx.counters.unusable_uris += u64::from(peers.is_empty());
        trunks.extend(peers.into_iter().map(|peer| Trunk { uri: text.clone(), peer }));
    }
    if trunks.iter().any(|trunk| cx.trunks.is_up(trunk.peer)) {
        trunks.retain(|trunk| cx.trunks.is_up(trunk.peer));
    }
    trunks
}

/// Where a destination's URI leads: one address, those of its host name, or none that we can send to.
fn peers_of(text: &str, cx: &Signalling) -> Vec<Peer> {
    let Some(uri) = Uri::parse(text).ok().filter(|uri| uri.headers.is_none()) else { return Vec::new() };
    match uri.host_name() {
        Some(name) => cx.hosts.addresses(name).iter().filter_map(|ip| uri.peer_at(*ip)).collect(),
        None => uri.peer().into_iter().collect(),
    }
}

/// `From` towards the target.
fn caller_address(caller: &CallerId, peer: Peer, cx: &Signalling) -> String {
    match caller {
        CallerId::Number(number) => format!("<sip:{number}@{}>", cx.local.facing(peer)),
        CallerId::Anonymous | CallerId::Malformed => {
            "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned()
        }
    }
}

/// Ends a 2xx that came for an INVITE nobody waits for any more.
pub(crate) fn end_stray_answer(
    id: ClientId,
    response: &Response,
    from: Peer,
    cx: &mut Signalling,
    now: Timestamp,
) {
    let Some((ack, bye)) = decline_answer(response) else { return };
    let to = Uri::parse(&ack.uri).ok().and_then(|uri| uri.peer()).unwrap_or(from);
    cx.transactions.acknowledge(id, ack, to);
    // Nothing more can be done if even this does not fit: the peer's own timers end its leg.
    if cx.transactions.send(bye, to, Owner::Nobody, now).is_err() {
        cx.counters.refused_overload += 1;
    }
}
