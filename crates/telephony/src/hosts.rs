//! Addresses of the hosts that destinations name. Looking them up is the server's work; here they are remembered.

use exchange::time::Timestamp;
use std::collections::HashMap;
use std::net::IpAddr;

/// The most names remembered; the one that expires first makes room.
const NAMES_MAX: usize = 4_096;
/// The most addresses of one name: each is a trunk to be tried.
const ADDRESSES_MAX: usize = 4;
/// How long an answer is good. The system's resolver does not tell the record's own time to live.
const GOOD_FOR_MS: u64 = 60_000;
/// How long to wait before asking again for a name without an answer.
const RETRY_AFTER_MS: u64 = 5_000;

/// What is known of host names.
#[derive(Debug, Default)]
pub struct Hosts {
    names: HashMap<String, Host>,
}

#[derive(Debug)]
struct Host {
    addresses: Vec<IpAddr>,
    good_until: Timestamp,
}

impl Hosts {
    /// Whether a name was looked up lately.
    pub fn is_fresh(&self, name: &str, now: Timestamp) -> bool {
        self.names.get(&name.to_ascii_lowercase()).is_some_and(|host| host.good_until > now)
    }

    /// Its addresses, as last known.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.names.get(&name.to_ascii_lowercase()).map_or(&[], |host| &host.addresses)
    }

    /// Takes in what a look-up found. When it found nothing, what was known before still serves.
    pub fn learn(&mut self, name: &str, mut addresses: Vec<IpAddr>, now: Timestamp) {
        addresses.truncate(ADDRESSES_MAX);
        let good_for_ms = if addresses.is_empty() { RETRY_AFTER_MS } else { GOOD_FOR_MS };
        let name = name.to_ascii_lowercase();
        if !self.names.contains_key(&name) && self.names.len() >= NAMES_MAX {
            let first = self.names.iter().map(|(name, host)| (host.good_until, name.clone())).min();
            if let Some((_, first)) = first {
                self.names.remove(&first);
            }
        }
        let host = self.names.entry(name).or_insert(Host { addresses: Vec::new(), good_until: now });
        host.good_until = now.plus_ms(good_for_ms);
        if !addresses.is_empty() {
            host.addresses = addresses;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_good_for_a_while_and_serve_longer() {
        let at = |s: u64| Timestamp(0).plus_ms(s * 1_000);
        let ip: IpAddr = [192, 0, 2, 1].into();
        let mut hosts = Hosts::default();
        assert!(!hosts.is_fresh("sbc.example", at(0)));
        hosts.learn("SBC.example", vec![ip; 9], at(0));
        assert_eq!(hosts.addresses("sbc.EXAMPLE").len(), ADDRESSES_MAX);
        assert!(hosts.is_fresh("sbc.example", at(59)) && !hosts.is_fresh("sbc.example", at(60)));
        hosts.learn("sbc.example", vec![], at(60));
        assert_eq!(hosts.addresses("sbc.example")[0], ip, "better an old address than none");
        assert!(hosts.is_fresh("sbc.example", at(64)) && !hosts.is_fresh("sbc.example", at(65)));
    }

    #[test]
    fn names_are_bounded() {
        let mut hosts = Hosts::default();
        for number in 0..=NAMES_MAX {
            let now = Timestamp(i64::try_from(number).unwrap());
            hosts.learn(&format!("h{number}"), vec![[192, 0, 2, 1].into()], now);
        }
        assert_eq!(hosts.names.len(), NAMES_MAX);
        assert!(hosts.addresses("h0").is_empty());
    }
}
