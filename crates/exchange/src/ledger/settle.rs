//! Holding, releasing and settling: the transfers of one attempt, and what a reported revenue adds to them.

use crate::bid::Price;
use crate::call::{Attempt, Call, RevenueStage, SharedRevenue};
use crate::ledger::money::Micros;
use crate::ledger::transfer::{LedgerAccount, Transfer, TransferReason};
use crate::time::Timestamp;

/// What a converted call comes to: `charge = payout + margin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// What the buyer pays.
    pub charge: Micros,
    /// What the seller earns.
    pub payout: Micros,
    /// What the house keeps.
    pub margin: Micros,
}

/// Whether the same caller converted before, within the windows of the trading rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// No.
    No,
    /// For the same buyer: it is not charged again, and so nobody is paid.
    Charge,
    /// For the same seller: the buyer is charged, and the house keeps it all.
    Payout,
}

/// Prices a connected call; `None` when it did not convert. Never more than is held, however late it was ended.
pub fn settle(call: &Call, attempt: &Attempt, connected_ms: u64, duplicate: Duplicate) -> Option<Settlement> {
    if !attempt.conversion.is_met(connected_ms) || duplicate == Duplicate::Charge {
        return None;
    }
    let billable_ms = connected_ms.min(u64::from(attempt.max_call_s) * 1_000);
    let charge = attempt.price.charge(billable_ms).min(attempt.hold_micros);
    let payout = charge.share(payout_basis_points(call, duplicate));
    Some(Settlement { charge, payout, margin: Micros(charge.0 - payout.0) })
}

/// The seller's share of what a converted call is charged.
fn payout_basis_points(call: &Call, duplicate: Duplicate) -> u16 {
    if duplicate == Duplicate::Payout { 0 } else { call.payout_basis_points }
}

/// What the buyer's revenue may add to the settlement of a call that ends now; the rest of its hold is kept for that.
pub fn shared_revenue(
    call: &Call,
    attempt: &Attempt,
    settlement: Settlement,
    duplicate: Duplicate,
    now: Timestamp,
) -> Option<SharedRevenue> {
    let Price::RevenueShare { report_within_s, .. } = attempt.price else { return None };
    let held_micros = Micros(attempt.hold_micros.0 - settlement.charge.0);
    (held_micros > Micros::ZERO).then(|| SharedRevenue {
        report_until: now.plus_ms(u64::from(report_within_s) * 1_000),
        payout_basis_points: payout_basis_points(call, duplicate),
        stage: RevenueStage::Awaited { held_micros },
    })
}

/// What a reported revenue adds to a call that was charged `charge` and paid out `payout`, of the `held` rest. The seller's part is
/// such that it has its share of the whole.
pub fn added(
    price: &Price,
    revenue: Micros,
    (charge, payout): (Micros, Micros),
    payout_basis_points: u16,
    held: Micros,
) -> Settlement {
    let whole = price.charge_for(revenue, charge).max(charge).min(Micros(charge.0 + held.0));
    let added = Micros(whole.0 - charge.0);
    let added_payout = Micros(whole.share(payout_basis_points).0 - payout.0);
    Settlement { charge: added, payout: added_payout, margin: Micros(added.0 - added_payout.0) }
}

/// Sets the attempt's money aside.
pub fn hold(call: &Call, attempt: &Attempt, now: Timestamp) -> Option<Transfer> {
    transfer(
        TransferReason::Hold { call: call.id, attempt: attempt.number },
        LedgerAccount::Available(attempt.buyer),
        LedgerAccount::Held(attempt.buyer),
        attempt.hold_micros,
        now,
    )
}

/// Gives the whole hold back.
pub fn release(call: &Call, attempt: &Attempt, now: Timestamp) -> Option<Transfer> {
    release_part(call, attempt, attempt.hold_micros, now)
}

/// Captures the hold: payout to the seller, margin to the house, and of the rest what is not `kept` back to the buyer.
pub fn capture(
    call: &Call,
    attempt: &Attempt,
    settlement: Settlement,
    kept: Micros,
    now: Timestamp,
) -> impl Iterator<Item = Transfer> {
    let rest = Micros(attempt.hold_micros.0 - settlement.charge.0 - kept.0);
    let reasons = [TransferReason::Payout { call: call.id }, TransferReason::Margin { call: call.id }];
    captured(call, attempt, reasons, settlement, rest, now)
}

/// Captures what a reported revenue added, and gives the rest of what was kept back.
pub fn capture_added(
    call: &Call,
    attempt: &Attempt,
    added: Settlement,
    kept: Micros,
    now: Timestamp,
) -> impl Iterator<Item = Transfer> {
    let rest = Micros(kept.0 - added.charge.0);
    let reasons =
        [TransferReason::RevenuePayout { call: call.id }, TransferReason::RevenueMargin { call: call.id }];
    captured(call, attempt, reasons, added, rest, now)
}

/// Payout and margin out of what is held, each for its reason, and the rest back to the buyer.
fn captured(
    call: &Call,
    attempt: &Attempt,
    [payout, margin]: [TransferReason; 2],
    settlement: Settlement,
    rest: Micros,
    now: Timestamp,
) -> impl Iterator<Item = Transfer> {
    let held = LedgerAccount::Held(attempt.buyer);
    let payable = LedgerAccount::Payable(call.seller);
    [
        transfer(payout, held, payable, settlement.payout, now),
        transfer(margin, held, LedgerAccount::Margin, settlement.margin, now),
        release_part(call, attempt, rest, now),
    ]
    .into_iter()
    .flatten()
}

/// Gives back what is left of the hold.
pub fn release_part(call: &Call, attempt: &Attempt, amount: Micros, now: Timestamp) -> Option<Transfer> {
    transfer(
        TransferReason::Release { call: call.id, attempt: attempt.number },
        LedgerAccount::Held(attempt.buyer),
        LedgerAccount::Available(attempt.buyer),
        amount,
        now,
    )
}

/// Nothing is not moved: a transfer of zero does not exist.
fn transfer(
    reason: TransferReason,
    from: LedgerAccount,
    to: LedgerAccount,
    amount_micros: Micros,
    at: Timestamp,
) -> Option<Transfer> {
    (amount_micros > Micros::ZERO).then_some(Transfer { reason, from, to, amount_micros, at })
}
