//! The audit log: its chain and its anchors, and the ledger as the anchors saw it.

use crate::audit::{Anchor, AuditReport, Begins, Check, Ends, PublicKey};
use crate::store::connection::{Dialect, ReadConnection};
use crate::store::read::audit::{BalancesHash, each_entry, head, store_name};
use crate::store::{Reader, StoreError};
use std::collections::BTreeMap;

/// Progress is told after so many rows.
const TELL_EVERY: u64 = 10_000;

impl Reader {
    /// Checks the audit log as of the last commit, with the store's own anchors and those kept elsewhere. Anchors vouch when one of
    /// the `trusted` keys signed them. `progress` is told now and then how many rows were looked at.
    pub fn verify_audit(
        &self,
        kept_elsewhere: Vec<Anchor>,
        trusted: &[PublicKey],
        progress: &mut dyn FnMut(u64),
    ) -> Result<AuditReport, StoreError> {
        self.once(|connection| {
            connection.keep_months()?;
            let detached = last_detached(connection, self.dialect(), "audit_entries")?;
            let (own, unreadable) = own_anchors(connection)?;
            let anchors = own.into_iter().chain(kept_elsewhere).collect();
            let store = store_name(connection)?;
            let mut check = Check::new(anchors, trusted, Some(&store), Begins::After(detached));
            let ledger = anchored_balances(connection, self.dialect(), &check, progress)?;
            let mut rows = 0;
            each_entry(connection, i64::MIN..=i64::MAX, &mut |entry| {
                check.entry(&entry);
                tell(&mut rows, progress);
                Ok(())
            })?;
            let mut report = check.finish(Ends::At(head(connection)?));
            report.balances_checked = ledger.checked;
            for (seq, what) in unreadable.into_iter().chain(ledger.findings) {
                report.find(seq, what);
            }
            Ok(report)
        })
    }
}

/// Anchor numbers, and what is wrong.
type Wrong = Vec<(i64, String)>;

/// The store's anchors, and those that cannot be read.
fn own_anchors(connection: &dyn ReadConnection) -> Result<(Vec<Anchor>, Wrong), StoreError> {
    let (mut anchors, mut wrong) = (Vec::new(), Wrong::new());
    connection.each("SELECT seq, document FROM audit_anchors ORDER BY seq", |row| {
        let seq = row.get(0)?;
        match serde_json::from_str::<Anchor>(row.get(1)?) {
            Ok(anchor) if anchor.statement.seq == seq => anchors.push(anchor),
            Ok(anchor) => {
                wrong.push((seq, format!("its anchor was changed: it is of entry {}", anchor.statement.seq)));
            }
            Err(error) => wrong.push((seq, format!("its anchor was changed: it cannot be read ({error})"))),
        }
        Ok(())
    })?;
    Ok((anchors, wrong))
}

/// The highest number of a table's rows that were detached; 0 when none was.
fn last_detached(
    connection: &dyn ReadConnection,
    dialect: Dialect,
    parent: &'static str,
) -> Result<i64, StoreError> {
    if dialect == Dialect::Sqlite {
        return Ok(0);
    }
    let sql = "SELECT coalesce(max(seq_max), 0) FROM detached WHERE parent = $1";
    let last = connection.row(sql, &[parent.into()], |row| row.get::<i64>(0))?;
    Ok(last.unwrap_or_default())
}

#[derive(Default)]
struct Ledger {
    checked: u64,
    findings: Wrong,
}

/// Plays the transfers again and compares the balances with what the anchors say of them. An anchor from before the latest
/// transfer that was detached cannot be compared any more.
fn anchored_balances(
    connection: &dyn ReadConnection,
    dialect: Dialect,
    check: &Check,
    progress: &mut dyn FnMut(u64),
) -> Result<Ledger, StoreError> {
    let mut ledger = Ledger::default();
    let detached = last_detached(connection, dialect, "transfers")?;
    let mut anchors: Vec<&Anchor> =
        check.anchors().filter(|anchor| anchor.statement.transfers >= detached).collect();
    anchors.sort_by_key(|anchor| anchor.statement.transfers);
    let mut anchors = anchors.into_iter().peekable();
    if anchors.peek().is_none() {
        return Ok(ledger);
    }
    let mut balances = Balances::open(connection, dialect)?;
    let (mut rows, mut last) = (0, detached);
    let transfers = "SELECT seq, from_ledger, to_ledger, amount_micros FROM transfers ORDER BY seq";
    connection.each(transfers, |row| {
        let seq: i64 = row.get(0)?;
        while let Some(anchor) = anchors.next_if(|anchor| anchor.statement.transfers < seq) {
            ledger.compare(anchor, last, &balances);
        }
        balances.book(row.get(1)?, row.get(2)?, row.get(3)?);
        last = last.max(seq);
        tell(&mut rows, progress);
        Ok(())
    })?;
    anchors.for_each(|anchor| ledger.compare(anchor, last, &balances));
    Ok(ledger)
}

impl Ledger {
    /// Compares what an anchor says with the balances after transfer `last`.
    fn compare(&mut self, anchor: &Anchor, last: i64, balances: &Balances) {
        let stated = &anchor.statement;
        let when = stated.at.to_jiff();
        self.checked += 1;
        if last < stated.transfers {
            let what = format!(
                "its anchor of {when} saw transfers up to {}, but they end with {last}: some were removed",
                stated.transfers
            );
            self.findings.push((stated.seq, what));
        } else if balances.hash() != stated.balances_hash {
            let what = format!(
                "its anchor of {when} saw other balances than the transfers up to {} come to: some were changed or removed",
                stated.transfers
            );
            self.findings.push((stated.seq, what));
        }
    }
}

/// Balances by the rows of their ledger accounts.
struct Balances {
    micros: BTreeMap<i64, i64>,
    /// The rows in the order of their names.
    names: Vec<(String, i64)>,
}

impl Balances {
    /// As they were before the first transfer that is left.
    fn open(connection: &dyn ReadConnection, dialect: Dialect) -> Result<Self, StoreError> {
        let sql = match dialect {
            Dialect::Sqlite => "SELECT name, id, 0 FROM ledger_accounts ORDER BY name",
            Dialect::Postgresql => "SELECT name, id, opening_micros FROM ledger_accounts ORDER BY name",
        };
        let mut balances = Self { micros: BTreeMap::new(), names: Vec::new() };
        connection.each(sql, |row| {
            balances.names.push((row.get(0)?, row.get(1)?));
            balances.micros.insert(row.get(1)?, row.get(2)?);
            Ok(())
        })?;
        Ok(balances)
    }

    /// A sum that passes what an `i64` holds is some other sum, and its hash another one.
    fn book(&mut self, from: i64, to: i64, amount_micros: i64) {
        let payer = self.micros.entry(from).or_default();
        *payer = payer.wrapping_sub(amount_micros);
        let payee = self.micros.entry(to).or_default();
        *payee = payee.wrapping_add(amount_micros);
    }

    fn hash(&self) -> crate::audit::Hash {
        let mut hash = BalancesHash::default();
        for (name, row) in &self.names {
            hash.add(name, self.micros.get(row).copied().unwrap_or_default());
        }
        hash.finish()
    }
}

fn tell(rows: &mut u64, progress: &mut dyn FnMut(u64)) {
    *rows += 1;
    if rows.is_multiple_of(TELL_EVERY) {
        progress(TELL_EVERY);
    }
}
