//! What all calls share: our addresses and settings, transactions, trunks, and what waits to go out.

use crate::body::Body;
use crate::config::{SipConfig, SipConfigError};
use crate::dialog::Dialog;
use crate::header::{Headers, Name};
use crate::hosts::Hosts;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::peer::{LocalAddresses, Peer};
use crate::session_timer::SessionTimer;
use crate::token::{Tag, Tokens};
use crate::transaction::{
    ClientId, ServerId, TableFull, Timers, TransactionConfig, TransactionCounters, Transactions,
};
use crate::trunks::TrunkWatch;
use exchange::effect::Input;
use exchange::id::CallId;
use exchange::time::Timestamp;
use std::collections::{HashMap, HashSet, VecDeque};

/// Methods we answer with something other than 405.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";

/// Transactions that one call may have on each side, on average: INVITEs over several trunks, BYEs, relays.
const TRANSACTIONS_PER_CALL: usize = 16;

/// Pause before a refresh that did not go through is tried again: glare, or a peer that is busy.
pub(crate) const REFRESH_RETRY_MS: u64 = 2_000;

/// What the SIP side wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Put these bytes on the wire.
    Send {
        /// To whom.
        to: Peer,
        /// One whole message.
        bytes: Vec<u8>,
    },
    /// Tell the exchange.
    Input {
        /// About which call.
        call: CallId,
        /// What happened.
        input: Input,
    },
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets and framed messages received.
    pub messages_received: u64,
    /// Of those, how many were not well formed.
    pub malformed: u64,
    /// INVITEs for new calls.
    pub invites: u64,
    /// Of those, from an address that is no trunk's.
    pub refused_unknown_trunk: u64,
    /// Of those, for something that is no telephone number.
    pub refused_no_number: u64,
    /// Of those, because too many calls were up, the engine was overloaded, or the exchange is draining.
    pub refused_overload: u64,
    /// Requests refused for any other reason.
    pub refused_other: u64,
    /// Times the next trunk of a destination was tried because one failed.
    pub trunk_failovers: u64,
    /// Destinations we cannot send to: malformed, a transport we do not speak, or a host name without address.
    pub unusable_uris: u64,
    /// Calls ended because a peer stopped answering.
    pub peers_lost: u64,
    /// Callers moved to another target after theirs hung up early.
    pub callers_moved: u64,
    /// Callers that refused to be moved; their calls ended.
    pub moves_refused: u64,
    /// Calls ended because the engine never answered.
    pub engine_silent: u64,
    /// Of the transaction layer.
    pub transactions: TransactionCounters,
}

/// To whom a transaction belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Call(CallId),
    /// An OPTIONS of the trunk watch.
    Probe(Peer),
    /// Nobody waits for the answer.
    Nobody,
}

/// One side of a call: the dialog with a peer and all that goes with it.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) dialog: Dialog,
    /// Where its packets come from.
    pub(crate) peer: Peer,
    pub(crate) timer: SessionTimer,
    pub(crate) allows_update: bool,
    /// The last session description we sent to this peer, for refreshing by re-INVITE.
    pub(crate) sent_body: Option<Body>,
    /// The last one the peer gave, as offer or as answer, that was not refused.
    pub(crate) received_body: Option<Body>,
    /// Whether what we send comes from several others in turn, but must look to this peer like one session.
    pub(crate) keeps_origin: bool,
    /// Whether the peer still has to be told what [`Leg::sent_body`] says.
    pub(crate) owes_description: bool,
    /// Our refresh in progress.
    pub(crate) refresh: Option<Refresh>,
}

/// A request of our own within a dialog that keeps the session as it is, or of which nobody awaits a change any more.
#[derive(Debug)]
pub(crate) struct Refresh {
    pub(crate) client: ClientId,
    pub(crate) method: Method,
    /// Whether it had a session description. If not, a 2xx to an INVITE has one, and its ACK needs ours.
    pub(crate) has_offer: bool,
}

impl Leg {
    pub(crate) fn new(dialog: Dialog, peer: Peer, session_expires_s: u32) -> Self {
        let timer = SessionTimer::new(session_expires_s);
        Self {
            dialog,
            peer,
            timer,
            allows_update: false,
            sent_body: None,
            received_body: None,
            keeps_origin: false,
            owes_description: false,
            refresh: None,
        }
    }

    /// A session description as it is to be sent to this peer.
    pub(crate) fn continued(&self, body: Body) -> Body {
        match &self.sent_body {
            Some(previous) if self.keeps_origin => body.continuing(previous),
            _ => body,
        }
    }

    /// Sees an INVITE of ours through to its end whose outcome nobody waits for any more.
    pub(crate) fn adopt_invite(&mut self, client: ClientId, has_offer: bool, now: Timestamp) {
        if self.refresh.is_some() {
            // An UPDATE: whatever comes of it, the session is refreshed again.
            self.timer.retry_refresh(REFRESH_RETRY_MS, now);
        }
        self.refresh = Some(Refresh { client, method: Method::Invite, has_offer });
    }

    /// Gives up a re-INVITE of ours, so that it ends even if the peer never finishes it.
    pub(crate) fn cancel_refresh(&self, cx: &mut Signalling, now: Timestamp) {
        if let Some(refresh) = self.refresh.as_ref().filter(|refresh| refresh.method == Method::Invite) {
            cx.transactions.cancel(refresh.client, None, now);
        }
    }

    /// Where its requests go. A TCP connection that is there is used again rather than a new one opened.
    pub(crate) fn hop(&self) -> Peer {
        match self.dialog.next_hop() {
            Some(next)
                if self.peer.transport.is_reliable() && next.address.ip() == self.peer.address.ip() =>
            {
                self.peer
            }
            Some(next) => next,
            None => self.peer,
        }
    }

    /// Puts the session interval we agree to into our 2xx to a request of the peer (RFC 4028 section 9).
    pub(crate) fn agree_on_session(
        &mut self,
        request: &Headers,
        response: &mut Headers,
        offered_s: u32,
        now: Timestamp,
    ) {
        let session = self.timer.answer(request, offered_s, now);
        if session.ends_with("uac") {
            response.push(Name::Require, "timer");
        }
        response.push(Name::SessionExpires, session);
    }

    /// Its connection broke: the next request goes to the address in `Contact`.
    pub(crate) fn connection_broke(&mut self, peer: Peer) {
        if self.peer == peer && peer.transport.is_reliable() {
            self.peer = self.dialog.next_hop().unwrap_or(peer);
        }
    }
}

/// What all calls share.
#[derive(Debug)]
pub(crate) struct Signalling {
    pub(crate) config: SipConfig,
    pub(crate) local: LocalAddresses,
    pub(crate) transactions: Transactions<Owner>,
    pub(crate) tokens: Tokens,
    pub(crate) trunks: TrunkWatch,
    pub(crate) hosts: Hosts,
    /// By our tag.
    pub(crate) dialogs: HashMap<Tag, CallId>,
    /// INVITEs of live calls, to see the same one arrive over two ways (RFC 3261 section 8.2.2.2).
    pub(crate) invites: HashSet<String>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) counters: Counters,
}

impl Signalling {
    pub(crate) fn new(config: SipConfig, seed: u64) -> Result<Self, SipConfigError> {
        config.check()?;
        let local = config.local_addresses()?;
        let mut tokens = Tokens::new(seed);
        let transaction_config = TransactionConfig {
            local: local.clone(),
            timers: Timers::with_t1(config.t1_ms),
            transactions_max: config.max_live_calls.saturating_mul(TRANSACTIONS_PER_CALL).max(1_024),
            retry_after_s: config.retry_after_s,
        };
        let branches = Tokens::new(tokens.next_u64());
        let trunks =
            TrunkWatch::new(config.options_interval_ms, config.options_misses_max, config.max_watched_trunks);
        Ok(Self {
            transactions: Transactions::new(transaction_config, branches),
            local,
            tokens,
            trunks,
            hosts: Hosts::default(),
            dialogs: HashMap::new(),
            invites: HashSet::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            config,
        })
    }

    /// 64 * T1.
    pub(crate) fn give_up_ms(&self) -> u64 {
        64 * self.config.t1_ms
    }

    pub(crate) fn input(&mut self, call: CallId, input: Input) {
        self.outputs.push_back(Output::Input { call, input });
    }

    pub(crate) fn contact(&self, peer: Peer) -> String {
        format!("<sip:dce@{};transport={}>", self.local.facing(peer), peer.transport)
    }

    /// What tells a peer who we are and what we can do, for requests and responses that begin or change a session.
    pub(crate) fn introduce(&self, headers: &mut Headers, peer: Peer) {
        headers.push(Name::Contact, self.contact(peer));
        headers.push(Name::Allow, ALLOW);
        headers.push(Name::Supported, "timer");
    }

    /// Sends a request within a leg's dialog.
    pub(crate) fn send_in(
        &mut self,
        leg: &Leg,
        request: Request,
        owner: Owner,
        now: Timestamp,
    ) -> Result<ClientId, TableFull> {
        self.transactions.send(request, leg.hop(), owner, now)
    }

    /// Answers a request that needs no more than a status.
    pub(crate) fn answer(&mut self, id: ServerId, request: &Request, status: u16, now: Timestamp) {
        let response = request.reply(status);
        self.answer_with(id, response, now);
    }

    /// Answers with this response, which gets a tag if it needs one.
    pub(crate) fn answer_with(&mut self, id: ServerId, response: Response, now: Timestamp) {
        let response = if response.status > 100 { response.with_to_tag(self.tokens.tag()) } else { response };
        self.transactions.respond(id, &response, now);
    }
}

/// One hop less; `None` when there is none left.
pub(crate) fn hops_left(headers: &Headers) -> Option<u32> {
    headers.get(Name::MaxForwards).and_then(crate::field::read_number).unwrap_or(70).checked_sub(1)
}

/// The options a request requires that we do not have.
pub(crate) fn unsupported_options(request: &Request) -> Vec<&str> {
    request.headers.all(Name::Require).filter(|option| !option.eq_ignore_ascii_case("timer")).collect()
}
