//! Clearing: what the winner, and each fall-back in its turn, pays.

use crate::auction::contest::Entrant;
use crate::bid::Price;
use crate::ledger::money::Micros;
use crate::trading_rules::TradingRules;
use serde::{Deserialize, Serialize};

/// How the price is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AuctionType {
    /// Whoever takes the call pays its own bid.
    #[default]
    FirstPrice,
    /// Whoever takes the call pays what it had to bid to beat the next in line: the runner-up plus the increment, at least the
    /// floor, at most its own bid. Where there is neither a runner-up nor a floor it pays its own bid.
    SecondPrice,
    /// Everyone who bids at least the floor pays the floor; priority decides who goes first.
    FixedPrice,
}

/// The price an entrant pays if it takes the call.
///
/// Second price is the generalised one (Edelman, Ostrovsky and Schwarz 2007): each entrant pays the least it could have bid and
/// still have kept its place, `(runner-up's score + increment) / its own quality`. The runner-up is the next lower score of
/// *another* buyer of the same tier (deals with a first look, or everyone else): nobody bids against itself, or against somebody
/// it did not have to beat. With neither a runner-up nor a floor there is no second price, and a call is not given away: the
/// entrant pays its own bid.
pub fn cleared(entrant: &Entrant, all: &[Entrant], floor: Micros, rules: &TradingRules) -> Price {
    let own = entrant.offer.expected;
    let target = match rules.auction_type {
        AuctionType::FixedPrice if floor > Micros::ZERO => floor,
        AuctionType::FirstPrice | AuctionType::FixedPrice => own,
        AuctionType::SecondPrice => {
            let needed = runner_up(entrant, all).map(|runner_up| {
                let quality = entrant.offer.quality;
                needed_to_score(runner_up.offer.score, rules.increment_micros, quality, rules)
            });
            match needed {
                Some(needed) => needed.max(floor),
                None if floor > Micros::ZERO => floor,
                None => own,
            }
        }
    };
    scaled(entrant.offer.price, own, target.min(own))
}

/// The best entrant of another buyer, in the same tier, that this one is ahead of.
fn runner_up<'a>(entrant: &Entrant, all: &'a [Entrant]) -> Option<&'a Entrant> {
    let rivals = all.iter().filter(|other| {
        other.buyer != entrant.buyer
            && other.has_first_look() == entrant.has_first_look()
            && other.rank() > entrant.rank()
    });
    rivals.min_by_key(|other| other.rank())
}

/// What a bid of this quality must be expected to bring for its score to be `more` than another's, rounded up to whole
/// micro-units.
pub fn needed_to_score(score: Micros, more: Micros, quality: Option<u16>, rules: &TradingRules) -> Micros {
    let score = i128::from(score.0) + i128::from(more.0);
    let quality =
        quality.filter(|_| rules.quality_adjusted).map_or(1_000, |quality| i128::from(quality.max(1)));
    let needed = (score * 1_000 + quality - 1) / quality;
    Micros(i64::try_from(needed).unwrap_or(i64::MAX))
}

/// The price at which a call that would have brought `own` brings `target`: its amount in proportion, rounded up, never more
/// than it was.
fn scaled(price: Price, own: Micros, target: Micros) -> Price {
    if target >= own || own <= Micros::ZERO {
        return price;
    }
    let (own, target) = (i128::from(own.0), i128::from(target.0.max(1)));
    let amount = (i128::from(price.amount().0) * target + own - 1) / own;
    price.with_amount(Micros(i64::try_from(amount).expect("less than it was")))
}
