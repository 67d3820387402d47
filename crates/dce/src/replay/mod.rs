//! `dce replay`: past calls under other rules. The journal is read twice: once through a book under the rules as they were,
//! which must give what was booked, and once through a book under the rules asked for; the difference is printed.

mod side;
mod past;
mod variant;
mod report;
#[cfg(test)]
mod tests;

use crate::command_line::Format;
use crate::failure::Failure;
use crate::print;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use exchange::auction::clear::AuctionType;
use exchange::auction::receipt::Receipt;
use exchange::book::Book;
use exchange::compliance::screening::Screening;
use exchange::effect::JournalEntry;
use exchange::id::{AccountId, CallId};
use exchange::ledger::money::Micros;
use exchange::policy::Policy;
use exchange::routing::Algorithm;
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::trading_rules::RuleOverride;
use indicatif::{ProgressBar, ProgressStyle};
use infra::store::{Place, Reader, Store};
use past::Seq;
use report::Comparison;
use side::{Side, Window};
use std::sync::Arc;
use variant::Variant;

/// Journal entries read at once.
const PAGE: usize = 4_096;

const AUCTIONS: [&str; 3] = ["first-price", "second-price", "fixed-price"];
const ALGORITHMS: [&str; 8] = [
    "highest-bid",
    "priority-weight",
    "round-robin",
    "percentage",
    "cost-quality",
    "skill",
    "nearest",
    "predictive",
];

/// `dce replay ...`
#[derive(Debug, Clone, Args)]
pub(crate) struct ReplayArguments {
    /// Compare calls received from this moment on, such as 2026-07-01T00:00:00Z; the rules asked for hold from then on
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    from: Option<Timestamp>,
    /// Compare calls received before this moment; the rules asked for hold until then
    #[arg(long, value_name = "RFC3339", value_parser = moment)]
    to: Option<Timestamp>,
    /// Only calls of this vertical
    #[arg(long)]
    vertical: Option<String>,
    /// How prices are set
    #[arg(long, value_name = "TYPE", value_parser = PossibleValuesParser::new(AUCTIONS).map(|name| named::<AuctionType>(&name)))]
    auction: Option<AuctionType>,
    /// The floor, such as 25 or 12.50. A tracking number's own floor, and a deal's, stay: they are the seller's
    #[arg(long, value_name = "AMOUNT", value_parser = amount, allow_negative_numbers = true)]
    floor: Option<Micros>,
    /// What a second price is above the runner-up, such as 0.01
    #[arg(long, value_name = "AMOUNT", value_parser = amount, allow_negative_numbers = true)]
    increment: Option<Micros>,
    /// How the route plan is made
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(ALGORITHMS).map(|name| named::<Algorithm>(&name)))]
    algorithm: Option<Algorithm>,
    /// Whether bids are ranked by price and quality rather than by price alone
    #[arg(long, value_name = "BOOL")]
    quality_adjusted: Option<bool>,
    /// How long live bidders have, in milliseconds; 0 asks none
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=5_000))]
    deadline_ms: Option<u32>,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// A vertical that no call was ever about is a slip of the fingers.
fn known_vertical(side: &Side) -> Result<(), Failure> {
    let (Some(asked), verticals) = (&side.window.vertical, &side.journal.verticals) else { return Ok(()) };
    if verticals.contains(asked) {
        return Ok(());
    }
    let known = verticals.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(Failure::usage(match known.as_str() {
        "" => format!("--vertical {asked}: no call was ever received here; leave it out"),
        known => format!("--vertical {asked}: no call was ever about it; give one of {known}"),
    }))
}

fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|error: exchange::time::NotAMoment| error.to_string())
}

fn amount(text: &str) -> Result<Micros, String> {
    let amount = text.parse().ok().filter(|amount| *amount >= Micros::ZERO);
    amount.ok_or_else(|| {
        "write an amount of 0 or more, such as 25 or 12.34, with at most six decimals".to_owned()
    })
}

/// A value by the name the API gives it, with dashes.
fn named<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_value(name.replace('-', "_").into()).expect("the list has only names there are")
}

impl ReplayArguments {
    fn window(&self) -> Result<Window, Failure> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(Failure::usage("--to is not after --from; give a later moment"));
        }
        Ok(Window { from: self.from, to: self.to, vertical: self.vertical.clone() })
    }

    fn rules(&self) -> RuleOverride {
        RuleOverride {
            vertical: self.vertical.clone(),
            auction_type: self.auction,
            floor_micros: self.floor,
            increment_micros: self.increment,
            quality_adjusted: self.quality_adjusted,
            algorithm: self.algorithm,
            bidding_deadline_ms: self.deadline_ms,
        }
    }
}

/// Replays the journal of the books at `place` and prints the difference.
pub(crate) fn run(place: Place, policy: &Policy, arguments: &ReplayArguments) -> Result<(), Failure> {
    let (window, rules) = (arguments.window()?, arguments.rules());
    let reader = Store::open_read_only(place)?;
    let bar = progress_bar(reader.journal_entries()?);
    let journal = |after| {
        let page = reader.journal_after(after, PAGE)?;
        bar.inc(page.len() as u64);
        Ok(page)
    };
    let source = Source {
        journal: &journal,
        receipt: &|call| Ok(reader.receipt(call)?),
        name: &|account| name_of(&reader, account),
    };
    let comparison = compare(&source, policy, window, rules);
    bar.finish_and_clear();
    let comparison = comparison?;
    print(&match arguments.format {
        Format::Text => report::text(&comparison),
        Format::Json => format!("{}\n", report::json(&comparison)),
    })
}

fn name_of(reader: &Reader, account: AccountId) -> Result<String, Failure> {
    Ok(reader.account(account)?.map_or_else(|| account.to_string(), |account| account.name))
}

/// On a terminal only; elsewhere it draws nothing.
fn progress_bar(entries: u64) -> ProgressBar {
    // The journal is read twice.
    let bar = ProgressBar::new(2 * entries);
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {percent} %, {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// A page of the journal: entries with their places; one that cannot be read has no content.
pub(super) type JournalPage = Vec<(Seq, Option<JournalEntry>)>;

/// Where the past is read.
struct Source<'a> {
    /// The journal after a place, a page of it; an empty page is its end.
    journal: &'a dyn Fn(Seq) -> Result<JournalPage, Failure>,
    /// The receipt that is stored for a call.
    receipt: &'a dyn Fn(CallId) -> Result<Option<Receipt>, Failure>,
    /// What an account is called.
    name: &'a dyn Fn(AccountId) -> Result<String, Failure>,
}

impl Source<'_> {
    /// Every entry, in the order it was decided.
    fn each_entry(
        &self,
        take: &mut dyn FnMut(Seq, Option<JournalEntry>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut after = 0;
        loop {
            let page = (self.journal)(after)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last;
            for (seq, entry) in page {
                take(seq, entry)?;
            }
        }
    }
}

/// Runs both sides and compares them.
fn compare(
    source: &Source<'_>,
    policy: &Policy,
    window: Window,
    rules: RuleOverride,
) -> Result<Comparison, Failure> {
    let screening = Screening::new(policy.screening.clone())
        .map_err(|error| Failure::environment(format!("screening rules: {error}")))?;
    let screening = Arc::new(screening);
    let book = || Book::restore(Snapshot::default(), policy.clone(), Arc::clone(&screening));
    let (mut actual, mut other) = (Side::new(window.clone()), Side::new(window));
    let history = past::record(source, &mut book(), &mut actual)?;
    known_vertical(&actual)?;
    let mut variant_book = book();
    let assumed = Variant::new(&mut variant_book, &mut other, &history, rules).run(source)?;
    Comparison::of(source, &history, &actual, &other, assumed, variant_book.bids())
}
