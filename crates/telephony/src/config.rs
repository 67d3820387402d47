//! What an operator sets for SIP, and its defaults.

use crate::peer::{LocalAddresses, Peer, Transport};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Settings of the SIP side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SipConfig {
    /// Where to listen, such as `udp://0.0.0.0:5060` and `tcp://[::]:5060`. Default `udp://127.0.0.1:5060`.
    pub listen: Vec<ListenAddress>,
    /// The IP address peers know us by, when it is not the one we listen on: behind NAT, or listening on `0.0.0.0`.
    pub advertised_ip: Option<IpAddr>,
    /// Carriers whose calls are taken. Calls from anywhere else are answered 403. Default none.
    pub trunks: Vec<CarrierTrunk>,
    /// What a caller gets when no bid wants the call: 480 (default) or 503.
    pub no_bidder_status: u16,
    /// `Retry-After` of a 503, in seconds. Default 5.
    pub retry_after_s: u32,
    /// Session interval we offer (RFC 4028), in seconds. Default 1800.
    pub session_expires_s: u32,
    /// The shortest session interval a peer may ask for, in seconds. Default 90, the least RFC 4028 allows.
    pub min_session_expires_s: u32,
    /// RFC 3261's T1, in milliseconds. Default 500.
    pub t1_ms: u64,
    /// How long a buyer's trunk may stay silent after an INVITE before the next one is tried, in milliseconds. Default
    /// 4000.
    pub trunk_timeout_ms: u64,
    /// The most calls at once. Default 10000.
    pub max_live_calls: usize,
    /// The most calls not yet answered at once. Default 2000.
    pub max_calls_in_setup: usize,
    /// How often the trunks of buyers are asked whether they live, in milliseconds. Default 30000.
    pub options_interval_ms: u64,
    /// Unanswered OPTIONS in a row before a trunk counts as down. Default 2.
    pub options_misses_max: u32,
    /// The most trunks of buyers whose health is watched; the least recently used is forgotten. Default 4096.
    pub max_watched_trunks: usize,
    /// The most TCP connections at once. Default 1024.
    pub max_tcp_connections: usize,
    /// A TCP connection without traffic is closed after this, in seconds. Default 1200.
    pub tcp_idle_timeout_s: u64,
    /// A message must arrive whole within this from its first byte, in milliseconds. Default 10000.
    pub tcp_message_timeout_ms: u64,
}

impl Default for SipConfig {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress(Peer::udp(SocketAddr::from(([127, 0, 0, 1], 5060))))],
            advertised_ip: None,
            trunks: Vec::new(),
            no_bidder_status: 480,
            retry_after_s: 5,
            session_expires_s: 1_800,
            min_session_expires_s: 90,
            t1_ms: 500,
            trunk_timeout_ms: 4_000,
            max_live_calls: 10_000,
            max_calls_in_setup: 2_000,
            options_interval_ms: 30_000,
            options_misses_max: 2,
            max_watched_trunks: 4_096,
            max_tcp_connections: 1_024,
            tcp_idle_timeout_s: 1_200,
            tcp_message_timeout_ms: 10_000,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SipConfigError {
    /// Nowhere to listen.
    #[error("listen is empty; name at least one address such as \"udp://127.0.0.1:5060\"")]
    NothingToListenOn,
    /// Peers cannot answer to 0.0.0.0.
    #[error("listen has {0}, which peers cannot send to; set advertised_ip to the address they know us by")]
    AdvertisedIpMissing(SocketAddr),
    /// Only two answers make sense.
    #[error("no_bidder_status is {0}; use 480 or 503")]
    NoBidderStatus(u16),
    /// Listening twice on one address fails when it is tried.
    #[error("listen has {0} twice; name it once")]
    ListenTwice(Peer),
    /// A session shorter than the shortest that peers may ask for.
    #[error(
        "session_expires_s is {session_expires_s}, below min_session_expires_s, which is {min_session_expires_s} \
         (RFC 4028 allows none below 90); give at least that"
    )]
    SessionTooShort {
        /// What is offered, in seconds.
        session_expires_s: u32,
        /// The shortest, in seconds.
        min_session_expires_s: u32,
    },
    /// A value that must not be 0.
    #[error("{0} is 0; it must be at least 1")]
    Zero(&'static str),
    /// Two trunks of one name cannot be told apart in reports.
    #[error("two trunks are named '{0}'; give each its own name")]
    TrunkNameTwice(String),
    /// A trunk nobody can use.
    #[error("trunk '{0}' has no sources; list the addresses its calls come from")]
    TrunkWithoutSources(String),
}

impl SipConfig {
    /// Whether the settings make sense together: the first of [`SipConfig::problems`].
    pub fn check(&self) -> Result<(), SipConfigError> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// Everything that cannot work.
    pub fn problems(&self) -> Vec<SipConfigError> {
        let mut problems: Vec<SipConfigError> = self.local_addresses().err().into_iter().collect();
        for (index, ListenAddress(own)) in self.listen.iter().enumerate() {
            // Port 0 is another one each time.
            if own.address.port() != 0 && self.listen[..index].contains(&ListenAddress(*own)) {
                problems.push(SipConfigError::ListenTwice(*own));
            }
        }
        if ![480, 503].contains(&self.no_bidder_status) {
            problems.push(SipConfigError::NoBidderStatus(self.no_bidder_status));
        }
        let not_zero = [
            ("session_expires_s", u64::from(self.session_expires_s)),
            ("min_session_expires_s", u64::from(self.min_session_expires_s)),
            ("t1_ms", self.t1_ms),
            ("trunk_timeout_ms", self.trunk_timeout_ms),
            ("max_live_calls", u64::try_from(self.max_live_calls).unwrap_or(u64::MAX)),
            ("max_calls_in_setup", u64::try_from(self.max_calls_in_setup).unwrap_or(u64::MAX)),
            ("options_interval_ms", self.options_interval_ms),
            ("options_misses_max", u64::from(self.options_misses_max)),
            ("tcp_idle_timeout_s", self.tcp_idle_timeout_s),
            ("tcp_message_timeout_ms", self.tcp_message_timeout_ms),
        ];
        let zeros = not_zero.iter().filter(|(_, value)| *value == 0);
        problems.extend(zeros.map(|(name, _)| SipConfigError::Zero(name)));
        let Self { session_expires_s, min_session_expires_s, .. } = *self;
        if session_expires_s != 0 && session_expires_s < min_session_expires_s {
            problems.push(SipConfigError::SessionTooShort { session_expires_s, min_session_expires_s });
        }
        for (index, trunk) in self.trunks.iter().enumerate() {
            if trunk.sources.is_empty() {
                problems.push(SipConfigError::TrunkWithoutSources(trunk.name.clone()));
            }
            if self.trunks[..index].iter().any(|other| other.name == trunk.name) {
                problems.push(SipConfigError::TrunkNameTwice(trunk.name.clone()));
            }
        }
        problems
    }

    /// The addresses to show to peers.
    pub fn local_addresses(&self) -> Result<LocalAddresses, SipConfigError> {
        let mut local = Vec::with_capacity(self.listen.len());
        for ListenAddress(mut own) in self.listen.iter().copied() {
            if let Some(ip) = self.advertised_ip {
                own.address.set_ip(ip);
            }
            if own.address.ip().is_unspecified() {
                return Err(SipConfigError::AdvertisedIpMissing(own.address));
            }
            local.push(own);
        }
        LocalAddresses::new(local).ok_or(SipConfigError::NothingToListenOn)
    }

    /// The trunk that sends from this address.
    pub fn trunk_of(&self, source: Peer) -> Option<&CarrierTrunk> {
        self.trunks.iter().find(|trunk| trunk.sources.iter().any(|allowed| allowed.matches(source)))
    }
}

/// A carrier, recognised by where its packets come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarrierTrunk {
    /// Its name in calls and reports.
    pub name: String,
    /// Where its calls come from: `203.0.113.7`, `203.0.113.0/24`, `203.0.113.7:5060`, `2001:db8::/32`.
    pub sources: Vec<Source>,
}

/// An address to listen on: `udp://127.0.0.1:5060` or `tcp://[::1]:5060`. Port 0 takes any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddress(pub Peer);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("'{text}' is no address to listen on; write udp://127.0.0.1:5060 or tcp://[::1]:5060");
        let (transport, address) = text.split_once("://").ok_or_else(error)?;
        let transport = match transport {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            _ => return Err(error()),
        };
        Ok(Self(Peer { transport, address: address.parse().map_err(|_| error())? }))
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.0.to_string()
    }
}

/// A range of source addresses, with a port or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source {
    network: IpAddr,
    prefix_bits: u8,
    port: Option<u16>,
}

impl Source {
    /// Whether a packet from `peer` is from this source. The port counts for UDP only: TCP connections come from any.
    pub fn matches(&self, peer: Peer) -> bool {
        let ip = peer.address.ip().to_canonical();
        let same_network = match (self.network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                same_prefix(u128::from(network.to_bits()), u128::from(ip.to_bits()), 32, self.prefix_bits)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                same_prefix(network.to_bits(), ip.to_bits(), 128, self.prefix_bits)
            }
            _ => false,
        };
        let same_port =
            peer.transport == Transport::Tcp || self.port.is_none_or(|port| port == peer.address.port());
        same_network && same_port
    }
}

fn same_prefix(a: u128, b: u128, width_bits: u32, prefix_bits: u8) -> bool {
    (a ^ b).checked_shr(width_bits.saturating_sub(u32::from(prefix_bits))).unwrap_or(0) == 0
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            format!(
                "'{text}' is no source address; write 203.0.113.7, 203.0.113.0/24, 203.0.113.7:5060 or 2001:db8::/32"
            )
        };
        let width_bits = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
        if let Ok(address) = text.parse::<SocketAddr>() {
            let network = address.ip();
            return Ok(Self { network, prefix_bits: width_bits(network), port: Some(address.port()) });
        }
        let (network, prefix) =
            text.split_once('/').map_or((text, None), |(network, prefix)| (network, Some(prefix)));
        let network: IpAddr = network.parse().map_err(|_| error())?;
        let prefix_bits = match prefix {
            Some(prefix) => {
                prefix.parse().ok().filter(|bits| *bits <= width_bits(network)).ok_or_else(error)?
            }
            None => width_bits(network),
        };
        Ok(Self { network, prefix_bits, port: None })
    }
}

impl TryFrom<String> for Source {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.network, port).fmt(f),
            None => write!(f, "{}/{}", self.network, self.prefix_bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_match_by_prefix_and_port() {
        let cases = [
            ("203.0.113.7", "203.0.113.7:9", true),
            ("203.0.113.7", "203.0.113.8:9", false),
            ("203.0.113.7", "[::ffff:203.0.113.7]:9", true),
            ("203.0.113.0/24", "203.0.113.255:9", true),
            ("203.0.113.0/24", "203.0.114.0:9", false),
            ("0.0.0.0/0", "8.8.8.8:9", true),
            ("0.0.0.0/0", "[::1]:9", false),
            ("::/0", "[2001:db8::1]:9", true),
            ("203.0.113.7:5060", "203.0.113.7:5060", true),
            ("203.0.113.7:5060", "203.0.113.7:5061", false),
            ("2001:db8::/32", "[2001:db8:1::1]:9", true),
            ("2001:db8::/32", "[2001:db9::1]:9", false),
        ];
        for (source, address, expected) in cases {
            let source: Source = source.parse().unwrap();
            assert_eq!(source.matches(Peer::udp(address.parse().unwrap())), expected, "{source} {address}");
        }
        for text in ["", "host", "203.0.113.0/33", "203.0.113.0/-1", "203.0.113.7:port", "::/129"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let with = |change: fn(&mut SipConfig)| {
            let mut config = SipConfig::default();
            change(&mut config);
            config.check()
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|c| c.listen.clear()), Err(SipConfigError::NothingToListenOn));
        assert_eq!(with(|c| c.no_bidder_status = 404), Err(SipConfigError::NoBidderStatus(404)));
        assert_eq!(with(|c| c.t1_ms = 0), Err(SipConfigError::Zero("t1_ms")));
        assert_eq!(with(|c| c.max_live_calls = 0), Err(SipConfigError::Zero("max_live_calls")));
        let twice = |c: &mut SipConfig| c.listen.push(c.listen[0]);
        assert!(matches!(with(twice), Err(SipConfigError::ListenTwice(_))));
        assert_eq!(with(|c| c.listen = vec!["udp://127.0.0.1:0".parse().unwrap(); 2]), Ok(()));
        let too_short =
            Err(SipConfigError::SessionTooShort { session_expires_s: 89, min_session_expires_s: 90 });
        assert_eq!(with(|c| c.session_expires_s = 89), too_short);
        assert!(with(|c| c.min_session_expires_s = 1_801).is_err());
        let anywhere = |c: &mut SipConfig| c.listen = vec!["udp://0.0.0.0:5060".parse().unwrap()];
        assert!(matches!(with(anywhere), Err(SipConfigError::AdvertisedIpMissing(_))));
        let trunk = || CarrierTrunk { name: "a".into(), sources: vec!["::1".parse().unwrap()] };
        let mut twice = SipConfig { trunks: vec![trunk(), trunk()], ..SipConfig::default() };
        assert_eq!(twice.check(), Err(SipConfigError::TrunkNameTwice("a".into())));
        twice.trunks = vec![CarrierTrunk { sources: vec![], ..trunk() }];
        assert_eq!(twice.check(), Err(SipConfigError::TrunkWithoutSources("a".into())));
    }
}
