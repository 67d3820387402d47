//! Which transaction a message belongs to, and where its answer goes.

use crate::field::{BRANCH_COOKIE, Via};
use crate::header::{Headers, Name};
use crate::method::Method;
use crate::peer::Peer;
use crate::uri::host_ip;
use std::net::SocketAddr;

/// What makes a request the same as another (RFC 3261 section 17.2.3, with the rule for peers of RFC 2543).
pub(super) fn server_key(headers: &Headers, method: &Method) -> String {
    let Some(via) = headers.via() else { return String::new() };
    let sent_by = (via.host, via.port.unwrap_or(5060));
    let is_of_rfc_3261 =
        |branch: &&str| branch.len() > BRANCH_COOKIE.len() && branch.starts_with(BRANCH_COOKIE);
    if let Some(branch) = via.branch().filter(is_of_rfc_3261) {
        return format!("{branch}|{}:{}|{method}", sent_by.0, sent_by.1);
    }
    let number = headers.cseq().map_or(0, |cseq| cseq.number);
    let (tag, call_id) = (headers.from_tag().unwrap_or(""), headers.call_id());
    format!("{call_id}|{tag}|{number}|{}:{}|{method}", sent_by.0, sent_by.1)
}

/// What the ACK of a 2xx has in common with it.
pub(super) fn ack_key(headers: &Headers) -> String {
    let (call_id, number) = (headers.call_id(), headers.cseq().map_or(0, |cseq| cseq.number));
    let (from_tag, to_tag) = (headers.from_tag().unwrap_or(""), headers.to_tag().unwrap_or(""));
    format!("{call_id}|{from_tag}|{to_tag}|{number}")
}

/// Notes in the top `Via` where the request really came from (RFC 3261 section 18.2.1, RFC 3581 section 4); returns
/// where the response goes.
pub(super) fn complete_via(headers: &mut Headers, from: Peer) -> Peer {
    let Some(via) = headers.via() else { return from };
    let reply_to = via.reply_to(from);
    let has_rport = via.params.has("rport");
    if has_rport || host_ip(via.host) != Some(from.address.ip()) {
        let completed = completed_via(&via, from.address, has_rport);
        headers.set(Name::Via, completed);
    }
    reply_to
}

fn completed_via(via: &Via<'_>, source: SocketAddr, with_rport: bool) -> String {
    let port = via.port.map(|port| format!(":{port}")).unwrap_or_default();
    let mut parts = vec![format!("SIP/2.0/{} {}{port}", via.transport, via.host)];
    for (name, value) in via.params.iter() {
        if !name.eq_ignore_ascii_case("rport") && !name.eq_ignore_ascii_case("received") {
            parts.push(value.map_or(name.to_owned(), |value| format!("{name}={value}")));
        }
    }
    parts.push(format!("received={}", source.ip()));
    if with_rport {
        parts.push(format!("rport={}", source.port()));
    }
    parts.join(";")
}
