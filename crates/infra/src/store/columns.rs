//! What stands in columns beside a document: what is searched and summed. The same in every database.

use crate::store::{ApiKey, Rejection, SessionTerms};
use exchange::account::{AccountKind, AccountStatus};
use exchange::audit::{Actor, AuditAction, AuditEntry};
use exchange::call::{Call, CallState, Outcome};
use exchange::event::Subject;
use exchange::ledger::money::Micros;
use exchange::time::Timestamp;
use exchange::usage::CapOwner;
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
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

/// The audit log's entry of a new API key, or of a session that begins.
pub(super) fn api_key_created(key: &ApiKey, actor: Actor) -> AuditEntry {
    let ApiKey { id, name, role, account, created_at, session, .. } = key;
    let (action, subject, detail) = match session {
        None => {
            let detail = json!({ "name": name, "role": role, "account": account });
            (AuditAction::ApiKeyCreated, format!("api_key/{id}"), detail)
        }
        Some(SessionTerms { key, expires_at }) => {
            let detail = json!({ "key": key, "role": role, "account": account, "expires_at": expires_at });
            (AuditAction::SessionBegan, format!("session/{id}"), detail)
        }
    };
    AuditEntry { at: *created_at, actor, action, subject, detail }
}

/// The audit log's entry of an API key that was revoked, or of a session that was ended. Those of a key that is revoked end without
/// entries of their own.
pub(super) fn api_key_revoked(key: &ApiKey, at: Timestamp, actor: Actor) -> AuditEntry {
    let (action, subject) = match key.session {
        None => (AuditAction::ApiKeyRevoked, format!("api_key/{}", key.id)),
        Some(_) => (AuditAction::SessionEnded, format!("session/{}", key.id)),
    };
    AuditEntry { at, actor, action, subject, detail: json!({}) }
}

/// Sessions that are over for so long are deleted: clocks of nodes may differ.
const SESSION_KEPT: Duration = Duration::from_hours(1);

/// Sessions that are over are deleted with a new one, this many at most: more than one each time, so that they do not pile up.
pub(super) const SESSIONS_DELETED_MAX: usize = 100;

/// When sessions were over that are deleted with a new one.
pub(super) fn over_before(session: &ApiKey) -> Option<Timestamp> {
    let kept = i64::try_from(SESSION_KEPT.as_micros()).unwrap_or(i64::MAX);
    session.session.map(|_| Timestamp(session.created_at.0.saturating_sub(kept)))
}

/// A document's text.
pub(super) fn json(value: &impl Serialize) -> Result<String, Rejection> {
    serde_json::to_string(value)
        .map_err(|error| Rejection::Constraint { what: "document", finding: error.to_string() })
}
