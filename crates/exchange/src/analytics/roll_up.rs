//! Roll-ups: what calls came to, by the hour they came in, their seller, their buyer and their vertical.
//!
//! A call counts in the hour in which it was received, however late the rest of it happens: so the figures of one row are of the same
//! calls, and its rates can be worked out. The fold is of events, one at a time and in any order; what the books say of the same
//! calls is [`of_call`], and the two must agree.
//!
//! Absent on purpose: pings. The calls they announced are counted.

use crate::call::{Call, CallState, Outcome};
use crate::dispute::{Dispute, DisputeStage};
use crate::id::AccountId;
use crate::ledger::money::Micros;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Microseconds in an hour.
pub const HOUR_MICROS: i64 = 3_600_000_000;

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollUpKey {
    /// When the hour began in which the calls were received.
    pub hour: Timestamp,
    /// Whose calls.
    pub seller: AccountId,
    /// Who was rung, connected or charged; absent for what a call comes to before it is anybody's.
    pub buyer: Option<AccountId>,
    /// What they were about.
    pub vertical: String,
}

/// Makes the figures, their names and their places from one list.
macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What is counted and summed. Plain integers: calls, milliseconds and micro-units.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        pub struct Figures {
            $($(#[$doc])* pub $name: i64,)*
        }

        /// The figures' names, in their order.
        pub const FIGURES: &[&str] = &[$(stringify!($name)),*];

        impl Figures {
            /// The figures, in the order of [`FIGURES`].
            pub fn values(&self) -> impl Iterator<Item = i64> {
                [$(self.$name),*].into_iter()
            }

            /// The figures from their values in the order of [`FIGURES`]; or what went wrong with one.
            pub fn read<E>(mut value: impl FnMut(usize) -> Result<i64, E>) -> Result<Self, E> {
                let mut place = 0..;
                let mut next = || value(place.next().expect("as many as are asked for"));
                Ok(Self { $($name: next()?),* })
            }

            /// Adds others.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// Takes others away.
            pub fn subtract(&mut self, other: &Self) {
                $(self.$name -= other.$name;)*
            }
        }
    };
}

figures! {
    /// Calls received.
    received,
    /// Of those, refused by a screening rule.
    refused,
    /// Of those, wanted by no bid.
    unsold,
    /// Of those, given up because no target took them.
    unanswered,
    /// Of those, given up by the caller before an answer.
    abandoned,
    /// Targets rung.
    routed,
    /// Targets connected.
    bridged,
    /// Calls that converted.
    converted,
    /// Milliseconds connected, of the connections that calls ended with.
    connected_ms,
    /// What buyers were charged, in micro-units.
    charged_micros,
    /// What sellers earned, in micro-units.
    paid_micros,
    /// What the house kept, in micro-units.
    margin_micros,
    /// What went back to buyers after disputes, in micro-units.
    refunded_micros,
    /// Of that, what sellers gave back, in micro-units.
    refunded_payout_micros,
}

/// A call as its row in the roll-ups knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledCall {
    /// When it was received.
    pub received_at: Timestamp,
    /// Whose it is.
    pub seller: AccountId,
    /// What it is about.
    pub vertical: String,
    /// Whether it is a ping.
    pub is_ping: bool,
}

impl From<&Call> for RolledCall {
    fn from(call: &Call) -> Self {
        let Call { received_at, seller, vertical, is_ping, .. } = call;
        Self { received_at: *received_at, seller: *seller, vertical: vertical.clone(), is_ping: *is_ping }
    }
}

impl RolledCall {
    fn key(&self, buyer: Option<AccountId>) -> RollUpKey {
        let hour = Timestamp(self.received_at.0.div_euclid(HOUR_MICROS) * HOUR_MICROS);
        RollUpKey { hour, seller: self.seller, buyer, vertical: self.vertical.clone() }
    }
}

/// An event of a call that counts, as it is read back from the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFact {
    /// It was received.
    Received(Received),
    /// A target was rung.
    Routed(OfBuyer),
    /// A target was connected.
    Bridged(OfBuyer),
    /// It ended.
    Ended(Ended),
    /// It was charged.
    Converted(Charged),
    /// Its buyer's revenue added to the charge.
    RevenueReported(ReportedRevenue),
    /// A dispute of it was decided.
    DisputeSettled(SettledDispute),
}

/// What `call.received` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Received {
    seller: AccountId,
    vertical: String,
    #[serde(default)]
    is_ping: bool,
}

impl Received {
    /// The call, which was received at this moment.
    pub fn call(&self, at: Timestamp) -> RolledCall {
        let Self { seller, vertical, is_ping } = self;
        RolledCall { received_at: at, seller: *seller, vertical: vertical.clone(), is_ping: *is_ping }
    }
}

/// What `call.routed` and `call.bridged` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct OfBuyer {
    buyer: AccountId,
}

/// What `call.ended` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ended {
    outcome: String,
    #[serde(default)]
    buyer: Option<AccountId>,
    #[serde(default)]
    connected_ms: Option<u64>,
}

/// What `call.converted` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Charged {
    buyer: AccountId,
    charge_micros: Micros,
    payout_micros: Micros,
    margin_micros: Micros,
}

/// What `call.revenue_reported` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ReportedRevenue {
    buyer: AccountId,
    added_micros: Micros,
    added_payout_micros: Micros,
}

/// What `call.dispute_settled` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct SettledDispute {
    buyer: AccountId,
    refunded_micros: Micros,
    refunded_payout_micros: Micros,
}

impl CallFact {
    /// Reads an event of a call: nothing where events of this type do not count; or what is wrong with it.
    pub fn read(kind: &str, data: &Value) -> Result<Option<Self>, String> {
        let read = match kind {
            "call.received" => Received::deserialize(data).map(Self::Received),
            "call.routed" => OfBuyer::deserialize(data).map(Self::Routed),
            "call.bridged" => OfBuyer::deserialize(data).map(Self::Bridged),
            "call.ended" => Ended::deserialize(data).map(Self::Ended),
            "call.converted" => Charged::deserialize(data).map(Self::Converted),
            "call.revenue_reported" => ReportedRevenue::deserialize(data).map(Self::RevenueReported),
            "call.dispute_settled" => SettledDispute::deserialize(data).map(Self::DisputeSettled),
            _ => return Ok(None),
        };
        read.map(Some).map_err(|error| format!("{kind}: {error}"))
    }

    /// What it adds, and to which row; nothing if its call is a ping.
    pub fn adds(&self, call: &RolledCall) -> Option<(RollUpKey, Figures)> {
        let mut adds = Figures::default();
        let buyer = match self {
            Self::Received(_) => {
                adds.received = 1;
                None
            }
            Self::Routed(of) => {
                adds.routed = 1;
                Some(of.buyer)
            }
            Self::Bridged(of) => {
                adds.bridged = 1;
                Some(of.buyer)
            }
            Self::Ended(ended) => {
                count_outcome(&ended.outcome, &mut adds);
                adds.connected_ms = milliseconds(ended.connected_ms.unwrap_or(0));
                ended.buyer
            }
            Self::Converted(charged) => {
                adds.converted = 1;
                adds.charged_micros = charged.charge_micros.0;
                adds.paid_micros = charged.payout_micros.0;
                adds.margin_micros = charged.margin_micros.0;
                Some(charged.buyer)
            }
            Self::RevenueReported(added) => {
                adds.charged_micros = added.added_micros.0;
                adds.paid_micros = added.added_payout_micros.0;
                adds.margin_micros = added.added_micros.0 - added.added_payout_micros.0;
                Some(added.buyer)
            }
            Self::DisputeSettled(refunded) => {
                adds.refunded_micros = refunded.refunded_micros.0;
                adds.refunded_payout_micros = refunded.refunded_payout_micros.0;
                Some(refunded.buyer)
            }
        };
        (!call.is_ping && adds != Figures::default()).then(|| (call.key(buyer), adds))
    }
}

/// Counts an outcome that is nobody's. Those of connected calls are counted by what they came to.
fn count_outcome(outcome: &str, figures: &mut Figures) {
    match outcome {
        "screened_out" => figures.refused = 1,
        "no_bidder" => figures.unsold = 1,
        "unanswered" => figures.unanswered = 1,
        "abandoned" => figures.abandoned = 1,
        _ => {}
    }
}

fn milliseconds(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

/// What the books say that a call adds, and to which rows: what its events add, but for targets rung, which the books do not keep of
/// every call.
pub fn of_call(call: &Call, dispute: Option<&Dispute>) -> Vec<(RollUpKey, Figures)> {
    if call.is_ping {
        return Vec::new();
    }
    let rolled = RolledCall::from(call);
    let early = call.failed_attempts.iter().filter(|failed| failed.cause.is_early_hang_up());
    let mut rows: Vec<(RollUpKey, Figures)> = early
        .map(|failed| (rolled.key(Some(failed.buyer)), Figures { bridged: 1, ..Figures::default() }))
        .collect();
    let mut received = Figures { received: 1, ..Figures::default() };
    match &call.state {
        CallState::Connected { attempt, .. } => {
            rows.push((rolled.key(Some(attempt.buyer)), Figures { bridged: 1, ..Figures::default() }));
        }
        CallState::Ended { outcome: Outcome::NotConverted { attempt, connected_ms, .. }, .. } => {
            let connected_ms = milliseconds(*connected_ms);
            let ended = Figures { bridged: 1, connected_ms, ..Figures::default() };
            rows.push((rolled.key(Some(attempt.buyer)), ended));
        }
        CallState::Ended {
            outcome:
                Outcome::Converted { attempt, connected_ms, charge_micros, payout_micros, margin_micros, .. },
            ..
        } => {
            let mut ended = Figures {
                bridged: 1,
                converted: 1,
                connected_ms: milliseconds(*connected_ms),
                charged_micros: charge_micros.0,
                paid_micros: payout_micros.0,
                margin_micros: margin_micros.0,
                ..Figures::default()
            };
            if let Some(Dispute { charged, stage: DisputeStage::Upheld { .. }, .. }) = dispute {
                ended.refunded_micros = charged.charge_micros().0;
                ended.refunded_payout_micros = charged.payout_micros.0;
            }
            rows.push((rolled.key(Some(attempt.buyer)), ended));
        }
        CallState::Ended { outcome, .. } => count_outcome(outcome.name(), &mut received),
        CallState::Received
        | CallState::Bidding { .. }
        | CallState::Reserved { .. }
        | CallState::Ringing { .. } => {}
    }
    rows.push((rolled.key(None), received));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    fn account(number: u128) -> AccountId {
        AccountId(Uuid::from_u128(number))
    }

    fn call() -> RolledCall {
        // A minute before the hour is over.
        let received_at = Timestamp(10 * HOUR_MICROS + 59 * 60_000_000);
        RolledCall { received_at, seller: account(1), vertical: "roofing".to_owned(), is_ping: false }
    }

    #[test]
    fn every_event_counts_in_the_hour_its_call_was_received() {
        let buyer = account(2);
        let table = [
            ("call.received", json!({ "seller": account(1), "vertical": "roofing" }), None, "received"),
            ("call.routed", json!({ "attempt": 1, "buyer": buyer }), Some(buyer), "routed"),
            ("call.bridged", json!({ "attempt": 1, "buyer": buyer }), Some(buyer), "bridged"),
            ("call.ended", json!({ "outcome": "screened_out" }), None, "refused"),
            ("call.ended", json!({ "outcome": "no_bidder" }), None, "unsold"),
            ("call.ended", json!({ "outcome": "unanswered" }), None, "unanswered"),
            ("call.ended", json!({ "outcome": "abandoned" }), None, "abandoned"),
        ];
        for (kind, data, buyer, figure) in table {
            let fact = CallFact::read(kind, &data).expect("readable").expect("it counts");
            let (key, adds) = fact.adds(&call()).expect("it adds");
            assert_eq!(key.hour, Timestamp(10 * HOUR_MICROS));
            assert_eq!((key.seller, key.buyer), (account(1), buyer));
            let named: Vec<_> = FIGURES.iter().zip(adds.values()).filter(|(_, value)| *value != 0).collect();
            assert_eq!(named, [(&figure, 1)], "{kind}");
        }
    }

    #[test]
    fn money_adds_up_over_conversion_revenue_and_refund() {
        let buyer = account(2);
        let events = [
            ("call.ended", json!({ "outcome": "converted", "buyer": buyer, "connected_ms": 90_000 })),
            (
                "call.converted",
                json!({ "buyer": buyer, "charge_micros": 30, "payout_micros": 21, "margin_micros": 9 }),
            ),
            (
                "call.revenue_reported",
                json!({ "buyer": buyer, "added_micros": 10, "added_payout_micros": 7 }),
            ),
            (
                "call.dispute_settled",
                json!({ "buyer": buyer, "refunded_micros": 40, "refunded_payout_micros": 28 }),
            ),
        ];
        let mut sum = Figures::default();
        for (kind, data) in events {
            let fact = CallFact::read(kind, &data).expect("readable").expect("it counts");
            let (key, adds) = fact.adds(&call()).expect("it adds");
            assert_eq!(key.buyer, Some(buyer), "{kind}");
            sum.add(&adds);
        }
        let expected = Figures {
            converted: 1,
            connected_ms: 90_000,
            charged_micros: 40,
            paid_micros: 28,
            margin_micros: 12,
            refunded_micros: 40,
            refunded_payout_micros: 28,
            ..Figures::default()
        };
        assert_eq!(sum, expected);
    }

    #[test]
    fn pings_and_other_events_do_not_count_and_poison_says_what_is_wrong() {
        assert_eq!(CallFact::read("auction.started", &json!({})), Ok(None));
        let fact = CallFact::read("call.routed", &json!({ "buyer": account(2) })).expect("readable");
        let ping = RolledCall { is_ping: true, ..call() };
        assert_eq!(fact.expect("it counts").adds(&ping), None);
        let wrong = CallFact::read("call.routed", &json!({})).expect_err("no buyer");
        assert_eq!(wrong, "call.routed: missing field `buyer`");
    }
}
