//! `/v1/calls` and `/v1/totals`: calls, each role's view of them, and what they came to.

use super::Listed;
use super::revenue::RevenueView;
use crate::access::{Principal, Role};
use crate::problem::{Kind, Problem};
use crate::request::{self, Moment, Part, Query};
use crate::state::Gateway;
use axum::Json;
use axum::extract::State;
use exchange::bid::{Conversion, Price};
use exchange::call::{Attempt, Call, CallState, EndedBy, FailedAttempt, FailureCause, Outcome, Stated};
use exchange::id::{AccountId, BidProfileId, CallId};
use exchange::ledger::money::Micros;
use exchange::phone_number::{CallerId, PhoneNumber};
use exchange::time::Timestamp;
use exchange::tracking_number::CallOrigin;
use infra::store::{CallFilter, CallStage, CallTotals};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// A call, without what the asking role may not see: sellers see no buyers and no prices, buyers see neither the seller
/// nor its payout nor other buyers nor, where it is not theirs, the caller's whole number, analysts see callers' numbers masked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallView {
    /// Its identity.
    id: CallId,
    /// When the INVITE was received, in microseconds since 1970.
    received_at: Timestamp,
    /// The tracking number dialled.
    called: PhoneNumber,
    /// The caller's number, `anonymous`, or `malformed`.
    #[schema(example = "+12125550123")]
    caller: String,
    /// The carrier trunk it came over.
    #[serde(skip_serializing_if = "Option::is_none")]
    trunk: Option<String>,
    /// What the seller, or the carrier, says of the consumer.
    stated: Stated,
    /// Whether it is a ping: an offer of a call that is still to come.
    is_ping: bool,
    /// The seller.
    #[serde(skip_serializing_if = "Option::is_none")]
    seller: Option<AccountId>,
    /// What it is about.
    vertical: String,
    /// How the consumer came to be on the line.
    origin: CallOrigin,
    /// Where it stands.
    state: Stage,
    /// Targets rung, in order.
    attempts: Vec<AttemptView>,
    /// How it ended, such as `converted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// The screening rule that refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    screened_out_by: Option<String>,
    /// The call that used this ping's reservation.
    #[serde(skip_serializing_if = "Option::is_none")]
    redeemed_by: Option<CallId>,
    /// When it ended, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// Who or what ended it, once connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_by: Option<EndedBy>,
    /// Milliseconds from answer to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_ms: Option<u64>,
    /// Whether it was long enough to convert, and is not charged because the same buyer was for the same caller before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_duplicate: bool,
    /// What the buyer paid, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    charge_micros: Option<Micros>,
    /// What the seller earned, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    payout_micros: Option<Micros>,
    /// What the house kept, in micro-units.
    #[serde(skip_serializing_if = "Option::is_none")]
    margin_micros: Option<Micros>,
    /// Where the price is a share of the buyer's revenue: the report of it. What it added is in the amounts above.
    #[serde(skip_serializing_if = "Option::is_none")]
    revenue: Option<RevenueView>,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Being decided.
    Received,
    /// Live bidders are being asked.
    Bidding,
    /// A ping won: the call is to come.
    Reserved,
    /// A target is being rung.
    Ringing,
    /// Caller and target are connected.
    Connected,
    /// Over.
    Ended,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutcomeName {
    /// A screening rule refused it.
    ScreenedOut,
    /// No bid wanted it.
    NoBidder,
    /// Every target of the route plan failed.
    Unanswered,
    /// The caller gave up before an answer.
    Abandoned,
    /// The exchange stopped before a target answered.
    Interrupted,
    /// A ping's reservation was used.
    Redeemed,
    /// No call came for a ping's reservation.
    Expired,
    /// Connected, but nobody pays.
    NotConverted,
    /// Charged.
    Converted,
}

impl OutcomeName {
    /// As [`Outcome::name`] has it.
    fn name(self) -> &'static str {
        match self {
            Self::ScreenedOut => "screened_out",
            Self::NoBidder => "no_bidder",
            Self::Unanswered => "unanswered",
            Self::Abandoned => "abandoned",
            Self::Interrupted => "interrupted",
            Self::Redeemed => "redeemed",
            Self::Expired => "expired",
            Self::NotConverted => "not_converted",
            Self::Converted => "converted",
        }
    }
}

/// One target that was rung.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// 1 is the winner, 2 the first fall-back, and so on.
    number: u8,
    /// The bid it rang for, and its terms.
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
    /// When it answered, in microseconds since 1970, while connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<Timestamp>,
    /// Why it did not take the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureCause>,
    /// When it failed, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<Timestamp>,
}

/// Who was rung, and on which terms.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Terms {
    /// The bid.
    bid: BidProfileId,
    /// Who pays.
    buyer: AccountId,
    /// The price agreed in the auction.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Price>,
    /// When the call converts.
    #[serde(skip_serializing_if = "Option::is_none")]
    conversion: Option<Conversion>,
    /// Money held, in micro-units: the most the call could cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_micros: Option<Micros>,
}

impl Role {
    /// Whether the call may be known to this role.
    pub(super) fn sees_call(self, call: &Call) -> bool {
        match self {
            Self::Admin | Self::Analyst => true,
            Self::Seller(own) => call.seller == own,
            Self::Buyer(own) => {
                taken(call).is_some_and(|attempt| attempt.buyer == own)
                    || call.failed_attempts.iter().any(|failed| failed.buyer == own)
            }
        }
    }

    fn sees_buyer(self, buyer: AccountId) -> bool {
        match self {
            Self::Admin | Self::Analyst => true,
            Self::Seller(_) => false,
            Self::Buyer(own) => buyer == own,
        }
    }

    fn is_house(self) -> bool {
        matches!(self, Self::Admin | Self::Analyst)
    }
}

/// The attempt that rings, is connected, or was.
fn taken(call: &Call) -> Option<&Attempt> {
    match &call.state {
        CallState::Reserved { attempt, .. }
        | CallState::Ringing { attempt, .. }
        | CallState::Connected { attempt, .. }
        | CallState::Ended {
            outcome: Outcome::NotConverted { attempt, .. } | Outcome::Converted { attempt, .. },
            ..
        } => Some(attempt),
        CallState::Received | CallState::Bidding { .. } | CallState::Ended { .. } => None,
    }
}

impl CallView {
    /// The call as `role` may see it. Only for calls that it may know of: [`Role::sees_call`].
    pub(super) fn new(call: Call, role: Role) -> Self {
        // A buyer that was rung in vain is not told what became of the call with another one.
        let is_party =
            taken(&call).is_none_or(|attempt| !matches!(role, Role::Buyer(own) if own != attempt.buyer));
        let mut view = Self {
            id: call.id,
            received_at: call.received_at,
            called: call.called,
            caller: caller(&call, role),
            trunk: role.is_house().then(|| call.trunk.clone()),
            stated: call.stated.clone(),
            is_ping: call.is_ping,
            seller: (!matches!(role, Role::Buyer(_))).then_some(call.seller),
            vertical: call.vertical.clone(),
            origin: call.origin,
            state: stage(&call.state),
            attempts: attempts(&call, role),
            outcome: None,
            screened_out_by: None,
            ended_at: None,
            ended_by: None,
            redeemed_by: None,
            connected_ms: None,
            is_duplicate: false,
            charge_micros: None,
            payout_micros: None,
            margin_micros: None,
            revenue: None,
        };
        if let CallState::Ended { outcome, ended_at } = call.state
            && is_party
        {
            view.ended_at = Some(ended_at);
            view.end(outcome, role);
        }
        view
    }

    fn end(&mut self, outcome: Outcome, role: Role) {
        self.outcome = Some(outcome.name());
        match outcome {
            Outcome::ScreenedOut { rule } => self.screened_out_by = Some(rule),
            Outcome::NotConverted { connected_ms, ended_by, is_duplicate, .. } => {
                self.is_duplicate = is_duplicate;
                self.connected_ms = Some(connected_ms);
                self.ended_by = Some(ended_by);
            }
            Outcome::Converted {
                connected_ms,
                ended_by,
                charge_micros,
                payout_micros,
                margin_micros,
                revenue,
                ..
            } => {
                self.connected_ms = Some(connected_ms);
                self.ended_by = Some(ended_by);
                self.charge_micros = (!matches!(role, Role::Seller(_))).then_some(charge_micros);
                self.payout_micros = (!matches!(role, Role::Buyer(_))).then_some(payout_micros);
                self.margin_micros = role.is_house().then_some(margin_micros);
                self.revenue = revenue.filter(|_| !matches!(role, Role::Seller(_))).map(RevenueView::from);
            }
            Outcome::Redeemed { by } => self.redeemed_by = Some(by),
            Outcome::NoBidder
            | Outcome::Unanswered
            | Outcome::Abandoned
            | Outcome::Interrupted
            | Outcome::Expired => {}
        }
    }
}

/// A buyer whose target is not, or was not, the caller's to talk to sees no more of the number than an analyst does: of a ping, whose
/// caller may never call, and of a call that it was rung for in vain.
fn caller(call: &Call, role: Role) -> String {
    let is_masked = match role {
        Role::Admin | Role::Seller(_) => false,
        Role::Analyst => true,
        Role::Buyer(own) => call.is_ping || taken(call).is_none_or(|attempt| attempt.buyer != own),
    };
    match &call.caller {
        CallerId::Number(number) if is_masked => number.masked(),
        CallerId::Number(number) => number.to_string(),
        CallerId::Anonymous => "anonymous".to_owned(),
        CallerId::Malformed => "malformed".to_owned(),
    }
}

fn stage(state: &CallState) -> Stage {
    match state {
        CallState::Received => Stage::Received,
        CallState::Bidding { .. } => Stage::Bidding,
        CallState::Reserved { .. } => Stage::Reserved,
        CallState::Ringing { .. } => Stage::Ringing,
        CallState::Connected { .. } => Stage::Connected,
        CallState::Ended { .. } => Stage::Ended,
    }
}

/// The attempts: all of them for the house; for a buyer its own; for a seller all, without who and for how much.
fn attempts(call: &Call, role: Role) -> Vec<AttemptView> {
    let shown = |buyer| matches!(role, Role::Seller(_)) || role.sees_buyer(buyer);
    let failed = call.failed_attempts.iter().filter(|failed| shown(failed.buyer));
    let failed = failed.map(|FailedAttempt { number, bid, buyer, cause, failed_at }| AttemptView {
        number: *number,
        terms: role.sees_buyer(*buyer).then_some(Terms {
            bid: *bid,
            buyer: *buyer,
            price: None,
            conversion: None,
            hold_micros: None,
        }),
        answered_at: None,
        failure: Some(*cause),
        failed_at: Some(*failed_at),
    });
    let answered_at = match call.state {
        CallState::Connected { answered_at, .. } => Some(answered_at),
        _ => None,
    };
    let taken = taken(call).filter(|attempt| shown(attempt.buyer)).map(|attempt| AttemptView {
        number: attempt.number,
        terms: role.sees_buyer(attempt.buyer).then_some(Terms {
            bid: attempt.bid,
            buyer: attempt.buyer,
            price: Some(attempt.price),
            conversion: Some(attempt.conversion),
            hold_micros: Some(attempt.hold_micros),
        }),
        answered_at,
        failure: None,
        failed_at: None,
    });
    failed.chain(taken).collect()
}

/// Which calls are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CallQuery {
    /// Those of this seller's numbers.
    seller: Option<AccountId>,
    /// Those that ring, or were connected to, this buyer.
    buyer: Option<AccountId>,
    /// Those in this state.
    state: Option<Stage>,
    /// Those that ended like this, such as `converted`.
    outcome: Option<OutcomeName>,
    /// Those about this.
    vertical: Option<String>,
    /// Those received at this moment or later: RFC 3339, or microseconds since 1970.
    #[param(value_type = Option<String>, example = "2026-07-01T00:00:00Z")]
    from: Option<Moment>,
    /// Those received before this moment: RFC 3339, or microseconds since 1970.
    #[param(value_type = Option<String>, example = "2026-08-01T00:00:00Z")]
    to: Option<Moment>,
    /// The `next` of the previous page.
    pub(super) after: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    pub(super) limit: Option<u32>,
}

impl CallQuery {
    /// The filter, confined to what `principal` may ask for.
    pub(super) fn filter(&self, principal: Principal) -> Result<CallFilter, Problem> {
        let (seller, buyer) = principal.sides(self.seller, self.buyer)?;
        let state = match self.state {
            Some(Stage::Bidding) => Some(CallStage::Bidding),
            Some(Stage::Reserved) => Some(CallStage::Reserved),
            Some(Stage::Ringing) => Some(CallStage::Ringing),
            Some(Stage::Connected) => Some(CallStage::Connected),
            Some(Stage::Ended) => Some(CallStage::Ended),
            Some(Stage::Received) => {
                let fix = "ask for bidding, reserved, ringing, connected or ended";
                return Err(Problem::field(
                    Kind::MalformedRequest,
                    "state",
                    "never lasts long enough to be listed",
                    fix,
                ));
            }
            None => None,
        };
        Ok(CallFilter {
            seller,
            buyer,
            state,
            outcome: self.outcome.map(|outcome| outcome.name().to_owned()),
            vertical: self.vertical.clone(),
            from: self.from.map(|Moment(at)| at),
            to: self.to.map(|Moment(at)| at),
        })
    }
}

/// List calls, newest first. Buyers and sellers see their own.
#[utoipa::path(get, path = "/v1/calls", tag = "calls", params(CallQuery),
    responses((status = 200, body = Listed<CallView>)))]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<CallQuery>,
) -> Result<Json<Listed<CallView>>, Problem> {
    let filter = query.filter(principal)?;
    let page = request::page(query.after, query.limit)?;
    let listing = gateway.read(move |reader| reader.calls(&filter, &page)).await?;
    Ok(Json(Listed::from_store(listing, |call| CallView::new(call, principal.role))))
}

/// Show a call.
#[utoipa::path(get, path = "/v1/calls/{id}", tag = "calls", params(("id" = CallId, Path)),
    responses((status = 200, body = CallView)))]
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    principal: Principal,
    Part(id): Part<CallId>,
) -> Result<Json<CallView>, Problem> {
    let call = visible(&gateway, principal.role, id).await?;
    Ok(Json(CallView::new(call, principal.role)))
}

/// The call, if there is one and `role` may know it.
pub(super) async fn visible(gateway: &Gateway, role: Role, id: CallId) -> Result<Call, Problem> {
    let call = gateway.read(move |reader| reader.call(id)).await?;
    call.filter(|call| role.sees_call(call)).ok_or_else(|| Problem::not_found("call"))
}

/// How many calls there were, how they ended, and the money they moved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Totals {
    /// All of them, and pings; a ping whose call came is counted once, as the call.
    offered: u64,
    /// Those still ringing or connected.
    open: u64,
    /// Those that ended, by outcome.
    ended: BTreeMap<String, u64>,
    /// What buyers were charged when their calls ended or their revenue was reported, in micro-units: before refunds of disputes.
    charged_micros: Micros,
    /// What sellers earned, in micro-units.
    paid_micros: Micros,
    /// What the house kept, in micro-units.
    margin_micros: Micros,
}

/// Sum up calls. Takes the filters of the list; `after` and `limit` have no meaning here.
#[utoipa::path(get, path = "/v1/totals", tag = "calls", params(CallQuery),
    responses((status = 200, body = Totals)))]
pub(crate) async fn totals(
    State(gateway): State<Gateway>,
    principal: Principal,
    Query(query): Query<CallQuery>,
) -> Result<Json<Totals>, Problem> {
    let filter = query.filter(principal)?;
    let CallTotals { offered, open, ended, charged_micros, paid_micros, margin_micros } =
        gateway.read(move |reader| reader.totals(&filter)).await?;
    Ok(Json(Totals { offered, open, ended, charged_micros, paid_micros, margin_micros }))
}
