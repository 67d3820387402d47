//! One call as an endpoint remembers it.

use super::plan::{Act, CallerPlan, Step, TargetPlan};
use super::report::{CallEnd, CallReport, Side};
use super::session_description::Media;
use super::{EndpointCallId, LOCAL_METHODS};
use crate::dialog::Dialog;
use crate::header::Name;
use crate::message::{Request, Response};
use crate::peer::Peer;
use crate::transaction::{ClientId, ServerId};
use exchange::time::Timestamp;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// One call, placed or received, until it is over.
pub(super) struct Leg {
    pub(super) dialog: Dialog,
    /// Where the INVITE went or came from; used when the dialog names no address of its own.
    pub(super) peer: Peer,
    pub(super) stage: Stage,
    /// What it does next, and when.
    pub(super) due: Option<(Timestamp, Act)>,
    /// What it does after that.
    steps: VecDeque<Step>,
    /// A re-INVITE of ours without final response.
    pub(super) reinvite: Option<ClientId>,
    /// Our 2xx that is not acknowledged. No BYE before its ACK (RFC 3261 section 15).
    pub(super) unacknowledged: Option<ServerId>,
    pub(super) hang_up_on_ack: bool,
    pub(super) report: CallReport,
    pub(super) media: Media,
    /// Our INVITE had no offer; the one in its 2xx is to be answered in the ACK.
    pub(super) offers_late: bool,
}

/// How far it has come.
pub(super) enum Stage {
    /// We called and wait for the final response.
    Calling { invite: ClientId, plan: CallerPlan, gave_up: bool },
    /// We ring.
    Ringing { invite: ServerId, request: Box<Request>, plan: TargetPlan },
    /// Connected.
    Talking,
    /// Our BYE is on its way.
    Leaving { bye: ClientId },
}

impl Leg {
    pub(super) fn new(
        id: EndpointCallId,
        side: Side,
        dialog: Dialog,
        peer: Peer,
        stage: Stage,
        media: Media,
        now: Timestamp,
    ) -> Self {
        let report = CallReport {
            id,
            side,
            invited_at: now,
            ringing_at: None,
            answered_at: None,
            ended_at: now,
            status: None,
            reason: None,
            reinvites_accepted: 0,
            end: CallEnd::PeerLost,
        };
        Self {
            dialog,
            peer,
            stage,
            due: None,
            steps: VecDeque::new(),
            reinvite: None,
            unacknowledged: None,
            hang_up_on_ack: false,
            report,
            media,
            offers_late: false,
        }
    }

    /// Where its requests go.
    pub(super) fn next_hop(&self) -> Peer {
        self.dialog.next_hop().unwrap_or(self.peer)
    }

    /// Plans one step from now.
    pub(super) fn plan(&mut self, step: Step, now: Timestamp) {
        self.due = Some((now.plus_ms(step.after_ms), step.act));
    }

    /// The call is answered: from now on it follows these steps.
    pub(super) fn answered(&mut self, steps: Vec<Step>, now: Timestamp) {
        self.stage = Stage::Talking;
        self.report.answered_at = Some(now);
        self.report.status = Some(200);
        self.steps = steps.into();
        self.next_step(now);
    }

    /// Goes on to the next step.
    pub(super) fn next_step(&mut self, now: Timestamp) {
        self.due = self.steps.pop_front().map(|step| (now.plus_ms(step.after_ms), step.act));
    }

    /// Takes the act that is due, if its time has come.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Act> {
        let (at, act) = self.due?;
        (at <= now).then(|| {
            self.due = None;
            act
        })
    }

    /// A response to a request that opens or changes this dialog.
    pub(super) fn reply(&self, request: &Request, status: u16, local: SocketAddr) -> Response {
        let mut response = request.reply(status).with_to_tag(self.dialog.local_tag());
        response.headers.copy_from(&request.headers, Name::RecordRoute);
        response.headers.push(Name::Contact, format_args!("<sip:{local}>"));
        response.headers.push(Name::Allow, LOCAL_METHODS);
        response
    }
}
