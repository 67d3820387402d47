//! Random parts of a marketplace, of so few values that they often meet.

use exchange::bid::criteria::{TagRule, TagTest, ZipRadius};
use exchange::bid::price::{Modifier, PriceChange};
use exchange::bid::{Criteria, Price};
use exchange::call::Stated;
use exchange::id::AccountId;
use exchange::ledger::money::Micros;
use exchange::phone_number::CallerId;
use exchange::track_record::TrackRecord;
use exchange::tracking_number::CallOrigin;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use uuid::Uuid;

/// The seller of every random call.
pub(crate) const SELLER: AccountId = AccountId(Uuid::from_u128(900));

/// A seller that has no calls.
const OTHER_SELLER: AccountId = AccountId(Uuid::from_u128(901));

/// A value that is written as one word in JSON.
pub(crate) fn word<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).expect("a word of that kind")
}

fn words<T: DeserializeOwned>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| word(text)).collect()
}

/// Mostly nothing, else some of these.
fn some_of<T: Clone + Debug + Ord + 'static>(all: Vec<T>) -> impl Strategy<Value = BTreeSet<T>> {
    let count = all.len();
    let some = subsequence(all, 1..=count).prop_map(|some| some.into_iter().collect());
    prop_oneof![3 => Just(BTreeSet::new()), 1 => some]
}

/// Mostly nothing, else this.
fn rarely<T: Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    option::weighted(0.2, value)
}

fn tag_value() -> impl Strategy<Value = String> {
    select(vec!["search", "radio", "64", "66", "-1", ""]).prop_map(str::to_owned)
}

fn tag_rule() -> impl Strategy<Value = TagRule> {
    let is = prop_oneof![
        3 => tag_value().prop_map(TagTest::Equals),
        2 => vec(tag_value(), 0..3).prop_map(|values| TagTest::In(values.into_iter().collect())),
        1 => select(vec!["r", "6", ""]).prop_map(|part| TagTest::Contains(part.to_owned())),
        1 => (0i64..70).prop_map(TagTest::Greater),
        1 => (0i64..70).prop_map(TagTest::Less),
        1 => select(vec!["^6[5-9]$", "ad", "^$"]).prop_map(|text| TagTest::Matches(word(text))),
    ];
    let name = select(vec!["source", "age"]).prop_map(str::to_owned);
    (name, is, any::<bool>()).prop_map(|(name, is, not)| TagRule { name, is, not })
}

/// Criteria of every kind, mostly few at a time.
pub(crate) fn criteria() -> impl Strategy<Value = Criteria> {
    let zips = || words(&["33101", "33139", "10001", "99999"]);
    let radius = (select(zips()), prop_oneof![1u16..50, 1_000u16..3_000]);
    let radius = radius.prop_map(|(zip, radius_miles)| ZipRadius { zip, radius_miles });
    (
        some_of(vec![CallOrigin::OrganicInbound, CallOrigin::OutboundTransfer]),
        some_of(words(&["FL", "NY", "TX"])),
        some_of(vec![212, 305, 713]),
        some_of(zips()),
        rarely(radius),
        some_of(words(&["en", "es"])),
        prop_oneof![2 => Just(Vec::new()), 1 => vec(tag_rule(), 1..3)],
        rarely(select(words(&["A", "B", "C"]))),
        rarely(0u8..60),
        rarely(700u16..900),
        some_of(vec![SELLER, OTHER_SELLER]),
        some_of(vec![SELLER, OTHER_SELLER, AccountId(Uuid::from_u128(902))]),
    )
        .prop_map(
            |(
                origins,
                states,
                area_codes,
                zips,
                zip_radius,
                languages,
                tags,
                min_attestation,
                max_fraud_score,
                min_seller_quality,
                sellers,
                denied_sellers,
            )| Criteria {
                origins,
                states,
                area_codes,
                zips,
                zip_radius,
                languages,
                tags,
                min_attestation,
                max_fraud_score,
                min_seller_quality,
                sellers,
                denied_sellers,
            },
        )
}

/// Amounts, many of them round so that they tie.
pub(crate) fn amount() -> impl Strategy<Value = Micros> {
    prop_oneof![(1i64..12).prop_map(|units| Micros(units * 4_000_000)), (1i64..50_000_000).prop_map(Micros)]
}

/// Prices of every kind.
pub(crate) fn price() -> impl Strategy<Value = Price> {
    let per_minute = (1i64..5_000_000, 0u32..90, 1u32..90);
    let share = (1u16..10_000, 0i64..5_000_000, amount());
    prop_oneof![
        4 => amount().prop_map(|amount_micros| Price::PerCall { amount_micros }),
        2 => per_minute.prop_map(|(rate, first_increment_s, next_increment_s)| {
            Price::PerMinute { rate_micros: Micros(rate), first_increment_s, next_increment_s }
        }),
        1 => share.prop_map(|(share_basis_points, least, expected_micros)| {
            let min_micros = Micros(least).min(expected_micros);
            let max_micros = Micros(expected_micros.0 * 3);
            let report_within_s = 3_600;
            Price::RevenueShare { share_basis_points, min_micros, max_micros, expected_micros, report_within_s }
        }),
    ]
}

/// Modifiers of every kind.
pub(crate) fn modifiers() -> impl Strategy<Value = Vec<Modifier>> {
    let change = prop_oneof![
        3 => (-20_000_000i64..20_000_000).prop_map(|add| PriceChange::AddMicros(Micros(add))),
        3 => (1u32..30_000).prop_map(PriceChange::MultiplyBasisPoints),
        2 => amount().prop_map(PriceChange::OverrideMicros),
        1 => Just(PriceChange::Reject),
    ];
    vec((criteria(), change).prop_map(|(when, change)| Modifier { when, change }), 0..4)
}

/// Whom a call comes from.
pub(crate) fn caller() -> impl Strategy<Value = CallerId> {
    let number = |text: &str| CallerId::Number(text.parse().expect("a number"));
    let callers =
        vec![number("+12125550101"), number("+13055550101"), number("+442079460101"), CallerId::Anonymous];
    select(callers)
}

/// What is stated of a consumer.
pub(crate) fn stated() -> impl Strategy<Value = Stated> {
    let names = select(vec!["source".to_owned(), "age".to_owned()]);
    (
        option::of(select(words(&["FL", "NY", "TX"]))),
        option::of(select(words(&["33101", "33139", "10001", "99999"]))),
        option::of(select(words(&["en", "es"]))),
        option::of(select(words(&["A", "B", "C"]))),
        btree_map(names, tag_value(), 0..3),
    )
        .prop_map(|(state, zip, language, attestation, tags)| Stated {
            state,
            zip,
            language,
            attestation,
            tags,
        })
}

/// What came of a bid's calls: qualities from the worst to the best.
pub(crate) fn record() -> impl Strategy<Value = TrackRecord> {
    (0u16..200, 0u16..200, 0u16..=100, 0u16..=100).prop_map(|(answered, unanswered, converted, early)| {
        TrackRecord {
            rung: u64::from(answered + unanswered),
            offered: answered + unanswered,
            answered,
            unanswered,
            ended: answered,
            converted: answered * converted / 100,
            early_hang_ups: (answered - answered * converted / 100) * early / 100,
            ..TrackRecord::default()
        }
    })
}
