//! The packed form of bid profiles: bytes that are read several times as fast as their documents, for copies of the store that exist to be
//! read at a restart.
//!
//! Nothing is kept in this form alone, so it need not outlive the program that wrote it: whoever keeps it keeps [`FORMAT`] beside it, and
//! goes back to the documents where that is another one. Numbers are little-endian, lists and texts begin with their length.

use super::caps::{Caps, HourlyCalls, Limit, Pacing, Period};
use super::criteria::{Attestation, Criteria, Pattern, TagRule, TagTest, ZipRadius};
use super::live::LiveBidder;
use super::price::{Modifier, Price, PriceChange};
use super::{BidProfile, BidStatus, Conversion, Destination};
use crate::id::{AccountId, BidProfileId, CapGroupId};
use crate::ledger::money::Micros;
use crate::place::{Language, State, Zip};
use crate::schedule::{Day, Holiday, MinuteOfDay, OpenHours, Schedule, ZoneName};
use crate::tracking_number::CallOrigin;
use std::collections::{BTreeSet, HashSet};
use uuid::Uuid;

/// One more with every change of the form. A test has the bytes of one bid, and fails when they change.
pub const FORMAT: u32 = 1;

/// Appends a bid profile's packed form.
pub fn pack(bid: &BidProfile, bytes: &mut Vec<u8>) {
    bid.pack(bytes);
}

/// Reads packed bid profiles, one after the other.
#[derive(Debug)]
pub struct Unpacker<'a> {
    bytes: &'a [u8],
    /// Names that were found to be time zones.
    zones: HashSet<String>,
}

impl<'a> Unpacker<'a> {
    /// Reads from these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, zones: HashSet::new() }
    }

    /// Whether all was read.
    pub fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next bid profile; `None` where the bytes are none.
    pub fn bid_profile(&mut self) -> Option<BidProfile> {
        BidProfile::unpack(self)
    }

    fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (array, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*array)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        std::str::from_utf8(text).ok()
    }

    /// At most what there still is: nothing is bigger in memory than a list of so many bytes could make it.
    fn length(&mut self) -> Option<usize> {
        let length = u32::unpack(self)? as usize;
        (length <= self.bytes.len()).then_some(length)
    }
}

/// What has a packed form.
trait Packed: Sized {
    fn pack(&self, bytes: &mut Vec<u8>);
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Packed for $number {
            fn pack(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
                from.array().map(Self::from_le_bytes)
            }
        }
    )*};
}

/// Structs, field by field. The pattern names all of them: a field that is added is not forgotten here.
macro_rules! structs {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl Packed for $name {
            fn pack(&self, bytes: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.pack(bytes);)*
            }
            fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
                Some(Self { $($field: Packed::unpack(from)?),* })
            }
        }
    )*};
}

/// Wrappers of one value.
macro_rules! wrappers {
    ($($name:ident),*) => {$(
        impl Packed for $name {
            fn pack(&self, bytes: &mut Vec<u8>) {
                self.0.pack(bytes);
            }
            fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
                Packed::unpack(from).map(Self)
            }
        }
    )*};
}

/// Enums, each variant with its number and what it carries.
macro_rules! enums {
    ($($name:ident { $($number:literal => $variant:ident $({ $($field:ident),* })? $(($value:ident))?),* })*) => {$(
        impl Packed for $name {
            fn pack(&self, bytes: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(($value))? => {
                        bytes.push($number);
                        $($($field.pack(bytes);)*)?
                        $($value.pack(bytes);)?
                    })*
                }
            }
            fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
                Some(match u8::unpack(from)? {
                    $($number => Self::$variant
                        $({ $($field: Packed::unpack(from)?),* })?
                        $(({ let $value = Packed::unpack(from)?; $value }))?,)*
                    _ => return None,
                })
            }
        }
    )*};
}

/// What is checked when it is read from text is packed as that text, and checked again.
macro_rules! texts {
    ($($name:ident),*) => {$(
        impl Packed for $name {
            fn pack(&self, bytes: &mut Vec<u8>) {
                String::from(self.clone()).pack(bytes);
            }
            fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
                Self::try_from(from.text()?.to_owned()).ok()
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, i64);
wrappers!(AccountId, BidProfileId, CapGroupId, Micros, MinuteOfDay);
texts!(Holiday, Pattern);
structs! {
    BidProfile {
        id, buyer, name, status, vertical, price, modifiers, conversion, criteria, schedule, caps, priority, weight, skills, location,
        destination, ring_timeout_ms, max_call_s, live
    }
    Modifier { when, change }
    Conversion { min_connected_s }
    Criteria {
        origins, states, area_codes, zips, zip_radius, languages, tags, min_attestation, max_fraud_score, min_seller_quality, sellers,
        denied_sellers
    }
    ZipRadius { zip, radius_miles }
    TagRule { name, is, not }
    Schedule { time_zone, hours, holidays }
    OpenHours { day, from, to }
    Caps { concurrent_calls, concurrent_calls_by_hour, limits, group, pacing }
    HourlyCalls { day, calls }
    Limit { per, calls, conversions, spend_micros }
    Destination { sip_uris }
}
enums! {
    BidStatus { 0 => Active, 1 => Paused }
    CallOrigin { 0 => OrganicInbound, 1 => CallbackRequested, 2 => OutboundTransfer, 3 => Outbound }
    Attestation { 0 => C, 1 => B, 2 => A }
    Day { 0 => Mon, 1 => Tue, 2 => Wed, 3 => Thu, 4 => Fri, 5 => Sat, 6 => Sun }
    Period { 0 => Hour, 1 => Day, 2 => Week, 3 => Month, 4 => Total }
    Pacing { 0 => AsSoonAsPossible, 1 => Even }
    Price {
        0 => PerCall { amount_micros },
        1 => PerMinute { rate_micros, first_increment_s, next_increment_s },
        2 => RevenueShare { share_basis_points, min_micros, max_micros, expected_micros, report_within_s }
    }
    PriceChange { 0 => AddMicros(micros), 1 => MultiplyBasisPoints(factor), 2 => OverrideMicros(micros), 3 => Reject }
    TagTest {
        0 => Equals(value), 1 => In(values), 2 => Contains(part), 3 => Greater(bound), 4 => Less(bound), 5 => Matches(pattern)
    }
}

impl Packed for bool {
    fn pack(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        u8::unpack(from).map(|byte| byte != 0)
    }
}

impl Packed for String {
    fn pack(&self, bytes: &mut Vec<u8>) {
        pack_text(self, bytes);
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        from.text().map(str::to_owned)
    }
}

impl Packed for Uuid {
    fn pack(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.as_bytes());
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        from.array().map(Self::from_bytes)
    }
}

impl<T: Packed> Packed for Option<T> {
    fn pack(&self, bytes: &mut Vec<u8>) {
        self.is_some().pack(bytes);
        if let Some(value) = self {
            value.pack(bytes);
        }
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        if bool::unpack(from)? { T::unpack(from).map(Some) } else { Some(None) }
    }
}

impl<T: Packed> Packed for Vec<T> {
    fn pack(&self, bytes: &mut Vec<u8>) {
        pack_length(self.len(), bytes);
        for item in self {
            item.pack(bytes);
        }
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        let length = from.length()?;
        let mut items = Self::with_capacity(length);
        for _ in 0..length {
            items.push(T::unpack(from)?);
        }
        Some(items)
    }
}

impl<T: Packed + Ord> Packed for BTreeSet<T> {
    fn pack(&self, bytes: &mut Vec<u8>) {
        pack_length(self.len(), bytes);
        for item in self {
            item.pack(bytes);
        }
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        let mut items = Self::new();
        for _ in 0..from.length()? {
            items.insert(T::unpack(from)?);
        }
        Some(items)
    }
}

impl Packed for [u32; 24] {
    fn pack(&self, bytes: &mut Vec<u8>) {
        for number in self {
            number.pack(bytes);
        }
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        let mut numbers = [0; 24];
        for number in &mut numbers {
            *number = u32::unpack(from)?;
        }
        Some(numbers)
    }
}

impl Packed for State {
    fn pack(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.letters());
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Self::of_letters(from.array()?)
    }
}

impl Packed for Language {
    fn pack(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.letters());
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Self::of_letters(from.array()?)
    }
}

impl Packed for Zip {
    fn pack(&self, bytes: &mut Vec<u8>) {
        self.number().pack(bytes);
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        Self::of_number(u32::unpack(from)?)
    }
}

impl Packed for ZoneName {
    fn pack(&self, bytes: &mut Vec<u8>) {
        pack_text(self.as_str(), bytes);
    }
    /// Whether there is such a zone is asked once for each name.
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        let name = from.text()?;
        if from.zones.contains(name) {
            return Some(Self::known(name));
        }
        let zone = Self::try_from(name.to_owned()).ok()?;
        from.zones.insert(name.to_owned());
        Some(zone)
    }
}

/// Few bids have one, and it has many parts: it stays JSON.
impl Packed for Box<LiveBidder> {
    fn pack(&self, bytes: &mut Vec<u8>) {
        serde_json::to_string(self).expect("plain data").pack(bytes);
    }
    fn unpack(from: &mut Unpacker<'_>) -> Option<Self> {
        serde_json::from_str(from.text()?).ok()
    }
}

fn pack_text(text: &str, bytes: &mut Vec<u8>) {
    pack_length(text.len(), bytes);
    bytes.extend_from_slice(text.as_bytes());
}

fn pack_length(length: usize, bytes: &mut Vec<u8>) {
    u32::try_from(length).expect("a bid profile is far shorter").pack(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bid::live::{CallerDisclosure, LiveVia};

    /// A bid that says something in every field.
    fn full() -> BidProfile {
        let price = Price::RevenueShare {
            share_basis_points: 1_500,
            min_micros: Micros(1),
            max_micros: Micros(9),
            expected_micros: Micros(5),
            report_within_s: 3_600,
        };
        let tag = |name: &str, is| TagRule { name: name.to_owned(), is, not: name == "c" };
        let tags = vec![
            tag("a", TagTest::Equals("x".to_owned())),
            tag("b", TagTest::In(["y".to_owned(), "z".to_owned()].into())),
            tag("c", TagTest::Contains("w".to_owned())),
            tag("d", TagTest::Greater(-7)),
            tag("e", TagTest::Less(7)),
            tag("f", TagTest::Matches("^6[5-9]$".to_owned().try_into().expect("a pattern"))),
        ];
        let zip: Zip = "33101".to_owned().try_into().expect("a ZIP code");
        let seller = AccountId(Uuid::from_u128(3));
        let criteria = Criteria {
            origins: [CallOrigin::OrganicInbound, CallOrigin::Outbound].into(),
            states: [State::of_letters(*b"FL").expect("a state")].into(),
            area_codes: [212, 305].into(),
            zips: [zip].into(),
            zip_radius: Some(ZipRadius { zip, radius_miles: 25 }),
            languages: [Language::of_letters(*b"es").expect("a language")].into(),
            tags,
            min_attestation: Some(Attestation::B),
            max_fraud_score: Some(40),
            min_seller_quality: Some(500),
            sellers: [seller].into(),
            denied_sellers: [AccountId(Uuid::from_u128(4))].into(),
        };
        let change = |change| Modifier { when: Criteria::default(), change };
        let holiday = |text: &str| Holiday::try_from(text.to_owned()).expect("a day");
        BidProfile {
            status: BidStatus::Paused,
            modifiers: vec![
                change(PriceChange::AddMicros(Micros(-3))),
                change(PriceChange::MultiplyBasisPoints(12_500)),
                change(PriceChange::OverrideMicros(Micros(8))),
                Modifier { when: criteria.clone(), change: PriceChange::Reject },
            ],
            conversion: Conversion { min_connected_s: 90 },
            criteria,
            schedule: Schedule {
                time_zone: "America/New_York".to_owned().try_into().expect("a zone"),
                hours: vec![OpenHours { day: Day::Sun, from: MinuteOfDay(540), to: MinuteOfDay(1_440) }],
                holidays: [holiday("12-25"), holiday("2026-11-26")].into(),
            },
            caps: Caps {
                concurrent_calls: Some(10),
                concurrent_calls_by_hour: vec![HourlyCalls { day: Day::Mon, calls: [2; 24] }],
                limits: vec![Limit {
                    per: Period::Week,
                    calls: Some(1),
                    conversions: None,
                    spend_micros: Some(Micros(4)),
                }],
                group: Some(CapGroupId(Uuid::from_u128(5))),
                pacing: Pacing::Even,
            },
            priority: 2,
            weight: 30,
            skills: ["spanish".to_owned()].into(),
            location: Some(zip),
            ring_timeout_ms: Some(20_000),
            max_call_s: Some(3_600),
            live: Some(Box::new(LiveBidder {
                via: LiveVia::Connection,
                timeout_ms: Some(80),
                requests_per_s: None,
                in_flight_max: Some(8),
                caller: CallerDisclosure::default(),
            })),
            ..BidProfile::new(
                BidProfileId(Uuid::from_u128(1)),
                AccountId(Uuid::from_u128(2)),
                "roofing",
                price,
                Destination::of("sip:target@127.0.0.1:5090"),
            )
        }
    }

    fn packed(bid: &BidProfile) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack(bid, &mut bytes);
        bytes
    }

    #[test]
    fn bids_come_back_one_after_the_other() {
        let price = Price::PerMinute { rate_micros: Micros(2), first_increment_s: 30, next_increment_s: 6 };
        let plain = BidProfile { live: None, price, ..full() };
        let bytes = [packed(&full()), packed(&plain)].concat();
        let mut from = Unpacker::new(&bytes);
        assert_eq!([from.bid_profile(), from.bid_profile()], [Some(full()), Some(plain)]);
        assert!(from.is_at_end());
    }

    #[test]
    fn bytes_that_end_too_early_are_none() {
        let bytes = packed(&full());
        for end in 0..bytes.len() {
            assert_eq!(Unpacker::new(&bytes[..end]).bid_profile(), None, "{end} of {} bytes", bytes.len());
        }
    }

    /// If this fails the form has changed: raise [`FORMAT`], and put the new figures here.
    #[test]
    fn a_format_is_one_form() {
        let bytes = packed(&full());
        let sum = bytes.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        assert_eq!((FORMAT, bytes.len(), sum), (1, 947, 7_873_671_898_580_702_239));
    }
}
