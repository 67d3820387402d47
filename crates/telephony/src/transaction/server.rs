//! One server transaction (RFC 3261 section 17.2, RFC 6026 section 8.5) as a state machine. It also repeats the 2xx of
//! an INVITE until its ACK comes, which RFC 3261 section 13.3.1.4 asks of the layer above.

use super::schedule::{Schedule, Timers};
use crate::message::Response;
use crate::peer::Peer;
use exchange::time::Timestamp;
use std::sync::Arc;

/// One request of a peer and our answer to it.
#[derive(Debug)]
pub(super) struct Server<O> {
    pub(super) key: Arc<str>,
    /// How the ACK of its 2xx will be recognised.
    pub(super) ack_key: Option<Arc<str>>,
    pub(super) owner: Option<O>,
    pub(super) reply_to: Peer,
    pub(super) schedule: Schedule,
    is_invite: bool,
    state: State,
    /// The last response, for repeats; empty when none is needed any more.
    wire: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
}

/// What the table shall do after a step.
#[derive(Debug, Default)]
pub(super) struct ServerStep {
    pub(super) transmit: Option<Vec<u8>>,
    pub(super) ack_missing: bool,
    pub(super) finished: bool,
}

impl<O> Server<O> {
    pub(super) fn start(
        key: Arc<str>,
        is_invite: bool,
        reply_to: Peer,
        timers: &Timers,
        now: Timestamp,
    ) -> Self {
        let mut schedule = Schedule::default();
        if !is_invite {
            // Nobody waits longer than timer F for an answer; an INVITE may ring for as long as its owner likes.
            schedule.expire_at(Some(now.plus_ms(2 * timers.give_up_ms())));
        }
        let (state, wire) = (State::Proceeding, Vec::new());
        Self { key, ack_key: None, owner: None, reply_to, schedule, is_invite, state, wire }
    }

    /// Whether a response can still be sent.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Proceeding
    }

    /// The same request came again.
    pub(super) fn on_repeat(&self) -> ServerStep {
        let answer = matches!(self.state, State::Proceeding | State::Completed) && !self.wire.is_empty();
        ServerStep { transmit: answer.then(|| self.wire.clone()), ..ServerStep::default() }
    }

    /// The ACK of a response other than 2xx came. Timer I absorbs repeats.
    pub(super) fn on_ack(&mut self, timers: &Timers, now: Timestamp) -> ServerStep {
        if self.state != State::Completed {
            return ServerStep::default();
        }
        self.state = State::Confirmed;
        self.wire = Vec::new();
        self.schedule.stop_repeating();
        self.schedule.expire_at(Some(now.plus_ms(timers.t4_ms)));
        ServerStep { finished: self.reply_to.transport.is_reliable(), ..ServerStep::default() }
    }

    /// The ACK of the 2xx came; `false` if it had come before.
    pub(super) fn acknowledge(&mut self) -> bool {
        let first = self.state == State::Accepted && !self.wire.is_empty();
        self.wire = Vec::new();
        self.schedule.stop_repeating();
        first
    }

    pub(super) fn respond(&mut self, response: &Response, timers: &Timers, now: Timestamp) -> ServerStep {
        self.wire = response.to_bytes();
        let mut step = ServerStep { transmit: Some(self.wire.clone()), ..ServerStep::default() };
        if response.is_provisional() {
            return step;
        }
        let reliable = self.reply_to.transport.is_reliable();
        // Timers H, J and L.
        self.schedule.expire_at(Some(now.plus_ms(timers.give_up_ms())));
        if self.is_invite && response.is_success() {
            self.state = State::Accepted;
            self.schedule.repeat_from(now, timers.t1_ms);
        } else {
            self.state = State::Completed;
            step.finished = reliable && !self.is_invite;
            if self.is_invite && !reliable {
                // Timer G.
                self.schedule.repeat_from(now, timers.t1_ms);
            }
        }
        step
    }

    pub(super) fn on_timer(&mut self, timers: &Timers, now: Timestamp) -> ServerStep {
        if self.schedule.has_expired(now) {
            let ack_missing = self.state == State::Accepted && !self.wire.is_empty();
            return ServerStep { ack_missing, finished: true, ..ServerStep::default() };
        }
        let repeat = self.schedule.take_repeat(now, timers.t2_ms);
        ServerStep { transmit: repeat.then(|| self.wire.clone()), ..ServerStep::default() }
    }
}
