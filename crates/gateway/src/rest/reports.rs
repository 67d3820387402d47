//! `/v1/reports/calls`: what calls came to, by hour or day.

use crate::access::{Principal, Role};
use crate::problem::{Kind, Problem};
use crate::request::{Moment, Query};
use crate::state::{Gateway, now};
use axum::Json;
use axum::extract::State;
use exchange::analytics::roll_up::{Figures, HOUR_MICROS};
use exchange::id::AccountId;
use exchange::time::Timestamp;
use infra::store::{ReportBy, ReportFilter, ReportRow, ReportStep};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Rows of one report.
const ROWS_MAX: u32 = 5_000;

/// The longest a report by hour may be about, in hours, and one by day, in days.
const HOURS_MAX: i64 = 31 * 24;
const DAYS_MAX: i64 = 3 * 366;

/// How long each row of a report is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepName {
    /// An hour.
    Hour,
    /// A day, in UTC.
    #[default]
    Day,
}

/// What rows are told apart by, beside time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ByName {
    /// Whose calls they were.
    Seller,
    /// Who was rung, connected or charged.
    Buyer,
    /// What they were about.
    Vertical,
}

/// Which report is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReportQuery {
    /// Calls received from then on, from the step this lies in: RFC 3339, or microseconds since 1970. A day before `to` when absent.
    #[param(value_type = Option<String>)]
    from: Option<Moment>,
    /// Calls received before then, to the end of the step this lies in. Now when absent.
    #[param(value_type = Option<String>)]
    to: Option<Moment>,
    /// How long each row is; a day when absent.
    step: Option<StepName>,
    /// What rows are told apart by; by time alone when absent.
    by: Option<ByName>,
    /// Those of this seller.
    seller: Option<AccountId>,
    /// Those that this buyer was rung for.
    buyer: Option<AccountId>,
    /// Those about this.
    vertical: Option<String>,
}

/// A report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Report {
    /// How long each row is.
    step: StepName,
    /// The rows, in the order of time. Where nothing happened there is none.
    rows: Vec<ReportRowView>,
    /// Whether there are more: ask for less time, or for fewer calls.
    more: bool,
}

/// What the calls of one step came to, without what the asking role may not see: a seller sees no charge, a buyer no payout. All of a
/// call is in the step in which it was received.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct ReportRowView {
    /// When the hour or day began, in microseconds since 1970.
    start: Timestamp,
    /// Whose calls, in a report by seller.
    #[serde(skip_serializing_if = "Option::is_none")]
    seller: Option<AccountId>,
    /// Who was rung, in a report by buyer; absent there for what calls came to before they were anybody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    buyer: Option<AccountId>,
    /// What they were about, in a report by vertical.
    #[serde(skip_serializing_if = "Option::is_none")]
    vertical: Option<String>,
    /// Calls received. Only pings' calls are counted, not pings.
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<i64>,
    /// Of those, refused by a screening rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<i64>,
    /// Of those, wanted by no bid.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsold: Option<i64>,
    /// Of those, given up because no target took them.
    #[serde(skip_serializing_if = "Option::is_none")]
    unanswered: Option<i64>,
    /// Of those, given up by the caller before an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    abandoned: Option<i64>,
    /// Targets rung.
    routed: i64,
    /// Targets connected.
    bridged: i64,
    /// Calls that converted.
    converted: i64,
    /// Milliseconds connected, of the connections that calls ended with.
    connected_ms: i64,
    /// What buyers were charged, in micro-units: before refunds.
    #[serde(skip_serializing_if = "Option::is_none")]
    charged_micros: Option<i64>,
    /// What sellers earned, in micro-units: before refunds.
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_micros: Option<i64>,
    /// What the house kept, in micro-units: before refunds.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin_micros: Option<i64>,
    /// What went back to buyers after disputes, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded_micros: Option<i64>,
    /// Of that, what sellers gave back, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded_payout_micros: Option<i64>,
}

impl ReportRowView {
    fn new(row: ReportRow, role: Role) -> Self {
        let ReportRow { start, seller, buyer, vertical, figures } = row;
        let Figures { routed, bridged, converted, connected_ms, .. } = figures;
        let is_house = matches!(role, Role::Admin | Role::Analyst);
        let sellers = |figure: i64| (is_house || matches!(role, Role::Seller(_))).then_some(figure);
        let buyers = |figure: i64| (is_house || matches!(role, Role::Buyer(_))).then_some(figure);
        Self {
            start,
            seller,
            buyer,
            vertical,
            received: sellers(figures.received),
            refused: sellers(figures.refused),
            unsold: sellers(figures.unsold),
            unanswered: sellers(figures.unanswered),
            abandoned: sellers(figures.abandoned),
            routed,
            bridged,
            converted,
            connected_ms,
            charged_micros: buyers(figures.charged_micros),
            paid_micros: sellers(figures.paid_micros),
            margin_micros: is_house.then_some(figures.margin_micros),
            refunded_micros: buyers(figures.refunded_micros),
            refunded_payout_micros: sellers(figures.refunded_payout_micros),
        }
    }
}

/// Report what calls came to, by hour or day. Buyers and sellers see their own. The figures follow what happens within a second.
#[utoipa::path(get, path = "/v1/reports/calls", tag = "calls", params(ReportQuery),
    responses((status = 200, body = Report)))]
pub(crate) async fn calls(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<ReportQuery>,
) -> Result<Json<Report>, Problem> {
    let step = query.step.unwrap_or_default();
    let filter = filter(query, step, principal)?;
    let mut rows = gateway.read(move |reader| reader.report(&filter, ROWS_MAX)).await?;
    let more = rows.len() > ROWS_MAX as usize;
    rows.truncate(ROWS_MAX as usize);
    let rows = rows.into_iter().map(|row| ReportRowView::new(row, principal.role)).collect();
    Ok(Json(Report { step, rows, more }))
}

fn filter(query: ReportQuery, step: StepName, principal: Principal) -> Result<ReportFilter, Problem> {
    let by = match (query.by, principal.role) {
        (Some(ByName::Buyer), Role::Seller(_)) | (Some(ByName::Seller), Role::Buyer(_)) => {
            let problem = "would tell the other side apart, which is not yours to see";
            return Err(Problem::field(Kind::Forbidden, "by", problem, "leave it out, or ask by vertical"));
        }
        (by, _) => by.map(|by| match by {
            ByName::Seller => ReportBy::Seller,
            ByName::Buyer => ReportBy::Buyer,
            ByName::Vertical => ReportBy::Vertical,
        }),
    };
    let (seller, buyer) = principal.sides(query.seller, query.buyer)?;
    let until = query.to.map_or_else(now, |Moment(at)| at);
    let from = query.from.map_or(Timestamp(until.0.saturating_sub(24 * HOUR_MICROS)), |Moment(at)| at);
    let (store_step, steps_max, most) = match step {
        StepName::Hour => (ReportStep::Hour, HOURS_MAX, "31 days"),
        StepName::Day => (ReportStep::Day, DAYS_MAX, "3 years"),
    };
    let invalid = |problem: String, fix| Err(Problem::field(Kind::Invalid, "from", problem, fix));
    if from >= until {
        return invalid("is not before to".to_owned(), "give an earlier moment");
    }
    if until.0.saturating_sub(from.0) / store_step.micros() > steps_max {
        let fix = "give a later moment, or longer steps";
        return invalid(format!("is more than {most} before to"), fix);
    }
    Ok(ReportFilter { from, until, step: store_step, by, seller, buyer, vertical: query.vertical })
}
