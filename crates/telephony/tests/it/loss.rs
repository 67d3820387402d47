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
use telephony::token::Tokens;
use telephony::transaction::{Event, Timers, TransactionConfig, Transactions};

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

    /// Does what a phone does by itself; returns what it sends.
    fn live(&mut self, now: Timestamp) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(event) = self.layer.poll() {
            match event {
                Event::Send { bytes, .. } => sent.push(bytes),
                Event::Request { id, request, .. } => {
                    self.log.push(request.method.to_string());
                    let contact = format!("<sip:phone@{}>", self.peer.address);
                    let ok = request.reply(200).with_to_tag("fixed").with(Name::Contact, contact);
                    self.layer.respond(id, &ok, now);
                }
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
    target: Endpoint,
    own: Peer,
    now: Timestamp,
    flying: BTreeMap<(Timestamp, u64), (Peer, Peer, Vec<u8>)>,
    chance: Tokens,
    sent: u64,
    ended: u32,
}

impl Network {
    fn new(seed: u64) -> Self {
        Self {
            stack: Stack::new(config(), seed).unwrap(),
            caller: Endpoint::new(carrier(), seed + 1_000),
            target: Endpoint::new(buyer(0), seed + 2_000),
            own: peer("udp://198.51.100.1:5060"),
            now: Timestamp(1_700_000_000_000_000),
            flying: BTreeMap::new(),
            chance: Tokens::new(seed + 3_000),
            sent: 0,
            ended: 0,
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
            let (from_caller, from_target) = (self.caller.live(self.now), self.target.live(self.now));
            if from_stack.is_empty() && from_caller.is_empty() && from_target.is_empty() {
                return;
            }
            for output in from_stack {
                match output {
                    Output::Send { to, bytes } => self.fly(self.own, to, bytes),
                    Output::Input { call, input } => self.decide(call, &input),
                }
            }
            for bytes in from_caller {
                self.fly(carrier(), self.own, bytes);
            }
            for bytes in from_target {
                self.fly(buyer(0), self.own, bytes);
            }
        }
    }

    /// A very small exchange.
    fn decide(&mut self, call: exchange::id::CallId, input: &Input) {
        let action = match input {
            Input::Arrived(_) => {
                let destination = Destination { sip_uris: vec![uri_of(buyer(0))] };
                Action::RingTarget { attempt: 1, destination, caller: CallerId::Anonymous }
            }
            Input::TargetAnswered { attempt } => Action::ConnectCaller { attempt: *attempt },
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
            let deadlines = [
                self.stack.next_deadline(),
                self.caller.layer.next_deadline(),
                self.target.layer.next_deadline(),
            ];
            let landing = self.flying.keys().next().map(|(at, _)| *at);
            let next = deadlines.into_iter().flatten().chain(landing).min();
            let Some(next) = next.filter(|at| *at <= until) else { break };
            self.now = self.now.max(next);
            self.stack.tick(self.now);
            self.caller.layer.tick(self.now);
            self.target.layer.tick(self.now);
            while self.flying.keys().next().is_some_and(|(at, _)| *at <= self.now) {
                let Some((_, (from, to, bytes))) = self.flying.pop_first() else { break };
                if to == self.own {
                    self.stack.receive(&bytes, from, self.now);
                } else {
                    let endpoint = if to == carrier() { &mut self.caller } else { &mut self.target };
                    endpoint.layer.receive_bytes(&bytes, self.own, self.now).unwrap();
                }
            }
        }
        self.now = until;
    }

    fn caller_sends(&mut self, request: Request) {
        let (own, now) = (self.own, self.now);
        self.caller.layer.send(request, own, (), now).unwrap();
    }
}

#[test]
fn calls_get_through_a_bad_network_and_leave_nothing_behind() {
    let mut connected = 0;
    for seed in 0..60 {
        let mut network = Network::new(seed);
        let mut tokens = Tokens::new(seed);
        let from = "<sip:+12125550123@192.0.2.1>".to_owned();
        let dialog =
            Dialog::calling(format!("loss-{seed}"), tokens.tag(), from, "sip:+18885550100@198.51.100.1");
        network.caller.dialog = Some(dialog);
        let mut invite = network.caller.dialog.as_mut().unwrap().request(Method::Invite);
        invite.headers.push(Name::Contact, "<sip:phone@192.0.2.1:5060>");
        network.caller_sends(invite);
        network.run_until(network.now.plus_ms(40_000));
        if network.caller.log.first().is_some_and(|line| line == "200 INVITE") {
            connected += 1;
            let bye = network.caller.dialog.as_mut().unwrap().request(Method::Bye);
            network.caller_sends(bye);
        }
        network.run_until(network.now.plus_ms(300_000));
        assert_eq!(
            network.stack.live_calls(),
            0,
            "seed {seed}: {:?} {:?}",
            network.caller.log,
            network.target.log
        );
        assert_eq!(network.stack.live_transactions(), 0, "seed {seed}");
        assert!(network.ended >= 1, "seed {seed}: the exchange learns of every end");
        let rung = network.target.log.iter().filter(|line| *line == "INVITE").count();
        let hung_up = network.target.log.iter().filter(|line| *line == "BYE").count();
        assert!(rung <= 1 && hung_up == rung, "seed {seed}: {:?}", network.target.log);
    }
    assert!(connected >= 55, "{connected} of 60 calls connected");
}
