//! `/v1/events`: what happened, in order, as `CloudEvents` 1.0.

use super::Listed;
use crate::problem::Problem;
use crate::request::{self, Query};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

/// The `source` of every event, whichever way it goes out: this API.
pub const EVENT_SOURCE: &str = "/v1";

/// Where to go on reading.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// The `next` of the previous page; the beginning when absent.
    after: Option<i64>,
    /// Events on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List events, oldest first. `next` is always there: ask again with it for what has happened since.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(EventQuery),
    responses((status = 200, body = Listed<Value>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    Query(query): Query<EventQuery>,
) -> Result<Json<Listed<Value>>, Problem> {
    let limit = request::page(None, query.limit)?.limit;
    let after = query.after.unwrap_or(0);
    let events = gateway.read(move |reader| reader.events_after(after, limit)).await?;
    let next = events.last().map_or(after, |event| event.seq).to_string();
    Ok(Json(Listed {
        items: events.iter().map(|event| event.cloud_event(EVENT_SOURCE)).collect(),
        next: Some(next),
    }))
}
