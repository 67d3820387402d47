//! The client: what the engine calls.

use super::answer::understand;
use super::config::RtbConfig;
use super::connect::{ConnectError, Connector};
use super::pool::SendError;
use super::request::OwnRequest;
use super::target::{Lane, Permit, Target, TargetStatus, word};
use super::{notice, request};
use exchange::bid::live::{BidNotice, BidRequest, HttpTarget, LiveAnswer, LiveSaid, LiveVia, NoLiveBid};
use exchange::id::BidProfileId;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{timeout, timeout_at};

/// How often what is unused is thrown away.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Asks live bidders over HTTP. Cloning it is cheap; all clones are one client.
#[derive(Clone)]
pub struct RtbClient {
    inner: Arc<Inner>,
    runtime: Handle,
}

/// Says that it is one, and nothing of the key in it.
impl fmt::Debug for RtbClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtbClient").finish_non_exhaustive()
    }
}

struct Inner {
    config: RtbConfig,
    token_key: [u8; 32],
    connector: Arc<Connector>,
    targets: Mutex<HashMap<BidProfileId, Arc<Target>>>,
    in_flight: Semaphore,
    notices_in_flight: Semaphore,
}

impl RtbClient {
    /// A client on the current tokio runtime. `token_key` makes the tokens that stand for callers' numbers: as long as it stays,
    /// so do they.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(config: RtbConfig, token_key: [u8; 32]) -> Self {
        let inner = Arc::new(Inner {
            connector: Arc::new(Connector::new(&config)),
            targets: Mutex::default(),
            in_flight: Semaphore::new(config.in_flight_max),
            notices_in_flight: Semaphore::new(config.in_flight_max),
            token_key,
            config,
        });
        let runtime = Handle::current();
        runtime.spawn(sweep(Arc::downgrade(&inner)));
        Self { inner, runtime }
    }

    /// Asks one bidder, and returns at once. `answered` is called exactly once, on a thread of the runtime and never within this
    /// call: at the latest when the bidder's time is up, counted from now.
    pub fn ask(&self, request: BidRequest, answered: impl FnOnce(LiveAnswer) + Send + 'static) {
        let began = Instant::now();
        let pending = Pending { bid: request.bid, answered: Some(answered) };
        let inner = Arc::clone(&self.inner);
        self.runtime.spawn(async move {
            let said = inner.ask(&request, began).await;
            pending.answer(said);
        });
    }

    /// Tells a bidder how the auction ended, if it wants to know. Best effort: tried once, and dropped when too many are on
    /// their way.
    pub fn notify(&self, notice: BidNotice) {
        let inner = Arc::clone(&self.inner);
        self.runtime.spawn(async move {
            if let Some(result) = inner.notify(&notice).await {
                metrics::counter!("dce_rtb_notices_total", "result" => result).increment(1);
            }
        });
    }

    /// The exchange's own bid request, as its bidder may see it: for bidders reached in another way than over HTTP.
    pub fn own_request<'a>(&self, request: &'a BidRequest) -> OwnRequest<'a> {
        OwnRequest::new(request, Some(&self.inner.token_key))
    }

    /// How each bidder is doing that was asked of late, by bid profile.
    pub fn targets(&self) -> Vec<TargetStatus> {
        let targets: Vec<_> = self.inner.targets().values().cloned().collect();
        let mut statuses: Vec<_> = targets.iter().map(|target| target.status()).collect();
        statuses.sort_by_key(|status| status.bid);
        statuses
    }
}

/// An answer that is owed. Dropped with the runtime, or by a panic, it is still given.
struct Pending<Answered: FnOnce(LiveAnswer)> {
    bid: BidProfileId,
    answered: Option<Answered>,
}

impl<Answered: FnOnce(LiveAnswer)> Pending<Answered> {
    fn answer(mut self, said: LiveSaid) {
        self.give(said);
    }

    fn give(&mut self, said: LiveSaid) {
        if let Some(answered) = self.answered.take() {
            answered(LiveAnswer { bid: self.bid, said });
        }
    }
}

impl<Answered: FnOnce(LiveAnswer)> Drop for Pending<Answered> {
    fn drop(&mut self) {
        self.give(LiveSaid::Nothing { reason: NoLiveBid::Unreachable });
    }
}

impl Inner {
    async fn ask(&self, request: &BidRequest, began: Instant) -> LiveSaid {
        let LiveVia::Http(http) = &request.bidder.via else {
            return refuse(None, NoLiveBid::NotConnected);
        };
        let Some(target) = self.target(request.bid) else {
            return refuse(None, NoLiveBid::Busy);
        };
        let Ok(_place) = self.in_flight.try_acquire() else {
            return refuse(Some(&target), NoLiveBid::Busy);
        };
        match target.admit(&request.bidder, &http.url, began) {
            Ok(permit) => self.ask_admitted(&target, permit, http, request, began).await,
            Err(reason) => refuse(Some(&target), reason),
        }
    }

    async fn ask_admitted(
        &self,
        target: &Arc<Target>,
        permit: Permit,
        http: &HttpTarget,
        request: &BidRequest,
        began: Instant,
    ) -> LiveSaid {
        let deadline = began + Duration::from_millis(request.time_ms().into());
        let said = timeout_at(deadline.into(), self.ask_over_http(target, http, request)).await;
        let said = said.unwrap_or(Err(NoLiveBid::TimedOut));
        let said = said.unwrap_or_else(|reason| LiveSaid::Nothing { reason });
        permit.finish(&said);
        target.count(&said);
        metrics::counter!("dce_rtb_requests_total", "result" => word(&said)).increment(1);
        metrics::histogram!("dce_rtb_seconds").record(began.elapsed().as_secs_f64());
        said
    }

    async fn ask_over_http(
        &self,
        target: &Target,
        http: &HttpTarget,
        request: &BidRequest,
    ) -> Result<LiveSaid, NoLiveBid> {
        let Some((origin, message)) = request::write(http, request, &self.token_key) else {
            tracing::debug!(bid = %request.bid, "a bid request cannot be written; check the bid profile's URL and headers");
            return Err(NoLiveBid::Unreachable);
        };
        let pool = target.pool(Lane::Requests, origin, &self.connector);
        let answer = pool.send(message).await.map_err(|error| no_bid(&error))?;
        understand(&answer, &http.answer, request.most_micros)
    }

    /// What became of a notice; `None` when the bidder wants none.
    async fn notify(&self, notice: &BidNotice) -> Option<&'static str> {
        let LiveVia::Http(http) = &notice.bidder.via else { return None };
        http.notice_url.as_ref()?;
        let Some((origin, message)) = notice::write(http, notice) else { return Some("failed") };
        let Some(target) = self.target(notice.bid) else { return Some("dropped") };
        let Ok(_place) = self.notices_in_flight.try_acquire() else { return Some("dropped") };
        let Some(_permit) = target.admit_notice(self.config.notices_in_flight_max) else {
            return Some("dropped");
        };
        let pool = target.pool(Lane::Notices, origin, &self.connector);
        let sent = timeout(Duration::from_millis(self.config.notice_timeout_ms), pool.send(message)).await;
        let is_taken = matches!(sent, Ok(Ok(answer)) if answer.status.is_success());
        Some(if is_taken { "sent" } else { "failed" })
    }

    /// The state of a bidder; `None` when there is no room for one more.
    fn target(&self, bid: BidProfileId) -> Option<Arc<Target>> {
        let mut targets = self.targets();
        if let Some(target) = targets.get(&bid) {
            return Some(Arc::clone(target));
        }
        (targets.len() < self.config.targets_max).then(|| {
            let target = Arc::new(Target::new(bid, &self.config));
            targets.insert(bid, Arc::clone(&target));
            target
        })
    }

    fn targets(&self) -> MutexGuard<'_, HashMap<BidProfileId, Arc<Target>>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn throw_away(&self) {
        let unused = Duration::from_millis(self.config.target_unused_ms);
        let idle_timeout = Duration::from_millis(self.config.idle_timeout_ms);
        let kept: Vec<_> = {
            let mut targets = self.targets();
            // Whoever holds one besides the table is about to use it.
            targets.retain(|_, target| Arc::strong_count(target) > 1 || !target.is_unused_for(unused));
            targets.values().cloned().collect()
        };
        for target in kept {
            target.sweep(idle_timeout);
        }
    }
}

/// Says no without asking.
fn refuse(target: Option<&Target>, reason: NoLiveBid) -> LiveSaid {
    let said = LiveSaid::Nothing { reason };
    if let Some(target) = target {
        target.count(&said);
    }
    metrics::counter!("dce_rtb_requests_total", "result" => word(&said)).increment(1);
    said
}

fn no_bid(error: &SendError) -> NoLiveBid {
    match error {
        SendError::Connect(ConnectError::TooManyConnections) => NoLiveBid::Busy,
        SendError::Connect(_) | SendError::Broken(_) => NoLiveBid::Unreachable,
        SendError::Garbled(_) => NoLiveBid::Garbled,
        SendError::TooLarge => NoLiveBid::TooLarge,
    }
}

/// Ends with the last clone of the client.
async fn sweep(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(inner) = inner.upgrade() else { return };
        inner.throw_away();
    }
}
