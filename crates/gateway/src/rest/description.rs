//! `/openapi.json` (OpenAPI 3.1) and `/docs`, a page that shows it. Both are made from the handlers themselves.

use super::{
    accounts, api_keys, audit_entries, balances, bid_profiles, calls, cap_groups, dead_letters, deals,
    disputes, events, events_description, health, live_bids, ping_endpoints, pings, receipts, reports,
    revenue, ringba, sessions, tracking_numbers, trading_rules, transfers,
};
use crate::access::Policy;
use crate::problem::ProblemDetails;
use axum::Json;
use axum::http::{Method, header};
use axum::response::{Html, IntoResponse};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Description, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Dependable Call Exchange",
        description = "Money is in micro-units (1.00 is 1000000), moments are microseconds since 1970-01-01T00:00:00Z. \
                       Lists come in pages: send `next` as `after`. Errors are problem details (RFC 9457).",
    ),
    paths(
        health::live,
        health::ready,
        health::metrics,
        json,
        events_description::json,
        page,
        accounts::open,
        accounts::list,
        accounts::show,
        accounts::change,
        balances::show,
        balances::deposit,
        transfers::of_account,
        tracking_numbers::put,
        tracking_numbers::show,
        tracking_numbers::list,
        bid_profiles::place,
        bid_profiles::list,
        bid_profiles::show,
        bid_profiles::put,
        bid_profiles::change_status,
        cap_groups::put,
        cap_groups::list,
        cap_groups::show,
        trading_rules::put,
        trading_rules::list,
        trading_rules::show,
        deals::put,
        deals::list,
        deals::show,
        live_bids::connect,
        pings::ask,
        ping_endpoints::create,
        ping_endpoints::list,
        ping_endpoints::revoke,
        ringba::by_get,
        ringba::by_post,
        calls::list,
        calls::show,
        receipts::show,
        receipts::list,
        transfers::of_call,
        revenue::report,
        disputes::open,
        disputes::decide,
        disputes::show,
        disputes::list,
        calls::totals,
        reports::calls,
        events::list,
        dead_letters::list,
        dead_letters::replay,
        audit_entries::list,
        api_keys::create,
        api_keys::list,
        api_keys::revoke,
        sessions::begin,
        sessions::list,
        sessions::end_current,
        sessions::end,
    ),
    components(schemas(ProblemDetails, calls::OutcomeName, disputes::StageName, reports::ByName, dead_letters::LetterStateName)),
    security(("api_key" = [])),
    modifiers(&Everywhere),
)]
struct Api;

/// What holds for every operation: the key, and how errors look.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, api: &mut Description) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("dce_<id>_<secret>");
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(bearer.build()));
        let problem = ResponseBuilder::new()
            .description("Why it was not done")
            .content(
                "application/problem+json",
                Content::new(Some(RefOr::Ref(Ref::from_schema_name("ProblemDetails")))),
            )
            .build();
        for item in api.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                operation.responses.responses.insert("default".to_owned(), problem.clone().into());
            }
        }
    }
}

/// The API's description, as `/openapi.json` serves it.
pub fn openapi() -> Description {
    let mut api = Api::openapi();
    for route in super::routes() {
        if let Some(operation) =
            api.paths.paths.get_mut(route.path).and_then(|item| operation(item, &route.method))
        {
            let description = operation.description.get_or_insert_default();
            let gap = if description.is_empty() { "" } else { "\n\n" };
            description.push_str(gap);
            description.push_str(&audience(route.policy));
        }
    }
    api
}

/// The operation of a path for one of the methods that routes have.
fn operation<'a>(item: &'a mut PathItem, method: &Method) -> Option<&'a mut Operation> {
    match *method {
        Method::GET => item.get.as_mut(),
        Method::PUT => item.put.as_mut(),
        Method::POST => item.post.as_mut(),
        Method::PATCH => item.patch.as_mut(),
        Method::DELETE => item.delete.as_mut(),
        _ => None,
    }
}

/// Who may call it, in words.
fn audience(policy: Policy) -> String {
    match policy {
        Policy::Public => "Needs no key.".to_owned(),
        Policy::UrlSecret => "Needs no API key: the id in its path is the secret.".to_owned(),
        Policy::Roles(roles) => {
            let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
            format!("For keys of these roles: {}.", names.join(", "))
        }
    }
}

/// Show this description.
#[utoipa::path(get, path = "/openapi.json", tag = "description", security(()), responses((status = 200)))]
pub(crate) async fn json() -> Json<Description> {
    Json(openapi())
}

/// Show this description to people.
#[utoipa::path(get, path = "/docs", tag = "description", security(()), responses((status = 200, content_type = "text/html")))]
pub(crate) async fn page() -> impl IntoResponse {
    // Everything comes from here, so nothing else is let in.
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("docs.html")))
}
