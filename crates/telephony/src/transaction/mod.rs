//! The transaction layer: requests and their answers, made reliable over transports that lose packets.
//!
//! It is pure: packets and the time come in through methods, and [`Event`]s come out of [`Transactions::poll`]. The
//! owner of a transaction is a value of the user's choice that comes back with every event about it.
//!
//! Beyond RFC 3261 section 17 it repeats a 2xx until its ACK comes and the ACK for every repeat of a 2xx, and holds a
//! CANCEL back until there is something to cancel, so that nobody above needs a timer for it.

mod client;
mod matching;
mod schedule;
mod server;
#[cfg(test)]
mod tests;

use crate::deadline::Deadlines;
use crate::field::BRANCH_COOKIE;
use crate::header::Name;
use crate::message::{Message, Request, Response};
use crate::method::Method;
use crate::parse::ParseError;
use crate::peer::{LocalAddresses, Peer};
use crate::token::{Tokens, read_hex};
use crate::uri::host_ip;
use client::{Client, ClientStep};
use exchange::time::Timestamp;
use matching::{ack_key, complete_via, server_key};
use schedule::Schedule;
pub use schedule::Timers;
use server::{Server, ServerStep};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// A request of ours. Its number is the random part of the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    branch: u64,
    is_cancel: bool,
}

/// A request of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u64);

/// What the layer has to say.
#[derive(Debug)]
pub enum Event<O> {
    /// Put these bytes on the wire.
    Send {
        /// To whom.
        to: Peer,
        /// One whole message.
        bytes: Vec<u8>,
    },
    /// A new request, other than ACK and CANCEL. Answer it with [`Transactions::respond`].
    Request {
        /// Its transaction.
        id: ServerId,
        /// The request, its top `Via` completed with `received` and `rport`.
        request: Request,
        /// Where it came from.
        from: Peer,
    },
    /// A CANCEL. Answer it, and the INVITE if there is one.
    Cancel {
        /// The CANCEL's own transaction.
        id: ServerId,
        /// The CANCEL.
        request: Request,
        /// The INVITE it is for, if that is still unanswered or within its timers, and its owner.
        invite: Option<(ServerId, Option<O>)>,
    },
    /// The ACK of a 2xx of ours: once per INVITE.
    Ack {
        /// The INVITE's transaction.
        invite: ServerId,
        /// Its owner.
        owner: Option<O>,
        /// The ACK, whose body may be the answer to a late offer.
        ack: Request,
    },
    /// A response to a request of ours: every provisional one, the first final one, and a 2xx of each further fork.
    Response {
        /// The request's transaction.
        id: ClientId,
        /// Its owner.
        owner: O,
        /// Where it came from.
        from: Peer,
        /// The response.
        response: Response,
    },
    /// No final response came in time (timers B and F), or none to a CANCEL and its INVITE.
    TimedOut {
        /// The request's transaction, now gone.
        id: ClientId,
        /// Its owner.
        owner: O,
    },
    /// The request could not be sent, or its connection broke before the final response.
    Unsendable {
        /// The request's transaction, now gone.
        id: ClientId,
        /// Its owner.
        owner: O,
    },
    /// Our 2xx was repeated for 64 * T1 and never acknowledged.
    AckMissing {
        /// The INVITE's transaction, now gone.
        invite: ServerId,
        /// Its owner.
        owner: Option<O>,
    },
}

/// How the layer is set up.
#[derive(Debug, Clone)]
pub struct TransactionConfig {
    /// What to put into `Via`.
    pub local: LocalAddresses,
    /// Base timers.
    pub timers: Timers,
    /// The most transactions of each side at once. A request over it is answered 503; a request of ours over it fails.
    pub transactions_max: usize,
    /// `Retry-After` of that 503, in seconds.
    pub retry_after_s: u32,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransactionCounters {
    /// Requests of peers that came again.
    pub repeats_received: u64,
    /// Messages of ours that were sent again.
    pub repeats_sent: u64,
    /// Requests answered 503 because the table was full.
    pub refused: u64,
    /// Responses that belong to no request of ours.
    pub stray_responses: u64,
    /// ACKs that belong to no INVITE, or came again.
    pub stray_acks: u64,
    /// Requests of ours that nobody answered in time.
    pub timeouts: u64,
}

/// The table is full; try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many SIP transactions as allowed are open; wait until some end")]
pub struct TableFull;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sleeper {
    Client(ClientId),
    Server(ServerId),
}

/// All transactions of one element.
#[derive(Debug)]
pub struct Transactions<O> {
    config: TransactionConfig,
    tokens: Tokens,
    clients: HashMap<ClientId, Client<O>>,
    servers: HashMap<ServerId, Server<O>>,
    /// By branch, sent-by and method (RFC 3261 section 17.2.3).
    servers_by_key: HashMap<Arc<str>, ServerId>,
    /// By the dialog and `CSeq` of a 2xx: its ACK has a branch of its own.
    servers_by_ack: HashMap<Arc<str>, ServerId>,
    next_server: u64,
    deadlines: Deadlines<Sleeper>,
    events: VecDeque<Event<O>>,
    counters: TransactionCounters,
}

impl<O: Copy> Transactions<O> {
    /// An empty table.
    pub fn new(config: TransactionConfig, tokens: Tokens) -> Self {
        Self {
            config,
            tokens,
            clients: HashMap::new(),
            servers: HashMap::new(),
            servers_by_key: HashMap::new(),
            servers_by_ack: HashMap::new(),
            next_server: 0,
            deadlines: Deadlines::default(),
            events: VecDeque::new(),
            counters: TransactionCounters::default(),
        }
    }

    /// The next thing to do or to know. Ask until there is none after every other call.
    pub fn poll(&mut self) -> Option<Event<O>> {
        self.events.pop_front()
    }

    /// What happened so far.
    pub fn counters(&self) -> TransactionCounters {
        self.counters
    }

    /// How many transactions are open or within their timers.
    pub fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When [`Transactions::tick`] wants to be called. It may be earlier than anything real.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    /// Whether this request came before and its transaction is still here.
    pub fn is_repeat(&self, request: &Request) -> bool {
        self.find_server(request, &request.method).is_some()
    }

    /// Takes in one packet. A malformed request is answered where possible, and the error returned.
    pub fn receive_bytes(&mut self, bytes: &[u8], from: Peer, now: Timestamp) -> Result<(), ParseError> {
        match Message::parse(bytes) {
            Ok(message) => {
                self.receive(message, from, now);
                Ok(())
            }
            Err(error) => {
                if let Some(response) = error.reply() {
                    self.reply_without_transaction(response, from);
                }
                Err(error)
            }
        }
    }

    /// Takes in one message.
    pub fn receive(&mut self, message: Message, from: Peer, now: Timestamp) {
        match message {
            Message::Response(response) => self.receive_response(response, from, now),
            Message::Request(request) if request.method == Method::Ack => self.receive_ack(request, now),
            Message::Request(request) => self.receive_request(request, from, now),
        }
    }

    /// Sends a request and waits for its answers. The layer adds the `Via`.
    pub fn send(
        &mut self,
        mut request: Request,
        to: Peer,
        owner: O,
        now: Timestamp,
    ) -> Result<ClientId, TableFull> {
        if self.clients.len() >= self.config.transactions_max {
            return Err(TableFull);
        }
        let id = ClientId { branch: self.push_via(&mut request, to), is_cancel: false };
        self.start_client(id, request, to, owner, now);
        Ok(id)
    }

    /// Sends the ACK of a 2xx (a request of its own, without answer) and repeats it whenever that 2xx is repeated.
    pub fn acknowledge(&mut self, invite: ClientId, mut ack: Request, to: Peer) {
        self.push_via(&mut ack, to);
        let bytes = ack.to_bytes();
        if let Some(client) = self.clients.get_mut(&invite) {
            client.acknowledge(bytes.clone(), to);
        }
        self.events.push_back(Event::Send { to, bytes });
    }

    /// Gives an INVITE up: CANCEL goes out once a provisional response came. A 2xx that crosses it is still delivered.
    pub fn cancel(&mut self, invite: ClientId, reason: Option<&str>, now: Timestamp) {
        let Some(client) = self.clients.get_mut(&invite) else { return };
        if let Some(cancel) = client.cancel(reason, &self.config.timers, now) {
            let (to, owner) = (client.to, client.owner);
            self.start_client(ClientId { is_cancel: true, ..invite }, cancel, to, owner, now);
        }
        self.queue_client(invite);
    }

    /// Names the owner that later events about this request shall carry.
    pub fn set_owner(&mut self, id: ServerId, owner: O) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.owner = Some(owner);
        }
    }

    /// Answers a request. After a final response further ones are ignored.
    pub fn respond(&mut self, id: ServerId, response: &Response, now: Timestamp) {
        let Some(server) = self.servers.get_mut(&id).filter(|server| server.is_open()) else { return };
        let step = server.respond(response, &self.config.timers, now);
        let is_invite = response.headers.cseq().is_some_and(|cseq| cseq.method == Method::Invite);
        if response.is_success() && is_invite {
            let key: Arc<str> = ack_key(&response.headers).into();
            server.ack_key = Some(key.clone());
            self.servers_by_ack.insert(key, id);
        }
        self.after_server(id, step, false);
    }

    /// Sends a response for which no transaction is kept.
    pub fn reply_without_transaction(&mut self, response: Response, source: Peer) {
        let Some(to) = response.headers.via().map(|via| via.reply_to(source)) else { return };
        self.events.push_back(Event::Send { to, bytes: response.to_bytes() });
    }

    /// A peer cannot be reached, or its connection broke: requests on their way to it fail.
    pub fn transport_failed(&mut self, peer: Peer) {
        let waits = |client: &Client<O>| client.to == peer && !client.is_answered();
        let mut failed: Vec<_> =
            self.clients.iter().filter(|(_, client)| waits(client)).map(|(id, _)| *id).collect();
        failed.sort_unstable();
        for id in failed {
            if let Some(client) = self.clients.remove(&id)
                && !id.is_cancel
            {
                self.events.push_back(Event::Unsendable { id, owner: client.owner });
            }
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Timestamp) {
        while let Some((at, sleeper)) = self.deadlines.pop_due(now) {
            match sleeper {
                Sleeper::Client(id) => {
                    let Some(client) = self.clients.get_mut(&id) else { continue };
                    if client.schedule.queued_at == Some(at) {
                        client.schedule.queued_at = None;
                        let step = client.on_timer(&self.config.timers, now);
                        self.counters.repeats_sent += u64::from(step.transmit.is_some());
                        self.after_client(id, step, now);
                    }
                }
                Sleeper::Server(id) => {
                    let Some(server) = self.servers.get_mut(&id) else { continue };
                    if server.schedule.queued_at == Some(at) {
                        server.schedule.queued_at = None;
                        let step = server.on_timer(&self.config.timers, now);
                        let repeated = step.transmit.is_some();
                        self.after_server(id, step, repeated);
                    }
                }
            }
        }
    }

    fn start_client(&mut self, id: ClientId, request: Request, to: Peer, owner: O, now: Timestamp) {
        let (client, bytes) = Client::start(request, to, owner, &self.config.timers, now);
        self.clients.insert(id, client);
        self.events.push_back(Event::Send { to, bytes });
        self.queue_client(id);
    }

    /// Puts a fresh `Via` on top; returns the number in its branch.
    fn push_via(&mut self, request: &mut Request, to: Peer) -> u64 {
        let branch = self.tokens.next_u64();
        let transport = to.transport.via_name();
        let sent_by = self.config.local.facing(to);
        let rport = if to.transport.is_reliable() { "" } else { ";rport" };
        let via = format!("SIP/2.0/{transport} {sent_by};branch={BRANCH_COOKIE}{branch:016x}{rport}");
        request.headers.push_front(Name::Via, via);
        branch
    }

    fn receive_response(&mut self, response: Response, from: Peer, now: Timestamp) {
        let found = self.client_of(&response).and_then(|id| Some((id, self.clients.get_mut(&id)?)));
        let Some((id, client)) = found else {
            self.counters.stray_responses += 1;
            return;
        };
        let step = client.on_response(&response, &self.config.timers, now);
        self.counters.repeats_sent += u64::from(step.transmit.is_some() && !step.deliver);
        if step.deliver && !id.is_cancel {
            self.events.push_back(Event::Response { id, owner: client.owner, from, response });
        }
        self.after_client(id, step, now);
    }

    /// Our own branch in the one and only `Via`, and the method of that request.
    fn client_of(&self, response: &Response) -> Option<ClientId> {
        let via = response.headers.via()?;
        let sent_by = SocketAddr::new(host_ip(via.host)?, via.port.unwrap_or(5060));
        let branch = read_hex(via.branch()?.strip_prefix(BRANCH_COOKIE)?)?;
        let method = response.headers.cseq()?.method;
        let id = ClientId { branch, is_cancel: method == Method::Cancel };
        let ours = self.config.local.contains(sent_by) && *self.clients.get(&id)?.method() == method;
        ours.then_some(id)
    }

    fn after_client(&mut self, id: ClientId, step: ClientStep, now: Timestamp) {
        let Some(client) = self.clients.get(&id) else { return };
        let (to, owner) = (client.to, client.owner);
        if let Some(bytes) = step.transmit {
            self.events.push_back(Event::Send { to, bytes });
        }
        if let Some(cancel) = step.cancel {
            self.start_client(ClientId { is_cancel: true, ..id }, cancel, to, owner, now);
        }
        if step.timed_out && !id.is_cancel {
            self.counters.timeouts += 1;
            self.events.push_back(Event::TimedOut { id, owner });
        }
        if step.finished {
            self.clients.remove(&id);
        } else {
            self.queue_client(id);
        }
    }

    fn receive_ack(&mut self, ack: Request, now: Timestamp) {
        if let Some(id) = self.find_server(&ack, &Method::Invite)
            && let Some(server) = self.servers.get_mut(&id)
            && server.ack_key.is_none()
        {
            let step = server.on_ack(&self.config.timers, now);
            return self.after_server(id, step, false);
        }
        let invite = self.servers_by_ack.get(ack_key(&ack.headers).as_str()).copied();
        if let Some(invite) = invite
            && let Some(server) = self.servers.get_mut(&invite)
            && server.acknowledge()
        {
            self.events.push_back(Event::Ack { invite, owner: server.owner, ack });
        } else {
            self.counters.stray_acks += 1;
        }
    }

    fn receive_request(&mut self, mut request: Request, from: Peer, now: Timestamp) {
        if let Some(id) = self.find_server(&request, &request.method) {
            self.counters.repeats_received += 1;
            if let Some(server) = self.servers.get(&id) {
                let step = server.on_repeat();
                let repeated = step.transmit.is_some();
                self.after_server(id, step, repeated);
            }
            return;
        }
        let key: Arc<str> = server_key(&request.headers, &request.method).into();
        let reply_to = complete_via(&mut request.headers, from);
        if self.servers.len() >= self.config.transactions_max {
            self.counters.refused += 1;
            let response = request.reply(503).with(Name::RetryAfter, self.config.retry_after_s);
            return self.reply_without_transaction(response, from);
        }
        let id = ServerId(self.next_server);
        self.next_server += 1;
        let is_invite = request.method == Method::Invite;
        self.servers.insert(id, Server::start(key.clone(), is_invite, reply_to, &self.config.timers, now));
        self.servers_by_key.insert(key, id);
        self.queue_server(id);
        if request.method == Method::Cancel {
            let invite = self.find_server(&request, &Method::Invite);
            let invite = invite.map(|id| (id, self.servers.get(&id).and_then(|server| server.owner)));
            self.events.push_back(Event::Cancel { id, request, invite });
        } else {
            self.events.push_back(Event::Request { id, request, from });
        }
    }

    fn find_server(&self, request: &Request, method: &Method) -> Option<ServerId> {
        self.servers_by_key.get(server_key(&request.headers, method).as_str()).copied()
    }

    fn after_server(&mut self, id: ServerId, step: ServerStep, repeated: bool) {
        let Some(server) = self.servers.get(&id) else { return };
        let (to, owner) = (server.reply_to, server.owner);
        if let Some(bytes) = step.transmit {
            self.counters.repeats_sent += u64::from(repeated);
            self.events.push_back(Event::Send { to, bytes });
        }
        if step.ack_missing {
            self.events.push_back(Event::AckMissing { invite: id, owner });
        }
        if !step.finished {
            return self.queue_server(id);
        }
        if let Some(server) = self.servers.remove(&id) {
            self.servers_by_key.remove(&server.key);
            if let Some(key) = server.ack_key {
                self.servers_by_ack.remove(&key);
            }
        }
    }

    fn queue_client(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(&id) {
            queue(&mut self.deadlines, &mut client.schedule, Sleeper::Client(id));
        }
    }

    fn queue_server(&mut self, id: ServerId) {
        if let Some(server) = self.servers.get_mut(&id) {
            queue(&mut self.deadlines, &mut server.schedule, Sleeper::Server(id));
        }
    }
}

/// Queues a wake-up unless one at least as early is queued.
fn queue(deadlines: &mut Deadlines<Sleeper>, schedule: &mut Schedule, sleeper: Sleeper) {
    let Some(at) = schedule.next() else { return };
    if schedule.queued_at.is_none_or(|queued| at < queued) {
        schedule.queued_at = Some(at);
        deadlines.wake(at, sleeper);
    }
}
