//! Whatever comes in: no panic, what we send is well formed, and all that was begun ends.

use crate::world::*;
use exchange::bid::Destination;
use exchange::effect::{Action, EndReason};
use exchange::phone_number::CallerId;
use proptest::prelude::*;
use telephony::framing::Framer;
use telephony::message::Message;
use telephony::method::Method;
use telephony::uri::Uri;

/// One change to the bytes of a message.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Cut(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let (at, byte, length) = (any::<usize>(), any::<u8>(), 1..40usize);
    prop_oneof![
        (
            at,
            prop_oneof![
                Just(b'\r'),
                Just(b'\n'),
                Just(b';'),
                Just(b'<'),
                Just(b'"'),
                Just(b','),
                Just(b'%'),
                byte
            ]
        )
            .prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<usize>(), length.clone()).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (any::<usize>(), length).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        any::<usize>().prop_map(Mutation::Cut),
    ]
}

fn mutate_all(bytes: &mut Vec<u8>, mutations: &[Mutation]) {
    for mutation in mutations {
        mutate(bytes, mutation);
    }
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    match *mutation {
        Mutation::Replace(at, byte) => {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        Mutation::Remove(at, length) => {
            let at = at % bytes.len();
            let end = (at + length).min(bytes.len());
            bytes.drain(at..end);
        }
        Mutation::Repeat(at, length) => {
            let at = at % bytes.len();
            let part = bytes[at..(at + length).min(bytes.len())].to_vec();
            bytes.splice(at..at, part);
        }
        Mutation::Cut(at) => bytes.truncate(at % bytes.len()),
    }
}

/// One step of a hostile or broken world.
#[derive(Debug, Clone)]
enum Step {
    Caller(usize, Vec<Mutation>),
    Target(u16, bool, Vec<Mutation>),
    TargetAsks(usize),
    Exchange(usize),
    Wait(u64),
    Break(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let mutations = || prop::collection::vec(mutation(), 0..2);
    let status = prop::sample::select(vec![100u16, 180, 183, 200, 200, 302, 422, 481, 486, 503]);
    prop_oneof![
        4 => (any::<usize>(), mutations()).prop_map(|(what, mutations)| Step::Caller(what, mutations)),
        4 => (status, any::<bool>(), mutations()).prop_map(|(status, body, mutations)| Step::Target(status, body, mutations)),
        2 => any::<usize>().prop_map(Step::TargetAsks),
        5 => any::<usize>().prop_map(Step::Exchange),
        3 => (0..40_000u64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Break),
    ]
}

const METHODS: [Method; 8] = [
    Method::Invite,
    Method::Ack,
    Method::Bye,
    Method::Update,
    Method::Info,
    Method::Options,
    Method::Refer,
    Method::Prack,
];

fn play(steps: &[Step]) {
    let mut world = World::new();
    let mut caller = Phone::caller("fuzz");
    let mut asked = Vec::new();
    let mut target: Option<Phone> = None;
    let mut calls = Vec::new();
    for step in steps {
        match step {
            Step::Caller(what, mutations) => {
                let mut bytes = match what % 5 {
                    0 => caller.invite(if what % 2 == 0 { SDP_CALLER } else { "" }).to_bytes(),
                    1 if caller.invite.is_some() => caller.cancel().to_bytes(),
                    2 => caller.ack("").to_bytes(),
                    _ => caller.request(METHODS[what % METHODS.len()].clone(), SDP_CALLER).to_bytes(),
                };
                mutate_all(&mut bytes, mutations);
                world.stack.receive(&bytes, carrier(), world.now);
            }
            Step::Target(status, body, mutations) => {
                if let (Some(phone), Some(request)) = (&target, asked.pop()) {
                    let mut bytes =
                        phone.answer(&request, *status, if *body { SDP_TARGET } else { "" }).to_bytes();
                    mutate_all(&mut bytes, mutations);
                    world.stack.receive(&bytes, buyer(0), world.now);
                    asked.push(request);
                }
            }
            Step::TargetAsks(what) => {
                if let Some(phone) = &mut target {
                    let request = phone.request(METHODS[what % METHODS.len()].clone(), SDP_TARGET);
                    world.send(buyer(0), &request);
                }
            }
            Step::Exchange(what) => {
                if let Some(call) = calls.last() {
                    let attempt = u8::try_from(what % 3 + 1).unwrap();
                    let destination = Destination { sip_uris: vec![uri_of(buyer(0)), uri_of(buyer(1))] };
                    let action = match what % 4 {
                        0 => Action::CancelTarget { attempt },
                        1 => Action::ConnectCaller { attempt },
                        2 if what % 5 == 0 => Action::EndCall { reason: EndReason::Stopping },
                        _ => Action::RingTarget { attempt, destination, caller: CallerId::Anonymous },
                    };
                    world.act(*call, action);
                }
            }
            Step::Wait(ms) => world.advance_ms(*ms),
            Step::Break(target) => world.fail_transport(if *target { buyer(0) } else { carrier() }),
        }
        world.send(carrier(), &"\r\n");
        for message in world.take(buyer(0)) {
            if let Message::Request(request) = message {
                if request.method == Method::Invite && request.headers.to_tag().is_none() {
                    target = Some(Phone::target(buyer(0), request.clone()));
                }
                asked.push(request);
            }
        }
        for message in world.take(carrier()) {
            match message {
                Message::Response(response)
                    if response.headers.address(telephony::header::Name::Contact).is_some() =>
                {
                    caller.learn(&response);
                }
                _ => {}
            }
        }
        calls.extend(world.inputs.drain(..).map(|(call, _)| call));
        assert!(world.stack.live_calls() <= steps.len());
    }
    for call in calls {
        world.end(call, EndReason::Stopping);
    }
    // The longest chain of timers: a 200 without ACK, then a BYE without answer.
    world.advance_ms(140_000);
    assert_eq!(world.stack.live_calls(), 0);
    world.advance_ms(70_000);
    assert_eq!(world.stack.live_transactions(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Message::parse(&bytes);
        let mut framer = Framer::default();
        framer.push(&bytes);
        while let Ok(Some(_)) = framer.next_frame() {}
        let text = String::from_utf8_lossy(&bytes);
        let _ = Uri::parse(&text);
        let _ = telephony::field::NameAddr::parse(&text);
        let _ = telephony::field::Via::parse(&text);
    }

    #[test]
    fn what_is_read_is_written_and_read_the_same(mutations in prop::collection::vec(mutation(), 0..6)) {
        let mut bytes = Phone::caller("fuzz").invite(SDP_CALLER).to_bytes();
        mutate_all(&mut bytes, &mutations);
        if let Ok(Message::Request(request)) = Message::parse(&bytes) {
            let Ok(Message::Request(again)) = Message::parse(&request.to_bytes()) else { panic!("not read again") };
            prop_assert!(again.headers.iter().eq(request.headers.iter()));
            prop_assert_eq!((again.method, again.uri, again.body), (request.method, request.uri, request.body));
        }
    }

    #[test]
    fn any_sequence_of_events_ends_with_empty_tables(steps in prop::collection::vec(step(), 1..40)) {
        play(&steps);
    }
}
