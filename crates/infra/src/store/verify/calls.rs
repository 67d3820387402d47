//! Calls: what each one moved, against what its document says.

use super::{ByBuyer, VerifyReport};
use crate::store::StoreError;
use crate::store::columns::CallFacts;
use crate::store::connection::{Dialect, ReadConnection, Row, Rows};
use exchange::call::{Attempt, Call, CallState, Outcome};
use exchange::id::{AccountId, CallId};
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, TransferReason};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What one call moved.
#[derive(Default)]
struct Moved {
    holds: BTreeMap<u8, (Option<AccountId>, Micros)>,
    releases: BTreeMap<u8, (Option<AccountId>, Micros)>,
    payout: Option<(LedgerAccount, LedgerAccount, Micros)>,
    margin: Option<(LedgerAccount, Micros)>,
}

/// Walks calls and their transfers side by side, both in the order of the calls' ids. Gives what open calls hold.
pub(super) fn verify(
    connection: &dyn ReadConnection,
    dialect: Dialect,
    report: &mut VerifyReport,
) -> Result<ByBuyer, StoreError> {
    let calls = "SELECT document, id, buyer, state, outcome, charge_micros, payout_micros, margin_micros
         FROM calls ORDER BY id";
    let (of_calls, by_call) = match dialect {
        // `hold:<call id>:1`: the call's id follows the colon, and its text sorts like its bytes.
        Dialect::Sqlite => {
            ("t.reason NOT LIKE 'deposit:%'", "substr(t.reason, instr(t.reason, ':') + 1, 36)")
        }
        Dialect::Postgresql => ("t.call > '00000000-0000-0000-0000-000000000000'", "t.call"),
    };
    let transfers = format!(
        "SELECT t.reason, payer.name, payee.name, t.amount_micros
         FROM transfers t
         JOIN ledger_accounts payer ON payer.id = t.from_ledger
         JOIN ledger_accounts payee ON payee.id = t.to_ledger
         WHERE {of_calls} ORDER BY {by_call}, t.seq"
    );
    let mut open_holds = ByBuyer::new();
    connection.stream(&transfers, &mut |rows| {
        let mut transfers = TransfersByCall { rows, next: None };
        transfers.advance()?;
        connection.each(calls, |row| verify_row(row, &mut transfers, &mut open_holds, report))?;
        for stray in transfers.skip_to(CallId(Uuid::max()))? {
            report.violation(format!("call {stray}: moved money, but there is no such call"));
        }
        Ok(())
    })?;
    Ok(open_holds)
}

fn verify_row(
    row: &dyn Row,
    transfers: &mut TransfersByCall<'_>,
    open_holds: &mut ByBuyer,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let id = CallId(row.get(1)?);
    for stray in transfers.skip_to(id)? {
        report.violation(format!("call {stray}: moved money, but there is no such call"));
    }
    let moved = transfers.take(id)?;
    let call: Call = row.document("calls", 0)?;
    report.calls += 1;
    if call.id != id || !columns_agree(row, &call)? {
        report.violation(format!("call {id}: its columns and its document disagree"));
    }
    verify_call(&call, &moved, report);
    if let Some(attempt) = call.held_attempt() {
        report.open_holds += 1;
        let held = open_holds.entry(attempt.buyer).or_default();
        held.0 = held.0.saturating_add(attempt.hold_micros.0);
    }
    Ok(())
}

fn columns_agree(row: &dyn Row, call: &Call) -> Result<bool, StoreError> {
    let facts = CallFacts::of(call);
    let buyer: Option<Uuid> = row.get(2)?;
    let (state, outcome): (&str, Option<&str>) = (row.get(3)?, row.get(4)?);
    let money: [i64; 3] = [row.get(5)?, row.get(6)?, row.get(7)?];
    Ok(facts.buyer == buyer
        && facts.state == state
        && facts.outcome == outcome
        && [facts.charge.0, facts.payout.0, facts.margin.0] == money)
}

/// For every attempt, hold = release + payout + margin, unless the call is open and holds it now.
fn verify_call(call: &Call, moved: &Moved, report: &mut VerifyReport) {
    let id = call.id;
    let charged = verify_charge(call, moved, report);
    let current = call.held_attempt();
    let seen = moved.holds.keys().chain(moved.releases.keys()).chain(current.map(|attempt| &attempt.number));
    let attempts: BTreeSet<u8> = seen.copied().collect();
    for number in attempts {
        let (buyer, hold) = moved.holds.get(&number).copied().unwrap_or_default();
        let (_, release) = moved.releases.get(&number).copied().unwrap_or_default();
        let open = current.filter(|attempt| attempt.number == number);
        if let Some(attempt) = open
            && (hold != attempt.hold_micros || (buyer != Some(attempt.buyer) && hold != Micros::ZERO))
        {
            let wanted = attempt.hold_micros;
            report.violation(format!("call {id}: attempt {number} holds {hold} instead of {wanted}"));
        }
        let captured = match charged {
            Some((attempt, amount)) if attempt.number == number => amount,
            _ => Micros::ZERO,
        };
        let given = Micros(release.0.saturating_add(captured.0));
        if open.is_some() && given != Micros::ZERO {
            report.violation(format!(
                "call {id}: attempt {number} still holds, but {given} of it is given away"
            ));
        }
        if open.is_none() && given != hold {
            report.violation(format!(
                "call {id}: attempt {number} held {hold}, but {release} was released and {captured} charged"
            ));
        }
    }
}

/// A converted call is charged exactly what its document says, any other call nothing.
fn verify_charge<'a>(
    call: &'a Call,
    moved: &Moved,
    report: &mut VerifyReport,
) -> Option<(&'a Attempt, Micros)> {
    let id = call.id;
    let payout = moved.payout.map_or(Micros::ZERO, |(.., amount)| amount);
    let margin = moved.margin.map_or(Micros::ZERO, |(_, amount)| amount);
    let CallState::Ended {
        outcome: Outcome::Converted { attempt, charge_micros, payout_micros, margin_micros, .. },
        ..
    } = &call.state
    else {
        if moved.payout.is_some() || moved.margin.is_some() {
            report.violation(format!("call {id}: not converted, but charged {payout} and {margin}"));
        }
        return None;
    };
    if payout != *payout_micros || margin != *margin_micros {
        report.violation(format!(
            "call {id}: {payout} and {margin} were charged, its document says {payout_micros} and {margin_micros}"
        ));
    }
    if charge_micros.checked_sub(*payout_micros) != Some(*margin_micros) {
        report.violation(format!(
            "call {id}: charge {charge_micros} is not payout {payout_micros} plus margin {margin_micros}"
        ));
    }
    let paid_from = LedgerAccount::Held(attempt.buyer);
    let earned_by = LedgerAccount::Payable(call.seller);
    if moved.payout.is_some_and(|(from, to, _)| from != paid_from || to != earned_by)
        || moved.margin.is_some_and(|(from, _)| from != paid_from)
    {
        report.violation(format!("call {id}: charged to, or paid to, somebody else's account"));
    }
    Some((attempt, Micros(payout.0.saturating_add(margin.0))))
}

/// One transfer of a call.
struct CallTransfer {
    reason: TransferReason,
    from: LedgerAccount,
    to: LedgerAccount,
    amount: Micros,
}

/// Transfers in the order of their calls, one read ahead.
struct TransfersByCall<'a> {
    rows: &'a mut dyn Rows,
    next: Option<CallTransfer>,
}

impl TransfersByCall<'_> {
    fn advance(&mut self) -> Result<Option<CallTransfer>, StoreError> {
        let next = match self.rows.next()? {
            None => None,
            Some(row) => Some(CallTransfer {
                reason: row.key("transfers", 0)?,
                from: row.key("ledger_accounts", 1)?,
                to: row.key("ledger_accounts", 2)?,
                amount: Micros(row.get(3)?),
            }),
        };
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn next_call(&self) -> Option<CallId> {
        self.next.as_ref()?.reason.call()
    }

    /// Passes over the transfers of calls before `id`, and names those calls, each once.
    fn skip_to(&mut self, id: CallId) -> Result<Vec<CallId>, StoreError> {
        let mut skipped: Vec<CallId> = Vec::new();
        while self.next_call().is_some_and(|call| call < id) {
            let call = self.next_call();
            self.advance()?;
            skipped.extend(call.filter(|call| skipped.last() != Some(call)));
        }
        Ok(skipped)
    }

    /// Takes the transfers of this call.
    fn take(&mut self, id: CallId) -> Result<Moved, StoreError> {
        let mut moved = Moved::default();
        while self.next_call() == Some(id) {
            let Some(transfer) = self.advance()? else { break };
            moved.add(transfer);
        }
        Ok(moved)
    }
}

impl Moved {
    fn add(&mut self, transfer: CallTransfer) {
        let CallTransfer { reason, from, to, amount, .. } = transfer;
        let holder = |ledger| match ledger {
            LedgerAccount::Held(buyer) => Some(buyer),
            _ => None,
        };
        match reason {
            TransferReason::Hold { attempt, .. } => {
                self.holds.insert(attempt, (holder(to), amount));
            }
            TransferReason::Release { attempt, .. } => {
                self.releases.insert(attempt, (holder(from), amount));
            }
            TransferReason::Payout { .. } => self.payout = Some((from, to, amount)),
            TransferReason::Margin { .. } => self.margin = Some((from, amount)),
            // Belongs to no call, and is not read here.
            TransferReason::Deposit { .. } => {}
        }
    }
}
