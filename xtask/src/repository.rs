//! The repository as cargo and git see it.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A checkout: where it is, its files, its packages.
pub(crate) struct Repository {
    pub(crate) root: PathBuf,
}

/// What `cargo metadata` says of the dependency graph; only the fields the rules read.
#[derive(Default, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) target_directory: PathBuf,
}

/// One package, ours or another's.
#[derive(Clone, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) license: Option<String>,
    /// Where it comes from; none for our own.
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// What a manifest asks for.
#[derive(Clone, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Where another package comes from; none for our own.
    pub(crate) source: Option<String>,
}

impl Repository {
    /// The repository this program was built from.
    pub(crate) fn here() -> Result<Self> {
        let manifest_dir = std::env::var("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
        let root = Path::new(&manifest_dir).parent().context("xtask is a folder of the repository")?;
        Ok(Self { root: root.to_owned() })
    }

    /// A `cargo` to run in the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        cargo
    }

    /// Our packages and everything they depend on.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        let output = self
            .cargo()
            .args(["metadata", "--format-version", "1", "--locked"])
            .output()
            .context("running cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("reading cargo metadata")
    }

    /// Every text file that is or would be committed, by path from the root.
    pub(crate) fn text_files(&self) -> Result<BTreeMap<String, String>> {
        let output = Command::new("git")
            .current_dir(&self.root)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .context("running git ls-files")?;
        if !output.status.success() {
            bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let listed = String::from_utf8(output.stdout).context("a path is not UTF-8")?;
        let mut files = BTreeMap::new();
        for path in listed.split_terminator('\0') {
            // Deleted but not yet committed, or not text: no rule is about it.
            if let Ok(text) = std::fs::read_to_string(self.root.join(path)) {
                files.insert(path.to_owned(), text);
            }
        }
        Ok(files)
    }
}
