//! What recovery reads: the snapshot from which the in-memory book is rebuilt.

use super::connection::{Dialect, ReadConnection, parse};
use super::image::{self, BidImage};
use super::{Reader, StoreError};
use exchange::account::Account;
use exchange::bid::BidProfile;
use exchange::bid::caps::CapGroup;
use exchange::call::Call;
use exchange::dispute::{DISPUTE_WINDOW_S, Dispute};
use exchange::id::{AccountId, BidProfileId};
use exchange::ledger::money::Micros;
use exchange::recent_calls::{RECENT_CALLS_MAX, RecentCall, WINDOW_S_MAX};
use exchange::snapshot::Snapshot;
use exchange::time::Timestamp;
use exchange::tracking_number::TrackingNumber;
use exchange::trading_rules::{Deal, ScopedRules};
use exchange::usage::Usage;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{available_parallelism, scope};

/// Documents given to a thread to parse.
const DOCUMENTS_PER_PARSER: usize = 1_000;

impl Reader {
    /// Everything that must survive a restart, as of the last commit: the fold of all records ever written.
    pub fn load(&self) -> Result<Snapshot, StoreError> {
        self.load_by(None)
    }

    /// The same, with bids from their image as far as that goes.
    pub(super) fn load_by(&self, image: Option<&BidImage>) -> Result<Snapshot, StoreError> {
        self.with(|connection| {
            let alive = "SELECT last_alive_at FROM liveness";
            let last_alive_at = connection.row(alive, &[], |row| row.get(0).map(Timestamp))?;
            let mut snapshot =
                Snapshot { last_alive_at: last_alive_at.unwrap_or_default(), ..Snapshot::default() };
            let all = |table| format!("SELECT document FROM {table}");
            each_document(connection, "accounts", &all("accounts"), |account: Account| {
                snapshot.accounts.insert(account.id, account);
            })?;
            each_document(connection, "tracking_numbers", &all("tracking_numbers"), |it: TrackingNumber| {
                snapshot.tracking_numbers.insert(it.number, it);
            })?;
            snapshot.bid_profiles = load_bids(connection, self.dialect(), image)?;
            each_document(connection, "cap_groups", &all("cap_groups"), |group: CapGroup| {
                snapshot.cap_groups.insert(group.id, group);
            })?;
            each_document(connection, "trading_rules", &all("trading_rules"), |rules: ScopedRules| {
                snapshot.trading_rules.insert(rules.scope.clone(), rules);
            })?;
            each_document(connection, "deals", &all("deals"), |deal: Deal| {
                snapshot.deals.insert(deal.id, deal);
            })?;
            each_document(connection, "usage", &all("usage"), |usage: Usage| {
                snapshot.usage.insert(usage.owner, usage);
            })?;
            let open_calls = "SELECT document FROM calls WHERE outcome IS NULL";
            each_document(connection, "calls", open_calls, |call: Call| {
                snapshot.open_calls.insert(call.id, call);
            })?;
            let awaiting = "SELECT document FROM calls WHERE awaits_revenue_until IS NOT NULL";
            each_document(connection, "calls", awaiting, |call: Call| {
                snapshot.awaiting_revenue.insert(call.id, call);
            })?;
            let horizon = i64::from(DISPUTE_WINDOW_S) * 1_000_000;
            let since = snapshot.last_alive_at.0.saturating_sub(horizon);
            let disputes =
                format!("SELECT document FROM disputes WHERE stage = 'open' OR disputed_at >= {since}");
            each_document(connection, "disputes", &disputes, |dispute: Dispute| {
                snapshot.disputes.insert(dispute.charged.call, dispute);
            })?;
            load_recent_calls(connection, &mut snapshot)?;
            load_seller_records(connection, &mut snapshot)?;
            load_balances(connection, &mut snapshot)?;
            load_deposits(connection, self.dialect(), &mut snapshot)?;
            Ok(snapshot)
        })
    }
}

fn load_bids(
    connection: &dyn ReadConnection,
    dialect: Dialect,
    image: Option<&BidImage>,
) -> Result<BTreeMap<BidProfileId, Arc<BidProfile>>, StoreError> {
    if let Some(image) = image
        && let Some(bids) = image::read(image, connection, dialect)?
    {
        return Ok(bids);
    }
    let mut bids = BTreeMap::new();
    each_bid(connection, "SELECT document FROM bid_profiles", |bid| {
        bids.insert(bid.id, bid);
    })?;
    Ok(bids)
}

/// Gives every bid profile that `sql` selects the document of.
pub(super) fn each_bid(
    connection: &dyn ReadConnection,
    sql: &str,
    take: impl FnMut(Arc<BidProfile>),
) -> Result<(), StoreError> {
    let work =
        |texts: Vec<String>| texts.iter().map(|text| parse("bid_profiles", text).map(Arc::new)).collect();
    in_parallel(work, take, |give| each_piece(connection, sql, give))
}

fn each_document<T: DeserializeOwned + Send>(
    connection: &dyn ReadConnection,
    table: &'static str,
    sql: &str,
    take: impl FnMut(T),
) -> Result<(), StoreError> {
    let work = |texts: Vec<String>| texts.iter().map(|text| parse(table, text)).collect();
    in_parallel(work, take, |give| each_piece(connection, sql, give))
}

/// Reads here what is parsed on other threads: a document takes longer to parse than to read.
fn each_piece(
    connection: &dyn ReadConnection,
    sql: &str,
    give: &mut dyn FnMut(Vec<String>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut texts = Vec::new();
    connection.each(sql, |row| {
        texts.push(row.get::<&str>(0)?.to_owned());
        if texts.len() == DOCUMENTS_PER_PARSER { give(std::mem::take(&mut texts)) } else { Ok(()) }
    })?;
    if texts.is_empty() { Ok(()) } else { give(texts) }
}

/// Has what `feed` gives worked on by other threads, one for each core, and gives the results to `take`, in order.
pub(super) fn in_parallel<Work: Send, T: Send>(
    work: impl Fn(Work) -> Result<Vec<T>, StoreError> + Sync,
    mut take: impl FnMut(T),
    feed: impl FnOnce(&mut dyn FnMut(Work) -> Result<(), StoreError>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    scope(|threads| {
        let work = &work;
        let worker = |_| {
            let (give, given) = sync_channel::<Work>(1);
            let (tell, told) = sync_channel(1);
            threads.spawn(move || given.into_iter().try_for_each(|piece| tell.send(work(piece))));
            (give, told)
        };
        // Each has every so manieth piece, and never more than two: one at work, one waiting.
        let workers: Vec<_> = (0..cores).map(worker).collect();
        let (mut given, mut taken) = (0, 0);
        let mut take_next = |taken: usize| {
            let results = workers[taken % cores].1.recv().expect("a worker answers, or panics");
            results?.into_iter().for_each(&mut take);
            Ok::<_, StoreError>(())
        };
        feed(&mut |piece| {
            if given - taken == 2 * cores {
                take_next(taken)?;
                taken += 1;
            }
            workers[given % cores].0.send(piece).expect("a worker takes, or panics");
            given += 1;
            Ok(())
        })?;
        (taken..given).try_for_each(take_next)
    })
}

fn load_balances(connection: &dyn ReadConnection, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    connection.each("SELECT name, balance_micros FROM ledger_accounts", |row| {
        snapshot.balances.insert(row.key("ledger_accounts", 0)?, Micros(row.get(1)?));
        Ok(())
    })
}

fn load_deposits(
    connection: &dyn ReadConnection,
    dialect: Dialect,
    snapshot: &mut Snapshot,
) -> Result<(), StoreError> {
    let sql = match dialect {
        // A range of the unique index: ';' is the character after ':'.
        Dialect::Sqlite => "SELECT reason FROM transfers WHERE reason >= 'deposit:' AND reason < 'deposit;'",
        Dialect::Postgresql => {
            "SELECT reason FROM transfers WHERE call = '00000000-0000-0000-0000-000000000000'"
        }
    };
    connection.each(sql, |row| {
        snapshot.deposits.insert(row.key("transfers", 0)?);
        Ok(())
    })
}

/// The latest connected calls that a duplicate rule can still ask about.
fn load_recent_calls(connection: &dyn ReadConnection, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    let window_micros = i64::from(WINDOW_S_MAX) * 1_000_000;
    let since = snapshot.last_alive_at.0.saturating_sub(window_micros);
    let sql = format!(
        "SELECT document FROM calls WHERE outcome IN ('converted', 'not_converted') AND ended_at >= {since}
         ORDER BY ended_at DESC LIMIT {RECENT_CALLS_MAX}"
    );
    each_document(connection, "calls", &sql, |call: Call| {
        if let Some(recent) = RecentCall::of(&call) {
            snapshot.recent_calls.insert(call.id, recent);
        }
    })
}

fn load_seller_records(connection: &dyn ReadConnection, snapshot: &mut Snapshot) -> Result<(), StoreError> {
    connection.each("SELECT document, seller FROM seller_records", |row| {
        let seller = AccountId(row.get(1)?);
        snapshot.seller_records.insert(seller, row.document("seller_records", 0)?);
        Ok(())
    })
}
