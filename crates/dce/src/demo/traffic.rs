//! The calls: placed at a steady rate, and followed until every one of them is over on every side.

use super::floor::{Floor, Sockets, address_of};
use super::{DemoArguments, cast};
use crate::failure::Failure;
use crate::marketplace::Callers;
use exchange::call::{Arrival, Stated};
use exchange::id::CallId;
use exchange::phone_number::{CallerId, PhoneNumber};
use exchange::ping::PingRequest;
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;
use telephony::endpoint::{CallReport, CallSpec, Endpoint, EndpointCounters, Side, socket};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use uuid::Uuid;

/// How long the last calls may take after the last INVITE: a whole route plan that rings out, a long talk, and then some.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long the targets' sides may take after the callers' sides are over.
const ECHO: Duration = Duration::from_secs(10);
/// How often the exchange is asked whether it has calls up.
const LOOK: Duration = Duration::from_millis(20);

/// How long a seller who pings wants the answer held, in milliseconds.
const PING_EXPIRES_MS: u64 = 3_000;

/// Everything the outside world saw.
pub(super) struct Traffic {
    /// The calls placed, in order.
    pub(super) placed: Vec<Placed>,
    /// Reports of the callers, as they came.
    pub(super) callers: Vec<CallReport>,
    /// Reports of the targets, as they came.
    pub(super) targets: Vec<CallReport>,
    /// Callers for whom the call is still not over.
    pub(super) callers_hanging: usize,
    /// Targets for whom the call is still not over.
    pub(super) targets_hanging: usize,
    /// What every endpoint met beside calls.
    pub(super) counters: Vec<EndpointCounters>,
    /// Calls that the exchange's signalling or book still has.
    pub(super) live_calls: usize,
    /// From the first INVITE to the end of the last call.
    pub(super) took: Duration,
    /// The targets, silent now; see [`answer_on`].
    pub(super) retired: Vec<(Endpoint, UdpSocket)>,
}

/// A call as it was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) called: PhoneNumber,
    pub(super) caller: CallerId,
}

/// A call to be placed.
struct Order {
    spec: CallSpec,
    placed: Placed,
    /// Its seller asks first what it would bring.
    ping: Option<PingRequest>,
}

type Running = JoinHandle<std::io::Result<(Endpoint, UdpSocket)>>;

/// Everything that plays, until it is dropped.
struct Stage {
    carrier: Running,
    targets: Vec<Running>,
    calls: mpsc::Sender<CallSpec>,
    reports: mpsc::Receiver<CallReport>,
}

/// Places the calls and waits for the end of all of them.
pub(super) async fn run(
    floor: &Floor,
    sockets: Sockets,
    arguments: &DemoArguments,
) -> Result<Traffic, Failure> {
    let mut stage = Stage::set(floor, sockets, arguments)?;
    let bar = progress_bar(arguments);
    let started = Instant::now();
    let orders = orders(floor, arguments)?;
    let placed = orders.iter().map(|order| order.placed.clone()).collect();
    let mut seen = Seen { callers: Vec::new(), targets: Vec::new(), bar: &bar };
    place(orders, floor, &mut stage, arguments, &mut seen).await;
    let calls = arguments.calls as usize;
    seen.follow(&mut stage.reports, Instant::now() + PATIENCE, |seen| seen.callers.len() >= calls).await;
    let until = Instant::now() + ECHO;
    while floor.exchange().live_calls() > 0 && Instant::now() < until {
        seen.follow(&mut stage.reports, (Instant::now() + LOOK).min(until), |_| false).await;
    }
    // The last packets to the targets may still be on their way.
    seen.follow(&mut stage.reports, Instant::now() + 10 * LOOK, |_| false).await;
    let took = started.elapsed();
    bar.finish_and_clear();
    let Seen { callers, targets, .. } = seen;
    let live_calls = floor.exchange().live_calls();
    let (carrier, retired) = stage.clear().await?;
    let counters = retired.iter().map(|(target, _)| target.counters());
    Ok(Traffic {
        placed,
        callers,
        targets,
        callers_hanging: carrier.calls_open(),
        targets_hanging: retired.iter().map(|(target, _)| target.calls_open()).sum(),
        counters: std::iter::once(carrier.counters()).chain(counters).collect(),
        live_calls,
        took,
        retired,
    })
}

/// Who calls which number and what he does then; whose seller pings first.
fn orders(floor: &Floor, arguments: &DemoArguments) -> Result<Vec<Order>, Failure> {
    let mut callers =
        Callers::new(arguments.seed).map_err(|error| Failure::environment(error.to_string()))?;
    let mut rng = Rng::with_seed(arguments.seed ^ 0x6469_616c);
    let mut pinging = Rng::with_seed(arguments.seed ^ 0x7069_6e67);
    let numbers = &floor.marketplace.numbers;
    let order = |_| {
        let caller = callers.next();
        let number = &numbers[rng.usize(0..numbers.len())];
        let (then, late_offer) = cast::consumer(&mut rng);
        let placed = Placed { called: number.number, caller: CallerId::from_user_part(&caller.user) };
        let stated = Stated { state: caller.stated_state, ..Stated::default() };
        let is_pinged = pinging.u32(0..10) == 0 && placed.caller.number().is_some();
        let ping = is_pinged.then(|| {
            let (called, caller, trunk) = (placed.called, placed.caller.clone(), "ping".to_owned());
            let arrival = Arrival { called, caller, trunk, stated };
            PingRequest { arrival, expires_in_ms: Some(PING_EXPIRES_MS) }
        });
        let spec = CallSpec {
            to: floor.sip(),
            called: number.number.to_string(),
            caller: caller.user,
            stated_state: caller.stated_state,
            late_offer,
            then,
        };
        Order { spec, placed, ping }
    };
    Ok((0..arguments.calls).map(order).collect())
}

/// Hands the calls to the carrier, `cps` a second, and takes reports meanwhile.
async fn place(
    orders: Vec<Order>,
    floor: &Floor,
    stage: &mut Stage,
    arguments: &DemoArguments,
    seen: &mut Seen<'_>,
) {
    let mut ticks = interval(Duration::from_secs(1) / arguments.cps);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let engine = floor.exchange().engine();
    for Order { spec, ping, .. } in orders {
        // Reports go first: a carrier that cannot tell takes no calls either.
        loop {
            tokio::select! {
                biased;
                Some(report) = stage.reports.recv() => seen.take(report),
                _ = ticks.tick() => break,
            }
        }
        if let Some(ping) = ping {
            // The call comes whatever the answer is; the books say what became of both.
            let _ = engine.ping(CallId(Uuid::now_v7()), ping).await;
        }
        loop {
            tokio::select! {
                biased;
                Some(report) = stage.reports.recv() => seen.take(report),
                slot = stage.calls.reserve() => match slot {
                    Ok(slot) => break slot.send(spec),
                    // The carrier's socket is gone; the missing reports will tell.
                    Err(_) => return,
                },
            }
        }
    }
}

/// Reports so far.
struct Seen<'a> {
    callers: Vec<CallReport>,
    targets: Vec<CallReport>,
    bar: &'a ProgressBar,
}

impl Seen<'_> {
    fn take(&mut self, report: CallReport) {
        match report.side {
            Side::Caller => {
                self.bar.inc(1);
                self.callers.push(report);
            }
            Side::Target { .. } => self.targets.push(report),
        }
    }

    /// Takes reports until it is enough, or too late.
    async fn follow(
        &mut self,
        reports: &mut mpsc::Receiver<CallReport>,
        until: Instant,
        is_enough: impl Fn(&Self) -> bool,
    ) {
        while !is_enough(self) {
            match timeout_at(until, reports.recv()).await {
                Ok(Some(report)) => self.take(report),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

impl Stage {
    fn set(floor: &Floor, sockets: Sockets, arguments: &DemoArguments) -> Result<Self, Failure> {
        let (calls, specs) = mpsc::channel(64);
        let (told, reports) = mpsc::channel(1_024);
        let seed = arguments.seed;
        let carrier = Endpoint::caller(address_of(&sockets.carrier)?, seed);
        let carrier = tokio::spawn(socket::run(carrier, sockets.carrier, specs, told.clone()));
        let target = |(index, socket): (u64, UdpSocket)| -> Result<Running, Failure> {
            let plans = cast::targets(&floor.marketplace, seed);
            let endpoint = Endpoint::new(address_of(&socket)?, seed ^ (index + 1), plans);
            // Targets place no calls.
            let (_, specs) = mpsc::channel(1);
            Ok(tokio::spawn(socket::run(endpoint, socket, specs, told.clone())))
        };
        let targets = (0..).zip(sockets.targets).map(target).collect::<Result<_, _>>()?;
        Ok(Self { carrier, targets, calls, reports })
    }

    /// Ends the play: the carrier and the targets as they are now.
    async fn clear(self) -> Result<(Endpoint, Vec<(Endpoint, UdpSocket)>), Failure> {
        drop(self.reports);
        let (carrier, _) = ended(self.carrier).await?;
        let mut targets = Vec::with_capacity(self.targets.len());
        for target in self.targets {
            targets.push(ended(target).await?);
        }
        Ok((carrier, targets))
    }
}

async fn ended(running: Running) -> Result<(Endpoint, UdpSocket), Failure> {
    let failed = |error: String| Failure::environment(format!("the demo's endpoints: {error}"));
    running.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

/// Lets targets take calls again, for whoever wants to try, until the process ends.
pub(super) fn answer_on(retired: Vec<(Endpoint, UdpSocket)>) {
    for (endpoint, socket) in retired {
        let (_, specs) = mpsc::channel(1);
        let (told, mut reports) = mpsc::channel(64);
        tokio::spawn(socket::run(endpoint, socket, specs, told));
        tokio::spawn(async move { while reports.recv().await.is_some() {} });
    }
}

/// On a terminal only; elsewhere it draws nothing.
fn progress_bar(arguments: &DemoArguments) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(arguments.calls));
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {pos} of {len} calls over") {
        bar.set_style(style);
    }
    bar
}
