//! Dialogs (RFC 3261 section 12): what two user agents remember of each other between requests.

use crate::field::NameAddr;
use crate::header::{Headers, Name};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::peer::Peer;
use crate::token::Tag;
use crate::uri::Uri;

/// One dialog, seen from our side.
#[derive(Debug, Clone)]
pub struct Dialog {
    call_id: String,
    local_tag: Tag,
    /// Empty until the peer gave one.
    remote_tag: String,
    /// `From` of our requests, without the tag.
    local_address: String,
    /// `To` of our requests, without the tag.
    remote_address: String,
    /// The peer's `Contact`.
    remote_target: String,
    route_set: Vec<String>,
    local_cseq: u32,
    /// The last number the peer used.
    remote_cseq: Option<u32>,
}

impl Dialog {
    /// The dialog we begin by sending an INVITE to `target`.
    pub fn calling(sip_call_id: String, tag: Tag, from: String, target: &str) -> Self {
        Self {
            call_id: sip_call_id,
            local_tag: tag,
            remote_tag: String::new(),
            local_address: from,
            remote_address: format!("<{target}>"),
            remote_target: target.to_owned(),
            route_set: Vec::new(),
            local_cseq: 0,
            remote_cseq: None,
        }
    }

    /// The dialog that an INVITE of a peer asks for; `None` if its `Contact` is missing or malformed.
    pub fn answering(invite: &Headers, tag: Tag) -> Option<Self> {
        Some(Self {
            call_id: invite.call_id().to_owned(),
            local_tag: tag,
            remote_tag: invite.from_tag().unwrap_or("").to_owned(),
            local_address: without_tag(invite.get(Name::To)?),
            remote_address: without_tag(invite.get(Name::From)?),
            remote_target: sip_contact(invite)?,
            route_set: invite.all(Name::RecordRoute).map(str::to_owned).collect(),
            local_cseq: 0,
            remote_cseq: invite.cseq().map(|cseq| cseq.number),
        })
    }

    /// Our tag, which alone identifies the dialog among ours.
    pub fn local_tag(&self) -> Tag {
        self.local_tag
    }

    /// Its `Call-ID`.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Another tag for a further early dialog of the same INVITE.
    pub fn set_local_tag(&mut self, tag: Tag) {
        self.local_tag = tag;
    }

    /// Takes tag, route set and target from a 2xx to our INVITE (section 12.1.2).
    pub fn confirm(&mut self, response: &Response) {
        response.headers.to_tag().unwrap_or("").clone_into(&mut self.remote_tag);
        self.route_set = response.headers.all(Name::RecordRoute).map(str::to_owned).collect();
        self.route_set.reverse();
        self.refresh_target(&response.headers);
    }

    /// Takes the peer's newest `Contact` (section 12.2).
    pub fn refresh_target(&mut self, headers: &Headers) {
        if let Some(contact) = sip_contact(headers) {
            self.remote_target = contact;
        }
    }

    /// Whether a request with our tag also has the rest of the identity right.
    pub fn is_of(&self, headers: &Headers) -> bool {
        headers.call_id() == self.call_id && headers.from_tag().unwrap_or("") == self.remote_tag
    }

    /// Whether a request of the peer comes in order; if so its number is the last one now (section 12.2.2).
    pub fn take_cseq(&mut self, headers: &Headers) -> bool {
        let number = headers.cseq().map(|cseq| cseq.number);
        let in_order = number > self.remote_cseq;
        if in_order {
            self.remote_cseq = number;
        }
        in_order
    }

    /// The next request of ours.
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq += 1;
        self.build(method, self.local_cseq)
    }

    /// The ACK of the 2xx to our INVITE that had this number.
    pub fn ack(&self, cseq_number: u32) -> Request {
        self.build(Method::Ack, cseq_number)
    }

    /// The number our latest request had.
    pub fn latest_cseq(&self) -> u32 {
        self.local_cseq
    }

    fn build(&self, method: Method, number: u32) -> Request {
        let mut request = Request::new(method, self.remote_target.clone());
        let headers = &mut request.headers;
        for route in &self.route_set {
            headers.push(Name::Route, route);
        }
        headers.push(Name::MaxForwards, 70);
        headers.push(Name::From, format_args!("{};tag={}", self.local_address, self.local_tag));
        let to_tag =
            if self.remote_tag.is_empty() { String::new() } else { format!(";tag={}", self.remote_tag) };
        headers.push(Name::To, format_args!("{}{to_tag}", self.remote_address));
        headers.push(Name::CallId, &self.call_id);
        headers.push(Name::CSeq, format_args!("{number} {}", request.method));
        request
    }

    /// Where our requests go: the first route, else the peer's `Contact`; `None` if that is no IP address.
    pub fn next_hop(&self) -> Option<Peer> {
        match self.route_set.first() {
            Some(route) => NameAddr::parse(route).ok()?.uri.peer(),
            None => Uri::parse(&self.remote_target).ok()?.peer(),
        }
    }
}

fn sip_contact(headers: &Headers) -> Option<String> {
    headers.address(Name::Contact).map(|contact| contact.uri_text.to_owned())
}

/// An address field without its parameters, always in brackets so that a tag can follow.
fn without_tag(value: &str) -> String {
    match NameAddr::parse(value) {
        Ok(address) if address.display.is_empty() => format!("<{}>", address.uri_text),
        Ok(address) => format!("{} <{}>", address.display, address.uri_text),
        Err(_) => value.to_owned(),
    }
}

/// ACK and BYE for a 2xx that nobody wants any more, built from that 2xx alone: an answer that crossed our CANCEL, or
/// a second fork. Its `From` is ours.
pub fn decline_answer(response: &Response) -> Option<(Request, Request)> {
    let headers = &response.headers;
    let number = headers.cseq()?.number;
    let mut dialog = Dialog {
        call_id: headers.call_id().to_owned(),
        local_tag: Tag::read(headers.from_tag()?)?,
        remote_tag: String::new(),
        local_address: without_tag(headers.get(Name::From)?),
        remote_address: without_tag(headers.get(Name::To)?),
        remote_target: headers.address(Name::To)?.uri_text.to_owned(),
        route_set: Vec::new(),
        local_cseq: number,
        remote_cseq: None,
    };
    dialog.confirm(response);
    Some((dialog.ack(number), dialog.request(Method::Bye)))
}
