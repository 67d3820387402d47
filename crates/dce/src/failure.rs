//! How a command ends: exit codes that mean something, and one line on stderr that says what is wrong and the fix.

use std::process::ExitCode;

/// What the exit code says. Documented in `dce --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command ran and found something wrong, such as violations in the books.
    Found = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The surroundings are wrong: port in use, data directory locked, file corrupt.
    Environment = 3,
}

/// Why a command failed: one line that names the thing, the problem and the fix.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// The command ran and found something wrong.
    pub(crate) fn found(message: impl Into<String>) -> Self {
        Self { exit: Exit::Found, message: message.into() }
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// The surroundings are wrong.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self { exit: Exit::Environment, message: message.into() }
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }
}

impl From<infra::store::StoreError> for Failure {
    fn from(error: infra::store::StoreError) -> Self {
        Self::environment(error.to_string())
    }
}
