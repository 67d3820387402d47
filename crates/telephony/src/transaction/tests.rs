//! Two transaction layers talk over a wire that the test holds in its hand.

use super::*;

const T1_MS: u64 = 500;

fn at(ms: u64) -> Timestamp {
    Timestamp(1_000_000_000).plus_ms(ms)
}

fn peer(transport: fn(SocketAddr) -> Peer, host: u8) -> Peer {
    transport(SocketAddr::from(([192, 0, 2, host], 5060)))
}

fn layer(own: Peer, transactions_max: usize) -> Transactions<u32> {
    let config = TransactionConfig {
        local: LocalAddresses::new(vec![own]).unwrap(),
        timers: Timers::with_t1(T1_MS),
        transactions_max,
        retry_after_s: 5,
    };
    Transactions::new(config, Tokens::new(1))
}

fn request(method: Method) -> Request {
    let mut request = Request::new(method.clone(), "sip:b@192.0.2.2");
    request.headers.push(Name::From, "<sip:a@192.0.2.1>;tag=a1");
    request.headers.push(Name::To, "<sip:b@192.0.2.2>");
    request.headers.push(Name::CallId, "call");
    request.headers.push(Name::CSeq, format!("1 {method}"));
    request
}

/// Client, server and what each said.
struct Pair {
    a: Transactions<u32>,
    b: Transactions<u32>,
    at_a: Peer,
    at_b: Peer,
    now: Timestamp,
    said_a: Vec<String>,
    said_b: Vec<String>,
    /// Requests that `b` has not answered.
    asked: Vec<(ServerId, Request)>,
}

impl Pair {
    fn new(transport: fn(SocketAddr) -> Peer) -> Self {
        let (at_a, at_b) = (peer(transport, 1), peer(transport, 2));
        let (a, b) = (layer(at_a, 10), layer(at_b, 10));
        Self { a, b, at_a, at_b, now: at(0), said_a: vec![], said_b: vec![], asked: vec![] }
    }

    fn send(&mut self, method: Method) -> ClientId {
        self.a.send(request(method), self.at_b, 7, self.now).unwrap()
    }

    /// Everything sent so far arrives, except what `loses` takes; repeats until silence.
    fn settle_losing(&mut self, loses: impl Fn(&str) -> bool) {
        for _ in 0..100 {
            let sent_by_a = drain(&mut self.a, &mut self.said_a, &mut vec![]);
            let sent_by_b = drain(&mut self.b, &mut self.said_b, &mut self.asked);
            if sent_by_a.is_empty() && sent_by_b.is_empty() {
                return;
            }
            for bytes in sent_by_a.into_iter().filter(|bytes| !loses(&first_line(bytes))) {
                self.b.receive_bytes(&bytes, self.at_a, self.now).unwrap();
            }
            for bytes in sent_by_b.into_iter().filter(|bytes| !loses(&first_line(bytes))) {
                self.a.receive_bytes(&bytes, self.at_b, self.now).unwrap();
            }
        }
        panic!("the two never fell silent");
    }

    fn settle(&mut self) {
        self.settle_losing(|_| false);
    }

    fn respond(&mut self, status: u16) {
        let (id, request) = self.asked[0].clone();
        self.b.respond(id, &request.reply(status).with_to_tag("b1"), self.now);
    }

    fn advance_losing(&mut self, until_ms: u64, loses: impl Fn(&str) -> bool) {
        loop {
            let next = [self.a.next_deadline(), self.b.next_deadline()].into_iter().flatten().min();
            match next {
                Some(next) if next <= at(until_ms) => {
                    self.now = next;
                    self.a.tick(next);
                    self.b.tick(next);
                    self.settle_losing(&loses);
                }
                _ => break,
            }
        }
        self.now = at(until_ms);
    }
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or("").to_owned()
}

fn drain(
    layer: &mut Transactions<u32>,
    said: &mut Vec<String>,
    asked: &mut Vec<(ServerId, Request)>,
) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    while let Some(event) = layer.poll() {
        match event {
            Event::Send { bytes, .. } => {
                said.push(format!("> {}", first_line(&bytes)));
                sent.push(bytes);
            }
            Event::Request { id, request, .. } => {
                said.push(format!("request {}", request.method));
                asked.push((id, request));
            }
            Event::Cancel { id, request, invite } => {
                said.push(format!("cancel {}", if invite.is_some() { "matched" } else { "unmatched" }));
                layer.respond(id, &request.reply(200), at(0));
            }
            Event::Ack { .. } => said.push("ack".to_owned()),
            Event::Response { response, .. } => said.push(format!("response {}", response.status)),
            Event::TimedOut { .. } => said.push("timed out".to_owned()),
            Event::Unsendable { .. } => said.push("unsendable".to_owned()),
            Event::AckMissing { .. } => said.push("ack missing".to_owned()),
        }
    }
    sent
}

fn without_sends(said: &[String]) -> Vec<&str> {
    said.iter().map(String::as_str).filter(|line| !line.starts_with('>')).collect()
}

fn count(said: &[String], line: &str) -> usize {
    said.iter().filter(|other| other.starts_with(line)).count()
}

#[test]
fn a_failed_invite_is_acknowledged_hop_by_hop_and_forgotten() {
    for (transport, name) in [(Peer::udp as fn(SocketAddr) -> Peer, "udp"), (Peer::tcp, "tcp")] {
        let mut pair = Pair::new(transport);
        pair.send(Method::Invite);
        pair.settle();
        pair.respond(180);
        pair.respond(486);
        pair.settle();
        assert_eq!(without_sends(&pair.said_a), ["response 180", "response 486"], "{name}");
        assert_eq!(count(&pair.said_a, "> ACK"), 1, "{name}");
        if name == "tcp" {
            assert!(pair.a.is_empty() && pair.b.is_empty(), "a reliable transport has nothing to repeat");
        }
        pair.advance_losing(33_000, |_| false);
        assert!(pair.a.is_empty() && pair.b.is_empty(), "{name}");
    }
}

#[test]
fn an_unanswered_invite_is_repeated_on_udp_only_and_times_out() {
    for (transport, repeats) in [(Peer::udp as fn(SocketAddr) -> Peer, 7), (Peer::tcp, 1)] {
        let mut pair = Pair::new(transport);
        pair.send(Method::Invite);
        pair.advance_losing(40_000, |_| true);
        assert_eq!(count(&pair.said_a, "> INVITE"), repeats, "at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s");
        assert_eq!(without_sends(&pair.said_a), ["timed out"]);
        assert!(pair.a.is_empty());
    }
}

#[test]
fn an_unanswered_request_is_repeated_up_to_t2() {
    let mut pair = Pair::new(Peer::udp);
    pair.send(Method::Bye);
    pair.advance_losing(40_000, |_| true);
    assert_eq!(count(&pair.said_a, "> BYE"), 11, "at 0, 0.5, 1.5, 3.5, then every 4 s until 32 s");
    assert_eq!(without_sends(&pair.said_a), ["timed out"]);
}

#[test]
fn a_lost_answer_is_given_again_without_asking_twice() {
    for method in [Method::Bye, Method::Invite] {
        let mut pair = Pair::new(Peer::udp);
        pair.send(method.clone());
        pair.settle();
        pair.respond(404);
        pair.settle_losing(|line| line.starts_with("SIP/2.0 404"));
        assert_eq!(without_sends(&pair.said_a), Vec::<&str>::new());
        pair.advance_losing(2_000, |_| false);
        assert_eq!(without_sends(&pair.said_a), ["response 404"], "{method}");
        assert_eq!(without_sends(&pair.said_b), [format!("request {method}")]);
    }
}

#[test]
fn a_success_is_repeated_until_acknowledged_and_the_ack_for_every_repeat() {
    let mut pair = Pair::new(Peer::udp);
    let invite = pair.send(Method::Invite);
    pair.settle();
    pair.respond(200);
    pair.settle();
    let mut ack = request(Method::Ack);
    ack.headers.set(Name::To, "<sip:b@192.0.2.2>;tag=b1");
    pair.a.acknowledge(invite, ack, pair.at_b);
    pair.settle_losing(|line| line.starts_with("ACK"));
    assert_eq!(count(&pair.said_b, "ack"), 0);
    pair.advance_losing(5_000, |_| false);
    assert_eq!(count(&pair.said_b, "> SIP/2.0 200"), 2, "once, and again after T1");
    assert_eq!(count(&pair.said_b, "ack"), 1);
    assert_eq!(without_sends(&pair.said_a), ["response 200"], "repeats of the 200 are not news");
    pair.advance_losing(40_000, |_| false);
    assert!(pair.a.is_empty() && pair.b.is_empty());
}

#[test]
fn a_success_that_nobody_acknowledges_is_reported() {
    for transport in [Peer::udp as fn(SocketAddr) -> Peer, Peer::tcp] {
        let mut pair = Pair::new(transport);
        pair.send(Method::Invite);
        pair.settle();
        pair.respond(200);
        pair.advance_losing(40_000, |_| false);
        assert_eq!(without_sends(&pair.said_b), ["request INVITE", "ack missing"]);
        assert!(pair.b.is_empty());
    }
}

#[test]
fn a_second_fork_that_answers_is_delivered() {
    let mut pair = Pair::new(Peer::udp);
    pair.send(Method::Invite);
    pair.settle();
    let (_, invite) = pair.asked[0].clone();
    for tag in ["fork1", "fork2", "fork1"] {
        let bytes = invite.reply(200).with_to_tag(tag).to_bytes();
        pair.a.receive_bytes(&bytes, pair.at_b, pair.now).unwrap();
    }
    pair.settle();
    assert_eq!(without_sends(&pair.said_a), ["response 200", "response 200"]);
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut pair = Pair::new(Peer::udp);
    let invite = pair.send(Method::Invite);
    pair.settle();
    pair.a.cancel(invite, Some("SIP;cause=487"), pair.now);
    pair.settle();
    assert_eq!(count(&pair.said_a, "> CANCEL"), 0);
    pair.respond(180);
    pair.settle();
    assert_eq!(count(&pair.said_a, "> CANCEL"), 1);
    assert_eq!(without_sends(&pair.said_b), ["request INVITE", "cancel matched"]);
    pair.respond(487);
    pair.settle();
    assert_eq!(without_sends(&pair.said_a), ["response 180", "response 487"]);
    pair.advance_losing(40_000, |_| false);
    assert!(pair.a.is_empty() && pair.b.is_empty());
}

#[test]
fn an_invite_whose_cancel_is_ignored_ends_anyway() {
    let mut pair = Pair::new(Peer::udp);
    let invite = pair.send(Method::Invite);
    pair.settle();
    pair.respond(180);
    pair.settle();
    pair.a.cancel(invite, None, pair.now);
    pair.advance_losing(40_000, |line| line.starts_with("SIP/2.0 487"));
    assert_eq!(without_sends(&pair.said_a), ["response 180", "timed out"]);
    assert!(pair.a.is_empty());
}

#[test]
fn a_broken_connection_fails_what_waits_on_it() {
    let mut pair = Pair::new(Peer::tcp);
    pair.send(Method::Invite);
    pair.a.transport_failed(peer(Peer::tcp, 9));
    pair.settle();
    assert_eq!(without_sends(&pair.said_a), Vec::<&str>::new(), "another peer's trouble");
    pair.a.transport_failed(pair.at_b);
    pair.settle();
    assert_eq!(without_sends(&pair.said_a), ["unsendable"]);
    assert!(pair.a.is_empty());
}

#[test]
fn a_full_table_says_503_and_refuses_our_own() {
    let mut pair = Pair::new(Peer::udp);
    pair.b = layer(pair.at_b, 1);
    pair.send(Method::Bye);
    pair.send(Method::Bye);
    pair.settle();
    assert_eq!(without_sends(&pair.said_b), ["request BYE"]);
    assert_eq!(without_sends(&pair.said_a), ["response 503"]);
    assert_eq!(pair.b.counters().refused, 1);
    let mut full = layer(pair.at_a, 0);
    assert_eq!(full.send(request(Method::Bye), pair.at_b, 7, pair.now), Err(TableFull));
}

#[test]
fn responses_go_where_the_request_came_from() {
    // Via as written, and where the response goes; the packet comes from 198.51.100.9:7777.
    let cases = [
        (
            "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;rport",
            "198.51.100.9:7777",
            ";received=198.51.100.9;rport=7777",
        ),
        ("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK2", "198.51.100.9:5070", ";received=198.51.100.9"),
        ("SIP/2.0/UDP 198.51.100.9;branch=z9hG4bK3", "198.51.100.9:5060", ""),
        (
            "SIP/2.0/UDP carrier.example;rport;branch=z9hG4bK4",
            "198.51.100.9:7777",
            ";received=198.51.100.9;rport=7777",
        ),
    ];
    for (via, expected, completed) in cases {
        let mut layer = layer(peer(Peer::udp, 2), 10);
        let mut request = request(Method::Options);
        request.headers.push_front(Name::Via, via);
        let source = Peer::udp("198.51.100.9:7777".parse().unwrap());
        layer.receive_bytes(&request.to_bytes(), source, at(0)).unwrap();
        let Some(Event::Request { id, request, .. }) = layer.poll() else { panic!("{via}") };
        let written = request.headers.get(Name::Via).unwrap();
        assert!(written.ends_with(completed), "{written}");
        layer.respond(id, &request.reply(200), at(0));
        let Some(Event::Send { to, .. }) = layer.poll() else { panic!("{via}") };
        assert_eq!(to.address.to_string(), expected, "{via}");
    }
}

#[test]
fn responses_to_nothing_of_ours_are_counted_and_dropped() {
    let mut pair = Pair::new(Peer::udp);
    pair.send(Method::Options);
    pair.settle();
    let (_, asked) = pair.asked[0].clone();
    let branch = asked.headers.via().unwrap().branch().unwrap().to_owned();
    let foreign = [
        ("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK0000000000000000".to_owned(), "1 OPTIONS"),
        (format!("SIP/2.0/UDP 192.0.2.77:5060;branch={branch}"), "1 OPTIONS"),
        (format!("SIP/2.0/UDP 192.0.2.1:5060;branch={branch}"), "1 BYE"),
        ("SIP/2.0/UDP 192.0.2.1:5060".to_owned(), "1 OPTIONS"),
    ];
    for (via, cseq) in &foreign {
        let mut response = asked.reply(200);
        response.headers.set(Name::Via, via);
        response.headers.set(Name::CSeq, cseq);
        pair.a.receive(Message::Response(response), pair.at_b, pair.now);
    }
    assert_eq!(pair.a.counters().stray_responses, 4);
    assert!(pair.a.poll().is_none());
}
