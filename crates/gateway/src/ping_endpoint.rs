//! Ping endpoints: URLs by which a partner pings for one number of one seller without an API key. The URL's secret is kept like
//! an API key's, as a row of the same table: its role is `ping:<number>`, which opens nothing else.

use crate::access::Role;
use crate::problem::Problem;
use crate::state::Gateway;
use crate::wrong_keys::Client;
use exchange::id::AccountId;
use exchange::phone_number::PhoneNumber;
use infra::coordination::Verdict;
use infra::store::ApiKey;
use sha2::{Digest, Sha256};
use std::fmt;

/// Bytes of a secret: 128 bits of the operating system's randomness, so that a plain hash of it is safe to keep.
const SECRET_BYTES: usize = 16;

/// How the roles of these rows begin.
pub(crate) const ROLE_PREFIX: &str = "ping:";

/// The secret in the URL: 32 hexadecimal digits. Shows itself only through [`fmt::Display`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PingSecret([u8; SECRET_BYTES]);

impl PingSecret {
    /// A new one.
    pub(crate) fn mint() -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        Ok(Self(secret))
    }

    /// Reads 32 hexadecimal digits.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if text.len() != 2 * SECRET_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|secret| Self(secret.to_be_bytes()))
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl fmt::Display for PingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for PingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What an endpoint's URL opens: pings for this number, as its seller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PingEndpoint {
    pub(crate) seller: AccountId,
    pub(crate) number: PhoneNumber,
}

/// Why a ping is not let in.
#[derive(Debug)]
pub(crate) enum NotAdmitted {
    /// There is no such endpoint, or it is revoked.
    Unknown,
    /// It, or the address, asks too often.
    TooOften,
    /// What must be asked for that cannot be.
    Failed(Problem),
}

impl From<Problem> for NotAdmitted {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

impl PingEndpoint {
    /// Reads what the store keeps. A row that is something else opens nothing here.
    pub(crate) fn of(key: &ApiKey) -> Option<Self> {
        let number = key.role.strip_prefix(ROLE_PREFIX)?.parse().ok()?;
        Some(Self { seller: key.account?, number })
    }

    /// As the store keeps it.
    pub(crate) fn role(self) -> String {
        format!("{ROLE_PREFIX}{}", self.number)
    }

    /// On whose behalf it pings.
    pub(crate) fn acts_for(self) -> Role {
        Role::Seller(self.seller)
    }

    /// The endpoint with this secret, if it may be asked once more.
    pub(crate) async fn admit(
        gateway: &Gateway,
        secret: &PingSecret,
        client: Client,
    ) -> Result<Self, NotAdmitted> {
        if gateway.wrong_keys().shut_out_for(client).is_some() {
            return Err(NotAdmitted::TooOften);
        }
        let key = gateway.api_key(secret.hash()).await?;
        let Some((key, endpoint)) = key.and_then(|key| Some((key.id, Self::of(&key)?))) else {
            let wait = gateway.wrong_keys().count(client).await.map_err(Problem::from)?;
            return Err(wait.map_or(NotAdmitted::Unknown, |_| NotAdmitted::TooOften));
        };
        match gateway.rates().take(key).await.map_err(Problem::from)? {
            Verdict::Passes { .. } => Ok(endpoint),
            Verdict::Waits { .. } => Err(NotAdmitted::TooOften),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange::time::Timestamp;
    use uuid::Uuid;

    #[test]
    fn a_secret_reads_back_and_hides() {
        let secret = PingSecret::mint().expect("randomness");
        let text = secret.to_string();
        assert_eq!(PingSecret::read(&text).as_ref(), Some(&secret));
        assert_eq!(PingSecret::read(&text.to_uppercase()), Some(secret.clone()));
        assert!(!format!("{secret:?}").contains(&text));
        for wrong in ["", &text[1..], &format!("{text}0"), &format!("+{}", &text[1..])] {
            assert_eq!(PingSecret::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_rows_of_endpoints_are_endpoints() {
        let (seller, number) = (AccountId(Uuid::from_u128(1)), "+18005550100");
        let endpoint = PingEndpoint { seller, number: number.parse().expect("a number") };
        for (role, account, expected) in [
            (endpoint.role(), Some(seller), Some(endpoint)),
            (endpoint.role(), None, None),
            ("ping:".to_owned(), Some(seller), None),
            ("seller".to_owned(), Some(seller), None),
        ] {
            let (id, name) = (Uuid::nil(), String::new());
            let (created_at, revoked_at, session) = (Timestamp(0), None, None);
            let key = ApiKey { id, name, role, account, created_at, revoked_at, session };
            assert_eq!(PingEndpoint::of(&key), expected, "{}", key.role);
        }
    }
}
