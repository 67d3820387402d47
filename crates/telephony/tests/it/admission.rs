//! Which INVITEs are taken, and what the exchange learns from them.

use crate::world::*;
use exchange::bid::criteria::Attestation;
use exchange::call::{Arrival, Stated};
use exchange::phone_number::CallerId;
use telephony::config::SipConfig;
use telephony::header::Name;
use telephony::message::Request;
use telephony::method::Method;

fn number(text: &str) -> CallerId {
    CallerId::Number(text.parse().unwrap())
}

fn invite() -> Request {
    Phone::caller("call-1").invite(SDP_CALLER)
}

#[test]
fn an_invite_of_a_trunk_is_trying_at_once_and_told_to_the_exchange() {
    let mut world = World::new();
    let mut invite = invite();
    invite.headers.push(Name::XConsumerState, "FL");
    // What is malformed is as if it were not there.
    invite.headers.push(Name::XConsumerZip, "somewhere");
    invite.headers.push(Name::PAttestationIndicator, "A");
    let arrival = world.arrival_of(&invite);
    let expected = Arrival {
        called: "+18885550100".parse().unwrap(),
        caller: number("+12125550123"),
        trunk: "north".into(),
        stated: Stated {
            state: Some("FL".to_owned().try_into().unwrap()),
            attestation: Some(Attestation::A),
            ..Stated::default()
        },
    };
    assert_eq!(arrival, expected);
    assert_eq!(world.heard(carrier()), ["100 INVITE"]);
}

#[test]
fn the_caller_is_who_the_carrier_says_it_is() {
    // P-Asserted-Identity, Privacy, From, and who calls.
    let cases = [
        ("", "", "<sip:2125550199@h>;tag=a", number("+12125550199")),
        ("<sip:+13055550100@h>", "", "<sip:anonymous@anonymous.invalid>;tag=a", number("+13055550100")),
        ("<tel:+13055550100>, <sip:+1@h>", "none", "<sip:x@h>;tag=a", number("+13055550100")),
        (
            "\"Jo\" <sip:+1305-555-0100;cpc=ordinary@h;user=phone>",
            "",
            "<sip:x@h>;tag=a",
            number("+13055550100"),
        ),
        ("<sip:+13055550100@h>", "id", "<sip:+13055550100@h>;tag=a", CallerId::Anonymous),
        ("<sip:+13055550100@h>", "user;critical", "<sip:x@h>;tag=a", CallerId::Anonymous),
        ("", "", "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=a", CallerId::Anonymous),
        ("", "", "<sip:+13055550100@anonymous.invalid>;tag=a", CallerId::Anonymous),
        ("", "", "<sip:h>;tag=a", CallerId::Anonymous),
        ("", "", "<sip:jo@h>;tag=a", CallerId::Malformed),
        ("", "", "<sip:911@h>;tag=a", CallerId::Malformed),
    ];
    for (asserted, privacy, from, expected) in cases {
        let mut invite = invite();
        invite.headers.set(Name::From, from);
        for (name, value) in [(Name::PAssertedIdentity, asserted), (Name::Privacy, privacy)] {
            if !value.is_empty() {
                invite.headers.push(name, value);
            }
        }
        assert_eq!(World::new().arrival_of(&invite).caller, expected, "{asserted} {privacy} {from}");
    }
}

#[test]
fn the_number_dialled_is_read_from_the_request_uri() {
    let cases = [
        ("sip:+18885550100@198.51.100.1", Ok("+18885550100")),
        ("sip:8885550100@198.51.100.1;user=phone", Ok("+18885550100")),
        ("sip:%2B1888-555-0100;npdi=yes@h", Ok("+18885550100")),
        ("tel:+1-888-555-0100", Ok("+18885550100")),
        ("sip:198.51.100.1", Err(404)),
        ("sip:sales@198.51.100.1", Err(404)),
        ("sip:911@198.51.100.1", Err(404)),
        ("sips:+18885550100@198.51.100.1", Err(416)),
        ("urn:service:sos", Err(416)),
    ];
    for (uri, expected) in cases {
        let mut world = World::new();
        let invite = Request { uri: uri.to_owned(), ..invite() };
        match expected {
            Ok(number) => assert_eq!(world.arrival_of(&invite).called.to_string(), number, "{uri}"),
            Err(status) => {
                world.send(carrier(), &invite);
                assert_eq!(world.response(carrier()).status, status, "{uri}");
                assert_eq!(world.inputs(), []);
            }
        }
    }
}

/// Changes an INVITE, and the status, field and value that must come back.
type Refusal = (&'static str, fn(&mut Request), u16, Name, &'static str);

#[test]
fn what_cannot_be_taken_is_refused_in_the_words_of_sip() {
    let cases: [Refusal; 6] = [
        ("hops", |r| r.headers.set(Name::MaxForwards, 0), 483, Name::To, "<sip:+18885550100@198.51.100.1>"),
        ("100rel", |r| r.headers.push(Name::Require, "100rel, timer"), 420, Name::Unsupported, "100rel"),
        ("contact", |r| r.headers.remove(Name::Contact), 400, Name::To, "<sip:"),
        ("contact", |r| r.headers.set(Name::Contact, "*"), 400, Name::To, "<sip:"),
        (
            "interval",
            |r| {
                r.headers.push(Name::Supported, "timer");
                r.headers.push(Name::SessionExpires, 60);
            },
            422,
            Name::MinSe,
            "90",
        ),
        (
            "method",
            |r| *r = Phone::caller("c").request(Method::Other("PUBLISH".into()), ""),
            405,
            Name::Allow,
            "INVITE",
        ),
    ];
    for (what, change, status, name, value) in cases {
        let mut world = World::new();
        let mut invite = invite();
        change(&mut invite);
        world.send(carrier(), &invite);
        let response = world.response(carrier());
        assert_eq!(response.status, status, "{what}");
        let found = field(&response.headers, name);
        assert!(found.starts_with(value), "{what}: {name} is {found}");
        assert!(response.headers.to_tag().is_some(), "{what}: every final response is tagged");
        assert_eq!(world.inputs(), [], "{what}");
        assert_eq!(world.stack.counters().refused_other, 1, "{what}");
        world.assert_empty();
    }
}

#[test]
fn strangers_are_refused_before_anything_is_read() {
    let stranger = peer("udp://203.0.113.66:5060");
    let mut world = World::new();
    let mut invite = invite();
    invite.headers.set(Name::MaxForwards, 0);
    world.send(stranger, &invite);
    assert_eq!(world.response(stranger).status, 403);
    assert_eq!(world.inputs(), []);
    assert_eq!(world.stack.counters().refused_unknown_trunk, 1);
}

#[test]
fn too_many_calls_are_refused_until_some_end() {
    let limits: [fn(&mut SipConfig); 2] = [|c| c.max_live_calls = 2, |c| c.max_calls_in_setup = 2];
    for limit in limits {
        let mut config = config();
        limit(&mut config);
        let mut world = World::with(config);
        let mut first = Phone::caller("one");
        let first_invite = first.invite(SDP_CALLER);
        world.send(carrier(), &first_invite);
        world.send(carrier(), &Phone::caller("two").invite(SDP_CALLER));
        world.take(carrier());
        world.send(carrier(), &Phone::caller("three").invite(SDP_CALLER));
        let refused = world.response(carrier());
        assert_eq!((refused.status, field(&refused.headers, Name::RetryAfter)), (503, "5"));
        assert_eq!(world.stack.counters().refused_overload, 1);
        world.send(carrier(), &first.cancel());
        world.take(carrier());
        world.send(carrier(), &Phone::caller("four").invite(SDP_CALLER));
        assert_eq!(world.heard(carrier()), ["100 INVITE"]);
    }
}

#[test]
fn a_draining_exchange_takes_no_calls_and_says_so_to_options() {
    let mut world = World::new();
    let options = |n: &str| Phone::caller(n).request(Method::Options, "");
    world.send(carrier(), &options("o1"));
    let alive = world.response(carrier());
    assert_eq!(alive.status, 200);
    assert!(field(&alive.headers, Name::Allow).starts_with("INVITE"));
    world.stack.drain();
    world.send(carrier(), &options("o2"));
    assert_eq!(world.response(carrier()).status, 503);
    world.send(carrier(), &invite());
    assert_eq!(world.response(carrier()).status, 503);
    assert_eq!(world.inputs(), []);
}

#[test]
fn the_same_invite_over_two_ways_is_one_call() {
    let mut world = World::new();
    let mut merged = invite();
    world.send(carrier(), &merged);
    world.take(carrier());
    merged.headers.set(Name::Via, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-other-way");
    world.send(carrier(), &merged);
    assert_eq!(world.response(carrier()).status, 482);
    assert_eq!(world.inputs().len(), 1);
}

#[test]
fn requests_for_dialogs_we_do_not_have_are_481() {
    let methods = [Method::Bye, Method::Info, Method::Update, Method::Prack, Method::Invite, Method::Cancel];
    for method in methods {
        for tag in ["", ";tag=foreign", ";tag=0123456789abcdef"] {
            if method == Method::Invite && tag.is_empty() {
                continue;
            }
            let mut world = World::new();
            let mut phone = Phone::caller("call-1");
            phone.remote.push_str(tag);
            world.send(carrier(), &phone.request(method.clone(), ""));
            assert_eq!(world.response(carrier()).status, 481, "{method} {tag}");
        }
    }
    let mut world = World::new();
    world.send(carrier(), &Phone::caller("call-1").ack(""));
    assert_eq!(world.heard(carrier()), Vec::<String>::new(), "an ACK is never answered");
    assert_eq!(world.stack.counters().transactions.stray_acks, 1);
}

#[test]
fn a_flood_of_strangers_takes_no_memory() {
    let stranger = peer("udp://203.0.113.66:5060");
    let mut world = World::new();
    let cases = [
        (Method::Invite, 403),
        (Method::Options, 200),
        (Method::Other("REGISTER".into()), 405),
        (Method::Bye, 481),
        (Method::Cancel, 481),
    ];
    for (number, (method, status)) in cases.iter().cycle().take(500).enumerate() {
        let mut phone = Phone::caller(&format!("flood-{number}"));
        world.send(stranger, &phone.request(method.clone(), ""));
        assert_eq!(world.response(stranger).status, *status, "{method}");
    }
    assert_eq!((world.stack.live_calls(), world.stack.live_transactions()), (0, 0));
    assert_eq!(world.stack.counters().refused_unknown_trunk, 100);
}
