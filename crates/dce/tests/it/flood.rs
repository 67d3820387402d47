//! Rubbish at the SIP port, thousands of datagrams of it: the exchange stays up, counts it, and goes on with its work.

use crate::exchange::Exchange;
use crate::marketplace::{Buyer, load};
use crate::patience::until;
use crate::sipp::{caller, target};
use std::net::UdpSocket;
use std::time::Duration;

/// Datagrams sent before the exchange is asked whether it still answers; few enough to fit into a socket's buffer.
const BATCH: u64 = 50;
const BATCHES: u64 = 100;
/// What a flood may add to the process's memory: far less than keeping it would.
const GROWTH_KIB_MAX: u64 = 32 * 1_024;

/// A good INVITE, which the flood breaks in one place or another.
const INVITE: &str = "INVITE sip:+12125550100@127.0.0.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKbroken\r\n\
    From: <sip:+12125550123@127.0.0.1>;tag=broken\r\n\
    To: <sip:+12125550100@127.0.0.1>\r\n\
    Call-ID: broken@127.0.0.1\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:+12125550123@127.0.0.1:9>\r\n\
    Max-Forwards: 70\r\n\
    Content-Length: 0\r\n\r\n";

/// Datagram number `index` of the flood, never well formed.
fn broken(index: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(index);
    match index % 6 {
        // Cut short, at the latest in its last header.
        0 => INVITE.as_bytes()[..random.usize(1..INVITE.len() - 4)].to_vec(),
        1 => INVITE.replace("SIP/2.0\r\n", "SIP/7.0\r\n").into_bytes(),
        2 => INVITE.replace("CSeq: 1 INVITE", "CSeq: one INVITE").into_bytes(),
        3 => INVITE.replace("Content-Length: 0", "Content-Length: 70000").into_bytes(),
        4 => INVITE.replace("Call-ID: broken@127.0.0.1\r\n", "").into_bytes(),
        // Random bytes, the first of which begins no method.
        _ => std::iter::once(0xff).chain((0..random.usize(0..1_000)).map(|_| random.u8(..))).collect(),
    }
}

/// Asks the exchange whether it lives, and waits for the answer.
fn ping(socket: &UdpSocket, number: u64) {
    let own = socket.local_addr().expect("bound");
    let options = format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKping{number}\r\n\
         From: <sip:ping@{own}>;tag=ping\r\nTo: <sip:127.0.0.1>\r\nCall-ID: ping{number}@{own}\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    let mark = format!("ping{number}@");
    until("the exchange answers OPTIONS", || {
        socket.send(options.as_bytes()).expect("sendable");
        let mut buffer = [0; 4_096];
        // Answers to the flood come in between: 400 where enough could be read.
        while let Ok(length) = socket.recv(&mut buffer) {
            let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if answer.starts_with("SIP/2.0 200 ") && answer.contains(&mark) {
                return Some(());
            }
        }
        None
    });
}

#[test]
fn a_flood_of_broken_datagrams_changes_nothing() {
    let exchange = Exchange::start();
    let target = target("target_answers");
    load(&exchange, &[Buyer { min_connected_s: 60, ..Buyer::at(target.port) }]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(exchange.udp).expect("connectable");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("settable");
    ping(&socket, BATCHES);
    let before_kib = exchange.memory_kib();
    for batch in 0..BATCHES {
        for index in 0..BATCH {
            socket.send(&broken(batch * BATCH + index)).expect("sendable");
        }
        ping(&socket, batch);
    }
    let after_kib = exchange.memory_kib();
    assert!(after_kib < before_kib + GROWTH_KIB_MAX, "{before_kib} KiB before, {after_kib} KiB after");
    until("all of it is counted", || (malformed(&exchange) == BATCH * BATCHES).then_some(()));

    caller("caller_hangs_up").completes(exchange.udp);
    target.succeeds();
    assert_eq!(exchange.ended_call()["outcome"], "not_converted");
    exchange.stop_and_verify();
}

fn malformed(exchange: &Exchange) -> u64 {
    let (status, metrics) = exchange.ask("GET", "/metrics", None);
    assert_eq!(status, 200, "{metrics}");
    let line = metrics.lines().find_map(|line| line.strip_prefix("dce_sip_malformed_total "));
    line.map_or(0, |count| count.parse().expect("a number"))
}
