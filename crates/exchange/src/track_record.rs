//! Track records: what came of the calls a bid was offered, and of the calls a seller sent, and the quality they add up to.
//!
//! Counters only, so that a record is small and the same calls give the same record. To follow change, all counters of a
//! record are halved when the first of them reaches [`WINDOW_CALLS`]: an exponential window in which the last 512 to 1,024
//! calls weigh as much as all calls before them.
//!
//! A rate is smoothed with a Beta prior: `(good + 16) / (all + 20)`. It starts at 800 of 1,000, one call moves it by at
//! most 38, and after 200 calls the prior is a tenth of it, more or less.

use crate::time::Timestamp;
use crate::trading_rules::Protection;
use serde::{Deserialize, Serialize};

/// Calls after which a record's counters are halved.
pub const WINDOW_CALLS: u16 = 1_024;

/// How many unanswered calls a record remembers; a larger threshold in [`Protection`] counts as this one.
const UNANSWERED_KEPT: usize = 16;

/// A target that hangs up within so many milliseconds before the buffer ends did it to save the charge, likely as not.
const BUZZER_MS: u64 = 15_000;

/// A call that ends within so many milliseconds after the buffer was kept alive for the payout, likely as not.
const JUST_PAID_MS: u64 = 5_000;

/// The prior, as calls that never were: this many good ones ...
const PRIOR_GOOD: u32 = 16;
/// ... of this many.
const PRIOR_ALL: u32 = 20;

/// The whole of a quality.
pub const QUALITY_MAX: u16 = 1_000;

/// No quality is below this, so that nobody is shut out for ever.
pub const QUALITY_MIN: u16 = 100;

/// What each rate counts for in the quality of a bid. Their sum is what they are divided by.
const WEIGHT_ANSWERED: u32 = 35;
const WEIGHT_CONVERTED: u32 = 35;
const WEIGHT_STAYED: u32 = 20;
const WEIGHT_UNDISPUTED: u32 = 10;

/// What each rate counts for in the quality of a seller.
const WEIGHT_SELLER_CONVERTED: u32 = 50;
const WEIGHT_SELLER_NATURAL: u32 = 35;
const WEIGHT_SELLER_UNDISPUTED: u32 = 15;

/// What came of the calls of one bid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct TrackRecord {
    /// Calls its target was rung for, ever; the only counter that is never halved.
    #[serde(skip_serializing_if = "is_zero")]
    pub rung: u64,
    /// Calls its target was rung for, but for those that the caller gave up before an answer.
    #[serde(skip_serializing_if = "is_nought")]
    pub offered: u16,
    /// Of those, the target answered.
    #[serde(skip_serializing_if = "is_nought")]
    pub answered: u16,
    /// Of those, the target did not answer.
    #[serde(skip_serializing_if = "is_nought")]
    pub unanswered: u16,
    /// Answered calls that are over.
    #[serde(skip_serializing_if = "is_nought")]
    pub ended: u16,
    /// Of those, converted.
    #[serde(skip_serializing_if = "is_nought")]
    pub converted: u16,
    /// Of those, the target hung up within the last 15 s before the buffer ended ("buzzer-beating").
    #[serde(skip_serializing_if = "is_nought")]
    pub early_hang_ups: u16,
    /// Of the converted ones, disputed by the buyer and not upheld (yet).
    #[serde(skip_serializing_if = "is_nought")]
    pub disputed: u16,
    /// When calls rang out, oldest first; the last 16 since the last rest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unanswered_at: Vec<Timestamp>,
    /// When its target was last rung.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rung_at: Option<Timestamp>,
    /// Until when its target is given a rest; absent, it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rests_until: Option<Timestamp>,
    /// Its place in the queue where routing goes by percentage; see [`crate::routing::turn`].
    #[serde(skip_serializing_if = "is_zero")]
    pub turn: u64,
}

/// How an answered call ended, as far as records are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Milliseconds from the target's answer to the end.
    pub connected_ms: u64,
    /// The buffer: seconds connected before the call is billable.
    pub min_connected_s: u32,
    /// Whether it converted.
    pub converted: bool,
    /// Whether the target hung up, rather than the caller or the exchange.
    pub by_target: bool,
}

impl Ending {
    fn buffer_ms(&self) -> u64 {
        u64::from(self.min_connected_s) * 1_000
    }

    /// Whether the target hung up in the last 15 s before the buffer ended.
    fn beats_the_buzzer(&self) -> bool {
        let before_the_end = self.connected_ms < self.buffer_ms();
        self.by_target && before_the_end && self.connected_ms + BUZZER_MS >= self.buffer_ms()
    }

    /// Whether it ended in the first 5 s after the buffer did. Without a buffer there is nothing to wait for.
    fn is_just_paid(&self) -> bool {
        let since_buffer_ms = self.connected_ms.checked_sub(self.buffer_ms());
        self.min_connected_s > 0 && since_buffer_ms.is_some_and(|ms| ms <= JUST_PAID_MS)
    }
}

impl TrackRecord {
    /// That of a bid without calls.
    pub(crate) const EMPTY: Self = Self {
        rung: 0,
        offered: 0,
        answered: 0,
        unanswered: 0,
        ended: 0,
        converted: 0,
        early_hang_ups: 0,
        disputed: 0,
        unanswered_at: Vec::new(),
        last_rung_at: None,
        rests_until: None,
        turn: 0,
    };

    /// Its target is being rung.
    pub fn rang(&mut self, now: Timestamp) {
        self.rung += 1;
        self.offered += 1;
        self.last_rung_at = Some(now);
        if self.offered >= WINDOW_CALLS {
            self.halve();
        }
    }

    /// It was the first choice for a call where routing goes by percentage: takes the turn that
    /// [`crate::routing::turn`] gave it.
    pub fn took_turn(&mut self, turn: u64) {
        self.turn = turn;
    }

    /// Its target answered.
    pub fn answered(&mut self) {
        self.answered = self.answered.saturating_add(1);
    }

    /// Its target was busy or declined: it counts against the answer rate, but somebody is there, so it earns no rest.
    pub fn declined(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// Its target let the call ring out or could not be reached. True when that was one too many within an hour or within
    /// 24 hours: it now rests for `protection.rest_s`, and the count begins anew.
    pub fn unanswered(&mut self, now: Timestamp, protection: &Protection) -> bool {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered_at.len() == UNANSWERED_KEPT {
            self.unanswered_at.remove(0);
        }
        self.unanswered_at.push(now);
        let too_many = |limit: u8, window_ms: u64| {
            let recent = self.unanswered_at.iter().filter(|at| now.ms_since(**at) < window_ms).count();
            limit > 0 && recent >= usize::from(limit).min(UNANSWERED_KEPT)
        };
        let earned = too_many(protection.unanswered_per_hour, 3_600_000)
            || too_many(protection.unanswered_per_day, 24 * 3_600_000);
        if earned {
            self.unanswered_at.clear();
            self.rests_until = Some(now.plus_ms(u64::from(protection.rest_s) * 1_000));
        }
        earned
    }

    /// The caller gave up while its target rang: as if it had not been offered.
    pub fn abandoned(&mut self) {
        self.offered = self.offered.saturating_sub(1);
    }

    /// A call that its target answered is over.
    pub fn ended(&mut self, ending: &Ending) {
        self.ended = self.ended.saturating_add(1);
        self.converted = self.converted.saturating_add(u16::from(ending.converted));
        self.early_hang_ups = self.early_hang_ups.saturating_add(u16::from(ending.beats_the_buzzer()));
    }

    /// Its buyer disputes a call.
    pub fn disputed(&mut self) {
        self.disputed = self.disputed.saturating_add(1);
    }

    /// Its buyer was right to.
    pub fn dispute_upheld(&mut self) {
        self.disputed = self.disputed.saturating_sub(1);
    }

    /// Calls offered of which it is not known yet what comes of them; after a halving, about so many.
    pub fn under_way(&self) -> u32 {
        u32::from(self.offered).saturating_sub(u32::from(self.unanswered) + u32::from(self.ended))
    }

    /// Whether its target is being given a rest that has not run out.
    pub fn is_resting(&self, now: Timestamp) -> bool {
        self.rests_until.is_some_and(|until| now < until)
    }

    /// Whether a rest has run out, so that it can be woken.
    pub fn rest_is_over(&self, now: Timestamp) -> bool {
        self.rests_until.is_some_and(|until| until <= now)
    }

    /// Ends its rest, and forgets what earned it. Whether there was anything to end or to forget.
    pub fn wake(&mut self) -> bool {
        let changes = self.rests_until.is_some() || !self.unanswered_at.is_empty();
        self.rests_until = None;
        self.unanswered_at.clear();
        changes
    }

    /// Its quality, 100 to 1,000, as auctions weigh prices with it:
    ///
    /// `(35 answered / rung + 35 converted / ended + 20 (ended - early_hang_ups) / ended + 10 (converted - disputed) / converted) / 100`,
    /// `rung` being those answered and those not,
    ///
    /// each rate smoothed as the module says, in thousandths, rounded down. 800 when nothing is known.
    pub fn quality(&self) -> u16 {
        let answered = smoothed(self.answered, u32::from(self.answered) + u32::from(self.unanswered));
        let converted = smoothed(self.converted, self.ended.into());
        let stayed = smoothed(self.ended.saturating_sub(self.early_hang_ups), self.ended.into());
        let undisputed = smoothed(self.converted.saturating_sub(self.disputed), self.converted.into());
        weighted_mean(&[
            (WEIGHT_ANSWERED, answered),
            (WEIGHT_CONVERTED, converted),
            (WEIGHT_STAYED, stayed),
            (WEIGHT_UNDISPUTED, undisputed),
        ])
    }

    fn halve(&mut self) {
        for counter in [
            &mut self.offered,
            &mut self.answered,
            &mut self.unanswered,
            &mut self.ended,
            &mut self.converted,
            &mut self.early_hang_ups,
            &mut self.disputed,
        ] {
            *counter /= 2;
        }
    }
}

/// What came of the calls of one seller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct SellerRecord {
    /// Calls that were answered and are over.
    #[serde(skip_serializing_if = "is_nought")]
    pub ended: u16,
    /// Of those, converted.
    #[serde(skip_serializing_if = "is_nought")]
    pub converted: u16,
    /// Of those, over within 5 s after the buffer ("duration gaming").
    #[serde(skip_serializing_if = "is_nought")]
    pub just_paid: u16,
    /// Of the converted ones, disputed with success.
    #[serde(skip_serializing_if = "is_nought")]
    pub disputed: u16,
}

impl SellerRecord {
    /// An answered call of this seller is over.
    pub fn ended(&mut self, ending: &Ending) {
        self.ended += 1;
        self.converted += u16::from(ending.converted);
        self.just_paid += u16::from(ending.is_just_paid());
        if self.ended >= WINDOW_CALLS {
            for counter in [&mut self.ended, &mut self.converted, &mut self.just_paid, &mut self.disputed] {
                *counter /= 2;
            }
        }
    }

    /// A buyer was right to dispute a call.
    pub fn dispute_upheld(&mut self) {
        self.disputed = self.disputed.saturating_add(1);
    }

    /// Its quality, 100 to 1,000, as bids ask for it in `min_seller_quality`:
    ///
    /// `(50 converted / ended + 35 (ended - just_paid) / ended + 15 (converted - disputed) / converted) / 100`,
    ///
    /// each rate smoothed as the module says, in thousandths, rounded down. 800 when nothing is known.
    pub fn quality(&self) -> u16 {
        let converted = smoothed(self.converted, self.ended.into());
        let natural = smoothed(self.ended.saturating_sub(self.just_paid), self.ended.into());
        let undisputed = smoothed(self.converted.saturating_sub(self.disputed), self.converted.into());
        weighted_mean(&[
            (WEIGHT_SELLER_CONVERTED, converted),
            (WEIGHT_SELLER_NATURAL, natural),
            (WEIGHT_SELLER_UNDISPUTED, undisputed),
        ])
    }
}

/// `good` of `all` in thousandths, smoothed with the prior; at most 1,000 because `good <= all`.
fn smoothed(good: u16, all: u32) -> u32 {
    (u32::from(good) + PRIOR_GOOD) * u32::from(QUALITY_MAX) / (all + PRIOR_ALL)
}

/// The mean of rates in thousandths by weight, within the bounds of a quality.
fn weighted_mean(rates: &[(u32, u32)]) -> u16 {
    let weights: u32 = rates.iter().map(|(weight, _)| weight).sum();
    let sum: u32 = rates.iter().map(|(weight, rate)| weight * rate).sum();
    u16::try_from(sum / weights).unwrap_or(QUALITY_MAX).clamp(QUALITY_MIN, QUALITY_MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_nought(counter: &u16) -> bool {
    *counter == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(counter: &u64) -> bool {
    *counter == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;
    const HOUR_MS: u64 = 60 * MINUTE_MS;

    fn at_ms(ms: u64) -> Timestamp {
        Timestamp::default().plus_ms(ms)
    }

    fn ending(connected_s: u64, converted: bool, by_target: bool) -> Ending {
        Ending { connected_ms: connected_s * 1_000, min_connected_s: 90, converted, by_target }
    }

    fn counted(answered: u16, unanswered: u16, converted: u16, early_hang_ups: u16) -> TrackRecord {
        let offered = answered + unanswered;
        TrackRecord {
            offered,
            answered,
            unanswered,
            ended: answered,
            converted,
            early_hang_ups,
            ..TrackRecord::default()
        }
    }

    #[test]
    fn quality_by_record() {
        // answered, unanswered, converted, early hang-ups, quality
        let cases = [
            (0, 0, 0, 0, 800),
            (1, 0, 1, 0, 809),       // one good call moves it a little
            (0, 1, 0, 0, 786),       // so does one bad call
            (1, 0, 0, 1, 781),       // hung up early: one rate rises, two fall
            (100, 0, 100, 0, 966),   // all good
            (1_000, 0, 500, 0, 823), // a usual bid that always answers
            (500, 500, 250, 0, 652),
            (1_000, 0, 500, 300, 764), // the same bid, beating the buzzer
            (0, 1_000, 0, 0, 525),
            (1_023, 0, 0, 1_023, 436),
        ];
        for (answered, unanswered, converted, early, quality) in cases {
            let record = counted(answered, unanswered, converted, early);
            assert_eq!(record.quality(), quality, "{record:?}");
        }
        let disputing = TrackRecord { disputed: 100, ..counted(1_000, 0, 500, 0) };
        assert_eq!(disputing.quality(), 804, "the usual bid, disputing every fifth charge");
    }

    #[test]
    fn quality_stays_within_its_bounds_whatever_is_counted() {
        let mut draw = 7_u64;
        let mut next = |below: u16| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u16::try_from((draw >> 33) % u64::from(below + 1)).expect("below a u16")
        };
        for _ in 0..2_000 {
            let ended = next(1_024);
            let record = TrackRecord { ended, ..counted(next(1_024), next(1_024), next(ended), next(ended)) };
            assert!((QUALITY_MIN..=QUALITY_MAX).contains(&record.quality()), "{record:?}");
        }
    }

    #[test]
    fn a_target_that_hangs_up_just_before_the_buffer_is_noted() {
        // seconds connected of a buffer of 90, by the target, early
        let cases =
            [(74, true, 0), (75, true, 1), (89, true, 1), (90, true, 0), (80, false, 0), (200, true, 0)];
        for (connected_s, by_target, early) in cases {
            let mut record = TrackRecord::default();
            record.ended(&ending(connected_s, connected_s >= 90, by_target));
            assert_eq!(record.early_hang_ups, early, "{connected_s} s, by target: {by_target}");
        }
    }

    #[test]
    fn counters_are_halved_when_the_window_is_full() {
        let mut record = TrackRecord::default();
        for call in 0..u64::from(WINDOW_CALLS) {
            record.rang(at_ms(call));
            if call % 4 > 0 {
                record.answered();
                record.ended(&ending(120, call % 2 > 0, false));
            } else {
                record.declined();
            }
        }
        assert_eq!((record.rung, record.offered), (1_024, 512));
        // The last call was answered after the halving.
        assert_eq!((record.answered, record.unanswered, record.converted), (384, 128, 256));
    }

    #[test]
    fn calls_are_under_way_until_it_is_known_what_came_of_them() {
        let mut record = TrackRecord::default();
        for call in 0..4 {
            record.rang(at_ms(call));
        }
        assert_eq!(record.under_way(), 4);
        record.abandoned();
        record.declined();
        record.answered();
        assert_eq!(record.under_way(), 2, "one rings, one is connected");
        record.ended(&ending(120, true, false));
        assert_eq!(record.under_way(), 1);
        assert_eq!((record.rung, record.offered), (4, 3));
    }

    #[test]
    fn three_unanswered_calls_within_an_hour_earn_a_rest() {
        let protection = Protection { unanswered_per_hour: 3, unanswered_per_day: 5, rest_s: 600 };
        let mut record = TrackRecord::default();
        assert!(!record.unanswered(at_ms(0), &protection));
        assert!(!record.unanswered(at_ms(30 * MINUTE_MS), &protection));
        // The first is an hour old by now.
        assert!(!record.unanswered(at_ms(HOUR_MS), &protection));
        let earned_at = HOUR_MS + MINUTE_MS;
        assert!(record.unanswered(at_ms(earned_at), &protection));
        assert!(record.unanswered_at.is_empty(), "the count begins anew");

        let last_moment = at_ms(earned_at + 599_999);
        assert!(record.is_resting(last_moment) && !record.rest_is_over(last_moment));
        let over = at_ms(earned_at + 600_000);
        assert!(!record.is_resting(over) && record.rest_is_over(over));
        record.wake();
        assert_eq!(record.rests_until, None);
    }

    #[test]
    fn unanswered_calls_within_a_day_earn_a_rest_too() {
        let times_h = |hours: &[u64], per_hour, per_day| {
            let protection =
                Protection { unanswered_per_hour: per_hour, unanswered_per_day: per_day, rest_s: 60 };
            let mut record = TrackRecord::default();
            let rests = hours.iter().map(|hour| record.unanswered(at_ms(hour * HOUR_MS), &protection));
            rests.collect::<Vec<_>>()
        };
        assert_eq!(times_h(&[0, 2, 4, 6, 23], 3, 5), [false, false, false, false, true]);
        assert_eq!(times_h(&[0, 2, 4, 6, 24], 3, 5), [false; 5], "the first is a day old");
        assert_eq!(times_h(&[0, 0, 0, 0, 0, 0], 0, 0), [false; 6], "0 never does");
        let seventeen = times_h(&[1; 17], 0, 200);
        assert_eq!(seventeen.iter().position(|rests| *rests), Some(15), "200 counts as 16");
    }

    #[test]
    fn sellers_whose_calls_end_just_after_the_buffer_lose_quality() {
        // seconds connected of a buffer of 90, just paid
        for (connected_s, just_paid) in [(89, 0), (90, 1), (95, 1), (96, 0), (300, 0)] {
            let mut record = SellerRecord::default();
            record.ended(&ending(connected_s, connected_s >= 90, false));
            assert_eq!(record.just_paid, just_paid, "{connected_s} s");
        }
        let (mut honest, mut gaming) = (SellerRecord::default(), SellerRecord::default());
        assert_eq!(honest.quality(), 800);
        for _ in 0..3_000 {
            honest.ended(&ending(240, true, false));
            gaming.ended(&ending(92, true, false));
        }
        assert!(honest.ended < WINDOW_CALLS);
        assert!(honest.quality() > 980, "{}", honest.quality());
        assert!((645..660).contains(&gaming.quality()), "{}", gaming.quality());
    }

    #[test]
    fn a_new_record_is_two_bytes_of_json() {
        assert_eq!(serde_json::to_string(&TrackRecord::default()).expect("serialises"), "{}");
        let mut record = counted(3, 1, 2, 0);
        record.rang(at_ms(5));
        let text = serde_json::to_string(&record).expect("serialises");
        assert_eq!(serde_json::from_str::<TrackRecord>(&text).expect("reads back"), record);
    }
}
