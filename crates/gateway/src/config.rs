//! `[http]` of the configuration.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The largest request body, in bytes. Not a setting: no request of this API comes near it.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// How the API is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Addresses to listen on, such as `127.0.0.1:8080`. TLS is a proxy's work.
    pub listen: Vec<String>,
    /// A request that takes longer is answered with 503, in milliseconds. A change it asked for may still come about.
    pub request_timeout_ms: u64,
    /// Requests worked on at the same time; more are answered with 503.
    pub requests_in_flight_max: usize,
    /// Connections open at the same time; more wait to be accepted.
    pub connections_max: usize,
    /// Requests each API key may send a minute, on average.
    pub requests_per_minute: u32,
    /// Requests each API key may send at once after a pause.
    pub requests_burst: u32,
    /// Wrong API keys that shut an address (IPv4, or a /64 of IPv6) out, with 429, until fewer are within the last minute.
    pub wrong_keys_per_minute: u32,
    /// The same within an hour.
    pub wrong_keys_per_hour: u32,
    /// The same within 24 hours.
    pub wrong_keys_per_day: u32,
    /// Proxies in front of this API: what they add to `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Where sellers can send calls over SIP, such as `sip.example.com` or `203.0.113.10:5060`: pings are answered with a SIP URI
    /// at this host. Absent, with the number alone.
    pub public_sip_host: Option<String>,
    /// Sessions of connected bidders at the same time, over all keys.
    pub live_bid_sessions_max: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:8080".to_owned()],
            request_timeout_ms: 10_000,
            requests_in_flight_max: 512,
            connections_max: 1_024,
            requests_per_minute: 6_000,
            requests_burst: 600,
            wrong_keys_per_minute: 30,
            wrong_keys_per_hour: 300,
            wrong_keys_per_day: 1_000,
            trusted_proxies: Vec::new(),
            public_sip_host: None,
            live_bid_sessions_max: 256,
        }
    }
}
