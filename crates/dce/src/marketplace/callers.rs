//! Consumers: who calls, from where, and what the carrier says of them.

use super::consumer_area_codes;
use super::fictional_number;
use exchange::compliance::area_code::RuleDataError;
use exchange::place::State;
use fastrand::Rng;

/// Consumers of one area code.
const PER_AREA_CODE: u64 = 80;
/// A prime far above the number of consumers, so that steps of it visit each before any comes again.
const STRIDE: u64 = 104_729;

/// One caller, as a carrier's INVITE shows it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The user part of `From`: a number, `anonymous`, or something broken.
    pub(crate) user: String,
    /// The state the seller says the consumer is in.
    pub(crate) stated_state: Option<State>,
}

/// An endless line of callers. Of a hundred, two withhold their number, one's is broken, and two are the caller before
/// once more; the others do not come again soon.
pub(crate) struct Callers {
    rng: Rng,
    area_codes: Vec<(u16, State)>,
    nth: u64,
    last: Option<Caller>,
}

impl Callers {
    /// The line that belongs to `seed`.
    ///
    /// # Errors
    /// When the area codes that the exchange ships cannot be read.
    pub(crate) fn new(seed: u64) -> Result<Self, RuleDataError> {
        let mut rng = Rng::with_seed(seed ^ 0x6361_6c6c_6572);
        let nth = u64::from(rng.u32(..));
        Ok(Self { rng, area_codes: consumer_area_codes()?, nth, last: None })
    }

    /// The next caller.
    pub(crate) fn next(&mut self) -> Caller {
        match (self.rng.u32(0..100), &self.last) {
            (0..2, _) => Caller { user: "anonymous".to_owned(), stated_state: None },
            (2, _) => Caller { user: "0012".to_owned(), stated_state: None },
            (3..5, Some(last)) => last.clone(),
            _ => {
                let caller = self.fresh();
                self.last = Some(caller.clone());
                caller
            }
        }
    }

    fn fresh(&mut self) -> Caller {
        self.nth += 1;
        let area_codes = self.area_codes.len() as u64;
        let consumer = self.nth * STRIDE % (area_codes * PER_AREA_CODE);
        let index = usize::try_from(consumer % area_codes).expect("below the number of area codes");
        let (area_code, state) = self.area_codes[index];
        let nth = u32::try_from(consumer / area_codes).expect("below 80");
        let stated_state = (self.rng.u32(0..3) == 0).then_some(state);
        Caller { user: fictional_number(area_code, nth), stated_state }
    }
}
