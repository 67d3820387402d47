//! The operations of the API, one file per resource. [`routes`] is the whole of it on one page.

mod accounts;
mod api_keys;
mod audit_entries;
mod balances;
mod bid_profiles;
mod calls;
mod cap_groups;
mod dead_letters;
mod deals;
mod disputes;
mod description;
pub(crate) mod events;
mod events_description;
mod health;
mod live_bids;
mod ping_endpoints;
mod pings;
mod receipts;
mod reports;
mod revenue;
mod ringba;
mod sessions;
mod tracking_numbers;
mod trading_rules;
mod transfers;

pub use description::openapi;
pub(crate) use health::is_ready;

use crate::access::{ADMIN, BIDDING, BUYING, EVERYONE, HOUSE, OFFERING, Policy, SELLING};
use crate::route::{self, Route, delete, get, patch, post, put};
use crate::state::Gateway;
use axum::Router;
use serde::Serialize;
use utoipa::ToSchema;

/// Every operation: its path, who may call it, and what answers.
fn routes() -> Vec<Route> {
    vec![
        get("/health/live", Policy::Public, health::live),
        get("/health/ready", Policy::Public, health::ready),
        get("/metrics", HOUSE, health::metrics),
        get("/openapi.json", Policy::Public, description::json),
        get("/asyncapi.json", Policy::Public, events_description::json),
        get("/docs", Policy::Public, description::page),
        post("/v1/accounts", ADMIN, accounts::open),
        get("/v1/accounts", EVERYONE, accounts::list),
        get("/v1/accounts/{id}", EVERYONE, accounts::show),
        patch("/v1/accounts/{id}", ADMIN, accounts::change),
        get("/v1/accounts/{id}/balance", EVERYONE, balances::show),
        post("/v1/accounts/{id}/deposits", ADMIN, balances::deposit),
        get("/v1/accounts/{id}/transfers", EVERYONE, transfers::of_account),
        put("/v1/tracking-numbers/{number}", ADMIN, tracking_numbers::put),
        get("/v1/tracking-numbers/{number}", SELLING, tracking_numbers::show),
        get("/v1/tracking-numbers", SELLING, tracking_numbers::list),
        post("/v1/bid-profiles", BIDDING, bid_profiles::place),
        get("/v1/bid-profiles", BUYING, bid_profiles::list),
        get("/v1/bid-profiles/{id}", BUYING, bid_profiles::show),
        put("/v1/bid-profiles/{id}", BIDDING, bid_profiles::put),
        patch("/v1/bid-profiles/{id}", BIDDING, bid_profiles::change_status),
        put("/v1/cap-groups/{id}", BIDDING, cap_groups::put),
        get("/v1/cap-groups", BUYING, cap_groups::list),
        get("/v1/cap-groups/{id}", BUYING, cap_groups::show),
        put("/v1/trading-rules/{scope}", ADMIN, trading_rules::put),
        get("/v1/trading-rules", HOUSE, trading_rules::list),
        get("/v1/trading-rules/{scope}", HOUSE, trading_rules::show),
        put("/v1/deals/{id}", ADMIN, deals::put),
        get("/v1/deals", EVERYONE, deals::list),
        get("/v1/deals/{id}", EVERYONE, deals::show),
        get("/v1/live-bids", BIDDING, live_bids::connect),
        post("/v1/pings", OFFERING, pings::ask),
        post("/v1/ping-endpoints", OFFERING, ping_endpoints::create),
        get("/v1/ping-endpoints", SELLING, ping_endpoints::list),
        delete("/v1/ping-endpoints/{id}", OFFERING, ping_endpoints::revoke),
        get("/v1/{env}/{file}", Policy::UrlSecret, ringba::by_get),
        post("/v1/{env}/{file}", Policy::UrlSecret, ringba::by_post),
        get("/v1/calls", EVERYONE, calls::list),
        get("/v1/calls/{id}", EVERYONE, calls::show),
        get("/v1/calls/{id}/receipt", EVERYONE, receipts::show),
        get("/v1/receipts", EVERYONE, receipts::list),
        get("/v1/calls/{id}/transfers", EVERYONE, transfers::of_call),
        post("/v1/calls/{id}/revenue", BIDDING, revenue::report),
        post("/v1/calls/{id}/dispute", BIDDING, disputes::open),
        put("/v1/calls/{id}/dispute", ADMIN, disputes::decide),
        get("/v1/calls/{id}/dispute", EVERYONE, disputes::show),
        get("/v1/disputes", EVERYONE, disputes::list),
        get("/v1/totals", HOUSE, calls::totals),
        get("/v1/reports/calls", EVERYONE, reports::calls),
        get("/v1/events", HOUSE, events::list),
        get("/v1/dead-letters", HOUSE, dead_letters::list),
        post("/v1/dead-letters/replay", ADMIN, dead_letters::replay),
        get("/v1/audit-entries", HOUSE, audit_entries::list),
        post("/v1/api-keys", ADMIN, api_keys::create),
        get("/v1/api-keys", ADMIN, api_keys::list),
        delete("/v1/api-keys/{id}", ADMIN, api_keys::revoke),
        post("/v1/sessions", EVERYONE, sessions::begin),
        get("/v1/sessions", EVERYONE, sessions::list),
        delete("/v1/sessions/current", EVERYONE, sessions::end_current),
        delete("/v1/sessions/{id}", EVERYONE, sessions::end),
    ]
}

/// The operations, each behind the guard its policy asks for.
pub(crate) fn router(gateway: &Gateway) -> Router<Gateway> {
    route::router(gateway, routes())
}

/// One page of a listing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Listed<T> {
    /// The items, in the listing's order.
    items: Vec<T>,
    /// What to send as `after` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<T> Listed<T> {
    fn from_store<U>(listing: infra::store::Listing<U>, show: impl FnMut(U) -> T) -> Self {
        Self { items: listing.items.into_iter().map(show).collect(), next: listing.next }
    }
}
