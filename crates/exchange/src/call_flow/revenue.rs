//! After the call: a price that is a share of the buyer's revenue. Its least is charged when the call ends; the rest of the hold stays
//! until the buyer reports what it earned, once, or until the time for that is over.

use super::effects::Effects;
use crate::book::{Book, MOST_MONEY};
use crate::call::{Attempt, Call, CallState, Outcome, RevenueStage, SharedRevenue};
use crate::effect::{Action, Effect, Record};
use crate::event::Fact;
use crate::id::{AccountId, CallId};
use crate::ledger::money::Micros;
use crate::ledger::settle;
use crate::refused::{CommandRefused, FieldError, field_error, reference_problem};
use crate::time::Timestamp;

/// A call that has just ended waits for its buyer's report, if there is one to come.
pub(super) fn await_revenue(book: &mut Book, ended: Call, out: &mut Effects) {
    if let Some(awaited) = ended.awaited_revenue() {
        out.act(Action::StartRevenueTimer { after_ms: awaited.report_until.ms_since(out.now) });
        book.awaiting_revenue.insert(ended.id, ended);
    }
}

/// A buyer reports what it earned from a call: the difference to what it was charged is captured. Nothing happens where no report is
/// awaited from it.
pub(crate) fn report_revenue(
    book: &mut Book,
    id: CallId,
    buyer: AccountId,
    revenue: Micros,
    reference: Option<String>,
    now: Timestamp,
) -> Result<Vec<Effect>, CommandRefused> {
    CommandRefused::unless_valid(problems(revenue, reference.as_deref()))?;
    let awaited = book.awaiting_revenue.get(&id).and_then(Call::awaited_revenue);
    if !awaited.is_some_and(|awaited| awaited.attempt.buyer == buyer && now < awaited.report_until) {
        return Ok(Vec::new());
    }
    let mut out = Effects::of(id, now);
    settle_after(book, id, &mut out, |book, call, settled, out| {
        let Settled { attempt, charge_micros, payout_micros, margin_micros, revenue: shared } = settled;
        let held = shared.held_micros();
        let paid = (*charge_micros, *payout_micros);
        let added = settle::added(&attempt.price, revenue, paid, shared.payout_basis_points, held);
        give_back_spend(book, attempt, Micros(held.0 - added.charge.0), out);
        out.book(book, settle::capture_added(call, attempt, added, held, now));
        charge_micros.0 += added.charge.0;
        payout_micros.0 += added.payout.0;
        margin_micros.0 += added.margin.0;
        shared.stage = RevenueStage::Reported {
            revenue_micros: revenue,
            reference: reference.clone(),
            added_micros: added.charge,
            added_payout_micros: added.payout,
            reported_at: now,
        };
        out.tell(Fact::CallRevenueReported {
            bid: attempt.bid,
            buyer,
            seller: call.seller,
            revenue_micros: revenue,
            reference,
            added_micros: added.charge,
            added_payout_micros: added.payout,
            charge_micros: *charge_micros,
            payout_micros: *payout_micros,
            margin_micros: *margin_micros,
        });
    });
    Ok(out.decided)
}

/// The time for the report is over: the least stands, and what was held for more is given back.
pub(super) fn lapse(book: &mut Book, id: CallId, now: Timestamp) -> Vec<Effect> {
    let mut out = Effects::of(id, now);
    settle_after(book, id, &mut out, |book, call, settled, out| {
        let Settled { attempt, revenue: shared, .. } = settled;
        let held = shared.held_micros();
        give_back_spend(book, attempt, held, out);
        out.book(book, settle::release_part(call, attempt, held, now));
        shared.stage = RevenueStage::Lapsed;
        let (bid, buyer) = (attempt.bid, attempt.buyer);
        out.tell(Fact::CallRevenueLapsed { bid, buyer, released_micros: held });
    });
    out.decided
}

/// What a converted call came to so far.
struct Settled<'a> {
    attempt: &'a Attempt,
    charge_micros: &'a mut Micros,
    payout_micros: &'a mut Micros,
    margin_micros: &'a mut Micros,
    revenue: &'a mut SharedRevenue,
}

/// Settles what is left of a call that awaits its buyer's report, and writes the call as it then is. Without such a call, nothing.
fn settle_after(
    book: &mut Book,
    id: CallId,
    out: &mut Effects,
    settle: impl FnOnce(&mut Book, &Call, Settled<'_>, &mut Effects),
) {
    let Some(mut call) = book.awaiting_revenue.remove(&id) else { return };
    let mut state = std::mem::replace(&mut call.state, CallState::Received);
    if let CallState::Ended { outcome, .. } = &mut state
        && let Outcome::Converted { attempt, charge_micros, payout_micros, margin_micros, revenue, .. } =
            outcome
        && let Some(revenue) = revenue
    {
        let settled = Settled { attempt, charge_micros, payout_micros, margin_micros, revenue };
        settle(book, &call, settled, out);
    }
    call.state = state;
    out.write(Record::Call(Box::new(call)));
}

fn give_back_spend(book: &mut Book, attempt: &Attempt, unspent: Micros, out: &mut Effects) {
    if let Some(slot) = book.bids.slot(attempt.bid) {
        book.usages.give_back_spend(slot, &attempt.counted, unspent);
        out.usage(book, slot, attempt);
    }
}

fn problems(revenue: Micros, reference: Option<&str>) -> Vec<FieldError> {
    let mut problems = Vec::new();
    if !(Micros::ZERO..=MOST_MONEY).contains(&revenue) {
        let fix = "give what the call earned, 0 if it was nothing";
        problems.push(field_error("revenue", "is below 0, or too large", fix));
    }
    let fix = "give your own reference, or leave it out";
    problems.extend(reference.and_then(|reference| reference_problem(reference, fix)));
    problems
}
