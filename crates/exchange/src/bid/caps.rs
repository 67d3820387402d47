//! Caps: how many calls and how much money a bid, or a group of bids, takes.

use crate::id::{AccountId, CapGroupId};
use crate::ledger::money::Micros;
use crate::schedule::{Day, LocalTime, ZoneName};
use serde::{Deserialize, Serialize};

/// How many calls and how much money. Absent is unlimited; a cap of 0 lets nothing through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Calls at the same time, ringing or connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_calls: Option<u32>,
    /// Calls at the same time by hour of the week, in the schedule's time zone; hours of days that are not named have
    /// `concurrent_calls` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub concurrent_calls_by_hour: Vec<HourlyCalls>,
    /// Limits by period, in the schedule's time zone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
    /// The group whose caps it shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<CapGroupId>,
    /// How its daily limits are spent.
    pub pacing: Pacing,
}

/// Calls at the same time on one day of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HourlyCalls {
    /// The day.
    pub day: Day,
    /// One number an hour, midnight first.
    pub calls: [u32; 24],
}

/// The most of something in one period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The period.
    pub per: Period,
    /// Answered calls. A call that rings counts until it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
    /// Converted calls. A call that may yet convert counts until it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversions: Option<u32>,
    /// Micro-units. A hold counts until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend_micros: Option<Micros>,
}

/// A period of a limit, on the wall clock of the schedule's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A clock hour.
    Hour,
    /// A calendar day.
    Day,
    /// Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// For ever.
    Total,
}

/// How daily limits are spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// As calls come, until the limit is reached.
    #[default]
    AsSoonAsPossible,
    /// Spread over the day's opening hours: at no moment more than the share of them that has begun.
    Even,
}

/// Caps that several bids of one buyer share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CapGroup {
    /// Its identity.
    pub id: CapGroupId,
    /// Whose bids it is for.
    pub buyer: AccountId,
    /// For people.
    pub name: String,
    /// Whose midnight its days end at.
    #[serde(default)]
    pub time_zone: ZoneName,
    /// Calls at the same time, ringing or connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_calls: Option<u32>,
    /// Limits by period.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Limit>,
}

impl Limit {
    /// At most so many answered calls in each period.
    pub fn calls(per: Period, calls: u32) -> Self {
        Self { per, calls: Some(calls), conversions: None, spend_micros: None }
    }

    /// At most so much money in each period, in micro-units.
    pub fn spend(per: Period, spend_micros: Micros) -> Self {
        Self { per, calls: None, conversions: None, spend_micros: Some(spend_micros) }
    }
}

impl Caps {
    /// The concurrency cap at this local time: the smaller of the two that are given.
    pub fn concurrent_calls_at(&self, local: &LocalTime) -> Option<u32> {
        let hour = usize::from(local.minute_of_day / 60);
        let by_hour = self.concurrent_calls_by_hour.iter().find(|row| row.day == local.weekday);
        let by_hour = by_hour.and_then(|row| row.calls.get(hour).copied());
        [self.concurrent_calls, by_hour].into_iter().flatten().min()
    }

    /// Whether nothing is capped, so that nothing need be looked up.
    pub fn is_unlimited(&self) -> bool {
        self.concurrent_calls.is_none()
            && self.concurrent_calls_by_hour.is_empty()
            && self.limits.is_empty()
            && self.group.is_none()
    }
}
