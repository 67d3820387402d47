//! Documents that are asked for often and change rarely, remembered on each node: accounts, tracking numbers, bid profiles.
//!
//! Every change comes out of a commit on the node that has the book. There it is forgotten before whoever asked for it is answered, and
//! the other nodes are told over the line between nodes, before the answer to the one of them that asked. A node that is in no session
//! with the book remembers nothing.

use crate::nodes::message::FromBook;
use exchange::account::Account;
use exchange::bid::BidProfile;
use exchange::effect::Record;
use exchange::id::{AccountId, BidProfileId};
use exchange::phone_number::PhoneNumber;
use exchange::tracking_number::TrackingNumber;
use infra::coordination::Remembered;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// What this node remembers. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Documents(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    accounts: Remembered<AccountId, Account>,
    tracking_numbers: Remembered<PhoneNumber, TrackingNumber>,
    bid_profiles: Remembered<BidProfileId, BidProfile>,
    /// On the node that has the book: the others, by their sessions.
    nodes: Mutex<HashMap<u64, UnboundedSender<FromBook>>>,
}

/// One document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Document {
    Account(AccountId),
    TrackingNumber(PhoneNumber),
    BidProfile(BidProfileId),
}

impl Document {
    /// The document that a record replaces.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        match record {
            Record::Account(account) => Some(Self::Account(account.id)),
            Record::TrackingNumber(number) => Some(Self::TrackingNumber(number.number)),
            Record::BidProfile(bid) => Some(Self::BidProfile(bid.id)),
            _ => None,
        }
    }
}

impl Documents {
    /// The account: remembered for a moment, else as `read` finds it. Many who ask at once cause one reading.
    pub async fn account<E, Reading: Future<Output = Result<Option<Account>, E>>>(
        &self,
        id: AccountId,
        read: impl FnOnce() -> Reading,
    ) -> Result<Option<Account>, E> {
        self.0.accounts.find(id, read).await
    }

    /// The tracking number, in the same way.
    pub async fn tracking_number<E, Reading: Future<Output = Result<Option<TrackingNumber>, E>>>(
        &self,
        number: PhoneNumber,
        read: impl FnOnce() -> Reading,
    ) -> Result<Option<TrackingNumber>, E> {
        self.0.tracking_numbers.find(number, read).await
    }

    /// The bid profile, in the same way.
    pub async fn bid_profile<E, Reading: Future<Output = Result<Option<BidProfile>, E>>>(
        &self,
        id: BidProfileId,
        read: impl FnOnce() -> Reading,
    ) -> Result<Option<BidProfile>, E> {
        self.0.bid_profiles.find(id, read).await
    }

    /// Whether changes are heard of from now on; nothing of before is believed.
    pub(crate) fn listen(&self, is_listening: bool) {
        self.0.accounts.listen(is_listening);
        self.0.tracking_numbers.listen(is_listening);
        self.0.bid_profiles.listen(is_listening);
    }

    /// Forgets what has changed.
    pub(crate) fn forget(&self, changed: &[Document]) {
        for document in changed {
            match document {
                Document::Account(id) => self.0.accounts.forget(|there, _| there == id),
                Document::TrackingNumber(number) => {
                    self.0.tracking_numbers.forget(|there, _| there == number);
                }
                Document::BidProfile(id) => self.0.bid_profiles.forget(|there, _| there == id),
            }
        }
    }

    /// On the node that has the book: these were committed. No node believes what was before.
    pub(crate) fn changed(&self, changed: Vec<Document>) {
        self.forget(&changed);
        for node in self.nodes().values() {
            // A session that is over is taken away in a moment.
            let _ = node.send(FromBook::Changed { documents: changed.clone() });
        }
    }

    /// Tells the node of a session from now on.
    pub(crate) fn tell(&self, session: u64, node: &UnboundedSender<FromBook>) {
        self.nodes().insert(session, node.clone());
    }

    /// The session is over.
    pub(crate) fn tell_no_more(&self, session: u64) {
        self.nodes().remove(&session);
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<u64, UnboundedSender<FromBook>>> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange::account::AccountKind;
    use exchange::time::Timestamp;
    use std::convert::Infallible;
    use tokio::sync::mpsc::unbounded_channel;
    use uuid::Uuid;

    const ID: AccountId = AccountId(Uuid::from_u128(1));

    async fn named(documents: &Documents, name: &str) -> String {
        let read =
            || async { Ok::<_, Infallible>(Some(Account::new(ID, AccountKind::Buyer, name, Timestamp(0)))) };
        let Ok(account) = documents.account(ID, read).await;
        account.expect("there").name
    }

    #[tokio::test]
    async fn a_change_is_forgotten_here_and_told_to_the_nodes_in_session() {
        let documents = Documents::default();
        assert_eq!(named(&documents, "one").await, "one");
        assert_eq!(named(&documents, "two").await, "two", "nothing is believed before changes are heard");
        documents.listen(true);
        named(&documents, "three").await;
        assert_eq!(named(&documents, "four").await, "three");

        let (node, mut told) = unbounded_channel();
        documents.tell(7, &node);
        let changed = vec![Document::Account(ID)];
        documents.changed(changed.clone());
        assert_eq!(named(&documents, "four").await, "four");
        assert_eq!(told.try_recv(), Ok(FromBook::Changed { documents: changed.clone() }));
        documents.tell_no_more(7);
        documents.changed(changed);
        assert!(told.try_recv().is_err());
    }
}
