//! API keys. The secret itself is never here, only its SHA-256.

use super::Reader;
use super::query::{Conditions, blob};
use crate::store::{Listing, Page, StoreError};
use exchange::id::AccountId;
use exchange::time::Timestamp;
use rusqlite::{Row, params_from_iter};
use uuid::Uuid;

/// Who may call the API, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        self.with(|connection| {
            let sql = format!("{SELECT} WHERE secret_hash = ?1 AND revoked_at IS NULL");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([secret_hash])?;
            rows.next()?.map(api_key).transpose()
        })
    }

    /// One key, revoked or not.
    pub fn api_key(&self, id: Uuid) -> Result<Option<ApiKey>, StoreError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
            let mut rows = statement.query([id.as_bytes()])?;
            rows.next()?.map(api_key).transpose()
        })
    }

    /// API keys, revoked ones too, in the order of their ids.
    pub fn api_keys(&self, filter: &ApiKeyFilter, page: &Page) -> Result<Listing<ApiKey>, StoreError> {
        let after = page.cursor(|text| text.parse::<Uuid>().ok())?;
        let (sql, mut values) = Conditions::default()
            .when("id > ?", after.map(blob))
            .when("account = ?", filter.account.map(|account| blob(account.0)))
            .when("instr(role, ?) = 1", filter.role_prefix.map(str::to_owned))
            .query(SELECT, "ORDER BY id LIMIT ?");
        values.push(page.rows().into());
        let items = self.with(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(api_key(row)?);
            }
            Ok(found)
        })?;
        Ok(page.listing(items, |key| key.id.to_string()))
    }
}

fn api_key(row: &Row<'_>) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: Uuid::from_bytes(row.get(0)?),
        name: row.get(1)?,
        role: row.get(2)?,
        account: row.get::<_, Option<[u8; 16]>>(3)?.map(|id| AccountId(Uuid::from_bytes(id))),
        created_at: Timestamp(row.get(4)?),
        revoked_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
    })
}
