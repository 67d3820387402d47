//! Runs the binary.

use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The binary, in a directory of its own and with nothing of ours in its environment.
pub(crate) fn dce(directory: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dce"));
    command.args(arguments).current_dir(directory.path()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DCE_") {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

pub(crate) fn run(directory: &TempDir, arguments: &[&str]) -> Ran {
    Ran::from(dce(directory, arguments).output().expect("the binary runs"))
}

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}
