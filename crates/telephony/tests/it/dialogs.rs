//! Within a connected call: hold and resume, late offers, DTMF, glare, and what is not taken.

use crate::world::*;
use exchange::effect::{Action, EndReason, Input};
use telephony::header::Name;
use telephony::method::Method;

const HOLD: &str = "v=0\r\no=x 1 2 IN IP4 192.0.2.1\r\ns=-\r\na=sendonly\r\n";
const HELD: &str = "v=0\r\no=y 1 2 IN IP4 192.0.2.50\r\ns=-\r\na=recvonly\r\n";

#[test]
fn the_answer_reaches_the_caller_when_the_exchange_says_so() {
    let mut world = World::new();
    let (caller, call) = world.arrive();
    let target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(200, SDP_TARGET));
    assert_eq!(world.inputs(), [Input::TargetAnswered { attempt: 1 }]);
    assert_eq!(world.heard(target.peer), ["ACK"]);
    assert_eq!(world.heard(caller.peer), Vec::<String>::new(), "money first");
    world.act(call, Action::ConnectCaller { attempt: 1 });
    let ok = world.response(caller.peer);
    assert_eq!((ok.status, ok.body.as_slice()), (200, SDP_TARGET.as_bytes()));
    assert_eq!(field(&ok.headers, Name::ContentType), "application/sdp");
    assert_eq!(field(&ok.headers, Name::SessionExpires), "1800;refresher=uas");
}

#[test]
fn a_late_offer_passes_through_in_both_directions() {
    let mut world = World::new();
    let mut caller = Phone::caller("late");
    let invite = caller.invite("");
    let (mut caller, call) = world.arrive_with(caller, &invite);
    let target = world.ring(call, 1, &[buyer(0)]);
    assert!(target.invite.as_ref().unwrap().body.is_empty());
    world.send(target.peer, &target.respond(200, SDP_TARGET));
    assert_eq!(world.heard(target.peer), Vec::<String>::new(), "the ACK needs the caller's answer");
    world.act(call, Action::ConnectCaller { attempt: 1 });
    let ok = world.response(caller.peer);
    assert_eq!(ok.body, SDP_TARGET.as_bytes());
    caller.learn(&ok);
    world.send(caller.peer, &caller.ack(SDP_CALLER));
    let ack = world.request(target.peer);
    assert_eq!((ack.method, ack.body.as_slice()), (Method::Ack, SDP_CALLER.as_bytes()));
    world.send(target.peer, &target.respond(200, SDP_TARGET));
    assert_eq!(world.request(target.peer).body, SDP_CALLER.as_bytes(), "the same ACK for a repeated 200");
}

#[test]
fn a_late_offer_that_ends_early_is_acknowledged_before_the_bye() {
    let mut world = World::new();
    let mut caller = Phone::caller("late");
    let invite = caller.invite("");
    let (_, call) = world.arrive_with(caller, &invite);
    let target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(200, SDP_TARGET));
    world.end(call, EndReason::Stopping);
    assert_eq!(world.heard(target.peer), ["ACK", "BYE"]);
}

#[test]
fn hold_and_resume_pass_from_either_side() {
    for from_caller in [true, false] {
        let mut world = World::new();
        let (mut caller, mut target, _) = world.connect();
        let (asks, answers) =
            if from_caller { (&mut caller, &mut target) } else { (&mut target, &mut caller) };
        for body in [HOLD, SDP_CALLER] {
            world.send(asks.peer, &asks.request(Method::Invite, body));
            assert_eq!(world.heard(asks.peer), ["100 INVITE"]);
            let onward = world.request(answers.peer);
            assert_eq!((onward.method.clone(), onward.body.as_slice()), (Method::Invite, body.as_bytes()));
            assert_eq!(onward.headers.call_id(), answers.call_id);
            world.send(answers.peer, &answers.answer(&onward, 200, HELD));
            assert_eq!(world.heard(answers.peer), ["ACK"], "the offer is answered");
            let ok = world.response(asks.peer);
            assert_eq!((ok.status, ok.body.as_slice()), (200, HELD.as_bytes()));
            world.send(asks.peer, &asks.ack(""));
        }
        assert_eq!(world.inputs(), [], "the exchange does not care");
    }
}

#[test]
fn a_late_offer_reinvite_gets_its_answer_in_the_ack() {
    let mut world = World::new();
    let (mut caller, target, _) = world.connect();
    world.send(caller.peer, &caller.request(Method::Invite, ""));
    let onward = world.request(target.peer);
    assert!(onward.body.is_empty());
    world.send(target.peer, &target.answer(&onward, 200, HELD));
    assert_eq!(world.heard(target.peer), Vec::<String>::new());
    assert_eq!(world.response(caller.peer).body, HELD.as_bytes());
    world.send(caller.peer, &caller.ack(HOLD));
    let ack = world.request(target.peer);
    assert_eq!((ack.method, ack.body.as_slice()), (Method::Ack, HOLD.as_bytes()));
}

#[test]
fn a_refused_reinvite_leaves_the_call_as_it_was() {
    for (refused, told) in [(488, 488), (491, 491), (500, 500), (401, 488), (302, 488)] {
        let mut world = World::new();
        let (mut caller, target, _) = world.connect();
        world.send(caller.peer, &caller.request(Method::Invite, HOLD));
        let onward = world.request(target.peer);
        world.send(target.peer, &target.answer(&onward, refused, ""));
        assert_eq!(world.heard(target.peer), ["ACK"]);
        assert_eq!(world.response(caller.peer).status, told, "{refused}");
        assert_eq!((world.inputs(), world.stack.live_calls()), (vec![], 1));
        world.send(caller.peer, &caller.request(Method::Invite, HOLD));
        assert_eq!(world.heard(target.peer), ["INVITE"], "and it may be tried again");
    }
}

#[test]
fn a_reinvite_that_finds_no_dialog_ends_the_call() {
    for status in [481, 408] {
        let mut world = World::new();
        let (mut caller, target, _) = world.connect();
        world.send(caller.peer, &caller.request(Method::Invite, HOLD));
        let onward = world.request(target.peer);
        world.take(caller.peer);
        world.send(target.peer, &target.answer(&onward, status, ""));
        assert_eq!(world.heard(caller.peer), [format!("{status} INVITE"), "BYE".into()]);
        assert_eq!(world.heard(target.peer), ["ACK", "BYE"]);
        assert_eq!(world.inputs(), [Input::PeerLost]);
    }
}

#[test]
fn two_reinvites_at_once_are_glare_or_haste() {
    let mut world = World::new();
    let (mut caller, mut target, _) = world.connect();
    world.send(caller.peer, &caller.request(Method::Invite, HOLD));
    world.take(caller.peer);
    world.send(target.peer, &target.request(Method::Invite, HELD));
    assert_eq!(world.response(target.peer).status, 491);
    world.send(caller.peer, &caller.request(Method::Invite, HOLD));
    let hasty = world.response(caller.peer);
    assert_eq!((hasty.status, field(&hasty.headers, Name::RetryAfter)), (500, "2"));
}

#[test]
fn a_cancelled_reinvite_is_cancelled_on_the_other_side_too() {
    let mut world = World::new();
    let (mut caller, target, _) = world.connect();
    let reinvite = caller.request(Method::Invite, HOLD);
    world.send(caller.peer, &reinvite);
    let onward = world.request(target.peer);
    world.send(target.peer, &target.answer(&onward, 180, ""));
    world.take(caller.peer);
    caller.invite = Some(reinvite);
    world.send(caller.peer, &caller.cancel());
    assert_eq!(world.heard(caller.peer), ["200 CANCEL"]);
    assert_eq!(world.heard(target.peer), ["CANCEL"]);
    world.send(target.peer, &target.answer(&onward, 487, ""));
    assert_eq!(world.heard(caller.peer), ["487 INVITE"]);
    assert_eq!((world.inputs(), world.stack.live_calls()), (vec![], 1));
}

#[test]
fn info_passes_with_its_body_and_its_response_comes_back() {
    for from_caller in [true, false] {
        for status in [200, 415] {
            let mut world = World::new();
            let (mut caller, mut target, _) = world.connect();
            let (asks, answers) =
                if from_caller { (&mut caller, &mut target) } else { (&mut target, &mut caller) };
            let dtmf = "Signal=5\r\nDuration=160\r\n";
            world.send(asks.peer, &asks.request(Method::Info, dtmf));
            let onward = world.request(answers.peer);
            assert_eq!((onward.method.clone(), onward.body.as_slice()), (Method::Info, dtmf.as_bytes()));
            assert_eq!(field(&onward.headers, Name::ContentType), "application/dtmf-relay");
            world.send(answers.peer, &answers.answer(&onward, status, ""));
            assert_eq!(world.heard(asks.peer), [format!("{status} INFO")]);
            assert_eq!(world.inputs(), []);
        }
    }
}

#[test]
fn update_with_an_offer_passes_and_without_one_is_a_refresh() {
    let mut world = World::new();
    let (mut caller, target, _) = world.connect();
    world.send(caller.peer, &caller.request(Method::Update, HOLD));
    let onward = world.request(target.peer);
    assert_eq!((onward.method.clone(), onward.body.as_slice()), (Method::Update, HOLD.as_bytes()));
    world.send(target.peer, &target.answer(&onward, 200, HELD));
    assert_eq!(world.response(caller.peer).body, HELD.as_bytes());
    world.send(caller.peer, &caller.request(Method::Update, ""));
    assert_eq!(world.response(caller.peer).status, 200);
    assert_eq!(world.heard(target.peer), Vec::<String>::new(), "session timers are each leg's own");
}

#[test]
fn what_a_call_does_not_take_is_refused_and_changes_nothing() {
    let cases = [
        (Method::Options, 200),
        (Method::Refer, 603),
        (Method::Prack, 481),
        (Method::Other("MESSAGE".into()), 405),
        (Method::Other("SUBSCRIBE".into()), 405),
    ];
    for (method, status) in cases {
        let mut world = World::new();
        let (mut caller, target, _) = world.connect();
        world.send(caller.peer, &caller.request(method.clone(), ""));
        assert_eq!(world.response(caller.peer).status, status, "{method}");
        assert_eq!(world.heard(target.peer), Vec::<String>::new(), "{method}");
        assert_eq!((world.inputs(), world.stack.live_calls()), (vec![], 1));
    }
}

#[test]
fn a_request_out_of_order_or_with_a_foreign_identity_is_refused() {
    let mut world = World::new();
    let (mut caller, _, _) = world.connect();
    let mut old = caller.request(Method::Info, "x");
    old.headers.set(Name::CSeq, "0 INFO");
    world.send(caller.peer, &old);
    assert_eq!(world.response(caller.peer).status, 500);
    let mut forged = caller.request(Method::Bye, "");
    forged.headers.set(Name::CallId, "guessed");
    world.send(caller.peer, &forged);
    assert_eq!(world.response(caller.peer).status, 481);
    let mut demanding = caller.request(Method::Invite, HOLD);
    demanding.headers.push(Name::Require, "precondition");
    world.send(caller.peer, &demanding);
    assert_eq!(world.response(caller.peer).status, 420);
    assert_eq!((world.inputs(), world.stack.live_calls()), (vec![], 1));
}

#[test]
fn requests_follow_routes_and_the_newest_contact() {
    let mut world = World::new();
    let (proxy, moved) = (peer("udp://192.0.2.90:5060"), peer("udp://192.0.2.91:5070"));
    let (caller, call) = world.arrive();
    let extra = [(Name::RecordRoute, "<sip:192.0.2.90;lr>"), (Name::RecordRoute, "<sip:192.0.2.92;lr>")];
    let target = world.ring(call, 1, &[buyer(0)]);
    let mut answer = target.respond(200, SDP_TARGET);
    answer.headers.push(extra[1].0, extra[1].1);
    answer.headers.push(extra[0].0, extra[0].1);
    answer.headers.set(Name::Contact, format!("<sip:agent@{}>", moved.address));
    world.send(target.peer, &answer);
    let ack = world.request(proxy);
    assert_eq!((ack.method.clone(), ack.uri.as_str()), (Method::Ack, "sip:agent@192.0.2.91:5070"));
    let routes: Vec<_> = ack.headers.all(Name::Route).collect();
    assert_eq!(routes, ["<sip:192.0.2.90;lr>", "<sip:192.0.2.92;lr>"], "the nearest first");
    world.act(call, Action::ConnectCaller { attempt: 1 });
    world.take(caller.peer);
    world.end(call, EndReason::Stopping);
    assert_eq!(world.heard(proxy), ["BYE"]);
}

#[test]
fn a_request_still_open_when_the_call_ends_gets_its_answer() {
    let mut world = World::new();
    let (mut caller, mut target, call) = world.connect();
    world.send(caller.peer, &caller.request(Method::Info, "Signal=1"));
    world.take(target.peer);
    world.send(target.peer, &target.request(Method::Bye, ""));
    assert_eq!(world.heard(caller.peer), ["500 INFO"], "nobody is there to take it");
    world.end(call, EndReason::Over { by: exchange::call::EndedBy::Target });
    let bye = world.request(caller.peer);
    world.send(caller.peer, &caller.answer(&bye, 200, ""));
    world.advance_ms(40_000);
    world.assert_empty();

    let mut world = World::new();
    let (mut caller, mut target, call) = world.connect();
    world.send(target.peer, &target.request(Method::Info, "Signal=1"));
    world.send(caller.peer, &caller.request(Method::Bye, ""));
    world.take(target.peer);
    world.end(call, EndReason::Over { by: exchange::call::EndedBy::Caller });
    let bye = world.request(target.peer);
    world.send(target.peer, &target.answer(&bye, 200, ""));
    assert_eq!(world.heard(target.peer), ["487 INFO"]);
    world.advance_ms(40_000);
    world.assert_empty();
}
