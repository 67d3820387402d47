//! What can go wrong with a PostgreSQL server, each in one line that names the server and the fix. Never the password.

use std::path::PathBuf;
use tokio_postgres::error::{DbError, SqlState};

/// Why the PostgreSQL store cannot do what was asked. `server` is `host:port/database`.
#[derive(Debug, thiserror::Error)]
pub enum PostgresqlError {
    /// The URL cannot be read.
    #[error("PostgreSQL URL: {finding}; write postgresql://user:password@host:5432/database")]
    BadUrl {
        /// What is wrong with it.
        finding: String,
    },
    /// The certificates of authorities cannot be read.
    #[error(
        "PostgreSQL URL: sslrootcert {path}: {finding}; name a PEM file with the certificates of those you trust"
    )]
    RootCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        finding: String,
    },
    /// The connection is not as safe as the URL asks.
    #[error(
        "PostgreSQL at {server}: {finding}; correct sslmode and sslrootcert of the URL, or the server's certificate"
    )]
    NotSecure {
        /// Which server.
        server: String,
        /// What was found.
        finding: String,
    },
    /// Nobody answers.
    #[error("PostgreSQL at {server}: {finding}; start the server, or correct store.url")]
    Unreachable {
        /// Which server.
        server: String,
        /// What the network says.
        finding: String,
    },
    /// It answers, and turns us away: wrong password, no such database, no such user.
    #[error("PostgreSQL at {server}: {finding}; correct store.url, or create the user and the database")]
    Refused {
        /// Which server.
        server: String,
        /// What the server says.
        finding: String,
    },
    /// It is too old.
    #[error(
        "PostgreSQL at {server}: version {found}, but the exchange needs 15 or newer; upgrade the server"
    )]
    TooOld {
        /// Which server.
        server: String,
        /// What it says it is.
        found: String,
    },
    /// The database does not keep text as UTF-8.
    #[error("PostgreSQL at {server}: encoding {found}; create the database with ENCODING 'UTF8'")]
    NotUtf8 {
        /// Which server.
        server: String,
        /// Its encoding.
        found: String,
    },
    /// It takes no writes.
    #[error(
        "PostgreSQL at {server}: a replica, or read-only; name the primary, or name all hosts with target_session_attrs=read-write"
    )]
    ReadOnly {
        /// Which server.
        server: String,
    },
    /// The user may not.
    #[error(
        "PostgreSQL at {server}: {finding}; let the exchange's user own the database, or grant it all on its schema and tables"
    )]
    Permission {
        /// Which server.
        server: String,
        /// What the server says.
        finding: String,
    },
    /// Tables of these names are there, but not made by us.
    #[error(
        "PostgreSQL at {server}: table {table} is there, but the exchange did not make it; use an empty database"
    )]
    Foreign {
        /// Which server.
        server: String,
        /// One of them.
        table: String,
    },
    /// Written by a later version of this program.
    #[error(
        "PostgreSQL at {server}: schema version {found}, but this binary knows only up to {known}; run the newer binary"
    )]
    SchemaTooNew {
        /// Which server.
        server: String,
        /// Its schema version.
        found: i64,
        /// The newest this binary knows.
        known: i64,
    },
    /// A tool found an older schema.
    #[error("PostgreSQL at {server}: schema version {found}, this binary needs {known}; run `dce migrate`")]
    SchemaTooOld {
        /// Which server.
        server: String,
        /// Its schema version.
        found: i64,
        /// The one this binary reads.
        known: i64,
    },
    /// The schema's steps are not the ones this binary knows.
    #[error(
        "PostgreSQL at {server}: schema step {version} {finding}; restore the database from a backup, or use an empty one"
    )]
    SchemaDiffers {
        /// Which server.
        server: String,
        /// Which step.
        version: i64,
        /// What is wrong with it.
        finding: String,
    },
    /// Another exchange writes there.
    #[error("PostgreSQL at {server}: {holder} writes to this database; stop it, or use another database")]
    Taken {
        /// Which server.
        server: String,
        /// Who, and since when.
        holder: String,
    },
    /// Another exchange took over while we were away.
    #[error(
        "PostgreSQL at {server}: {holder} took over; this exchange writes no more: stop it, and keep only one"
    )]
    Replaced {
        /// Which server.
        server: String,
        /// Who, and since when.
        holder: String,
    },
    /// What was acknowledged is not there any more.
    #[error(
        "PostgreSQL at {server}: batch {acknowledged} was acknowledged, but the server knows only {found}: it lost writes (an asynchronous \
         replica was promoted?); restart the exchange to go on from what the server has"
    )]
    WentBack {
        /// Which server.
        server: String,
        /// The last batch it had said was durable.
        acknowledged: i64,
        /// The last batch it has.
        found: i64,
    },
    /// No room.
    #[error("PostgreSQL at {server}: {finding}; free space on the server")]
    NoRoom {
        /// Which server.
        server: String,
        /// What the server says.
        finding: String,
    },
    /// It took too long.
    #[error("PostgreSQL at {server}: no answer within {waited_s} s; look at the server's load and locks")]
    Late {
        /// Which server.
        server: String,
        /// How long it waited.
        waited_s: u64,
    },
    /// The connection broke.
    #[error("PostgreSQL at {server}: connection lost ({finding}); it is tried again")]
    Lost {
        /// Which server.
        server: String,
        /// What is known.
        finding: String,
    },
    /// Any other answer.
    #[error("PostgreSQL at {server}: {finding} (SQLSTATE {code}); see the server's log")]
    Other {
        /// Which server.
        server: String,
        /// What the server says.
        finding: String,
        /// Its code.
        code: String,
    },
}

impl PostgresqlError {
    /// What the driver says, sorted by what can be done about it.
    pub(super) fn of(server: &str, error: &tokio_postgres::Error) -> Self {
        let server = server.to_owned();
        let Some(answer) = error.as_db_error() else {
            let finding = chain(error);
            let config = ["invalid connection string", "invalid configuration"];
            return if config.iter().any(|beginning| finding.starts_with(beginning)) {
                Self::BadUrl { finding }
            } else if finding.starts_with("error connecting") {
                Self::Unreachable { server, finding }
            } else if finding.starts_with("error performing TLS handshake") {
                Self::NotSecure { server, finding }
            } else if ["authentication", "password"].iter().any(|word| finding.contains(word)) {
                Self::Refused { server, finding }
            } else {
                Self::Lost { server, finding }
            };
        };
        let finding = one_line(answer);
        let code = answer.code();
        match code.code() {
            "3D000" | "53300" => Self::Refused { server, finding },
            "42501" => Self::Permission { server, finding },
            "25006" => Self::ReadOnly { server },
            "53100" => Self::NoRoom { server, finding },
            // The server is starting, stopping or was told to end us.
            "57P01" | "57P02" | "57P03" => Self::Lost { server, finding },
            code if code.starts_with("28") => Self::Refused { server, finding },
            code => Self::Other { server, finding, code: code.to_owned() },
        }
    }
}

/// Whether the unit that was written is at fault: its data (22), a rule of the schema (23), a value too large for an index (54).
pub(super) fn is_units_fault(code: &SqlState) -> bool {
    ["22", "23", "54"].iter().any(|class| code.code().starts_with(class))
}

/// The message alone: details would show the row.
pub(super) fn one_line(answer: &DbError) -> String {
    answer.message().lines().collect::<Vec<_>>().join(", ")
}

/// The driver's message with its causes.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text.lines().collect::<Vec<_>>().join(", ")
}
