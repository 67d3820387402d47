//! `/v1/pings`: what a call would bring, asked before it is sent, and held for a while.

use crate::access::{Principal, Role};
use crate::problem::{Kind, Problem};
use crate::request::{Body, RequestBody, shown};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use engine::CommandError;
use exchange::auction::matching::Refusal;
use exchange::bid::criteria::Attestation;
use exchange::call::{Arrival, Stated};
use exchange::id::CallId;
use exchange::ledger::money::{Currency, Micros};
use exchange::phone_number::{CallerId, PhoneNumber};
use exchange::ping::{PingAnswer, PingRejection, PingRequest, Reservation};
use exchange::place::{Language, State as PlaceState, Zip};
use exchange::refused::FieldError;
use exchange::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use uuid::Uuid;

/// Tags one ping may have.
pub(super) const TAGS_MAX: usize = 32;
/// The longest name of a tag, in bytes.
const TAG_NAME_BYTES_MAX: usize = 64;
/// The longest value of a tag, in bytes.
const TAG_VALUE_BYTES_MAX: usize = 256;
/// What to send in place of a state there is not.
pub(super) const STATE_FIX: &str =
    "send the postal code of a state, territory or province, such as FL, PR or ON";
/// What to send in place of what is no tag.
pub(super) const TAG_FIX: &str =
    "name it with 1 to 64 of a-z, 0-9 and _, and give it a value of 1 to 256 bytes";
/// What stands in place of a carrier trunk's name.
const TRUNK: &str = "ping";

/// A call that is to come, as far as it is known.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPing {
    /// The tracking number the call is offered on: your own.
    number: PhoneNumber,
    /// The caller's number. The answer is honoured only for a call from it; without it there is none.
    #[serde(default)]
    caller: Option<PhoneNumber>,
    /// The consumer's state.
    #[serde(default)]
    state: Option<PlaceState>,
    /// The consumer's ZIP code.
    #[serde(default)]
    zip: Option<Zip>,
    /// The consumer's language.
    #[serde(default)]
    language: Option<Language>,
    /// How sure the carrier is of the caller's number.
    #[serde(default)]
    attestation: Option<Attestation>,
    /// Facts about the call that bids can ask for, in place of the tracking number's own: at most 32.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// How long the answer is to be held, in milliseconds, up to the exchange's own limit (`policy.reservation_ms_max`); its own
    /// time when absent. The answer says until when.
    #[serde(default)]
    expires_in_ms: Option<u64>,
}

impl RequestBody for NewPing {
    fn problems(&self) -> Vec<FieldError> {
        let mut problems = tag_problems(&self.tags);
        problems.extend(self.state.filter(|state| !state.is_known()).map(|state| FieldError {
            field: "state".into(),
            problem: format!("is {state}, which there is not").into(),
            fix: STATE_FIX.into(),
        }));
        problems
    }
}

/// What a ping is answered. A "no" is an answer like any other.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum PingView {
    /// The call is sold if it comes in time, from the same caller.
    Accepted(AcceptedPing),
    /// It is not wanted.
    Refused(RefusedPing),
}

/// A call is sold if it comes in time, from the same caller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedPing {
    /// True.
    #[schema(example = true)]
    accepted: bool,
    /// The ping: also a call of its own, with a receipt.
    id: CallId,
    /// What you earn if the call converts, in micro-units: of a price per minute, for a typical call.
    payout_micros: Micros,
    /// In this currency.
    currency: Currency,
    /// Seconds connected before the call converts.
    min_connected_s: u32,
    /// The number to send the call to.
    number: PhoneNumber,
    /// Or the SIP URI to send it to, where the exchange has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sip_uri: Option<String>,
    /// It is held until then, in microseconds since 1970.
    expires_at: Timestamp,
    /// Whether an earlier ping for the same caller had already won it.
    is_repeat: bool,
}

/// A call is not wanted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusedPing {
    /// False.
    #[schema(example = false)]
    accepted: bool,
    /// The ping, where it was recorded: it has a receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<CallId>,
    /// Why: `unknown_number`, `caller_missing`, `screened_out`, `no_bidder`, `no_match`, `being_decided` (the same
    /// caller's first ping is: ask again in a moment) or `stopping`.
    #[schema(value_type = String, example = "no_match")]
    reason: &'static str,
    /// The screening rule that refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Of `no_match`: what refused the bids that came closest.
    #[serde(skip_serializing_if = "Option::is_none")]
    closest: Option<Refusal>,
}

/// Ask what a call would bring, and have the answer held. The same ping again is answered with what the first one won. Sellers
/// ask for their own numbers.
#[utoipa::path(post, path = "/v1/pings", tag = "pings", request_body = NewPing,
    responses((status = 200, body = PingView)))]
pub(crate) async fn ask(
    State(gateway): State<Gateway>,
    principal: Principal,
    Body(ping): Body<NewPing>,
) -> Result<Json<PingView>, Problem> {
    let mut problems = ping.problems();
    problems.extend(expiry_problem(ping.expires_in_ms, gateway.engine().reservation_ms_max()));
    if !problems.is_empty() {
        return Err(CommandError::Invalid(problems).into());
    }
    let NewPing { number, caller, state, zip, language, attestation, tags, expires_in_ms } = ping;
    let stated = Stated { state, zip, language, attestation, tags };
    let caller = caller.map_or(CallerId::Anonymous, CallerId::Number);
    let (id, answer) = send(&gateway, principal.role, number, caller, stated, expires_in_ms).await?;
    Ok(Json(view(&gateway, id, answer)))
}

/// Sends a ping to the engine, under a new id. A seller's ping for a number that is not its own is answered as one for a number
/// that does not exist.
pub(super) async fn send(
    gateway: &Gateway,
    role: Role,
    number: PhoneNumber,
    caller: CallerId,
    stated: Stated,
    expires_in_ms: Option<u64>,
) -> Result<(CallId, PingAnswer), Problem> {
    let id = CallId(Uuid::now_v7());
    let listed = gateway.tracking_number(number).await?;
    if !listed.is_some_and(|listed| role.sees_account(listed.seller)) {
        return Ok((id, PingAnswer::Rejected(PingRejection::UnknownNumber)));
    }
    let arrival = Arrival { called: number, caller, trunk: TRUNK.to_owned(), stated };
    let answer = gateway.engine().ping(id, PingRequest { arrival, expires_in_ms }).await;
    let answer = answer.map_err(|error| Problem::new(Kind::Overloaded, error.to_string()))?;
    Ok((id, answer))
}

fn view(gateway: &Gateway, id: CallId, answer: PingAnswer) -> PingView {
    let rejection = match answer {
        PingAnswer::Reserved(reservation) => return PingView::Accepted(accepted(gateway, reservation)),
        PingAnswer::Rejected(rejection) => rejection,
    };
    let (reason, rule, closest) = match rejection {
        PingRejection::UnknownNumber => ("unknown_number", None, None),
        PingRejection::CallerMissing => ("caller_missing", None, None),
        PingRejection::ScreenedOut { rule } => ("screened_out", Some(rule), None),
        PingRejection::NoBidder => ("no_bidder", None, None),
        PingRejection::NoLiveBid => ("no_live_bid", None, None),
        PingRejection::NoMatch { closest } => ("no_match", None, Some(closest)),
        PingRejection::BeingDecided => ("being_decided", None, None),
        PingRejection::Stopping => ("stopping", None, None),
    };
    let id = (!matches!(reason, "unknown_number" | "caller_missing" | "being_decided")).then_some(id);
    PingView::Refused(RefusedPing { accepted: false, id, reason, rule, closest })
}

fn accepted(gateway: &Gateway, reservation: Reservation) -> AcceptedPing {
    let Reservation { id, payout_micros, currency, conversion, number, expires_at, is_repeat } = reservation;
    AcceptedPing {
        accepted: true,
        id,
        payout_micros,
        currency,
        min_connected_s: conversion.min_connected_s,
        number,
        sip_uri: sip_uri(gateway, number),
        expires_at,
        is_repeat,
    }
}

/// Where calls to a tracking number can be sent over SIP, if the exchange's own address is known here.
pub(super) fn sip_uri(gateway: &Gateway, number: PhoneNumber) -> Option<String> {
    gateway.public_sip_host().map(|host| format!("sip:{number}@{host}"))
}

/// Whether this can be a tag: its name is a plain word, its value is not empty, and neither is long.
pub(super) fn is_tag(name: &str, value: &str) -> bool {
    let is_word = (1..=TAG_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let is_value = (1..=TAG_VALUE_BYTES_MAX).contains(&value.len()) && !value.chars().any(char::is_control);
    is_word && is_value
}

fn tag_problems(tags: &BTreeMap<String, String>) -> Vec<FieldError> {
    let problem = |problem: String, fix: String| FieldError {
        field: "tags".into(),
        problem: problem.into(),
        fix: fix.into(),
    };
    if tags.len() > TAGS_MAX {
        let fix = format!("send the {TAGS_MAX} that bids ask for");
        return vec![problem(format!("has more than {TAGS_MAX} entries"), fix)];
    }
    let wrong = tags.iter().filter(|(name, value)| !is_tag(name, value));
    let of_tag = |(name, _): (&String, _)| {
        problem(format!("has an entry '{}' that is no tag", shown(name)), TAG_FIX.to_owned())
    };
    wrong.map(of_tag).collect()
}

/// A hold that is longer than there is one would be cut short without a word.
fn expiry_problem(expires_in_ms: Option<u64>, most_ms: u64) -> Option<FieldError> {
    let is_wrong = expires_in_ms.is_some_and(|ms| !(1..=most_ms).contains(&ms));
    is_wrong.then(|| FieldError {
        field: "expires_in_ms".into(),
        problem: format!("is not between 1 and {most_ms}").into(),
        fix: "give milliseconds within that, or leave it out for the exchange's own time".into(),
    })
}
