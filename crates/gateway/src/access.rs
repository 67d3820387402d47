//! Who may do what: roles, the policy every route declares, and the check in front of each handler.
//!
//! What is not declared is denied. A route says which kinds of role may call it; whether the thing asked for belongs to
//! the caller's own account is the handler's to check, with the [`Principal`] it is given.

use crate::api_key::ApiKeyText;
use crate::problem::{Kind, Problem, whole_seconds};
use crate::state::{Gateway, now};
use crate::wrong_keys::{Client, too_many};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use exchange::audit::{Actor, RoleKind};
use exchange::id::AccountId;
use exchange::time::Timestamp;
use infra::coordination::{RateLimiter, Verdict};
use infra::store::{ApiKey, SessionTerms};
use uuid::Uuid;

/// On whose behalf a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Admin,
    Analyst,
    Buyer(AccountId),
    Seller(AccountId),
}

impl Role {
    /// Reads what the store keeps. A row that makes no sense gives no role, so it may do nothing.
    fn read(key: &ApiKey) -> Option<Self> {
        match (key.role.as_str(), key.account) {
            ("admin", None) => Some(Self::Admin),
            ("analyst", None) => Some(Self::Analyst),
            ("buyer", Some(account)) => Some(Self::Buyer(account)),
            ("seller", Some(account)) => Some(Self::Seller(account)),
            _ => None,
        }
    }

    pub(crate) fn kind(self) -> RoleKind {
        match self {
            Self::Admin => RoleKind::Admin,
            Self::Analyst => RoleKind::Analyst,
            Self::Buyer(_) => RoleKind::Buyer,
            Self::Seller(_) => RoleKind::Seller,
        }
    }

    /// The one account it is confined to.
    pub(crate) fn account(self) -> Option<AccountId> {
        match self {
            Self::Admin | Self::Analyst => None,
            Self::Buyer(account) | Self::Seller(account) => Some(account),
        }
    }

    /// Whether it may know that this account exists.
    pub(crate) fn sees_account(self, account: AccountId) -> bool {
        self.account().is_none_or(|own| own == account)
    }
}

/// Who makes a request: the API key, the session of it if it is one, and its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) key: Uuid,
    pub(crate) session: Option<OwnSession>,
    pub(crate) role: Role,
}

/// The session that makes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnSession {
    pub(crate) id: Uuid,
    pub(crate) expires_at: Timestamp,
}

impl Principal {
    /// What the store keeps. A row that makes no sense is nobody.
    fn of(key: &ApiKey) -> Option<Self> {
        let own = |session: SessionTerms| OwnSession { id: key.id, expires_at: session.expires_at };
        Some(Self { key: key.stands_for(), session: key.session.map(own), role: Role::read(key)? })
    }

    /// Whether it is a session whose time is over.
    fn is_over(self, now: Timestamp) -> bool {
        self.session.is_some_and(|session| session.expires_at <= now)
    }

    /// What was sent: the session, or the API key itself.
    pub(crate) fn credential(self) -> Uuid {
        self.session.map_or(self.key, |session| session.id)
    }

    /// Who the audit log says it was.
    pub(crate) fn actor(self) -> Actor {
        Actor::ApiKey { id: self.key, role: self.role.kind() }
    }

    /// The account a listing is confined to: the caller's own, or the one asked for by those who may ask for any.
    pub(crate) fn confined_to(
        self,
        asked: Option<AccountId>,
        field: &'static str,
    ) -> Result<Option<AccountId>, Problem> {
        match (self.role.account(), asked) {
            (Some(own), Some(asked)) if asked != own => {
                let fix = "name your own account, or leave it out";
                Err(Problem::field(Kind::Forbidden, field, "is not your account", fix))
            }
            (own, asked) => Ok(own.or(asked)),
        }
    }
}

impl Principal {
    /// The two sides a listing is confined to. A buyer or seller names neither, or its own: asking for the other side's account
    /// would tell what that has a part in.
    pub(crate) fn sides(
        self,
        seller: Option<AccountId>,
        buyer: Option<AccountId>,
    ) -> Result<(Option<AccountId>, Option<AccountId>), Problem> {
        let nobody = |asked: Option<AccountId>, field: &'static str| match asked {
            None => Ok(None),
            Some(_) => Err(Problem::field(Kind::Forbidden, field, "is not yours to ask for", "leave it out")),
        };
        Ok(match self.role {
            Role::Admin | Role::Analyst => (seller, buyer),
            Role::Seller(_) => (self.confined_to(seller, "seller")?, nobody(buyer, "buyer")?),
            Role::Buyer(_) => (nobody(seller, "seller")?, self.confined_to(buyer, "buyer")?),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    /// Only there behind [`guard`]: a handler of a public route cannot have it.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let principal = parts.extensions.get::<Self>().copied();
        principal.ok_or_else(|| Problem::new(Kind::NotAuthenticated, "send Authorization: Bearer dce_..."))
    }
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Anyone, without a key.
    Public,
    /// Whoever knows the secret that is part of the URL; the handler checks it.
    UrlSecret,
    /// Keys of these roles.
    Roles(&'static [RoleKind]),
}

/// Operators.
pub(crate) const ADMIN: Policy = Policy::Roles(&[RoleKind::Admin]);
/// The house.
pub(crate) const HOUSE: Policy = Policy::Roles(&[RoleKind::Admin, RoleKind::Analyst]);
/// The house and buyers, each for themselves.
pub(crate) const BUYING: Policy = Policy::Roles(&[RoleKind::Admin, RoleKind::Analyst, RoleKind::Buyer]);
/// Operators and buyers, each for themselves.
pub(crate) const BIDDING: Policy = Policy::Roles(&[RoleKind::Admin, RoleKind::Buyer]);
/// The house and sellers, each for themselves.
pub(crate) const SELLING: Policy = Policy::Roles(&[RoleKind::Admin, RoleKind::Analyst, RoleKind::Seller]);
/// Operators and sellers, each for themselves.
pub(crate) const OFFERING: Policy = Policy::Roles(&[RoleKind::Admin, RoleKind::Seller]);
/// Everyone with a key, buyers and sellers each for themselves.
pub(crate) const EVERYONE: Policy =
    Policy::Roles(&[RoleKind::Admin, RoleKind::Analyst, RoleKind::Buyer, RoleKind::Seller]);

/// Stands in front of one route's handler: finds out who asks, whether the route is theirs, and whether they ask too often.
pub(crate) async fn guard(
    State((gateway, policy)): State<(Gateway, Policy)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Policy::Roles(allowed) = policy else { return Ok(next.run(request).await) };
    let client = gateway.wrong_keys().client(&request);
    let principal = authenticate(&gateway, request.headers(), client).await?;
    let rate = gateway.rates().take(principal.key).await?;
    let rate_headers = rate_headers(gateway.rates(), rate);
    let result = match rate {
        Verdict::Waits { for_ } => {
            let detail = "this key has used up its requests; wait for as long as Retry-After says";
            Err(Problem::new(Kind::RateLimited, detail).with_retry_after(for_))
        }
        Verdict::Passes { .. } if !allowed.contains(&principal.role.kind()) => {
            let role = principal.role.kind().name();
            Err(Problem::new(Kind::Forbidden, format!("keys of role {role} may not; use one that may")))
        }
        Verdict::Passes { .. } => {
            request.extensions_mut().insert(principal);
            Ok(next.run(request).await)
        }
    };
    let mut response = result.unwrap_or_else(axum::response::IntoResponse::into_response);
    response.headers_mut().extend(rate_headers);
    Ok(response)
}

/// Finds the key or the session a request was sent with.
async fn authenticate(gateway: &Gateway, headers: &HeaderMap, client: Client) -> Result<Principal, Problem> {
    let Some(credentials) = headers.get(header::AUTHORIZATION) else {
        return Err(Problem::new(Kind::NotAuthenticated, "send Authorization: Bearer dce_..."));
    };
    let wrong_keys = gateway.wrong_keys();
    if let Some(wait) = wrong_keys.shut_out_for(client) {
        return Err(too_many(wait));
    }
    let key = find(gateway, credentials).await?;
    if let Some(principal) = key.as_ref().and_then(Principal::of) {
        if principal.is_over(now()) {
            // Whoever has its secret did not guess it.
            let detail = "the session is over; begin another with an API key";
            return Err(Problem::new(Kind::NotAuthenticated, detail));
        }
        return Ok(principal);
    }
    if let Some(wait) = wrong_keys.count(client).await? {
        return Err(too_many(wait));
    }
    Err(Problem::new(Kind::NotAuthenticated, "the API key is unknown or revoked; use one that is not"))
}

async fn find(gateway: &Gateway, credentials: &HeaderValue) -> Result<Option<ApiKey>, Problem> {
    let Some(text) = credentials.to_str().ok().and_then(bearer) else { return Ok(None) };
    let Ok(text) = text.parse::<ApiKeyText>() else { return Ok(None) };
    let key = gateway.api_key(text.secret_hash()).await?;
    Ok(key.filter(|key| key.id == text.id && key.revoked_at.is_none()))
}

/// The token of `Bearer <token>` (RFC 6750); the scheme's case does not matter.
fn bearer(credentials: &str) -> Option<&str> {
    let (scheme, token) = credentials.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
fn rate_headers(rates: &RateLimiter<Uuid>, verdict: Verdict) -> HeaderMap {
    let (remaining, reset) = match verdict {
        Verdict::Passes { remaining } => (remaining, None),
        Verdict::Waits { for_ } => (0, Some(whole_seconds(for_))),
    };
    let reset = reset.map(|reset_s| format!(";t={reset_s}")).unwrap_or_default();
    let lines = [
        ("ratelimit-policy", format!("\"key\";q={};w={}", rates.limit().burst(), rates.limit().window_s())),
        ("ratelimit", format!("\"key\";r={remaining}{reset}")),
    ];
    let lines = lines.into_iter().filter_map(|(name, value)| {
        Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange::time::Timestamp;

    #[test]
    fn a_row_that_makes_no_sense_gives_no_role() {
        let account = AccountId(Uuid::from_u128(1));
        let cases = [
            ("admin", None, Some(Role::Admin)),
            ("analyst", None, Some(Role::Analyst)),
            ("buyer", Some(account), Some(Role::Buyer(account))),
            ("seller", Some(account), Some(Role::Seller(account))),
            ("admin", Some(account), None),
            ("buyer", None, None),
            ("root", None, None),
            ("", None, None),
        ];
        for (role, account, expected) in cases {
            let key = ApiKey {
                id: Uuid::nil(),
                name: String::new(),
                role: role.to_owned(),
                account,
                created_at: Timestamp(0),
                revoked_at: None,
                session: None,
            };
            assert_eq!(Role::read(&key), expected, "{role} {account:?}");
        }
    }

    #[test]
    fn the_bearer_scheme_is_needed() {
        assert_eq!(bearer("Bearer dce_x"), Some("dce_x"));
        assert_eq!(bearer("bearer  dce_x"), Some("dce_x"));
        assert_eq!(bearer("Basic dce_x"), None);
        assert_eq!(bearer("dce_x"), None);
    }
}
