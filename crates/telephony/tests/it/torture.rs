//! Messages after RFC 4475: what must be read, what must be refused, and how.

use crate::world::*;
use telephony::message::Message;
use telephony::parse::{HEADERS_MAX, LINE_BYTES_MAX, MESSAGE_BYTES_MAX};

/// Lines become a message; `~` stands for the fields every request needs.
fn message(lines: &str) -> Vec<u8> {
    let fields = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
                  Call-ID: c@h\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70";
    lines.replace('\n', "\r\n").replace('~', fields).into_bytes()
}

#[test]
fn odd_but_valid_messages_are_read() {
    let cases = [
        ("plain", "OPTIONS sip:h SIP/2.0\n~\nContent-Length: 0\n\n", "OPTIONS", 0),
        ("no length in a datagram", "OPTIONS sip:h SIP/2.0\n~\n\nbody", "OPTIONS", 4),
        ("a body longer than its length is cut", "OPTIONS sip:h SIP/2.0\n~\nl: 2\n\nbody", "OPTIONS", 2),
        ("line breaks before the message", "\n\nOPTIONS sip:h SIP/2.0\n~\n\n", "OPTIONS", 0),
        (
            "unknown method and headers",
            "NEWMETHOD sip:h SIP/2.0\nVia: SIP/2.0/UDP h\nf: <sip:a@h>\nt: <sip:b@h>\ni: x\n\
          CSeq: 1 NEWMETHOD\nX-Unknown: \u{fc}\n\n",
            "NEWMETHOD",
            0,
        ),
        (
            "wild blanks and folds (3.1.1.1)",
            "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\nTO :\n \
          sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\nfrom   : \"J Rosenberg \\\\\\\"\"       \
          <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\nMaX-fOrWaRdS: 0068\nCall-ID: wsinv.ndaksdj@192.0.2.1\n\
          Content-Length   : 0\ncseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch=390skdjuw\ns :\n\
          NewFangledHeader:   newfangled value\n continued newfangled value\nUnknownHeaderWithUnusualValue: ;;,,;;,;\n\
          Content-Type: application/sdp\nRoute:\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\n\
          v:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9ikj8  ,\n SIP  /    2.0   / UDP  \
          192.168.255.111   ; branch=\n z9hG4bK30239\nm:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\n\
          \x20newvalue ;\n  secondparam ; q = 0.33\n\n",
            "INVITE",
            0,
        ),
        (
            "escapes in the user part (3.1.1.3)",
            "OPTIONS sip:sips%3Auser%40example.com@example.net SIP/2.0\n~\n\n",
            "OPTIONS",
            0,
        ),
        ("a response without a reason", "SIP/2.0 200\n~\n\n", "200 OPTIONS", 0),
        ("a response of an unknown status", "SIP/2.0 599 Odd\n~\n\n", "599 OPTIONS", 0),
    ];
    for (what, lines, expected, body_bytes) in cases {
        let parsed = Message::parse(&message(lines)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(summary(&parsed).starts_with(expected), "{what}: {}", summary(&parsed));
        let (headers, body, written) = match &parsed {
            Message::Request(request) => (&request.headers, &request.body, request.to_bytes()),
            Message::Response(response) => (&response.headers, &response.body, response.to_bytes()),
        };
        assert_eq!(body.len(), body_bytes, "{what}");
        let again =
            Message::parse(&written).unwrap_or_else(|error| panic!("{what}, written and read: {error}"));
        let fields = match &again {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        };
        assert!(fields.iter().eq(headers.iter()), "{what}: nothing is lost or reordered");
    }
}

#[test]
fn malformed_requests_are_answered_when_their_top_can_be_read() {
    let long_line = format!("OPTIONS sip:h SIP/2.0\n~\nX: {}\n\n", "x".repeat(LINE_BYTES_MAX));
    let many_fields = format!("OPTIONS sip:h SIP/2.0\n~\n{}\n", "X: y\n".repeat(HEADERS_MAX));
    let cases = [
        (
            "OPTIONS sip:h SIP/2.0\n~\nContent-Length: 10\n\nshort",
            400,
            "Content-Length is 10, the body has 5 bytes",
        ),
        ("OPTIONS sip:h SIP/2.0\n~\nContent-Length: -1\n\n", 400, "bad Content-Length"),
        ("OPTIONS sip:h SIP/2.0\n~\nContent-Length: 1\nl: 1\n\nx", 400, "Content-Length more than once"),
        ("OPTIONS sip:h SIP/2.0\n~\nMax-Forwards: 3\n\n", 400, "Max-Forwards more than once"),
        ("OPTIONS  sip:h SIP/2.0\n~\n\n", 400, "bad start line"),
        ("OPTIONS sip:h SIP/2.0 \n~\n\n", 400, "bad start line"),
        ("OPTIONS <sip:h> SIP/2.0\n~\n\n", 400, "bad start line"),
        ("OPTIONS sip:h; lr SIP/2.0\n~\n\n", 400, "bad start line"),
        ("OPTIONS sip:h?Route=%3Csip:x%3E SIP/2.0\n~\n\n", 400, "bad start line"),
        ("OPTIONS\n~\n\n", 400, "bad start line"),
        ("OPTIONS sip:h SIP/7.0\n~\n\n", 505, "SIP version is not 2.0"),
        ("INVITE sip:h SIP/2.0\n~\n\n", 400, "bad CSeq: its method is not that of the request"),
        ("OPTIONS sip:h SIP/2.0\n~\nno colon here\n\n", 400, "header field without a name"),
        ("OPTIONS sip:h SIP/2.0\n~\nX: a\u{7}b\n\n", 400, "control character"),
        (&long_line, 513, "line over"),
        (&many_fields, 513, "header fields"),
    ];
    for (lines, status, why) in cases {
        let mut world = World::new();
        world.stack.receive(&message(lines), carrier(), world.now);
        world.advance_ms(0);
        world.send(carrier(), &"\r\n\r\n");
        let response = world.response(carrier());
        assert_eq!(response.status, status, "{lines:.60}");
        assert!(response.reason.contains(why), "{lines:.60}: {}", response.reason);
        assert_eq!(world.stack.counters().malformed, 1);
        world.assert_empty();
    }
}

#[test]
fn what_cannot_be_answered_is_dropped_and_counted() {
    let too_long = vec![b'x'; MESSAGE_BYTES_MAX + 1];
    let no_via =
        message("OPTIONS sip:h SIP/2.0\nFrom: <sip:a@h>\nTo: <sip:b@h>\nCall-ID: c\nCSeq: 1 OPTIONS\n\n");
    let cases: [(&str, &[u8]); 11] = [
        ("noise", b"\x80\x00\x01 STUN or worse"),
        ("too long", &too_long),
        ("no end", b"OPTIONS sip:h SIP/2.0\r\nVia: x\r\n"),
        ("no Via", &no_via),
        ("a bad ACK", &message("ACK sip:h SIP/2.0\n~\n\n")),
        ("a response without CSeq", b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nContent-Length: 0\r\n\r\n"),
        ("status too great", &message("SIP/2.0 4294967301 OK\n~\n\n")),
        ("status too small", &message("SIP/2.0 99 OK\n~\n\n")),
        ("not UTF-8", b"OPTIONS sip:h SIP/2.0\r\nVia: \xff\r\n\r\n"),
        ("bare line feeds", b"OPTIONS sip:h SIP/2.0\nVia: SIP/2.0/UDP h\n\n"),
        ("broken Via", b"OPTIONS sip:h SIP/2.0\r\nVia: x\r\nf: <sip:a@h>\r\nt: <sip:b@h>\r\ni: c\r\nCSeq: 1 OPTIONS\r\n\r\n"),
    ];
    for (what, bytes) in cases {
        let mut world = World::new();
        world.stack.receive(bytes, carrier(), world.now);
        world.send(carrier(), &"\r\n\r\n");
        assert_eq!(world.heard(carrier()), Vec::<String>::new(), "{what}");
        assert_eq!(world.stack.counters().malformed, 1, "{what}");
    }
}

#[test]
fn keep_alives_are_nothing() {
    let mut world = World::new();
    for bytes in ["", "\r\n", "\r\n\r\n", "\0\0\0\0"] {
        world.send(carrier(), &bytes);
    }
    assert_eq!(world.stack.counters().messages_received, 0);
}
