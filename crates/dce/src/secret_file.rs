//! Files with a secret in them, in the data directory, for nobody else to read.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// 32 bytes that nobody can guess.
pub(crate) fn draw() -> std::io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    Ok(secret)
}

/// Makes a file that is not there yet, and returns when its content is on disk.
pub(crate) fn make(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
