//! What the API reads, a file for each subject.

pub(super) mod accounts;
pub(super) mod tracking_numbers;
pub(super) mod bid_profiles;
pub(super) mod calls;
pub(super) mod disputes;
pub(super) mod trading;
mod journal;
pub(super) mod totals;
pub(super) mod transfers;
pub(super) mod events;
pub(super) mod dead_letters;
pub(super) mod roll_ups;
pub(super) mod api_keys;
pub(super) mod audit;
mod conditions;
