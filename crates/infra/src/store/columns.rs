//! What stands in columns beside a document: what is searched and summed. The same in every database.

use crate::store::{ApiKey, Rejection};
use exchange::account::{AccountKind, AccountStatus};
use exchange::audit::{Actor, AuditAction, AuditEntry};
use exchange::call::{Call, CallState, Outcome};
use exchange::event::Subject;
use exchange::ledger::money::Micros;
use exchange::time::Timestamp;
use exchange::usage::CapOwner;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

/// What is searched and summed about a call.
pub(super) struct CallFacts {
    pub(super) buyer: Option<Uuid>,
    pub(super) state: &'static str,
    pub(super) outcome: Option<&'static str>,
    pub(super) charge: Micros,
    pub(super) payout: Micros,
    pub(super) margin: Micros,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) awaits_revenue_until: Option<Timestamp>,
}

impl CallFacts {
    pub(super) fn of(call: &Call) -> Self {
        let nothing = Micros::ZERO;
        let (state, outcome) = match &call.state {
            CallState::Received => ("received", None),
            CallState::Bidding { .. } => ("bidding", None),
            CallState::Reserved { .. } => ("reserved", None),
            CallState::Ringing { .. } => ("ringing", None),
            CallState::Connected { .. } => ("connected", None),
            CallState::Ended { outcome, .. } => ("ended", Some(outcome)),
        };
        let attempt = match outcome {
            Some(Outcome::NotConverted { attempt, .. } | Outcome::Converted { attempt, .. }) => Some(attempt),
            _ => call.held_attempt(),
        };
        let (charge, payout, margin) = match outcome {
            Some(Outcome::Converted { charge_micros, payout_micros, margin_micros, .. }) => {
                (*charge_micros, *payout_micros, *margin_micros)
            }
            _ => (nothing, nothing, nothing),
        };
        let buyer = attempt.map(|attempt| attempt.buyer.0);
        let ended_at = match call.state {
            CallState::Ended { ended_at, .. } => Some(ended_at),
            _ => None,
        };
        let awaits_revenue_until = call.awaited_revenue().map(|awaited| awaited.report_until);
        let outcome = outcome.map(Outcome::name);
        Self { buyer, state, outcome, charge, payout, margin, ended_at, awaits_revenue_until }
    }
}

/// The kind's name, as in the account's own document.
pub(super) fn kind_name(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Buyer => "buyer",
        AccountKind::Seller => "seller",
    }
}

/// The status's name, as in the account's own document.
pub(super) fn status_name(status: AccountStatus) -> &'static str {
    match status {
        AccountStatus::Pending => "pending",
        AccountStatus::Active => "active",
        AccountStatus::Suspended => "suspended",
        AccountStatus::Closed => "closed",
    }
}

/// Whose usage it is: the kind's name and the id.
pub(super) fn cap_owner(owner: CapOwner) -> (&'static str, Uuid) {
    match owner {
        CapOwner::Bid(id) => ("bid", id.0),
        CapOwner::Group(id) => ("group", id.0),
    }
}

/// What an event is about, such as `call/<id>`.
pub(super) fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Call(id) => format!("call/{id}"),
        Subject::Account(id) => format!("account/{id}"),
        Subject::BidProfile(id) => format!("bid_profile/{id}"),
        Subject::TrackingNumber(number) => format!("tracking_number/{number}"),
        Subject::Exchange => "exchange".to_owned(),
    }
}

/// The subject of the audit log's events: one for all, so that they stay in order wherever they are sent.
pub(super) const AUDIT: &str = "audit";

/// The audit log's entry of a new API key.
pub(super) fn api_key_created(key: &ApiKey, actor: Actor) -> AuditEntry {
    AuditEntry {
        at: key.created_at,
        actor,
        action: AuditAction::ApiKeyCreated,
        subject: format!("api_key/{}", key.id),
        detail: json!({ "name": key.name, "role": key.role, "account": key.account }),
    }
}

/// The audit log's entry of an API key that was revoked.
pub(super) fn api_key_revoked(id: Uuid, at: Timestamp, actor: Actor) -> AuditEntry {
    let (action, subject) = (AuditAction::ApiKeyRevoked, format!("api_key/{id}"));
    AuditEntry { at, actor, action, subject, detail: json!({}) }
}

/// A document's text.
pub(super) fn json(value: &impl Serialize) -> Result<String, Rejection> {
    serde_json::to_string(value)
        .map_err(|error| Rejection::Constraint { what: "document", finding: error.to_string() })
}
