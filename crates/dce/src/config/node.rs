//! The section `[node]`: one node, or one of several.

use super::{Fault, StoreKind, is_host_and_port};
use crate::failure::Failure;
use engine::nodes::NodeKey;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What this node does, and how nodes find each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NodeConfig {
    /// What it does.
    pub(crate) roles: Vec<Role>,
    /// The file with the key that all nodes have; without it there is one node.
    pub(crate) key_file: Option<PathBuf>,
    /// Where other nodes reach it while it has the book.
    pub(crate) listen: Option<SocketAddr>,
    /// The same as others know it, when that is not where it listens: behind NAT, or listening on 0.0.0.0.
    pub(crate) advertised_address: Option<String>,
}

/// What a node can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Serve the API.
    Gateway,
    /// Take calls.
    Telephony,
    /// Have the book, when no other node has it.
    Engine,
    /// Copy events to Kafka, feed consumers, anchor the audit log and clear what is old, while it has the book.
    Worker,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let roles = vec![Role::Gateway, Role::Telephony, Role::Engine, Role::Worker];
        Self { roles, key_file: None, listen: None, advertised_address: None }
    }
}

impl NodeConfig {
    /// Whether it does this.
    pub(crate) fn does(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// The key that all nodes have, if there is more than one.
    pub(crate) fn key(&self) -> Result<Option<NodeKey>, Failure> {
        let Some(path) = &self.key_file else { return Ok(None) };
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::environment(format!("node.key_file {}: {error}", path.display())))?;
        let key = NodeKey::parse(&text)
            .map_err(|error| Failure::usage(format!("node.key_file {} {error}", path.display())))?;
        Ok(Some(key))
    }

    /// What cannot work, one fault for each key.
    pub(super) fn faults(&self, store: StoreKind) -> Vec<Fault> {
        let all = Self::default().roles;
        let is_one_of_many = self.key_file.is_some();
        let has_one_of_a_pair = self.does(Role::Engine) != self.does(Role::Worker);
        let leaves_out = all.iter().any(|role| !self.does(*role));
        let listens_anywhere = self.listen.is_some_and(|address| address.ip().is_unspecified());
        let checks = [
            (
                self.roles.is_empty(),
                "node.roles",
                "is empty; name some of gateway, telephony, engine, worker",
            ),
            (
                has_one_of_a_pair,
                "node.roles",
                "has one of engine and worker; name both: background jobs run where the book is",
            ),
            (
                !is_one_of_many && leaves_out,
                "node.roles",
                "leaves something out, but this is the only node; set node.key_file, or name all",
            ),
            (
                is_one_of_many && store == StoreKind::Sqlite,
                "node.key_file",
                "is set, but store.kind is sqlite, which has one node; use postgresql",
            ),
            (
                is_one_of_many && self.does(Role::Engine) && self.listen.is_none(),
                "node.listen",
                "is not set; give an address that other nodes reach, such as 10.0.0.5:7400",
            ),
            (
                !is_one_of_many && self.listen.is_some(),
                "node.listen",
                "is set, but node.key_file is not; make a key with: openssl rand -hex 32",
            ),
            (
                listens_anywhere && self.advertised_address.is_none(),
                "node.advertised_address",
                "is not set, and node.listen names no address; say which it is",
            ),
            (
                self.advertised_address.as_ref().is_some_and(|text| !is_host_and_port(text)),
                "node.advertised_address",
                "is not a host and port; write it as node-1.example:7400",
            ),
        ];
        let mut faults: Vec<Fault> = Vec::new();
        for (is_so, key, problem) in checks {
            if is_so && faults.iter().all(|fault| fault.key != key) {
                faults.push(Fault { key: key.into(), problem: problem.to_owned() });
            }
        }
        faults
    }
}
