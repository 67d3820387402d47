//! RFC 4028: a peer that vanished without a word ends the call, and so the bill.

use crate::world::*;
use exchange::effect::Input;
use exchange::id::CallId;
use telephony::config::SipConfig;
use telephony::header::Name;
use telephony::method::Method;

/// Sessions of a few seconds.
fn short(interval_s: u32) -> World {
    World::with(SipConfig { session_expires_s: interval_s, min_session_expires_s: 1, ..config() })
}

fn connect(
    world: &mut World,
    caller_says: &[(Name, &str)],
    target_says: &[(Name, &str)],
) -> (Phone, Phone, CallId) {
    let mut caller = Phone::caller("timed");
    let mut invite = caller.invite(SDP_CALLER);
    for (name, value) in caller_says {
        invite.headers.push(*name, value);
    }
    let (caller, call) = world.arrive_with(caller, &invite);
    world.connect_arrived(caller, call, target_says)
}

const UPDATES: (Name, &str) = (Name::Allow, "INVITE, ACK, BYE, UPDATE");
const TIMER: (Name, &str) = (Name::Supported, "timer");

#[test]
fn we_refresh_both_legs_with_update_or_reinvite() {
    let mut world = short(10);
    // The caller says nothing of timers; the target takes UPDATE.
    let (caller, target, _) =
        connect(&mut world, &[], &[UPDATES, (Name::SessionExpires, "10;refresher=uac")]);
    for _ in 0..3 {
        world.advance_ms(5_000);
        let update = world.request(target.peer);
        assert_eq!((update.method.clone(), update.body.len()), (Method::Update, 0));
        assert_eq!(field(&update.headers, Name::SessionExpires), "10;refresher=uac");
        world.send(target.peer, &target.answer(&update, 200, ""));
        let reinvite = world.request(caller.peer);
        assert_eq!(
            (reinvite.method.clone(), reinvite.body.as_slice()),
            (Method::Invite, SDP_TARGET.as_bytes())
        );
        world.send(caller.peer, &caller.answer(&reinvite, 200, SDP_CALLER));
        assert_eq!(world.heard(caller.peer), ["ACK"]);
    }
    assert_eq!((world.inputs(), world.stack.live_calls()), (vec![], 1));
}

#[test]
fn a_peer_that_refreshes_is_waited_for_and_then_given_up() {
    let mut world = short(30);
    let (mut caller, target, _) = connect(
        &mut world,
        &[TIMER, (Name::SessionExpires, "30;refresher=uac")],
        &[(Name::SessionExpires, "3000;refresher=uac")],
    );
    for _ in 0..3 {
        world.advance_ms(15_000);
        let mut refresh = caller.request(Method::Update, "");
        refresh.headers.push(TIMER.0, TIMER.1);
        refresh.headers.push(Name::SessionExpires, "30;refresher=uac");
        world.send(caller.peer, &refresh);
        let ok = world.response(caller.peer);
        assert_eq!((ok.status, field(&ok.headers, Name::SessionExpires)), (200, "30;refresher=uac"));
        assert_eq!(field(&ok.headers, Name::Require), "timer");
    }
    world.advance_ms(19_999);
    assert_eq!(world.inputs(), []);
    world.advance_ms(1);
    assert_eq!(world.inputs(), [Input::PeerLost], "a third of the interval before its end");
    assert_eq!(
        (world.heard(caller.peer), world.heard(target.peer)),
        (vec!["BYE".into()], vec!["BYE".into()])
    );
}

#[test]
fn a_refresh_that_fails_ends_the_call() {
    let answers: [(&str, Option<u16>, u64); 3] =
        [("481", Some(481), 0), ("408", Some(408), 0), ("silence", None, 5_000)];
    for (what, status, wait_ms) in answers {
        let mut world = short(10);
        let (caller, target, _) =
            connect(&mut world, &[UPDATES], &[UPDATES, (Name::SessionExpires, "10;refresher=uac")]);
        world.advance_ms(5_000);
        let update = world.request(caller.peer);
        assert_eq!(update.method, Method::Update);
        world.send(caller.peer, &caller.answer(&update, 200, ""));
        let update = world.request(target.peer);
        if let Some(status) = status {
            world.send(target.peer, &target.answer(&update, status, ""));
        }
        world.advance_ms(wait_ms);
        assert_eq!(world.inputs(), [Input::PeerLost], "{what}");
        assert!(world.heard(target.peer).contains(&"BYE".to_owned()), "{what}");
        assert!(world.heard(caller.peer).contains(&"BYE".to_owned()), "{what}");
    }
}

#[test]
fn a_refresh_that_is_only_refused_for_now_is_tried_again() {
    let mut world = short(20);
    let (_, target, _) = connect(
        &mut world,
        &[TIMER, (Name::SessionExpires, "3000;refresher=uac"), (Name::MinSe, "3000")],
        &[UPDATES, (Name::SessionExpires, "20;refresher=uac")],
    );
    world.advance_ms(10_000);
    let update = world.request(target.peer);
    world.send(target.peer, &target.answer(&update, 405, ""));
    let reinvite = world.request(target.peer);
    assert_eq!((reinvite.method.clone(), reinvite.body.as_slice()), (Method::Invite, SDP_CALLER.as_bytes()));
    world.send(target.peer, &target.answer(&reinvite, 491, ""));
    assert_eq!(world.heard(target.peer), ["ACK"]);
    world.advance_ms(2_000);
    let again = world.request(target.peer);
    let too_small = target.answer(&again, 422, "").with(Name::MinSe, 40);
    world.send(target.peer, &too_small);
    world.take(target.peer);
    world.advance_ms(2_000);
    let longer = world.request(target.peer);
    assert_eq!(field(&longer.headers, Name::SessionExpires), "40;refresher=uac");
    world.send(target.peer, &target.answer(&longer, 200, SDP_TARGET));
    assert_eq!((world.inputs(), world.stack.live_calls()), (vec![], 1));
}

#[test]
fn a_target_that_wants_a_longer_interval_gets_it() {
    let mut world = short(30);
    let (_, call) = world.arrive();
    let target = world.ring(call, 1, &[buyer(0)]);
    world.send(target.peer, &target.respond(422, "").with(Name::MinSe, 600));
    let again = world.request(target.peer);
    assert_eq!(field(&again.headers, Name::SessionExpires), "600;refresher=uac");
    let again = Phone::target(target.peer, again);
    world.send(again.peer, &again.respond(422, "").with(Name::MinSe, 600));
    let cause = exchange::call::FailureCause::Rejected { sip_status: 422 };
    assert_eq!(world.inputs(), [Input::TargetFailed { attempt: 1, cause }], "once is enough");
}

#[test]
fn relayed_reinvites_refresh_the_session_too() {
    let mut world = short(30);
    let waits = [TIMER, (Name::SessionExpires, "30;refresher=uac")];
    let (mut caller, target, _) = connect(&mut world, &waits, &[(Name::SessionExpires, "30;refresher=uas")]);
    for _ in 0..4 {
        world.advance_ms(15_000);
        let mut reinvite = caller.request(Method::Invite, SDP_CALLER);
        for (name, value) in waits {
            reinvite.headers.push(name, value);
        }
        world.send(caller.peer, &reinvite);
        let onward = world.request(target.peer);
        assert_eq!(field(&onward.headers, Name::SessionExpires), "30;refresher=uas");
        let ok = target.answer(&onward, 200, SDP_TARGET).with(Name::SessionExpires, "30;refresher=uas");
        world.send(target.peer, &ok);
        let ok = world.response(caller.peer);
        assert_eq!(field(&ok.headers, Name::SessionExpires), "30;refresher=uac");
        world.send(caller.peer, &caller.ack(""));
    }
    assert_eq!((world.inputs(), world.stack.live_calls()), (vec![], 1));
}

#[test]
fn a_reinvite_with_too_short_an_interval_is_422() {
    let mut world = World::new();
    let (mut caller, target, _) = world.connect();
    for (method, body) in [(Method::Invite, SDP_CALLER), (Method::Update, "")] {
        let mut refresh = caller.request(method, body);
        refresh.headers.push(TIMER.0, TIMER.1);
        refresh.headers.push(Name::SessionExpires, "60");
        world.send(caller.peer, &refresh);
        let response = world.response(caller.peer);
        assert_eq!((response.status, field(&response.headers, Name::MinSe)), (422, "90"));
    }
    assert_eq!(world.heard(target.peer), Vec::<String>::new());
}
