//! Responses to requests of ours, or their absence.

use super::leg::{Leg, Stage};
use super::report::CallEnd;
use super::session_description::Direction;
use super::{Endpoint, EndpointCallId, LOCAL_METHODS};
use crate::header::Name;
use crate::message::Response;
use crate::method::Method;
use crate::transaction::ClientId;
use exchange::time::Timestamp;

impl Endpoint {
    /// A re-INVITE with another direction of media.
    pub(super) fn reinvite(
        &mut self,
        id: EndpointCallId,
        leg: &mut Leg,
        direction: Direction,
        now: Timestamp,
    ) {
        if leg.reinvite.is_some() || !matches!(leg.stage, Stage::Talking) {
            return;
        }
        let mut request = leg.dialog.request(Method::Invite);
        request.headers.push(Name::Contact, format_args!("<sip:{}>", self.local));
        request.headers.push(Name::Allow, LOCAL_METHODS);
        leg.media.describe(self.local, direction, &mut request.headers, &mut request.body);
        leg.reinvite = self.transactions.send(request, leg.next_hop(), id, now).ok();
    }

    pub(super) fn on_response(
        &mut self,
        id: ClientId,
        owner: EndpointCallId,
        response: &Response,
        now: Timestamp,
    ) {
        let Some(leg) = self.legs.remove(&owner) else { return };
        match &leg.stage {
            Stage::Calling { invite, .. } if *invite == id => self.on_answer(owner, leg, response, now),
            Stage::Leaving { bye } if *bye == id && !response.is_provisional() => {
                let end = leg.report.end;
                self.finish(leg, end);
            }
            _ if leg.reinvite == Some(id) => self.on_reinvited(owner, leg, response, now),
            _ => {
                self.legs.insert(owner, leg);
            }
        }
    }

    /// A response to the INVITE that began the call.
    fn on_answer(&mut self, id: EndpointCallId, mut leg: Leg, response: &Response, now: Timestamp) {
        let Stage::Calling { invite, plan, gave_up } = leg.stage else { return };
        if response.is_provisional() {
            if matches!(response.status, 180 | 183) {
                leg.report.ringing_at.get_or_insert(now);
            }
            self.legs.insert(id, leg);
        } else if response.is_success() {
            leg.dialog.confirm(response);
            self.acknowledge(invite, &mut leg, response);
            leg.answered(plan.after_answer(now.ms_since(leg.report.invited_at)), now);
            if gave_up {
                // The answer crossed our CANCEL.
                self.hang_up(id, leg, CallEnd::HungUp, now);
            } else {
                self.keep(id, leg);
            }
        } else {
            leg.report.status = Some(response.status);
            leg.report.reason = response.headers.get(Name::Reason).map(str::to_owned);
            leg.report.ended_at = now;
            let cancelled = gave_up && response.status == 487;
            self.finish(leg, if cancelled { CallEnd::Cancelled } else { CallEnd::Refused });
        }
    }

    fn on_reinvited(&mut self, id: EndpointCallId, mut leg: Leg, response: &Response, now: Timestamp) {
        let Some(invite) = leg.reinvite.filter(|_| !response.is_provisional()) else {
            self.legs.insert(id, leg);
            return;
        };
        leg.reinvite = None;
        if response.is_success() {
            leg.report.reinvites_accepted = leg.report.reinvites_accepted.saturating_add(1);
            leg.dialog.refresh_target(&response.headers);
            self.acknowledge(invite, &mut leg, response);
        } else if matches!(response.status, 408 | 481) {
            // The other side knows nothing of this call (RFC 3261 section 12.2.1.2).
            return self.hang_up(id, leg, CallEnd::PeerLost, now);
        }
        self.legs.insert(id, leg);
    }

    /// The ACK of a 2xx. If the 2xx brought the offer, the ACK brings the answer.
    fn acknowledge(&mut self, invite: ClientId, leg: &mut Leg, response: &Response) {
        let number = response.headers.cseq().map_or_else(|| leg.dialog.latest_cseq(), |cseq| cseq.number);
        let mut ack = leg.dialog.ack(number);
        if leg.offers_late {
            leg.offers_late = false;
            let direction = Direction::answering(&response.body);
            leg.media.describe(self.local, direction, &mut ack.headers, &mut ack.body);
        }
        self.transactions.acknowledge(invite, ack, leg.next_hop());
    }

    /// Nobody answered a request of ours, or it could not be sent.
    pub(super) fn on_silence(&mut self, id: ClientId, owner: EndpointCallId, now: Timestamp) {
        let Some(mut leg) = self.legs.remove(&owner) else { return };
        match &leg.stage {
            Stage::Calling { invite, .. } if *invite == id => {
                leg.report.ended_at = now;
                self.finish(leg, CallEnd::PeerLost);
            }
            Stage::Leaving { bye } if *bye == id => self.finish(leg, CallEnd::PeerLost),
            _ if leg.reinvite == Some(id) => {
                leg.reinvite = None;
                self.hang_up(owner, leg, CallEnd::PeerLost, now);
            }
            _ => {
                self.legs.insert(owner, leg);
            }
        }
    }
}
