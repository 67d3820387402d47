//! A copy of the embedded store, taken while an exchange writes to it.

use super::{Access, FILE_NAME, connect, directory, migrations, name_path};
use crate::store::StoreError;
use std::fs::File;
use std::path::Path;

/// What a copy is called until it is whole.
const UNFINISHED: &str = "exchange.sqlite.unfinished";

/// Copies the store in `from` into the directory `to`, as one state that was durable: the latest when it begins. The writer is not held
/// up; its log grows until the copy is done.
pub(in crate::store) fn back_up(from: &Path, to: &Path) -> Result<(), StoreError> {
    let path = from.join(FILE_NAME);
    directory::must_exist(&path)?;
    directory::create(to)?;
    let (copy, unfinished) = (to.join(FILE_NAME), to.join(UNFINISHED));
    let io = |source| StoreError::Io { path: unfinished.clone(), source };
    if copy.exists() {
        let source = std::io::Error::other("there is a store already");
        return Err(StoreError::Io { path: copy, source });
    }
    // Left by a copy that did not end.
    if unfinished.exists() {
        std::fs::remove_file(&unfinished).map_err(io)?;
    }
    let connection = connect(&path, Access::Read)?;
    migrations::version(&connection, &path).map_err(|error| name_path(error, &path))?;
    let into = unfinished.to_string_lossy();
    let copied = connection.execute("VACUUM INTO ?1", [&into]);
    copied.map_err(|error| name_path(error.into(), &unfinished))?;
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io)?;
    std::fs::rename(&unfinished, &copy).map_err(io)?;
    // The new name is on disk only with its directory.
    File::open(to).and_then(|directory| directory.sync_all()).map_err(io)
}
