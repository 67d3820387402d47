//! Everything that must survive a restart, as the fold of all records ever written.

use crate::account::Account;
use crate::bid::BidProfile;
use crate::bid::caps::CapGroup;
use crate::call::{Call, CallState};
use crate::dispute::Dispute;
use crate::effect::Record;
use crate::id::{AccountId, BidProfileId, CallId, CapGroupId, DealId};
use crate::ledger::money::Micros;
use crate::ledger::transfer::{LedgerAccount, TransferReason};
use crate::phone_number::PhoneNumber;
use crate::recent_calls::RecentCall;
use crate::time::Timestamp;
use crate::track_record::SellerRecord;
use crate::tracking_number::TrackingNumber;
use crate::trading_rules::{Deal, Scope, ScopedRules};
use crate::usage::{CapOwner, Usage};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The durable state from which the in-memory book is rebuilt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every account.
    pub accounts: BTreeMap<AccountId, Account>,
    /// Every tracking number.
    pub tracking_numbers: BTreeMap<PhoneNumber, TrackingNumber>,
    /// Every bid profile.
    pub bid_profiles: BTreeMap<BidProfileId, Arc<BidProfile>>,
    /// Every cap group.
    pub cap_groups: BTreeMap<CapGroupId, CapGroup>,
    /// Every scope's trading rules.
    pub trading_rules: BTreeMap<Scope, ScopedRules>,
    /// Every private deal.
    pub deals: BTreeMap<DealId, Deal>,
    /// Every ledger balance that ever moved, in micro-units.
    pub balances: BTreeMap<LedgerAccount, Micros>,
    /// Deposits already booked, so that a repeated reference changes nothing.
    pub deposits: BTreeSet<TransferReason>,
    /// What bids and cap groups have taken.
    pub usage: BTreeMap<CapOwner, Usage>,
    /// What came of sellers' calls.
    pub seller_records: BTreeMap<AccountId, SellerRecord>,
    /// Calls that have not ended.
    pub open_calls: BTreeMap<CallId, Call>,
    /// Calls that ended, and whose buyers may still report their revenue.
    pub awaiting_revenue: BTreeMap<CallId, Call>,
    /// Disputes: those that are open, and those of calls that may still be disputed.
    pub disputes: BTreeMap<CallId, Dispute>,
    /// Calls that were connected, of the last 31 days that the exchange ran.
    pub recent_calls: BTreeMap<CallId, RecentCall>,
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
                self.bid_profiles.insert(bid.id, Arc::clone(bid));
            }
            Record::CapGroup(group) => {
                self.cap_groups.insert(group.id, group.clone());
            }
            Record::TradingRules(rules) => {
                self.trading_rules.insert(rules.scope.clone(), (**rules).clone());
            }
            Record::Deal(deal) => {
                self.deals.insert(deal.id, deal.clone());
            }
            Record::Usage(usage) => {
                self.usage.insert(usage.owner, (**usage).clone());
            }
            Record::SellerRecord(seller, record) => {
                self.seller_records.insert(*seller, record.clone());
            }
            Record::Call(call) if matches!(call.state, CallState::Ended { .. }) => {
                self.open_calls.remove(&call.id);
                if call.awaited_revenue().is_some() {
                    self.awaiting_revenue.insert(call.id, (**call).clone());
                } else {
                    self.awaiting_revenue.remove(&call.id);
                }
                if let Some(recent) = RecentCall::of(call) {
                    self.recent_calls.insert(call.id, recent);
                }
            }
            Record::Call(call) => {
                self.open_calls.insert(call.id, (**call).clone());
            }
            Record::Dispute(dispute) => {
                self.disputes.insert(dispute.charged.call, (**dispute).clone());
            }
            Record::Transfer(transfer) => {
                if matches!(transfer.reason, TransferReason::Deposit { .. }) {
                    self.deposits.insert(transfer.reason.clone());
                }
                self.balances.entry(transfer.from).or_default().0 -= transfer.amount_micros.0;
                self.balances.entry(transfer.to).or_default().0 += transfer.amount_micros.0;
            }
            Record::Receipt(_) | Record::Event(_) | Record::Audit(_) => {}
        }
    }
}
