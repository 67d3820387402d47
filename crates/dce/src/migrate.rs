//! `dce migrate`: brings the store's schema up to date, and does nothing else.

use crate::failure::Failure;
use crate::print;
use infra::store::{Place, Store, StoreOptions};

/// Opens the books at `place` as their writer, which migrates them, and closes them.
pub(crate) fn run(place: Place) -> Result<(), Failure> {
    let name = place.to_string();
    drop(Store::open(place, &StoreOptions::default())?);
    print(&format!("ok: {name}: the schema is up to date\n"))
}
