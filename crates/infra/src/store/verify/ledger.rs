//! The ledger: transfers played again from the first, against limits and balances.

use super::digest::LedgerDigest;
use super::{ByBuyer, VerifyReport};
use crate::store::StoreError;
use crate::store::connection::{Dialect, ReadConnection, Row, Rows};
use exchange::id::AccountId;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, TransferReason};
use std::collections::{BTreeMap, HashMap};

/// What the transfers come to.
pub(super) struct Replayed {
    /// What is held, for every buyer that ever held.
    pub(super) held: ByBuyer,
}

/// One transfer, as the audit reads it.
struct Line {
    seq: i64,
    reason: TransferReason,
    from: LedgerAccount,
    to: LedgerAccount,
    amount: Micros,
    at: i64,
}

/// Plays all transfers again, with the limits that came into force between them.
pub(super) fn verify(
    connection: &dyn ReadConnection,
    dialect: Dialect,
    digest: &mut LedgerDigest,
    report: &mut VerifyReport,
) -> Result<Replayed, StoreError> {
    let (names, stored, mut balances) = ledger_accounts(connection, dialect)?;
    let limits = "SELECT after_transfer, account, credit_limit_micros FROM credit_limits ORDER BY seq";
    let transfers =
        "SELECT seq, reason, from_ledger, to_ledger, amount_micros, at FROM transfers ORDER BY seq";
    connection.stream(limits, &mut |limit_rows| {
        let mut limits = Limits::default();
        connection.each(transfers, |row| {
            report.transfers += 1;
            let line = Line::read(row, &names)?;
            limits.advance(limit_rows, line.seq)?;
            digest.transfer(&line.reason, line.from, line.to, line.amount, line.at);
            book(&line, &limits, &mut balances, report);
            Ok(())
        })
    })?;
    compare_balances(&stored, &balances, report);
    for (ledger, balance) in &stored {
        digest.balance(*ledger, *balance);
    }
    let held = balances.iter().filter_map(|(ledger, balance)| match ledger {
        LedgerAccount::Held(buyer) => Some((*buyer, *balance)),
        _ => None,
    });
    Ok(Replayed { held: held.collect() })
}

impl Line {
    fn read(row: &dyn Row, names: &Names) -> Result<Self, StoreError> {
        let name = |column: usize| -> Result<LedgerAccount, StoreError> {
            let id: i64 = row.get(column)?;
            names.get(&id).copied().ok_or_else(|| StoreError::Row {
                table: "ledger_accounts",
                row: id.to_string(),
                finding: "named by a transfer, but missing".to_owned(),
            })
        };
        Ok(Self {
            seq: row.get(0)?,
            reason: row.key("transfers", 1)?,
            from: name(2)?,
            to: name(3)?,
            amount: Micros(row.get(4)?),
            at: row.get(5)?,
        })
    }
}

type Names = HashMap<i64, LedgerAccount>;
type Balances = BTreeMap<LedgerAccount, Micros>;

/// The ledger accounts' names by row, what is in them, and what was in them before the first transfer that is left: months of
/// transfers can be detached from `PostgreSQL`'s tables.
fn ledger_accounts(
    connection: &dyn ReadConnection,
    dialect: Dialect,
) -> Result<(Names, Balances, Balances), StoreError> {
    let (mut names, mut balances, mut openings) = (Names::new(), Balances::new(), Balances::new());
    let sql = match dialect {
        Dialect::Sqlite => "SELECT id, name, balance_micros, 0 FROM ledger_accounts",
        Dialect::Postgresql => "SELECT id, name, balance_micros, opening_micros FROM ledger_accounts",
    };
    connection.each(sql, |row| {
        let ledger = row.key("ledger_accounts", 1)?;
        names.insert(row.get(0)?, ledger);
        balances.insert(ledger, Micros(row.get(2)?));
        openings.insert(ledger, Micros(row.get(3)?));
        Ok(())
    })?;
    Ok((names, balances, openings))
}

/// Books one transfer and looks at what it did.
fn book(line: &Line, limits: &Limits, balances: &mut Balances, report: &mut VerifyReport) {
    let Line { seq, reason, from, to, amount, .. } = line;
    if !goes_where_it_should(line) {
        report.violation(format!("transfer {seq} ({reason}): moves money from {from} to {to}"));
    }
    let balance = |ledger| balances.get(ledger).copied().unwrap_or_default();
    let after = balance(from).checked_sub(*amount);
    let received = balance(to).checked_add(*amount);
    let (Some(after), Some(received)) = (after, received) else {
        report.violation(format!("transfer {seq} ({reason}): a balance passes what an i64 holds"));
        return;
    };
    balances.insert(*from, after);
    balances.insert(*to, received);
    match from {
        LedgerAccount::Available(buyer) => {
            let limit = limits.of(*buyer);
            if after.0.saturating_add(limit.0) < 0 {
                report.violation(format!(
                    "transfer {seq} ({reason}): leaves buyer {buyer} at {after}, past its credit limit of {limit}"
                ));
            }
        }
        LedgerAccount::Held(buyer) if after < Micros::ZERO => {
            report.violation(format!("transfer {seq} ({reason}): leaves buyer {buyer} holding {after}"));
        }
        _ => {}
    }
}

/// Each reason has one way that money may go.
fn goes_where_it_should(line: &Line) -> bool {
    use LedgerAccount::{Available, External, Held, Margin, Payable};
    match (&line.reason, line.from, line.to) {
        (TransferReason::Deposit { account, .. }, External, Available(to)) => *account == to,
        (TransferReason::Hold { .. }, Available(from), Held(to))
        | (TransferReason::Release { .. }, Held(from), Available(to)) => from == to,
        (TransferReason::Payout { .. } | TransferReason::RevenuePayout { .. }, Held(_), Payable(_))
        | (TransferReason::Margin { .. } | TransferReason::RevenueMargin { .. }, Held(_), Margin)
        | (TransferReason::RefundPayout { .. }, Payable(_), Available(_))
        | (TransferReason::RefundMargin { .. }, Margin, Available(_)) => true,
        _ => false,
    }
}

/// The balances kept beside the transfers are their sums, and they sum to zero.
fn compare_balances(stored: &Balances, replayed: &Balances, report: &mut VerifyReport) {
    let sum: i128 = stored.values().map(|balance| i128::from(balance.0)).sum();
    report.ledger_sum_micros = i64::try_from(sum).unwrap_or(i64::MAX);
    if sum != 0 {
        report.violation(format!("ledger: all balances sum to {sum} micro-units instead of 0"));
    }
    for (ledger, balance) in stored {
        let transferred = replayed.get(ledger).copied().unwrap_or_default();
        if *balance != transferred {
            report.violation(format!(
                "ledger account {ledger}: balance {balance}, transfers say {transferred}"
            ));
        }
    }
}

/// The credit limits in force at a point of the ledger.
#[derive(Default)]
struct Limits {
    in_force: HashMap<AccountId, Micros>,
    /// Read, but not yet in force.
    next: Option<(i64, AccountId, Micros)>,
}

impl Limits {
    /// Brings into force every limit set before transfer `seq`.
    fn advance(&mut self, rows: &mut dyn Rows, seq: i64) -> Result<(), StoreError> {
        loop {
            if self.next.is_none() {
                let Some(row) = rows.next()? else { return Ok(()) };
                let account = AccountId(row.get(1)?);
                self.next = Some((row.get(0)?, account, Micros(row.get(2)?)));
            }
            match self.next {
                Some((after, account, limit)) if after < seq => {
                    self.in_force.insert(account, limit);
                    self.next = None;
                }
                _ => return Ok(()),
            }
        }
    }

    fn of(&self, account: AccountId) -> Micros {
        self.in_force.get(&account).copied().unwrap_or_default()
    }
}
