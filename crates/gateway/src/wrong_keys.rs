//! Wrong API keys and wrong endpoints' secrets, against the taking over of accounts: they are counted for the address they come from,
//! over a minute, an hour and a day, on all nodes together. An address with too many is shut out for a while: it is told to wait
//! before its key is even looked up, right or wrong. A right key changes no count.
//!
//! One attacker has an IPv4 address, or a /64 of IPv6, at least. Behind a proxy that is not named in `http.trusted_proxies` all clients
//! have one address.

use crate::config::HttpConfig;
use crate::problem::{Kind, Problem};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName};
use infra::coordination::{Coordination, CoordinationError, Velocity, VelocityCounter, VelocityLimits};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The addresses a request came through, the latest last.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Counts wrong keys.
#[derive(Debug)]
pub(crate) struct WrongKeys {
    counter: VelocityCounter,
    trusted_proxies: Vec<IpAddr>,
    /// Whether the log says that there seems to be a proxy nobody named.
    has_told_of_proxy: AtomicBool,
}

/// Where a request comes from, as wrong keys are counted; nothing where that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client(Option<IpAddr>);

impl WrongKeys {
    pub(crate) fn new(config: &HttpConfig, coordination: &Coordination) -> Self {
        let limits = VelocityLimits {
            per_minute: config.wrong_keys_per_minute,
            per_hour: config.wrong_keys_per_hour,
            per_day: config.wrong_keys_per_day,
        };
        Self {
            counter: VelocityCounter::new(coordination, "wrong_key", limits),
            trusted_proxies: config.trusted_proxies.iter().map(IpAddr::to_canonical).collect(),
            has_told_of_proxy: AtomicBool::new(false),
        }
    }

    /// Who sent a request: its peer, or whom the trusted proxies in between name.
    pub(crate) fn client(&self, request: &Request) -> Client {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let Some(peer) = peer.map(|ConnectInfo(peer)| peer.ip().to_canonical()) else { return Client(None) };
        if self.trusted_proxies.contains(&peer) {
            return Client(forwarded_for(request.headers(), &self.trusted_proxies).map(network));
        }
        if request.headers().contains_key(FORWARDED_FOR)
            && !self.has_told_of_proxy.swap(true, Ordering::Relaxed)
        {
            let says = "a request with X-Forwarded-For comes from an address that http.trusted_proxies does not name: \
                        if that is your proxy, name it, or wrong keys of one client shut out all; said once";
            tracing::warn!(address = %peer, "{says}");
        }
        Client(Some(network(peer)))
    }

    /// For how much longer a client is shut out.
    pub(crate) fn shut_out_for(&self, client: Client) -> Option<Duration> {
        let left = self.counter.shut_for(&client.0?)?;
        metrics::counter!("dce_shut_out_requests_total").increment(1);
        Some(left)
    }

    /// Counts a wrong key; how long its client must wait if there was no room to count it.
    pub(crate) async fn count(&self, client: Client) -> Result<Option<Duration>, CoordinationError> {
        metrics::counter!("dce_wrong_keys_total").increment(1);
        let Some(address) = client.0 else { return Ok(None) };
        match self.counter.count(&address).await? {
            Velocity::Within => Ok(None),
            Velocity::Uncounted { for_ } => Ok(Some(for_)),
            Velocity::ShutOut { for_ } => {
                metrics::counter!("dce_addresses_shut_out_total").increment(1);
                tracing::warn!(%address, for_s = for_.as_secs(), "too many wrong API keys: the address is shut out");
                Ok(None)
            }
        }
    }
}

/// What a client is told that must wait.
pub(crate) fn too_many(wait: Duration) -> Problem {
    let detail = "too many wrong API keys from this address; wait for as long as Retry-After says";
    Problem::new(Kind::RateLimited, detail).with_retry_after(wait)
}

/// The latest address that is no trusted proxy's. What is left of it anybody may have written.
fn forwarded_for(headers: &HeaderMap, trusted: &[IpAddr]) -> Option<IpAddr> {
    let lines = headers.get_all(FORWARDED_FOR).into_iter().map(|line| line.to_str().unwrap_or_default());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    for hop in hops.into_iter().rev() {
        let address = hop.parse().ok().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
        let address = address.map(|address: IpAddr| address.to_canonical())?;
        if !trusted.contains(&address) {
            return Some(address);
        }
    }
    None
}

/// What one attacker has at least: an IPv4 address, or a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn clients_count_by_network_and_only_trusted_proxies_are_believed() {
        let config = HttpConfig {
            trusted_proxies: vec![
                "192.0.2.80".parse().expect("an address"),
                "::1".parse().expect("an address"),
            ],
            ..HttpConfig::default()
        };
        let wrong_keys = WrongKeys::new(&config, &Coordination::in_memory());
        let cases: [(&str, &[&str], Option<&str>); 10] = [
            ("192.0.2.7:1", &[], Some("192.0.2.7")),
            ("[::ffff:192.0.2.7]:1", &[], Some("192.0.2.7")),
            ("[2001:db8:1:2:3:4:5:6]:1", &[], Some("2001:db8:1:2::")),
            ("192.0.2.7:1", &["198.51.100.1"], Some("192.0.2.7")),
            ("192.0.2.80:1", &["198.51.100.1"], Some("198.51.100.1")),
            ("[::ffff:192.0.2.80]:1", &["198.51.100.1:4711"], Some("198.51.100.1")),
            ("[::1]:1", &["203.0.113.9, 198.51.100.1", "192.0.2.80"], Some("198.51.100.1")),
            ("[::1]:1", &["2001:db8::1:2:3:4"], Some("2001:db8::")),
            ("192.0.2.80:1", &["203.0.113.9, unknown"], None),
            ("192.0.2.80:1", &[], None),
        ];
        for (peer, forwarded, expected) in cases {
            let peer: SocketAddr = peer.parse().expect("an address");
            let request = Request::get("/").extension(ConnectInfo(peer));
            let request =
                forwarded.iter().fold(request, |request, line| request.header(FORWARDED_FOR, *line));
            let client = wrong_keys.client(&request.body(Body::empty()).expect("a request"));
            assert_eq!(
                client.0.map(|address| address.to_string()).as_deref(),
                expected,
                "{peer} {forwarded:?}"
            );
        }
    }
}
