//! The whole SIP side without a socket or a clock: packets, actions and the time go in, packets and inputs come out.

use crate::admission::{Admitted, Load, admit};
use crate::bridge::{Bridge, Ending, end_stray_answer};
use crate::config::{SipConfig, SipConfigError};
use crate::deadline::Deadlines;
use crate::dialog::Dialog;
use crate::header::Name;
use crate::message::{Message, Request, Response};
use crate::method::Method;
use crate::peer::Peer;
use crate::signalling::{ALLOW, Owner, Signalling};
pub use crate::signalling::{Counters, Output};
use crate::token::Tag;
use crate::transaction::{ClientId, Event, ServerId};
use exchange::effect::{Action, Input};
use exchange::id::CallId;
use exchange::time::Timestamp;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The B2BUA. After every other call, take what [`Stack::poll_output`] gives until it gives nothing.
#[derive(Debug)]
pub struct Stack {
    calls: HashMap<CallId, Box<Bridge>>,
    calls_in_setup: usize,
    deadlines: Deadlines<CallId>,
    is_draining: bool,
    cx: Signalling,
}

impl Stack {
    /// No calls yet. All identifiers follow from `seed`: draw it from the operating system in service, fix it in tests.
    pub fn new(config: SipConfig, seed: u64) -> Result<Self, SipConfigError> {
        Ok(Self {
            calls: HashMap::new(),
            calls_in_setup: 0,
            deadlines: Deadlines::default(),
            is_draining: false,
            cx: Signalling::new(config, seed)?,
        })
    }

    /// A packet came, or a message was cut out of a stream.
    pub fn receive(&mut self, bytes: &[u8], from: Peer, now: Timestamp) {
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            // A keep-alive (RFC 5626 section 4.4, and what routers send).
            return;
        }
        self.cx.counters.messages_received += 1;
        match Message::parse(bytes) {
            Ok(Message::Request(request)) if self.is_of_stranger(&request, from) => {
                self.answer_stranger(&request, from);
            }
            Ok(message) => self.cx.transactions.receive(message, from, now),
            Err(error) => {
                self.cx.counters.malformed += 1;
                tracing::debug!(%from, %error, "malformed SIP message");
                if let Some(response) = error.reply() {
                    self.cx.transactions.reply_without_transaction(response, from);
                }
            }
        }
        self.pump(now);
    }

    /// The exchange wants something done. Whatever comes for a call that is over is ignored.
    pub fn act(&mut self, call: CallId, action: &Action, now: Timestamp) {
        self.with_call(call, now, |bridge, cx| bridge.act(action, cx, now));
        self.pump(now);
    }

    /// The exchange is overloaded and did not take an input of this call: 503 to the caller, or BYE to both.
    pub fn refuse(&mut self, call: CallId, now: Timestamp) {
        self.cx.counters.refused_overload += 1;
        self.with_call(call, now, |bridge, cx| bridge.end(&Ending::overloaded(), cx, now));
        self.pump(now);
    }

    /// A connection could not be made, or broke.
    pub fn transport_failed(&mut self, peer: Peer, now: Timestamp) {
        for bridge in self.calls.values_mut() {
            bridge.on_connection_broken(peer);
        }
        self.cx.transactions.transport_failed(peer);
        self.pump(now);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Timestamp) {
        self.cx.transactions.tick(now);
        self.pump(now);
        while let Some((at, call)) = self.deadlines.pop_due(now) {
            let Some(bridge) = self.calls.get_mut(&call).filter(|bridge| bridge.queued_at == Some(at)) else {
                continue;
            };
            bridge.queued_at = None;
            self.with_call(call, now, |bridge, cx| {
                if bridge.next_deadline().is_some_and(|at| at <= now) {
                    bridge.on_timer(cx, now);
                }
            });
            self.pump(now);
        }
        while let Some(peer) = self.cx.trunks.take_probe(now) {
            self.probe(peer, now);
        }
        self.pump(now);
    }

    /// When [`Stack::tick`] wants to be called. It may be earlier than anything real.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let transactions = self.cx.transactions.next_deadline().into_iter();
        transactions.chain(self.deadlines.next()).chain(self.cx.trunks.next_deadline()).min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.cx.outputs.pop_front()
    }

    /// Takes no new calls from now on; those that are up go on.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Calls with a leg still up or on its way down.
    pub fn live_calls(&self) -> usize {
        self.calls.len()
    }

    /// Transactions open or within their timers.
    pub fn live_transactions(&self) -> usize {
        self.cx.transactions.len()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        Counters { transactions: self.cx.transactions.counters(), ..self.cx.counters }
    }

    /// Lets one call do something, and keeps the books about it.
    fn with_call(&mut self, id: CallId, now: Timestamp, work: impl FnOnce(&mut Bridge, &mut Signalling)) {
        let Some(mut bridge) = self.calls.remove(&id) else { return };
        let was_in_setup = bridge.is_in_setup();
        work(&mut bridge, &mut self.cx);
        self.calls_in_setup -= usize::from(was_in_setup && !bridge.is_in_setup());
        if bridge.is_over() {
            return bridge.close(&mut self.cx, now);
        }
        if let Some(at) = bridge.next_deadline()
            && bridge.queued_at.is_none_or(|queued| at < queued)
        {
            bridge.queued_at = Some(at);
            self.deadlines.wake(at, id);
        }
        self.calls.insert(id, bridge);
    }

    /// Works off what the transaction layer has to say.
    fn pump(&mut self, now: Timestamp) {
        while let Some(event) = self.cx.transactions.poll() {
            match event {
                Event::Send { to, bytes } => self.cx.outputs.push_back(Output::Send { to, bytes }),
                Event::Request { id, request, from } => self.on_request(id, request, from, now),
                Event::Cancel { id, request, invite } => self.on_cancel(id, &request, invite, now),
                Event::Ack { invite, owner: Some(Owner::Call(call)), ack } => {
                    self.with_call(call, now, |bridge, cx| bridge.on_ack(invite, &ack, cx, now));
                }
                Event::AckMissing { invite, owner: Some(Owner::Call(call)) } => {
                    self.with_call(call, now, |bridge, cx| bridge.on_ack_missing(invite, cx, now));
                }
                Event::Ack { .. } | Event::AckMissing { .. } => {}
                Event::Response { id, owner, from, response } => {
                    self.on_response(id, owner, from, &response, now);
                }
                Event::TimedOut { id, owner } => self.on_failure(id, owner, false, now),
                Event::Unsendable { id, owner } => self.on_failure(id, owner, true, now),
            }
        }
    }

    /// Whether a request is from no carrier and belongs to no call.
    fn is_of_stranger(&self, request: &Request, from: Peer) -> bool {
        request.method != Method::Ack
            && self.cx.config.trunk_of(from).is_none()
            && self.find_dialog(request).is_none()
            && !self.cx.transactions.is_repeat(request)
    }

    /// Answers without keeping a transaction (RFC 3261 section 8.2.7): a flood of strangers takes no memory.
    fn answer_stranger(&mut self, request: &Request, from: Peer) {
        let response = match request.method {
            // Admission refuses strangers before anything else.
            Method::Invite if request.headers.to_tag().is_none() => {
                admit(request, from, self.load(), &mut self.cx).err()
            }
            _ => Some(self.answer_outside_dialog(request, from)),
        };
        let mut hasher = DefaultHasher::new();
        (request.headers.call_id(), request.headers.from_tag()).hash(&mut hasher);
        if let Some(response) = response {
            let response = response.with_to_tag(Tag(hasher.finish()));
            self.cx.transactions.reply_without_transaction(response, from);
        }
    }

    /// The call whose dialog a request is in, and our tag of it.
    fn find_dialog(&self, request: &Request) -> Option<(Tag, CallId)> {
        let tag = Tag::read(request.headers.to_tag()?)?;
        Some((tag, *self.cx.dialogs.get(&tag)?))
    }

    fn load(&self) -> Load {
        Load {
            live_calls: self.calls.len(),
            calls_in_setup: self.calls_in_setup,
            is_draining: self.is_draining,
        }
    }

    fn on_request(&mut self, id: ServerId, request: Request, from: Peer, now: Timestamp) {
        if let Some((tag, call)) = self.find_dialog(&request) {
            self.with_call(call, now, |bridge, cx| bridge.on_request(tag, id, request, cx, now));
        } else if request.method == Method::Invite && request.headers.to_tag().is_none() {
            self.on_invite(id, request, from, now);
        } else {
            let response = self.answer_outside_dialog(&request, from);
            self.cx.answer_with(id, response, now);
        }
    }

    /// The answer to a request that belongs to no call and begins none.
    fn answer_outside_dialog(&mut self, request: &Request, from: Peer) -> Response {
        match request.method {
            _ if request.headers.to_tag().is_some() => request.reply(481),
            Method::Bye | Method::Cancel | Method::Prack | Method::Update | Method::Info => {
                request.reply(481)
            }
            Method::Options => {
                let mut response = request.reply(if self.is_draining { 503 } else { 200 });
                if self.is_draining {
                    response.headers.push(Name::RetryAfter, self.cx.config.retry_after_s);
                }
                self.cx.introduce(&mut response.headers, from);
                response
            }
            _ => {
                self.cx.counters.refused_other += 1;
                request.reply(405).with(Name::Allow, ALLOW)
            }
        }
    }

    fn on_invite(&mut self, id: ServerId, invite: Request, from: Peer, now: Timestamp) {
        match admit(&invite, from, self.load(), &mut self.cx) {
            Err(response) => self.cx.answer_with(id, response, now),
            Ok(Admitted { arrival, leg, key }) => {
                self.cx.answer(id, &invite, 100, now);
                let call = self.cx.tokens.call_id(now);
                let bridge = Bridge::new(call, invite, id, leg, key, &mut self.cx);
                self.calls.insert(call, Box::new(bridge));
                self.calls_in_setup += 1;
                self.with_call(call, now, |bridge, cx| bridge.tell(Input::Arrived(arrival), cx, now));
            }
        }
    }

    fn on_cancel(
        &mut self,
        id: ServerId,
        cancel: &Request,
        invite: Option<(ServerId, Option<Owner>)>,
        now: Timestamp,
    ) {
        let Some((invite, owner)) = invite else { return self.cx.answer(id, cancel, 481, now) };
        self.cx.answer(id, cancel, 200, now);
        if let Some(Owner::Call(call)) = owner {
            self.with_call(call, now, |bridge, cx| bridge.on_cancel(invite, cx, now));
        }
    }

    fn on_response(&mut self, id: ClientId, owner: Owner, from: Peer, response: &Response, now: Timestamp) {
        match owner {
            Owner::Probe(peer) if response.status == 503 => self.cx.trunks.refused(peer),
            Owner::Probe(peer) => self.cx.trunks.answered(peer),
            Owner::Nobody => {}
            Owner::Call(call) => {
                let mut is_known = false;
                self.with_call(call, now, |bridge, cx| is_known = bridge.on_response(id, response, cx, now));
                let is_invite = response.headers.cseq().is_some_and(|cseq| cseq.method == Method::Invite);
                if !is_known && is_invite && response.is_success() {
                    end_stray_answer(id, response, from, &mut self.cx, now);
                }
            }
        }
    }

    fn on_failure(&mut self, id: ClientId, owner: Owner, could_not_connect: bool, now: Timestamp) {
        match owner {
            Owner::Probe(peer) if could_not_connect => self.cx.trunks.refused(peer),
            Owner::Probe(peer) => self.cx.trunks.missed(peer),
            Owner::Nobody => {}
            Owner::Call(call) => self.with_call(call, now, |bridge, cx| bridge.on_failure(id, cx, now)),
        }
    }

    /// Asks a buyer's trunk whether it lives. When the table is full, calls matter more.
    fn probe(&mut self, peer: Peer, now: Timestamp) {
        let own = self.cx.local.facing(peer);
        let uri = format!("sip:{};transport={}", peer.address, peer.transport);
        let (call_id, tag) = (self.cx.tokens.sip_call_id(), self.cx.tokens.tag());
        let mut dialog = Dialog::calling(call_id, tag, format!("<sip:dce@{own}>"), &uri);
        let mut options = dialog.request(Method::Options);
        self.cx.introduce(&mut options.headers, peer);
        if self.cx.transactions.send(options, peer, Owner::Probe(peer), now).is_err() {
            tracing::debug!(%peer, "no OPTIONS sent: the transaction table is full");
        }
    }
}
