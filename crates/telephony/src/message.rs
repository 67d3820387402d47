//! SIP messages (RFC 3261 section 7): what they are made of, and how they are written.

use crate::field::{CSeq, NameAddr, Via};
use crate::header::{Headers, Name};
use crate::method::Method;
use std::fmt::Display;

/// A message of either kind.
#[derive(Debug, Clone)]
pub enum Message {
    /// Asks for something.
    Request(Request),
    /// Answers a request.
    Response(Response),
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it asks for.
    pub method: Method,
    /// The Request-URI, known to be well formed when the request was parsed.
    pub uri: String,
    /// Its header fields, without `Content-Length`.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// 100 to 699.
    pub status: u16,
    /// The reason phrase, for people.
    pub reason: String,
    /// Its header fields, without `Content-Length`.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request with no fields yet.
    pub fn new(method: Method, uri: impl Into<String>) -> Self {
        Self { method, uri: uri.into(), headers: Headers::default(), body: Vec::new() }
    }

    /// A response to this request: `Via`s, `From`, `To`, `Call-ID` and `CSeq` copied (RFC 3261 section 8.2.6.2), the
    /// reason phrase that belongs to the status.
    pub fn reply(&self, status: u16) -> Response {
        Response::to(&self.headers, status)
    }

    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1_024 + self.body.len());
        for part in [self.method.as_str(), " ", &self.uri, " SIP/2.0\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        write_rest(&self.headers, &self.body, &mut out);
        out
    }
}

impl Response {
    /// A response to the request that has these header fields.
    pub fn to(request: &Headers, status: u16) -> Self {
        let mut headers = Headers::default();
        for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
            headers.copy_from(request, name);
        }
        Self { status, reason: reason_phrase(status).to_owned(), headers, body: Vec::new() }
    }

    /// The same with another reason phrase.
    #[must_use]
    pub fn because(mut self, reason: impl Display) -> Self {
        self.reason = reason.to_string().replace(['\r', '\n'], " ");
        self
    }

    /// The same with a header field more.
    #[must_use]
    pub fn with(mut self, name: Name, value: impl Display) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The same with our tag in `To`, unless it has one.
    #[must_use]
    pub fn with_to_tag(mut self, tag: impl Display) -> Self {
        let tagged = match self.headers.get(Name::To) {
            Some(to) if self.headers.to_tag().is_none() => format!("{to};tag={tag}"),
            _ => return self,
        };
        self.headers.set(Name::To, tagged);
        self
    }

    /// 1xx.
    pub fn is_provisional(&self) -> bool {
        self.status < 200
    }

    /// 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1_024 + self.body.len());
        out.extend_from_slice(format!("SIP/2.0 {:03} {}\r\n", self.status, self.reason).as_bytes());
        write_rest(&self.headers, &self.body, &mut out);
        out
    }
}

fn write_rest(headers: &Headers, body: &[u8], out: &mut Vec<u8>) {
    headers.write(out);
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
}

/// The fields every message has. They are there and well formed in a message that was parsed.
impl Headers {
    /// The topmost `Via`.
    pub fn via(&self) -> Option<Via<'_>> {
        Via::parse(self.get(Name::Via)?).ok()
    }

    /// `Call-ID`, or nothing.
    pub fn call_id(&self) -> &str {
        self.get(Name::CallId).unwrap_or("")
    }

    /// `CSeq`.
    pub fn cseq(&self) -> Option<CSeq> {
        CSeq::parse(self.get(Name::CSeq)?).ok()
    }

    /// An address field: `From`, `To`, `Contact`, `P-Asserted-Identity`.
    pub fn address(&self, name: Name) -> Option<NameAddr<'_>> {
        NameAddr::parse(self.get(name)?).ok()
    }

    /// The tag in `From`.
    pub fn from_tag(&self) -> Option<&str> {
        self.address(Name::From)?.tag()
    }

    /// The tag in `To`.
    pub fn to_tag(&self) -> Option<&str> {
        self.address(Name::To)?.tag()
    }
}

/// The usual words for a status.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        _ => match status / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
