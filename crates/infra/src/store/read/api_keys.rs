//! API keys. The secret itself is never here, only its SHA-256.

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
}

/// Which keys are wanted; an absent field takes any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApiKeyFilter {
    /// Those of this account.
    pub account: Option<AccountId>,
    /// Those whose role begins like this.
    pub role_prefix: Option<&'static str>,
}

const SELECT: &str = "SELECT id, name, role, account, created_at, revoked_at FROM api_keys";

impl Reader {
    /// The key whose secret has this SHA-256, unless it is revoked.
    pub fn api_key_by_hash(&self, secret_hash: &[u8; 32]) -> Result<Option<ApiKey>, StoreError> {
        let sql = format!("{SELECT} WHERE secret_hash = $1 AND revoked_at IS NULL");
        let hash = [Value::Bytes(secret_hash.to_vec())];
        self.with(|connection| connection.row(&sql, &hash, api_key))
    }

    /// One key, revoked or not.
    pub fn api_key(&self, id: Uuid) -> Result<Option<ApiKey>, StoreError> {
        let sql = format!("{SELECT} WHERE id = $1");
        self.with(|connection| connection.row(&sql, &[id.into()], api_key))
    }

    /// API keys, revoked ones too, in the order of their ids.
    pub fn api_keys(&self, filter: &ApiKeyFilter, page: &Page) -> Result<Listing<ApiKey>, StoreError> {
        let after = page.cursor(|text| text.parse::<Uuid>().ok())?;
        let prefix = |text: &str| [text.to_owned().into(), text.to_owned().into()];
        let conditions = Conditions::default()
            .when("id > ?", after)
            .when("account = ?", filter.account.map(|account| account.0));
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
    })
}
