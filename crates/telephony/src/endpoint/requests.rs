//! Requests of the other side: new calls, and everything that happens within one.

use super::leg::{Leg, Stage};
use super::plan::Reaction;
use super::report::{CallEnd, Side};
use super::session_description::{Direction, Media};
use super::{CALLS_MAX, Endpoint, EndpointCallId, LOCAL_METHODS, user_of};
use crate::dialog::Dialog;
use crate::header::Name;
use crate::message::Request;
use crate::method::Method;
use crate::peer::Peer;
use crate::token::Tag;
use crate::transaction::ServerId;
use exchange::time::Timestamp;

impl Endpoint {
    pub(super) fn on_request(&mut self, id: ServerId, request: Request, from: Peer, now: Timestamp) {
        match request.headers.to_tag() {
            None if request.method == Method::Invite => self.ring(id, request, from, now),
            None if request.method == Method::Options => {
                self.transactions.respond(id, &request.reply(200).with(Name::Allow, LOCAL_METHODS), now);
            }
            None => self.transactions.respond(id, &request.reply(481), now),
            Some(tag) => {
                let owner = Tag::read(tag).and_then(|tag| self.by_tag.get(&tag).copied());
                let leg = owner.and_then(|owner| Some((owner, self.legs.remove(&owner)?)));
                match leg {
                    Some((owner, leg)) if leg.dialog.is_of(&request.headers) => {
                        self.on_request_in_call(id, &request, owner, leg, now);
                    }
                    other => {
                        self.legs.extend(other);
                        self.counters.strays += 1;
                        self.transactions.respond(id, &request.reply(481), now);
                    }
                }
            }
        }
    }

    /// A new call comes in: does what the plan of its target says.
    fn ring(&mut self, invite: ServerId, request: Request, from: Peer, now: Timestamp) {
        let user = user_of(&request);
        if self.legs.len() >= CALLS_MAX {
            self.counters.refused += 1;
            return self.transactions.respond(invite, &request.reply(503).with(Name::RetryAfter, 1), now);
        }
        let Some(plan) = (self.plans)(&user) else {
            self.counters.unknown_targets += 1;
            return self.transactions.respond(invite, &request.reply(404), now);
        };
        let Some(dialog) = Dialog::answering(&request.headers, self.tokens.tag()) else {
            self.counters.malformed += 1;
            return self.transactions.respond(invite, &request.reply(400), now);
        };
        let has_offer = !request.body.is_empty();
        let id = self.draw_id();
        self.transactions.set_owner(invite, id);
        let stage = Stage::Ringing { invite, request: Box::new(request), plan };
        let mut leg = Leg::new(id, Side::Target { user }, dialog, from, stage, Media::new(id.0), now);
        match plan.reaction() {
            Reaction::Ignore => self.vanish(leg, now),
            Reaction::Refuse { status } => self.refuse(leg, status, CallEnd::Refused, now),
            Reaction::Ring { status, until } => {
                leg.plan(until, now);
                leg.report.ringing_at = Some(now);
                // Without an offer there is nothing that early media could answer.
                self.respond_to_invite(&mut leg, status, has_offer && status == 183, now);
                self.by_tag.insert(leg.dialog.local_tag(), id);
                self.keep(id, leg);
            }
        }
    }

    pub(super) fn answer(&mut self, id: EndpointCallId, mut leg: Leg, now: Timestamp) {
        self.respond_to_invite(&mut leg, 200, true, now);
        if let Stage::Ringing { invite, plan, .. } = &leg.stage {
            let steps = plan.after_answer();
            leg.unacknowledged = Some(*invite);
            leg.answered(steps, now);
        }
        self.keep(id, leg);
    }

    /// Ends a call that rings with a final response.
    pub(super) fn refuse(&mut self, mut leg: Leg, status: u16, end: CallEnd, now: Timestamp) {
        self.respond_to_invite(&mut leg, status, false, now);
        leg.report.status = Some(status);
        leg.report.ended_at = now;
        self.finish(leg, end);
    }

    fn respond_to_invite(&mut self, leg: &mut Leg, status: u16, with_media: bool, now: Timestamp) {
        let Stage::Ringing { invite, request, .. } = &leg.stage else { return };
        let invite = *invite;
        let mut response = leg.reply(request, status, self.local);
        if with_media {
            let direction = Direction::answering(&request.body);
            leg.media.describe(self.local, direction, &mut response.headers, &mut response.body);
        }
        self.transactions.respond(invite, &response, now);
    }

    fn on_request_in_call(
        &mut self,
        id: ServerId,
        request: &Request,
        owner: EndpointCallId,
        mut leg: Leg,
        now: Timestamp,
    ) {
        if !leg.dialog.take_cseq(&request.headers) {
            self.transactions.respond(id, &request.reply(500), now);
            self.legs.insert(owner, leg);
            return;
        }
        match request.method {
            Method::Bye => {
                self.transactions.respond(id, &request.reply(200), now);
                leg.report.reason = request.headers.get(Name::Reason).map(str::to_owned);
                return self.on_bye(leg, now);
            }
            Method::Invite if leg.reinvite.is_some() || !matches!(leg.stage, Stage::Talking) => {
                self.transactions.respond(id, &request.reply(491), now);
            }
            Method::Invite | Method::Update => {
                leg.dialog.refresh_target(&request.headers);
                let mut response = leg.reply(request, 200, self.local);
                if request.method == Method::Invite || !request.body.is_empty() {
                    let direction = Direction::answering(&request.body);
                    leg.media.describe(self.local, direction, &mut response.headers, &mut response.body);
                }
                self.transactions.set_owner(id, owner);
                self.transactions.respond(id, &response, now);
            }
            Method::Info | Method::Options => self.transactions.respond(id, &request.reply(200), now),
            _ => {
                self.transactions.respond(id, &request.reply(405).with(Name::Allow, LOCAL_METHODS), now);
            }
        }
        self.legs.insert(owner, leg);
    }

    fn on_bye(&mut self, mut leg: Leg, now: Timestamp) {
        match leg.stage {
            // Both hung up at the same moment.
            Stage::Leaving { .. } => {
                let end = leg.report.end;
                self.finish(leg, end);
            }
            Stage::Ringing { .. } => self.refuse(leg, 487, CallEnd::Cancelled, now),
            Stage::Calling { .. } | Stage::Talking => {
                leg.report.ended_at = now;
                self.finish(leg, CallEnd::HungUpByPeer);
            }
        }
    }

    pub(super) fn on_cancel(
        &mut self,
        id: ServerId,
        request: &Request,
        invite: Option<(ServerId, Option<EndpointCallId>)>,
        now: Timestamp,
    ) {
        self.transactions.respond(id, &request.reply(if invite.is_some() { 200 } else { 481 }), now);
        let ringing = invite.and_then(|(_, owner)| owner).filter(|owner| {
            self.legs.get(owner).is_some_and(|leg| matches!(leg.stage, Stage::Ringing { .. }))
        });
        if let Some(mut leg) = ringing.and_then(|owner| self.legs.remove(&owner)) {
            leg.report.reason = request.headers.get(Name::Reason).map(str::to_owned);
            self.refuse(leg, 487, CallEnd::Cancelled, now);
        }
    }

    pub(super) fn on_ack(&mut self, invite: ServerId, owner: Option<EndpointCallId>, now: Timestamp) {
        let Some((owner, mut leg)) = owner.and_then(|owner| Some((owner, self.legs.remove(&owner)?))) else {
            return;
        };
        if leg.unacknowledged == Some(invite) {
            leg.unacknowledged = None;
        }
        if leg.unacknowledged.is_none() && leg.hang_up_on_ack {
            leg.hang_up_on_ack = false;
            return self.hang_up(owner, leg, CallEnd::HungUp, now);
        }
        self.legs.insert(owner, leg);
    }

    /// Our 200 was never acknowledged: the other side is gone (RFC 3261 section 13.3.1.4).
    pub(super) fn on_ack_missing(&mut self, invite: ServerId, owner: Option<EndpointCallId>, now: Timestamp) {
        let leg = owner.and_then(|owner| Some((owner, self.legs.remove(&owner)?)));
        let Some((owner, mut leg)) = leg else { return };
        if leg.unacknowledged == Some(invite) {
            leg.unacknowledged = None;
        }
        self.hang_up(owner, leg, CallEnd::PeerLost, now);
    }
}
