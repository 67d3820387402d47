//! API keys and their sessions. The secret itself is never here, only its SHA-256.

use super::conditions::Conditions;
use crate::store::connection::{Row, Value};
use crate::store::{Listing, Page, Reader, StoreError};
use exchange::id::AccountId;
use exchange::time::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who may call the API, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its identity; not the secret.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// What it may do, in the gateway's terms.
    pub role: String,
    /// The account it acts for; absent is the house.
    pub account: Option<AccountId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
    /// What it is where it is not an API key itself but a session of one.
    #[serde(default)]
    pub session: Option<SessionTerms>,
}

/// Sessions of one API key that may be live at the same time. The schema has the same figure.
pub const SESSIONS_PER_KEY_MAX: usize = 20;

/// A session: a short-lived secret that an API key has made for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTerms {
    /// The API key. Revoked, it ends its sessions.
    pub key: Uuid,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

impl ApiKey {
    /// The API key that it stands for: itself, or its session's.
    pub fn stands_for(&self) -> Uuid {
        self.session.map_or(self.id, |session| session.key)
    }

    /// Whether it opens anything at this moment.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.session.is_none_or(|session| now < session.expires_at)
    }
}

/// Which keys are wanted; an absent field takes any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApiKeyFilter {
    /// Those of this account.
    pub account: Option<AccountId>,
    /// Those whose role begins like this.
    pub role_prefix: Option<&'static str>,
}

const SELECT: &str =
    "SELECT id, name, role, account, created_at, revoked_at, of_key, expires_at FROM api_keys";

impl Reader {
    /// The key or session whose secret has this SHA-256, unless it is revoked.
    pub fn api_key_by_hash(&self, secret_hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let sql = format!("{SELECT} WHERE secret_hash = $1 AND revoked_at IS NULL");
        let hash = [Value::Bytes(secret_hash.to_vec())];
        self.with(|connection| connection.row(&sql, &hash, api_key))
    }

    /// One key or session, revoked or not.
    pub fn api_key(&self, id: Uuid) -> Result<Option<ApiKey>, StoreError> {
        let sql = format!("{SELECT} WHERE id = $1");
        self.with(|connection| connection.row(&sql, &[id.into()], api_key))
    }

    /// The sessions of a key that are live at this moment, in the order in which they began.
    pub fn live_sessions(&self, key: Uuid, now: Timestamp) -> Result<Vec<ApiKey>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE of_key = $1 AND expires_at > $2 AND revoked_at IS NULL ORDER BY id LIMIT {SESSIONS_PER_KEY_MAX}"
        );
        self.with(|connection| connection.rows(&sql, &[key.into(), now.0.into()], api_key))
    }

    /// API keys, revoked ones too, without their sessions, in the order of their ids.
    pub fn api_keys(&self, filter: &ApiKeyFilter, page: &Page) -> Result<Listing<ApiKey>, StoreError> {
        let after = page.cursor(|text| text.parse::<Uuid>().ok())?;
        let prefix = |text: &str| [text.to_owned().into(), text.to_owned().into()];
        let conditions = Conditions::default()
            .when("id > ?", after)
            .when("account = ?", filter.account.map(|account| account.0))
            .and("of_key IS NULL", []);
        let conditions = match filter.role_prefix {
            Some(role) => conditions.and("substr(role, 1, length(?)) = ?", prefix(role)),
            None => conditions,
        };
        let (sql, values) = conditions.page(SELECT, "id", page);
        let items = self.with(|connection| connection.rows(&sql, &values, api_key))?;
        Ok(page.listing(items, |key| key.id.to_string()))
    }
}

fn api_key(row: &dyn Row) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.get(0)?,
        name: row.get(1)?,
        role: row.get(2)?,
        account: row.get::<Option<Uuid>>(3)?.map(AccountId),
        created_at: Timestamp(row.get(4)?),
        revoked_at: row.get::<Option<i64>>(5)?.map(Timestamp),
        session: match (row.get(6)?, row.get::<Option<i64>>(7)?.map(Timestamp)) {
            (Some(key), Some(expires_at)) => Some(SessionTerms { key, expires_at }),
            _ => None,
        },
    })
}
