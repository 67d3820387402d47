//! One session: offers calls to a connected bidder and takes its bids.

use super::asked::Asked;
use super::line::{End, Heard, Line};
use super::messages::{Answer, Misread, ToBidder};
use super::sessions::{BidChange, Place};
use crate::access::Principal;
use crate::problem::{Kind, Problem};
use crate::state::{Gateway, now};
use engine::{BidderConnection, BidderMessage, OwnNotice};
use exchange::account::AccountKind;
use exchange::bid::BidProfile;
use exchange::bid::live::{BidRequest, LiveAnswer, LiveSaid, LiveVia, NoLiveBid};
use exchange::effect::Input;
use exchange::id::{AccountId, BidProfileId, CallId};
use infra::store::{BidProfileFilter, MAX_PAGE, Page, Reader, StoreError};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{MissedTickBehavior, interval_at, timeout};

/// How often a bidder is asked for a sign of life, and its key and bid profiles are looked up again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A bidder that is silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// A bidder that takes nothing for so long is cut off.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that cannot be used before the session is ended.
const FAULTS_MAX: u32 = 100;
/// Pages of bid profiles that are read: buyers with more than these are served by the first ones.
const PAGES_MAX: u32 = 50;

/// What the store says of a session; `None` when its key is revoked.
type LookedUp = Result<Option<Vec<BidProfileId>>, StoreError>;

/// One bidder's session.
pub(crate) struct Session {
    gateway: Gateway,
    buyer: AccountId,
    principal: Principal,
    connection: BidderConnection,
    asked: Asked,
    faults: u32,
    heard_at: tokio::time::Instant,
    /// Heard from before the bid profiles are first read, so that none is missed.
    changes: broadcast::Receiver<BidChange>,
    /// Reads what may have changed, while calls are offered on.
    looking_up: Option<JoinHandle<LookedUp>>,
    /// Held as long as the session lasts.
    _place: Place,
}

/// What can happen to a session.
enum Event {
    ToBidder(Option<BidderMessage>),
    FromBidder(Heard),
    Changed(Result<BidChange, RecvError>),
    LookedUp(Result<LookedUp, JoinError>),
    KeepAlive,
    Expired,
    Stopping,
}

impl Session {
    /// A session for the bid profiles of a buyer that are asked over a connection. Calls are offered to it from now on. `asked` is
    /// the buyer that `field` of the request names: a buyer's own key may leave it out.
    pub(crate) async fn open(
        gateway: Gateway,
        principal: Principal,
        asked: Option<AccountId>,
        field: &'static str,
    ) -> Result<Self, Problem> {
        let Some(buyer) = principal.confined_to(asked, field)? else {
            let fix = "name the buyer to bid for";
            return Err(Problem::field(Kind::MalformedRequest, field, "is missing", fix));
        };
        let account = gateway.account(buyer).await?;
        if !account.is_some_and(|account| account.kind == AccountKind::Buyer) {
            return Err(Problem::field(
                Kind::MalformedRequest,
                field,
                "is no buyer's account",
                "check the id",
            ));
        }
        let place = gateway.sessions().open(principal.key)?;
        let changes = gateway.sessions().changes();
        let bids = gateway.read(move |reader| connected_bids(reader, buyer)).await?;
        let connection = gateway.engine().live_bidders().connect(bids);
        Ok(Self {
            gateway,
            buyer,
            principal,
            connection,
            asked: Asked::default(),
            faults: 0,
            heard_at: tokio::time::Instant::now(),
            changes,
            looking_up: None,
            _place: place,
        })
    }

    /// Talks until one side ends it.
    pub(crate) async fn run(mut self, mut line: impl Line) {
        let end = self.talk(&mut line).await;
        self.give_up_questions().await;
        tracing::debug!(buyer = %self.buyer, ?end, "live bid session ended");
        // Whoever does not take it has left already.
        let _ = timeout(SEND_TIMEOUT, line.end(end)).await;
    }

    async fn talk(&mut self, line: &mut impl Line) -> End {
        let mut stopping = self.gateway.sessions().stopping();
        let mut expired = pin!(expiry(self.principal));
        let mut keep_alive = interval_at(tokio::time::Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if let ControlFlow::Break(end) = self.tell_bids(line).await {
            return end;
        }
        loop {
            let event = tokio::select! {
                message = self.connection.next() => Event::ToBidder(message),
                heard = line.hear() => Event::FromBidder(heard),
                change = self.changes.recv() => Event::Changed(change),
                found = wait_for(&mut self.looking_up) => Event::LookedUp(found),
                _ = keep_alive.tick() => Event::KeepAlive,
                () = &mut expired => Event::Expired,
                _ = stopping.wait_for(|stopping| *stopping) => Event::Stopping,
            };
            if let ControlFlow::Break(end) = self.on(event, line).await {
                return end;
            }
        }
    }

    async fn on(&mut self, event: Event, line: &mut impl Line) -> ControlFlow<End> {
        match event {
            Event::ToBidder(Some(BidderMessage::Request(request))) => self.offer(&request, line).await,
            Event::ToBidder(Some(BidderMessage::Notice(notice))) => {
                send(line, ToBidder::Notice(OwnNotice::new(&notice))).await
            }
            Event::ToBidder(None) => ControlFlow::Break(End::Internal),
            Event::FromBidder(heard) => {
                self.heard_at = tokio::time::Instant::now();
                self.hear(heard, line).await
            }
            Event::Changed(change) => self.note_change(change, line).await,
            Event::LookedUp(found) => {
                self.looking_up = None;
                match found {
                    Ok(Ok(Some(bids))) => self.serve(bids, line).await,
                    Ok(Ok(None)) => ControlFlow::Break(End::KeyRevoked),
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "bid profiles of a session cannot be read; trying again later");
                        ControlFlow::Continue(())
                    }
                    Err(_) => ControlFlow::Break(End::Internal),
                }
            }
            Event::KeepAlive if self.heard_at.elapsed() > SILENCE_MAX => {
                ControlFlow::Break(End::NoSignOfLife)
            }
            Event::KeepAlive => {
                self.look_up();
                within_time(line.ask_for_life()).await
            }
            Event::Expired => ControlFlow::Break(End::SessionOver),
            Event::Stopping => ControlFlow::Break(End::Stopping),
        }
    }

    /// Offers a call to the bidder, within its bounds.
    async fn offer(&mut self, request: &BidRequest, line: &mut impl Line) -> ControlFlow<End> {
        if let Err(reason) = self.asked.ask(request, Instant::now()) {
            self.answer(request.call, request.bid, LiveSaid::Nothing { reason });
            return ControlFlow::Continue(());
        }
        let bidders = self.gateway.engine().live_bidders().clone();
        send(line, ToBidder::BidRequest(bidders.own_request(request))).await
    }

    async fn hear(&mut self, heard: Heard, line: &mut impl Line) -> ControlFlow<End> {
        let taken = match heard {
            Heard::Answer(answer) => self.take(answer),
            Heard::Misread(misread) => Err(self.give_up(misread)),
            Heard::Life => Ok(()),
            Heard::End(end) => return ControlFlow::Break(end),
        };
        let Err(problem) = taken else { return ControlFlow::Continue(()) };
        self.faults += 1;
        if self.faults > FAULTS_MAX {
            return ControlFlow::Break(End::TooManyFaults);
        }
        send(line, ToBidder::Error { detail: problem.detail(), errors: problem.errors() }).await
    }

    /// Takes an answer. One that cannot be used is no bid, so that nobody waits for another.
    fn take(&mut self, answer: Answer) -> Result<(), Problem> {
        let (call, bid) = (answer.call, answer.bid);
        let Some(question) = self.asked.take(call, bid) else {
            let fix = "answer each bid request once, in time, with its id as call and its bid";
            return Err(Problem::field(Kind::Invalid, "call", "is not waiting for this bid's answer", fix));
        };
        let said = answer.said(question.most_micros);
        let problem = said.as_ref().err().cloned();
        self.answer(call, bid, said.unwrap_or(LiveSaid::Nothing { reason: NoLiveBid::Garbled }));
        problem.map_or(Ok(()), Err)
    }

    /// What cannot be read is no bid either, if it can be told for what.
    fn give_up(&mut self, Misread { problem, meant }: Misread) -> Problem {
        if let Some((call, bid)) = meant
            && self.asked.take(call, bid).is_some()
        {
            self.answer(call, bid, LiveSaid::Nothing { reason: NoLiveBid::Garbled });
        }
        problem
    }

    fn answer(&self, call: CallId, bid: BidProfileId, said: LiveSaid) {
        // Refused only when the engine is gone, and the call with it.
        let _ = self.gateway.engine().call(call, Input::BidAnswered(LiveAnswer { bid, said }));
    }

    async fn note_change(
        &mut self,
        change: Result<BidChange, RecvError>,
        line: &mut impl Line,
    ) -> ControlFlow<End> {
        match change {
            Ok(change) if change.buyer != self.buyer => ControlFlow::Continue(()),
            Ok(change) if change.is_connected == self.connection.is_for(change.bid) => {
                ControlFlow::Continue(())
            }
            Ok(BidChange { bid, is_connected, .. }) => {
                let mut bids = self.connection.bids().to_vec();
                bids.retain(|there| *there != bid);
                bids.extend(is_connected.then_some(bid));
                self.serve(bids, line).await
            }
            Err(RecvError::Lagged(_)) => {
                self.look_up();
                ControlFlow::Continue(())
            }
            Err(RecvError::Closed) => ControlFlow::Break(End::Stopping),
        }
    }

    /// Serves these bid profiles from now on, and says so if they are others than before. Those whose session has ended since are
    /// taken over without a word.
    async fn serve(&mut self, bids: Vec<BidProfileId>, line: &mut impl Line) -> ControlFlow<End> {
        let before: HashSet<BidProfileId> = self.connection.bids().iter().copied().collect();
        let is_same = before.len() == bids.len() && bids.iter().all(|bid| before.contains(bid));
        self.connection.serve(bids);
        if is_same {
            return ControlFlow::Continue(());
        }
        self.asked.keep_only(self.connection.bids());
        self.tell_bids(line).await
    }

    async fn tell_bids(&self, line: &mut impl Line) -> ControlFlow<End> {
        send(line, ToBidder::Bids { bids: self.connection.bids() }).await
    }

    /// Begins to read the key and the bid profiles again, unless that is going on.
    fn look_up(&mut self) {
        let (gateway, buyer, credential) = (self.gateway.clone(), self.buyer, self.principal.credential());
        self.looking_up.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || {
                let reader = gateway.reader();
                let is_valid = reader.api_key(credential)?.is_some_and(|key| key.is_live(now()));
                if is_valid { connected_bids(reader, buyer).map(Some) } else { Ok(None) }
            })
        });
    }

    /// At the end: who waits for this bidder's answers need not wait on.
    async fn give_up_questions(&mut self) {
        // From here on nothing more is asked of it.
        self.connection.serve(Vec::new());
        let mut open = self.asked.take_all(Instant::now());
        while let Ok(Some(message)) = timeout(Duration::ZERO, self.connection.next()).await {
            if let BidderMessage::Request(request) = message {
                open.push((request.call, request.bid));
            }
        }
        for (call, bid) in open {
            self.answer(call, bid, LiveSaid::Nothing { reason: NoLiveBid::Unreachable });
        }
    }
}

/// Whether a bid profile is asked over a connection.
pub(crate) fn is_connected(bid: &BidProfile) -> bool {
    bid.live.as_ref().is_some_and(|live| matches!(live.via, LiveVia::Connection))
}

/// The bid profiles of a buyer that are asked over a connection.
fn connected_bids(reader: &Reader, buyer: AccountId) -> Result<Vec<BidProfileId>, StoreError> {
    let filter = BidProfileFilter { buyer: Some(buyer), vertical: None };
    let mut page = Page::first(MAX_PAGE);
    let mut bids = Vec::new();
    for _ in 0..PAGES_MAX {
        let listing = reader.bid_profiles(&filter, &page)?;
        bids.extend(listing.items.iter().filter(|bid| is_connected(bid)).map(|bid| bid.id));
        let Some(following) = page.following(&listing) else { break };
        page = following;
    }
    Ok(bids)
}

/// Ends with the principal's time, if it is a session; else never.
async fn expiry(principal: Principal) {
    let Some(session) = principal.session else { return std::future::pending().await };
    let left_us = u64::try_from(session.expires_at - now()).unwrap_or(0);
    tokio::time::sleep(Duration::from_micros(left_us)).await;
}

/// The end of what is going on, if anything is; else for ever.
async fn wait_for<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

async fn send(line: &mut impl Line, message: ToBidder<'_>) -> ControlFlow<End> {
    within_time(line.tell(message)).await
}

async fn within_time(sending: impl Future<Output = Result<(), End>>) -> ControlFlow<End> {
    match timeout(SEND_TIMEOUT, sending).await {
        Ok(Ok(())) => ControlFlow::Continue(()),
        Ok(Err(end)) => ControlFlow::Break(end),
        Err(_) => ControlFlow::Break(End::TooSlow),
    }
}
