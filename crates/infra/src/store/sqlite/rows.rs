//! From records to rows: what one unit of work writes within the transaction it is given.

use super::consumed::write_replays;
use crate::audit::{Anchor, Head};
use crate::store::columns::{
    AUDIT, CallFacts, SESSIONS_DELETED_MAX, api_key_created, api_key_revoked, cap_owner, json, kind_name,
    over_before, status_name, subject,
};
use crate::store::connection::ReadConnection;
use crate::store::consumers::replayed;
use crate::store::read::audit::head;
use crate::store::{ApiKey, LetterId, Rejection, StoreError, UnitOfWork};
use exchange::account::Account;
use exchange::auction::receipt::Receipt;
use exchange::audit::{Actor, AuditEntry};
use exchange::bid::BidProfile;
use exchange::bid::caps::CapGroup;
use exchange::call::Call;
use exchange::dispute::Dispute;
use exchange::effect::Record;
use exchange::event::Event;
use exchange::id::AccountId;
use exchange::ledger::money::Micros;
use exchange::ledger::transfer::{LedgerAccount, Transfer};
use exchange::time::Timestamp;
use exchange::track_record::SellerRecord;
use exchange::tracking_number::TrackingNumber;
use exchange::trading_rules::{Deal, ScopedRules};
use exchange::usage::Usage;
use rusqlite::{Connection, Error, ErrorCode, Params, ffi, params};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Why a unit was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The unit is at fault.
    Rejected(Rejection),
    /// The database is at fault.
    Failed(Error),
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Rejection> for WriteError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Writes units, and gathers what is cheaper to write once per transaction: balances and the sign of life.
#[derive(Debug)]
pub(super) struct Rows {
    /// Row numbers of the ledger accounts.
    ledgers: HashMap<LedgerAccount, i64>,
    /// Those of them whose rows the current transaction made.
    new_ledgers: Vec<LedgerAccount>,
    /// What the current transaction adds to each balance.
    changes: BTreeMap<LedgerAccount, (i64, Micros)>,
    /// The latest moment the current transaction knows of.
    alive_at: Option<Timestamp>,
    /// The end of the audit log, with what the current transaction adds.
    audit: Head,
}

/// Where something begins that may be undone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    new_ledgers: usize,
    audit: Head,
}

impl Rows {
    /// Learns the ledger accounts that exist, and how the audit log ends.
    pub(super) fn new(connection: &Connection) -> Result<Self, StoreError> {
        let connection: &dyn ReadConnection = connection;
        let mut ledgers = HashMap::new();
        connection.each("SELECT name, id FROM ledger_accounts", |row| {
            ledgers.insert(row.key("ledger_accounts", 0)?, row.get(1)?);
            Ok(())
        })?;
        let audit = head(connection)?;
        Ok(Self { ledgers, new_ledgers: Vec::new(), changes: BTreeMap::new(), alive_at: None, audit })
    }

    /// Writes one unit, but for what [`Rows::finish`] writes.
    pub(super) fn write(&mut self, connection: &Connection, unit: &UnitOfWork) -> Result<(), WriteError> {
        let mut journal_seq = None;
        if let Some(entry) = &unit.journal {
            let sql = "INSERT INTO journal (at, document) VALUES (?1, ?2)";
            run(connection, "journal", sql, params![entry.at.0, json(&entry.entry)?])?;
            journal_seq = Some(connection.last_insert_rowid());
            self.alive(entry.at);
        }
        for record in &unit.records {
            match record {
                Record::Account(account) => write_account(connection, account)?,
                Record::TrackingNumber(number) => write_tracking_number(connection, number)?,
                Record::BidProfile(bid) => write_bid_profile(connection, bid)?,
                Record::Call(call) => write_call(connection, call)?,
                Record::Usage(usage) => write_usage(connection, usage)?,
                Record::SellerRecord(seller, record) => write_seller_record(connection, *seller, record)?,
                Record::CapGroup(group) => write_cap_group(connection, group)?,
                Record::TradingRules(rules) => write_trading_rules(connection, rules)?,
                Record::Deal(deal) => write_deal(connection, deal)?,
                Record::Dispute(dispute) => write_dispute(connection, dispute)?,
                Record::Transfer(transfer) => self.write_transfer(connection, transfer, journal_seq)?,
                Record::Receipt(receipt) => write_receipt(connection, receipt)?,
                Record::Event(event) => write_event(connection, event)?,
                Record::Audit(entry) => self.write_audit_entry(connection, entry)?,
            }
        }
        Ok(())
    }

    /// Notes that the exchange ran at this moment.
    pub(super) fn alive(&mut self, at: Timestamp) {
        self.alive_at = self.alive_at.max(Some(at));
    }

    /// Writes what was gathered. Goes before the commit, or before a savepoint is released.
    pub(super) fn finish(&mut self, connection: &Connection) -> Result<(), WriteError> {
        for (ledger, (row, change)) in std::mem::take(&mut self.changes) {
            let sql = "UPDATE ledger_accounts SET balance_micros = balance_micros + ?2 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![row, change.0]).map_err(|error| {
                // Past an i64 SQLite goes on as a float, which the STRICT table refuses.
                if is_constraint(&error) { overflow(ledger) } else { error.into() }
            })?;
        }
        if let Some(at) = self.alive_at.take() {
            let sql = "UPDATE liveness SET last_alive_at = max(last_alive_at, ?1)";
            connection.prepare_cached(sql)?.execute([at.0])?;
        }
        Ok(())
    }

    /// The transaction is committed.
    pub(super) fn committed(&mut self) {
        self.new_ledgers.clear();
    }

    /// Where a transaction or a savepoint begins, for [`Rows::undone_to`].
    pub(super) fn mark(&self) -> Mark {
        Mark { new_ledgers: self.new_ledgers.len(), audit: self.audit }
    }

    /// What was written since the mark was undone.
    pub(super) fn undone_to(&mut self, mark: Mark) {
        for ledger in self.new_ledgers.drain(mark.new_ledgers..) {
            self.ledgers.remove(&ledger);
        }
        self.audit = mark.audit;
        self.changes.clear();
        self.alive_at = None;
    }

    /// Adds an API key or a session.
    pub(super) fn write_api_key(
        &mut self,
        connection: &Connection,
        key: &ApiKey,
        secret_hash: &[u8; 32],
        actor: Actor,
    ) -> Result<(), WriteError> {
        if let Some(over_before) = over_before(key) {
            delete_sessions(connection, over_before)?;
        }
        insert_api_key(connection, key, secret_hash)?;
        self.write_audit_entry(connection, &api_key_created(key, actor))
    }

    /// Revokes an API key with its sessions, or a session.
    pub(super) fn revoke_api_key(
        &mut self,
        connection: &Connection,
        key: &ApiKey,
        at: Timestamp,
        actor: Actor,
    ) -> Result<(), WriteError> {
        let sql = "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1 OR of_key = ?1";
        run(connection, "API key", sql, params![key.id.as_bytes(), at.0])?;
        self.write_audit_entry(connection, &api_key_revoked(key, at, actor))
    }

    /// Has dead letters given again.
    pub(super) fn write_replay(
        &mut self,
        connection: &Connection,
        letters: &[LetterId],
        at: Timestamp,
        actor: Actor,
    ) -> Result<(), WriteError> {
        write_replays(connection, letters)?;
        self.write_audit_entry(connection, &replayed(letters, at, actor))
    }

    fn write_audit_entry(&mut self, connection: &Connection, entry: &AuditEntry) -> Result<(), WriteError> {
        let entry = self.audit.seal(entry);
        let sql = "INSERT INTO audit_entries (seq, at, actor, api_key, role, action, subject, detail, previous_hash, hash)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let row = params![
            entry.seq,
            entry.at.0,
            entry.actor,
            entry.api_key,
            entry.role,
            entry.action,
            entry.subject,
            entry.detail,
            entry.previous_hash.0,
            entry.hash.0
        ];
        run(connection, "audit entry", sql, row)?;
        let sql = "UPDATE audit_head SET seq = ?1, at = ?2, hash = ?3";
        run(connection, "audit head", sql, params![entry.seq, entry.at.0, entry.hash.0])?;
        write_outbox(connection, entry.event(), AUDIT, entry.at)
    }

    fn write_transfer(
        &mut self,
        connection: &Connection,
        transfer: &Transfer,
        journal_seq: Option<i64>,
    ) -> Result<(), WriteError> {
        let reason = transfer.reason.to_string();
        let amount = transfer.amount_micros;
        if amount <= Micros::ZERO {
            return Err(WriteError::Rejected(Rejection::NotPositive { reason, amount_micros: amount.0 }));
        }
        let from = self.ledger_row(connection, transfer.from)?;
        let to = self.ledger_row(connection, transfer.to)?;
        let sql = "INSERT INTO transfers (reason, from_ledger, to_ledger, amount_micros, at, journal_seq)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let written = connection.prepare_cached(sql)?.execute(params![
            reason,
            from,
            to,
            amount.0,
            transfer.at.0,
            journal_seq
        ]);
        if let Err(error) = written {
            return Err(if is_duplicate(&error) {
                WriteError::Rejected(Rejection::DuplicateTransfer { reason })
            } else {
                rejected("transfer", error)
            });
        }
        self.change(transfer.from, from, Micros(-amount.0))?;
        self.change(transfer.to, to, amount)
    }

    fn ledger_row(&mut self, connection: &Connection, ledger: LedgerAccount) -> Result<i64, WriteError> {
        if let Some(row) = self.ledgers.get(&ledger) {
            return Ok(*row);
        }
        let sql = "INSERT INTO ledger_accounts (name, balance_micros) VALUES (?1, 0)";
        run(connection, "ledger account", sql, [ledger.to_string()])?;
        let row = connection.last_insert_rowid();
        self.ledgers.insert(ledger, row);
        self.new_ledgers.push(ledger);
        Ok(row)
    }

    fn change(&mut self, ledger: LedgerAccount, row: i64, by: Micros) -> Result<(), WriteError> {
        let (_, change) = self.changes.entry(ledger).or_insert((row, Micros::ZERO));
        *change = change.checked_add(by).ok_or_else(|| overflow(ledger))?;
        Ok(())
    }
}

fn overflow(ledger: LedgerAccount) -> WriteError {
    WriteError::Rejected(Rejection::Overflow { ledger: ledger.to_string() })
}

fn write_account(connection: &Connection, account: &Account) -> Result<(), WriteError> {
    let id = account.id.0.as_bytes();
    let sql = "INSERT INTO accounts (id, kind, status, document) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (id) DO UPDATE SET
               kind = excluded.kind, status = excluded.status, document = excluded.document";
    let row = params![id, kind_name(account.kind), status_name(account.status), json(account)?];
    run(connection, "account", sql, row)?;
    let sql = "INSERT INTO credit_limits (account, after_transfer, credit_limit_micros)
               SELECT ?1, coalesce(max(seq), 0), ?2 FROM transfers";
    run(connection, "credit limit", sql, params![id, account.credit_limit_micros.0])
}

fn write_tracking_number(connection: &Connection, number: &TrackingNumber) -> Result<(), WriteError> {
    let sql = "INSERT INTO tracking_numbers (number, seller, document) VALUES (?1, ?2, ?3)
               ON CONFLICT (number) DO UPDATE SET seller = excluded.seller, document = excluded.document";
    let row = params![number.number.digits().cast_signed(), number.seller.0.as_bytes(), json(number)?];
    run(connection, "tracking number", sql, row)
}

fn write_bid_profile(connection: &Connection, bid: &BidProfile) -> Result<(), WriteError> {
    let sql = "INSERT INTO bid_profiles (id, buyer, vertical, document) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (id) DO UPDATE SET
               buyer = excluded.buyer, vertical = excluded.vertical, document = excluded.document";
    let row = params![bid.id.0.as_bytes(), bid.buyer.0.as_bytes(), bid.vertical, json(bid)?];
    run(connection, "bid profile", sql, row)
}

fn write_usage(connection: &Connection, usage: &Usage) -> Result<(), WriteError> {
    let (kind, id) = cap_owner(usage.owner);
    let sql = "INSERT INTO usage (kind, id, document) VALUES (?1, ?2, ?3)
               ON CONFLICT (kind, id) DO UPDATE SET document = excluded.document";
    run(connection, "usage", sql, params![kind, id.as_bytes(), json(usage)?])
}

fn write_seller_record(
    connection: &Connection,
    seller: AccountId,
    record: &SellerRecord,
) -> Result<(), WriteError> {
    let sql = "INSERT INTO seller_records (seller, document) VALUES (?1, ?2)
               ON CONFLICT (seller) DO UPDATE SET document = excluded.document";
    run(connection, "seller record", sql, params![seller.0.as_bytes(), json(record)?])
}

fn write_cap_group(connection: &Connection, group: &CapGroup) -> Result<(), WriteError> {
    let sql = "INSERT INTO cap_groups (id, buyer, document) VALUES (?1, ?2, ?3)
               ON CONFLICT (id) DO UPDATE SET buyer = excluded.buyer, document = excluded.document";
    let row = params![group.id.0.as_bytes(), group.buyer.0.as_bytes(), json(group)?];
    run(connection, "cap group", sql, row)
}

fn write_trading_rules(connection: &Connection, rules: &ScopedRules) -> Result<(), WriteError> {
    let sql = "INSERT INTO trading_rules (scope, document) VALUES (?1, ?2)
               ON CONFLICT (scope) DO UPDATE SET document = excluded.document";
    run(connection, "trading rules", sql, params![rules.scope.to_string(), json(rules)?])
}

fn write_deal(connection: &Connection, deal: &Deal) -> Result<(), WriteError> {
    let sql = "INSERT INTO deals (id, seller, document) VALUES (?1, ?2, ?3)
               ON CONFLICT (id) DO UPDATE SET seller = excluded.seller, document = excluded.document";
    let row = params![deal.id.0.as_bytes(), deal.seller.0.as_bytes(), json(deal)?];
    run(connection, "deal", sql, row)
}

fn write_call(connection: &Connection, call: &Call) -> Result<(), WriteError> {
    let facts = CallFacts::of(call);
    // When it came, whose it is and what it is about never change: their indexes are left alone.
    let sql = "INSERT INTO calls (id, received_at, seller, buyer, vertical, state, outcome,
                   charge_micros, payout_micros, margin_micros, ended_at, awaits_revenue_until, document)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
               ON CONFLICT (id) DO UPDATE SET buyer = excluded.buyer, state = excluded.state,
                   outcome = excluded.outcome, charge_micros = excluded.charge_micros,
                   payout_micros = excluded.payout_micros, margin_micros = excluded.margin_micros,
                   ended_at = excluded.ended_at, awaits_revenue_until = excluded.awaits_revenue_until,
                   document = excluded.document";
    let row = params![
        call.id.0.as_bytes(),
        call.received_at.0,
        call.seller.0.as_bytes(),
        facts.buyer.as_ref().map(uuid::Uuid::as_bytes),
        call.vertical,
        facts.state,
        facts.outcome,
        facts.charge.0,
        facts.payout.0,
        facts.margin.0,
        facts.ended_at.map(|at| at.0),
        facts.awaits_revenue_until.map(|at| at.0),
        json(call)?
    ];
    run(connection, "call", sql, row)
}

fn write_receipt(connection: &Connection, receipt: &Receipt) -> Result<(), WriteError> {
    let sql = "INSERT INTO receipts (call, decided_at, document) VALUES (?1, ?2, ?3)";
    let row = params![receipt.call.0.as_bytes(), receipt.decided_at.0, json(receipt)?];
    connection.prepare_cached(sql)?.execute(row).map(|_| ()).map_err(|error| {
        if is_duplicate(&error) {
            WriteError::Rejected(Rejection::DuplicateReceipt { call: receipt.call.to_string() })
        } else {
            rejected("receipt", error)
        }
    })?;
    let sql = "INSERT INTO auction_buyers (buyer, call) VALUES (?1, ?2)";
    receipt.buyers().iter().try_for_each(|buyer| {
        run(connection, "buyer in an auction", sql, params![buyer.0.as_bytes(), receipt.call.0.as_bytes()])
    })
}

fn write_dispute(connection: &Connection, dispute: &Dispute) -> Result<(), WriteError> {
    let sql = "INSERT INTO disputes (call, buyer, seller, stage, disputed_at, document)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (call) DO UPDATE SET stage = excluded.stage, document = excluded.document";
    let charged = &dispute.charged;
    let row = params![
        charged.call.0.as_bytes(),
        charged.buyer.0.as_bytes(),
        charged.seller.0.as_bytes(),
        dispute.stage.name(),
        dispute.disputed_at.0,
        json(dispute)?
    ];
    run(connection, "dispute", sql, row)
}

fn write_event(connection: &Connection, event: &Event) -> Result<(), WriteError> {
    write_outbox(connection, (event.kind(), &event.fact), &subject(&event.subject), event.at)
}

/// Writes an event: its type, its data, what it is about, and when.
fn write_outbox(
    connection: &Connection,
    (kind, data): (&str, impl Serialize),
    subject: &str,
    at: Timestamp,
) -> Result<(), WriteError> {
    let sql = "INSERT INTO outbox (type, subject, at, data) VALUES (?1, ?2, ?3, ?4)";
    run(connection, "event", sql, params![kind, subject, at.0, json(&data)?])
}

/// Adds an anchor of the audit log.
pub(super) fn write_audit_anchor(connection: &Connection, anchor: &Anchor) -> Result<(), WriteError> {
    let sql = "INSERT INTO audit_anchors (seq, document) VALUES (?1, ?2)";
    run(connection, "audit anchor", sql, params![anchor.statement.seq, json(anchor)?])?;
    write_outbox(connection, anchor.event(), AUDIT, anchor.statement.at)
}

fn insert_api_key(connection: &Connection, key: &ApiKey, secret_hash: &[u8; 32]) -> Result<(), WriteError> {
    let sql = "INSERT INTO api_keys (id, name, role, account, secret_hash, created_at, revoked_at, of_key, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let row = params![
        key.id.as_bytes(),
        key.name,
        key.role,
        key.account.map(|account| *account.0.as_bytes()),
        secret_hash,
        key.created_at.0,
        key.revoked_at.map(|at| at.0),
        key.session.map(|session| *session.key.as_bytes()),
        key.session.map(|session| session.expires_at.0)
    ];
    run(connection, "API key", sql, row)
}

fn delete_sessions(connection: &Connection, over_before: Timestamp) -> Result<(), WriteError> {
    let sql = format!(
        "DELETE FROM api_keys WHERE id IN
             (SELECT id FROM api_keys WHERE expires_at <= ?1 ORDER BY expires_at LIMIT {SESSIONS_DELETED_MAX})"
    );
    run(connection, "API key", &sql, params![over_before.0])
}

/// Keeps how far somebody who reads the outbox came.
pub(super) fn write_cursor(connection: &Connection, name: &str, seq: i64) -> Result<(), WriteError> {
    let sql =
        "INSERT INTO cursors (name, seq) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq";
    run(connection, "cursor", sql, params![name, seq])
}

/// Runs one statement; a broken rule of the schema is the record's fault.
pub(super) fn run(
    connection: &Connection,
    what: &'static str,
    sql: &str,
    row: impl Params,
) -> Result<(), WriteError> {
    connection.prepare_cached(sql)?.execute(row).map(|_| ()).map_err(|error| rejected(what, error))
}

fn rejected(what: &'static str, error: Error) -> WriteError {
    if is_constraint(&error) {
        WriteError::Rejected(Rejection::Constraint { what, finding: error.to_string() })
    } else {
        WriteError::Failed(error)
    }
}

fn is_constraint(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

fn is_duplicate(error: &Error) -> bool {
    matches!(error, Error::SqliteFailure(failure, _)
        if [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY].contains(&failure.extended_code))
}
