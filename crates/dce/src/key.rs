//! `dce key create|list|revoke`: API keys, while no server runs. It makes the first admin key.

use crate::command_line::{Format, KeyCommand, RoleName};
use crate::failure::Failure;
use crate::{hand_over, print};
use comfy_table::{Table, presets};
use exchange::account::AccountKind;
use exchange::audit::Actor;
use exchange::audit::RoleKind;
use exchange::id::AccountId;
use exchange::time::Timestamp;
use gateway::ApiKeyText;
use infra::store::{
    ApiKey, ApiKeyFilter, Page, Place, PostgresqlError, Reader, Store, StoreError, StoreOptions, Writer,
};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Runs it on the books at `place`.
pub(crate) fn run(place: Place, command: &KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Create { name, role, account } => create(place, name, *role, account.as_deref()),
        KeyCommand::List { format } => list(place, *format),
        KeyCommand::Revoke { id } => revoke(place, id),
    }
}

/// Opens the books; when an exchange has them, says what to do instead.
fn open(place: Place) -> Result<Store, Failure> {
    Store::open(place, &StoreOptions::default()).map_err(|error| match error {
        StoreError::Locked { .. } | StoreError::Postgresql(PostgresqlError::Taken { .. }) => {
            Failure::environment(format!("{error}; or ask the running exchange: /v1/api-keys of its API"))
        }
        error => error.into(),
    })
}

fn create(place: Place, name: &str, role: RoleName, account: Option<&str>) -> Result<(), Failure> {
    if name.trim().is_empty() || name.len() > 200 {
        return Err(Failure::usage("--name: empty or longer than 200 bytes; give a short name"));
    }
    let role = match role {
        RoleName::Admin => RoleKind::Admin,
        RoleName::Analyst => RoleKind::Analyst,
        RoleName::Buyer => RoleKind::Buyer,
        RoleName::Seller => RoleKind::Seller,
    };
    let account = account.map(str::parse::<AccountId>).transpose();
    let account =
        account.map_err(|error| Failure::usage(format!("--account: {error}; give an account's id")))?;
    let store = open(place)?;
    check_account(&store.reader(), role, account)?;
    let text = draw()?;
    // A key that does not work is a line to delete; one that works and that nobody has is a hole.
    hand_over(&format!("{text}\n"))?;
    keep(&store.writer(), &text, name, role, account).map_err(|failure| {
        Failure::environment(format!("{failure}; the key printed above was not kept and opens nothing"))
    })
}

/// Makes a key and keeps its hash. `account` is one of the role's kind, or none.
pub(crate) fn mint(
    writer: &Writer,
    name: &str,
    role: RoleKind,
    account: Option<AccountId>,
) -> Result<ApiKeyText, Failure> {
    let text = draw()?;
    keep(writer, &text, name, role, account)?;
    Ok(text)
}

fn draw() -> Result<ApiKeyText, Failure> {
    ApiKeyText::mint().map_err(|error| Failure::environment(error.to_string()))
}

fn keep(
    writer: &Writer,
    text: &ApiKeyText,
    name: &str,
    role: RoleKind,
    account: Option<AccountId>,
) -> Result<(), Failure> {
    let key = ApiKey {
        id: text.id,
        name: name.to_owned(),
        role: role.name().to_owned(),
        account,
        created_at: now(),
        revoked_at: None,
        session: None,
    };
    Ok(writer.insert_api_key(key, text.secret_hash(), Actor::CommandLine)?)
}

/// A buyer's or seller's key names an account of that kind, other keys none.
fn check_account(reader: &Reader, role: RoleKind, account: Option<AccountId>) -> Result<(), Failure> {
    let kind = match role {
        RoleKind::Buyer => AccountKind::Buyer,
        RoleKind::Seller => AccountKind::Seller,
        RoleKind::Admin | RoleKind::Analyst if account.is_none() => return Ok(()),
        RoleKind::Admin | RoleKind::Analyst => {
            return Err(Failure::usage(format!("--account: set for role {}; leave it out", role.name())));
        }
    };
    let Some(id) = account else {
        let problem =
            format!("--account: missing for role {}; name the account the key acts for", role.name());
        return Err(Failure::usage(problem));
    };
    match reader.account(id)? {
        Some(account) if account.kind == kind => Ok(()),
        Some(_) => Err(Failure::usage(format!("--account: {id} is not a {}; name one that is", role.name()))),
        None => Err(Failure::usage(format!("--account: there is no account {id}; open it first"))),
    }
}

fn list(place: Place, format: Format) -> Result<(), Failure> {
    let reader = Store::open_read_only(place)?;
    let mut keys = Vec::new();
    let mut page = Some(Page::first(infra::store::MAX_PAGE));
    while let Some(asked) = page {
        let listing = reader.api_keys(&ApiKeyFilter::default(), &asked)?;
        page = asked.following(&listing);
        keys.extend(listing.items);
    }
    match format {
        Format::Json => {
            print(&format!("{}\n", json!({ "keys": keys.iter().map(as_json).collect::<Vec<_>>() })))
        }
        Format::Text => print(&as_table(&keys)),
    }
}

fn as_json(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "account": key.account,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    })
}

fn as_table(keys: &[ApiKey]) -> String {
    let moment = |at: Timestamp| at.to_jiff().to_string();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["id", "name", "role", "account", "created", "revoked"]);
    for key in keys {
        table.add_row([
            key.id.to_string(),
            key.name.clone(),
            key.role.clone(),
            key.account.map(|account| account.to_string()).unwrap_or_default(),
            moment(key.created_at),
            key.revoked_at.map(moment).unwrap_or_default(),
        ]);
    }
    format!("{table}\n")
}

fn revoke(place: Place, id: &str) -> Result<(), Failure> {
    let id: Uuid =
        id.parse().map_err(|error| Failure::usage(format!("{id}: {error}; see `dce key list`")))?;
    let store = open(place)?;
    match store.reader().api_key(id)? {
        None => return Err(Failure::usage(format!("there is no key {id}; see `dce key list`"))),
        Some(key) if key.revoked_at.is_some() => {}
        Some(key) => store.writer().revoke_api_key(key, now(), Actor::CommandLine)?,
    }
    print(&format!("revoked {id}\n"))
}

/// The wall clock, for what the engine does not date.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
