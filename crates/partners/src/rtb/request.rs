//! Writing the request to a bidder: from its template, or the exchange's own.

use super::connect::Origin;
use super::pool::Message;
use super::token::caller_token;
use exchange::bid::criteria::Attestation;
use exchange::bid::live::{BidRequest, CallerDisclosure, HttpTarget};
use exchange::bid::template::{self, Escaping, Placeholder};
use exchange::id::{BidProfileId, CallId};
use exchange::ledger::money::{Currency, Micros};
use exchange::phone_number::PhoneNumber;
use exchange::place::{Language, State, Zip};
use exchange::tracking_number::CallOrigin;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Uri};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The longest URL and the longest body that are sent, in bytes, placeholders filled.
const URL_BYTES_MAX: usize = 8 * 1_024;
const BODY_BYTES_MAX: usize = 64 * 1_024;

/// The exchange's own bid request. What is not known is absent. Fields are only ever added to a version.
#[derive(Debug, Serialize)]
pub struct OwnRequest<'a> {
    /// Of this shape.
    pub version: u32,
    /// The call; with the bid it names the question.
    pub id: CallId,
    /// The bid profile that is asked.
    pub bid: BidProfileId,
    /// What the call is about.
    pub vertical: &'a str,
    /// How the consumer came to be on the line.
    pub origin: CallOrigin,
    /// The consumer's state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// The consumer's ZIP code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip: Option<Zip>,
    /// The caller's area code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub area_code: Option<u16>,
    /// The consumer's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// How sure the carrier is of the caller's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<Attestation>,
    /// The call's tags.
    pub tags: &'a BTreeMap<String, String>,
    /// The least that can win. Written in units of the currency, such as "12.50".
    #[serde(rename = "floor", serialize_with = "in_units")]
    pub floor_micros: Micros,
    /// The currency of the floor.
    pub currency: Currency,
    /// How long the bidder has, in milliseconds.
    pub tmax_ms: u32,
    /// What it may learn of the caller's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn in_units<S: Serializer>(amount: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

impl<'a> OwnRequest<'a> {
    /// The request as its bidder may see it. Without a key for tokens, callers' numbers are withheld where a token is due.
    pub fn new(request: &'a BidRequest, token_key: Option<&[u8; 32]>) -> Self {
        Self::with_caller(request, Caller::disclosed(request, token_key))
    }

    fn with_caller(request: &'a BidRequest, caller: Option<Caller>) -> Self {
        Self {
            version: 1,
            id: request.call,
            bid: request.bid,
            vertical: &request.vertical,
            origin: request.origin,
            state: request.state,
            zip: request.zip,
            area_code: request.area_code,
            language: request.language,
            attestation: request.attestation,
            tags: &request.tags,
            floor_micros: request.floor_micros,
            currency: request.currency,
            tmax_ms: request.time_ms(),
            caller,
        }
    }
}

/// What the bidder may learn of the caller's number: `{"token": "..."}` or `{"number": "+1..."}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// The same number has the same token with the same bidder.
    Token(String),
    /// The whole number.
    Number(PhoneNumber),
}

impl Caller {
    fn disclosed(request: &BidRequest, token_key: Option<&[u8; 32]>) -> Option<Self> {
        let number = request.caller?;
        match request.bidder.caller {
            CallerDisclosure::Withheld => None,
            CallerDisclosure::Token => Some(Self::Token(caller_token(token_key?, request.bid, number))),
            CallerDisclosure::Number => Some(Self::Number(number)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Token(token) => token.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// The request and where it goes; `None` when it cannot be written: a URL or header that is none, or one that grew too long.
pub(super) fn write(
    target: &HttpTarget,
    request: &BidRequest,
    token_key: &[u8; 32],
) -> Option<(Origin, Message)> {
    let caller = Caller::disclosed(request, Some(token_key));
    let caller_text = caller.as_ref().map(Caller::text).unwrap_or_default();
    let value = |placeholder: Placeholder<'_>| placeholder.value(request, &caller_text);
    let url = template::render(&target.url, Escaping::Url, value);
    let body = match target.body.as_deref() {
        None => own_body(request, caller),
        Some(body) => template::render(body, Escaping::Json, value),
    };
    let headers = bidder_headers(&target.headers)?;
    let method = if body.is_empty() { Method::GET } else { Method::POST };
    message(method, &url, headers, body)
}

fn own_body(request: &BidRequest, caller: Option<Caller>) -> String {
    let own = OwnRequest::with_caller(request, caller);
    serde_json::to_string(&own).expect("texts and numbers are JSON")
}

/// The headers of a bid profile.
pub(super) fn bidder_headers(texts: &BTreeMap<String, String>) -> Option<HeaderMap> {
    let header = |(name, value): (&String, &String)| {
        Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
    };
    texts.iter().map(header).collect()
}

/// A request with the exchange's own headers where the bidder's do not have them.
pub(crate) fn message(
    method: Method,
    url: &str,
    mut headers: HeaderMap,
    body: String,
) -> Option<(Origin, Message)> {
    if url.len() > URL_BYTES_MAX || body.len() > BODY_BYTES_MAX {
        return None;
    }
    let uri: Uri = url.parse().ok()?;
    let origin = origin(&uri)?;
    let json = HeaderValue::from_static("application/json");
    if method == Method::POST {
        headers.entry(CONTENT_TYPE).or_insert_with(|| json.clone());
    }
    headers.entry(ACCEPT).or_insert(json);
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("dce"));
    headers.insert(HOST, HeaderValue::from_str(uri.authority()?.as_str()).ok()?);
    let path = uri.query().map_or_else(|| uri.path().to_owned(), |query| format!("{}?{query}", uri.path()));
    let mut message = Message::new(Full::new(Bytes::from(body)));
    *message.method_mut() = method;
    *message.uri_mut() = path.parse().ok()?;
    *message.headers_mut() = headers;
    Some((origin, message))
}

fn origin(uri: &Uri) -> Option<Origin> {
    let https = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let has_credentials = uri.authority()?.as_str().contains('@');
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    (!host.is_empty() && !has_credentials).then_some(Origin { https, host, port })
}
