//! Live bidders: takes the requests the core decided on to whoever is to be asked, and the answers back.
//!
//! Asking never blocks: whoever cannot be asked at once has no bid, and the core's own timer ends the wait for the others.

use exchange::bid::live::{BidNotice, BidRequest, LiveAnswer, LiveSaid, LiveVia, NoLiveBid};
use exchange::id::BidProfileId;
use partners::rtb::{OwnRequest, RtbClient};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;

/// Messages that may wait for one connected bidder; what comes when it is full is not asked.
const WAITING_MAX: usize = 256;

/// Who can be asked. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LiveBidders {
    rtb: Option<RtbClient>,
    connections: Arc<Mutex<HashMap<BidProfileId, Sender<BidderMessage>>>>,
    /// Changes whenever somebody comes or goes.
    changes: watch::Sender<()>,
}

/// What a connected bidder is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BidderMessage {
    /// A call to bid for.
    Request(Box<BidRequest>),
    /// How an auction ended for it.
    Notice(Box<BidNotice>),
}

/// A bidder's open connection. Dropping it makes the bidder unreachable.
#[derive(Debug)]
pub struct BidderConnection {
    bidders: LiveBidders,
    bids: Vec<BidProfileId>,
    sender: Sender<BidderMessage>,
    messages: Receiver<BidderMessage>,
}

impl LiveBidders {
    /// Bidders over HTTP as well as connected ones.
    pub fn with_rtb(rtb: RtbClient) -> Self {
        Self { rtb: Some(rtb), ..Self::default() }
    }

    /// Makes the bidder of these bid profiles reachable over one connection, in place of an earlier one.
    pub fn connect(&self, bids: Vec<BidProfileId>) -> BidderConnection {
        let (sender, messages) = mpsc::channel(WAITING_MAX);
        let mut connections = self.connections();
        for bid in &bids {
            connections.insert(*bid, sender.clone());
        }
        drop(connections);
        self.changes.send_replace(());
        BidderConnection { bidders: self.clone(), bids, sender, messages }
    }

    /// What a connected bidder is to be shown of a request: the same as a bidder over HTTP. Where a token for the caller's number
    /// is due and no key for tokens is there, the number is withheld.
    pub fn own_request<'a>(&self, request: &'a BidRequest) -> OwnRequest<'a> {
        self.rtb.as_ref().map_or_else(|| OwnRequest::new(request, None), |rtb| rtb.own_request(request))
    }

    /// How many bid profiles have a connection.
    pub fn connected(&self) -> usize {
        self.connections().len()
    }

    /// The bid profiles that have a connection.
    pub(crate) fn connected_bids(&self) -> Vec<BidProfileId> {
        self.connections().keys().copied().collect()
    }

    /// Tells of every change in who is connected.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Takes a message of another node to its bidder. One that left meanwhile has no bid when its time is over.
    pub(crate) fn pass_on(&self, message: BidderMessage) {
        let bid = match &message {
            BidderMessage::Request(request) => request.bid,
            BidderMessage::Notice(notice) => notice.bid,
        };
        let _ = self.send(bid, message);
    }

    /// Asks one bidder. `answered` is called once, from wherever the answer is found out.
    pub(crate) fn ask(&self, request: BidRequest, answered: impl FnOnce(LiveAnswer) + Send + 'static) {
        let bid = request.bid;
        let no_bid = |reason| LiveAnswer { bid, said: LiveSaid::Nothing { reason } };
        match (&request.bidder.via, &self.rtb) {
            (LiveVia::Http(_), Some(rtb)) => rtb.ask(request, answered),
            (LiveVia::Http(_), None) => answered(no_bid(NoLiveBid::Unreachable)),
            (LiveVia::Connection, _) => {
                // Its answer, if any, comes in over the connection.
                if let Err(reason) = self.send(bid, BidderMessage::Request(Box::new(request))) {
                    answered(no_bid(reason));
                }
            }
        }
    }

    /// Tells one bidder how the auction ended for it, if it can be told.
    pub(crate) fn notify(&self, notice: BidNotice) {
        match (&notice.bidder.via, &self.rtb) {
            (LiveVia::Http(_), Some(rtb)) => rtb.notify(notice),
            (LiveVia::Http(_), None) => {}
            (LiveVia::Connection, _) => {
                // Whoever reads too slowly to be told has lost nothing but the telling.
                let _ = self.send(notice.bid, BidderMessage::Notice(Box::new(notice)));
            }
        }
    }

    fn send(&self, bid: BidProfileId, message: BidderMessage) -> Result<(), NoLiveBid> {
        let sender = self.connections().get(&bid).cloned().ok_or(NoLiveBid::NotConnected)?;
        sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => NoLiveBid::Busy,
            TrySendError::Closed(_) => NoLiveBid::NotConnected,
        })
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<BidProfileId, Sender<BidderMessage>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BidderConnection {
    /// The next message for this bidder.
    pub async fn next(&mut self) -> Option<BidderMessage> {
        self.messages.recv().await
    }

    /// Whether the bidder may answer for this bid profile.
    pub fn is_for(&self, bid: BidProfileId) -> bool {
        self.bids.contains(&bid)
    }

    /// The bid profiles it is for, reachable over it or over a later connection.
    pub fn bids(&self) -> &[BidProfileId] {
        &self.bids
    }

    /// Makes it the connection of these bid profiles and of no others. Those that have another connection keep that one.
    pub fn serve(&mut self, bids: Vec<BidProfileId>) {
        let mut connections = self.bidders.connections();
        for bid in &bids {
            connections.entry(*bid).or_insert_with(|| self.sender.clone());
        }
        for gone in self.bids.iter().filter(|bid| !bids.contains(bid)) {
            remove(&mut connections, *gone, &self.sender);
        }
        drop(connections);
        self.bidders.changes.send_replace(());
        self.bids = bids;
    }
}

/// Removes a bid profile's connection if it is this one.
fn remove(
    connections: &mut HashMap<BidProfileId, Sender<BidderMessage>>,
    bid: BidProfileId,
    of: &Sender<BidderMessage>,
) {
    if connections.get(&bid).is_some_and(|sender| sender.same_channel(of)) {
        connections.remove(&bid);
    }
}

impl Drop for BidderConnection {
    fn drop(&mut self) {
        let mut connections = self.bidders.connections();
        for bid in &self.bids {
            // A later connection of the same bidder stays.
            remove(&mut connections, *bid, &self.sender);
        }
        drop(connections);
        self.bidders.changes.send_replace(());
    }
}
