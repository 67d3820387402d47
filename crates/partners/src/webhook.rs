//! Webhooks: an event is sent to somebody's URL, signed, within a bounded time, and what became of it is told.
//!
//! The headers and the signature are those of Standard Webhooks (<https://www.standardwebhooks.com>): `webhook-id` is the event's own id,
//! so that a receiver can drop what it has seen; `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 (RFC 2104) over id,
//! timestamp and body. Redirects are not followed.
//!
//! Absent on purpose: trying again. Whoever sends decides that.

use crate::rtb::RtbConfig;
use crate::rtb::connect::Connector;
use crate::rtb::pool::Pool;
use crate::rtb::request::message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// What a secret begins with; the rest is its base64.
const SECRET_PREFIX: &str = "whsec_";
/// The least and the most bytes of a secret, as Standard Webhooks has them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How long an address is used before its name is looked up again.
const LOOKUP_LIFETIME: Duration = Duration::from_secs(30);

/// Who is told what, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Its name, which its place among the events is kept under.
    pub name: String,
    /// Where events are sent, by POST.
    pub url: String,
    /// Types of events it is told of, such as `call.converted`, or `call.*`; empty is all of them.
    #[serde(default)]
    pub types: Vec<String>,
    /// What it is signed with.
    pub secret: Secret,
    /// How long one try may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// After so many tries an event is put aside.
    #[serde(default = "default_tries_max")]
    pub tries_max: u32,
}

fn default_timeout_ms() -> u64 {
    5_000
}

fn default_tries_max() -> u32 {
    20
}

impl WebhookConfig {
    /// What cannot work of it: the key, and what is wrong with the fix.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let is_legal = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if !(1..=60).contains(&self.name.len()) || !self.name.chars().all(is_legal) {
            let problem = format!("'{}' is no name; use lower-case letters, digits and '-'", self.name);
            problems.push(("name", problem));
        }
        if message(Method::POST, &self.url, HeaderMap::new(), String::new()).is_none() {
            problems.push(("url", "is no URL; write it as https://example.com/hooks".to_owned()));
        }
        if self.secret.key().is_none() {
            let problem = "is none; give whsec_ and the base64 of 24 to 64 random bytes, such as from: \
                           echo whsec_$(openssl rand -base64 32)";
            problems.push(("secret", problem.to_owned()));
        }
        if !(100..=30_000).contains(&self.timeout_ms) {
            problems.push(("timeout_ms", format!("is {}; give 100 to 30000", self.timeout_ms)));
        }
        if !(1..=1_000).contains(&self.tries_max) {
            problems.push(("tries_max", format!("is {}; give 1 to 1000", self.tries_max)));
        }
        problems
    }

    /// Whether it is told of events of this type.
    pub fn wants(&self, kind: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|wanted| fits(wanted, kind))
    }
}

/// Whether a type of events is one of those that are asked for: itself, or all that begin like it.
pub fn fits(wanted: &str, kind: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => prefix.ends_with('.') && kind.starts_with(prefix),
        None => wanted == kind,
    }
}

/// What signatures are made with. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes it as it is written in a configuration.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn key(&self) -> Option<Vec<u8>> {
        let key = STANDARD.decode(self.0.strip_prefix(SECRET_PREFIX)?).ok()?;
        SECRET_BYTES.contains(&key.len()).then_some(key)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    /// As it is shown: whoever prints a configuration prints no secret.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

/// Why an event was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The receiver will not have it: its answer is about this request, and would be the same again.
    #[error("answered {status}; the receiver refuses it")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// The receiver could not take it now.
    #[error("answered {status}; it is tried again")]
    NotNow {
        /// The HTTP status.
        status: u16,
    },
    /// There was no answer.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// It is larger than anything that is sent.
    #[error("the event is larger than 64 KiB")]
    TooLarge,
}

impl WebhookError {
    /// Whether trying again is of no use.
    pub fn is_for_good(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::TooLarge)
    }
}

/// One webhook, with its connections.
pub struct Webhook {
    config: WebhookConfig,
    key: Vec<u8>,
    connector: Arc<Connector>,
    pool: Option<Arc<Pool>>,
}

impl Webhook {
    /// A webhook whose configuration has no [problems](WebhookConfig::problems). `extra_roots_der` are trusted beside the public roots.
    pub fn new(config: WebhookConfig, extra_roots_der: Vec<Vec<u8>>) -> Self {
        // Operators write these URLs, and may mean their own network.
        let http = RtbConfig {
            allow_private_addresses: true,
            connections_max: 2,
            connect_timeout_ms: config.timeout_ms,
            extra_roots_der,
            ..RtbConfig::default()
        };
        let key = config.secret.key().unwrap_or_default();
        Self { config, key, connector: Arc::new(Connector::new(&http)), pool: None }
    }

    /// Its configuration.
    pub fn config(&self) -> &WebhookConfig {
        &self.config
    }

    /// Sends an event, at this second since 1970. An answer of 2xx is a receipt.
    pub async fn send(&mut self, id: Uuid, at_s: i64, event: String) -> Result<(), WebhookError> {
        let headers = self.headers(&id.to_string(), at_s, &event);
        // The URL was looked at before: it is the event that can be too large.
        let (origin, message) =
            message(Method::POST, &self.config.url, headers, event).ok_or(WebhookError::TooLarge)?;
        let connector = &self.connector;
        let pool = self
            .pool
            .get_or_insert_with(|| Arc::new(Pool::new(origin, Arc::clone(connector), LOOKUP_LIFETIME)));
        let sent = timeout(Duration::from_millis(self.config.timeout_ms), pool.send(message)).await;
        let answer = match sent {
            Err(_) => {
                // Its connection may be stuck with it.
                self.pool = None;
                return Err(WebhookError::NoAnswer(format!("none within {} ms", self.config.timeout_ms)));
            }
            Ok(sent) => sent.map_err(|error| WebhookError::NoAnswer(error.to_string()))?,
        };
        let status = answer.status.as_u16();
        match status {
            200..=299 => Ok(()),
            // Too early, too many, and requests that took too long may go better.
            408 | 425 | 429 => Err(WebhookError::NotNow { status }),
            300..=499 => Err(WebhookError::Refused { status }),
            _ => Err(WebhookError::NotNow { status }),
        }
    }

    fn headers(&self, id: &str, at_s: i64, event: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let text = |text: &str| HeaderValue::from_str(text).expect("ids and signatures are plain letters");
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json; charset=UTF-8"));
        headers.insert("webhook-id", text(id));
        headers.insert("webhook-timestamp", HeaderValue::from(at_s));
        headers.insert("webhook-signature", text(&signature(&self.key, id, at_s, event)));
        headers
    }
}

/// `v1,` and the base64 of HMAC-SHA256 over id, timestamp and body.
fn signature(key: &[u8], id: &str, at_s: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC key may have any length");
    mac.update(format!("{id}.{at_s}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries' own tests.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn config() -> WebhookConfig {
        WebhookConfig {
            name: "crm".to_owned(),
            url: "https://crm.example/hooks".to_owned(),
            types: Vec::new(),
            secret: Secret::new(SECRET),
            timeout_ms: 1_000,
            tries_max: 3,
        }
    }

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let key = Secret::new(SECRET).key().expect("a secret");
        let (id, at_s, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature(&key, id, at_s, body), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_cannot_work_is_named_and_the_secret_is_not_shown() {
        assert_eq!(config().problems(), []);
        let keys =
            |config: WebhookConfig| config.problems().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        let wrong = WebhookConfig {
            name: "My CRM".to_owned(),
            url: "crm.example".to_owned(),
            secret: Secret::new("s3cret"),
            timeout_ms: 1,
            tries_max: 0,
            ..config()
        };
        assert!(!format!("{wrong:?}{}", serde_json::to_string(&wrong).expect("JSON")).contains("s3cret"));
        assert_eq!(keys(wrong), ["name", "url", "secret", "timeout_ms", "tries_max"]);
    }

    #[test]
    fn types_are_named_or_begin_alike() {
        let table = [
            ("call.converted", "call.converted", true),
            ("call.*", "call.converted", true),
            ("call.*", "callback.made", false),
            ("call.conv*", "call.converted", false),
            ("*", "call.converted", false),
        ];
        for (wanted, kind, expected) in table {
            assert_eq!(fits(wanted, kind), expected, "{wanted} {kind}");
        }
        assert!(config().wants("anything"), "no types are all types");
    }
}
