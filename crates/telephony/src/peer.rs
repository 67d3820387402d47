//! Who is at the other end of a packet, and which of our own addresses we show to them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// How a packet travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams: may be lost, doubled or reordered; the transaction layer repeats itself.
    Udp,
    /// A stream: the kernel repeats, so the transaction layer does not.
    Tcp,
}

impl Transport {
    /// As a `Via` names it: `UDP`.
    pub fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    /// Whether the transport itself repeats what is lost (RFC 3261 section 17 then drops its own timers).
    pub fn is_reliable(self) -> bool {
        matches!(self, Self::Tcp)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

/// A transport address: for TCP it names one connection by its far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// How to reach it.
    pub transport: Transport,
    /// Where it is.
    pub address: SocketAddr,
}

impl Peer {
    /// A peer over UDP.
    pub fn udp(address: SocketAddr) -> Self {
        Self { transport: Transport::Udp, address }
    }

    /// A peer over TCP.
    pub fn tcp(address: SocketAddr) -> Self {
        Self { transport: Transport::Tcp, address }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.transport, self.address)
    }
}

/// The addresses we give in `Via` and `Contact`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAddresses(Vec<Peer>);

impl LocalAddresses {
    /// The first is the one used when no other fits; `None` when the list is empty.
    pub fn new(addresses: Vec<Peer>) -> Option<Self> {
        (!addresses.is_empty()).then_some(Self(addresses))
    }

    /// The address to show to `peer`: same transport and same IP family if there is one, else same transport, else
    /// the first.
    pub fn facing(&self, peer: Peer) -> SocketAddr {
        let same_transport = || self.0.iter().filter(|own| own.transport == peer.transport);
        same_transport()
            .find(|own| own.address.is_ipv4() == peer.address.is_ipv4())
            .or_else(|| same_transport().next())
            .unwrap_or(&self.0[0])
            .address
    }

    /// Whether this host and port are ours.
    pub fn contains(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|own| own.address == address)
    }
}
