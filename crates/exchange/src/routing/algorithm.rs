//! The algorithms. `docs/auctions-and-routing.md` has all formulas and sources on one page.

use serde::{Deserialize, Serialize};

/// How the route plan is made: `highest_bid`, the best score first; `priority_weight`, priority groups and chance by weight;
/// `round_robin`, priority groups and turns; `percentage`, priority groups and shares by weight; `cost_quality`, price and quality, half
/// and half; `skill`, most of the wanted skills; `nearest`, by distance; `predictive`, expected revenue with exploration. Formulas and
/// sources: `docs/auctions-and-routing.md`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// The best score first.
    #[default]
    HighestBid,
    /// Priority groups, 1 first; within a group by chance, each bid as likely as its weight says.
    PriorityWeight,
    /// Priority groups; within a group whoever was rung longest ago.
    RoundRobin,
    /// Priority groups; within a group whoever is furthest behind its share of the calls.
    Percentage,
    /// Price and quality, half and half.
    CostQuality,
    /// Whoever has most of the skills the call asks for, then the best score.
    Skill,
    /// The nearest target first.
    Nearest,
    /// The highest expected revenue for the call, with a bonus for targets little is known of.
    Predictive,
}
