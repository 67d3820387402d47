//! Live bidders: the client that asks them, and the key behind callers' tokens.

use crate::failure::Failure;
use crate::secret_file;
use engine::LiveBidders;
use engine::nodes::NodeKey;
use partners::rtb::{RtbClient, RtbConfig};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The key's file within the data directory. Whoever has it can tell whose number a token stands for.
const KEY_NAME: &str = "caller_token.key";

/// Bounds on asking live bidders over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LiveBiddersConfig {
    /// Whether bidders' URLs may lead to addresses that are not public. Buyers write them: only for tests.
    pub(crate) allow_private_addresses: bool,
    /// Requests without an answer at the same time, over all bidders.
    pub(crate) in_flight_max: usize,
    /// Open connections, over all bidders.
    pub(crate) connections_max: usize,
}

impl Default for LiveBiddersConfig {
    fn default() -> Self {
        let RtbConfig { allow_private_addresses, in_flight_max, connections_max, .. } = RtbConfig::default();
        Self { allow_private_addresses, in_flight_max, connections_max }
    }
}

/// Starts the client. Tokens stay the same over restarts: their key is kept in the data directory. On every node of an exchange they
/// are the same as well: their key comes from the nodes' own.
pub(crate) fn start(
    config: &LiveBiddersConfig,
    data_directory: &Path,
    node_key: Option<&NodeKey>,
) -> Result<LiveBidders, Failure> {
    let path = data_directory.join(KEY_NAME);
    let mut folder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    // The store may be elsewhere, and not have made it. What is wrong with the folder, the key's file tells.
    let _ = folder.recursive(true).create(data_directory);
    let key = match node_key {
        Some(node_key) => node_key.derive("caller tokens"),
        None => token_key(&path).map_err(|error| {
            Failure::environment(format!("{}: {error}; make it readable", path.display()))
        })?,
    };
    let config = RtbConfig {
        allow_private_addresses: config.allow_private_addresses,
        in_flight_max: config.in_flight_max,
        connections_max: config.connections_max,
        ..RtbConfig::default()
    };
    Ok(LiveBidders::with_rtb(RtbClient::new(config, key)))
}

/// The key that is there, or a new one.
fn token_key(path: &Path) -> std::io::Result<[u8; 32]> {
    match File::open(path) {
        Ok(mut file) => {
            let mut key = [0; 32];
            file.read_exact(&mut key)?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = secret_file::draw()?;
            secret_file::make(path, &key)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::token_key;

    #[test]
    fn a_key_is_made_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let key = token_key(&path).expect("made");
        assert_eq!(token_key(&path).expect("read"), key);
        assert_ne!(key, [0; 32]);
        std::fs::write(&path, "short").expect("writable");
        assert!(token_key(&path).is_err(), "a damaged key is not used");
    }
}
