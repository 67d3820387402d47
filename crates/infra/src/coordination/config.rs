//! `[coordination]` of the configuration, and Redis's address.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;

/// How nodes agree with one another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoordinationConfig {
    /// Where what they share is.
    pub kind: CoordinationKind,
    /// Where Redis is, if it is Redis.
    pub url: Option<RedisUrl>,
    /// The certificates of those who may vouch for a `rediss://` server, a PEM file; absent are those everybody knows.
    pub ca_file: Option<PathBuf>,
    /// What keys and channels in Redis begin with: exchanges that share one server take different ones.
    pub key_prefix: String,
    /// How long Redis has to answer, in milliseconds. One that does not is asked again only when it answers a ping.
    pub timeout_ms: u64,
    /// What is done without Redis.
    pub when_lost: WhenLost,
    /// How many nodes there are: without Redis each lets through its share.
    pub nodes: u32,
}

impl Default for CoordinationConfig {
    fn default() -> Self {
        Self {
            kind: CoordinationKind::Memory,
            url: None,
            ca_file: None,
            key_prefix: "dce".to_owned(),
            timeout_ms: 50,
            when_lost: WhenLost::Degrade,
            nodes: 1,
        }
    }
}

/// Where what nodes share is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoordinationKind {
    /// In this process, which is the only one.
    #[default]
    Memory,
    /// On a Redis or Valkey server, 7 or newer.
    Redis,
}

/// What a node does while Redis is away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenLost {
    /// Goes on with limits of its own: its share of the whole.
    #[default]
    Degrade,
    /// Refuses, and says that it is not ready.
    Refuse,
}

/// Where a Redis server is: `redis://user:password@host:6379/0`, `rediss://` under TLS, or `unix:///run/redis.sock`. Shown without its password.
#[derive(Clone)]
pub struct RedisUrl {
    text: String,
    info: ConnectionInfo,
}

/// Why a text is not the address of a Redis server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not the address of a Redis server: {0}; write redis://user:password@host:6379/0")]
pub struct BadRedisUrl(&'static str);

impl RedisUrl {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, BadRedisUrl> {
        // The library's own words may repeat the text, and so the password.
        let info =
            text.into_connection_info().map_err(|_| BadRedisUrl("the scheme, host or database is wrong"))?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(BadRedisUrl(
                "#insecure protects from nobody, leave it out and set coordination.ca_file",
            ));
        }
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self { text: text.to_owned(), info: info.set_redis_settings(redis) })
    }

    /// Whether it is spoken to under TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// What the driver needs.
    pub(super) fn info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RedisUrl {}

impl fmt::Display for RedisUrl {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info.addr() {
            ConnectionAddr::Unix(path) => write!(f, "unix://{}", path.display()),
            address => {
                let scheme = if self.is_tls() { "rediss" } else { "redis" };
                write!(f, "{scheme}://{address}/{}", self.info.redis_settings().db())
            }
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

impl Serialize for RedisUrl {
    /// As it is shown: whoever prints a configuration prints no password.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (text, expected) in [
            ("redis://dce:secret@cache.example:6380/2", "redis://cache.example:6380/2"),
            ("redis://:secret@cache.example", "redis://cache.example:6379/0"),
            ("rediss://dce:secret@cache.example/1", "rediss://cache.example:6379/1"),
            ("unix:///run/redis.sock?pass=secret", "unix:///run/redis.sock"),
        ] {
            let url = RedisUrl::parse(text).expect(text);
            assert_eq!(url.to_string(), expected);
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_says_why_without_its_password() {
        for (text, expected) in [
            ("http://dce:secret@cache.example", "the scheme, host or database"),
            ("redis://dce:secret@cache.example/x", "the scheme, host or database"),
            ("rediss://dce:secret@cache.example/#insecure", "protects from nobody"),
            ("secret", "the scheme, host or database"),
        ] {
            let error = RedisUrl::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
