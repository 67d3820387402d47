//! One call: a caller leg and the leg to the target being rung or connected, and what passes between them.
//!
//! A bridge decides nothing about the call. It tells the exchange what happened and does what the exchange says; only
//! what SIP itself demands (a 200 to a BYE, a 487 after a CANCEL) it does at once.

mod ending;
mod handover;
mod refresh;
mod relay;
mod ringing;

use crate::body::Body;
use crate::header::Name;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::peer::Peer;
use crate::signalling::{ALLOW, Leg, Owner, Signalling, unsupported_options};
use crate::token::Tag;
use crate::transaction::{ClientId, ServerId};
pub(crate) use ending::Ending;
use exchange::effect::{Action, Input};
use exchange::id::CallId;
use exchange::time::Timestamp;
use handover::Handover;
use relay::Relay;
pub(crate) use relay::refuse_short_interval;
pub(crate) use ringing::end_stray_answer;
use ringing::{TargetLeg, TargetState};

/// One call.
#[derive(Debug)]
pub(crate) struct Bridge {
    id: CallId,
    caller: CallerLeg,
    /// The target being rung, or connected.
    target: Option<TargetLeg>,
    /// The latest attempt the exchange has spoken of; earlier ones are over.
    latest_attempt: u8,
    /// The attempt whose target the caller was last connected with.
    joined_attempt: u8,
    /// The caller on its way to another target.
    handover: Option<Handover>,
    /// Requests passed from one side to the other and not yet finished.
    relays: Vec<Relay>,
    /// BYEs of ours without an answer yet.
    departing: Vec<ClientId>,
    /// Every tag of ours that leads here.
    tags: Vec<Tag>,
    /// How the caller's INVITE is known among live ones.
    invite_key: String,
    /// By when the engine must have said what to do next.
    engine_deadline: Option<Timestamp>,
    /// The wake-up that is queued for it.
    pub(crate) queued_at: Option<Timestamp>,
}

/// The side that called us.
#[derive(Debug)]
struct CallerLeg {
    leg: Leg,
    invite: Request,
    server: ServerId,
    state: CallerState,
    has_rung: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum CallerState {
    /// Hears nothing or ringing.
    Waiting,
    /// Has our 200; its ACK is not here. BYE may only follow it, so an end that comes meanwhile waits, with its reason.
    Answered { hang_up: Option<String> },
    /// Connected.
    Talking,
    /// No longer there, or told to go.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Caller,
    Target,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Caller => Self::Target,
            Self::Target => Self::Caller,
        }
    }
}

impl Bridge {
    /// Takes an admitted INVITE; the exchange is told by whoever admitted it.
    pub(crate) fn new(
        id: CallId,
        invite: Request,
        server: ServerId,
        mut leg: Leg,
        key: String,
        cx: &mut Signalling,
    ) -> Self {
        cx.transactions.set_owner(server, Owner::Call(id));
        let tag = leg.dialog.local_tag();
        cx.dialogs.insert(tag, id);
        cx.invites.insert(key.clone());
        leg.received_body = Body::of(&invite.headers, &invite.body);
        Self {
            id,
            caller: CallerLeg { leg, invite, server, state: CallerState::Waiting, has_rung: false },
            target: None,
            latest_attempt: 0,
            joined_attempt: 0,
            handover: None,
            relays: Vec::new(),
            departing: Vec::new(),
            tags: vec![tag],
            invite_key: key,
            engine_deadline: None,
            queued_at: None,
        }
    }

    /// Whether the caller has no final response yet.
    pub(crate) fn is_in_setup(&self) -> bool {
        self.caller.state == CallerState::Waiting
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_over(&self) -> bool {
        self.caller.state == CallerState::Gone && self.target.is_none() && self.departing.is_empty()
    }

    /// Leaves no trace in what all calls share.
    pub(crate) fn close(mut self, cx: &mut Signalling, now: Timestamp) {
        self.abandon_handover(now);
        self.caller.leg.cancel_refresh(cx, now);
        for tag in &self.tags {
            cx.dialogs.remove(tag);
        }
        cx.invites.remove(&self.invite_key);
        for relay in self.relays {
            relay.abandon(cx, now);
        }
    }

    /// Tells the exchange something it must react to.
    pub(crate) fn tell(&mut self, input: Input, cx: &mut Signalling, now: Timestamp) {
        cx.input(self.id, input);
        self.engine_deadline = Some(now.plus_ms(cx.give_up_ms()));
    }

    /// Does what the exchange says. What comes too late changes nothing.
    pub(crate) fn act(&mut self, action: &Action, cx: &mut Signalling, now: Timestamp) {
        match action {
            Action::RingTarget { attempt, destination, caller } => {
                self.engine_deadline = None;
                if *attempt > self.latest_attempt {
                    self.latest_attempt = *attempt;
                    self.ring(*attempt, destination, caller, cx, now);
                }
            }
            Action::CancelTarget { attempt } => {
                self.engine_deadline = None;
                self.latest_attempt = self.latest_attempt.max(*attempt);
                if self.target.as_ref().is_some_and(|target| target.attempt == *attempt) {
                    self.drop_target("SIP;cause=487;text=\"Rang too long\"", cx, now);
                }
            }
            Action::ConnectCaller { attempt } => {
                self.engine_deadline = None;
                self.connect(*attempt, cx, now);
            }
            Action::EndCall { reason } => {
                self.engine_deadline = None;
                let ending = Ending::of(reason, &cx.config);
                self.end(&ending, cx, now);
            }
            // The engine keeps these timers itself, and bidding is no business of the line.
            Action::StartRingTimer { .. }
            | Action::StartDurationTimer { .. }
            | Action::StartBiddingTimer { .. }
            | Action::StartReservationTimer { .. }
            | Action::StartRevenueTimer { .. }
            | Action::RequestBid(_)
            | Action::NotifyBidder(_)
            | Action::AnswerPing(_) => {}
        }
    }

    /// Ends every leg that is still up.
    pub(crate) fn end(&mut self, ending: &Ending, cx: &mut Signalling, now: Timestamp) {
        match &mut self.caller.state {
            CallerState::Waiting => {
                let mut response = self.caller.invite.reply(ending.status).with(Name::Reason, &ending.reason);
                if ending.retry_after {
                    response.headers.push(Name::RetryAfter, cx.config.retry_after_s);
                }
                self.refuse_caller(response, cx, now);
            }
            CallerState::Answered { hang_up } => *hang_up = Some(ending.reason.clone()),
            CallerState::Talking => self.hang_up_caller(&ending.reason, cx, now),
            CallerState::Gone => {}
        }
        self.drop_target(&ending.reason, cx, now);
    }

    /// The final response to a caller that is not connected.
    fn refuse_caller(&mut self, response: Response, cx: &mut Signalling, now: Timestamp) {
        let response = response.with_to_tag(self.caller.leg.dialog.local_tag());
        cx.transactions.respond(self.caller.server, &response, now);
        self.caller.state = CallerState::Gone;
    }

    fn hang_up_caller(&mut self, reason: &str, cx: &mut Signalling, now: Timestamp) {
        self.caller.state = CallerState::Gone;
        let bye = send_bye(&mut self.caller.leg, reason, self.id, cx, now);
        self.departing.extend(bye);
    }

    /// Stops ringing the target, or hangs up on it.
    fn drop_target(&mut self, reason: &str, cx: &mut Signalling, now: Timestamp) {
        self.abandon_handover(now);
        let Some(mut target) = self.target.take() else { return };
        match target.state {
            TargetState::Calling => cx.transactions.cancel(target.invite, Some(reason), now),
            TargetState::Up { .. } => {
                target.leg.cancel_refresh(cx, now);
                target.acknowledge(None, cx);
                let bye = send_bye(&mut target.leg, reason, self.id, cx, now);
                self.departing.extend(bye);
            }
        }
    }

    /// A peer stopped answering: the call is over for both.
    fn lose_peer(&mut self, cx: &mut Signalling, now: Timestamp) {
        cx.counters.peers_lost += 1;
        self.tell(Input::PeerLost, cx, now);
        self.end(&Ending::peer_lost(), cx, now);
    }

    /// Connects the caller with the target that answered.
    fn connect(&mut self, attempt: u8, cx: &mut Signalling, now: Timestamp) {
        let Some(target) = self.target.as_ref().filter(|target| target.attempt == attempt && target.is_up())
        else {
            return;
        };
        match self.caller.state {
            CallerState::Waiting => {
                self.joined_attempt = attempt;
                let answer = target.answer.clone();
                self.answer_caller(answer, cx, now);
            }
            CallerState::Talking | CallerState::Answered { hang_up: None } => {
                if self.joined_attempt != attempt && self.handover.is_none() {
                    self.begin_handover(cx, now);
                }
            }
            CallerState::Answered { hang_up: Some(_) } | CallerState::Gone => {}
        }
    }

    /// 200 to the caller, with what the target answered.
    fn answer_caller(&mut self, answer: Option<Body>, cx: &mut Signalling, now: Timestamp) {
        let caller = &mut self.caller;
        let mut response = caller.reply(200, answer.as_ref(), cx);
        let offered_s = cx.config.session_expires_s;
        caller.leg.agree_on_session(&caller.invite.headers, &mut response.headers, offered_s, now);
        caller.leg.sent_body = answer;
        caller.state = CallerState::Answered { hang_up: None };
        cx.transactions.respond(caller.server, &response, now);
    }

    /// The ACK of a 200 of ours: to the caller's INVITE, or to a re-INVITE of either side.
    pub(crate) fn on_ack(&mut self, invite: ServerId, ack: &Request, cx: &mut Signalling, now: Timestamp) {
        if invite != self.caller.server {
            self.on_relayed_ack(invite, ack, cx);
            return self.advance_handover(cx, now);
        }
        // An ACK overtaken by the caller's BYE finds nobody there any more.
        let CallerState::Answered { hang_up } = &self.caller.state else { return };
        let hang_up = hang_up.clone();
        self.caller.state = CallerState::Talking;
        let answer = Body::of(&ack.headers, &ack.body);
        if answer.is_some() {
            self.caller.leg.received_body.clone_from(&answer);
        }
        // The answer is for the target that made the offer, which may have left meanwhile.
        if let Some(target) = self.target.as_mut().filter(|target| target.attempt == self.joined_attempt) {
            target.acknowledge(answer, cx);
        }
        match hang_up {
            Some(reason) => self.hang_up_caller(&reason, cx, now),
            None => self.advance_handover(cx, now),
        }
    }

    /// Our 200 was never acknowledged.
    pub(crate) fn on_ack_missing(&mut self, invite: ServerId, cx: &mut Signalling, now: Timestamp) {
        if invite != self.caller.server {
            if self.relays.iter().any(|relay| relay.server == invite) {
                self.lose_peer(cx, now);
            }
            return;
        }
        // A caller that sent BYE instead of ACK is gone already.
        let CallerState::Answered { hang_up } = &self.caller.state else { return };
        let hang_up = hang_up.clone();
        self.caller.state = CallerState::Talking;
        match hang_up {
            // The exchange has ended the call already.
            Some(reason) => self.hang_up_caller(&reason, cx, now),
            None => self.lose_peer(cx, now),
        }
    }

    /// A CANCEL for the caller's INVITE or for a re-INVITE. The CANCEL itself is answered already.
    pub(crate) fn on_cancel(&mut self, invite: ServerId, cx: &mut Signalling, now: Timestamp) {
        if invite != self.caller.server {
            if let Some(relay) = self.relays.iter().find(|relay| relay.server == invite) {
                cx.transactions.cancel(relay.client, None, now);
            }
            return;
        }
        if self.caller.state == CallerState::Waiting {
            let response = self.caller.invite.reply(487);
            self.refuse_caller(response, cx, now);
            self.tell(Input::CallerHungUp, cx, now);
        }
    }

    /// A request in the dialog that has this tag of ours.
    pub(crate) fn on_request(
        &mut self,
        tag: Tag,
        id: ServerId,
        request: Request,
        cx: &mut Signalling,
        now: Timestamp,
    ) {
        let Some(side) = self.side_of(tag) else {
            // That leg is gone. A BYE that crossed ours is fine (RFC 3261 section 15.1.2).
            let status = if request.method == Method::Bye { 200 } else { 481 };
            return cx.answer(id, &request, status, now);
        };
        let leg = self.leg_mut(side).filter(|leg| leg.dialog.is_of(&request.headers));
        let Some(leg) = leg else { return cx.answer(id, &request, 481, now) };
        if !leg.dialog.take_cseq(&request.headers) {
            return cx.answer(id, &request, 500, now);
        }
        let peer = leg.peer;
        let unsupported = unsupported_options(&request);
        if !unsupported.is_empty() {
            let response = request.reply(420).with(Name::Unsupported, unsupported.join(", "));
            return cx.answer_with(id, response, now);
        }
        match request.method {
            Method::Bye => self.on_bye(side, id, &request, cx, now),
            Method::Update if request.body.is_empty() => self.on_refresh(side, id, &request, cx, now),
            Method::Invite | Method::Update | Method::Info => self.relay(side, id, request, cx, now),
            Method::Options => {
                let mut response = request.reply(200);
                cx.introduce(&mut response.headers, peer);
                cx.answer_with(id, response, now);
            }
            Method::Prack => cx.answer(id, &request, 481, now),
            Method::Refer => cx.answer(id, &request, 603, now),
            _ => cx.answer_with(id, request.reply(405).with(Name::Allow, ALLOW), now),
        }
    }

    fn on_bye(&mut self, side: Side, id: ServerId, bye: &Request, cx: &mut Signalling, now: Timestamp) {
        match side {
            Side::Caller => {
                cx.answer(id, bye, 200, now);
                if self.caller.state == CallerState::Waiting {
                    let response = self.caller.invite.reply(487);
                    self.refuse_caller(response, cx, now);
                }
                self.caller.state = CallerState::Gone;
                self.caller.leg.timer.stop();
                self.abandon_handover(now);
                self.tell(Input::CallerHungUp, cx, now);
            }
            // A target that only rings has nothing to hang up (RFC 3261 section 15.1.2).
            Side::Target if !self.target.as_ref().is_some_and(TargetLeg::is_up) => {
                cx.answer(id, bye, 481, now);
            }
            Side::Target => {
                cx.answer(id, bye, 200, now);
                self.abandon_handover(now);
                self.detach_relays(cx, now);
                if let Some(target) = self.target.take() {
                    target.leg.cancel_refresh(cx, now);
                }
                self.tell(Input::TargetHungUp, cx, now);
            }
        }
    }

    /// A response to a request of this call. `false` if the request is not known any more.
    pub(crate) fn on_response(
        &mut self,
        id: ClientId,
        response: &Response,
        cx: &mut Signalling,
        now: Timestamp,
    ) -> bool {
        if self.target.as_ref().is_some_and(|target| target.invite == id) {
            self.on_target_response(response, cx, now)
        } else if let Some(index) = self.relays.iter().position(|relay| relay.client == id) {
            self.on_relayed_response(index, response, cx, now);
            true
        } else if self.handover_invite() == Some(id) {
            self.on_handover_response(id, response, cx, now);
            true
        } else if let Some(side) = self.side_refreshing_with(id) {
            self.on_refresh_response(side, response, cx, now);
            self.advance_handover(cx, now);
            true
        } else {
            if !response.is_provisional() {
                self.departing.retain(|bye| *bye != id);
            }
            false
        }
    }

    /// A request of this call got no answer, or could not be sent.
    pub(crate) fn on_failure(&mut self, id: ClientId, cx: &mut Signalling, now: Timestamp) {
        self.departing.retain(|bye| *bye != id);
        if self.target.as_ref().is_some_and(|target| target.invite == id) {
            self.on_trunk_failure(cx, now);
        } else if let Some(index) = self.relays.iter().position(|relay| relay.client == id) {
            self.on_relay_failure(index, cx, now);
        } else if self.handover_invite() == Some(id) || self.side_refreshing_with(id).is_some() {
            self.lose_peer(cx, now);
        }
    }

    /// A connection broke: legs over it will go to the address in `Contact`.
    pub(crate) fn on_connection_broken(&mut self, peer: Peer) {
        self.caller.leg.connection_broke(peer);
        if let Some(target) = &mut self.target {
            target.leg.connection_broke(peer);
        }
    }

    /// When [`Bridge::on_timer`] wants to be called.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let caller =
            if self.caller.state == CallerState::Talking { self.caller.leg.timer.next() } else { None };
        let target = self.target.as_ref().and_then(TargetLeg::next_deadline);
        let handover = self.handover.as_ref().map(Handover::next_deadline);
        self.engine_deadline.into_iter().chain(caller).chain(target).chain(handover).min()
    }

    /// Does what is due.
    pub(crate) fn on_timer(&mut self, cx: &mut Signalling, now: Timestamp) {
        if self.engine_deadline.is_some_and(|at| at <= now) {
            self.engine_deadline = None;
            cx.counters.engine_silent += 1;
            // Should the engine still come to it, it shall know that nobody is there any more.
            cx.input(self.id, Input::CallerHungUp);
            return self.end(&Ending::overloaded(), cx, now);
        }
        self.check_trunk_deadline(cx, now);
        self.check_handover_deadline(cx, now);
        for side in [Side::Caller, Side::Target] {
            self.check_session_timer(side, cx, now);
        }
    }

    fn side_of(&self, tag: Tag) -> Option<Side> {
        let target_has_it = self.target.as_ref().is_some_and(|target| target.leg.dialog.local_tag() == tag);
        if self.caller.state != CallerState::Gone && self.caller.leg.dialog.local_tag() == tag {
            Some(Side::Caller)
        } else {
            target_has_it.then_some(Side::Target)
        }
    }

    fn leg_mut(&mut self, side: Side) -> Option<&mut Leg> {
        match side {
            Side::Caller => Some(&mut self.caller.leg),
            Side::Target => self.target.as_mut().map(|target| &mut target.leg),
        }
    }

    /// The leg, if requests other than BYE can be passed to it.
    fn connected_leg_mut(&mut self, side: Side) -> Option<&mut Leg> {
        match side {
            Side::Caller => (self.caller.state == CallerState::Talking).then_some(&mut self.caller.leg),
            Side::Target => {
                self.target.as_mut().filter(|target| target.is_settled()).map(|target| &mut target.leg)
            }
        }
    }
}

impl CallerLeg {
    /// A response that belongs to a dialog: with our tag, the routes, our `Contact` and maybe a body.
    fn reply(&self, status: u16, body: Option<&Body>, cx: &Signalling) -> Response {
        let mut response = self.invite.reply(status).with_to_tag(self.leg.dialog.local_tag());
        response.headers.copy_from(&self.invite.headers, Name::RecordRoute);
        cx.introduce(&mut response.headers, self.leg.peer);
        if let Some(body) = body {
            body.attach(&mut response.headers, &mut response.body);
        }
        response
    }
}

fn send_bye(
    leg: &mut Leg,
    reason: &str,
    call: CallId,
    cx: &mut Signalling,
    now: Timestamp,
) -> Option<ClientId> {
    leg.timer.stop();
    let mut bye = leg.dialog.request(Method::Bye);
    bye.headers.push(Name::Reason, reason);
    cx.send_in(leg, bye, Owner::Call(call), now).ok()
}
