//! The other side of the wire: telephones that follow a plan. They play carriers and targets in the demo, in the
//! simulator and in tests, over the same message and transaction layers as the exchange.
//!
//! An [`Endpoint`] is one UDP address with as many telephones behind it as there are calls. It is pure: packets and the
//! time come in as arguments, [`Output`]s come out, and the seed decides every tag. Only [`socket`] touches the network.
//!
//! Absent on purpose: media, session timers of its own (it answers those of others), authentication.

mod plan;
mod report;
mod session_description;
mod leg;
mod requests;
mod responses;
mod vanished;
pub mod socket;
#[cfg(test)]
mod tests;

use crate::deadline::Deadlines;
use crate::dialog::Dialog;
use crate::header::Name;
use crate::message::{Message, Request};
use crate::method::Method;
use crate::peer::{LocalAddresses, Peer};
use crate::token::{Tag, Tokens};
use crate::transaction::{Event, TableFull, Timers, TransactionConfig, Transactions};
use exchange::time::Timestamp;
use leg::{Leg, Stage};
use plan::Act;
pub use plan::{CallSpec, CallerPlan, PATIENCE_MS, TargetPlan};
pub use report::{CallEnd, CallReport, Side};
use session_description::{Direction, Media};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::net::SocketAddr;
use vanished::Vanished;

/// Calls of one endpoint at once, at most. Further ones are answered 503, or cannot be placed.
pub const CALLS_MAX: usize = 10_000;

/// What it puts into `Allow`.
const LOCAL_METHODS: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO";

/// One call of one endpoint. Ids count up from 1 in the order in which calls were placed or came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointCallId(pub u64);

/// Looks up what the target behind a user part does; `None` is answered 404.
pub type TargetPlans = Box<dyn FnMut(&str) -> Option<TargetPlan> + Send>;

/// What an endpoint wants or has to say.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// One whole message.
        bytes: Vec<u8>,
    },
    /// A call is over.
    Report(CallReport),
}

/// What an endpoint met that no call report tells. In a correct world all are 0, but for packets that come doubled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointCounters {
    /// Packets that are no SIP message.
    pub malformed: u64,
    /// Requests within a dialog that is not there.
    pub strays: u64,
    /// INVITEs to a target without plan.
    pub unknown_targets: u64,
    /// INVITEs refused because [`CALLS_MAX`] calls are up.
    pub refused: u64,
}

/// One address with many telephones.
pub struct Endpoint {
    local: SocketAddr,
    transactions: Transactions<EndpointCallId>,
    tokens: Tokens,
    plans: TargetPlans,
    legs: HashMap<EndpointCallId, Leg>,
    by_tag: HashMap<Tag, EndpointCallId>,
    vanished: Vanished,
    next_id: u64,
    deadlines: Deadlines<EndpointCallId>,
    outputs: VecDeque<Output>,
    counters: EndpointCounters,
}

impl Endpoint {
    /// An endpoint at `local`. Calls to it do what `plans` says for the user part of their Request-URI.
    pub fn new(local: SocketAddr, seed: u64, plans: TargetPlans) -> Self {
        let addresses = LocalAddresses::new(vec![Peer::udp(local)]).expect("a list of one is not empty");
        let config = TransactionConfig {
            local: addresses,
            timers: Timers::with_t1(500),
            // A call has its INVITE, and a BYE or CANCEL, and they linger for 32 s.
            transactions_max: 20 * CALLS_MAX,
            retry_after_s: 1,
        };
        Self {
            local,
            transactions: Transactions::new(config, Tokens::new(seed)),
            tokens: Tokens::new(!seed),
            plans,
            legs: HashMap::new(),
            by_tag: HashMap::new(),
            vanished: Vanished::default(),
            next_id: 0,
            deadlines: Deadlines::default(),
            outputs: VecDeque::new(),
            counters: EndpointCounters::default(),
        }
    }

    /// An endpoint that only calls; calls to it are answered 404.
    pub fn caller(local: SocketAddr, seed: u64) -> Self {
        Self::new(local, seed, Box::new(|_| None))
    }

    /// Places a call. Its report comes when it is over.
    pub fn place_call(&mut self, spec: &CallSpec, now: Timestamp) -> Result<EndpointCallId, TableFull> {
        if self.legs.len() >= CALLS_MAX {
            return Err(TableFull);
        }
        let (id, peer) = (self.draw_id(), Peer::udp(spec.to));
        let target = format!("sip:{}@{}", escape_user(&spec.called), spec.to);
        let sip_call_id = self.tokens.sip_call_id();
        let mut dialog = Dialog::calling(sip_call_id, self.tokens.tag(), self.address_of(spec), &target);
        let mut request = dialog.request(Method::Invite);
        request.headers.push(Name::Contact, format_args!("<sip:{}>", self.local));
        request.headers.push(Name::Allow, LOCAL_METHODS);
        if let Some(state) = spec.stated_state {
            request.headers.push(Name::XConsumerState, state);
        }
        let mut media = Media::new(id.0);
        if !spec.late_offer {
            media.describe(self.local, Direction::SendRecv, &mut request.headers, &mut request.body);
        }
        let invite = self.transactions.send(request, peer, id, now)?;
        let stage = Stage::Calling { invite, plan: spec.then, gave_up: false };
        let mut leg = Leg::new(id, Side::Caller, dialog, peer, stage, media, now);
        leg.offers_late = spec.late_offer;
        leg.plan(spec.then.before_answer(), now);
        self.by_tag.insert(leg.dialog.local_tag(), id);
        self.keep(id, leg);
        self.pump(now);
        Ok(id)
    }

    /// Takes in one datagram.
    pub fn receive(&mut self, bytes: &[u8], from: SocketAddr, now: Timestamp) {
        match Message::parse(bytes) {
            Err(_) => self.counters.malformed += 1,
            Ok(message) if self.vanished.has_call_id_of(&message) => {}
            Ok(message) => self.transactions.receive(message, Peer::udp(from), now),
        }
        self.pump(now);
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Timestamp) {
        self.transactions.tick(now);
        self.pump(now);
        while let Some((_, id)) = self.deadlines.pop_due(now) {
            let Some(mut leg) = self.legs.remove(&id) else { continue };
            match leg.take_due(now) {
                Some(act) => self.act(id, leg, act, now),
                None => {
                    self.legs.insert(id, leg);
                }
            }
            self.pump(now);
        }
    }

    /// When [`Endpoint::tick`] wants to be called. It may be earlier than anything real.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        [self.transactions.next_deadline(), self.deadlines.next()].into_iter().flatten().min()
    }

    /// The next thing to send or to know. Ask until there is none after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Calls that are not over.
    pub fn calls_open(&self) -> usize {
        self.legs.len()
    }

    /// What no call report tells.
    pub fn counters(&self) -> EndpointCounters {
        self.counters
    }

    fn draw_id(&mut self) -> EndpointCallId {
        self.next_id += 1;
        EndpointCallId(self.next_id)
    }

    fn address_of(&self, spec: &CallSpec) -> String {
        match spec.caller.as_str() {
            "anonymous" => "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(),
            "" => format!("<sip:{}>", self.local),
            user => format!("<sip:{}@{}>", escape_user(user), self.local),
        }
    }

    /// Puts a leg back into the table and queues what it does next.
    fn keep(&mut self, id: EndpointCallId, leg: Leg) {
        if let Some((at, _)) = leg.due {
            self.deadlines.wake(at, id);
        }
        self.legs.insert(id, leg);
    }

    /// A planned act.
    fn act(&mut self, id: EndpointCallId, mut leg: Leg, act: Act, now: Timestamp) {
        match act {
            Act::Answer => self.answer(id, leg, now),
            Act::StopRinging => self.refuse(leg, 480, CallEnd::Refused, now),
            Act::Hold | Act::Resume => {
                let direction = if act == Act::Hold { Direction::SendOnly } else { Direction::SendRecv };
                self.reinvite(id, &mut leg, direction, now);
                leg.next_step(now);
                self.keep(id, leg);
            }
            Act::HangUp => self.hang_up(id, leg, CallEnd::HungUp, now),
            Act::Vanish => self.vanish(leg, now),
        }
    }

    /// Leaves, whatever the stage: CANCEL, a final response, or BYE.
    fn hang_up(&mut self, id: EndpointCallId, mut leg: Leg, end: CallEnd, now: Timestamp) {
        match &mut leg.stage {
            Stage::Calling { invite, gave_up, .. } => {
                *gave_up = true;
                self.transactions.cancel(*invite, None, now);
                self.keep(id, leg);
            }
            Stage::Ringing { .. } => self.refuse(leg, 480, CallEnd::Refused, now),
            Stage::Talking if leg.unacknowledged.is_some() => {
                leg.hang_up_on_ack = true;
                self.keep(id, leg);
            }
            Stage::Talking => {
                leg.report.end = end;
                leg.report.ended_at = now;
                let (bye, to) = (leg.dialog.request(Method::Bye), leg.next_hop());
                match self.transactions.send(bye, to, id, now) {
                    Ok(bye) => {
                        leg.stage = Stage::Leaving { bye };
                        leg.due = None;
                        self.keep(id, leg);
                    }
                    Err(TableFull) => self.finish(leg, CallEnd::PeerLost),
                }
            }
            Stage::Leaving { .. } => self.keep(id, leg),
        }
    }

    fn vanish(&mut self, mut leg: Leg, now: Timestamp) {
        // The transactions end by themselves; nothing they still say or hear passes.
        self.vanished.insert(leg.dialog.call_id());
        match &leg.stage {
            Stage::Calling { invite, .. } => self.transactions.cancel(*invite, None, now),
            Stage::Ringing { invite, request, .. } => {
                self.transactions.respond(*invite, &request.reply(408), now);
            }
            Stage::Talking | Stage::Leaving { .. } => {}
        }
        leg.report.ended_at = now;
        self.finish(leg, CallEnd::Vanished);
    }

    /// Forgets a call and reports it. When it ended is in the report already.
    fn finish(&mut self, mut leg: Leg, end: CallEnd) {
        leg.report.end = end;
        self.legs.remove(&leg.report.id);
        self.by_tag.remove(&leg.dialog.local_tag());
        self.outputs.push_back(Output::Report(leg.report));
    }

    /// Handles everything the transaction layer has to say.
    fn pump(&mut self, now: Timestamp) {
        while let Some(event) = self.transactions.poll() {
            match event {
                Event::Send { to, bytes } => {
                    if !self.vanished.has_call_id_in(&bytes) {
                        self.outputs.push_back(Output::Send { to: to.address, bytes });
                    }
                }
                Event::Request { id, request, from } => self.on_request(id, request, from, now),
                Event::Cancel { id, request, invite } => self.on_cancel(id, &request, invite, now),
                Event::Ack { invite, owner, .. } => self.on_ack(invite, owner, now),
                Event::Response { id, owner, response, .. } => self.on_response(id, owner, &response, now),
                Event::TimedOut { id, owner } | Event::Unsendable { id, owner } => {
                    self.on_silence(id, owner, now);
                }
                Event::AckMissing { invite, owner } => self.on_ack_missing(invite, owner, now),
            }
        }
    }
}

/// Escapes what may not stand in the user part of a URI (RFC 3261 section 25.1).
fn escape_user(user: &str) -> String {
    let mut escaped = String::with_capacity(user.len());
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()+".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a String");
        }
    }
    escaped
}

/// The telephone number or name a request is for.
fn user_of(request: &Request) -> String {
    crate::uri::Uri::parse(&request.uri).map(|uri| uri.plain_user().into_owned()).unwrap_or_default()
}
