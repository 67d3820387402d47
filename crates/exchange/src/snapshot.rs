//! Everything that must survive a restart, as the fold of all records ever written.

use crate::account::Account;
use crate::bid::BidProfile;
use crate::call::{Call, CallState};
use crate::effect::{DailyUsage, Record};
use crate::id::{AccountId, BidProfileId, CallId};
use crate::ledger::money::Micros;
use crate::ledger::transfer::{LedgerAccount, TransferReason};
use crate::phone_number::PhoneNumber;
use crate::time::Timestamp;
use crate::tracking_number::TrackingNumber;
use std::collections::{BTreeMap, BTreeSet};

/// The durable state from which the in-memory book is rebuilt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every account.
    pub accounts: BTreeMap<AccountId, Account>,
    /// Every tracking number.
    pub tracking_numbers: BTreeMap<PhoneNumber, TrackingNumber>,
    /// Every bid profile.
    pub bid_profiles: BTreeMap<BidProfileId, BidProfile>,
    /// Every ledger balance that ever moved, in micro-units.
    pub balances: BTreeMap<LedgerAccount, Micros>,
    /// Deposits already booked, so that a repeated reference changes nothing.
    pub deposits: BTreeSet<TransferReason>,
    /// Daily caps in use.
    pub usage: BTreeMap<BidProfileId, DailyUsage>,
    /// Calls that have not ended.
    pub open_calls: BTreeMap<CallId, Call>,
    /// The last moment the exchange is known to have run.
    pub last_alive_at: Timestamp,
}

impl Snapshot {
    /// Takes in one record. A store's tables must hold exactly what this fold gives.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Account(account) => {
                self.accounts.insert(account.id, account.clone());
            }
            Record::TrackingNumber(number) => {
                self.tracking_numbers.insert(number.number, number.clone());
            }
            Record::BidProfile(bid) => {
                self.bid_profiles.insert(bid.id, (**bid).clone());
            }
            Record::DailyUsage(usage) => {
                self.usage.insert(usage.bid, usage.clone());
            }
            Record::Call(call) if matches!(call.state, CallState::Ended { .. }) => {
                self.open_calls.remove(&call.id);
            }
            Record::Call(call) => {
                self.open_calls.insert(call.id, (**call).clone());
            }
            Record::Transfer(transfer) => {
                if matches!(transfer.reason, TransferReason::Deposit { .. }) {
                    self.deposits.insert(transfer.reason.clone());
                }
                self.balances.entry(transfer.from).or_default().0 -= transfer.amount_micros.0;
                self.balances.entry(transfer.to).or_default().0 += transfer.amount_micros.0;
            }
            Record::Receipt(_) | Record::Event(_) => {}
        }
    }
}
