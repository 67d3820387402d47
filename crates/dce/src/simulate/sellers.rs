//! Sellers who ping before they send a call: what they ask, and whether what they are told is on disk.

use super::people::caller_number;
use exchange::call::{Arrival, CallState, Stated};
use exchange::id::CallId;
use exchange::phone_number::CallerId;
use exchange::ping::{PingAnswer, PingRequest};
use exchange::snapshot::Snapshot;
use fastrand::Rng;
use std::collections::BTreeMap;

/// Pings that reached the exchange, each with how often it was answered.
#[derive(Debug, Default)]
pub(super) struct Sellers {
    answers: BTreeMap<CallId, u32>,
    /// Pings that won, repeats not counted.
    pub(super) reserved: u64,
}

/// What one seller does about one caller, in milliseconds from the moment it knows of it.
pub(super) struct Lead {
    /// The same for every ping.
    pub(super) request: PingRequest,
    /// The first ping, and repeats of it.
    pub(super) pings_after_ms: Vec<u64>,
    /// The call, and maybe a second one, which nothing was reserved for.
    pub(super) calls_after_ms: Vec<u64>,
}

/// The call comes at once, in time, about when the reservation runs out, or too late.
pub(super) fn lead(caller: u32, called: &str, rng: &mut Rng) -> Lead {
    let expires_in_ms: Option<u64> =
        (rng.u8(..3) > 0).then(|| [0, 300, 5_000, 60_000, 300_000][rng.usize(..5)]);
    let lasts_ms = expires_in_ms.unwrap_or(30_000);
    let call_after_ms = match rng.u8(..8) {
        0 => rng.u64(..60),
        1 => lasts_ms.saturating_sub(rng.u64(..40)),
        2 => lasts_ms + rng.u64(..40_000),
        _ => rng.u64(..=lasts_ms),
    };
    let repeats = if rng.u8(..3) == 0 { rng.u64(1..=2) } else { 0 };
    let mut pings_after_ms = vec![0];
    pings_after_ms.extend((0..repeats).map(|_| rng.u64(..=lasts_ms + 1_000)));
    let mut calls_after_ms = vec![call_after_ms];
    if rng.u8(..4) == 0 {
        calls_after_ms.push(call_after_ms + rng.u64(..60_000));
    }
    let arrival = Arrival {
        called: called.parse().expect("a number"),
        caller: CallerId::from_user_part(&caller_number(caller)),
        trunk: "ping".to_owned(),
        stated: Stated::default(),
    };
    Lead { request: PingRequest { arrival, expires_in_ms }, pings_after_ms, calls_after_ms }
}

impl Sellers {
    pub(super) fn asked(&mut self, ping: CallId) {
        self.answers.insert(ping, 0);
    }

    /// Pings that reached the exchange.
    pub(super) fn pings(&self) -> u64 {
        self.answers.len() as u64
    }

    /// A ping is answered; what is wrong with that, if anything.
    pub(super) fn answered(&mut self, ping: CallId, answer: &PingAnswer, disk: &Snapshot) -> Option<String> {
        let times = self.answers.entry(ping).or_default();
        *times += 1;
        if *times > 1 {
            return Some(format!("ping {ping} was answered twice"));
        }
        let PingAnswer::Reserved(promised) = answer else { return None };
        self.reserved += u64::from(!promised.is_repeat);
        let is_on_disk = disk.open_calls.get(&promised.id).is_some_and(|reserved| {
            matches!(reserved.state, CallState::Reserved { expires_at, .. } if expires_at == promised.expires_at)
        });
        if promised.is_repeat == (promised.id == ping) {
            return Some(format!("ping {ping} was told of {} as its own", promised.id));
        }
        (!is_on_disk).then(|| format!("ping {ping} was promised {}, which is not on disk", promised.id))
    }

    /// Pings that nobody ever answered.
    pub(super) fn unanswered(&self) -> usize {
        self.answers.values().filter(|times| **times == 0).count()
    }
}
