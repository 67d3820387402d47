//! From units of work to rows: what a batch writes, gathered by table, and what the writer knows once it is written.
//!
//! There is one writer, so it gives the numbers itself and knows every balance: nothing is asked of the server on the way, and a
//! balance that would leave its range is refused before anything is sent.

use super::tables::{At, Gathered, TABLES};
use crate::audit::{Anchor, Head};
use crate::store::columns::{
    AUDIT, CallFacts, api_key_created, api_key_revoked, cap_owner, json, kind_name, status_name, subject,
};
use crate::store::connection::Value;
use crate::store::consumers::{replayed, roll_up_row};
use crate::store::writer::Work;
use crate::store::{ApiKey, Effect, Rejection, UnitOfWork};
use exchange::account::Account;
use exchange::audit::AuditEntry;
use exchange::call::Call;
use exchange::effect::Record;
use exchange::event::Event;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, Transfer};
use exchange::time::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// The last number given in each row of numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) journal: i64,
    pub(super) transfer: i64,
    pub(super) outbox: i64,
    pub(super) credit_limit: i64,
    pub(super) ledger: i64,
}

/// A ledger account's row number, and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LedgerRow {
    pub(super) id: i64,
    pub(super) balance: Micros,
}

/// What the writer knows of the database.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) counters: Counters,
    pub(super) ledgers: HashMap<LedgerAccount, LedgerRow>,
    /// The end of the audit log.
    pub(super) audit: Head,
}

/// What the writer will know more, once what is staged is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) counters: Counters,
    ledgers: HashMap<LedgerAccount, LedgerRow>,
    audit: Head,
    pub(super) alive_at: Timestamp,
}

impl Known {
    /// Nothing staged yet.
    pub(super) fn progress(&self) -> Progress {
        Progress { counters: self.counters, audit: self.audit, ..Progress::default() }
    }

    /// What was staged is written.
    pub(super) fn advance(&mut self, progress: Progress) {
        self.counters = progress.counters;
        self.audit = progress.audit;
        self.ledgers.extend(progress.ledgers);
    }
}

/// Rows gathered from one unit or from many.
pub(super) struct Staged {
    pub(super) tables: [Gathered; TABLES.len()],
    /// What is added to each ledger account, by its row.
    pub(super) changes: BTreeMap<i64, Micros>,
    /// API keys, and since when they are refused.
    pub(super) revocations: Vec<Vec<Value>>,
}

/// Stages work on top of what is known and what was staged before.
pub(super) struct Stager<'a> {
    pub(super) known: &'a Known,
    pub(super) progress: Progress,
    pub(super) staged: Staged,
}

impl<'a> Stager<'a> {
    pub(super) fn new(known: &'a Known, progress: Progress) -> Self {
        let tables = std::array::from_fn(|_| Gathered::default());
        let staged = Staged { tables, changes: BTreeMap::new(), revocations: Vec::new() };
        Self { known, progress, staged }
    }

    /// Stages one piece of work. After a rejection nothing staged here may be written.
    pub(super) fn stage(&mut self, work: &Work) -> Result<(), Rejection> {
        match work {
            Work::Unit(unit) => self.unit(unit)?,
            Work::Alive(at) => self.alive(*at),
            Work::Cursor { name, seq } => self.cursor(name, *seq),
            Work::NewApiKey { key, secret_hash, actor } => {
                self.api_key(key, secret_hash);
                self.audit_entry(&api_key_created(key, *actor))?;
            }
            Work::RevokeApiKey { id, at, actor } => {
                self.staged.revocations.push(vec![(*id).into(), at.0.into()]);
                self.audit_entry(&api_key_revoked(*id, *at, *actor))?;
            }
            Work::AuditAnchor(anchor) => self.audit_anchor(anchor)?,
            Work::Consumed(effect) => self.effect(effect)?,
            Work::Replay { letters, at, actor } => {
                for letter in letters {
                    self.push(At::Replays, letter.row());
                }
                self.audit_entry(&replayed(letters, *at, *actor))?;
            }
        }
        Ok(())
    }

    fn push(&mut self, at: At, row: Vec<Value>) {
        self.staged.tables[at as usize].push(at, row);
    }

    fn alive(&mut self, at: Timestamp) {
        self.progress.alive_at = self.progress.alive_at.max(at);
    }

    fn unit(&mut self, unit: &UnitOfWork) -> Result<(), Rejection> {
        let mut journal_seq = None;
        if let Some(entry) = &unit.journal {
            self.progress.counters.journal += 1;
            let seq = self.progress.counters.journal;
            self.push(At::Journal, vec![seq.into(), entry.at.0.into(), json(&entry.entry)?.into()]);
            self.alive(entry.at);
            journal_seq = Some(seq);
        }
        unit.records.iter().try_for_each(|record| self.record(record, journal_seq))
    }

    fn record(&mut self, record: &Record, journal_seq: Option<i64>) -> Result<(), Rejection> {
        match record {
            Record::Account(account) => self.account(account)?,
            Record::TrackingNumber(number) => {
                let digits = number.number.digits().cast_signed();
                self.push(
                    At::TrackingNumbers,
                    vec![digits.into(), number.seller.0.into(), json(number)?.into()],
                );
            }
            Record::BidProfile(bid) => {
                let vertical = bid.vertical.as_str().into();
                self.push(
                    At::BidProfiles,
                    vec![bid.id.0.into(), bid.buyer.0.into(), vertical, json(bid.as_ref())?.into()],
                );
            }
            Record::Usage(usage) => {
                let (kind, id) = cap_owner(usage.owner);
                self.push(At::Usage, vec![kind.into(), id.into(), json(usage)?.into()]);
            }
            Record::SellerRecord(seller, record) => {
                self.push(At::SellerRecords, vec![seller.0.into(), json(record)?.into()]);
            }
            Record::CapGroup(group) => {
                self.push(At::CapGroups, vec![group.id.0.into(), group.buyer.0.into(), json(group)?.into()]);
            }
            Record::TradingRules(rules) => {
                self.push(At::TradingRules, vec![rules.scope.to_string().into(), json(rules)?.into()]);
            }
            Record::Deal(deal) => {
                self.push(At::Deals, vec![deal.id.0.into(), deal.seller.0.into(), json(deal)?.into()]);
            }
            Record::Receipt(receipt) => {
                let decided_at = receipt.decided_at.0.into();
                self.push(At::Receipts, vec![receipt.call.0.into(), decided_at, json(receipt)?.into()]);
                for buyer in receipt.buyers() {
                    self.push(At::AuctionBuyers, vec![buyer.0.into(), receipt.call.0.into()]);
                }
            }
            Record::Dispute(dispute) => {
                let charged = &dispute.charged;
                self.push(
                    At::Disputes,
                    vec![
                        charged.call.0.into(),
                        charged.buyer.0.into(),
                        charged.seller.0.into(),
                        dispute.stage.name().into(),
                        dispute.disputed_at.0.into(),
                        json(dispute)?.into(),
                    ],
                );
            }
            Record::Call(call) => self.call(call)?,
            Record::Transfer(transfer) => self.transfer(transfer, journal_seq)?,
            Record::Event(event) => self.event(event)?,
            Record::Audit(entry) => self.audit_entry(entry)?,
        }
        Ok(())
    }

    fn account(&mut self, account: &Account) -> Result<(), Rejection> {
        let (kind, status) = (kind_name(account.kind), status_name(account.status));
        self.push(At::Accounts, vec![account.id.0.into(), kind.into(), status.into(), json(account)?.into()]);
        self.progress.counters.credit_limit += 1;
        let (seq, after_transfer) = (self.progress.counters.credit_limit, self.progress.counters.transfer);
        let limit = account.credit_limit_micros.0.into();
        self.push(At::CreditLimits, vec![seq.into(), account.id.0.into(), after_transfer.into(), limit]);
        Ok(())
    }

    fn call(&mut self, call: &Call) -> Result<(), Rejection> {
        let facts = CallFacts::of(call);
        let row = vec![
            call.id.0.into(),
            call.received_at.0.into(),
            call.seller.0.into(),
            facts.buyer.into(),
            call.vertical.as_str().into(),
            facts.state.into(),
            facts.outcome.into(),
            facts.charge.0.into(),
            facts.payout.0.into(),
            facts.margin.0.into(),
            facts.ended_at.map(|at| at.0).into(),
            facts.awaits_revenue_until.map(|at| at.0).into(),
            json(call)?.into(),
        ];
        self.push(At::Calls, row);
        Ok(())
    }

    fn transfer(&mut self, transfer: &Transfer, journal_seq: Option<i64>) -> Result<(), Rejection> {
        let reason = transfer.reason.to_string();
        let amount = transfer.amount_micros;
        if amount <= Micros::ZERO {
            return Err(Rejection::NotPositive { reason, amount_micros: amount.0 });
        }
        let to = self.add(transfer.to, amount)?;
        let from = self.add(transfer.from, Micros(-amount.0))?;
        self.progress.counters.transfer += 1;
        let row = vec![
            transfer.reason.call().map_or(Uuid::nil(), |call| call.0).into(),
            reason.into(),
            self.progress.counters.transfer.into(),
            from.into(),
            to.into(),
            amount.0.into(),
            transfer.at.0.into(),
            journal_seq.into(),
        ];
        self.push(At::Transfers, row);
        Ok(())
    }

    /// Adds to a ledger account, which is made if it is new, and gives its row.
    fn add(&mut self, ledger: LedgerAccount, amount: Micros) -> Result<i64, Rejection> {
        let known = self.progress.ledgers.get(&ledger).or_else(|| self.known.ledgers.get(&ledger));
        let row = if let Some(row) = known {
            *row
        } else {
            self.progress.counters.ledger += 1;
            let id = self.progress.counters.ledger;
            self.push(At::LedgerAccounts, vec![id.into(), ledger.to_string().into(), 0.into()]);
            LedgerRow { id, balance: Micros::ZERO }
        };
        let overflow = || Rejection::Overflow { ledger: ledger.to_string() };
        let balance = row.balance.checked_add(amount).ok_or_else(overflow)?;
        self.progress.ledgers.insert(ledger, LedgerRow { balance, ..row });
        let change = self.staged.changes.entry(row.id).or_default();
        *change = change.checked_add(amount).ok_or_else(overflow)?;
        Ok(row.id)
    }

    fn event(&mut self, event: &Event) -> Result<(), Rejection> {
        self.outbox((event.kind(), &event.fact), &subject(&event.subject), event.at)
    }

    /// An event: its type, its data, what it is about, and when.
    fn outbox(
        &mut self,
        (kind, data): (&str, impl Serialize),
        subject: &str,
        at: Timestamp,
    ) -> Result<(), Rejection> {
        self.progress.counters.outbox += 1;
        let seq = self.progress.counters.outbox;
        self.push(
            At::Outbox,
            vec![seq.into(), kind.into(), subject.into(), at.0.into(), json(&data)?.into()],
        );
        Ok(())
    }

    fn audit_entry(&mut self, entry: &AuditEntry) -> Result<(), Rejection> {
        let entry = self.progress.audit.seal(entry);
        let hash = Value::Bytes(entry.hash.0.to_vec());
        let row = vec![
            entry.seq.into(),
            entry.at.0.into(),
            entry.actor.as_str().into(),
            entry.api_key.as_deref().into(),
            entry.role.as_deref().into(),
            entry.action.as_str().into(),
            entry.subject.as_str().into(),
            entry.detail.as_str().into(),
            Value::Bytes(entry.previous_hash.0.to_vec()),
            hash.clone(),
        ];
        self.push(At::AuditEntries, row);
        self.push(At::AuditHead, vec![1.into(), entry.seq.into(), entry.at.0.into(), hash]);
        self.outbox(entry.event(), AUDIT, entry.at)
    }

    fn audit_anchor(&mut self, anchor: &Anchor) -> Result<(), Rejection> {
        self.push(At::AuditAnchors, vec![anchor.statement.seq.into(), json(anchor)?.into()]);
        self.outbox(anchor.event(), AUDIT, anchor.statement.at)
    }

    fn cursor(&mut self, name: &str, seq: i64) {
        self.push(At::Cursors, vec![name.into(), seq.into()]);
    }

    /// What some events came to for a group of consumers.
    fn effect(&mut self, effect: &Effect) -> Result<(), Rejection> {
        let Effect { place, roll_ups, letters } = effect;
        if let Some((name, seq)) = place {
            self.cursor(name, *seq);
        }
        for (key, figures) in roll_ups {
            self.push(At::RollUps, roll_up_row(key, figures));
        }
        letters.iter().try_for_each(|letter| {
            self.push(At::DeadLetters, letter.row()?);
            Ok(())
        })
    }

    fn api_key(&mut self, key: &ApiKey, secret_hash: &[u8; 32]) {
        let row = vec![
            key.id.into(),
            key.name.as_str().into(),
            key.role.as_str().into(),
            key.account.map(|account| account.0).into(),
            Value::Bytes(secret_hash.to_vec()),
            key.created_at.0.into(),
            key.revoked_at.map(|at| at.0).into(),
        ];
        self.push(At::ApiKeys, row);
    }
}
