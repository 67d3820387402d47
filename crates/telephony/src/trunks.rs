//! The trunks of buyers: where destinations point to, and whether they live.

use crate::deadline::Deadlines;
use crate::peer::Peer;
use exchange::time::Timestamp;
use std::collections::HashMap;

/// Watches every trunk that was used lately by asking OPTIONS of it. Bounded: the least recently used is forgotten.
#[derive(Debug)]
pub struct TrunkWatch {
    trunks: HashMap<Peer, Trunk>,
    probes: Deadlines<Peer>,
    interval_ms: u64,
    misses_max: u32,
    trunks_max: usize,
}

#[derive(Debug)]
struct Trunk {
    used_at: Timestamp,
    misses: u32,
    is_down: bool,
    probe_at: Timestamp,
}

/// A trunk not used for this many probe intervals is forgotten.
const UNUSED_INTERVALS_MAX: u64 = 120;

impl TrunkWatch {
    /// Watches nothing yet.
    pub fn new(interval_ms: u64, misses_max: u32, trunks_max: usize) -> Self {
        Self { trunks: HashMap::new(), probes: Deadlines::default(), interval_ms, misses_max, trunks_max }
    }

    /// A call goes to this trunk; its health is watched from now on.
    pub fn used(&mut self, peer: Peer, now: Timestamp) {
        if let Some(trunk) = self.trunks.get_mut(&peer) {
            trunk.used_at = now;
            return;
        }
        if self.trunks.len() >= self.trunks_max {
            let oldest = self.trunks.iter().map(|(peer, trunk)| (trunk.used_at, *peer)).min();
            if let Some((_, oldest)) = oldest {
                self.trunks.remove(&oldest);
            }
        }
        let probe_at = now.plus_ms(self.interval_ms);
        self.trunks.insert(peer, Trunk { used_at: now, misses: 0, is_down: false, probe_at });
        self.probes.wake(probe_at, peer);
    }

    /// Whether calls should go there; a trunk never seen is taken to be up.
    pub fn is_up(&self, peer: Peer) -> bool {
        self.trunks.get(&peer).is_none_or(|trunk| !trunk.is_down)
    }

    /// It said something other than 503.
    pub fn answered(&mut self, peer: Peer) {
        if let Some(trunk) = self.trunks.get_mut(&peer) {
            (trunk.misses, trunk.is_down) = (0, false);
        }
    }

    /// It did not answer in time.
    pub fn missed(&mut self, peer: Peer) {
        if let Some(trunk) = self.trunks.get_mut(&peer) {
            trunk.misses = trunk.misses.saturating_add(1);
            trunk.is_down |= trunk.misses >= self.misses_max;
        }
    }

    /// It said 503, or cannot be connected to.
    pub fn refused(&mut self, peer: Peer) {
        if let Some(trunk) = self.trunks.get_mut(&peer) {
            trunk.is_down = true;
        }
    }

    /// The next trunk to send an OPTIONS to now.
    pub fn take_probe(&mut self, now: Timestamp) -> Option<Peer> {
        while let Some((at, peer)) = self.probes.pop_due(now) {
            let Some(trunk) = self.trunks.get_mut(&peer).filter(|trunk| trunk.probe_at == at) else {
                continue;
            };
            if now.ms_since(trunk.used_at) > UNUSED_INTERVALS_MAX * self.interval_ms {
                self.trunks.remove(&peer);
                continue;
            }
            trunk.probe_at = now.plus_ms(self.interval_ms);
            self.probes.wake(trunk.probe_at, peer);
            return Some(peer);
        }
        None
    }

    /// When the next probe is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.probes.next()
    }

    /// How many trunks are watched.
    pub fn len(&self) -> usize {
        self.trunks.len()
    }

    /// Whether none is watched.
    pub fn is_empty(&self) -> bool {
        self.trunks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(host: u8) -> Peer {
        Peer::udp(([192, 0, 2, host], 5060).into())
    }

    #[test]
    fn a_trunk_goes_down_after_misses_and_up_with_any_answer() {
        let mut watch = TrunkWatch::new(1_000, 2, 10);
        assert!(watch.is_up(peer(1)), "never seen");
        watch.used(peer(1), Timestamp(0));
        watch.missed(peer(1));
        assert!(watch.is_up(peer(1)));
        watch.missed(peer(1));
        assert!(!watch.is_up(peer(1)));
        watch.answered(peer(1));
        assert!(watch.is_up(peer(1)));
        watch.refused(peer(1));
        assert!(!watch.is_up(peer(1)), "a 503 is plain enough");
    }

    #[test]
    fn probes_come_once_an_interval_and_end_with_disuse() {
        let at = |s: u64| Timestamp(0).plus_ms(s * 1_000);
        let mut watch = TrunkWatch::new(1_000, 2, 10);
        watch.used(peer(1), at(0));
        assert_eq!(watch.take_probe(at(0)), None);
        for second in 1..=UNUSED_INTERVALS_MAX {
            assert_eq!((watch.take_probe(at(second)), watch.take_probe(at(second))), (Some(peer(1)), None));
        }
        assert_eq!(watch.take_probe(at(UNUSED_INTERVALS_MAX + 1)), None);
        assert!(watch.is_empty());
        assert_eq!(watch.next_deadline(), None);
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut watch = TrunkWatch::new(1_000, 1, 2);
        for host in 1..=3 {
            watch.used(peer(host), Timestamp(i64::from(host)));
            watch.refused(peer(host));
        }
        assert_eq!(watch.len(), 2);
        assert!(watch.is_up(peer(1)), "forgotten");
        assert!(!watch.is_up(peer(3)));
    }
}
