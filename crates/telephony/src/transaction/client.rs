//! One client transaction (RFC 3261 section 17.1, RFC 6026 section 8.4) as a state machine.

use super::schedule::{Schedule, Timers};
use crate::header::{Headers, Name};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::peer::Peer;
use exchange::time::Timestamp;

/// One request of ours on its way to its final response.
#[derive(Debug)]
pub(super) struct Client<O> {
    pub(super) owner: O,
    pub(super) to: Peer,
    pub(super) schedule: Schedule,
    /// The request without its body; an INVITE still needs it to build ACK and CANCEL.
    request: Option<Box<Request>>,
    method: Method,
    state: State,
    cancel: Cancel,
    /// What is repeated: the request, later the ACK.
    wire: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Sent, nothing heard: "Calling" of an INVITE, "Trying" of others.
    Waiting,
    Proceeding,
    /// A final response came; only its repeats are answered.
    Completed,
    /// A 2xx to an INVITE came, with this tag.
    Accepted {
        to_tag: String,
        acknowledged: bool,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum Cancel {
    No,
    /// As soon as a provisional response shows that there is something to cancel (RFC 3261 section 9.1).
    Wanted(Option<String>),
    Sent,
}

/// What the table shall do after a step.
#[derive(Debug, Default)]
pub(super) struct ClientStep {
    pub(super) transmit: Option<Vec<u8>>,
    pub(super) deliver: bool,
    pub(super) timed_out: bool,
    pub(super) finished: bool,
    pub(super) cancel: Option<Request>,
}

impl<O> Client<O> {
    /// Starts it; the caller sends the returned bytes.
    pub(super) fn start(
        request: Request,
        to: Peer,
        owner: O,
        timers: &Timers,
        now: Timestamp,
    ) -> (Self, Vec<u8>) {
        let wire = request.to_bytes();
        let method = request.method.clone();
        let mut schedule = Schedule::default();
        schedule.expire_at(Some(now.plus_ms(timers.give_up_ms())));
        let repeated = if to.transport.is_reliable() {
            Vec::new()
        } else {
            schedule.repeat_from(now, timers.t1_ms);
            wire.clone()
        };
        let head = (method == Method::Invite).then(|| Box::new(Request { body: Vec::new(), ..request }));
        let (state, cancel) = (State::Waiting, Cancel::No);
        (Self { owner, to, schedule, request: head, method, state, cancel, wire: repeated }, wire)
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// Whether a final response came.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.state, State::Completed | State::Accepted { .. })
    }

    pub(super) fn on_response(&mut self, response: &Response, timers: &Timers, now: Timestamp) -> ClientStep {
        match self.method {
            Method::Invite => self.on_invite_response(response, timers, now),
            _ => self.on_other_response(response, timers, now),
        }
    }

    fn on_invite_response(&mut self, response: &Response, timers: &Timers, now: Timestamp) -> ClientStep {
        match &self.state {
            State::Waiting | State::Proceeding if response.is_provisional() => {
                self.state = State::Proceeding;
                self.schedule.stop_repeating();
                self.wire = Vec::new();
                let cancel = match std::mem::replace(&mut self.cancel, Cancel::No) {
                    Cancel::Wanted(reason) => self.build_cancel(reason.as_deref(), timers, now),
                    other => {
                        self.cancel = other;
                        None
                    }
                };
                if self.cancel == Cancel::No {
                    // Timer B is for the first response only; how long it may ring is the owner's business.
                    self.schedule.expire_at(None);
                }
                ClientStep { deliver: true, cancel, ..ClientStep::default() }
            }
            State::Waiting | State::Proceeding => {
                self.schedule.stop_repeating();
                if response.is_success() {
                    self.accept(response, timers, now)
                } else {
                    self.complete_invite(response, timers, now)
                }
            }
            State::Completed => {
                let repeated = !response.is_provisional() && !response.is_success() && !self.wire.is_empty();
                ClientStep { transmit: repeated.then(|| self.wire.clone()), ..ClientStep::default() }
            }
            State::Accepted { to_tag, acknowledged } => {
                if !response.is_success() {
                    return ClientStep::default();
                }
                if response.headers.to_tag().unwrap_or("") != to_tag {
                    // A fork answered too: its own dialog, which the owner ends.
                    return ClientStep { deliver: true, ..ClientStep::default() };
                }
                ClientStep { transmit: acknowledged.then(|| self.wire.clone()), ..ClientStep::default() }
            }
        }
    }

    /// Timer M: repeats of the 2xx are absorbed or acknowledged again for 64 * T1.
    fn accept(&mut self, response: &Response, timers: &Timers, now: Timestamp) -> ClientStep {
        let to_tag = response.headers.to_tag().unwrap_or("").to_owned();
        self.state = State::Accepted { to_tag, acknowledged: false };
        self.request = None;
        self.wire = Vec::new();
        self.schedule.expire_at(Some(now.plus_ms(timers.give_up_ms())));
        ClientStep { deliver: true, ..ClientStep::default() }
    }

    /// Timer D: the ACK is repeated for every repeat of the final response.
    fn complete_invite(&mut self, response: &Response, timers: &Timers, now: Timestamp) -> ClientStep {
        let ack = self
            .request
            .take()
            .map(|invite| hop_request(&invite, Method::Ack, response.headers.get(Name::To)));
        self.wire = ack.map(|ack| ack.to_bytes()).unwrap_or_default();
        self.state = State::Completed;
        let finished = self.to.transport.is_reliable();
        self.schedule.expire_at(Some(now.plus_ms(timers.give_up_ms())));
        ClientStep { transmit: Some(self.wire.clone()), deliver: true, finished, ..ClientStep::default() }
    }

    fn on_other_response(&mut self, response: &Response, timers: &Timers, now: Timestamp) -> ClientStep {
        match self.state {
            State::Waiting | State::Proceeding if response.is_provisional() => {
                if self.state == State::Waiting && !self.to.transport.is_reliable() {
                    self.schedule.repeat_from(now, timers.t2_ms);
                }
                self.state = State::Proceeding;
                ClientStep { deliver: true, ..ClientStep::default() }
            }
            State::Waiting | State::Proceeding => {
                self.state = State::Completed;
                self.wire = Vec::new();
                self.schedule.stop_repeating();
                // Timer K.
                self.schedule.expire_at(Some(now.plus_ms(timers.t4_ms)));
                ClientStep {
                    deliver: true,
                    finished: self.to.transport.is_reliable(),
                    ..ClientStep::default()
                }
            }
            State::Completed | State::Accepted { .. } => ClientStep::default(),
        }
    }

    /// Takes the owner's ACK of the 2xx, to be repeated for repeats of that 2xx.
    pub(super) fn acknowledge(&mut self, ack: Vec<u8>, to: Peer) {
        if let State::Accepted { acknowledged, .. } = &mut self.state {
            *acknowledged = true;
            self.wire = ack;
            self.to = to;
        }
    }

    /// Gives the INVITE up: now if it was heard, else as soon as it shows to have been.
    pub(super) fn cancel(
        &mut self,
        reason: Option<&str>,
        timers: &Timers,
        now: Timestamp,
    ) -> Option<Request> {
        match (&self.state, &self.cancel) {
            (State::Waiting, Cancel::No) => {
                self.cancel = Cancel::Wanted(reason.map(str::to_owned));
                None
            }
            (State::Proceeding, Cancel::No) => self.build_cancel(reason, timers, now),
            _ => None,
        }
    }

    fn build_cancel(&mut self, reason: Option<&str>, timers: &Timers, now: Timestamp) -> Option<Request> {
        self.cancel = Cancel::Sent;
        // A peer that answers neither CANCEL nor INVITE is not waited for (RFC 3261 section 9.1).
        self.schedule.expire_at(Some(now.plus_ms(timers.give_up_ms())));
        let mut cancel = hop_request(self.request.as_deref()?, Method::Cancel, None);
        if let Some(reason) = reason {
            cancel.headers.push(Name::Reason, reason);
        }
        Some(cancel)
    }

    pub(super) fn on_timer(&mut self, timers: &Timers, now: Timestamp) -> ClientStep {
        if self.schedule.has_expired(now) {
            return ClientStep { timed_out: !self.is_answered(), finished: true, ..ClientStep::default() };
        }
        // Timer A doubles without end, timer E up to T2.
        let interval_ms_max = if self.method == Method::Invite { u64::MAX } else { timers.t2_ms };
        let repeat = self.schedule.take_repeat(now, interval_ms_max);
        ClientStep { transmit: repeat.then(|| self.wire.clone()), ..ClientStep::default() }
    }
}

/// The ACK of a failed INVITE or a CANCEL: both go the INVITE's way with its branch (sections 17.1.1.3 and 9.1).
fn hop_request(invite: &Request, method: Method, to: Option<&str>) -> Request {
    let mut headers = Headers::default();
    if let Some(via) = invite.headers.get(Name::Via) {
        headers.push(Name::Via, via);
    }
    headers.copy_from(&invite.headers, Name::Route);
    headers.push(Name::MaxForwards, 70);
    headers.copy_from(&invite.headers, Name::From);
    headers.push(Name::To, to.or(invite.headers.get(Name::To)).unwrap_or(""));
    headers.copy_from(&invite.headers, Name::CallId);
    let number = invite.headers.cseq().map_or(1, |cseq| cseq.number);
    headers.push(Name::CSeq, format_args!("{number} {method}"));
    Request { method, uri: invite.uri.clone(), headers, body: Vec::new() }
}
