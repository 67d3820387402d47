//! The difference, for people and for machines.

use super::Source;
use super::past::History;
use super::side::{Figures, Journal, Share, Side};
use super::variant::Assumed;
use crate::failure::Failure;
use comfy_table::{CellAlignment, Table, presets};
use exchange::auction::index::BidIndex;
use exchange::id::{AccountId, BidProfileId};
use exchange::ledger::money::Micros;
use exchange::time::Timestamp;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How many bids, and how many buyers, are shown.
const MOVERS_MAX: usize = 10;

/// What would have been different.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    /// Calls that are compared.
    pub(super) calls: usize,
    /// What there is in the journal, compared or not.
    pub(super) journal: Journal,
    /// Calls for which the journal, stepped again under the rules as they were, did not give what is on the receipt.
    pub(super) not_reproduced: usize,
    /// Journal entries that this version cannot read.
    pub(super) unreadable_entries: u64,
    pub(super) actual: Figures,
    pub(super) variant: Figures,
    /// Variant less actual.
    pub(super) difference: Figures,
    /// Calls that another bid, or none, would have won.
    pub(super) winners_changed: usize,
    pub(super) assumed: Assumed,
    /// The buyers whose charges change most.
    pub(super) buyers: Vec<Mover>,
    /// The bids whose charges change most.
    pub(super) bids: Vec<Mover>,
}

/// A bid, or a buyer, for whom much changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Mover {
    pub(super) buyer: AccountId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bid: Option<BidProfileId>,
    pub(super) name: String,
    pub(super) actual: Share,
    pub(super) variant: Share,
    /// Of what is charged: variant less actual.
    pub(super) difference_micros: i64,
}

type Pairs<K> = BTreeMap<K, (Share, Share)>;

impl Comparison {
    pub(super) fn of(
        source: &Source<'_>,
        history: &History,
        actual: &Side,
        variant: &Side,
        assumed: Assumed,
        bids: &BidIndex,
    ) -> Result<Self, Failure> {
        let (was, would_be) = (actual.figures(), variant.figures());
        let is_changed = |(call, seen): &(_, &super::side::Seen)| {
            variant.calls.get(*call).is_none_or(|other| other.winner != seen.winner)
        };
        let (by_bid, by_buyer) = pairs(actual, variant);
        let mut of_bids = Vec::new();
        for ((buyer, bid), pair) in most_changed(by_bid) {
            let profile = bids.get(bid).map_or("", |standing| standing.profile.name.as_str());
            let name = format!("{}: {profile}", (source.name)(buyer)?);
            of_bids.push(Mover::new(buyer, Some(bid), name, pair));
        }
        let mut of_buyers = Vec::new();
        for (buyer, pair) in most_changed(by_buyer) {
            of_buyers.push(Mover::new(buyer, None, (source.name)(buyer)?, pair));
        }
        let compared = |call: &&_| actual.counts(**call);
        Ok(Self {
            calls: actual.calls.len(),
            journal: actual.journal.clone(),
            not_reproduced: history.not_reproduced.iter().filter(compared).count(),
            unreadable_entries: history.unreadable,
            difference: would_be.minus(&was),
            actual: was,
            variant: would_be,
            winners_changed: actual.calls.iter().filter(is_changed).count(),
            assumed,
            buyers: of_buyers,
            bids: of_bids,
        })
    }
}

/// What each bid and each buyer had on both sides.
fn pairs(actual: &Side, variant: &Side) -> (Pairs<(AccountId, BidProfileId)>, Pairs<AccountId>) {
    let mut by_bid = Pairs::new();
    for (key, share) in &actual.bids {
        by_bid.entry(*key).or_default().0 = *share;
    }
    for (key, share) in &variant.bids {
        by_bid.entry(*key).or_default().1 = *share;
    }
    let mut by_buyer = Pairs::new();
    for ((buyer, _), (was, would_be)) in &by_bid {
        let of_buyer: &mut (Share, Share) = by_buyer.entry(*buyer).or_default();
        *of_buyer = (of_buyer.0.plus(*was), of_buyer.1.plus(*would_be));
    }
    (by_bid, by_buyer)
}

fn most_changed<K: Ord>(pairs: Pairs<K>) -> Vec<(K, (Share, Share))> {
    let mut changed: Vec<_> = pairs
        .into_iter()
        .filter(|(_, (was, would_be))| was.charged_micros != would_be.charged_micros)
        .collect();
    changed.sort_by_key(|(_, (was, would_be))| Reverse(was.charged_micros.abs_diff(would_be.charged_micros)));
    changed.truncate(MOVERS_MAX);
    changed
}

impl Mover {
    fn new(
        buyer: AccountId,
        bid: Option<BidProfileId>,
        name: String,
        (actual, variant): (Share, Share),
    ) -> Self {
        let difference_micros = variant.charged_micros - actual.charged_micros;
        Self { buyer, bid, name, actual, variant, difference_micros }
    }
}

pub(super) fn json(comparison: &Comparison) -> serde_json::Value {
    serde_json::json!(comparison)
}

pub(super) fn text(comparison: &Comparison) -> String {
    let Comparison { calls, winners_changed, .. } = comparison;
    if *calls == 0 {
        return format!("{}\n", nothing_compared(&comparison.journal));
    }
    let mut parts =
        vec![format!("{calls} calls, {winners_changed} with another winner"), figures(comparison)];
    for (title, movers) in [("buyers", &comparison.buyers), ("bids", &comparison.bids)] {
        if !movers.is_empty() {
            let title = format!("The {title} whose charges change most (and the calls they pay for)");
            parts.push(format!("{title}\n{}", table_of(movers)));
        }
    }
    parts.push(caveats(comparison).join("\n"));
    format!("{}\n", parts.join("\n\n"))
}

/// Why there is nothing to compare.
fn nothing_compared(journal: &Journal) -> String {
    let at = |at: &Option<Timestamp>| at.map_or_else(String::new, |at| at.to_jiff().to_string());
    let calls = match journal.calls {
        0 => "No calls to compare: none was ever received here.".to_owned(),
        calls => format!(
            "No calls to compare: none of the {calls} in the journal is within what was asked for. They were received from \
             {} to {} and are about {}.",
            at(&journal.first_at),
            at(&journal.last_at),
            journal.verticals.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        ),
    };
    match pings_line(journal) {
        Some(pings) => format!("{calls}\n{pings}"),
        None => calls,
    }
}

fn pings_line(journal: &Journal) -> Option<String> {
    let pings = journal.pings;
    let line =
        || format!("{pings} pings are not counted: they are offers. The calls that followed them are.");
    (pings > 0).then(line)
}

/// How far the figures can be trusted.
fn caveats(comparison: &Comparison) -> Vec<String> {
    let Assumed { rings, not_rung_before, unknown_ends, commands_refused } = comparison.assumed;
    let when = |count: u64, line: String| (count > 0).then_some(line);
    let caveats = [
        when(
            not_rung_before,
            format!(
                "Of {rings} times that a target is rung, {not_rung_before} are of targets that were not rung for the \
                 call then: they are taken to do what the one that was connected did."
            ),
        ),
        when(
            unknown_ends,
            format!(
                "{unknown_ends} calls ring a target though nobody was rung then: how they would have ended is not \
                 known, and they count as not answered."
            ),
        ),
        when(
            commands_refused,
            format!("{commands_refused} changes of the marketplace that were accepted then are refused."),
        ),
        when(
            comparison.unreadable_entries,
            format!("{} journal entries cannot be read by this version.", comparison.unreadable_entries),
        ),
        Some(match comparison.not_reproduced {
            0 => "Under the rules as they were, every call goes as it went.".to_owned(),
            some => format!(
                "Under the rules as they were, {some} calls do not go as they went: take the difference with a grain \
                 of salt."
            ),
        }),
    ];
    pings_line(&comparison.journal).into_iter().chain(caveats.into_iter().flatten()).collect()
}

fn figures(comparison: &Comparison) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "as it was", "under these rules", "difference"]);
    for (name, was, would_be, is_money) in comparison.actual.rows(&comparison.variant) {
        let shown = |value: i64| if is_money { Micros(value).to_string() } else { value.to_string() };
        table.add_row([name.to_owned(), shown(was), shown(would_be), signed(shown(would_be - was))]);
    }
    aligned(table)
}

fn table_of(movers: &[Mover]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "as it was", "under these rules", "difference"]);
    for Mover { name, actual, variant, difference_micros, .. } in movers {
        let shown = |share: &Share| format!("{} ({})", Micros(share.charged_micros), share.converted);
        let difference = signed(Micros(*difference_micros).to_string());
        table.add_row([name.clone(), shown(actual), shown(variant), difference]);
    }
    aligned(table)
}

fn signed(amount: String) -> String {
    if amount.starts_with('-') || amount.bytes().all(|byte| b"0.".contains(&byte)) {
        amount
    } else {
        format!("+{amount}")
    }
}

fn aligned(mut table: Table) -> String {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
