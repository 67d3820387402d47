//! One simulated world: the real engine, the real signalling and scripted endpoints on a bad network, in virtual time,
//! with crashes. Everything follows from the seed.

use super::agenda::{Agenda, Happening};
use super::books::Books;
use super::disk::Disk;
use super::market::{self, NUMBERS};
use super::network::Network;
use super::people::{caller_number, caller_plan, target_plan};
use super::sellers::{self, Sellers};
use super::tally::Tally;
use super::{auctions, bidders};
use engine::{Decided, Owner};
use exchange::audit::Actor;
use exchange::call::{CallState, Outcome};
use exchange::compliance::screening::Screening;
use exchange::effect::{Action, Command, Input, Record};
use exchange::id::CallId;
use exchange::ledger::money::Micros;
use exchange::ping::PingRequest;
use exchange::policy::Policy;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use fastrand::Rng;
use infra::store::UnitOfWork;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use telephony::config::SipConfig;
use telephony::endpoint::{self, CallEnd, CallReport, CallSpec, Endpoint};
use telephony::peer::Peer;
use telephony::stack::{self, Stack};
use uuid::Uuid;

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
    agenda: Agenda,
    network: Network,
    disk: Disk,
    /// A real store, in which everything is written as well, and from which the process starts.
    books: Option<Books>,
    process: Option<Process>,
    life: u64,
    crash_at_writes: Vec<u64>,
    commit_us_max: u64,
    /// From when and until when the disk takes nothing.
    disk_full: Option<(Timestamp, Timestamp)>,
    sellers: Sellers,
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

/// Plays one seed to its end.
pub(super) fn play(seed: u64, calls: u32, screening: &Arc<Screening>, trace: bool) -> Verdict {
    let mut world = World::new(seed, calls, screening, None);
    world.trace = trace;
    world.run();
    world.conclude()
}

/// The same on a real store, which must be empty.
pub(super) fn play_in_books(
    seed: u64,
    calls: u32,
    screening: &Arc<Screening>,
    books: Books,
) -> (Verdict, Option<Books>) {
    let mut world = World::new(seed, calls, screening, Some(books));
    world.run();
    let books = world.books.take();
    (world.conclude(), books)
}

impl World {
    fn new(seed: u64, calls: u32, screening: &Arc<Screening>, books: Option<Books>) -> Self {
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
            disk_full: (rng.u8(..8) == 0).then(|| {
                let from = START.plus_ms(rng.u64(..60_000));
                (from, from.plus_ms(rng.u64(1..40_000)))
            }),
            sellers: Sellers::default(),
            carrier: Endpoint::caller(addresses.carrier, rng.u64(..)),
            targets: Endpoint::new(addresses.targets, rng.u64(..), target_plans),
            now: START,
            agenda: Agenda::default(),
            disk: Disk::default(),
            books,
            process: None,
            life: 0,
            addresses,
            screening: Arc::clone(screening),
            answered_callers: BTreeMap::new(),
            targets_vanished: 0,
            digest: DefaultHasher::new(),
            tally: Tally::default(),
            violations: Vec::new(),
            trace: false,
            rng,
        };
        world.start_process();
        world.open_market();
        world.plan_calls(calls);
        world
    }

    /// Until everything has come to rest.
    fn run(&mut self) {
        let mut steps = 0;
        while let Some(next) = self.next_moment() {
            if next > START.plus_ms(REST_MS) {
                break;
            }
            steps += 1;
            if steps > STEPS_MAX {
                self.violations.push(format!("no rest after {STEPS_MAX} steps"));
                break;
            }
            self.now = self.now.max(next);
            self.turn();
            if self.is_at_rest() {
                break;
            }
        }
    }

    /// The marketplace is on disk before the first call.
    fn open_market(&mut self) {
        for command in market::commands(&mut self.rng, self.addresses.targets, self.now) {
            self.command(command);
        }
        self.commit();
    }

    /// Thousands of calls a second, in one burst or a few, some of them pinged for first, and changes of the marketplace among
    /// them.
    fn plan_calls(&mut self, calls: u32) {
        let spread_ms = [20, 200, 5_000, 60_000][self.rng.usize(..4)];
        for index in 0..calls {
            let at = self.now.plus_ms(self.rng.u64(..spread_ms));
            let caller = if self.rng.u8(..12) == 0 { 0 } else { index };
            let called = if self.rng.u8(..30) == 0 { "+18005559999" } else { NUMBERS[self.rng.usize(..2)] };
            if self.rng.u8(..3) == 0 {
                self.plan_lead(at, caller, called);
            } else {
                self.plan_call(at, caller, called);
            }
        }
        for _ in 0..self.rng.u32(..10) {
            let at = self.now.plus_ms(self.rng.u64(..spread_ms));
            let command = market::change(&mut self.rng);
            self.agenda.put(at, Happening::Command(command));
        }
    }

    fn plan_call(&mut self, at: Timestamp, caller: u32, called: &str) {
        let spec = CallSpec {
            to: self.addresses.exchange,
            called: called.to_owned(),
            caller: caller_number(caller),
            stated_state: None,
            late_offer: self.rng.u8(..8) == 0,
            then: caller_plan(&mut self.rng),
        };
        self.tally.calls += 1;
        self.agenda.put(at, Happening::Call(spec));
    }

    fn plan_lead(&mut self, at: Timestamp, caller: u32, called: &str) {
        let lead = sellers::lead(caller, called, &mut self.rng);
        for after_ms in lead.pings_after_ms {
            let id = CallId(Uuid::from_u128(self.rng.u128(..)));
            let request = lead.request.clone();
            self.agenda.put(at.plus_ms(after_ms), Happening::Ping { id, request });
        }
        for after_ms in lead.calls_after_ms {
            self.plan_call(at.plus_ms(after_ms), caller, called);
        }
    }

    fn next_moment(&self) -> Option<Timestamp> {
        let process =
            self.process.iter().flat_map(|process| [process.stack.next_deadline(), process.owner.next_due()]);
        let endpoints = [self.carrier.next_deadline(), self.targets.next_deadline()];
        process.chain(endpoints).flatten().chain(self.agenda.next()).min()
    }

    /// Everything that is due now.
    fn turn(&mut self) {
        while let Some(what) = self.agenda.take_due(self.now) {
            self.happen(what);
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
            Happening::Ping { id, request } => self.ping(id, request),
            // Comes to the next life of the exchange as well: nobody there has asked.
            Happening::Answer { call, answer } => self.input(call, Input::BidAnswered(answer)),
            Happening::Command(command) => self.command(command),
            Happening::Commit { life } if life == self.life => match self.disk_full_until() {
                Some(until) => self.agenda.put(until, Happening::Commit { life }),
                None => self.commit(),
            },
            Happening::Commit { .. } => {}
            Happening::Restart => self.start_process(),
        }
    }

    fn command(&mut self, command: Command) {
        let Some(process) = &mut self.process else { return };
        // Refused commands (a bid that does not exist) change nothing.
        if let Ok(unit) = process.owner.command(command, Actor::CommandLine, self.now) {
            self.hand_to_disk(None, Decided { unit, actions: Vec::new() });
        }
    }

    /// A seller's request: refused while the process is down or the disk full, as the API would.
    fn ping(&mut self, id: CallId, request: PingRequest) {
        if self.process.is_some() && self.disk_full_until().is_none() {
            self.sellers.asked(id);
            self.input(id, Input::Pinged(request));
        }
    }

    /// Until when the disk takes nothing, if it is full now.
    fn disk_full_until(&self) -> Option<Timestamp> {
        self.disk_full.filter(|(from, until)| (*from..*until).contains(&self.now)).map(|(_, until)| until)
    }

    fn input(&mut self, call: CallId, input: Input) {
        let is_full = self.disk_full_until().is_some();
        let Some(process) = &mut self.process else { return };
        if is_full && matches!(input, Input::Arrived(_)) {
            self.tally.refused_disk_full += 1;
            return process.stack.refuse(call, self.now);
        }
        match process.owner.call(call, input, self.now) {
            Ok(mut decided) => {
                self.violations.extend(auctions::untold(&decided));
                self.ask_live_bidders(call, &mut decided.actions);
                self.hand_to_disk(Some(call), decided);
            }
            Err(illegal) => self.violations.push(format!("illegal input: {illegal}")),
        }
    }

    /// Questions to live bidders do not wait for the disk.
    fn ask_live_bidders(&mut self, call: CallId, actions: &mut Vec<Action>) {
        for question in actions.extract_if(.., |action| matches!(action, Action::RequestBid(_))) {
            let Action::RequestBid(request) = question else { continue };
            self.tally.live_asked += 1;
            for (after_ms, answer) in bidders::answers(&request, &mut self.rng) {
                self.agenda.put(self.now.plus_ms(after_ms), Happening::Answer { call, answer });
            }
        }
    }

    fn hand_to_disk(&mut self, call: Option<CallId>, decided: Decided) {
        let delay_us = self.rng.u64(50..=self.commit_us_max);
        let Some(process) = &mut self.process else { return };
        process.waiting.push_back((call, decided));
        if !process.is_writing {
            process.is_writing = true;
            let (life, at) = (self.life, self.now + std::time::Duration::from_micros(delay_us));
            self.agenda.put(at, Happening::Commit { life });
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
            self.plan_reports(&decided.unit);
            if let Some(call) = call {
                decided.actions.iter().for_each(|action| self.act(call, action));
            }
        }
    }

    /// Buyers who pay a share of their revenue report most of it: in time, late, or twice.
    fn plan_reports(&mut self, unit: &UnitOfWork) {
        let calls = unit.records.iter().filter_map(|record| match record {
            Record::Call(call) => Some(call.as_ref()),
            _ => None,
        });
        for awaited in
            calls.filter_map(|call| call.awaited_revenue().map(|awaited| (call.id, awaited.attempt.buyer)))
        {
            let (call, buyer) = awaited;
            let revenue_micros = Micros(self.rng.i64(0..300_000_000));
            for _ in 0..self.rng.u8(..3) {
                let report = Command::ReportRevenue { call, buyer, revenue_micros, reference: None };
                self.agenda.put(self.now.plus_ms(self.rng.u64(..1_000_000)), Happening::Command(report));
            }
        }
    }

    /// What a unit led to, once it is on disk.
    fn act(&mut self, call: CallId, action: &Action) {
        match action {
            Action::AnswerPing(answer) => {
                format!("{answer:?}").hash(&mut self.digest);
                self.violations.extend(self.sellers.answered(call, answer, &self.disk.snapshot));
            }
            Action::NotifyBidder(notice) => format!("{notice:?}").hash(&mut self.digest),
            action => {
                if let Some(process) = &mut self.process {
                    process.owner.let_out(call, action, self.now);
                    process.stack.act(call, action, self.now);
                }
            }
        }
    }

    /// Writes one unit; whether the process crashes right after it.
    fn write(&mut self, unit: &UnitOfWork) -> bool {
        format!("{unit:?}").hash(&mut self.digest);
        let before = self.disk.writes;
        self.disk.write(unit, self.now);
        if let Some(books) = &self.books {
            books.write(unit);
        }
        self.disk.writes > before && self.crash_at_writes.contains(&self.disk.writes)
    }

    fn crash(&mut self) {
        self.tally.crashes += 1;
        self.process = None;
        self.life += 1;
        let down_ms = self.rng.u64(1..20_000);
        self.agenda.put(self.now.plus_ms(down_ms), Happening::Restart);
    }

    /// What was written; with a real store, what that gives back, which must be the same.
    fn what_is_on_disk(&mut self) -> Snapshot {
        let written = self.disk.snapshot.clone();
        let Some(books) = &mut self.books else { return written };
        match books.reopen() {
            Ok(read) => {
                // Of this a store knows what its units say, the simulated disk when they came.
                if read != (Snapshot { last_alive_at: read.last_alive_at, ..written }) {
                    self.violations.push("the store gives back other books than were written".to_owned());
                }
                read
            }
            Err(failure) => {
                self.violations.push(failure.to_string());
                written
            }
        }
    }

    /// Starts the process from what is on disk.
    fn start_process(&mut self) {
        let policy = Policy::default();
        let snapshot = self.what_is_on_disk();
        let recovery = Owner::recover(snapshot, policy, Arc::clone(&self.screening), self.now);
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
            self.agenda.put(at, Happening::Packet { from, to, bytes: bytes.clone() });
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
                && process.owner.book().awaiting_revenue().len() == 0
                && process.stack.live_calls() == 0
        };
        self.agenda.next().is_none()
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
        let unanswered = self.sellers.unanswered();
        if self.tally.crashes == 0 && unanswered > 0 {
            violations.push(format!("{unanswered} pings were never answered, and nothing crashed"));
        }
        let converted = self.disk.ended.values().filter(|call| {
            matches!(&call.state, CallState::Ended { outcome: Outcome::Converted { .. }, .. })
        });
        self.tally.converted = converted.count() as u64;
        self.tally.connected = connected;
        self.tally.pings = self.sellers.pings();
        self.tally.reserved = self.sellers.reserved;
        self.tally.redeemed = self.disk.promises.redeemed();
        self.tally.expired = self.disk.promises.expired;
        self.tally.live_won = self.disk.auctions.live_won;
        self.tally.dealt = self.disk.auctions.dealt;
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
