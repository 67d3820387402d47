//! Criteria: which calls a bid, or one of its price modifiers, is for.

use crate::auction::matching::{CallFacts, Refusal};
use crate::id::AccountId;
use crate::place::{Language, State, Zip};
use crate::tracking_number::CallOrigin;
use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which calls something is for: every field must be met. An empty set, or an absent bound, takes any; what is not known
/// about a call meets nothing that is asked of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Criteria {
    /// Origins it takes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub origins: BTreeSet<CallOrigin>,
    /// States it takes, as two-letter codes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub states: BTreeSet<State>,
    /// Area codes it takes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub area_codes: BTreeSet<u16>,
    /// ZIP codes it takes. With `zip_radius` as well, either will do. Whether there are such codes is not asked: new ones come
    /// and military ones are on no map.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub zips: BTreeSet<Zip>,
    /// ZIP codes it takes by distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip_radius: Option<ZipRadius>,
    /// The caller's languages it takes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub languages: BTreeSet<Language>,
    /// What the call's tags must say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagRule>,
    /// The weakest attestation of the caller's number it takes (STIR/SHAKEN, ATIS-1000074): `A` is the strongest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_attestation: Option<Attestation>,
    /// The highest fraud score it takes, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_fraud_score: Option<u8>,
    /// The lowest quality of the seller it takes, 0 to 1,000; see [`crate::track_record`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_seller_quality: Option<u16>,
    /// The only sellers it buys from.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub sellers: BTreeSet<AccountId>,
    /// Sellers it never buys from.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub denied_sellers: BTreeSet<AccountId>,
}

/// Every ZIP code whose centre is at most so far from that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ZipRadius {
    /// The ZIP code in the middle.
    pub zip: Zip,
    /// How far, in miles along the earth's surface.
    pub radius_miles: u16,
}

/// How sure the originating carrier is that the caller may use the number it shows; the order is weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Attestation {
    /// Gateway: only where the call entered the network is known.
    C,
    /// Partial: the customer is known, the right to the number is not.
    B,
    /// Full: the customer is known and may use the number.
    A,
}

/// One question about one tag of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TagRule {
    /// The tag's name.
    pub name: String,
    /// What its value must be. A call without the tag does not meet it.
    pub is: TagTest,
    /// Turns the answer round: `"not": true` with `"equals": "es"` takes calls whose tag is another, or is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// What a tag's value must be, such as `{"in": ["search", "social"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TagTest {
    /// Exactly this.
    Equals(String),
    /// One of these.
    In(BTreeSet<String>),
    /// Has this somewhere in it.
    Contains(String),
    /// A whole number above this one.
    Greater(i64),
    /// A whole number below this one.
    Less(i64),
    /// Matches this regular expression, anywhere unless anchored with `^` and `$`.
    Matches(Pattern),
}

/// A regular expression that is known to be well formed. Matching takes time linear in the tag's length.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(value_type = String, example = "^6[5-9]$"))]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

/// The longest pattern taken, in bytes.
const PATTERN_BYTES_MAX: usize = 256;

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("is {} bytes long; write at most {PATTERN_BYTES_MAX}", text.len()));
        }
        let built = regex_lite::RegexBuilder::new(&text).size_limit(64 * 1024).build();
        let why = |error| format!("is not a regular expression ({error}); write one such as ^6[5-9]$");
        built.map(Self).map_err(why)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl TagRule {
    /// Whether a call whose tag has this value (or lacks the tag) meets the rule.
    pub fn is_met(&self, value: Option<&str>) -> bool {
        let number = |value: &str| value.parse::<i64>().ok();
        let met = value.is_some_and(|value| match &self.is {
            TagTest::Equals(wanted) => value == wanted,
            TagTest::In(wanted) => wanted.contains(value),
            TagTest::Contains(part) => value.contains(part.as_str()),
            TagTest::Greater(bound) => number(value).is_some_and(|value| value > *bound),
            TagTest::Less(bound) => number(value).is_some_and(|value| value < *bound),
            TagTest::Matches(pattern) => pattern.0.is_match(value),
        });
        met != self.not
    }
}

impl Criteria {
    /// The first criterion the call does not meet, in the order receipts count by, or `None` when it meets them all.
    pub fn refusal(&self, call: &CallFacts) -> Option<Refusal> {
        let misses = |set_is_empty: bool, is_in: bool| !set_is_empty && !is_in;
        let is_one_of = |set: &BTreeSet<AccountId>| set.contains(&call.seller);
        if misses(self.origins.is_empty(), self.origins.contains(&call.origin)) {
            return Some(Refusal::Origin);
        }
        if misses(self.states.is_empty(), call.state.is_some_and(|state| self.states.contains(&state))) {
            return Some(Refusal::State);
        }
        let in_area = call.area_code.is_some_and(|area_code| self.area_codes.contains(&area_code));
        if misses(self.area_codes.is_empty(), in_area) {
            return Some(Refusal::AreaCode);
        }
        if !self.takes_zip(call.zip) {
            return Some(Refusal::Zip);
        }
        let speaks = call.language.is_some_and(|language| self.languages.contains(&language));
        if misses(self.languages.is_empty(), speaks) {
            return Some(Refusal::Language);
        }
        // No attestation is below every other.
        if self.min_attestation.is_some() && call.attestation < self.min_attestation {
            return Some(Refusal::Attestation);
        }
        if misses(self.sellers.is_empty(), is_one_of(&self.sellers)) || is_one_of(&self.denied_sellers) {
            return Some(Refusal::Seller);
        }
        if self.tags.iter().any(|rule| !rule.is_met(call.tags.get(&rule.name))) {
            return Some(Refusal::Tags);
        }
        if self.max_fraud_score.is_some_and(|most| call.fraud_score > most) {
            return Some(Refusal::FraudScore);
        }
        let too_poor = self.min_seller_quality.is_some_and(|least| call.seller_quality < least);
        too_poor.then_some(Refusal::SellerQuality)
    }

    fn takes_zip(&self, zip: Option<Zip>) -> bool {
        if self.zips.is_empty() && self.zip_radius.is_none() {
            return true;
        }
        zip.is_some_and(|zip| {
            self.zips.contains(&zip) || self.zip_radius.is_some_and(|radius| radius.covers(zip))
        })
    }
}

impl ZipRadius {
    /// Whether the centre of `zip` is within the radius. Places that are not on the map are covered by nothing but themselves.
    pub fn covers(&self, zip: Zip) -> bool {
        let distance = crate::place::distance_miles(self.zip, zip);
        zip == self.zip || distance.is_some_and(|miles| miles <= f64::from(self.radius_miles))
    }
}
