//! Calls: what each one moved, against what its document says.

use super::digest::LedgerDigest;
use super::roll_ups::RollUpCheck;
use super::{ByBuyer, VerifyReport};
use crate::store::StoreError;
use crate::store::columns::CallFacts;
use crate::store::connection::{Dialect, ReadConnection, Row, Rows, parse};
use exchange::call::{Attempt, Call, CallState, Outcome, RevenueStage};
use exchange::dispute::{ChargedCall, Dispute, DisputeStage};
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
    charges: Vec<CallTransfer>,
    refunds: Vec<CallTransfer>,
}

/// Walks calls and their transfers side by side, both in the order of the calls' ids. Gives what open calls hold, and those whose
/// buyers may still report their revenue.
pub(super) fn verify(
    connection: &dyn ReadConnection,
    dialect: Dialect,
    digest: &mut LedgerDigest,
    mut roll_ups: Option<&mut RollUpCheck>,
    report: &mut VerifyReport,
) -> Result<ByBuyer, StoreError> {
    let calls =
        "SELECT calls.document, id, calls.buyer, state, outcome, charge_micros, payout_micros, margin_micros,
             awaits_revenue_until, disputes.document
         FROM calls LEFT JOIN disputes ON disputes.call = calls.id ORDER BY id";
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
        connection.each(calls, |row| {
            let call = verify_row(row, &mut transfers, &mut open_holds, roll_ups.as_deref_mut(), report)?;
            digest.call(call.id, &CallFacts::of(&call));
            Ok(())
        })?;
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
    roll_ups: Option<&mut RollUpCheck>,
    report: &mut VerifyReport,
) -> Result<Call, StoreError> {
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
    let dispute: Option<&str> = row.get(9)?;
    let dispute = dispute.map(|document| parse::<Dispute>("disputes", document)).transpose()?;
    verify_refund(&call, dispute.as_ref(), &moved, report);
    if let Some(roll_ups) = roll_ups {
        roll_ups.take_away(&call, dispute.as_ref());
    }
    if let Some(attempt) = call.held_attempt() {
        report.open_holds += 1;
        let held = open_holds.entry(attempt.buyer).or_default();
        held.0 = held.0.saturating_add(attempt.hold_micros.0);
    }
    if let Some(awaited) = call.awaited_revenue() {
        report.open_holds += 1;
        let held = open_holds.entry(awaited.attempt.buyer).or_default();
        held.0 = held.0.saturating_add(awaited.held_micros.0);
    }
    Ok(call)
}

fn columns_agree(row: &dyn Row, call: &Call) -> Result<bool, StoreError> {
    let facts = CallFacts::of(call);
    let buyer: Option<Uuid> = row.get(2)?;
    let (state, outcome): (&str, Option<&str>) = (row.get(3)?, row.get(4)?);
    let money: [i64; 3] = [row.get(5)?, row.get(6)?, row.get(7)?];
    let awaits_revenue_until: Option<i64> = row.get(8)?;
    Ok(facts.buyer == buyer
        && facts.state == state
        && facts.outcome == outcome
        && facts.awaits_revenue_until.map(|at| at.0) == awaits_revenue_until
        && [facts.charge.0, facts.payout.0, facts.margin.0] == money)
}

/// For every attempt, hold = release + charge + what is kept for a revenue, unless the call is open and holds it now.
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
        let awaited = call.awaited_revenue().filter(|awaited| awaited.attempt.number == number);
        let kept = awaited.map_or(Micros::ZERO, |awaited| awaited.held_micros);
        let given = Micros(release.0.saturating_add(captured.0));
        if open.is_some() && given != Micros::ZERO {
            report.violation(format!(
                "call {id}: attempt {number} still holds, but {given} of it is given away"
            ));
        }
        if open.is_none() && given.checked_add(kept) != Some(hold) {
            report.violation(format!(
                "call {id}: attempt {number} held {hold}, but {release} was released, {captured} charged and {kept} kept"
            ));
        }
    }
}

/// A converted call is charged exactly what its document says, once at its end and at most once more for its buyer's revenue; any
/// other call nothing.
fn verify_charge<'a>(
    call: &'a Call,
    moved: &Moved,
    report: &mut VerifyReport,
) -> Option<(&'a Attempt, Micros)> {
    let id = call.id;
    let CallState::Ended {
        outcome: Outcome::Converted { attempt, charge_micros, payout_micros, margin_micros, revenue, .. },
        ..
    } = &call.state
    else {
        if !moved.charges.is_empty() {
            let charged = moved.charged();
            report.violation(format!("call {id}: not converted, but charged {charged}"));
        }
        return None;
    };
    let (added, added_payout) = match revenue.as_ref().map(|revenue| &revenue.stage) {
        Some(RevenueStage::Reported { added_micros, added_payout_micros, .. }) => {
            (*added_micros, *added_payout_micros)
        }
        _ => (Micros::ZERO, Micros::ZERO),
    };
    let added_margin = Micros(added.0.saturating_sub(added_payout.0));
    let less = |whole: Micros, part: Micros| Micros(whole.0.saturating_sub(part.0));
    for (reason, wanted, to) in [
        (
            TransferReason::Payout { call: id },
            less(*payout_micros, added_payout),
            LedgerAccount::Payable(call.seller),
        ),
        (TransferReason::Margin { call: id }, less(*margin_micros, added_margin), LedgerAccount::Margin),
        (TransferReason::RevenuePayout { call: id }, added_payout, LedgerAccount::Payable(call.seller)),
        (TransferReason::RevenueMargin { call: id }, added_margin, LedgerAccount::Margin),
    ] {
        let paid_from = LedgerAccount::Held(attempt.buyer);
        verify_part(id, &moved.charges, reason, wanted, Some((paid_from, to)), report);
    }
    if charge_micros.checked_sub(*payout_micros) != Some(*margin_micros) {
        report.violation(format!(
            "call {id}: charge {charge_micros} is not payout {payout_micros} plus margin {margin_micros}"
        ));
    }
    Some((attempt, moved.charged()))
}

/// A call's charge went back, whole and once, where its dispute was upheld; nothing did otherwise.
fn verify_refund(call: &Call, dispute: Option<&Dispute>, moved: &Moved, report: &mut VerifyReport) {
    let id = call.id;
    if dispute.is_some_and(|dispute| Some(&dispute.charged) != ChargedCall::of(call).as_ref()) {
        report.violation(format!("call {id}: what is disputed is not what was charged"));
    }
    let upheld = dispute.filter(|dispute| matches!(dispute.stage, DisputeStage::Upheld { .. }));
    let charged = upheld.map(|dispute| &dispute.charged);
    let wanted = |part: fn(&ChargedCall) -> Micros| charged.map_or(Micros::ZERO, part);
    for (reason, wanted, from) in [
        (
            TransferReason::RefundPayout { call: id },
            wanted(|charged| charged.payout_micros),
            LedgerAccount::Payable(call.seller),
        ),
        (
            TransferReason::RefundMargin { call: id },
            wanted(|charged| charged.margin_micros),
            LedgerAccount::Margin,
        ),
    ] {
        let accounts = charged.map(|charged| (from, LedgerAccount::Available(charged.buyer)));
        verify_part(id, &moved.refunds, reason, wanted, accounts, report);
    }
}

/// One part of a charge or a refund is as much as the call's documents say, between the accounts they name.
fn verify_part(
    id: CallId,
    moved: &[CallTransfer],
    reason: TransferReason,
    wanted: Micros,
    accounts: Option<(LedgerAccount, LedgerAccount)>,
    report: &mut VerifyReport,
) {
    let part = moved.iter().find(|part| part.reason == reason);
    let amount = part.map_or(Micros::ZERO, |part| part.amount);
    if amount != wanted {
        report.violation(format!("call {id}: {reason} is {amount}, its documents say {wanted}"));
    }
    if part.is_some_and(|part| Some((part.from, part.to)) != accounts) {
        report.violation(format!("call {id}: {reason} comes from, or went to, somebody else's account"));
    }
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
    /// What its buyer paid.
    fn charged(&self) -> Micros {
        let amounts = self.charges.iter().map(|charge| charge.amount.0);
        Micros(amounts.fold(0, i64::saturating_add))
    }

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
            TransferReason::Payout { .. }
            | TransferReason::Margin { .. }
            | TransferReason::RevenuePayout { .. }
            | TransferReason::RevenueMargin { .. } => {
                self.charges.push(CallTransfer { reason, from, to, amount });
            }
            TransferReason::RefundPayout { .. } | TransferReason::RefundMargin { .. } => {
                self.refunds.push(CallTransfer { reason, from, to, amount });
            }
            // Belongs to no call, and is not read here.
            TransferReason::Deposit { .. } => {}
        }
    }
}
