//! The algorithms, each with its formula and source.

use serde::{Deserialize, Serialize};

/// How the route plan is made.
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
