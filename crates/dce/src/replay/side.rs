//! What the calls came to on one side of the comparison: as it was, or under other rules.

use exchange::auction::matching::Refusal;
use exchange::auction::receipt::Receipt;
use exchange::call::{Call, CallState, Outcome, RevenueStage};
use exchange::effect::{Effect, Record};
use exchange::event::{Event, Fact, Subject};
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::time::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Which calls are compared: those received within it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The first moment; absent is the beginning.
    pub(super) from: Option<Timestamp>,
    /// The first moment after it; absent is never.
    pub(super) to: Option<Timestamp>,
    /// Only calls of this vertical.
    pub(super) vertical: Option<String>,
}

impl Window {
    pub(super) fn contains(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }
}

/// What there is in the journal, wanted or not: where nothing is compared, it says why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Journal {
    /// Calls at any time, of any vertical, without pings.
    pub(super) calls: u64,
    /// Pings that are within what is compared. They are offers and not calls: the calls that followed them are counted.
    pub(super) pings: u64,
    /// When the first and the last of all calls were received, in microseconds since 1970.
    pub(super) first_at: Option<Timestamp>,
    pub(super) last_at: Option<Timestamp>,
    /// What they were about.
    pub(super) verticals: BTreeSet<String>,
}

/// One side's figures. Pings are not counted, the calls that follow them are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Figures {
    pub(super) screened_out: i64,
    /// No bid wanted them.
    pub(super) no_bidder: i64,
    /// Of those, calls for which a bid was refused because of a floor.
    pub(super) refused_by_floor: i64,
    /// At least one target was rung.
    pub(super) ringed: i64,
    /// At least one target answered.
    pub(super) answered: i64,
    pub(super) converted: i64,
    pub(super) charged_micros: i64,
    pub(super) payout_micros: i64,
    pub(super) margin_micros: i64,
    /// Charged for each converted call.
    pub(super) average_price_micros: i64,
}

/// What one bid, or one buyer, got and paid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    pub(super) converted: i64,
    pub(super) charged_micros: i64,
}

/// One side.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) window: Window,
    pub(super) calls: HashMap<CallId, Seen>,
    /// By bid, with whose it is.
    pub(super) bids: BTreeMap<(AccountId, BidProfileId), Share>,
    pub(super) journal: Journal,
    figures: Figures,
}

/// What is known of a call that is compared.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// The first of the route plan.
    pub(super) winner: Option<BidProfileId>,
    was_rung: bool,
    was_answered: bool,
    /// A bid was refused because of a floor.
    met_floor: bool,
}

impl Journal {
    fn note(&mut self, vertical: &str, is_ping: bool, is_within: bool, at: Timestamp) {
        if !self.verticals.contains(vertical) {
            self.verticals.insert(vertical.to_owned());
        }
        if is_ping {
            self.pings += u64::from(is_within);
            return;
        }
        self.calls += 1;
        self.first_at.get_or_insert(at);
        self.last_at = Some(at);
    }
}

impl Side {
    pub(super) fn new(window: Window) -> Self {
        let (journal, figures) = (Journal::default(), Figures::default());
        Self { window, calls: HashMap::new(), bids: BTreeMap::new(), journal, figures }
    }

    /// Whether a call is one of those compared.
    pub(super) fn counts(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    pub(super) fn figures(&self) -> Figures {
        let mut figures = self.figures.clone();
        figures.average_price_micros = figures.charged_micros.checked_div(figures.converted).unwrap_or(0);
        figures
    }

    /// Takes in what one step decided.
    pub(super) fn note(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Record(Record::Event(Event { subject: Subject::Call(call), at, fact })) => {
                    self.note_fact(*call, *at, fact);
                }
                Effect::Record(Record::Receipt(receipt)) => self.note_receipt(receipt),
                Effect::Record(Record::Call(call)) => self.note_call(call),
                _ => {}
            }
        }
    }

    fn note_fact(&mut self, call: CallId, at: Timestamp, fact: &Fact) {
        match fact {
            Fact::CallReceived { vertical, is_ping, .. } => {
                let is_asked_for = self.window.vertical.as_ref().is_none_or(|asked| asked == vertical);
                let is_within = is_asked_for && self.window.contains(at);
                self.journal.note(vertical, *is_ping, is_within, at);
                if is_within && !is_ping {
                    self.calls.insert(call, Seen::default());
                }
            }
            Fact::RoutingDecision { plan, .. } => {
                if let Some(seen) = self.calls.get_mut(&call) {
                    seen.winner = plan.first().copied();
                }
            }
            _ => {}
        }
    }

    fn note_receipt(&mut self, receipt: &Receipt) {
        let (Some(seen), Some(auction)) = (self.calls.get_mut(&receipt.call), &receipt.auction) else {
            return;
        };
        let live = auction.live.iter().filter_map(|said| said.refused);
        seen.met_floor = auction
            .refused
            .keys()
            .copied()
            .chain(live)
            .any(|refusal| matches!(refusal, Refusal::BelowFloor | Refusal::BelowDealFloor));
    }

    fn note_call(&mut self, call: &Call) {
        let Some(seen) = self.calls.get_mut(&call.id) else { return };
        let figures = &mut self.figures;
        match &call.state {
            CallState::Ringing { .. } if !seen.was_rung => {
                seen.was_rung = true;
                figures.ringed += 1;
            }
            CallState::Connected { .. } if !seen.was_answered => {
                seen.was_answered = true;
                figures.answered += 1;
            }
            CallState::Ended { outcome, .. } => match outcome {
                Outcome::ScreenedOut { .. } => figures.screened_out += 1,
                Outcome::NoBidder => {
                    figures.no_bidder += 1;
                    figures.refused_by_floor += i64::from(seen.met_floor);
                }
                Outcome::Converted { attempt, charge_micros, payout_micros, revenue, .. } => {
                    let stage = revenue.as_ref().map(|revenue| &revenue.stage);
                    // A call that awaited its buyer's revenue is written once more when that has come, or has not.
                    let (calls, charge, payout) = match stage {
                        None | Some(RevenueStage::Awaited { .. }) => (1, charge_micros.0, payout_micros.0),
                        Some(RevenueStage::Reported { added_micros, added_payout_micros, .. }) => {
                            (0, added_micros.0, added_payout_micros.0)
                        }
                        Some(RevenueStage::Lapsed) => (0, 0, 0),
                    };
                    figures.converted += calls;
                    figures.charged_micros += charge;
                    figures.payout_micros += payout;
                    figures.margin_micros += charge - payout;
                    let share = self.bids.entry((attempt.buyer, attempt.bid)).or_default();
                    share.converted += calls;
                    share.charged_micros += charge;
                }
                _ => {}
            },
            _ => {}
        }
    }
}

impl Figures {
    /// Each figure with its name, what it was and what it would have been; whether it is money.
    pub(super) fn rows(&self, other: &Self) -> Vec<(&'static str, i64, i64, bool)> {
        vec![
            ("screened out", self.screened_out, other.screened_out, false),
            ("no bidder", self.no_bidder, other.no_bidder, false),
            ("  because of a floor", self.refused_by_floor, other.refused_by_floor, false),
            ("rang a target", self.ringed, other.ringed, false),
            ("answered", self.answered, other.answered, false),
            ("converted", self.converted, other.converted, false),
            ("charged to buyers", self.charged_micros, other.charged_micros, true),
            ("paid to sellers", self.payout_micros, other.payout_micros, true),
            ("kept as margin", self.margin_micros, other.margin_micros, true),
            ("average price", self.average_price_micros, other.average_price_micros, true),
        ]
    }

    /// What these are above the others.
    pub(super) fn minus(&self, other: &Self) -> Self {
        Self {
            screened_out: self.screened_out - other.screened_out,
            no_bidder: self.no_bidder - other.no_bidder,
            refused_by_floor: self.refused_by_floor - other.refused_by_floor,
            ringed: self.ringed - other.ringed,
            answered: self.answered - other.answered,
            converted: self.converted - other.converted,
            charged_micros: self.charged_micros - other.charged_micros,
            payout_micros: self.payout_micros - other.payout_micros,
            margin_micros: self.margin_micros - other.margin_micros,
            average_price_micros: self.average_price_micros - other.average_price_micros,
        }
    }
}

impl Share {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            converted: self.converted + other.converted,
            charged_micros: self.charged_micros + other.charged_micros,
        }
    }
}
