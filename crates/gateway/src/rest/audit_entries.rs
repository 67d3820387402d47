//! `/v1/audit-entries`: who changed what.

use super::Listed;
use crate::problem::Problem;
use crate::request::{self, Query};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::time::Timestamp;
use infra::audit::SealedEntry;
use infra::store::AuditFilter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// An entry of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntryView {
    /// Its number, from 1 and without gaps.
    seq: i64,
    /// When, in microseconds since 1970.
    at: Timestamp,
    /// Who asked for it: `api_key`, `command_line`, or the `exchange` itself.
    actor: String,
    /// Which API key: its id, not its secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    /// What that key may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// What was done, such as `account.opened`.
    action: String,
    /// To what, such as `account/<id>`.
    subject: String,
    /// The particulars, without secrets.
    detail: Value,
    /// The hash of the entry before it, in hexadecimal digits.
    previous_hash: String,
    /// SHA-256 of that and of the content, in hexadecimal digits.
    hash: String,
}

impl From<SealedEntry> for AuditEntryView {
    fn from(entry: SealedEntry) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at,
            actor: entry.actor,
            api_key: entry.api_key,
            role: entry.role,
            action: entry.action,
            subject: entry.subject,
            // What is no JSON was changed behind our back, and is shown as it is.
            detail: serde_json::from_str(&entry.detail).unwrap_or(Value::String(entry.detail)),
            previous_hash: entry.previous_hash.to_string(),
            hash: entry.hash.to_string(),
        }
    }
}

/// Which entries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Those about this, such as `account/<id>`.
    subject: Option<String>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List the audit log, newest first: every change of the marketplace and of API keys, and the exchange's own start and stop.
#[utoipa::path(get, path = "/v1/audit-entries", tag = "audit", params(AuditQuery),
    responses((status = 200, body = Listed<AuditEntryView>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Listed<AuditEntryView>>, Problem> {
    let page = request::page(query.after, query.limit)?;
    let filter = AuditFilter { subject: query.subject };
    let listing = gateway.read(move |reader| reader.audit_entries(&filter, &page)).await?;
    Ok(Json(Listed::from_store(listing, AuditEntryView::from)))
}
