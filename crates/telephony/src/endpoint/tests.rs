//! A caller's and a target's endpoint talk to each other directly, over a wire the test holds in its hand.

use super::*;

const CALLER: ([u8; 4], u16) = ([192, 0, 2, 1], 5060);
const TARGET: ([u8; 4], u16) = ([192, 0, 2, 2], 5060);

/// What a lossy wire does with a packet, told by its first line and how many packets went before.
type Loses = fn(&str, usize) -> bool;

struct Pair {
    ends: [(SocketAddr, Endpoint); 2],
    now: Timestamp,
    packets: usize,
    reports: Vec<CallReport>,
    wire: Vec<String>,
}

impl Pair {
    fn new(plan: TargetPlan) -> Self {
        let (caller, target) = (SocketAddr::from(CALLER), SocketAddr::from(TARGET));
        let plans: TargetPlans = Box::new(move |user| (user == "+18005550100").then_some(plan));
        let ends = [(caller, Endpoint::caller(caller, 1)), (target, Endpoint::new(target, 2, plans))];
        Self { ends, now: Timestamp(1_000_000), packets: 0, reports: vec![], wire: vec![] }
    }

    fn place(&mut self, called: &str, late_offer: bool, then: CallerPlan) {
        let spec = CallSpec {
            to: TARGET.into(),
            called: called.to_owned(),
            caller: "+12125550123".to_owned(),
            stated_state: None,
            late_offer,
            then,
        };
        self.ends[0].1.place_call(&spec, self.now).unwrap();
    }

    fn deliver(&mut self, loses: Loses) {
        loop {
            let mut sent = Vec::new();
            for (from, end) in &mut self.ends {
                while let Some(output) = end.poll_output() {
                    match output {
                        Output::Send { to, bytes } => sent.push((*from, to, bytes)),
                        Output::Report(report) => self.reports.push(report),
                    }
                }
            }
            if sent.is_empty() {
                return;
            }
            for (from, to, bytes) in sent {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                self.packets += 1;
                let lost = loses(text.lines().next().unwrap_or(""), self.packets);
                self.wire.push(text);
                if let Some((_, end)) = self.ends.iter_mut().find(|(at, _)| *at == to && !lost) {
                    end.receive(&bytes, from, self.now);
                }
            }
        }
    }

    /// Lets time run until nothing is left to do; the reports of caller and target.
    fn run(mut self, loses: Loses) -> (Option<CallReport>, Option<CallReport>, Vec<String>) {
        self.deliver(loses);
        let end = self.now.plus_ms(400_000);
        while let Some(next) = self.ends.iter().filter_map(|(_, end)| end.next_deadline()).min() {
            assert!(next <= end, "the endpoints never fall silent");
            self.now = self.now.max(next);
            for (_, endpoint) in &mut self.ends {
                endpoint.tick(self.now);
            }
            self.deliver(loses);
        }
        for (_, endpoint) in &self.ends {
            assert_eq!(endpoint.calls_open(), 0, "every call ends");
            assert!(endpoint.by_tag.is_empty() && endpoint.transactions.is_empty());
        }
        let (mut caller, mut target) = (None, None);
        for report in self.reports {
            let seat = if report.side == Side::Caller { &mut caller } else { &mut target };
            assert!(seat.replace(report).is_none(), "one report a call and side");
        }
        (caller, target, self.wire)
    }
}

fn call(plan: TargetPlan, then: CallerPlan, loses: Loses) -> (CallReport, Option<CallReport>, Vec<String>) {
    let mut pair = Pair::new(plan);
    pair.place("+18005550100", false, then);
    let (caller, target, wire) = pair.run(loses);
    (caller.expect("the caller's report"), target, wire)
}

const LOSSLESS: Loses = |_, _| false;
const TALK: CallerPlan = CallerPlan::TalkFor { ms: 5_000 };

fn answer(ring_ms: u64, talk_ms: Option<u64>) -> TargetPlan {
    TargetPlan::AnswerAfter { ring_ms, talk_ms }
}

#[test]
fn every_pair_of_plans_ends_as_it_should_on_both_sides() {
    let hold = CallerPlan::HoldThenTalk { before_ms: 100, hold_ms: 200, after_ms: 300 };
    let early_media = TargetPlan::EarlyMediaThenAnswer { ring_ms: 500, talk_ms: Some(1_000) };
    // Target, caller; how it ends for the caller, final status, connected time; how it ends for the target.
    let cases = [
        (answer(900, None), TALK, CallEnd::HungUp, Some(200), Some(5_000), CallEnd::HungUpByPeer),
        (answer(900, Some(2_000)), TALK, CallEnd::HungUpByPeer, Some(200), Some(2_000), CallEnd::HungUp),
        (early_media, TALK, CallEnd::HungUpByPeer, Some(200), Some(1_000), CallEnd::HungUp),
        (answer(0, Some(0)), TALK, CallEnd::HungUpByPeer, Some(200), Some(0), CallEnd::HungUp),
        (answer(0, None), hold, CallEnd::HungUp, Some(200), Some(600), CallEnd::HungUpByPeer),
        (TargetPlan::Busy, TALK, CallEnd::Refused, Some(486), None, CallEnd::Refused),
        (TargetPlan::Reject { status: 603 }, TALK, CallEnd::Refused, Some(603), None, CallEnd::Refused),
        (
            TargetPlan::RingForever,
            CallerPlan::CancelAfter { ms: 700 },
            CallEnd::Cancelled,
            Some(487),
            None,
            CallEnd::Cancelled,
        ),
        (TargetPlan::Silent, TALK, CallEnd::PeerLost, None, None, CallEnd::Vanished),
        (
            answer(100, None),
            CallerPlan::CancelAfter { ms: 700 },
            CallEnd::HungUp,
            Some(200),
            Some(600),
            CallEnd::HungUpByPeer,
        ),
        (
            TargetPlan::Vanish { ring_ms: 100, after_ms: 1_000 },
            TALK,
            CallEnd::PeerLost,
            Some(200),
            Some(5_000),
            CallEnd::Vanished,
        ),
        (
            answer(100, Some(3_000)),
            CallerPlan::Vanish { after_ms: 1_000 },
            CallEnd::Vanished,
            Some(200),
            Some(900),
            CallEnd::PeerLost,
        ),
        (
            answer(2_000, Some(3_000)),
            CallerPlan::Vanish { after_ms: 1_000 },
            CallEnd::Vanished,
            None,
            None,
            CallEnd::PeerLost,
        ),
    ];
    for (plan, then, end, status, connected_ms, target_end) in cases {
        let (caller, target, _) = call(plan, then, LOSSLESS);
        let target = target.expect("the target's report");
        let seen = (caller.end, caller.status, caller.connected_ms(), target.end);
        assert_eq!(seen, (end, status, connected_ms, target_end), "{plan:?} and {then:?}");
        assert_eq!(caller.reinvites_accepted, if then == hold { 2 } else { 0 });
    }
}

#[test]
fn whoever_is_patient_gives_up_after_three_minutes() {
    let (caller, target, _) = call(TargetPlan::RingForever, TALK, LOSSLESS);
    assert_eq!(caller.ended_at.ms_since(caller.invited_at), PATIENCE_MS);
    assert_ne!(caller.end, CallEnd::PeerLost);
    assert_ne!(target.unwrap().end, CallEnd::PeerLost);
}

#[test]
fn an_unknown_target_is_not_found() {
    let mut pair = Pair::new(TargetPlan::Busy);
    pair.place("+18005550199", false, TALK);
    let (caller, target, _) = pair.run(LOSSLESS);
    assert_eq!((caller.unwrap().status, target), (Some(404), None));
}

#[test]
fn set_up_is_the_time_to_the_first_ringing() {
    let (caller, target, _) = call(answer(900, None), TALK, LOSSLESS);
    assert_eq!(caller.set_up_us(), Some(0));
    assert_eq!(caller.answered_at.unwrap().ms_since(caller.invited_at), 900);
    assert_eq!(target.unwrap().side, Side::Target { user: "+18005550100".to_owned() });
}

#[test]
fn the_acknowledgement_answers_a_late_offer() {
    let mut pair = Pair::new(answer(0, None));
    pair.place("+18005550100", true, TALK);
    let (caller, _, wire) = pair.run(LOSSLESS);
    assert_eq!(caller.unwrap().end, CallEnd::HungUp);
    let described: Vec<_> = wire
        .iter()
        .filter(|text| text.contains("application/sdp"))
        .map(|text| text.split(' ').next().unwrap_or(""))
        .collect();
    assert_eq!(described, ["SIP/2.0", "ACK"], "the offer in the 200, the answer in the ACK");
}

#[test]
fn a_call_survives_the_loss_of_any_one_packet() {
    let (.., wire) = call(answer(900, None), TALK, LOSSLESS);
    assert_eq!(
        wire.iter().map(|text| text.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(),
        [
            "INVITE sip:+18005550100@192.0.2.2:5060",
            "SIP/2.0 180",
            "SIP/2.0 200",
            "ACK sip:192.0.2.2:5060",
            "BYE sip:192.0.2.2:5060",
            "SIP/2.0 200",
        ]
    );
    let losses: [Loses; 6] = [
        |_, nth| nth == 1,
        |_, nth| nth == 2,
        |_, nth| nth == 3,
        |_, nth| nth == 4,
        |_, nth| nth == 5,
        |_, nth| nth == 6,
    ];
    for (index, loses) in losses.into_iter().enumerate() {
        let (caller, target, _) = call(answer(900, None), TALK, loses);
        let ends = (caller.end, target.unwrap().end);
        assert_eq!(ends, (CallEnd::HungUp, CallEnd::HungUpByPeer), "packet {} lost", index + 1);
    }
}

#[test]
fn the_same_seed_says_the_same() {
    let tags = |seed| {
        let mut endpoint = Endpoint::caller(CALLER.into(), seed);
        let spec = CallSpec {
            to: TARGET.into(),
            called: "1".to_owned(),
            caller: "a b@c".to_owned(),
            stated_state: None,
            late_offer: false,
            then: TALK,
        };
        endpoint.place_call(&spec, Timestamp(0)).unwrap();
        match endpoint.poll_output() {
            Some(Output::Send { bytes, .. }) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(tags(1), tags(1));
    assert_ne!(tags(1), tags(2));
    assert!(tags(1).contains("From: <sip:a%20b%40c@192.0.2.1:5060>;tag="));
}

#[test]
fn options_are_answered_and_strangers_told_so() {
    let mut target = Endpoint::caller(TARGET.into(), 1);
    let ask = |method: &str, to_tag: &str| {
        format!(
            "{method} sip:192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{method}\r\n\
             From: <sip:a@192.0.2.1>;tag=a\r\nTo: <sip:192.0.2.2>{to_tag}\r\nCall-ID: x\r\nCSeq: 1 {method}\r\n\
             Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
    };
    for (method, to_tag, status) in
        [("OPTIONS", "", "200"), ("BYE", ";tag=00000000000000ab", "481"), ("INFO", ";tag=other", "481")]
    {
        target.receive(ask(method, to_tag).as_bytes(), CALLER.into(), Timestamp(0));
        let Some(Output::Send { bytes, .. }) = target.poll_output() else { panic!("no answer to {method}") };
        assert!(bytes.starts_with(format!("SIP/2.0 {status} ").as_bytes()), "{method}");
    }
    target.receive(b"nonsense", CALLER.into(), Timestamp(0));
    assert_eq!(target.counters(), EndpointCounters { malformed: 1, strays: 2, ..Default::default() });
}
