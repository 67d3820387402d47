//! How calls end, at every stage and from every side.

use crate::world::*;
use exchange::call::{EndedBy, FailureCause};
use exchange::effect::{Action, EndReason, Input};
use telephony::header::Name;
use telephony::method::Method;

#[test]
fn the_end_of_an_unconnected_call_is_told_by_table() {
    let unanswered = |last| EndReason::Unanswered { last };
    let cases = [
        (EndReason::UnknownNumber, 404, "Q.850;cause=1;text=\"Unallocated number\""),
        (
            EndReason::ScreenedOut { rule: "anonymous \"caller\"".into() },
            603,
            "Q.850;cause=21;text=\"anonymous 'caller'\"",
        ),
        (EndReason::NoBidder, 480, "Q.850;cause=34;text=\"No bidder\""),
        (unanswered(FailureCause::Busy), 486, "Q.850;cause=17;text=\"User busy\""),
        (unanswered(FailureCause::Declined), 480, "Q.850;cause=21;text=\"Call rejected\""),
        (unanswered(FailureCause::RingTimeout), 480, "Q.850;cause=19;text=\"No answer\""),
        (unanswered(FailureCause::Unreachable), 480, "Q.850;cause=27;text=\"Destination out of order\""),
        (
            unanswered(FailureCause::Rejected { sip_status: 500 }),
            480,
            "SIP;cause=500;text=\"Target rejected the call\"",
        ),
        (EndReason::Stopping, 503, "Q.850;cause=41;text=\"Exchange is stopping\""),
    ];
    for (reason, status, expected) in cases {
        let mut world = World::new();
        let (caller, call) = world.arrive();
        world.end(call, reason);
        let response = world.response(caller.peer);
        assert_eq!((response.status, field(&response.headers, Name::Reason)), (status, expected));
        assert_eq!(field(&response.headers, Name::RetryAfter), if status == 503 { "5" } else { "" });
        let mut ack = caller.ack("");
        ack.headers.set(Name::Via, field(&caller.invite.as_ref().unwrap().headers, Name::Via));
        world.send(caller.peer, &ack);
        world.assert_empty();
    }
}

#[test]
fn no_bidder_can_be_503_by_configuration() {
    let mut world = World::with(telephony::config::SipConfig { no_bidder_status: 503, ..config() });
    let (caller, call) = world.arrive();
    world.end(call, EndReason::NoBidder);
    let response = world.response(caller.peer);
    assert_eq!((response.status, field(&response.headers, Name::RetryAfter)), (503, "5"));
}

#[test]
fn a_refused_input_refuses_the_call() {
    let mut world = World::new();
    let (caller, call) = world.arrive();
    world.refuse(call);
    let response = world.response(caller.peer);
    assert_eq!((response.status, field(&response.headers, Name::RetryAfter)), (503, "5"));
    assert_eq!(world.stack.counters().refused_overload, 1);
    world.assert_empty();
}

#[test]
fn an_engine_that_never_answers_is_not_waited_for() {
    let mut world = World::new();
    let (caller, call) = world.arrive();
    world.advance_ms(31_999);
    assert_eq!(world.heard(caller.peer), Vec::<String>::new());
    world.advance_ms(1);
    assert_eq!(world.heard(caller.peer), ["503 INVITE"]);
    assert_eq!(world.inputs(), [Input::CallerHungUp], "should the engine come to it later");
    assert_eq!(world.stack.counters().engine_silent, 1);
    world.end(call, EndReason::Abandoned);
    world.assert_empty();
}

#[test]
fn the_caller_may_cancel_at_every_stage_before_the_answer() {
    type Stage =
        (&'static str, fn(&mut World, exchange::id::CallId) -> Option<Phone>, &'static [&'static str]);
    let stages: [Stage; 4] = [
        ("deciding", |_, _| None, &[]),
        ("silent target", |world, call| Some(world.ring(call, 1, &[buyer(0)])), &[]),
        (
            "ringing",
            |world, call| {
                let target = world.ring(call, 1, &[buyer(0)]);
                world.send(target.peer, &target.respond(180, ""));
                world.take(carrier());
                Some(target)
            },
            &["CANCEL"],
        ),
        (
            "answered, not yet connected",
            |world, call| {
                let target = world.ring(call, 1, &[buyer(0)]);
                world.send(target.peer, &target.respond(200, SDP_TARGET));
                world.take(target.peer);
                world.inputs();
                Some(target)
            },
            &["BYE"],
        ),
    ];
    for (stage, prepare, expected) in stages {
        let mut world = World::new();
        let (caller, call) = world.arrive();
        let target = prepare(&mut world, call);
        world.send(caller.peer, &caller.cancel());
        assert_eq!(world.heard(caller.peer), ["200 CANCEL", "487 INVITE"], "{stage}");
        assert_eq!(world.inputs(), [Input::CallerHungUp], "{stage}");
        world.act(call, Action::ConnectCaller { attempt: 1 });
        assert_eq!(world.heard(caller.peer), Vec::<String>::new(), "{stage}: too late");
        world.end(call, EndReason::Abandoned);
        if let Some(target) = target {
            for message in world.take(target.peer) {
                let telephony::message::Message::Request(request) = message else { continue };
                assert!(expected.contains(&request.method.as_str()), "{stage}: {}", request.method);
                world.send(target.peer, &target.answer(&request, 200, ""));
            }
        }
        world.assert_empty();
    }
}

#[test]
fn a_cancel_after_the_answer_is_answered_and_does_nothing() {
    let mut world = World::new();
    let (caller, _, _) = world.connect();
    world.send(caller.peer, &caller.cancel());
    assert_eq!(world.heard(caller.peer), ["200 CANCEL"]);
    assert_eq!(world.inputs(), []);
}

#[test]
fn a_bye_of_either_side_ends_the_call_for_both() {
    for caller_ends in [true, false] {
        let mut world = World::new();
        let (mut caller, mut target, call) = world.connect();
        let (input, by) = if caller_ends {
            (Input::CallerHungUp, EndedBy::Caller)
        } else {
            (Input::TargetHungUp, EndedBy::Target)
        };
        let (ends, stays) = if caller_ends { (&mut caller, &mut target) } else { (&mut target, &mut caller) };
        let bye = ends.request(Method::Bye, "");
        world.send(ends.peer, &bye);
        assert_eq!(world.heard(ends.peer), ["200 BYE"]);
        assert_eq!(world.inputs(), [input]);
        assert_eq!(world.heard(stays.peer), Vec::<String>::new(), "the exchange says when");
        world.end(call, EndReason::Over { by });
        let bye = world.request(stays.peer);
        assert_eq!(bye.method, Method::Bye);
        assert!(field(&bye.headers, Name::Reason).starts_with("Q.850;cause=16;"));
        assert_eq!(world.stack.live_calls(), 1, "until the BYE is answered");
        world.send(stays.peer, &stays.answer(&bye, 200, ""));
        assert_eq!(world.heard(ends.peer), Vec::<String>::new());
        world.assert_empty();
    }
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut world = World::new();
    let (mut caller, target, call) = world.connect();
    world.end(call, EndReason::Over { by: EndedBy::MaxDuration });
    assert_eq!(
        (world.heard(caller.peer), world.heard(target.peer)),
        (vec!["BYE".into()], vec!["BYE".into()])
    );
    world.send(caller.peer, &caller.request(Method::Bye, ""));
    assert_eq!(world.heard(caller.peer), ["200 BYE"]);
    assert_eq!(world.inputs(), []);
}

#[test]
fn an_early_bye_of_the_caller_gives_the_invite_its_487() {
    let mut world = World::new();
    let (mut caller, call) = world.arrive();
    let target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(180, ""));
    let ringing = world.response(caller.peer);
    caller.learn(&ringing);
    world.send(caller.peer, &caller.request(Method::Bye, ""));
    assert_eq!(world.heard(caller.peer), ["200 BYE", "487 INVITE"]);
    assert_eq!(world.inputs(), [Input::CallerHungUp]);
    world.end(call, EndReason::Abandoned);
    assert_eq!(world.heard(target.peer), ["CANCEL"]);
}

#[test]
fn a_target_that_hangs_up_before_the_caller_is_connected() {
    let mut world = World::new();
    let (caller, call) = world.arrive();
    let mut target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(200, SDP_TARGET));
    world.send(target.peer, &target.request(Method::Bye, ""));
    assert_eq!(world.inputs(), [Input::TargetAnswered { attempt: 1 }, Input::TargetHungUp]);
    world.act(call, Action::ConnectCaller { attempt: 1 });
    assert_eq!(world.heard(caller.peer), Vec::<String>::new(), "nobody is there to be connected with");
    world.end(call, EndReason::Over { by: EndedBy::Target });
    assert_eq!(world.heard(caller.peer), ["480 INVITE"]);
    world.assert_empty();
}

#[test]
fn hanging_up_on_the_caller_waits_for_its_ack() {
    let mut world = World::new();
    let (mut caller, call) = world.arrive();
    let mut target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(200, SDP_TARGET));
    world.act(call, Action::ConnectCaller { attempt: 1 });
    let ok = world.response(caller.peer);
    world.send(target.peer, &target.request(Method::Bye, ""));
    world.end(call, EndReason::Over { by: EndedBy::Target });
    assert_eq!(world.heard(caller.peer), Vec::<String>::new());
    caller.learn(&ok);
    world.send(caller.peer, &caller.ack(""));
    let bye = world.request(caller.peer);
    assert_eq!(bye.method, Method::Bye);
    world.send(caller.peer, &caller.answer(&bye, 200, ""));
    world.assert_empty();
}

#[test]
fn a_caller_that_never_acknowledges_is_lost() {
    let mut world = World::new();
    let (caller, call) = world.arrive();
    let target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(200, SDP_TARGET));
    world.act(call, Action::ConnectCaller { attempt: 1 });
    world.inputs();
    world.take(target.peer);
    world.advance_ms(32_000);
    let heard = world.heard(caller.peer);
    assert_eq!(heard.iter().filter(|line| *line == "200 INVITE").count(), 11, "repeated up to T2 apart");
    assert_eq!(heard.last().map(String::as_str), Some("BYE"));
    assert_eq!(world.heard(target.peer), ["BYE"]);
    assert_eq!(world.inputs(), [Input::PeerLost]);
    assert_eq!(world.stack.counters().peers_lost, 1);
    world.end(call, EndReason::Over { by: EndedBy::PeerLost });
    world.advance_ms(64_000);
    world.assert_empty();
}

#[test]
fn a_caller_that_sends_bye_instead_of_ack_just_hung_up() {
    let mut world = World::new();
    let (mut caller, call) = world.arrive();
    let target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(200, SDP_TARGET));
    world.act(call, Action::ConnectCaller { attempt: 1 });
    let ok = world.response(caller.peer);
    caller.learn(&ok);
    world.inputs();
    world.send(caller.peer, &caller.request(Method::Bye, ""));
    assert_eq!(world.inputs(), [Input::CallerHungUp]);
    world.end(call, EndReason::Over { by: EndedBy::Caller });
    // The target never answers our BYE; the missing ACK comes to light meanwhile.
    world.advance_ms(40_000);
    assert_eq!(world.inputs(), []);
    assert_eq!(world.stack.counters().peers_lost, 0);
    world.assert_empty();
}
