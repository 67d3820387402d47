//! The server on real sockets of the loopback interface.

use crate::world::{SDP_CALLER, SDP_TARGET};
use exchange::bid::Destination;
use exchange::call::EndedBy;
use exchange::effect::{Action, EndReason, Input};
use exchange::id::CallId;
use exchange::phone_number::CallerId;
use std::net::SocketAddr;
use std::time::Duration;
use telephony::config::{CarrierTrunk, SipConfig};
use telephony::framing::{Frame, Framer};
use telephony::header::Name;
use telephony::message::{Message, Request};
use telephony::method::Method;
use telephony::peer::{Peer, Transport};
use telephony::server::{Overloaded, ServerError, SipServer, start};
use telephony::{BindError, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

/// Long enough that only a real fault reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

fn config() -> SipConfig {
    SipConfig {
        listen: vec!["udp://127.0.0.1:0".parse().unwrap(), "tcp://127.0.0.1:0".parse().unwrap()],
        trunks: vec![CarrierTrunk { name: "loop".into(), sources: vec!["127.0.0.1".parse().unwrap()] }],
        ..SipConfig::default()
    }
}

/// A server whose exchange connects every call to one URI.
async fn start_with_exchange(config: SipConfig, uri: String) -> SipServer {
    let (actions, todo) = mpsc::unbounded_channel();
    let deliver = move |call: CallId, input: Input| {
        let action = match input {
            Input::Arrived(_) => {
                let destination = Destination { sip_uris: vec![uri.clone()] };
                Action::RingTarget { attempt: 1, destination, caller: CallerId::Anonymous }
            }
            Input::TargetAnswered { attempt } => Action::ConnectCaller { attempt },
            Input::TargetFailed { cause, .. } => {
                Action::EndCall { reason: EndReason::Unanswered { last: cause } }
            }
            _ => Action::EndCall { reason: EndReason::Over { by: EndedBy::Caller } },
        };
        actions.send((call, action)).map_err(|_| Overloaded)
    };
    start(config, 1, todo, deliver).await.unwrap()
}

fn address_of(server: &SipServer, transport: Transport) -> SocketAddr {
    server.local_addresses().iter().find(|own| own.transport == transport).unwrap().address
}

/// One end of a wire, of either transport.
enum Line {
    Udp(UdpSocket),
    Tcp(TcpStream, Framer),
}

impl Line {
    async fn send(&mut self, bytes: Vec<u8>) {
        match self {
            Self::Udp(socket) => assert_eq!(socket.send(&bytes).await.unwrap(), bytes.len()),
            Self::Tcp(stream, _) => stream.write_all(&bytes).await.unwrap(),
        }
    }

    async fn receive(&mut self) -> Message {
        let receive = async {
            let mut buffer = vec![0; 65_536];
            match self {
                Self::Udp(socket) => {
                    let length = socket.recv(&mut buffer).await.unwrap();
                    buffer.truncate(length);
                    buffer
                }
                Self::Tcp(stream, framer) => loop {
                    if let Some(Frame::Message(bytes)) = framer.next_frame().unwrap() {
                        break bytes;
                    }
                    let length = stream.read(&mut buffer).await.unwrap();
                    assert_ne!(length, 0, "closed");
                    framer.push(&buffer[..length]);
                },
            }
        };
        Message::parse(&tokio::time::timeout(PATIENCE, receive).await.expect("a message")).unwrap()
    }

    /// Skips what is repeated or only says that something is under way.
    async fn response(&mut self, method: &Method) -> telephony::message::Response {
        loop {
            match self.receive().await {
                Message::Response(response)
                    if response.headers.cseq().unwrap().method == *method && !response.is_provisional() =>
                {
                    return response;
                }
                _ => {}
            }
        }
    }

    async fn request(&mut self, method: &Method) -> Request {
        loop {
            match self.receive().await {
                Message::Request(request) if request.method == *method => return request,
                _ => {}
            }
        }
    }
}

fn request(method: Method, cseq: u32, own: Peer, to: &str, uri: String) -> Request {
    let mut request = Request::new(method.clone(), uri);
    let headers = &mut request.headers;
    let transport = own.transport.via_name();
    headers
        .push(Name::Via, format!("SIP/2.0/{transport} {};branch=z9hG4bK{cseq}{method};rport", own.address));
    headers.push(Name::From, "<sip:+12125550123@127.0.0.1>;tag=a");
    headers.push(Name::To, to);
    headers.push(Name::CallId, "socket-call");
    headers.push(Name::CSeq, format!("{cseq} {method}"));
    headers.push(Name::Contact, format!("<sip:a@{};transport={}>", own.address, own.transport));
    request
}

async fn call_from_end_to_end(transport: Transport) {
    // The target listens; its first packet or connection shows who calls.
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = if transport == Transport::Udp { udp.local_addr() } else { tcp.local_addr() }.unwrap();
    let uri = format!("sip:+18005550100@{address};transport={transport}");
    let server = start_with_exchange(config(), uri).await;
    let own = address_of(&server, transport);

    let (mut caller, caller_address) = match transport {
        Transport::Udp => {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(own).await.unwrap();
            let address = socket.local_addr().unwrap();
            (Line::Udp(socket), address)
        }
        Transport::Tcp => {
            let stream = TcpStream::connect(own).await.unwrap();
            let address = stream.local_addr().unwrap();
            (Line::Tcp(stream, Framer::default()), address)
        }
    };
    let from = Peer { transport, address: caller_address };
    let number = format!("sip:+18885550100@{own}");
    let mut invite = request(Method::Invite, 1, from, &format!("<{number}>"), number.clone());
    invite.headers.push(Name::ContentType, "application/sdp");
    invite.body = SDP_CALLER.as_bytes().to_vec();
    caller.send(invite.to_bytes()).await;

    let mut target = match transport {
        Transport::Udp => {
            udp.connect(own).await.unwrap();
            Line::Udp(udp)
        }
        Transport::Tcp => Line::Tcp(tcp.accept().await.unwrap().0, Framer::default()),
    };
    let rung = target.request(&Method::Invite).await;
    assert_eq!(rung.body, SDP_CALLER.as_bytes());
    let mut answer = rung
        .reply(200)
        .with_to_tag("b")
        .with(Name::Contact, format!("<sip:b@{address};transport={transport}>"));
    answer.headers.push(Name::ContentType, "application/sdp");
    answer.body = SDP_TARGET.as_bytes().to_vec();
    target.send(answer.to_bytes()).await;
    target.request(&Method::Ack).await;

    let ok = caller.response(&Method::Invite).await;
    assert_eq!((ok.status, ok.body.as_slice()), (200, SDP_TARGET.as_bytes()));
    let remote = ok.headers.get(Name::To).unwrap().to_owned();
    caller.send(request(Method::Ack, 1, from, &remote, number.clone()).to_bytes()).await;
    assert_eq!(server.live_calls(), 1);
    caller.send(request(Method::Bye, 2, from, &remote, number).to_bytes()).await;
    assert_eq!(caller.response(&Method::Bye).await.status, 200);
    let bye = target.request(&Method::Bye).await;
    server.drain().await;
    target.send(bye.reply(200).to_bytes()).await;
    assert!(server.drained(PATIENCE).await);
    assert_eq!(server.counters().invites, 1);
    server.shutdown().await;
}

#[tokio::test]
async fn a_call_over_udp() {
    call_from_end_to_end(Transport::Udp).await;
}

#[tokio::test]
async fn a_call_over_tcp() {
    call_from_end_to_end(Transport::Tcp).await;
}

#[tokio::test]
async fn a_target_that_refuses_the_connection_is_unreachable_at_once() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = start_with_exchange(config(), format!("sip:+18005550100@{closed};transport=tcp")).await;
    let own = address_of(&server, Transport::Udp);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(own).await.unwrap();
    let from = Peer::udp(socket.local_addr().unwrap());
    let number = format!("sip:+18885550100@{own}");
    let mut caller = Line::Udp(socket);
    caller.send(request(Method::Invite, 1, from, &format!("<{number}>"), number).to_bytes()).await;
    let response = caller.response(&Method::Invite).await;
    assert_eq!(response.status, 480);
    assert!(response.headers.get(Name::Reason).unwrap().contains("cause=27"));
    server.shutdown().await;
}

#[tokio::test]
async fn an_overloaded_exchange_answers_503() {
    let (_actions, todo) = mpsc::unbounded_channel();
    let server = server::start(config(), 1, todo, |_, _| Err(Overloaded)).await.unwrap();
    let own = address_of(&server, Transport::Udp);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(own).await.unwrap();
    let from = Peer::udp(socket.local_addr().unwrap());
    let number = format!("sip:+18885550100@{own}");
    let mut caller = Line::Udp(socket);
    caller.send(request(Method::Invite, 1, from, &format!("<{number}>"), number).to_bytes()).await;
    let response = caller.response(&Method::Invite).await;
    assert_eq!((response.status, response.headers.get(Name::RetryAfter)), (503, Some("5")));
    server.shutdown().await;
}

#[tokio::test]
async fn streams_are_kept_alive_and_closed_when_they_make_no_sense_or_dawdle() {
    let quick = SipConfig { tcp_message_timeout_ms: 50, max_tcp_connections: 1, ..config() };
    let server = start_with_exchange(quick, "sip:nobody@127.0.0.1:1".to_owned()).await;
    let own = address_of(&server, Transport::Tcp);
    let mut buffer = [0; 64];
    // A ping gets its pong, and a second connection is one too many.
    let mut stream = TcpStream::connect(own).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 2);
    let mut second = TcpStream::connect(own).await.unwrap();
    assert_eq!(second.read(&mut buffer).await.unwrap_or(0), 0);
    // A message that never ends.
    stream.write_all(b"OPTIONS sip:x SIP/2.0\r\n").await.unwrap();
    assert_eq!(stream.read(&mut buffer).await.unwrap_or(0), 0);
    assert!(wait_for(&server, |status| status.transport.streams_too_slow == 1).await);
    // Bytes that are no SIP.
    let mut stream = TcpStream::connect(own).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(stream.read(&mut buffer).await.unwrap_or(0), 0);
    assert!(wait_for(&server, |status| status.transport.streams_unreadable == 1).await);
    assert_eq!(server.status().transport.connections_refused, 1);
    server.shutdown().await;
}

/// Waits until the server shows what is expected.
async fn wait_for(server: &SipServer, is_so: impl Fn(&server::ServerStatus) -> bool) -> bool {
    let wait = async {
        while !is_so(&server.status()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.is_ok()
}

#[tokio::test]
async fn an_address_in_use_is_one_clear_error() {
    for transport in ["udp", "tcp"] {
        let (udp, tcp);
        let taken = if transport == "udp" {
            udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            udp.local_addr().unwrap()
        } else {
            tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tcp.local_addr().unwrap()
        };
        let listen = vec![format!("{transport}://{taken}").parse().unwrap()];
        let (_actions, todo) = mpsc::unbounded_channel();
        let config = SipConfig { listen, ..config() };
        let error = start(config, 1, todo, |_, _| Ok(())).await.expect_err("taken");
        assert!(matches!(error, ServerError::Bind(BindError::InUse { .. })), "{error}");
        let expected = format!(
            "{transport}://{taken} is in use; stop the program that listens there, or change sip.listen"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn settings_are_read_strictly() {
    let read = |text: &str| serde_json::from_str::<SipConfig>(text);
    let config = read(
        r#"{"listen": ["tcp://[::1]:5060"], "t1_ms": 100, "trunks": [{"name": "a", "sources": ["10.0.0.0/8"]}]}"#,
    )
    .unwrap();
    assert_eq!((config.t1_ms, config.max_live_calls), (100, 10_000));
    assert_eq!(read(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    for text in [
        r#"{"lisen": []}"#,
        r#"{"listen": ["sctp://127.0.0.1:5060"]}"#,
        r#"{"trunks": [{"name": "a", "sources": ["x"]}]}"#,
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}
