//! Whom a caller was connected to of late: what duplicate rules ask.

use crate::call::{Attempt, Call, CallState, Outcome};
use crate::hash::FastMap;
use crate::id::{AccountId, BidProfileId};
use crate::phone_number::PhoneNumber;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The longest window a duplicate rule may have, in seconds: 31 days.
pub const WINDOW_S_MAX: u32 = 31 * 24 * 3_600;

/// How many calls are remembered: the oldest are forgotten first.
pub const RECENT_CALLS_MAX: usize = 200_000;

/// One connected call, as duplicate rules see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentCall {
    /// Who called.
    pub caller: PhoneNumber,
    /// About what.
    pub vertical: String,
    /// Whose call it was.
    pub seller: AccountId,
    /// The bid that was connected.
    pub bid: BidProfileId,
    /// Who bought it.
    pub buyer: AccountId,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Whether it was charged.
    pub is_charged: bool,
    /// Whether the seller was paid for it.
    pub is_paid: bool,
}

impl RecentCall {
    /// What is remembered of a call that has ended; nothing when nobody was connected, or the caller withheld its number.
    pub fn of(call: &Call) -> Option<Self> {
        let CallState::Ended { outcome, ended_at } = &call.state else { return None };
        let (attempt, is_charged, is_paid): (&Attempt, bool, bool) = match outcome {
            Outcome::NotConverted { attempt, .. } => (attempt, false, false),
            // What the buyer's revenue may add counts from the first: a duplicate does not wait for the report.
            Outcome::Converted { attempt, charge_micros, payout_micros, revenue, .. } => {
                let may_pay = revenue.as_ref().is_some_and(|revenue| revenue.payout_basis_points > 0);
                (attempt, charge_micros.0 > 0 || revenue.is_some(), payout_micros.0 > 0 || may_pay)
            }
            _ => return None,
        };
        Some(Self {
            caller: call.caller.number()?,
            vertical: call.vertical.clone(),
            seller: call.seller,
            bid: attempt.bid,
            buyer: attempt.buyer,
            ended_at: *ended_at,
            is_charged,
            is_paid,
        })
    }

    fn is_within(&self, window_s: u32, now: Timestamp) -> bool {
        now.ms_since(self.ended_at) < u64::from(window_s) * 1_000
    }
}

/// The connected calls of late, by caller.
#[derive(Debug, Clone, Default)]
pub struct RecentCalls {
    by_caller: FastMap<PhoneNumber, VecDeque<RecentCall>>,
    oldest_first: VecDeque<PhoneNumber>,
}

impl RecentCalls {
    /// Remembers a call that ended. Calls come in the order they end.
    pub fn note(&mut self, call: RecentCall) {
        if self.oldest_first.len() >= RECENT_CALLS_MAX {
            self.forget_oldest();
        }
        self.oldest_first.push_back(call.caller);
        self.by_caller.entry(call.caller).or_default().push_back(call);
    }

    /// Remembers a call if there is anything to remember.
    pub fn note_if(&mut self, call: Option<RecentCall>) {
        if let Some(call) = call {
            self.note(call);
        }
    }

    fn forget_oldest(&mut self) {
        let Some(caller) = self.oldest_first.pop_front() else { return };
        if let Some(calls) = self.by_caller.get_mut(&caller) {
            calls.pop_front();
            if calls.is_empty() {
                self.by_caller.remove(&caller);
            }
        }
    }

    /// The caller's latest call within the window of which `is_such` is true.
    pub fn latest(
        &self,
        caller: PhoneNumber,
        window_s: u32,
        now: Timestamp,
        is_such: impl Fn(&RecentCall) -> bool,
    ) -> Option<&RecentCall> {
        if window_s == 0 {
            return None;
        }
        let latest_first = self.by_caller.get(&caller)?.iter().rev();
        latest_first.take_while(|call| call.is_within(window_s, now)).find(|call| is_such(call))
    }
}
