//! `dce backup`: a copy of the data directory, also while a server runs on it.

use crate::config::Config;
use crate::failure::Failure;
use crate::print;
use infra::store::{Place, Store};
use std::fs;
use std::path::Path;

/// Copies the books and the secret keys beside them into `to`, which becomes a data directory.
pub(crate) fn run(config: &Config, to: &Path) -> Result<(), Failure> {
    let Place::Directory(from) = config.place() else {
        return Err(Failure::usage(
            "store.kind is postgresql: back the server up with pg_dump, or pg_basebackup and its log; see docs/operations.md",
        ));
    };
    Store::back_up(&from, to)?;
    let failed = |error: std::io::Error| Failure::environment(format!("{}: {error}", to.display()));
    let mut keys = 0;
    for entry in fs::read_dir(&from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let (Some("key"), Some(name)) = (path.extension().and_then(|it| it.to_str()), path.file_name()) {
            // The copy has the original's permissions: readable for its owner alone.
            fs::copy(&path, to.join(name)).map_err(failed)?;
            keys += 1;
        }
    }
    print(&format!("ok: the books and {keys} secret keys are in {}\n", to.display()))
}
