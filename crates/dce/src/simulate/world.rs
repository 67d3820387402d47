//! One simulated world: the real engine, the real signalling and scripted endpoints on a bad network, in virtual time,
//! with crashes. Everything follows from the seed.

use super::disk::Disk;
use super::market::{self, CALLED};
use super::network::Network;
use engine::{Decided, Owner};
use exchange::call::{CallState, Outcome};
use exchange::compliance::screening::Screening;
use exchange::effect::Command;
use exchange::id::CallId;
use exchange::phone_number::CallerId;
use exchange::policy::Policy;
use exchange::time::Timestamp;
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use telephony::config::SipConfig;
use telephony::endpoint::{self, CallEnd, CallReport, CallSpec, CallerPlan, Endpoint, TargetPlan};
use telephony::peer::Peer;
use telephony::stack::{self, Stack};

/// 2026-07-01T17:00:00Z.
const START: Timestamp = Timestamp(1_782_925_200_000_000);
/// Virtual time after which everything must have come to rest: the longest call, the longest patience, every SIP timer.
const REST_MS: u64 = 3_600_000;
/// Steps of the loop after which a world is taken to spin without end.
const STEPS_MAX: u64 = 2_000_000;

/// What a world came to.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) violations: Vec<String>,
    pub(super) tally: Tally,
    /// Of every packet and every unit of work, in order: equal seeds give equal digests.
    pub(super) digest: u64,
}

/// What happened, for the summary.
#[derive(Debug, Default, Clone, Copy, serde::Serialize)]
pub(super) struct Tally {
    pub(super) calls: u64,
    pub(super) connected: u64,
    pub(super) converted: u64,
    pub(super) crashes: u64,
    pub(super) packets: u64,
    pub(super) packets_lost: u64,
    pub(super) writes: u64,
    pub(super) virtual_s: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.connected += other.connected;
        self.converted += other.converted;
        self.crashes += other.crashes;
        self.packets += other.packets;
        self.packets_lost += other.packets_lost;
        self.writes += other.writes;
        self.virtual_s += other.virtual_s;
    }
}

/// Something that will happen.
enum Happening {
    Packet {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Call(CallSpec),
    Command(Command),
    /// The disk finishes writing what had been handed to it, in the life of the exchange that handed it over.
    Commit {
        life: u64,
    },
    Restart,
}

/// The process that crashes: engine and signalling, and units handed to the disk but not yet on it.
struct Process {
    owner: Owner,
    stack: Stack,
    waiting: VecDeque<(Option<CallId>, Decided)>,
    is_writing: bool,
}

pub(super) struct World {
    rng: Rng,
    now: Timestamp,
    order: u64,
    agenda: BinaryHeap<Reverse<Scheduled>>,
    network: Network,
    disk: Disk,
    process: Option<Process>,
    life: u64,
    crash_at_writes: Vec<u64>,
    commit_us_max: u64,
    carrier: Endpoint,
    targets: Endpoint,
    addresses: Addresses,
    screening: Arc<Screening>,
    answered_callers: BTreeMap<u64, CallReport>,
    targets_vanished: u64,
    digest: DefaultHasher,
    tally: Tally,
    violations: Vec<String>,
    /// Whether packets are shown as they arrive.
    trace: bool,
}

#[derive(Clone, Copy)]
struct Addresses {
    exchange: SocketAddr,
    carrier: SocketAddr,
    targets: SocketAddr,
}

struct Scheduled {
    at: Timestamp,
    order: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Plays one seed to its end.
pub(super) fn play(seed: u64, calls: u32, screening: &Arc<Screening>, trace: bool) -> Verdict {
    let mut world = World::new(seed, calls, screening);
    world.trace = trace;
    let mut steps = 0;
    while let Some(next) = world.next_moment() {
        if next > START.plus_ms(REST_MS) {
            break;
        }
        steps += 1;
        if steps > STEPS_MAX {
            world.violations.push(format!("no rest after {STEPS_MAX} steps"));
            break;
        }
        world.now = world.now.max(next);
        world.turn();
        if world.is_at_rest() {
            break;
        }
    }
    world.conclude()
}

impl World {
    fn new(seed: u64, calls: u32, screening: &Arc<Screening>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let at = |last: u8| SocketAddr::from(([127, 0, 0, last], 5060));
        let addresses = Addresses { exchange: at(1), carrier: at(2), targets: at(3) };
        let mut plans = rng.fork();
        let target_plans = Box::new(move |_: &str| Some(target_plan(&mut plans)));
        let crashes = [0, 0, 1, 1, 2, 4][rng.usize(..6)];
        let mut world = Self {
            network: Network::draw(&mut rng),
            crash_at_writes: (0..crashes).map(|_| rng.u64(1..=u64::from(calls) * 4)).collect(),
            commit_us_max: [200, 5_000, 400_000][rng.usize(..3)],
            carrier: Endpoint::caller(addresses.carrier, rng.u64(..)),
            targets: Endpoint::new(addresses.targets, rng.u64(..), target_plans),
            now: START,
            order: 0,
            agenda: BinaryHeap::new(),
            disk: Disk::default(),
            process: None,
            life: 0,
            addresses,
            screening: Arc::clone(screening),
            answered_callers: BTreeMap::new(),
            targets_vanished: 0,
            digest: DefaultHasher::new(),
            tally: Tally { calls: u64::from(calls), ..Tally::default() },
            violations: Vec::new(),
            trace: false,
            rng,
        };
        world.start_process();
        world.open_market();
        world.plan_calls(calls);
        world
    }

    /// The marketplace is on disk before the first call.
    fn open_market(&mut self) {
        for command in market::commands(&mut self.rng, self.addresses.targets, self.now) {
            self.command(command);
        }
        self.commit();
    }

    /// Thousands of calls a second, in one burst or a few, and changes of the marketplace among them.
    fn plan_calls(&mut self, calls: u32) {
        let spread_ms = [20, 200, 5_000, 60_000][self.rng.usize(..4)];
        for index in 0..calls {
            let at = self.now.plus_ms(self.rng.u64(..spread_ms));
            let caller = if self.rng.u8(..12) == 0 { 0 } else { index };
            let spec = CallSpec {
                to: self.addresses.exchange,
                called: if self.rng.u8(..30) == 0 { "+18005559999" } else { CALLED }.to_owned(),
                caller: caller_number(caller),
                stated_state: None,
                late_offer: self.rng.u8(..8) == 0,
                then: caller_plan(&mut self.rng),
            };
            self.schedule(at, Happening::Call(spec));
        }
        for _ in 0..self.rng.u32(..6) {
            let at = self.now.plus_ms(self.rng.u64(..spread_ms));
            let command = if self.rng.bool() {
                market::toggle(&mut self.rng)
            } else {
                let buyer = self.rng.u64(..2);
                market::deposit(buyer, &mut self.rng)
            };
            self.schedule(at, Happening::Command(command));
        }
    }

    fn schedule(&mut self, at: Timestamp, what: Happening) {
        self.order += 1;
        self.agenda.push(Reverse(Scheduled { at, order: self.order, what }));
    }

    fn next_moment(&self) -> Option<Timestamp> {
        let process =
            self.process.iter().flat_map(|process| [process.stack.next_deadline(), process.owner.next_due()]);
        let endpoints = [self.carrier.next_deadline(), self.targets.next_deadline()];
        let agenda = self.agenda.peek().map(|Reverse(scheduled)| scheduled.at);
        process.chain(endpoints).flatten().chain(agenda).min()
    }

    /// Everything that is due now.
    fn turn(&mut self) {
        while self.agenda.peek().is_some_and(|Reverse(scheduled)| scheduled.at <= self.now) {
            let Some(Reverse(scheduled)) = self.agenda.pop() else { break };
            self.happen(scheduled.what);
            self.pump();
        }
        self.carrier.tick(self.now);
        self.targets.tick(self.now);
        if let Some(process) = &mut self.process {
            process.stack.tick(self.now);
            while let Some((call, input)) =
                self.process.as_mut().and_then(|process| process.owner.due(self.now))
            {
                self.input(call, input);
            }
        }
        self.pump();
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Packet { from, to, bytes } => {
                bytes.hash(&mut self.digest);
                if self.trace {
                    self.show_packet(from, to, &bytes);
                }
                if to == self.addresses.carrier {
                    self.carrier.receive(&bytes, from, self.now);
                } else if to == self.addresses.targets {
                    self.targets.receive(&bytes, from, self.now);
                } else if let Some(process) = &mut self.process {
                    process.stack.receive(&bytes, Peer::udp(from), self.now);
                }
            }
            Happening::Call(spec) => {
                if self.carrier.place_call(&spec, self.now).is_err() {
                    self.violations.push("the carrier's table is full".to_owned());
                }
            }
            Happening::Command(command) => self.command(command),
            Happening::Commit { life } if life == self.life => self.commit(),
            Happening::Commit { .. } => {}
            Happening::Restart => self.start_process(),
        }
    }

    fn command(&mut self, command: Command) {
        let Some(process) = &mut self.process else { return };
        // Refused commands (a bid that does not exist) change nothing.
        if let Ok(unit) = process.owner.command(command, self.now) {
            self.hand_to_disk(None, Decided { unit, actions: Vec::new() });
        }
    }

    fn input(&mut self, call: CallId, input: exchange::effect::Input) {
        let Some(process) = &mut self.process else { return };
        match process.owner.call(call, input, self.now) {
            Ok(decided) => self.hand_to_disk(Some(call), decided),
            Err(illegal) => self.violations.push(format!("illegal input: {illegal}")),
        }
    }

    fn hand_to_disk(&mut self, call: Option<CallId>, decided: Decided) {
        let delay_us = self.rng.u64(50..=self.commit_us_max);
        let Some(process) = &mut self.process else { return };
        process.waiting.push_back((call, decided));
        if !process.is_writing {
            process.is_writing = true;
            let (life, at) = (self.life, self.now + std::time::Duration::from_micros(delay_us));
            self.schedule(at, Happening::Commit { life });
        }
    }

    /// The group that was waiting gets onto the disk, unit by unit; a crash may come after any of them, before what it
    /// led to is done.
    fn commit(&mut self) {
        let Some(process) = &mut self.process else { return };
        process.is_writing = false;
        for (call, decided) in std::mem::take(&mut process.waiting) {
            if self.write(&decided.unit) {
                return self.crash();
            }
            let Some(process) = &mut self.process else { return };
            if let Some(call) = call {
                for action in &decided.actions {
                    process.stack.act(call, action, self.now);
                }
            }
        }
    }

    /// Writes one unit; whether the process crashes right after it.
    fn write(&mut self, unit: &infra::store::UnitOfWork) -> bool {
        format!("{unit:?}").hash(&mut self.digest);
        let before = self.disk.writes;
        self.disk.write(unit, self.now);
        self.disk.writes > before && self.crash_at_writes.contains(&self.disk.writes)
    }

    fn crash(&mut self) {
        self.tally.crashes += 1;
        self.process = None;
        self.life += 1;
        let down_ms = self.rng.u64(1..20_000);
        self.schedule(self.now.plus_ms(down_ms), Happening::Restart);
    }

    /// Starts the process from what is on disk.
    fn start_process(&mut self) {
        let policy = Policy::default();
        let recovery =
            Owner::recover(self.disk.snapshot.clone(), policy, Arc::clone(&self.screening), self.now);
        for unit in &recovery.units {
            if self.write(unit) {
                return self.crash();
            }
        }
        let stack = Stack::new(sip_config(self.addresses), self.rng.u64(..)).expect("a valid configuration");
        self.process =
            Some(Process { owner: recovery.owner, stack, waiting: VecDeque::new(), is_writing: false });
    }

    /// Carries packets and inputs until nobody has any more to say at this moment.
    fn pump(&mut self) {
        loop {
            let mut is_quiet = true;
            while let Some(output) = self.process.as_mut().and_then(|process| process.stack.poll_output()) {
                is_quiet = false;
                match output {
                    stack::Output::Send { to, bytes } => {
                        self.send(self.addresses.exchange, to.address, bytes);
                    }
                    stack::Output::Input { call, input } => self.input(call, input),
                }
            }
            while let Some(output) = self.carrier.poll_output() {
                is_quiet = false;
                match output {
                    endpoint::Output::Send { to, bytes } => self.send(self.addresses.carrier, to, bytes),
                    endpoint::Output::Report(report) => self.note(report),
                }
            }
            while let Some(output) = self.targets.poll_output() {
                is_quiet = false;
                match output {
                    endpoint::Output::Send { to, bytes } => self.send(self.addresses.targets, to, bytes),
                    endpoint::Output::Report(report) => {
                        self.targets_vanished += u64::from(report.end == CallEnd::Vanished);
                    }
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.tally.packets += 1;
        let arrivals: Vec<Timestamp> = self.network.arrivals(self.now, &mut self.rng).collect();
        self.tally.packets_lost += u64::from(arrivals.is_empty());
        for at in arrivals {
            self.schedule(at, Happening::Packet { from, to, bytes: bytes.clone() });
        }
    }

    /// One line for each packet: when, between whom, its first line and the call it belongs to.
    fn show_packet(&self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let name = |address| match address {
            _ if address == self.addresses.carrier => "carrier",
            _ if address == self.addresses.targets => "targets",
            _ => "exchange",
        };
        let text = String::from_utf8_lossy(bytes);
        let field = |wanted: &str| text.lines().find(|line| line.starts_with(wanted)).unwrap_or_default();
        let at_ms = self.now.ms_since(START);
        let (first, call_id, cseq) =
            (text.lines().next().unwrap_or_default(), field("Call-ID"), field("CSeq"));
        let line = format!("{at_ms:>9} ms {} -> {}: {first} | {call_id} | {cseq}\n", name(from), name(to));
        // Whoever asked for the trace may have seen enough and closed the pipe.
        let _ = crate::print(&line);
    }

    fn note(&mut self, report: CallReport) {
        if report.answered_at.is_some() {
            self.answered_callers.insert(report.id.0, report);
        }
    }

    fn is_at_rest(&self) -> bool {
        let resting = |process: &Process| {
            process.waiting.is_empty()
                && process.owner.book().calls().len() == 0
                && process.stack.live_calls() == 0
        };
        self.agenda.is_empty()
            && self.carrier.calls_open() == 0
            && self.targets.calls_open() == 0
            && self.process.as_ref().is_some_and(resting)
    }

    fn conclude(mut self) -> Verdict {
        self.disk.check_at_rest();
        let mut violations = std::mem::take(&mut self.disk.violations);
        violations.append(&mut self.violations);
        if let Some(process) = &self.process {
            if process.stack.live_calls() > 0 {
                violations.push(format!("{} calls linger in signalling", process.stack.live_calls()));
            }
            for (account, balance) in &self.disk.snapshot.balances {
                if process.owner.book().balances().get(*account) != *balance {
                    violations.push(format!("memory and disk disagree about {account}"));
                }
            }
        } else {
            violations.push("the exchange did not come back".to_owned());
        }
        let connected = self.ended_connected();
        // A 200 reaches the caller only after its call is connected on disk, whatever crashed meanwhile.
        let answered = self.answered_callers.len() as u64;
        if answered > connected {
            violations.push(format!("{answered} callers were connected, the disk knows of {connected}"));
        }
        violations.extend(self.unexplained_silence());
        let converted = self.disk.ended.values().filter(|call| {
            matches!(&call.state, CallState::Ended { outcome: Outcome::Converted { .. }, .. })
        });
        self.tally.converted = converted.count() as u64;
        self.tally.connected = connected;
        self.tally.writes = self.disk.writes;
        self.tally.virtual_s = self.now.ms_since(START) / 1_000;
        Verdict { violations, tally: self.tally, digest: self.digest.finish() }
    }

    fn ended_connected(&self) -> u64 {
        self.disk.ended.values().filter(|call| call.was_connected()).count() as u64
    }

    /// On a perfect network, without crashes and with targets that stay, no caller is left without an answer to anything.
    fn unexplained_silence(&self) -> Option<String> {
        let perfect = self.tally.packets_lost == 0 && self.tally.crashes == 0 && self.targets_vanished == 0;
        let silent = self.answered_callers.values().filter(|report| report.end == CallEnd::PeerLost).count();
        (perfect && silent > 0).then(|| format!("{silent} callers heard nothing more, on a perfect network"))
    }
}

fn sip_config(addresses: Addresses) -> SipConfig {
    let json = serde_json::json!({
        "listen": [format!("udp://{}", addresses.exchange)],
        "trunks": [{ "name": "carrier", "sources": [addresses.carrier.ip().to_string()] }],
        "session_expires_s": 90,
    });
    serde_json::from_value(json).expect("a valid configuration")
}

fn caller_number(index: u32) -> String {
    let number = format!("+1212{:07}", 2_000_000 + index);
    debug_assert!(matches!(CallerId::from_user_part(&number), CallerId::Number(_)));
    number
}

fn caller_plan(rng: &mut Rng) -> CallerPlan {
    match rng.u8(..10) {
        0 => CallerPlan::CancelAfter { ms: rng.u64(..30_000) },
        1 => CallerPlan::Vanish { after_ms: rng.u64(..60_000) },
        2 => CallerPlan::HoldThenTalk {
            before_ms: rng.u64(..5_000),
            hold_ms: rng.u64(..5_000),
            after_ms: rng.u64(..60_000),
        },
        _ => CallerPlan::TalkFor { ms: rng.u64(..300_000) },
    }
}

fn target_plan(rng: &mut Rng) -> TargetPlan {
    let ring_ms = rng.u64(..15_000);
    let talk_ms = rng.bool().then(|| rng.u64(..200_000));
    match rng.u8(..12) {
        0 | 1 => TargetPlan::Busy,
        2 => TargetPlan::Reject { status: [403, 404, 480, 500, 503, 603][rng.usize(..6)] },
        3 => TargetPlan::RingForever,
        4 => TargetPlan::Silent,
        5 => TargetPlan::Vanish { ring_ms, after_ms: rng.u64(..60_000) },
        6 => TargetPlan::EarlyMediaThenAnswer { ring_ms, talk_ms },
        _ => TargetPlan::AnswerAfter { ring_ms, talk_ms },
    }
}
