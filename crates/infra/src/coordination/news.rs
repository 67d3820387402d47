//! What nodes tell each other over Redis, and what a node does with it.

use super::SecretHash;
use super::remembered::Remembered;
use super::velocity::Shut;
use crate::store::ApiKey;
use std::fmt;
use uuid::Uuid;

/// One thing that all nodes are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// An API key, or a session, is revoked; with a key, its sessions.
    Revoked(Uuid),
    /// A key of a counter is shut out. How long, in milliseconds, follows: whoever counts says it.
    ShutOut(String),
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked(id) => write!(f, "revoked {id}"),
            Self::ShutOut(subject) => write!(f, "shut_out {subject}"),
        }
    }
}

/// What a node knows from the news.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) api_keys: Remembered<SecretHash, ApiKey>,
    pub(super) shut: Shut,
}

impl Known {
    /// Whether news are heard from now on. Who is shut out stays so: that time ends by itself.
    pub(super) fn listen(&self, is_listening: bool) {
        self.api_keys.listen(is_listening);
    }

    /// Forgets an API key or a session that is revoked; with a key, its sessions.
    pub(super) fn revoked(&self, id: Uuid) {
        self.api_keys.forget(|_, key| key.id == id || key.stands_for() == id);
    }

    /// Takes in what was told.
    pub(super) fn hear(&self, text: &str) {
        let heard = match text.split_once(' ') {
            Some(("revoked", id)) => id.parse().ok().map(|id| self.revoked(id)),
            Some(("shut_out", words)) => self.shut.hear(words),
            _ => None,
        };
        if heard.is_none() {
            // Whatever it means, all that is remembered is asked for again.
            self.listen(true);
        }
    }
}
