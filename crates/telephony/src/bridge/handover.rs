//! A caller whose target hung up early is moved to the next that answered: a re-INVITE with that target's session
//! description (third-party call control, RFC 3725).

use super::refresh::send_session;
use super::{Bridge, CallerState, Ending, Side};
use crate::body::Body;
use crate::field::read_number;
use crate::header::Name;
use crate::message::Response;
use crate::signalling::Signalling;
use crate::transaction::ClientId;
use exchange::effect::Input;
use exchange::time::Timestamp;

/// The longest pause after glare. RFC 3261 section 14.1: 0 to 2 seconds for whoever did not begin the call, in steps of 10
/// ms.
const GLARE_STEPS_MAX: u64 = 200;
const GLARE_STEP_MS: u64 = 10;

/// The longest pause that a busy caller may ask for (RFC 3261 section 14.2).
const PAUSE_S_MAX: u32 = 10;

/// Pause before the re-INVITE is tried again when there was no room for it.
const FULL_TABLE_PAUSE_MS: u64 = 1_000;

/// The caller on its way to another target.
#[derive(Debug)]
pub(super) struct Handover {
    /// By when it must be done.
    give_up_at: Timestamp,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The re-INVITE waits: for the end of a pause, or of whatever goes on with the caller.
    Due { paused_until: Option<Timestamp> },
    /// The re-INVITE is with the caller.
    Asked(ClientId),
}

impl Handover {
    pub(super) fn next_deadline(&self) -> Timestamp {
        match self.step {
            Step::Due { paused_until: Some(until) } => until.min(self.give_up_at),
            _ => self.give_up_at,
        }
    }
}

impl Bridge {
    /// Moves the caller to the target, which has answered.
    pub(super) fn begin_handover(&mut self, cx: &mut Signalling, now: Timestamp) {
        let step = Step::Due { paused_until: None };
        self.handover = Some(Handover { give_up_at: now.plus_ms(cx.give_up_ms()), step });
        self.advance_handover(cx, now);
    }

    /// Whether the caller is connected, but not with the target, or with none.
    pub(super) fn is_between_targets(&self) -> bool {
        let is_joined = self.target.as_ref().is_some_and(|target| target.attempt == self.joined_attempt);
        self.caller.state == CallerState::Talking && !is_joined
    }

    /// Our re-INVITE that moves the caller, while it is with the caller.
    pub(super) fn handover_invite(&self) -> Option<ClientId> {
        match self.handover.as_ref()?.step {
            Step::Asked(client) => Some(client),
            Step::Due { .. } => None,
        }
    }

    /// Sends the re-INVITE if nothing is in its way any more.
    pub(super) fn advance_handover(&mut self, cx: &mut Signalling, now: Timestamp) {
        let is_due =
            self.handover.as_ref().is_some_and(|handover| handover.step == Step::Due { paused_until: None });
        if !is_due || self.caller.state != CallerState::Talking || self.pending_invite().is_some() {
            return;
        }
        let Some(description) = self.target.as_ref().and_then(|target| target.answer.clone()) else { return };
        let leg = &mut self.caller.leg;
        leg.keeps_origin = true;
        leg.sent_body = Some(leg.continued(description));
        let step = match send_session(leg, &crate::method::Method::Invite, self.id, cx, now) {
            Ok(client) => Step::Asked(client),
            Err(_) => Step::Due { paused_until: Some(now.plus_ms(FULL_TABLE_PAUSE_MS)) },
        };
        if let Some(handover) = &mut self.handover {
            handover.step = step;
        }
    }

    pub(super) fn on_handover_response(
        &mut self,
        client: ClientId,
        response: &Response,
        cx: &mut Signalling,
        now: Timestamp,
    ) {
        if response.is_provisional() {
            return;
        }
        let asked_s = response.headers.get(Name::RetryAfter).and_then(read_number);
        match response.status {
            200..=299 => self.complete_handover(client, response, cx, now),
            491 => {
                let steps = cx.tokens.next_u64() % (GLARE_STEPS_MAX + 1);
                self.pause_handover(steps * GLARE_STEP_MS, now);
            }
            500 | 503 if asked_s.is_some_and(|asked_s| asked_s <= PAUSE_S_MAX) => {
                self.pause_handover(u64::from(asked_s.unwrap_or(0)) * 1_000, now);
            }
            422 if self.raises_interval(response) => self.pause_handover(0, now),
            408 | 481 => self.lose_peer(cx, now),
            status => {
                cx.counters.moves_refused += 1;
                self.tell(Input::PeerLost, cx, now);
                self.end(&Ending::move_refused(status), cx, now);
            }
        }
    }

    fn pause_handover(&mut self, for_ms: u64, now: Timestamp) {
        if let Some(handover) = &mut self.handover {
            handover.step = Step::Due { paused_until: Some(now.plus_ms(for_ms)) };
        }
    }

    /// Takes the longer session interval that the caller demands; `false` if it demands none.
    fn raises_interval(&mut self, response: &Response) -> bool {
        let timer = &mut self.caller.leg.timer;
        let before_s = timer.interval_s();
        timer.raise_to(response.headers.get(Name::MinSe).and_then(read_number).unwrap_or(0));
        timer.interval_s() > before_s
    }

    /// The caller took the new session: it is with the target now.
    fn complete_handover(
        &mut self,
        client: ClientId,
        response: &Response,
        cx: &mut Signalling,
        now: Timestamp,
    ) {
        self.handover = None;
        cx.counters.callers_moved += 1;
        let leg = &mut self.caller.leg;
        leg.dialog.refresh_target(&response.headers);
        leg.timer.settle(&response.headers, now);
        let number = response.headers.cseq().map_or(0, |cseq| cseq.number);
        cx.transactions.acknowledge(client, leg.dialog.ack(number), leg.hop());
        let answer = Body::of(&response.headers, &response.body);
        if answer.is_some() {
            leg.received_body.clone_from(&answer);
        }
        let Some(target) = &mut self.target else { return };
        self.joined_attempt = target.attempt;
        if !target.is_settled() {
            // The target made the offer; the caller's answer completes it.
            return target.acknowledge(answer, cx);
        }
        let moved = answer.filter(|answer| {
            target.leg.sent_body.as_ref().is_some_and(|offered| answer.moves_media_of(offered))
        });
        if moved.is_some() {
            target.leg.sent_body = moved;
            target.leg.owes_description = true;
            self.refresh(Side::Target, cx, now);
        }
    }

    /// The caller is not moved any more. A re-INVITE already with it ends in order.
    pub(super) fn abandon_handover(&mut self, now: Timestamp) {
        let asked = self.handover_invite();
        self.handover = None;
        if let Some(client) = asked {
            self.caller.leg.adopt_invite(client, true, now);
        }
    }

    pub(super) fn check_handover_deadline(&mut self, cx: &mut Signalling, now: Timestamp) {
        let Some(handover) = &mut self.handover else { return };
        if handover.give_up_at <= now {
            return self.lose_peer(cx, now);
        }
        if let Step::Due { paused_until } = &mut handover.step {
            *paused_until = paused_until.filter(|until| *until > now);
            self.advance_handover(cx, now);
        }
    }
}
