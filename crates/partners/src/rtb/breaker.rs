//! The circuit breaker of one bidder: one that fails is left alone, and asked again by one probe after a while.

use super::config::BreakerConfig;
use serde::Serialize;

/// Whether a bidder is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// It is.
    Closed,
    /// It failed too often of late and is left alone.
    Open,
    /// One request is on its way to see whether it is back.
    HalfOpen,
}

/// The last 64 outcomes and what follows from them. Time is in milliseconds since any fixed moment.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    circuit: Circuit,
    /// Changes with the circuit, so that a late outcome of an earlier time does not count.
    epoch: u64,
    open_until_ms: u64,
    backoff_ms: u64,
    failures_in_a_row: u32,
    /// One bit for each outcome, the latest lowest; set for a failure.
    outcomes: u64,
    outcome_count: u32,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        Self {
            config,
            circuit: Circuit::Closed,
            epoch: 0,
            open_until_ms: 0,
            backoff_ms: config.backoff_first_ms,
            failures_in_a_row: 0,
            outcomes: 0,
            outcome_count: 0,
        }
    }

    pub(super) fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// Whether a request may go, and if so the epoch to report its outcome with.
    pub(super) fn admit(&mut self, now_ms: u64) -> Option<u64> {
        if self.refuses(now_ms) {
            return None;
        }
        if self.circuit == Circuit::Open {
            self.turn(Circuit::HalfOpen);
        }
        Some(self.epoch)
    }

    /// Whether a request would be refused now.
    pub(super) fn refuses(&self, now_ms: u64) -> bool {
        match self.circuit {
            Circuit::Closed => false,
            Circuit::Open => now_ms < self.open_until_ms,
            Circuit::HalfOpen => true,
        }
    }

    /// Begins anew; what is still on its way does not count.
    pub(super) fn reset(&mut self) {
        self.turn(Circuit::Closed);
        self.backoff_ms = self.config.backoff_first_ms;
    }

    /// How a request that was let in ended.
    pub(super) fn record(&mut self, epoch: u64, failed: bool, now_ms: u64) {
        if epoch != self.epoch {
            return;
        }
        match (self.circuit, failed) {
            (Circuit::HalfOpen, false) => {
                self.reset();
            }
            (Circuit::HalfOpen, true) => {
                self.backoff_ms = self.backoff_ms.saturating_mul(2).min(self.config.backoff_max_ms);
                self.open(now_ms);
            }
            (Circuit::Closed, _) => {
                self.remember(failed);
                if self.is_failing() {
                    self.open(now_ms);
                }
            }
            (Circuit::Open, _) => {}
        }
    }

    fn remember(&mut self, failed: bool) {
        self.failures_in_a_row = if failed { self.failures_in_a_row + 1 } else { 0 };
        self.outcomes = self.outcomes << 1 | u64::from(failed);
        self.outcome_count = (self.outcome_count + 1).min(u64::BITS);
    }

    fn is_failing(&self) -> bool {
        let too_many = self.outcomes.count_ones() * 100 >= self.config.failure_percent * self.outcome_count;
        let is_known = self.outcome_count >= self.config.requests_min.clamp(1, u64::BITS);
        self.failures_in_a_row >= self.config.failures_in_a_row || (is_known && too_many)
    }

    fn open(&mut self, now_ms: u64) {
        self.turn(Circuit::Open);
        self.open_until_ms = now_ms.saturating_add(self.backoff_ms);
    }

    fn turn(&mut self, circuit: Circuit) {
        self.circuit = circuit;
        self.epoch += 1;
        (self.failures_in_a_row, self.outcomes, self.outcome_count) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(BreakerConfig {
            failures_in_a_row: 3,
            failure_percent: 50,
            requests_min: 10,
            backoff_first_ms: 100,
            backoff_max_ms: 350,
        })
    }

    fn ask(breaker: &mut Breaker, failed: bool, now_ms: u64) -> bool {
        let epoch = breaker.admit(now_ms);
        epoch.inspect(|epoch| breaker.record(*epoch, failed, now_ms)).is_some()
    }

    #[test]
    fn failures_in_a_row_open_it_and_backing_off_doubles_up_to_a_bound() {
        let mut breaker = breaker();
        assert!([true, true, false, true, true].iter().all(|failed| ask(&mut breaker, *failed, 0)));
        assert_eq!(breaker.circuit(), Circuit::Closed);
        assert!(ask(&mut breaker, true, 0));
        assert_eq!(breaker.circuit(), Circuit::Open);
        let mut now_ms = 0;
        for backoff_ms in [100, 200, 350, 350] {
            assert!(!ask(&mut breaker, true, now_ms + backoff_ms - 1), "{backoff_ms}");
            now_ms += backoff_ms;
            assert!(ask(&mut breaker, true, now_ms), "{backoff_ms}");
        }
        assert!(ask(&mut breaker, false, now_ms + 350));
        assert_eq!(breaker.circuit(), Circuit::Closed);
        // The next time begins with the first back-off again.
        for _ in 0..3 {
            assert!(ask(&mut breaker, true, 10_000));
        }
        assert!(!ask(&mut breaker, false, 10_099));
        assert!(ask(&mut breaker, false, 10_100));
    }

    #[test]
    fn half_of_the_last_requests_open_it_once_there_are_enough() {
        let mut breaker = breaker();
        for turn in 0..9 {
            assert!(ask(&mut breaker, turn % 2 == 0, 0));
        }
        assert_eq!(breaker.circuit(), Circuit::Closed);
        assert!(ask(&mut breaker, false, 0));
        assert_eq!(breaker.circuit(), Circuit::Open);
    }

    #[test]
    fn one_probe_at_a_time_and_late_outcomes_do_not_count() {
        let mut breaker = breaker();
        let early = breaker.admit(0).expect("closed");
        for _ in 0..3 {
            assert!(ask(&mut breaker, true, 0));
        }
        breaker.record(early, false, 50);
        assert_eq!(breaker.circuit(), Circuit::Open);
        let probe = breaker.admit(100).expect("time for a probe");
        assert_eq!(breaker.admit(100), None);
        breaker.record(early, false, 100);
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        breaker.record(probe, false, 100);
        assert_eq!(breaker.circuit(), Circuit::Closed);
    }
}
