//! Reads messages strictly: what is not well formed is refused, with words that say what is wrong. A refused request
//! whose top can be read still gets its answer (RFC 4475 is a list of such cases).

use crate::field::{self, CSeq, FieldError, NameAddr, Via};
use crate::header::{Headers, Name};
use crate::message::{Message, Request, Response};
use crate::method::Method;
use crate::uri::Uri;

/// The longest message taken, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// The most header fields taken.
pub const HEADERS_MAX: usize = 128;
/// The longest line taken, in bytes.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Longer than [`MESSAGE_BYTES_MAX`].
    #[error("message over {MESSAGE_BYTES_MAX} bytes")]
    MessageTooLong,
    /// The empty line after the header fields is missing.
    #[error("no empty line after the header fields")]
    HeadWithoutEnd,
    /// The head is not UTF-8.
    #[error("header fields are not UTF-8")]
    NotUtf8,
    /// A lone CR or LF, a NUL or another control character.
    #[error("control character, or CR without LF, in the header fields")]
    ControlCharacter,
    /// A line longer than [`LINE_BYTES_MAX`].
    #[error("line over {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// More fields than [`HEADERS_MAX`].
    #[error("over {HEADERS_MAX} header fields")]
    TooManyHeaders,
    /// The first line.
    #[error("bad start line: {0}")]
    StartLine(&'static str),
    /// A request of another SIP version.
    #[error("SIP version is not 2.0")]
    Version,
    /// A field without a name or colon.
    #[error("header field without a name and colon")]
    HeaderLine,
    /// A field every message must have.
    #[error("no {0}")]
    Missing(Name),
    /// A field that may stand only once.
    #[error("{0} more than once")]
    Repeated(Name),
    /// A field whose value is malformed.
    #[error("bad {0}: {1}")]
    Field(Name, FieldError),
    /// `Content-Length` promises more than there is.
    #[error("Content-Length is {promised}, the body has {present} bytes")]
    BodyTooShort {
        /// What the field says.
        promised: usize,
        /// What there is.
        present: usize,
    },
}

/// A message that was refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{problem}")]
pub struct ParseError {
    /// What is wrong.
    pub problem: Problem,
    /// The header fields that could be read, if they are enough to answer.
    answerable: Option<Box<Headers>>,
}

impl ParseError {
    fn hopeless(problem: Problem) -> Self {
        Self { problem, answerable: None }
    }

    /// The response to send, if it was a request that can be answered.
    pub fn reply(&self) -> Option<Response> {
        let status = match self.problem {
            Problem::Version => 505,
            Problem::TooManyHeaders | Problem::LineTooLong | Problem::MessageTooLong => 513,
            _ => 400,
        };
        let response = Response::to(self.answerable.as_deref()?, status);
        let reason = format!("{}: {}", response.reason, self.problem);
        Some(response.because(reason))
    }
}

impl Message {
    /// Reads one message: a datagram, or what [`crate::framing`] cut out of a stream. Bytes after the body that
    /// `Content-Length` announces are ignored (RFC 3261 section 18.3).
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ParseError::hopeless(Problem::MessageTooLong));
        }
        let start = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(bytes.len());
        let bytes = &bytes[start..];
        let head_end = find(bytes, b"\r\n\r\n").ok_or(ParseError::hopeless(Problem::HeadWithoutEnd))?;
        let head =
            std::str::from_utf8(&bytes[..head_end]).map_err(|_| ParseError::hopeless(Problem::NotUtf8))?;
        Head::read(unfold(head)).into_message(&bytes[head_end + 4..])
    }
}

/// Where `needle` first stands.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Continuation lines become part of the line before (RFC 3261 section 7.3.1).
fn unfold(head: &str) -> String {
    if head.contains("\r\n ") || head.contains("\r\n\t") {
        head.replace("\r\n ", "   ").replace("\r\n\t", "   ")
    } else {
        head.to_owned()
    }
}

enum StartLine {
    Request { method: Method, uri: String },
    Response { status: u16, reason: String },
}

/// A message's head, with the first problem found. Reading goes on after a problem so that the request can be answered.
struct Head {
    start_line: Result<StartLine, Problem>,
    /// Whether it is meant as a request other than ACK, and so may be answered at all.
    wants_answer: bool,
    headers: Headers,
    content_length: Option<usize>,
    problem: Option<Problem>,
}

impl Head {
    fn read(text: String) -> Self {
        let (start_line, fields_at) = match text.find("\r\n") {
            Some(end) => (&text[..end], end + 2),
            None => (text.as_str(), text.len()),
        };
        let mut head = Self {
            wants_answer: !start_line.starts_with("SIP/") && !start_line.starts_with("ACK "),
            start_line: check_line(start_line).and_then(|()| read_start_line(start_line)),
            headers: Headers::default(),
            content_length: None,
            problem: None,
        };
        let mut fields = Vec::with_capacity(16);
        for line in text[fields_at..].split("\r\n").filter(|_| fields_at < text.len()) {
            match read_field(line) {
                Ok((name, other_name, value)) => {
                    let place = |part: &str| {
                        let start = part.as_ptr().addr() - text.as_ptr().addr();
                        (start, start + part.len())
                    };
                    if name == Name::ContentLength {
                        head.take_content_length(value);
                    } else if name.is_list() {
                        let values =
                            field::split_outside_quotes(value, ',').filter(|value| !value.is_empty());
                        fields.extend(
                            values.take(HEADERS_MAX + 1).map(|value| (name, place(other_name), place(value))),
                        );
                    } else {
                        fields.push((name, place(other_name), place(value)));
                    }
                }
                Err(problem) => head.note(problem),
            }
            if fields.len() > HEADERS_MAX {
                fields.truncate(HEADERS_MAX);
                head.note(Problem::TooManyHeaders);
                break;
            }
        }
        head.headers = Headers::over(text);
        for (name, other_name, value) in fields {
            head.headers.mark(name, other_name, value);
        }
        head
    }

    fn note(&mut self, problem: Problem) {
        self.problem.get_or_insert(problem);
    }

    fn take_content_length(&mut self, value: &str) {
        const NOT_A_LENGTH: FieldError = FieldError("it is a decimal number of bytes");
        if self.content_length.is_some() {
            return self.note(Problem::Repeated(Name::ContentLength));
        }
        match field::read_number(value) {
            Some(length) => self.content_length = usize::try_from(length).ok(),
            None => self.note(Problem::Field(Name::ContentLength, NOT_A_LENGTH)),
        }
    }

    fn into_message(mut self, rest: &[u8]) -> Result<Message, ParseError> {
        let length = self.content_length.unwrap_or(rest.len());
        if length > rest.len() {
            self.note(Problem::BodyTooShort { promised: length, present: rest.len() });
        }
        let checked = match &self.start_line {
            Ok(start_line) => check_headers(start_line, &self.headers),
            Err(problem) => Err(problem.clone()),
        };
        // What the start line says comes first, then what stood in a line, then what is missing.
        let problem = match (checked, self.problem) {
            (Err(problem @ (Problem::StartLine(_) | Problem::Version)), _) | (_, Some(problem)) => {
                Some(problem)
            }
            (checked, None) => checked.err(),
        };
        match (problem, self.start_line) {
            (None, Ok(StartLine::Request { method, uri })) => Ok(Message::Request(Request {
                method,
                uri,
                headers: self.headers,
                body: rest[..length].to_vec(),
            })),
            (None, Ok(StartLine::Response { status, reason })) => Ok(Message::Response(Response {
                status,
                reason,
                headers: self.headers,
                body: rest[..length].to_vec(),
            })),
            (Some(problem), _) | (None, Err(problem)) => {
                let answerable = self.wants_answer && has_readable_top(&self.headers);
                Err(ParseError { problem, answerable: answerable.then(|| Box::new(self.headers)) })
            }
        }
    }
}

fn check_line(line: &str) -> Result<(), Problem> {
    if line.len() > LINE_BYTES_MAX {
        Err(Problem::LineTooLong)
    } else if line.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
        Err(Problem::ControlCharacter)
    } else {
        Ok(())
    }
}

/// The name as we know it, the name as written, and the value.
fn read_field(line: &str) -> Result<(Name, &str, &str), Problem> {
    check_line(line)?;
    let (name, value) = line.split_once(':').ok_or(Problem::HeaderLine)?;
    let name = name.trim_end_matches([' ', '\t']);
    if !field::is_token(name) {
        return Err(Problem::HeaderLine);
    }
    Ok((Name::read(name), name, value.trim_matches([' ', '\t'])))
}

fn read_start_line(line: &str) -> Result<StartLine, Problem> {
    if line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/")) {
        return read_status_line(line);
    }
    let mut parts = line.split(' ');
    let (Some(method), Some(uri), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Problem::StartLine("it is METHOD, URI and SIP/2.0 with one blank between"));
    };
    let method = Method::read(method).ok_or(Problem::StartLine("the method is not a token"))?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(if version.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/")) {
            Problem::Version
        } else {
            Problem::StartLine("it does not end with SIP/2.0")
        });
    }
    let parsed = Uri::parse(uri).map_err(|FieldError(why)| Problem::StartLine(why))?;
    if parsed.headers.is_some() {
        return Err(Problem::StartLine("a Request-URI has no headers behind '?'"));
    }
    Ok(StartLine::Request { method, uri: uri.to_owned() })
}

fn read_status_line(line: &str) -> Result<StartLine, Problem> {
    const SHAPE: Problem = Problem::StartLine("it is SIP/2.0, a status from 100 to 699 and a reason");
    let (version, rest) = line.split_once(' ').ok_or(SHAPE)?;
    // The blank after the status is required even when no reason follows; real peers forget it.
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return Err(Problem::Version);
    }
    let status = field::read_number(status)
        .filter(|_| status.len() == 3)
        .and_then(|status| u16::try_from(status).ok());
    match status {
        Some(status @ 100..=699) => Ok(StartLine::Response { status, reason: reason.to_owned() }),
        _ => Err(SHAPE),
    }
}

fn check_headers(start_line: &StartLine, headers: &Headers) -> Result<(), Problem> {
    for name in [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq] {
        headers.get(name).filter(|value| !value.is_empty()).ok_or(Problem::Missing(name))?;
    }
    let mut seen = Vec::with_capacity(10);
    for (text, _) in headers.iter() {
        let name = Name::read(text);
        if name.is_single() && seen.contains(&name) {
            return Err(Problem::Repeated(name));
        }
        seen.push(name);
    }
    let bad = |name| move |error| Problem::Field(name, error);
    let via = Via::parse(headers.get(Name::Via).unwrap_or("")).map_err(bad(Name::Via))?;
    if via.params.has("branch") && via.branch().is_none_or(str::is_empty) {
        return Err(Problem::Field(Name::Via, FieldError("branch without a value")));
    }
    for name in [Name::From, Name::To] {
        let address = NameAddr::parse(headers.get(name).unwrap_or("")).map_err(bad(name))?;
        if address.params.has("tag") && address.tag().is_none_or(str::is_empty) {
            return Err(Problem::Field(name, FieldError("tag without a value")));
        }
    }
    if headers.call_id().contains([' ', '\t']) {
        return Err(Problem::Field(Name::CallId, FieldError("it is one word")));
    }
    let cseq = CSeq::parse(headers.get(Name::CSeq).unwrap_or("")).map_err(bad(Name::CSeq))?;
    if let StartLine::Request { method, .. } = start_line {
        if cseq.method != *method {
            return Err(Problem::Field(Name::CSeq, FieldError("its method is not that of the request")));
        }
        let hops = headers.get(Name::MaxForwards).unwrap_or("70");
        if field::read_number(hops).is_none_or(|hops| hops > 255) {
            return Err(Problem::Field(Name::MaxForwards, FieldError("it is a number from 0 to 255")));
        }
    }
    Ok(())
}

/// Whether the fields a response copies are there and the `Via` tells where to send it.
fn has_readable_top(headers: &Headers) -> bool {
    [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq]
        .iter()
        .all(|name| headers.get(*name).is_some())
        && headers.via().is_some()
}
