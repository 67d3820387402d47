//! Whether the INVITE of a new call is taken, and what it says to the exchange.

use crate::bridge::refuse_short_interval;
use crate::dialog::Dialog;
use crate::header::{Headers, Name};
use crate::message::{Request, Response};
use crate::peer::Peer;
use crate::signalling::{Leg, Signalling, hops_left, unsupported_options};
use crate::stated::read_stated;
use crate::uri::{Scheme, Uri};
use exchange::call::Arrival;
use exchange::phone_number::{CallerId, PhoneNumber};

/// A call that may go on to the exchange.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) arrival: Arrival,
    pub(crate) leg: Leg,
    /// How this INVITE is known among live ones.
    pub(crate) key: String,
}

/// How full the exchange is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) live_calls: usize,
    pub(crate) calls_in_setup: usize,
    pub(crate) is_draining: bool,
}

/// Reads an INVITE outside any dialog, or gives the response that refuses it. Strangers learn nothing: who they are is
/// checked first.
pub(crate) fn admit(
    invite: &Request,
    from: Peer,
    load: Load,
    cx: &mut Signalling,
) -> Result<Admitted, Response> {
    cx.counters.invites += 1;
    let Some(trunk) = cx.config.trunk_of(from).map(|trunk| trunk.name.clone()) else {
        cx.counters.refused_unknown_trunk += 1;
        return Err(invite.reply(403));
    };
    let config = &cx.config;
    let is_full =
        load.live_calls >= config.max_live_calls || load.calls_in_setup >= config.max_calls_in_setup;
    if is_full || load.is_draining {
        let response = invite.reply(503).with(Name::RetryAfter, config.retry_after_s);
        cx.counters.refused_overload += 1;
        return Err(response);
    }
    let admitted = read_invite(invite, from, trunk, cx);
    match &admitted {
        Err(response) if response.status == 404 => cx.counters.refused_no_number += 1,
        Err(_) => cx.counters.refused_other += 1,
        Ok(_) => {}
    }
    admitted
}

fn read_invite(
    invite: &Request,
    from: Peer,
    trunk: String,
    cx: &mut Signalling,
) -> Result<Admitted, Response> {
    let headers = &invite.headers;
    let key = invite_key(headers);
    if cx.invites.contains(&key) {
        // The same request over another way (RFC 3261 section 8.2.2.2).
        return Err(invite.reply(482));
    }
    if hops_left(headers).is_none() {
        return Err(invite.reply(483));
    }
    let unsupported = unsupported_options(invite);
    if !unsupported.is_empty() {
        return Err(invite.reply(420).with(Name::Unsupported, unsupported.join(", ")));
    }
    let called = read_called(invite)?;
    refuse_short_interval(invite, cx)?;
    let Some(dialog) = Dialog::answering(headers, cx.tokens.tag()) else {
        return Err(invite.reply(400).because("Bad Contact: an INVITE has one, with a SIP URI"));
    };
    let mut leg = Leg::new(dialog, from, cx.config.session_expires_s);
    leg.allows_update = headers.lists(Name::Allow, "UPDATE");
    let arrival = Arrival { called, caller: read_caller(headers), trunk, stated: read_stated(headers) };
    Ok(Admitted { arrival, leg, key })
}

fn read_called(invite: &Request) -> Result<PhoneNumber, Response> {
    let uri = Uri::parse(&invite.uri).map_err(|_| invite.reply(400))?;
    match uri.scheme {
        Scheme::Sip | Scheme::Tel => uri.plain_user().parse().map_err(|_| invite.reply(404)),
        Scheme::Sips | Scheme::Other => Err(invite.reply(416)),
    }
}

/// `P-Asserted-Identity` is the carrier's word and goes before `From` (RFC 3325); a wish for privacy (RFC 3323) counts.
fn read_caller(headers: &Headers) -> CallerId {
    let privacy = headers.get(Name::Privacy).unwrap_or("");
    let wants_privacy = privacy.split(';').map(str::trim).any(|wish| {
        wish.eq_ignore_ascii_case("id")
            || wish.eq_ignore_ascii_case("user")
            || wish.eq_ignore_ascii_case("header")
    });
    if wants_privacy {
        return CallerId::Anonymous;
    }
    let identity = headers.address(Name::PAssertedIdentity).or_else(|| headers.address(Name::From));
    match identity {
        Some(identity) if identity.uri.host.eq_ignore_ascii_case("anonymous.invalid") => CallerId::Anonymous,
        Some(identity) => CallerId::from_user_part(&identity.uri.plain_user()),
        None => CallerId::Malformed,
    }
}

fn invite_key(headers: &Headers) -> String {
    let number = headers.cseq().map_or(0, |cseq| cseq.number);
    format!("{}|{}|{number}", headers.call_id(), headers.from_tag().unwrap_or(""))
}
