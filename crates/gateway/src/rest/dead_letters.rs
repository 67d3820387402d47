//! `/v1/dead-letters`: events that a consumer refused for good, and giving them again.

use super::Listed;
use super::events::EVENT_SOURCE;
use crate::access::Principal;
use crate::problem::{Kind, Problem};
use crate::request::{self, Body, Query, RequestBody};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::time::Timestamp;
use infra::store::{DeadLetter, LetterFilter, LetterState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Letters that one request has given again.
const REPLAYED_MAX: u32 = 1_000;

/// How far a dead letter has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LetterStateName {
    /// It waits for somebody to have it given again.
    Waiting,
    /// Given again, it was taken.
    Taken,
}

impl From<LetterState> for LetterStateName {
    fn from(state: LetterState) -> Self {
        match state {
            LetterState::Waiting => Self::Waiting,
            LetterState::Taken => Self::Taken,
        }
    }
}

/// An event that a consumer refused for good.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterView {
    /// The event's id.
    id: Uuid,
    /// Who refused it, such as `webhook crm`.
    consumer: String,
    /// Why.
    finding: String,
    /// How often it was refused for good.
    times: i64,
    /// How far it has come.
    state: LetterStateName,
    /// When it was put aside, or taken after all, in microseconds since 1970.
    put_at: Timestamp,
    /// The event.
    event: Value,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.event.id,
            event: letter.event.cloud_event(EVENT_SOURCE),
            consumer: letter.consumer,
            finding: letter.finding,
            times: letter.times,
            state: letter.state.into(),
            put_at: letter.put_at,
        }
    }
}

/// Which dead letters are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LetterQuery {
    /// Those of this consumer, such as `analytics`.
    consumer: Option<String>,
    /// Those that have come this far.
    state: Option<LetterStateName>,
    /// The `next` of the previous page.
    after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    limit: Option<u32>,
}

/// List events that consumers refused for good, by consumer, in the order of the events.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "events", params(LetterQuery),
    responses((status = 200, body = Listed<DeadLetterView>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    Query(query): Query<LetterQuery>,
) -> Result<Json<Listed<DeadLetterView>>, Problem> {
    let state = query.state.map(|state| match state {
        LetterStateName::Waiting => LetterState::Waiting,
        LetterStateName::Taken => LetterState::Taken,
    });
    let filter = LetterFilter { consumer: query.consumer, event: None, state };
    let page = request::page(query.after, query.limit)?;
    let listing = gateway.read(move |reader| reader.dead_letters(&filter, &page)).await?;
    Ok(Json(Listed::from_store(listing, DeadLetterView::from)))
}

/// Which dead letters are to be given again: one event's, one consumer's, both, or all.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Replay {
    /// Those of this event.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    /// Those of this consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<String>,
    /// All that wait.
    all: bool,
}

impl RequestBody for Replay {}

/// What was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Replayed {
    /// Letters that are given again.
    asked_for: usize,
}

/// Have dead letters given again to the consumer that refused them, at most 1,000 at once. One that is refused again waits again. Asked
/// twice, a letter is given once.
#[utoipa::path(post, path = "/v1/dead-letters/replay", tag = "events", request_body = Replay,
    responses((status = 200, body = Replayed)))]
pub(crate) async fn replay(
    State(gateway): State<Gateway>,
    principal: Principal,
    Body(Replay { id, consumer, all }): Body<Replay>,
) -> Result<Json<Replayed>, Problem> {
    if id.is_none() && consumer.is_none() && !all {
        let fix = "give id, consumer, or all: true";
        return Err(Problem::field(Kind::Invalid, "id", "names nothing, and nor does consumer", fix));
    }
    let filter = LetterFilter { consumer, event: id, state: None };
    let letters = gateway.read(move |reader| reader.waiting_letters(&filter, REPLAYED_MAX)).await?;
    let asked_for = letters.len();
    if asked_for > 0 {
        gateway.engine().replay_dead_letters(letters, principal.actor()).await?;
    }
    Ok(Json(Replayed { asked_for }))
}
