//! The board against a sorted list that is asked entry by entry.

use super::leaf::{POSITIONS, WORD_POSITIONS};
use super::{Board, DIMENSIONS, Dimension, Filters, Query, Rank, Tally};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// What an entry admits: per dimension, the buckets it names, if it names any.
type Admits = [Option<Vec<u16>>; DIMENSIONS];
/// What a call is: per dimension, its buckets.
type Attributes = [Vec<u16>; DIMENSIONS];

fn filters(admits: &Admits) -> Filters {
    let mut filters = Filters::default();
    for (dimension, buckets) in Dimension::ALL.into_iter().zip(admits) {
        let Some(buckets) = buckets else { continue };
        filters.name(dimension);
        for bucket in buckets {
            filters.admit(dimension, *bucket);
        }
    }
    filters
}

fn query(attributes: &Attributes) -> Query {
    let mut query = Query::default();
    for (dimension, buckets) in Dimension::ALL.into_iter().zip(attributes) {
        for bucket in buckets {
            query.add(dimension, *bucket);
        }
    }
    query
}

fn first_refusal(admits: &Admits, call: &Attributes) -> Option<usize> {
    admits.iter().zip(call).position(|(admitted, buckets)| {
        admitted.as_ref().is_some_and(|admitted| !buckets.iter().any(|bucket| admitted.contains(bucket)))
    })
}

/// The same as a board, by looking at every entry.
#[derive(Default)]
struct Naive {
    entries: BTreeMap<Rank, (u32, Admits, bool)>,
    ranks: BTreeMap<u32, Rank>,
}

impl Naive {
    fn put(&mut self, slot: u32, rank: Rank, admits: Admits) {
        self.remove(slot);
        self.ranks.insert(slot, rank);
        self.entries.insert(rank, (slot, admits, true));
    }

    fn remove(&mut self, slot: u32) -> bool {
        self.ranks.remove(&slot).is_some_and(|rank| self.entries.remove(&rank).is_some())
    }

    fn set_live(&mut self, slot: u32, live: bool) -> bool {
        let Some(rank) = self.ranks.get(&slot) else { return false };
        self.entries.entry(*rank).and_modify(|entry| entry.2 = live);
        true
    }

    fn walk(&self, call: &Attributes) -> Vec<(u32, Rank)> {
        let admitted = self
            .entries
            .iter()
            .filter(|(_, (_, admits, live))| *live && first_refusal(admits, call).is_none());
        admitted.map(|(rank, (slot, ..))| (*slot, *rank)).collect()
    }

    /// Of the best `looked_at` entries.
    fn tally(&self, call: &Attributes, looked_at: u32) -> Tally {
        let mut tally = Tally { looked_at, ..Tally::default() };
        for (_, admits, live) in self.entries.values().take(looked_at as usize) {
            match first_refusal(admits, call) {
                Some(dimension) => tally.refused[dimension] += 1,
                None if *live => tally.admitted += 1,
                None => tally.not_live += 1,
            }
        }
        tally
    }
}

fn walk(board: &Board, query: &Query, most: usize) -> Vec<(u32, Rank)> {
    let mut visited = Vec::new();
    board.walk(query, |slot, rank| {
        visited.push((slot, rank));
        if visited.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    visited
}

/// Both at once.
#[derive(Default)]
struct Pair {
    board: Board,
    naive: Naive,
}

impl Pair {
    fn put(&mut self, slot: u32, rank: Rank, admits: Admits) {
        self.board.put(slot, rank, &filters(&admits));
        self.naive.put(slot, rank, admits);
    }

    fn remove(&mut self, slot: u32) {
        assert_eq!(self.board.remove(slot), self.naive.remove(slot));
    }

    fn set_live(&mut self, slot: u32, live: bool) {
        assert_eq!(self.board.set_live(slot, live), self.naive.set_live(slot, live));
    }

    fn check(&self, call: &Attributes) {
        let query = query(call);
        let expected = self.naive.walk(call);
        assert_eq!(walk(&self.board, &query, usize::MAX), expected);
        assert_eq!(walk(&self.board, &query, 3), expected[..expected.len().min(3)]);
        self.check_tally(call, &query, expected.get(expected.len() / 2).map(|(_, rank)| *rank));
    }

    fn check_tally(&self, call: &Attributes, query: &Query, until: Option<Rank>) {
        let len = u32::try_from(self.naive.entries.len()).expect("few");
        assert_eq!(self.board.tally(query, None, u32::MAX), self.naive.tally(call, len));
        for most in [0, 1, 100, len] {
            let tally = self.board.tally(query, None, most);
            assert!((most.min(len)..most + 64).contains(&tally.looked_at), "{} of {most}", tally.looked_at);
            assert_eq!(tally, self.naive.tally(call, tally.looked_at));
        }
        if let Some(until) = until {
            let above = u32::try_from(self.naive.entries.range(..=until).count()).expect("few");
            assert_eq!(self.board.tally(query, Some(until), u32::MAX), self.naive.tally(call, above));
        }
    }

    /// The order of leaves, words and fences, the bits and the places agree.
    fn check_structure(&self) {
        let board = &self.board;
        assert_eq!(board.len(), self.naive.entries.len());
        let mut above: Option<Rank> = None;
        let mut bits = 0;
        for (leaf_number, fence) in board.order.iter().zip(&board.fences) {
            assert!(above < Some(*fence));
            let leaf = &board.leaves[*leaf_number as usize];
            assert!(!leaf.order().is_empty());
            for word in leaf.order().iter().map(|word| usize::from(*word)) {
                assert!(leaf.count(word) > 0 && above < Some(leaf.fence(word)));
                let mut sorted = [0; WORD_POSITIONS];
                let count = leaf.sort(word, leaf.used[word], &mut sorted);
                for position in sorted[..count].iter().map(|position| usize::from(*position)) {
                    let rank = leaf.rank(position);
                    assert!(above < Some(rank) && rank >= leaf.fence(word) && rank >= *fence);
                    above = Some(rank);
                    assert_eq!(self.naive.ranks.get(&leaf.slot(position)), Some(&rank));
                    assert_eq!(board.place(leaf.slot(position)), Some((*leaf_number as usize, position)));
                    bits += leaf.columns[position].len();
                }
            }
        }
        let column_bits: usize = board.columns.iter().map(|column| column.bits() as usize).sum();
        assert_eq!(column_bits, bits);
        assert_eq!(board.order.len() + board.free_leaves.len(), board.leaves.len());
    }

    fn entries_per_leaf(&self) -> usize {
        self.board.len() / self.board.order.len()
    }
}

fn rank(price: i64, id: u128) -> Rank {
    Rank { price, priority: 5, id }
}

/// A call in two states (it has one as stated and one of the area code) and with two tags.
fn a_call() -> Attributes {
    let mut call = Attributes::default();
    call[Dimension::State.number()] = vec![5, 6];
    call[Dimension::Tag.number()] = vec![1, 1023];
    call
}

fn in_state(state: u16) -> Admits {
    let mut admits = Admits::default();
    admits[Dimension::State.number()] = Some(vec![state]);
    admits
}

fn random_admits(random: &mut fastrand::Rng) -> Admits {
    std::array::from_fn(|dimension| {
        let buckets = Dimension::ALL[dimension].buckets().min(12);
        random.bool().then(|| (0..random.u8(0..5)).map(|_| random.u16(0..buckets)).collect())
    })
}

fn random_call(random: &mut fastrand::Rng) -> Attributes {
    std::array::from_fn(|dimension| {
        let buckets = Dimension::ALL[dimension].buckets().min(12);
        (0..random.u8(0..4)).map(|_| random.u16(0..buckets)).collect()
    })
}

#[test]
fn an_empty_board_has_nothing() {
    let pair = Pair::default();
    pair.check(&a_call());
    pair.check_structure();
    assert!(pair.board.is_empty() && pair.board.rank(7).is_none());
}

#[test]
fn each_part_of_the_rank_counts_in_its_turn() {
    let mut pair = Pair::default();
    let ranks =
        [(5, 1, 9), (5, 1, 8), (5, 0, 10), (6, 9, 11), (-1, 0, 0), (i64::MIN, 0, 1), (i64::MAX, 0, 2)];
    for (slot, (price, priority, id)) in (0..).zip(ranks) {
        pair.put(slot, Rank { price, priority, id }, Admits::default());
    }
    let slots: Vec<u32> =
        walk(&pair.board, &Query::default(), usize::MAX).into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(slots, [6, 3, 2, 1, 0, 4, 5]);
}

#[test]
fn a_dimension_that_is_not_known_passes_only_entries_that_admit_any() {
    let mut pair = Pair::default();
    pair.put(0, rank(9, 0), in_state(5));
    pair.put(1, rank(8, 1), Admits::default());
    assert_eq!(walk(&pair.board, &Query::default(), usize::MAX), [(1, rank(8, 1))]);
    assert_eq!(walk(&pair.board, &query(&a_call()), usize::MAX), [(0, rank(9, 0)), (1, rank(8, 1))]);
}

#[test]
fn a_dimension_named_without_buckets_admits_nothing() {
    let mut pair = Pair::default();
    let mut admits = Admits::default();
    admits[Dimension::Language.number()] = Some(vec![]);
    pair.put(0, rank(9, 0), admits);
    pair.check(&a_call());
    assert_eq!(pair.board.tally(&Query::default(), None, 10).refused[Dimension::Language.number()], 1);
}

#[test]
fn an_entry_that_does_not_take_part_keeps_its_place() {
    let mut pair = Pair::default();
    pair.put(0, rank(9, 0), Admits::default());
    pair.set_live(0, false);
    pair.check(&a_call());
    assert_eq!(pair.board.tally(&Query::default(), None, 10).not_live, 1);
    pair.set_live(0, true);
    pair.check(&a_call());
    pair.set_live(1, true);
}

/// Fills a board with entries in the given order of prices, checks it, empties it, and fills it again.
fn fill_empty_fill(prices: impl Iterator<Item = i64> + Clone) -> Pair {
    let mut pair = Pair::default();
    for _ in 0..2 {
        for (slot, price) in (0..).zip(prices.clone()) {
            pair.put(slot, rank(price, u128::from(slot)), in_state(u16::try_from(slot % 10).expect("small")));
        }
        pair.check_structure();
        pair.check(&a_call());
        let slots = u32::try_from(pair.board.len()).expect("few");
        let leaves = pair.board.leaves.len();
        for slot in 0..slots {
            pair.remove(slot);
            if slot % 97 == 0 {
                pair.check_structure();
            }
        }
        assert!(pair.board.is_empty() && pair.board.order.is_empty());
        for (slot, price) in (0..).zip(prices.clone()) {
            pair.put(slot, rank(price, u128::from(slot)), in_state(5));
        }
        assert_eq!(pair.board.leaves.len(), leaves, "leaves are used again");
        pair.check(&a_call());
    }
    pair
}

#[test]
fn ascending_ranks_fill_leaves_well() {
    let pair = fill_empty_fill((0..5_000).rev());
    assert!(pair.entries_per_leaf() >= POSITIONS * 8 / 10, "{}", pair.entries_per_leaf());
}

#[test]
fn descending_ranks_fill_leaves_well() {
    let pair = fill_empty_fill(0..5_000);
    assert!(pair.entries_per_leaf() >= POSITIONS * 8 / 10, "{}", pair.entries_per_leaf());
}

#[test]
fn equal_prices_are_in_the_order_of_ids() {
    fill_empty_fill(std::iter::repeat_n(7, 3_000));
}

#[test]
fn few_prices_each_appended_to() {
    let pair = fill_empty_fill((0..5_000).map(|number| number % 13));
    assert!(pair.entries_per_leaf() >= POSITIONS / 2, "{}", pair.entries_per_leaf());
}

#[test]
fn a_mixed_order_fills_leaves_well() {
    let pair = fill_empty_fill((0..5_000).map(|number| number * 2_654_435_761 % 1_000_003));
    assert!(pair.entries_per_leaf() >= POSITIONS * 6 / 10, "{}", pair.entries_per_leaf());
}

/// A full leaf beside one with a single free word: the word in need of room is not given to and fro between them.
#[test]
fn a_full_leaf_beside_an_almost_full_one() {
    for at_word in [0, 7, 8, 14] {
        let mut pair = Pair::default();
        let mut slots = 0..;
        let mut put = |pair: &mut Pair, price: i64| {
            let slot: u32 = slots.next().expect("endless");
            pair.put(slot, rank(price, slot.into()), in_state(5));
        };
        // Appended: words of 56, fifteen of them. Then each is filled up from inside.
        for entry in (0..15 * 56).rev() {
            put(&mut pair, entry * 100);
        }
        for entry in (0..15 * 56).rev().filter(|entry| entry % 56 < 8) {
            put(&mut pair, entry * 100 + 1_050);
        }
        let words: Vec<usize> =
            pair.board.order.iter().map(|leaf| pair.board.leaves[*leaf as usize].order().len()).collect();
        assert_eq!((words, pair.board.len()), (vec![8, 7], 15 * WORD_POSITIONS));
        for more in 0..200 {
            put(&mut pair, (14 - at_word) * 5_600 + 2_500 + more % 7);
        }
        pair.check_structure();
        pair.check(&a_call());
    }
}

#[test]
fn a_board_that_shrinks_gives_up_leaves() {
    let mut pair = Pair::default();
    for slot in 0..20_000 {
        pair.put(slot, rank(i64::from(slot), u128::from(slot)), in_state(5));
    }
    for slot in (0..20_000).filter(|slot| slot % 20 != 0) {
        pair.remove(slot);
    }
    pair.check_structure();
    pair.check(&a_call());
    assert!(pair.entries_per_leaf() >= POSITIONS / 8, "{}", pair.entries_per_leaf());
}

/// The long run: updates of every kind in three phases (growing, changing, shrinking), searches between them.
fn differential_run(seed: u64, steps: u32, slots: u32, prices: i64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pair = Pair::default();
    for step in 0..steps {
        let slot = random.u32(0..slots);
        let phase = step * 3 / steps;
        match random.u32(0..10) {
            0 => pair.set_live(slot, random.bool()),
            action if action <= 1 + phase * 3 => pair.remove(slot),
            _ => {
                let unchanged = pair.naive.ranks.get(&slot).filter(|_| random.bool());
                let admits = unchanged.map(|rank| pair.naive.entries[rank].1.clone());
                let admits = admits.unwrap_or_else(|| random_admits(&mut random));
                let rank = Rank { price: random.i64(0..prices), priority: random.u8(0..3), id: slot.into() };
                pair.put(slot, rank, admits);
            }
        }
        if step % 101 == 0 {
            pair.check(&random_call(&mut random));
        }
        if step % 1_009 == 0 {
            pair.check_structure();
        }
    }
    pair.check_structure();
}

#[test]
fn a_long_run_of_updates_and_searches_agrees_with_the_naive_list() {
    differential_run(1, 40_000, 6_000, 1_000_000);
    differential_run(2, 20_000, 3_000, 4);
    differential_run(3, 20_000, 600, 50);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_agrees_with_the_naive_list(seed in any::<u64>(), slots in 1_u32..2_000, prices in 1_i64..5_000) {
        differential_run(seed, 1_500, slots, prices);
    }

    #[test]
    fn buckets_wrap_around_and_never_admit_too_little(bucket in any::<u16>()) {
        let mut board = Board::default();
        for dimension in Dimension::ALL {
            let mut filters = Filters::default();
            filters.admit(dimension, bucket);
            let mut query = Query::default();
            query.add(dimension, bucket);
            board.put(0, rank(1, 1), &filters);
            prop_assert_eq!(walk(&board, &query, 1).len(), 1);
        }
    }
}
