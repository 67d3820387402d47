//! Ringing targets: what they see, what the caller hears, and what the exchange is told.

use crate::world::*;
use exchange::bid::Destination;
use exchange::call::FailureCause;
use exchange::effect::{Action, EndReason, Input};
use exchange::phone_number::CallerId;
use telephony::config::SipConfig;
use telephony::header::Name;
use telephony::method::Method;

fn ring_as(world: &mut World, call: exchange::id::CallId, caller: CallerId) -> telephony::message::Request {
    let destination = Destination { sip_uris: vec![uri_of(buyer(0))] };
    world.act(call, Action::RingTarget { attempt: 1, destination, caller });
    world.request(buyer(0))
}

#[test]
fn the_target_gets_a_call_of_its_own_with_the_callers_offer() {
    let mut world = World::new();
    let (caller, call) = world.arrive();
    let invite = ring_as(&mut world, call, CallerId::Number("+12125550123".parse().unwrap()));
    assert_eq!(invite.uri, "sip:+18005550100@192.0.2.50:5060;transport=udp");
    assert_ne!(invite.headers.call_id(), caller.call_id);
    assert_eq!(invite.body, SDP_CALLER.as_bytes());
    let expected = [
        (Name::MaxForwards, "69"),
        (Name::ContentType, "application/sdp"),
        (Name::PAssertedIdentity, "<sip:+12125550123@198.51.100.1:5060>"),
        (Name::Contact, "<sip:dce@198.51.100.1:5060;transport=udp>"),
        (Name::Supported, "timer"),
        (Name::SessionExpires, "1800;refresher=uac"),
        (Name::Privacy, ""),
    ];
    for (name, value) in expected {
        assert_eq!(field(&invite.headers, name), value, "{name}");
    }
    assert!(field(&invite.headers, Name::From).starts_with("<sip:+12125550123@198.51.100.1:5060>;tag="));
    assert_eq!(invite.headers.all(Name::Via).count(), 1, "the carrier's way here is nobody's business");
}

#[test]
fn a_withheld_number_stays_withheld() {
    let mut world = World::new();
    let (_, call) = world.arrive();
    let invite = ring_as(&mut world, call, CallerId::Anonymous);
    assert!(
        field(&invite.headers, Name::From).starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>")
    );
    assert_eq!(field(&invite.headers, Name::Privacy), "id");
    assert_eq!(invite.headers.get(Name::PAssertedIdentity), None);
}

#[test]
fn ringing_and_early_media_reach_the_caller() {
    let mut world = World::new();
    let (caller, call) = world.arrive();
    let target = world.ring(call, 1, &[buyer(0)]);
    for (status, body) in [(100, ""), (180, ""), (181, ""), (183, ""), (183, SDP_TARGET)] {
        world.send(target.peer, &target.respond(status, body));
    }
    let heard = world.take(caller.peer);
    let lines: Vec<_> = heard.iter().map(summary).collect();
    assert_eq!(lines, ["180 INVITE", "183 INVITE"]);
    let telephony::message::Message::Response(media) = &heard[1] else { panic!() };
    assert_eq!(media.body, SDP_TARGET.as_bytes());
    assert_eq!(field(&media.headers, Name::Contact), "<sip:dce@198.51.100.1:5060;transport=udp>");
    assert_eq!(media.headers.get(Name::RSeq), None);
    assert_eq!(world.inputs(), []);
}

#[test]
fn a_final_failure_is_told_with_its_cause_and_acknowledged() {
    let cases = [
        (486, FailureCause::Busy),
        (600, FailureCause::Busy),
        (403, FailureCause::Declined),
        (603, FailureCause::Declined),
        (302, FailureCause::Rejected { sip_status: 302 }),
        (404, FailureCause::Rejected { sip_status: 404 }),
        (480, FailureCause::Rejected { sip_status: 480 }),
        (500, FailureCause::Rejected { sip_status: 500 }),
        (503, FailureCause::Unreachable),
    ];
    for (status, cause) in cases {
        let mut world = World::new();
        let (caller, call) = world.arrive();
        let target = world.ring(call, 1, &[buyer(0)]);
        world.send(target.peer, &target.respond(status, ""));
        assert_eq!(world.heard(target.peer), ["ACK"], "{status}");
        assert_eq!(world.inputs(), [Input::TargetFailed { attempt: 1, cause }], "{status}");
        assert_eq!(world.heard(caller.peer), Vec::<String>::new(), "{status}: the caller waits on");
        world.end(call, EndReason::Unanswered { last: cause });
        world.assert_empty();
    }
}

#[test]
fn the_caller_keeps_hearing_ringing_while_falling_back() {
    let mut world = World::new();
    let (caller, call) = world.arrive();
    let first = world.ring(call, 1, &[buyer(0)]);
    world.send(first.peer, &first.respond(183, SDP_TARGET));
    let early = world.response(caller.peer);
    world.send(first.peer, &first.respond(486, ""));
    let second = world.ring(call, 2, &[buyer(1)]);
    let ringing = world.response(caller.peer);
    assert_eq!((ringing.status, ringing.body.len()), (180, 0));
    assert_ne!(
        early.headers.to_tag(),
        ringing.headers.to_tag(),
        "an answer of one target never binds another's"
    );
    let answer = "v=0\r\no=second 1 1 IN IP4 192.0.2.51\r\ns=-\r\n";
    world.send(second.peer, &second.respond(200, answer));
    world.act(call, Action::ConnectCaller { attempt: 2 });
    let ok = world.response(caller.peer);
    assert_eq!((ok.status, ok.body), (200, answer.as_bytes().to_vec()));
    assert_eq!(ok.headers.to_tag(), ringing.headers.to_tag());
}

#[test]
fn a_trunk_that_fails_hands_over_to_the_next_within_the_attempt() {
    type Failing = (&'static str, fn(&mut World, &Phone));
    let cases: [Failing; 3] = [
        ("503", |world, target| world.send(target.peer, &target.respond(503, ""))),
        ("silence", |world, _| world.advance_ms(4_000)),
        ("no connection", |world, target| world.fail_transport(target.peer)),
    ];
    for (what, fail) in cases {
        let mut world = World::new();
        let (caller, call) = world.arrive();
        let first = world.ring(call, 1, &[buyer(0), buyer(1)]);
        fail(&mut world, &first);
        let second = Phone::target(buyer(1), world.request(buyer(1)));
        assert_ne!(first.call_id, second.call_id, "{what}");
        assert_eq!(world.inputs(), [], "{what}: the attempt goes on");
        world.send(second.peer, &second.respond(180, ""));
        assert_eq!(world.heard(caller.peer), ["180 INVITE"], "{what}");
        world.send(second.peer, &second.respond(200, SDP_TARGET));
        assert_eq!(world.inputs(), [Input::TargetAnswered { attempt: 1 }], "{what}");
        assert_eq!(world.stack.counters().trunk_failovers, 1, "{what}");
    }
}

#[test]
fn when_every_trunk_fails_the_target_is_unreachable() {
    let unreachable = Input::TargetFailed { attempt: 1, cause: FailureCause::Unreachable };
    let mut world = World::new();
    let (_, call) = world.arrive();
    let first = world.ring(call, 1, &[buyer(0), buyer(1)]);
    world.send(first.peer, &first.respond(503, ""));
    world.advance_ms(4_000);
    assert_eq!(world.inputs(), std::slice::from_ref(&unreachable));
    // Addresses that cannot be sent to never ring at all.
    let uris = [
        "sip:a@target.example",
        "sips:a@192.0.2.50",
        "tel:+18005550100",
        "sip:a@192.0.2.50;transport=ws",
        "junk",
    ];
    let destination = Destination { sip_uris: uris.map(str::to_owned).to_vec() };
    world.act(call, Action::RingTarget { attempt: 1, destination, caller: CallerId::Anonymous });
    assert_eq!(world.inputs(), [unreachable]);
    assert_eq!(world.stack.counters().unusable_uris, 5);
}

#[test]
fn a_slow_trunk_that_rings_after_all_is_cancelled_or_hung_up() {
    let mut world = World::new();
    let (_, call) = world.arrive();
    let slow = world.ring(call, 1, &[buyer(0), buyer(1)]);
    world.advance_ms(4_000);
    world.take(slow.peer);
    world.send(slow.peer, &slow.respond(180, ""));
    assert_eq!(world.heard(slow.peer), ["CANCEL"]);
    world.send(slow.peer, &slow.respond(200, SDP_TARGET));
    assert_eq!(world.heard(slow.peer), ["ACK", "BYE"]);
    assert_eq!(world.inputs(), [], "the call is with the other trunk");
}

#[test]
fn a_trunk_that_is_down_is_passed_over_until_it_answers_options() {
    let mut world = World::with(SipConfig { options_interval_ms: 30_000, ..config() });
    let (_, call) = world.arrive();
    let first = world.ring(call, 1, &[buyer(0), buyer(1)]);
    world.send(first.peer, &first.respond(503, ""));
    let second = Phone::target(buyer(1), world.request(buyer(1)));
    world.send(second.peer, &second.respond(486, ""));
    world.ring(call, 2, &[buyer(1)]);
    let destination = Destination { sip_uris: vec![uri_of(buyer(0)), uri_of(buyer(1))] };
    let ring = |attempt| Action::RingTarget {
        attempt,
        destination: destination.clone(),
        caller: CallerId::Anonymous,
    };
    world.take(buyer(0));
    world.act(call, ring(3));
    assert_eq!(world.heard(buyer(0)), Vec::<String>::new(), "down");
    world.take(buyer(1));
    world.end(call, EndReason::NoBidder);

    world.advance_ms(30_000);
    let options = world.request(buyer(0));
    assert_eq!(options.method, Method::Options);
    world.send(buyer(0), &options.reply(404).with_to_tag("x"));
    let mut other = Phone::caller("call-2");
    let invite = other.invite(SDP_CALLER);
    world.take(carrier());
    world.inputs();
    let (_, call) = world.arrive_with(other, &invite);
    world.act(call, ring(1));
    assert_eq!(world.heard(buyer(0)), ["INVITE"], "any answer but 503 is a sign of life");
}

#[test]
fn a_trunk_that_misses_options_goes_down() {
    let mut world = World::with(SipConfig { options_interval_ms: 30_000, ..config() });
    let (_, call) = world.arrive();
    let target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(486, ""));
    world.end(call, EndReason::NoBidder);
    // Two probes 30 s apart, each given up after 32 s.
    world.advance_ms(95_000);
    world.take(carrier());
    world.inputs();
    let mut other = Phone::caller("call-2");
    let invite = other.invite(SDP_CALLER);
    let (_, call) = world.arrive_with(other, &invite);
    world.take(buyer(0));
    let second = world.ring(call, 1, &[buyer(1)]);
    assert_eq!(second.peer, buyer(1));
    world.act(call, Action::CancelTarget { attempt: 1 });
    let destination = Destination { sip_uris: vec![uri_of(buyer(0)), uri_of(buyer(1))] };
    world.take(buyer(1));
    world.act(call, Action::RingTarget { attempt: 2, destination, caller: CallerId::Anonymous });
    assert_eq!(world.heard(buyer(1)), ["INVITE"]);
    assert_eq!(world.heard(buyer(0)), Vec::<String>::new());
}

#[test]
fn a_ringing_target_is_cancelled_and_a_crossing_answer_hung_up() {
    for crossing in [487, 200] {
        let mut world = World::new();
        let (_, call) = world.arrive();
        let target = world.ring(call, 1, &[buyer(0)]);
        world.send(target.peer, &target.respond(180, ""));
        world.act(call, Action::CancelTarget { attempt: 1 });
        let cancel = world.request(target.peer);
        assert_eq!(cancel.method, Method::Cancel);
        assert_eq!(
            cancel.headers.via().unwrap().branch(),
            target.invite.as_ref().unwrap().headers.via().unwrap().branch()
        );
        world.send(target.peer, &target.answer(&cancel, 200, ""));
        world.send(target.peer, &target.respond(crossing, ""));
        let expected: &[&str] = if crossing == 200 { &["ACK", "BYE"] } else { &["ACK"] };
        assert_eq!(world.heard(target.peer), expected);
        assert_eq!(world.inputs(), [], "the exchange has moved on");
        world.end(call, EndReason::NoBidder);
        world.assert_empty();
    }
}

#[test]
fn actions_for_another_attempt_or_a_finished_call_change_nothing() {
    let mut world = World::new();
    let (caller, call) = world.arrive();
    let target = world.ring(call, 2, &[buyer(0)]);
    world.act(call, Action::CancelTarget { attempt: 1 });
    world.act(call, Action::ConnectCaller { attempt: 2 });
    world.act(call, Action::ConnectCaller { attempt: 1 });
    assert_eq!(world.heard(target.peer), Vec::<String>::new());
    world.end(call, EndReason::NoBidder);
    assert_eq!(world.heard(caller.peer), ["480 INVITE"]);
    world.take(target.peer);
    for _ in 0..2 {
        world.end(call, EndReason::NoBidder);
        world.act(call, Action::ConnectCaller { attempt: 2 });
        let destination = Destination { sip_uris: vec![uri_of(buyer(3))] };
        world.act(call, Action::RingTarget { attempt: 3, destination, caller: CallerId::Anonymous });
        world.act(call, Action::StartRingTimer { attempt: 2, after_ms: 1 });
    }
    assert_eq!(world.heard(buyer(3)), Vec::<String>::new());
    assert_eq!(world.heard(caller.peer), Vec::<String>::new());
    assert_eq!(world.inputs(), []);
}

#[test]
fn a_target_that_would_ring_for_ever_does_not() {
    let mut world = World::new();
    let (_, call) = world.arrive();
    let target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(180, ""));
    world.advance_ms(600_000);
    assert_eq!(world.heard(target.peer), ["CANCEL"]);
    let cause = FailureCause::Unreachable;
    assert_eq!(world.inputs(), [Input::TargetFailed { attempt: 1, cause }]);
}
