//! The fraud score of a call: a sum of documented signals, 0 to 100.

use crate::bid::criteria::Attestation;
use crate::phone_number::CallerId;
use crate::place::State;
use serde::{Deserialize, Serialize};

/// 0 is without suspicion, 100 the most.
pub type FraudScore = u8;

/// The version of the signals and their points, for receipts.
pub const VERSION: u32 = 1;

/// What raised a call's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The caller withholds its number: 40 points.
    Withheld,
    /// The caller's number is not one: 60 points.
    Malformed,
    /// The carrier attests nothing about the number: 10 points.
    Unattested,
    /// The carrier attests only where the call entered the network (C): 25 points.
    GatewayAttested,
    /// The area code is nobody's home: toll-free, premium or unassigned: 25 points.
    NoPlace,
    /// The state that was stated is not one the area code lies in: 20 points.
    StateMismatch,
}

impl Signal {
    fn points(self) -> FraudScore {
        match self {
            Self::Malformed => 60,
            Self::Withheld => 40,
            Self::GatewayAttested | Self::NoPlace => 25,
            Self::StateMismatch => 20,
            Self::Unattested => 10,
        }
    }
}

/// What the score is made from.
#[derive(Debug, Clone, Copy)]
pub struct Signals<'a> {
    /// Who calls.
    pub caller: &'a CallerId,
    /// What the carrier attests.
    pub attestation: Option<Attestation>,
    /// The consumer's state as the seller says it.
    pub stated_state: Option<State>,
    /// The states the caller's area code lies in; `None` when the code is not listed.
    pub states_of_area_code: Option<&'a [State]>,
}

/// The signals that a call gives, in order of their names.
pub fn signals(of: &Signals) -> impl Iterator<Item = Signal> {
    let number = of.caller.number();
    let placed = of.states_of_area_code.filter(|states| !states.is_empty());
    let mismatch =
        matches!((of.stated_state, placed), (Some(stated), Some(states)) if !states.contains(&stated));
    let found = [
        (matches!(of.caller, CallerId::Anonymous)).then_some(Signal::Withheld),
        (matches!(of.caller, CallerId::Malformed)).then_some(Signal::Malformed),
        of.attestation.is_none().then_some(Signal::Unattested),
        (of.attestation == Some(Attestation::C)).then_some(Signal::GatewayAttested),
        (number.is_some_and(|number| number.area_code().is_some()) && placed.is_none())
            .then_some(Signal::NoPlace),
        mismatch.then_some(Signal::StateMismatch),
    ];
    found.into_iter().flatten()
}

/// The sum of the points, at most 100.
pub fn score(of: &Signals) -> FraudScore {
    signals(of).map(Signal::points).fold(0, FraudScore::saturating_add).min(100)
}
