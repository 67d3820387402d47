//! The key that signs the audit log's anchors: a file that only the exchange reads.

use crate::config::Config;
use crate::failure::Failure;
use crate::secret_file;
use infra::audit::SigningKey;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Its name within the data directory.
const KEY_NAME: &str = "audit_signing.key";

/// Where the key is: in the file that is configured, or in the data directory.
pub(crate) fn path(config: &Config) -> PathBuf {
    config.audit.signing_key_file.clone().unwrap_or_else(|| config.data.directory.join(KEY_NAME))
}

/// The key, made on first use. One that is configured must be there.
pub(crate) fn open_or_make(config: &Config) -> Result<SigningKey, Failure> {
    let path = path(config);
    match read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound && config.audit.signing_key_file.is_none() => {
            make(&path).map_err(|error| failure(&path, &error))
        }
        key => key.map_err(|error| failure(&path, &error)),
    }
}

/// The key, if there is one.
pub(crate) fn open(config: &Config) -> Result<Option<SigningKey>, Failure> {
    let path = path(config);
    match read(&path) {
        Ok(key) => Ok(Some(key)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(&path, &error)),
    }
}

fn read(path: &Path) -> std::io::Result<SigningKey> {
    let text = std::fs::read_to_string(path)?;
    SigningKey::from_text(&text).map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error))
}

/// Makes a key, for nobody else to read.
fn make(path: &Path) -> std::io::Result<SigningKey> {
    let text = infra::audit::Hash(secret_file::draw()?).to_string();
    let key = SigningKey::from_text(&text).map_err(std::io::Error::other)?;
    secret_file::make(path, format!("{text}\n").as_bytes())?;
    tracing::info!(
        path = %path.display(), public_key = %key.public_key(),
        "made the key that signs the audit log's anchors; keep its public half elsewhere"
    );
    Ok(key)
}

fn failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(format!(
        "{}: {error}; make it readable, or set audit.signing_key_file to a file of 64 hexadecimal digits",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_nobody_else_to_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.data.directory = directory.path().to_owned();
        assert!(open(&config).expect("nothing is wrong").is_none());
        let key = open_or_make(&config).expect("made").public_key();
        assert_eq!(open_or_make(&config).expect("read").public_key(), key);
        assert_eq!(open(&config).expect("readable").expect("there").public_key(), key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(path(&config)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::write(path(&config), "short").expect("writable");
        let refused = open_or_make(&config).expect_err("a damaged key is not used").to_string();
        assert!(refused.contains("64 hexadecimal digits"), "{refused}");
    }

    #[test]
    fn a_key_that_is_configured_is_not_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config::default();
        config.audit.signing_key_file = Some(directory.path().join("key"));
        assert!(open_or_make(&config).is_err());
    }
}
