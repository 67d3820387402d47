//! The data directory, and the lock that keeps two servers from sharing it.

use crate::store::StoreError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;

/// The lock file's name within the data directory. It stays there; only the lock on it comes and goes.
const LOCK_NAME: &str = "exchange.lock";

/// Held for as long as the store is open. The operating system lets go of it when the process dies.
#[derive(Debug)]
pub(in crate::store) struct DirectoryLock {
    file: File,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing is not enough: a process being started at this moment shares the open file until its `exec`.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "lock on the data directory not let go; it ends with the process");
        }
    }
}

impl DirectoryLock {
    /// For the one process that writes.
    pub(super) fn exclusive(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(LOCK_NAME);
        let mut file = open_lock_file(&path)?;
        file.try_lock().map_err(|error| refused(error, &path))?;
        // The number only helps the person who reads the error; the lock works without it.
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "process id not written to the lock file");
        }
        Ok(Self { file })
    }

    /// For tools that only read: any number of them, but none beside a writer.
    pub(super) fn shared(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(LOCK_NAME);
        let file = open_lock_file(&path)?;
        file.try_lock_shared().map_err(|error| refused(error, &path))?;
        Ok(Self { file })
    }
}

fn open_lock_file(path: &Path) -> Result<File, StoreError> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| name_path(error, path))
}

fn refused(error: TryLockError, path: &Path) -> StoreError {
    match error {
        TryLockError::WouldBlock => {
            let mut text = String::new();
            let read = File::open(path).and_then(|file| file.take(20).read_to_string(&mut text));
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            StoreError::Locked { path: path.to_owned(), pid }
        }
        TryLockError::Error(error) => name_path(error, path),
    }
}

/// Makes the data directory, unless it is there.
pub(super) fn create(directory: &Path) -> Result<(), StoreError> {
    match std::fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(StoreError::NotADirectory { path: directory.to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(name_path(error, directory)),
    }
    let mut builder = std::fs::DirBuilder::new();
    // Callers' numbers are in there: nobody else's business.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory).map_err(|error| name_path(error, directory))
}

/// For opens that create nothing.
pub(super) fn must_exist(path: &Path) -> Result<(), StoreError> {
    std::fs::metadata(path).map(|_| ()).map_err(|error| name_path(error, path))
}

/// Turns the operating system's answers into errors that name the file and the fix.
pub(super) fn name_path(error: io::Error, path: &Path) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::NotFound => StoreError::Missing { path },
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => StoreError::NotADirectory { path },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreError::Permission { path },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::DiskFull { path },
        _ => StoreError::Io { path, source: error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_path_and_the_fix() {
        let table = [
            (ErrorKind::NotFound, "/data: does not exist; start the exchange once to create it"),
            (ErrorKind::NotADirectory, "data directory /data: not a directory; name a directory"),
            (ErrorKind::PermissionDenied, "/data: permission denied; make it readable and writable"),
            (ErrorKind::ReadOnlyFilesystem, "/data: permission denied; make it readable and writable"),
            (ErrorKind::StorageFull, "/data: the disk, or the store's page quota, is full; free space"),
        ];
        for (kind, beginning) in table {
            let shown = name_path(kind.into(), Path::new("/data")).to_string();
            assert!(shown.starts_with(beginning), "{kind:?}: {shown}");
            assert_eq!(shown.lines().count(), 1, "{kind:?}");
        }
    }
}
