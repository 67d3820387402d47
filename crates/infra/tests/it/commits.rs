//! All of a unit or nothing of it, in order, and still there after opening the store again.

use crate::fixtures::{Directory, account, account_id, converted, deposit, open_account, ringing};
use exchange::account::AccountKind;
use exchange::ledger::money::Micros;
use exchange::snapshot::Snapshot;
use infra::store::UnitOfWork;

#[test]
fn what_is_committed_is_there_after_opening_again() {
    let buyer = account_id(2);
    let units = [
        open_account(account(1, AccountKind::Seller)),
        open_account(account(2, AccountKind::Buyer)),
        deposit(buyer, "wire-1", Micros::units(100)),
        ringing(1, buyer),
        converted(1, buyer),
        ringing(2, buyer),
    ];
    let directory = Directory::new();
    let store = directory.open();
    for unit in &units {
        store.writer().commit(unit.clone()).expect("the unit is sound");
    }
    drop(store);
    assert_eq!(directory.open().load().expect("the store loads"), fold(&units));
}

/// What the store must give back: the fold of all records, as the core defines it.
pub(crate) fn fold(units: &[UnitOfWork]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for unit in units {
        unit.records.iter().for_each(|record| snapshot.apply(record));
        let at = unit.journal.as_ref().map(|entry| entry.at);
        snapshot.last_alive_at = snapshot.last_alive_at.max(at.unwrap_or_default());
    }
    snapshot
}
