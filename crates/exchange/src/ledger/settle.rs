//! Holding, releasing and settling: the transfers of one attempt.

use crate::call::{Attempt, Call};
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
    let payout = match duplicate {
        Duplicate::Payout => Micros::ZERO,
        _ => charge.share(call.payout_basis_points),
    };
    Some(Settlement { charge, payout, margin: Micros(charge.0 - payout.0) })
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

/// Captures the hold: payout to the seller, margin to the house, the rest back to the buyer.
pub fn capture(
    call: &Call,
    attempt: &Attempt,
    settlement: Settlement,
    now: Timestamp,
) -> impl Iterator<Item = Transfer> {
    let held = LedgerAccount::Held(attempt.buyer);
    let rest = Micros(attempt.hold_micros.0 - settlement.charge.0);
    let payable = LedgerAccount::Payable(call.seller);
    [
        transfer(TransferReason::Payout { call: call.id }, held, payable, settlement.payout, now),
        transfer(
            TransferReason::Margin { call: call.id },
            held,
            LedgerAccount::Margin,
            settlement.margin,
            now,
        ),
        release_part(call, attempt, rest, now),
    ]
    .into_iter()
    .flatten()
}

fn release_part(call: &Call, attempt: &Attempt, amount: Micros, now: Timestamp) -> Option<Transfer> {
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
