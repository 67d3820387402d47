//! A stack, the clock it lives by, and phones on both sides whose every packet the test sends itself.

use exchange::bid::Destination;
use exchange::call::Arrival;
use exchange::effect::{Action, EndReason, Input};
use exchange::id::CallId;
use exchange::phone_number::CallerId;
use exchange::time::Timestamp;
use std::collections::HashMap;
use telephony::config::{CarrierTrunk, SipConfig};
use telephony::header::Name;
use telephony::message::{Message, Request, Response};
use telephony::method::Method;
use telephony::peer::{Peer, Transport};
use telephony::stack::{Output, Stack};

pub(crate) const SDP_CALLER: &str = "v=0\r\no=caller 1 1 IN IP4 192.0.2.1\r\ns=-\r\n";
pub(crate) const SDP_TARGET: &str = "v=0\r\no=target 1 1 IN IP4 192.0.2.50\r\ns=-\r\n";

pub(crate) fn peer(text: &str) -> Peer {
    let (transport, address) = text.split_once("://").unwrap();
    let transport = if transport == "udp" { Transport::Udp } else { Transport::Tcp };
    Peer { transport, address: address.parse().unwrap() }
}

/// The carrier `north`, allowed to call.
pub(crate) fn carrier() -> Peer {
    peer("udp://192.0.2.1:5060")
}

/// A buyer's trunk: 192.0.2.50, 192.0.2.51 ...
pub(crate) fn buyer(number: u8) -> Peer {
    peer(&format!("udp://192.0.2.{}:5060", 50 + number))
}

pub(crate) fn uri_of(trunk: Peer) -> String {
    format!("sip:+18005550100@{};transport={}", trunk.address, trunk.transport)
}

pub(crate) fn config() -> SipConfig {
    SipConfig {
        listen: vec!["udp://198.51.100.1:5060".parse().unwrap(), "tcp://198.51.100.1:5060".parse().unwrap()],
        trunks: vec![CarrierTrunk { name: "north".into(), sources: vec!["192.0.2.1".parse().unwrap()] }],
        // Out of the way: the tests of the trunk watch set their own.
        options_interval_ms: 100_000_000,
        ..SipConfig::default()
    }
}

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) now: Timestamp,
    pub(crate) inputs: Vec<(CallId, Input)>,
    heard: HashMap<Peer, Vec<Message>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: SipConfig) -> Self {
        let now = Timestamp(1_700_000_000_000_000);
        Self { stack: Stack::new(config, 7).unwrap(), now, inputs: Vec::new(), heard: HashMap::new() }
    }

    fn collect(&mut self) {
        while let Some(output) = self.stack.poll_output() {
            match output {
                Output::Send { to, bytes } => {
                    match Message::parse(&bytes) {
                        Ok(message) => self.heard.entry(to).or_default().push(message),
                        // What refuses a malformed request repeats its malformed fields.
                        Err(error) => assert!(bytes.starts_with(b"SIP/2.0 400 Bad Request: "), "{error}"),
                    }
                }
                Output::Input { call, input } => self.inputs.push((call, input)),
            }
        }
    }

    pub(crate) fn send(&mut self, from: Peer, message: &impl Wire) {
        self.stack.receive(&message.wire(), from, self.now);
        self.collect();
    }

    pub(crate) fn act(&mut self, call: CallId, action: Action) {
        self.stack.act(call, &action, self.now);
        self.collect();
    }

    pub(crate) fn end(&mut self, call: CallId, reason: EndReason) {
        self.act(call, Action::EndCall { reason });
    }

    /// Lets time pass, waking the stack exactly when it asks.
    pub(crate) fn advance_ms(&mut self, ms: u64) {
        let until = self.now.plus_ms(ms);
        while let Some(at) = self.stack.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.stack.tick(self.now);
            self.collect();
        }
        self.now = until;
    }

    pub(crate) fn fail_transport(&mut self, peer: Peer) {
        self.stack.transport_failed(peer, self.now);
        self.collect();
    }

    pub(crate) fn refuse(&mut self, call: CallId) {
        self.stack.refuse(call, self.now);
        self.collect();
    }

    /// Everything a peer heard since it was last asked.
    pub(crate) fn take(&mut self, peer: Peer) -> Vec<Message> {
        self.heard.remove(&peer).unwrap_or_default()
    }

    /// The same in short: `INVITE`, `180 INVITE`.
    pub(crate) fn heard(&mut self, peer: Peer) -> Vec<String> {
        self.take(peer).iter().map(summary).collect()
    }

    /// The last response a peer heard; what it heard before is forgotten.
    pub(crate) fn response(&mut self, peer: Peer) -> Response {
        match self.take(peer).pop() {
            Some(Message::Response(response)) => response,
            other => panic!("{peer} heard no response but {other:?}"),
        }
    }

    /// The last request a peer heard.
    pub(crate) fn request(&mut self, peer: Peer) -> Request {
        match self.take(peer).pop() {
            Some(Message::Request(request)) => request,
            other => panic!("{peer} heard no request but {other:?}"),
        }
    }

    /// The inputs since the last look.
    pub(crate) fn inputs(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.inputs).into_iter().map(|(_, input)| input).collect()
    }

    /// A new call that the exchange has just been told of.
    pub(crate) fn arrive(&mut self) -> (Phone, CallId) {
        let mut caller = Phone::caller("call-1");
        let invite = caller.invite(SDP_CALLER);
        self.arrive_with(caller, &invite)
    }

    pub(crate) fn arrive_with(&mut self, caller: Phone, invite: &Request) -> (Phone, CallId) {
        self.send(caller.peer, invite);
        assert_eq!(self.heard(caller.peer), ["100 INVITE"]);
        match self.inputs.pop() {
            Some((call, Input::Arrived(_))) => (caller, call),
            other => panic!("no arrival but {other:?}"),
        }
    }

    /// What the exchange is told of an INVITE.
    pub(crate) fn arrival_of(&mut self, invite: &Request) -> Arrival {
        self.send(carrier(), invite);
        match self.inputs().pop() {
            Some(Input::Arrived(arrival)) => arrival,
            other => panic!("no arrival but {other:?}: {:?}", self.heard(carrier())),
        }
    }

    /// Rings the trunks; returns the INVITE the first one heard, as the phone there.
    pub(crate) fn ring(&mut self, call: CallId, attempt: u8, trunks: &[Peer]) -> Phone {
        let destination = Destination { sip_uris: trunks.iter().map(|trunk| uri_of(*trunk)).collect() };
        let caller = CallerId::Number("+12125550123".parse().unwrap());
        self.act(call, Action::RingTarget { attempt, destination, caller });
        let invite = self.request(trunks[0]);
        assert_eq!(invite.method, Method::Invite);
        Phone::target(trunks[0], invite)
    }

    /// A call with both sides connected, nothing left to hear.
    pub(crate) fn connect(&mut self) -> (Phone, Phone, CallId) {
        let (caller, call) = self.arrive();
        self.connect_arrived(caller, call, &[])
    }

    pub(crate) fn connect_arrived(
        &mut self,
        mut caller: Phone,
        call: CallId,
        extra: &[(Name, &str)],
    ) -> (Phone, Phone, CallId) {
        let target = self.ring(call, 1, &[buyer(0)]);
        let mut answer = target.respond(200, SDP_TARGET);
        for (name, value) in extra {
            answer.headers.push(*name, value);
        }
        self.send(target.peer, &answer);
        assert_eq!(self.heard(target.peer), ["ACK"]);
        self.act(call, Action::ConnectCaller { attempt: 1 });
        let ok = self.response(caller.peer);
        assert_eq!(ok.status, 200);
        caller.learn(&ok);
        let ack = caller.ack("");
        self.send(caller.peer, &ack);
        self.inputs.clear();
        (caller, target, call)
    }

    /// Nothing is left once all timers have run out.
    pub(crate) fn assert_empty(&mut self) {
        assert_eq!(self.stack.live_calls(), 0, "calls");
        self.advance_ms(70_000);
        assert_eq!(self.stack.live_transactions(), 0, "transactions");
    }
}

/// What can be put on the wire.
pub(crate) trait Wire {
    fn wire(&self) -> Vec<u8>;
}

impl Wire for Request {
    fn wire(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

impl Wire for Response {
    fn wire(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

impl Wire for &str {
    fn wire(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

pub(crate) fn summary(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => {
            format!("{} {}", response.status, response.headers.cseq().unwrap().method)
        }
    }
}

pub(crate) fn field(headers: &telephony::header::Headers, name: Name) -> &str {
    headers.get(name).unwrap_or("")
}

/// A SIP phone reduced to what it must remember.
pub(crate) struct Phone {
    pub(crate) peer: Peer,
    pub(crate) call_id: String,
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) remote_uri: String,
    pub(crate) cseq: u32,
    /// The INVITE it sent or received.
    pub(crate) invite: Option<Request>,
}

impl Phone {
    pub(crate) fn caller(call_id: &str) -> Self {
        Self {
            peer: carrier(),
            call_id: call_id.to_owned(),
            local: "\"Jo\" <sip:+12125550123@192.0.2.1>;tag=caller".to_owned(),
            remote: "<sip:+18885550100@198.51.100.1>".to_owned(),
            remote_uri: "sip:+18885550100@198.51.100.1".to_owned(),
            cseq: 0,
            invite: None,
        }
    }

    pub(crate) fn target(peer: Peer, invite: Request) -> Self {
        Self {
            peer,
            call_id: invite.headers.call_id().to_owned(),
            local: format!("{};tag=target", field(&invite.headers, Name::To)),
            remote: field(&invite.headers, Name::From).to_owned(),
            remote_uri: invite.headers.address(Name::Contact).unwrap().uri_text.to_owned(),
            cseq: 0,
            invite: Some(invite),
        }
    }

    pub(crate) fn contact(&self) -> String {
        format!("<sip:phone@{};transport={}>", self.peer.address, self.peer.transport)
    }

    /// The next request, with a branch of its own.
    pub(crate) fn request(&mut self, method: Method, body: &str) -> Request {
        self.cseq += 1;
        self.build(method, self.cseq, body)
    }

    pub(crate) fn build(&self, method: Method, cseq: u32, body: &str) -> Request {
        let mut request = Request::new(method.clone(), &self.remote_uri);
        let headers = &mut request.headers;
        let branch = format!("z9hG4bK-{}-{cseq}-{method}-{}", self.call_id, self.remote.len());
        let transport = self.peer.transport.via_name();
        headers.push(Name::Via, format!("SIP/2.0/{transport} {};branch={branch};rport", self.peer.address));
        headers.push(Name::MaxForwards, 70);
        headers.push(Name::From, &self.local);
        headers.push(Name::To, &self.remote);
        headers.push(Name::CallId, &self.call_id);
        headers.push(Name::CSeq, format!("{cseq} {method}"));
        headers.push(Name::Contact, self.contact());
        if !body.is_empty() {
            headers.push(
                Name::ContentType,
                if method == Method::Info { "application/dtmf-relay" } else { "application/sdp" },
            );
            request.body = body.as_bytes().to_vec();
        }
        request
    }

    /// The first INVITE.
    pub(crate) fn invite(&mut self, body: &str) -> Request {
        let invite = self.request(Method::Invite, body);
        self.invite = Some(invite.clone());
        invite
    }

    /// The CANCEL of the first INVITE.
    pub(crate) fn cancel(&self) -> Request {
        let invite = self.invite.clone().unwrap();
        let mut cancel = Request { method: Method::Cancel, body: vec![], ..invite };
        let number = cancel.headers.cseq().unwrap().number;
        cancel.headers.set(Name::CSeq, format!("{number} CANCEL"));
        cancel.headers.remove(Name::ContentType);
        cancel
    }

    /// The ACK of the latest INVITE's 2xx.
    pub(crate) fn ack(&self, body: &str) -> Request {
        self.build(Method::Ack, self.cseq, body)
    }

    /// Takes the tag and the target of a response that makes a dialog.
    pub(crate) fn learn(&mut self, response: &Response) {
        field(&response.headers, Name::To).clone_into(&mut self.remote);
        let contact = response.headers.address(Name::Contact).unwrap();
        contact.uri_text.clone_into(&mut self.remote_uri);
    }

    /// A response to the INVITE this phone received.
    pub(crate) fn respond(&self, status: u16, body: &str) -> Response {
        self.answer(self.invite.as_ref().unwrap(), status, body)
    }

    /// A response to any request.
    pub(crate) fn answer(&self, request: &Request, status: u16, body: &str) -> Response {
        let mut response = request.reply(status);
        if status > 100 {
            response = response.with_to_tag("target").with(Name::Contact, self.contact());
        }
        if !body.is_empty() {
            response.headers.push(Name::ContentType, "application/sdp");
            response.body = body.as_bytes().to_vec();
        }
        response
    }
}
