//! Revenue recovery: the target hangs up early, the caller stays on the line and is moved to another.

use crate::world::*;
use exchange::call::{EndedBy, FailureCause};
use exchange::effect::{Action, EndReason, Input};
use exchange::id::CallId;
use telephony::config::SipConfig;
use telephony::header::Name;
use telephony::message::Request;
use telephony::method::Method;

const SDP_SECOND: &str = "v=0\r\no=second 5 9 IN IP4 192.0.2.51\r\ns=-\r\nc=IN IP4 192.0.2.51\r\n";
/// What the caller is told of the second target: the session it knows, one version on.
const SDP_MOVED: &str = "v=0\r\no=target 1 2 IN IP4 192.0.2.50\r\ns=-\r\nc=IN IP4 192.0.2.51\r\n";
const NOTHING: [&str; 0] = [];

/// The first target has hung up, and the exchange has been told.
fn abandoned() -> (World, Phone, CallId) {
    let mut world = World::new();
    let (caller, mut target, call) = world.connect();
    leave(&mut world, &mut target);
    (world, caller, call)
}

fn leave(world: &mut World, target: &mut Phone) {
    world.send(target.peer, &target.request(Method::Bye, ""));
    assert_eq!(world.heard(target.peer), ["200 BYE"]);
    assert_eq!(world.inputs(), [Input::TargetHungUp]);
}

/// Another target rings and answers; the exchange has been told.
fn answer(world: &mut World, call: CallId, attempt: u8) -> Phone {
    let target = world.ring(call, attempt, &[buyer(attempt - 1)]);
    world.send(target.peer, &target.respond(200, SDP_SECOND));
    assert_eq!(world.heard(target.peer), ["ACK"], "at once");
    assert_eq!(world.inputs(), [Input::TargetAnswered { attempt }]);
    target
}

/// The re-INVITE that moves the caller.
fn moving(world: &mut World, caller: &Phone, call: CallId, attempt: u8) -> Request {
    world.act(call, Action::ConnectCaller { attempt });
    let invite = world.request(caller.peer);
    assert_eq!(invite.method, Method::Invite);
    invite
}

/// The second target is where the caller is now.
fn moved() -> (World, Phone, Phone, CallId) {
    let (mut world, caller, call) = abandoned();
    let second = answer(&mut world, call, 2);
    let invite = moving(&mut world, &caller, call, 2);
    world.send(caller.peer, &caller.answer(&invite, 200, SDP_CALLER));
    assert_eq!(world.heard(caller.peer), ["ACK"]);
    (world, caller, second, call)
}

/// Whoever hears BYE answers it; nothing is left of the call.
fn finish(world: &mut World, phones: &[&Phone]) {
    for phone in phones {
        let bye = world.request(phone.peer);
        assert_eq!(bye.method, Method::Bye, "{}", phone.peer);
        world.send(phone.peer, &phone.answer(&bye, 200, ""));
    }
    world.assert_empty();
}

#[test]
fn the_caller_is_moved_to_the_second_target() {
    let (mut world, mut caller, call) = abandoned();
    assert_eq!(world.heard(caller.peer), NOTHING, "the exchange says what comes next");
    let second = world.ring(call, 2, &[buyer(1)]);
    let invite = second.invite.as_ref().unwrap();
    assert_eq!(invite.body, SDP_CALLER.as_bytes(), "the caller's description, in a dialog of its own");
    for (status, body) in [(180, ""), (183, SDP_SECOND)] {
        world.send(second.peer, &second.respond(status, body));
    }
    world.send(second.peer, &second.respond(200, SDP_SECOND));
    assert_eq!(world.heard(second.peer), ["ACK"]);
    assert_eq!(world.heard(caller.peer), NOTHING, "ringing and early media are not for a connected caller");
    let invite = moving(&mut world, &caller, call, 2);
    assert_eq!(String::from_utf8_lossy(&invite.body), SDP_MOVED);
    assert_eq!(field(&invite.headers, Name::SessionExpires), "1800;refresher=uac");
    world.send(caller.peer, &caller.answer(&invite, 200, SDP_CALLER));
    assert_eq!(world.heard(caller.peer), ["ACK"]);
    assert_eq!(world.heard(second.peer), NOTHING, "its media goes the right way");
    assert_eq!(world.stack.counters().callers_moved, 1);
    world.act(call, Action::ConnectCaller { attempt: 2 });
    assert_eq!(world.heard(caller.peer), NOTHING, "once is enough");

    world.send(caller.peer, &caller.request(Method::Info, "Signal=5"));
    assert_eq!(world.heard(second.peer), ["INFO"], "they are connected");
    world.send(caller.peer, &caller.request(Method::Bye, ""));
    world.end(call, EndReason::Over { by: EndedBy::Caller });
    finish(&mut world, &[&second]);
}

#[test]
fn what_the_second_target_says_later_continues_the_same_session() {
    let (mut world, caller, mut second, _) = moved();
    let hold = SDP_SECOND.replace("5 9", "5 10") + "a=sendonly\r\n";
    world.send(second.peer, &second.request(Method::Invite, &hold));
    let onward = world.request(caller.peer);
    let expected = SDP_MOVED.replace("1 2", "1 3") + "a=sendonly\r\n";
    assert_eq!(String::from_utf8_lossy(&onward.body), expected);
    world.send(caller.peer, &caller.answer(&onward, 200, SDP_CALLER));
    assert_eq!(world.response(second.peer).body, SDP_CALLER.as_bytes(), "the caller's passes as it is");
}

#[test]
fn the_second_target_is_offered_what_the_caller_said_last() {
    let on_hold = "v=0\r\no=caller 1 2 IN IP4 192.0.2.1\r\ns=-\r\na=sendonly\r\n";
    // Whether the hold was accepted, and what is offered.
    for (status, expected) in [(200, on_hold), (488, SDP_CALLER)] {
        let mut world = World::new();
        let (mut caller, mut target, call) = world.connect();
        world.send(caller.peer, &caller.request(Method::Invite, on_hold));
        let onward = world.request(target.peer);
        world.send(target.peer, &target.answer(&onward, status, SDP_TARGET));
        world.send(caller.peer, &caller.ack(""));
        world.take(target.peer);
        leave(&mut world, &mut target);
        let second = world.ring(call, 2, &[buyer(1)]);
        assert_eq!(second.invite.unwrap().body, expected.as_bytes(), "{status}");
    }
}

#[test]
fn a_caller_that_answers_with_other_media_has_the_target_told() {
    let elsewhere = "v=0\r\no=caller 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.99\r\n";
    for status in [200, 491, 488] {
        let (mut world, caller, call) = abandoned();
        let second = answer(&mut world, call, 2);
        let invite = moving(&mut world, &caller, call, 2);
        world.send(caller.peer, &caller.answer(&invite, 200, elsewhere));
        let told = world.request(second.peer);
        assert_eq!((told.method.clone(), told.body.as_slice()), (Method::Invite, elsewhere.as_bytes()));
        world.send(second.peer, &second.answer(&told, status, SDP_SECOND));
        assert_eq!(world.heard(second.peer), ["ACK"], "{status}");
        world.advance_ms(2_000);
        // Glare passes; what is refused for good is not asked again.
        let again = if status == 491 { vec!["INVITE".to_owned()] } else { vec![] };
        assert_eq!(world.heard(second.peer), again, "{status}");
        assert_eq!((world.inputs(), world.stack.live_calls()), (vec![], 1));
    }
}

#[test]
fn busy_targets_are_passed_over() {
    let (mut world, caller, call) = abandoned();
    let second = world.ring(call, 2, &[buyer(1)]);
    world.send(second.peer, &second.respond(486, ""));
    assert_eq!(world.inputs(), [Input::TargetFailed { attempt: 2, cause: FailureCause::Busy }]);
    let third = answer(&mut world, call, 3);
    let invite = moving(&mut world, &caller, call, 3);
    world.send(caller.peer, &caller.answer(&invite, 200, SDP_CALLER));
    world.take(caller.peer);
    world.end(call, EndReason::Over { by: EndedBy::MaxDuration });
    finish(&mut world, &[&caller, &third]);
}

#[test]
fn a_target_that_answers_without_media_has_failed() {
    let (mut world, caller, call) = abandoned();
    let second = world.ring(call, 2, &[buyer(1)]);
    world.send(second.peer, &second.respond(200, ""));
    let cause = FailureCause::Rejected { sip_status: 200 };
    assert_eq!(world.inputs(), [Input::TargetFailed { attempt: 2, cause }]);
    world.end(call, EndReason::Unanswered { last: cause });
    finish(&mut world, &[&second, &caller]);
}

#[test]
fn when_no_target_is_left_the_caller_hears_bye() {
    for ring_first in [true, false] {
        let (mut world, caller, call) = abandoned();
        if ring_first {
            let second = world.ring(call, 2, &[buyer(1)]);
            world.send(second.peer, &second.respond(603, ""));
        }
        world.end(call, EndReason::Unanswered { last: FailureCause::Declined });
        finish(&mut world, &[&caller]);
    }
    let (mut world, caller, call) = abandoned();
    world.end(call, EndReason::Unanswered { last: FailureCause::HungUpEarly { connected_ms: 900 } });
    let bye = world.request(caller.peer);
    assert_eq!(field(&bye.headers, Name::Reason), "Q.850;cause=16;text=\"Target hung up\"");
}

#[test]
fn the_second_target_may_ring_too_long() {
    let (mut world, caller, call) = abandoned();
    let second = world.ring(call, 2, &[buyer(1)]);
    world.send(second.peer, &second.respond(180, ""));
    world.act(call, Action::CancelTarget { attempt: 2 });
    assert_eq!(world.heard(second.peer), ["CANCEL"]);
    world.send(second.peer, &second.respond(487, ""));
    world.take(second.peer);
    let third = answer(&mut world, call, 3);
    world.end(call, EndReason::Stopping);
    finish(&mut world, &[&caller, &third]);
}

#[test]
fn the_caller_may_hang_up_at_every_stage() {
    type Stage = (&'static str, fn(&mut World, &Phone, CallId), &'static [&'static str]);
    let stages: [Stage; 4] = [
        ("nobody rings yet", |_, _, _| {}, &[]),
        (
            "ringing",
            |world, _, call| {
                let second = world.ring(call, 2, &[buyer(1)]);
                world.send(second.peer, &second.respond(180, ""));
            },
            &["CANCEL"],
        ),
        ("answered", |world, _, call| drop(answer(world, call, 2)), &["BYE"]),
        (
            "on the move",
            |world, caller, call| {
                answer(world, call, 2);
                let invite = moving(world, caller, call, 2);
                world.send(caller.peer, &caller.answer(&invite, 100, ""));
            },
            &["BYE"],
        ),
    ];
    for (stage, prepare, expected) in stages {
        let (mut world, mut caller, call) = abandoned();
        prepare(&mut world, &caller, call);
        world.send(caller.peer, &caller.request(Method::Bye, ""));
        assert_eq!(world.heard(caller.peer), ["200 BYE"], "{stage}");
        assert_eq!(world.inputs(), [Input::CallerHungUp], "{stage}");
        world.end(call, EndReason::Abandoned);
        assert_eq!(world.heard(buyer(1)), expected, "{stage}");
        world.advance_ms(100_000);
        world.assert_empty();
    }
}

#[test]
fn a_second_target_that_leaves_during_the_move_is_replaced_too() {
    let (mut world, caller, call) = abandoned();
    let mut second = answer(&mut world, call, 2);
    let invite = moving(&mut world, &caller, call, 2);
    leave(&mut world, &mut second);
    let third = answer(&mut world, call, 3);
    world.act(call, Action::ConnectCaller { attempt: 3 });
    assert_eq!(world.heard(caller.peer), NOTHING, "one re-INVITE at a time");
    world.send(caller.peer, &caller.answer(&invite, 200, SDP_CALLER));
    let heard = world.take(caller.peer);
    assert_eq!(heard.iter().map(summary).collect::<Vec<_>>(), ["ACK", "INVITE"]);
    let Some(telephony::message::Message::Request(invite)) = heard.last() else { panic!("{heard:?}") };
    world.send(caller.peer, &caller.answer(invite, 200, SDP_CALLER));
    assert_eq!(world.heard(caller.peer), ["ACK"]);
    assert_eq!(world.stack.counters().callers_moved, 1);
    world.end(call, EndReason::Stopping);
    finish(&mut world, &[&caller, &third]);
}

#[test]
fn a_caller_that_refuses_to_be_moved_ends_the_call() {
    for (status, reason) in [
        (488, "SIP;cause=488;text=\"Caller refused the new session\""),
        (401, "SIP;cause=401;text=\"Caller refused the new session\""),
        (481, "Q.850;cause=102;text=\"Recovery on timer expiry\""),
        (408, "Q.850;cause=102;text=\"Recovery on timer expiry\""),
    ] {
        let (mut world, caller, call) = abandoned();
        let second = answer(&mut world, call, 2);
        let invite = moving(&mut world, &caller, call, 2);
        world.send(caller.peer, &caller.answer(&invite, status, ""));
        assert_eq!(world.inputs(), [Input::PeerLost], "{status}");
        let heard = world.take(caller.peer);
        assert_eq!(heard.iter().map(summary).collect::<Vec<_>>(), ["ACK", "BYE"], "{status}");
        let Some(telephony::message::Message::Request(bye)) = heard.last() else { panic!("{heard:?}") };
        assert_eq!(field(&bye.headers, Name::Reason), reason);
        world.send(caller.peer, &caller.answer(bye, 200, ""));
        world.end(call, EndReason::Over { by: EndedBy::PeerLost });
        finish(&mut world, &[&second]);
    }
}

#[test]
fn a_caller_that_is_busy_for_now_is_asked_again() {
    // The refusal, its field, and how long we wait at most.
    let cases = [
        (491, None, 2_000),
        (500, Some((Name::RetryAfter, "3")), 3_000),
        (422, Some((Name::MinSe, "3600")), 0),
    ];
    for (status, extra, wait_ms) in cases {
        let (mut world, caller, call) = abandoned();
        answer(&mut world, call, 2);
        let invite = moving(&mut world, &caller, call, 2);
        let mut refusal = caller.answer(&invite, status, "");
        if let Some((name, value)) = extra {
            refusal.headers.push(name, value);
        }
        world.send(caller.peer, &refusal);
        assert_eq!(world.heard(caller.peer), ["ACK"]);
        world.advance_ms(wait_ms);
        let again = world.request(caller.peer);
        assert_eq!(
            String::from_utf8_lossy(&again.body),
            SDP_MOVED,
            "{status}: it is still the second version"
        );
        assert!(again.headers.cseq().unwrap().number > invite.headers.cseq().unwrap().number);
        world.send(caller.peer, &caller.answer(&again, 200, SDP_CALLER));
        assert_eq!((world.heard(caller.peer), world.inputs()), (vec!["ACK".to_owned()], vec![]));
    }
}

#[test]
fn glare_without_end_and_silence_end_the_call() {
    for (what, status) in [("glare", Some(491)), ("trying, then silence", Some(100)), ("silence", None)] {
        let (mut world, caller, call) = abandoned();
        let second = answer(&mut world, call, 2);
        world.act(call, Action::ConnectCaller { attempt: 2 });
        let mut waited_ms = 0;
        while world.inputs.is_empty() && waited_ms < 40_000 {
            for message in world.take(caller.peer) {
                if let telephony::message::Message::Request(request) = message
                    && request.method == Method::Invite
                    && let Some(status) = status
                {
                    world.send(caller.peer, &caller.answer(&request, status, ""));
                }
            }
            world.advance_ms(100);
            waited_ms += 100;
        }
        assert_eq!((world.inputs(), waited_ms), (vec![Input::PeerLost], 32_000), "{what}");
        world.end(call, EndReason::Over { by: EndedBy::PeerLost });
        world.take(caller.peer);
        assert_eq!(world.heard(second.peer), ["BYE"], "{what}");
        world.advance_ms(100_000);
        world.assert_empty();
    }
}

#[test]
fn changes_of_the_session_wait_for_the_move() {
    let (mut world, mut caller, call) = abandoned();
    let refused = |world: &mut World, phone: &mut Phone, method: Method, status: u16| {
        world.send(phone.peer, &phone.request(method.clone(), SDP_CALLER));
        assert_eq!(world.response(phone.peer).status, status, "{method}");
    };
    refused(&mut world, &mut caller, Method::Invite, 491);
    refused(&mut world, &mut caller, Method::Update, 491);
    refused(&mut world, &mut caller, Method::Info, 500);
    world.send(caller.peer, &caller.request(Method::Update, ""));
    assert_eq!(world.response(caller.peer).status, 200, "a session refresh is the caller's own");
    let mut second = answer(&mut world, call, 2);
    refused(&mut world, &mut second, Method::Invite, 491);
    refused(&mut world, &mut second, Method::Info, 500);
    let invite = moving(&mut world, &caller, call, 2);
    refused(&mut world, &mut caller, Method::Invite, 491);
    world.send(caller.peer, &caller.answer(&invite, 200, SDP_CALLER));
    world.take(caller.peer);
    world.send(caller.peer, &caller.request(Method::Invite, SDP_CALLER));
    assert_eq!(world.heard(second.peer), ["INVITE"]);
}

#[test]
fn a_target_that_hangs_up_before_the_callers_ack_is_replaced_after_it() {
    let mut world = World::new();
    let (mut caller, call) = world.arrive();
    let mut first = world.ring(call, 1, &[buyer(0)]);
    world.send(first.peer, &first.respond(200, SDP_TARGET));
    world.take(first.peer);
    world.act(call, Action::ConnectCaller { attempt: 1 });
    let ok = world.response(caller.peer);
    world.inputs();
    leave(&mut world, &mut first);
    answer(&mut world, call, 2);
    world.act(call, Action::ConnectCaller { attempt: 2 });
    assert_eq!(world.heard(caller.peer), NOTHING, "its INVITE is not finished");
    caller.learn(&ok);
    world.send(caller.peer, &caller.ack(""));
    assert_eq!(String::from_utf8_lossy(&world.request(caller.peer).body), SDP_MOVED);
}

#[test]
fn a_late_offer_that_was_not_answered_yet_is_made_by_the_second_target() {
    let mut world = World::new();
    let mut caller = Phone::caller("late");
    let invite = caller.invite("");
    let (mut caller, call) = world.arrive_with(caller, &invite);
    let mut first = world.ring(call, 1, &[buyer(0)]);
    world.send(first.peer, &first.respond(200, SDP_TARGET));
    world.act(call, Action::ConnectCaller { attempt: 1 });
    let ok = world.response(caller.peer);
    world.inputs();
    leave(&mut world, &mut first);
    let second = world.ring(call, 2, &[buyer(1)]);
    assert!(second.invite.as_ref().unwrap().body.is_empty(), "nobody knows what the caller can do");
    world.send(second.peer, &second.respond(200, SDP_SECOND));
    world.act(call, Action::ConnectCaller { attempt: 2 });
    caller.learn(&ok);
    world.send(caller.peer, &caller.ack(SDP_CALLER));
    assert_eq!(world.heard(second.peer), NOTHING, "that was the answer to another");
    let invite = world.request(caller.peer);
    let answer = SDP_CALLER.replace("1 1", "1 2");
    world.send(caller.peer, &caller.answer(&invite, 200, &answer));
    let ack = world.request(second.peer);
    assert_eq!((ack.method, ack.body.as_slice()), (Method::Ack, answer.as_bytes()));
}

#[test]
fn requests_on_their_way_when_the_target_leaves_get_their_answers() {
    for (method, status) in [(Method::Invite, 491), (Method::Update, 491), (Method::Info, 500)] {
        let mut world = World::new();
        let (mut caller, mut target, call) = world.connect();
        world.send(caller.peer, &caller.request(method.clone(), SDP_CALLER));
        let onward = world.request(target.peer);
        world.take(caller.peer);
        leave(&mut world, &mut target);
        assert_eq!(world.response(caller.peer).status, status, "{method}");
        world.send(target.peer, &target.answer(&onward, 481, ""));
        assert_eq!((world.inputs(), world.stack.live_calls()), (vec![], 1), "{method}: nobody is lost");
        let second = answer(&mut world, call, 2);
        moving(&mut world, &caller, call, 2);
        world.end(call, EndReason::Stopping);
        finish(&mut world, &[&caller, &second]);
    }
}

#[test]
fn a_reinvite_of_the_target_that_leaves_ends_in_order() {
    // The offer, the caller's answer, and what its ACK carries.
    let cases = [(SDP_TARGET, 200, ""), (SDP_TARGET, 487, ""), ("", 200, SDP_TARGET)];
    for (offer, status, expected) in cases {
        let mut world = World::new();
        let (caller, mut target, call) = world.connect();
        world.send(target.peer, &target.request(Method::Invite, offer));
        let onward = world.request(caller.peer);
        world.take(target.peer);
        world.send(target.peer, &target.request(Method::Bye, ""));
        assert_eq!(world.heard(target.peer), ["200 BYE", "487 INVITE"]);
        world.inputs();
        answer(&mut world, call, 2);
        world.act(call, Action::ConnectCaller { attempt: 2 });
        assert_eq!(world.heard(caller.peer), NOTHING, "one re-INVITE at a time");
        world.send(caller.peer, &caller.answer(&onward, status, if status == 200 { SDP_CALLER } else { "" }));
        let heard = world.take(caller.peer);
        let Some(telephony::message::Message::Request(ack)) = heard.first() else { panic!("{heard:?}") };
        assert_eq!((ack.method.as_str(), String::from_utf8_lossy(&ack.body).as_ref()), ("ACK", expected));
        assert_eq!(summary(&heard[1]), "INVITE", "and then it is moved");
        assert_eq!(world.inputs(), []);
    }
}

#[test]
fn session_timers_go_on_between_targets() {
    let config = SipConfig { session_expires_s: 20, min_session_expires_s: 1, ..config() };
    let mut world = World::with(config);
    let (caller, mut target, call) = world.connect();
    leave(&mut world, &mut target);
    let second = world.ring(call, 2, &[buyer(1)]);
    world.send(second.peer, &second.respond(180, ""));
    world.advance_ms(10_000);
    let refresh = world.request(caller.peer);
    assert_eq!((refresh.method.clone(), refresh.body.as_slice()), (Method::Invite, SDP_TARGET.as_bytes()));
    world.send(second.peer, &second.respond(200, SDP_SECOND));
    world.act(call, Action::ConnectCaller { attempt: 2 });
    assert_eq!(world.heard(caller.peer), NOTHING, "one re-INVITE at a time");
    world.send(caller.peer, &caller.answer(&refresh, 200, SDP_CALLER));
    let heard = world.heard(caller.peer);
    assert_eq!(heard, ["ACK", "INVITE"]);
    world.inputs();
    // The caller says nothing any more.
    world.advance_ms(20_000);
    assert_eq!(world.inputs(), [Input::PeerLost]);
}
