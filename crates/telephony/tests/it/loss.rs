//! Calls over a network that loses, doubles and reorders packets, in virtual time.

use crate::world::*;
use exchange::bid::Destination;
use exchange::call::EndedBy;
use exchange::effect::{Action, EndReason, Input};
use exchange::phone_number::CallerId;
use exchange::time::Timestamp;
use std::collections::BTreeMap;
use telephony::dialog::Dialog;
use telephony::header::Name;
use telephony::message::Request;
use telephony::method::Method;
use telephony::peer::{LocalAddresses, Peer};
use telephony::stack::{Output, Stack};
use telephony::token::{Tag, Tokens};
use telephony::transaction::{Event, ServerId, Timers, TransactionConfig, Transactions};

#[test]
fn a_repeated_invite_is_one_call_and_gets_the_same_answer() {
    let mut world = World::new();
    let (caller, call) = world.arrive();
    let invite = caller.invite.clone().unwrap();
    world.send(caller.peer, &invite);
    assert_eq!(world.heard(caller.peer), ["100 INVITE"]);
    let target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(180, ""));
    world.take(caller.peer);
    world.send(caller.peer, &invite);
    assert_eq!(world.heard(caller.peer), ["180 INVITE"], "the latest");
    assert_eq!((world.inputs(), world.stack.live_calls()), (vec![], 1));
    assert_eq!(world.stack.counters().transactions.repeats_received, 2);
}

#[test]
fn a_repeated_bye_is_answered_after_the_call_is_gone() {
    let mut world = World::new();
    let (mut caller, target, call) = world.connect();
    let bye = caller.request(Method::Bye, "");
    world.send(caller.peer, &bye);
    world.end(call, EndReason::Over { by: EndedBy::Caller });
    let onward = world.request(target.peer);
    world.send(target.peer, &target.answer(&onward, 200, ""));
    assert_eq!(world.stack.live_calls(), 0);
    world.take(caller.peer);
    world.send(caller.peer, &bye);
    assert_eq!(world.heard(caller.peer), ["200 BYE"]);
    assert_eq!(world.inputs(), [Input::CallerHungUp], "told once");
}

/// A phone on the transaction layer: whatever is lost, it repeats.
struct Endpoint {
    peer: Peer,
    layer: Transactions<()>,
    dialog: Option<Dialog>,
    log: Vec<String>,
}

impl Endpoint {
    fn new(peer: Peer, seed: u64) -> Self {
        let config = TransactionConfig {
            local: LocalAddresses::new(vec![peer]).unwrap(),
            timers: Timers::with_t1(500),
            transactions_max: 100,
            retry_after_s: 1,
        };
        Self { peer, layer: Transactions::new(config, Tokens::new(seed)), dialog: None, log: vec![] }
    }

    /// 200 to whatever comes, with a description to an INVITE.
    fn answer(&mut self, id: ServerId, request: &Request, now: Timestamp) {
        self.log.push(request.method.to_string());
        let tag = Tag(7);
        let contact = format!("<sip:phone@{}>", self.peer.address);
        let mut ok = request.reply(200).with_to_tag(tag).with(Name::Contact, contact);
        if request.method == Method::Invite {
            if self.dialog.is_none() {
                self.dialog = Dialog::answering(&request.headers, tag);
            }
            ok.headers.push(Name::ContentType, "application/sdp");
            ok.body = format!("v=0\r\no=phone 1 1 IN IP4 {}\r\n", self.peer.address.ip()).into_bytes();
        }
        self.layer.respond(id, &ok, now);
    }

    /// Does what a phone does by itself; returns what it sends.
    fn live(&mut self, now: Timestamp) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(event) = self.layer.poll() {
            match event {
                Event::Send { bytes, .. } => sent.push(bytes),
                Event::Request { id, request, .. } => self.answer(id, &request, now),
                Event::Cancel { id, request, .. } => self.layer.respond(id, &request.reply(200), now),
                Event::Response { id, response, .. } => {
                    let method = response.headers.cseq().unwrap().method;
                    if !response.is_provisional() {
                        self.log.push(format!("{} {method}", response.status));
                    }
                    if let (Method::Invite, true, Some(dialog)) =
                        (method, response.is_success(), &mut self.dialog)
                    {
                        dialog.confirm(&response);
                        let ack = dialog.ack(dialog.latest_cseq());
                        self.layer.acknowledge(id, ack, dialog.next_hop().unwrap());
                    }
                }
                Event::TimedOut { .. } => self.log.push("timed out".to_owned()),
                Event::Ack { .. } | Event::AckMissing { .. } | Event::Unsendable { .. } => {}
            }
        }
        sent
    }
}

/// The stack, a caller and a target, and every packet on its way.
struct Network {
    stack: Stack,
    caller: Endpoint,
    targets: Vec<Endpoint>,
    own: Peer,
    now: Timestamp,
    flying: BTreeMap<(Timestamp, u64), (Peer, Peer, Vec<u8>)>,
    chance: Tokens,
    sent: u64,
    ended: u32,
    /// Targets rung after one that hung up.
    recoveries: usize,
}

impl Network {
    fn new(seed: u64, targets: u8) -> Self {
        let target = |number| Endpoint::new(buyer(number), seed + 2_000 + 10_000 * u64::from(number));
        Self {
            stack: Stack::new(config(), seed).unwrap(),
            caller: Endpoint::new(carrier(), seed + 1_000),
            targets: (0..targets).map(target).collect(),
            own: peer("udp://198.51.100.1:5060"),
            now: Timestamp(1_700_000_000_000_000),
            flying: BTreeMap::new(),
            chance: Tokens::new(seed + 3_000),
            sent: 0,
            ended: 0,
            recoveries: 0,
        }
    }

    /// One packet in seven is lost, one in ten doubled; each takes up to 400 ms.
    fn fly(&mut self, from: Peer, to: Peer, bytes: Vec<u8>) {
        let copies = match self.chance.next_u64() % 70 {
            0..=9 => 0,
            10..=16 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            self.sent += 1;
            let lands_at = self.now.plus_ms(self.chance.next_u64() % 400);
            self.flying.insert((lands_at, self.sent), (from, to, bytes.clone()));
        }
    }

    /// Lets everybody act until nobody has anything to say right now.
    fn settle(&mut self) {
        loop {
            let from_stack: Vec<_> = std::iter::from_fn(|| self.stack.poll_output()).collect();
            let mut from_phones = Vec::new();
            for phone in std::iter::once(&mut self.caller).chain(&mut self.targets) {
                from_phones.extend(phone.live(self.now).into_iter().map(|bytes| (phone.peer, bytes)));
            }
            if from_stack.is_empty() && from_phones.is_empty() {
                return;
            }
            for output in from_stack {
                match output {
                    Output::Send { to, bytes } => self.fly(self.own, to, bytes),
                    Output::Input { call, input } => self.decide(call, &input),
                }
            }
            for (from, bytes) in from_phones {
                self.fly(from, self.own, bytes);
            }
        }
    }

    /// A very small exchange.
    fn decide(&mut self, call: exchange::id::CallId, input: &Input) {
        let ring = |attempt: u8| {
            let destination = Destination { sip_uris: vec![uri_of(buyer(attempt - 1))] };
            Action::RingTarget { attempt, destination, caller: CallerId::Anonymous }
        };
        let action = match input {
            Input::Arrived(_) => ring(1),
            Input::TargetAnswered { attempt } => Action::ConnectCaller { attempt: *attempt },
            Input::TargetHungUp if self.recoveries < self.targets.len() - 1 => {
                self.recoveries += 1;
                ring(u8::try_from(self.recoveries).unwrap() + 1)
            }
            _ => {
                self.ended += 1;
                Action::EndCall { reason: EndReason::Stopping }
            }
        };
        self.stack.act(call, &action, self.now);
    }

    fn run_until(&mut self, until: Timestamp) {
        loop {
            self.settle();
            let phones = std::iter::once(&self.caller).chain(&self.targets);
            let deadlines = phones.filter_map(|phone| phone.layer.next_deadline());
            let landing = self.flying.keys().next().map(|(at, _)| *at);
            let next = deadlines.chain(self.stack.next_deadline()).chain(landing).min();
            let Some(next) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            self.stack.tick(self.now);
            for phone in std::iter::once(&mut self.caller).chain(&mut self.targets) {
                phone.layer.tick(self.now);
            }
            while self.flying.keys().next().is_some_and(|(at, _)| *at <= self.now) {
                let Some((_, (from, to, bytes))) = self.flying.pop_first() else { break };
                if to == self.own {
                    self.stack.receive(&bytes, from, self.now);
                } else {
                    let mut phones = std::iter::once(&mut self.caller).chain(&mut self.targets);
                    let phone = phones.find(|phone| phone.peer == to).unwrap();
                    phone.layer.receive_bytes(&bytes, self.own, self.now).unwrap();
                }
            }
        }
        self.now = until;
    }

    fn caller_sends(&mut self, request: Request) {
        let (own, now) = (self.own, self.now);
        self.caller.layer.send(request, own, (), now).unwrap();
    }

    /// The caller dials, with this description.
    fn call(&mut self, seed: u64, body: &str) {
        let from = "<sip:+12125550123@192.0.2.1>".to_owned();
        let tag = Tokens::new(seed).tag();
        let dialog = Dialog::calling(format!("loss-{seed}"), tag, from, "sip:+18885550100@198.51.100.1");
        let mut invite = self.caller.dialog.insert(dialog).request(Method::Invite);
        invite.headers.push(Name::Contact, "<sip:phone@192.0.2.1:5060>");
        if !body.is_empty() {
            invite.headers.push(Name::ContentType, "application/sdp");
            invite.body = body.as_bytes().to_vec();
        }
        self.caller_sends(invite);
    }

    /// Whether the caller was connected.
    fn is_connected(&self) -> bool {
        self.caller.log.first().is_some_and(|line| line == "200 INVITE")
    }

    fn caller_hangs_up(&mut self) {
        let bye = self.caller.dialog.as_mut().unwrap().request(Method::Bye);
        self.caller_sends(bye);
    }

    fn target_hangs_up(&mut self, number: usize) {
        let (own, now) = (self.own, self.now);
        let target = &mut self.targets[number];
        let bye = target.dialog.as_mut().unwrap().request(Method::Bye);
        target.layer.send(bye, own, (), now).unwrap();
    }

    /// How often a target heard this.
    fn heard(&self, number: usize, wanted: &str) -> usize {
        self.targets[number].log.iter().filter(|line| *line == wanted).count()
    }

    /// Nothing is left of the call, here or there.
    fn assert_empty(&mut self, seed: u64) {
        self.run_until(self.now.plus_ms(300_000));
        let logs: Vec<_> = self.targets.iter().map(|target| &target.log).collect();
        assert_eq!(self.stack.live_calls(), 0, "seed {seed}: {:?} {logs:?}", self.caller.log);
        assert_eq!(self.stack.live_transactions(), 0, "seed {seed}");
        assert!(self.ended >= 1, "seed {seed}: the exchange learns of every end");
    }
}

#[test]
fn calls_get_through_a_bad_network_and_leave_nothing_behind() {
    let mut connected = 0;
    for seed in 0..60 {
        let mut network = Network::new(seed, 1);
        network.call(seed, "");
        network.run_until(network.now.plus_ms(40_000));
        if network.is_connected() {
            connected += 1;
            network.caller_hangs_up();
        }
        network.assert_empty(seed);
        let (rung, hung_up) = (network.heard(0, "INVITE"), network.heard(0, "BYE"));
        assert!(rung <= 1 && hung_up == rung, "seed {seed}: {:?}", network.targets[0].log);
    }
    assert!(connected >= 55, "{connected} of 60 calls connected");
}

#[test]
fn callers_are_moved_over_a_bad_network_and_nothing_is_left_behind() {
    let mut moved = 0;
    for seed in 100..160 {
        let mut network = Network::new(seed, 2);
        network.call(seed, SDP_CALLER);
        network.run_until(network.now.plus_ms(40_000));
        if !network.is_connected() {
            network.assert_empty(seed);
            continue;
        }
        // Some callers leave while all this goes on.
        network.target_hangs_up(0);
        let leaves_after_ms = if seed % 3 == 0 { 50 * (seed % 60) } else { 60_000 };
        network.run_until(network.now.plus_ms(leaves_after_ms));
        moved += network.stack.counters().callers_moved;
        network.caller_hangs_up();
        network.assert_empty(seed);
        let (rung, hung_up) = (network.heard(1, "INVITE"), network.heard(1, "BYE"));
        assert!(rung <= 1 && hung_up == rung, "seed {seed}: {:?}", network.targets[1].log);
        if leaves_after_ms == 60_000 {
            assert_eq!(network.heard(0, "BYE"), 0, "seed {seed}: it hung up itself");
        }
    }
    assert!(moved >= 40, "{moved} of 60 callers moved");
}
