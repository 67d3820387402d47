//! `/v1/calls/{id}/revenue`: a buyer reports what it earned from a call that it bought for a share of that.

use super::calls::{CallView, visible};
use crate::access::{Principal, Role};
use crate::problem::{Kind, Problem};
use crate::request::{self, Body, Part, RequestBody};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::call::{Call, CallState, Outcome, RevenueStage, SharedRevenue};
use exchange::effect::Command;
use exchange::id::{AccountId, CallId};
use exchange::ledger::money::Micros;
use exchange::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// How far the report of a buyer's revenue has come, as the buyer and the house see it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevenueView {
    /// Until when it may be reported, in microseconds since 1970.
    report_until: Timestamp,
    /// How far it has come.
    #[serde(flatten)]
    stage: RevenueStageView,
}

/// Whether the buyer reported its revenue.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub(crate) enum RevenueStageView {
    /// Not yet.
    Awaited {
        /// Still held, in micro-units: the most that may be added to the charge.
        held_micros: Micros,
    },
    /// It did; the charge is its share, within the price's least and most.
    Reported {
        /// What it earned, in micro-units.
        revenue_micros: Micros,
        /// Its own reference.
        #[serde(skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// What that added to the charge, in micro-units.
        added_micros: Micros,
        /// When, in microseconds since 1970.
        reported_at: Timestamp,
    },
    /// Not in time: the least was charged, the rest was given back.
    Lapsed,
}

impl From<SharedRevenue> for RevenueView {
    fn from(shared: SharedRevenue) -> Self {
        let stage = match shared.stage {
            RevenueStage::Awaited { held_micros } => RevenueStageView::Awaited { held_micros },
            RevenueStage::Reported { revenue_micros, reference, added_micros, reported_at, .. } => {
                RevenueStageView::Reported { revenue_micros, reference, added_micros, reported_at }
            }
            RevenueStage::Lapsed => RevenueStageView::Lapsed,
        };
        Self { report_until: shared.report_until, stage }
    }
}

/// What a call brought its buyer.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevenueReport {
    /// In units of the buyer's currency, as a text or a number of at most six decimals; 0 if it brought nothing.
    #[schema(value_type = String, example = "180.00")]
    revenue: Value,
    /// The buyer's own reference, such as the sale's number, of at most 100 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

impl RequestBody for RevenueReport {}

/// Report the revenue from a call that was bought for a share of it, once, and answer with the call.
///
/// The charge becomes the share of it, at least the price's least and at most its most; what was charged when the call ended is part
/// of it. The same revenue again changes nothing and answers the same; another one is refused with 409, and so is a report after
/// `report_until`: then the least stands.
#[utoipa::path(post, path = "/v1/calls/{id}/revenue", tag = "calls", params(("id" = CallId, Path)),
    request_body = RevenueReport, responses((status = 200, body = CallView)))]
pub(crate) async fn report(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<CallId>,
    Body(RevenueReport { revenue, reference }): Body<RevenueReport>,
) -> Result<Json<CallView>, Problem> {
    let revenue_micros = request::amount("revenue", &revenue)?;
    let call = visible(&gateway, principal.role, id).await?;
    let (buyer, stage) = sold(&call, principal.role)?;
    if let RevenueStage::Awaited { .. } = stage {
        let command = Command::ReportRevenue { call: id, buyer, revenue_micros, reference };
        gateway.engine().command(command, principal.actor()).await?;
    }
    // What is in the books decides: another report may have come first, or the time have run out.
    let call = visible(&gateway, principal.role, id).await?;
    match sold(&call, principal.role)?.1 {
        RevenueStage::Reported { revenue_micros: first, .. } if *first == revenue_micros => {
            Ok(Json(CallView::new(call, principal.role)))
        }
        RevenueStage::Reported { revenue_micros: first, reported_at, .. } => {
            let when = reported_at.to_jiff();
            Err(conflict(format!(
                "a revenue of {first} was reported at {when}; a report stands, ask the house to change it"
            )))
        }
        RevenueStage::Awaited { .. } | RevenueStage::Lapsed => {
            let detail = "the time to report has run out, and the least was charged; report sooner, or agree a longer \
                          price.report_within_s in the bid profile";
            Err(conflict(detail.to_owned()))
        }
    }
}

/// Who bought the call for a share of its revenue, and how far the report of that has come.
fn sold(call: &Call, role: Role) -> Result<(AccountId, &RevenueStage), Problem> {
    let CallState::Ended { outcome, .. } = &call.state else {
        return Err(conflict("the call has not ended; report its revenue when it has".to_owned()));
    };
    let Outcome::Converted { attempt, revenue, .. } = outcome else {
        return Err(conflict("the call did not convert, so nothing is charged for it".to_owned()));
    };
    if matches!(role, Role::Buyer(own) if own != attempt.buyer) {
        return Err(conflict("the call was sold to somebody else".to_owned()));
    }
    let shared = revenue.as_ref().ok_or_else(|| {
        conflict(
            "the call was not sold for a share of its revenue; what it costs is charged already".to_owned(),
        )
    })?;
    Ok((attempt.buyer, &shared.stage))
}

fn conflict(detail: String) -> Problem {
    Problem::new(Kind::Conflict, detail)
}
