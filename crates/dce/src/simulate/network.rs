//! The simulated network: packets are lost, doubled, delayed and overtaken.

use exchange::time::Timestamp;
use fastrand::Rng;

/// How bad the network is, drawn anew for every seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network {
    loss_percent: u32,
    doubled_percent: u32,
    delay_us_max: u64,
}

impl Network {
    /// Mostly good, sometimes terrible.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        Self {
            loss_percent: [0, 0, 1, 5, 20, 40][rng.usize(..6)],
            doubled_percent: [0, 1, 10, 30][rng.usize(..4)],
            delay_us_max: [100, 5_000, 80_000, 700_000][rng.usize(..4)],
        }
    }

    /// When a packet sent now arrives: never, once, or twice.
    pub(super) fn arrivals(&self, now: Timestamp, rng: &mut Rng) -> impl Iterator<Item = Timestamp> {
        let copies = if rng.u32(..100) < self.loss_percent {
            0
        } else {
            1 + usize::from(rng.u32(..100) < self.doubled_percent)
        };
        let mut delays_us = [0; 2];
        for delay_us in &mut delays_us {
            *delay_us = rng.u64(20..=self.delay_us_max);
        }
        delays_us
            .into_iter()
            .take(copies)
            .map(move |delay_us| now + std::time::Duration::from_micros(delay_us))
    }
}
