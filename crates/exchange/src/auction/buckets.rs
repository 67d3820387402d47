//! Which bucket of a board each value falls into: what bids ask, and what calls are, in the board's own terms.

use crate::auction::board::{Dimension, Filters, Query};
use crate::auction::matching::CallFacts;
use crate::bid::criteria::{Attestation, Criteria, TagTest};
use crate::hash::FastMap;
use crate::id::AccountId;
use crate::place::{Language, State};

/// Numbers the values that bids ever named. The first ones have a bucket to themselves, so that the board decides about them
/// exactly; once the buckets are used up, all later values share the last.
#[derive(Debug)]
struct Numbering {
    named: u16,
    shared: u16,
}

impl Numbering {
    fn of(dimension: Dimension) -> Self {
        Self { named: 0, shared: dimension.buckets() - 1 }
    }

    /// The next bucket; the shared one when none is left.
    fn next(&mut self) -> Option<u16> {
        let next = self.named;
        (next < self.shared).then(|| {
            self.named += 1;
            next
        })
    }

    /// The bucket of a value that a bid names, and whether it is its own: the one it has, else the next.
    fn number(&mut self, has: &mut u16) -> (u16, bool) {
        if *has == NONE {
            let Some(next) = self.next() else { return (self.shared, false) };
            *has = next;
        }
        (*has, true)
    }

    /// The bucket of a call's value; none when no bid ever named it.
    fn find(&self, has: Option<u16>) -> Option<u16> {
        has.filter(|bucket| *bucket != NONE).or((self.named >= self.shared).then_some(self.shared))
    }
}

/// No bucket yet.
const NONE: u16 = u16::MAX;
/// Pairs of letters.
const PAIRS: usize = 26 * 26;

/// The buckets of all values.
#[derive(Debug)]
pub(super) struct Buckets {
    states: Numbering,
    /// By [`State::number`].
    by_state: Box<[u16; PAIRS]>,
    languages: Numbering,
    /// By [`Language::number`](crate::place::Language::number).
    by_language: Box<[u16; PAIRS]>,
    sellers: Numbering,
    by_seller: FastMap<AccountId, u16>,
    tags: Numbering,
    /// By name, then by value.
    by_tag: FastMap<String, FastMap<String, u16>>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            states: Numbering::of(Dimension::State),
            by_state: Box::new([NONE; PAIRS]),
            languages: Numbering::of(Dimension::Language),
            by_language: Box::new([NONE; PAIRS]),
            sellers: Numbering::of(Dimension::Seller),
            by_seller: FastMap::default(),
            tags: Numbering::of(Dimension::Tag),
            by_tag: FastMap::default(),
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
            admit(Dimension::State, self.states.number(&mut self.by_state[state.number()]));
        }
        for area_code in &criteria.area_codes {
            admit(Dimension::AreaCode, (area_code.saturating_sub(200), true));
        }
        if criteria.zip_radius.is_none() {
            criteria.zips.iter().for_each(|zip| admit(Dimension::Zip3, (zip3(*zip), true)));
        }
        for language in &criteria.languages {
            admit(Dimension::Language, self.languages.number(&mut self.by_language[language.number()]));
        }
        if let Some(least) = criteria.min_attestation {
            let all = [Attestation::A, Attestation::B, Attestation::C];
            let enough = all.into_iter().filter(|attestation| *attestation >= least);
            enough.for_each(|enough| admit(Dimension::Attestation, (enough as u16, true)));
        }
        for seller in &criteria.sellers {
            admit(Dimension::Seller, self.sellers.number(self.by_seller.entry(*seller).or_insert(NONE)));
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
        if let Some(number) = self.by_tag.get(name).and_then(|values| values.get(value)) {
            return (*number, true);
        }
        let Some(number) = self.tags.next() else { return (self.tags.shared, false) };
        self.by_tag.entry(name.to_owned()).or_default().insert(value.to_owned(), number);
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
        let state = |state: State| self.states.find(Some(self.by_state[state.number()]));
        known(Dimension::State, call.state.and_then(state));
        known(Dimension::AreaCode, call.area_code.map(|area_code| area_code.saturating_sub(200)));
        known(Dimension::Zip3, call.zip.map(zip3));
        let language = |language: Language| self.languages.find(Some(self.by_language[language.number()]));
        known(Dimension::Language, call.language.and_then(language));
        known(Dimension::Attestation, call.attestation.map(|attestation| attestation as u16));
        known(Dimension::Seller, self.sellers.find(self.by_seller.get(&call.seller).copied()));
        for (name, value) in call.tags.iter() {
            let number = self.by_tag.get(name).and_then(|values| values.get(value)).copied();
            known(Dimension::Tag, self.tags.find(number));
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
