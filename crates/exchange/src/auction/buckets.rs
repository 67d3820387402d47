//! Which bucket of a board each value falls into: what bids ask, and what calls are, in the board's own terms.

use crate::auction::board::{Dimension, Filters, Query};
use crate::auction::matching::CallFacts;
use crate::bid::criteria::{Attestation, Criteria, TagTest};
use crate::hash::FastMap;
use crate::id::AccountId;
use crate::place::{Language, State};
use std::hash::Hash;

/// Numbers the values that bids ever named. The first ones have a bucket to themselves, so that the board decides about them
/// exactly; once the buckets are used up, all later values share the last.
#[derive(Debug)]
struct Numbering<T> {
    numbers: FastMap<T, u16>,
    shared: u16,
}

impl<T: Hash + Eq> Numbering<T> {
    fn of(dimension: Dimension) -> Self {
        Self { numbers: FastMap::default(), shared: dimension.buckets() - 1 }
    }

    /// The bucket of a value that a bid names, and whether it is its own.
    fn number(&mut self, value: T) -> (u16, bool) {
        let next = u16::try_from(self.numbers.len()).unwrap_or(u16::MAX);
        if next >= self.shared && !self.numbers.contains_key(&value) {
            return (self.shared, false);
        }
        (*self.numbers.entry(value).or_insert(next), true)
    }

    /// The bucket of a call's value; none when no bid ever named it.
    fn find<Q: Hash + Eq + ?Sized>(&self, value: &Q) -> Option<u16>
    where
        T: std::borrow::Borrow<Q>,
    {
        let is_full = self.numbers.len() >= usize::from(self.shared);
        self.numbers.get(value).copied().or(is_full.then_some(self.shared))
    }
}

/// The buckets of all values.
#[derive(Debug)]
pub(super) struct Buckets {
    states: Numbering<State>,
    languages: Numbering<Language>,
    sellers: Numbering<AccountId>,
    /// By name, then by value.
    tags: FastMap<String, FastMap<String, u16>>,
    tags_named: u16,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            states: Numbering::of(Dimension::State),
            languages: Numbering::of(Dimension::Language),
            sellers: Numbering::of(Dimension::Seller),
            tags: FastMap::default(),
            tags_named: 0,
        }
    }
}

impl Buckets {
    /// Writes what a board can filter of a bid's criteria. True when that is all of it: the board then decides exactly, and the
    /// criteria need not be asked again.
    pub(super) fn filters(&mut self, criteria: &Criteria, filters: &mut Filters) -> bool {
        filters.clear();
        let mut is_exact = criteria.zips.is_empty()
            && criteria.zip_radius.is_none()
            && criteria.denied_sellers.is_empty()
            && criteria.max_fraud_score.is_none()
            && criteria.min_seller_quality.is_none();
        let mut admit = |dimension, (bucket, is_own): (u16, bool)| {
            filters.admit(dimension, bucket);
            is_exact &= is_own;
        };
        for origin in &criteria.origins {
            admit(Dimension::Origin, (*origin as u16, true));
        }
        for state in &criteria.states {
            admit(Dimension::State, self.states.number(*state));
        }
        for area_code in &criteria.area_codes {
            admit(Dimension::AreaCode, (area_code.saturating_sub(200), true));
        }
        if criteria.zip_radius.is_none() {
            criteria.zips.iter().for_each(|zip| admit(Dimension::Zip3, (zip3(*zip), true)));
        }
        for language in &criteria.languages {
            admit(Dimension::Language, self.languages.number(*language));
        }
        if let Some(least) = criteria.min_attestation {
            let all = [Attestation::A, Attestation::B, Attestation::C];
            let enough = all.into_iter().filter(|attestation| *attestation >= least);
            enough.for_each(|enough| admit(Dimension::Attestation, (enough as u16, true)));
        }
        for seller in &criteria.sellers {
            admit(Dimension::Seller, self.sellers.number(*seller));
        }
        // A bit stands for one of a call's tags: only one rule can be read that way.
        let one_rule = criteria.tags.iter().find_map(|rule| Some((&rule.name, values(&rule.is, rule.not)?)));
        if let Some((name, values)) = one_rule {
            for value in &values {
                admit(Dimension::Tag, self.tag(name, value));
            }
            if values.is_empty() {
                filters.name(Dimension::Tag);
            }
        }
        is_exact && criteria.tags.len() == usize::from(one_rule_is_there(criteria))
    }

    fn tag(&mut self, name: &str, value: &str) -> (u16, bool) {
        let shared = Dimension::Tag.buckets() - 1;
        if let Some(number) = self.tags.get(name).and_then(|values| values.get(value)) {
            return (*number, true);
        }
        if self.tags_named >= shared {
            return (shared, false);
        }
        let number = self.tags_named;
        self.tags_named += 1;
        self.tags.entry(name.to_owned()).or_default().insert(value.to_owned(), number);
        (number, true)
    }

    /// Where a call falls in each dimension.
    pub(super) fn query(&self, call: &CallFacts) -> Query {
        let mut query = Query::default();
        query.add(Dimension::Origin, call.origin as u16);
        let mut known = |dimension, bucket: Option<u16>| {
            if let Some(bucket) = bucket {
                query.add(dimension, bucket);
            }
        };
        known(Dimension::State, call.state.and_then(|state| self.states.find(&state)));
        known(Dimension::AreaCode, call.area_code.map(|area_code| area_code.saturating_sub(200)));
        known(Dimension::Zip3, call.zip.map(zip3));
        known(Dimension::Language, call.language.and_then(|language| self.languages.find(&language)));
        known(Dimension::Attestation, call.attestation.map(|attestation| attestation as u16));
        known(Dimension::Seller, self.sellers.find(&call.seller));
        for (name, value) in call.tags.iter() {
            let number = self.tags.get(name).and_then(|values| values.get(value)).copied();
            let shared = Dimension::Tag.buckets() - 1;
            known(Dimension::Tag, number.or((self.tags_named >= shared).then_some(shared)));
        }
        query
    }
}

/// The values a rule asks for, when it asks for values.
fn values(test: &TagTest, not: bool) -> Option<Vec<&String>> {
    match test {
        _ if not => None,
        TagTest::Equals(value) => Some(vec![value]),
        TagTest::In(values) => Some(values.iter().collect()),
        _ => None,
    }
}

fn one_rule_is_there(criteria: &Criteria) -> bool {
    criteria.tags.iter().any(|rule| values(&rule.is, rule.not).is_some())
}

fn zip3(zip: crate::place::Zip) -> u16 {
    u16::try_from(zip.number() / 100).expect("three digits")
}
