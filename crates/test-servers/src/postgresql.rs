//! A PostgreSQL server of our own: its files in a temporary folder, reached over a socket there, gone when the test program is.

use crate::keeper::{Keeper, Program};
use crate::{Certificate, free_port};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What is missing when no server can be started.
const MISSING: &str = "these tests need PostgreSQL 15 or newer: `cargo xtask test` installs it, or `apt-get install postgresql`";

const PROGRAM: Program = Program {
    name: "postgresql",
    // It refuses to be root.
    user: Some("postgres"),
    make: r#"if [ -n "$backup" ]; then
            cp -R "$backup/base" "$folder/data" && chmod 700 "$folder/data" && touch "$folder/data/recovery.signal" &&
            printf "restore_command = 'cp %s/log/%%f %%p'\nrecovery_target_name = '%s'\n" "$backup" "$restore_point" \
                >> "$folder/data/postgresql.auto.conf" &&
            echo "recovery_target_action = 'promote'" >> "$folder/data/postgresql.auto.conf"
        elif [ -n "$primary" ]; then
            "$bin/pg_basebackup" -h "$primary" -U dce -D "$folder/data" -R -X stream -c fast --no-sync
        else
            "$bin/initdb" -D "$folder/data" -U dce -A trust -E UTF8 --locale=C --no-sync
        fi && umask 077 && printf '%s' "$certificate" > "$folder/server.crt" && printf '%s' "$key" > "$folder/server.key""#,
    run: r#""$bin/postgres" -D "$folder/data" -k "$folder" -c listen_addresses= $settings \
        ${certificate:+-c ssl=on -c ssl_cert_file="$folder/server.crt" -c ssl_key_file="$folder/server.key"}"#,
    ready: r#""$bin/pg_isready" -q -h "$folder" -U dce"#,
    more: r#"case $command in
        promote) "$bin/pg_ctl" -D "$folder/data" promote -w ;;
        backup)
            mkdir -p "$folder/backup/log"
            printf "archive_mode = on\narchive_command = 'cp %%p %s/backup/log/%%f'\n" "$folder" >> "$folder/data/postgresql.auto.conf"
            kill -INT $pid; wait $pid; start
            "$bin/pg_basebackup" -h "$folder" -U dce -D "$folder/backup/base" -X fetch -c fast --no-sync ;;
        esac"#,
    end: "QUIT",
    variables: &[],
};

/// A running server.
pub struct Server {
    programs: PathBuf,
    port: u16,
    keeper: Keeper,
}

/// What is different from an ordinary server.
#[derive(Default)]
struct Kind<'a> {
    settings: &'a str,
    /// The folder of the one it follows.
    primary: String,
    /// What it is restored from, and up to where.
    backup: String,
    restore_point: &'a str,
    /// It listens on loopback as well.
    port: Option<u16>,
    certificate: Option<&'a Certificate>,
}

/// The port in the name of its socket where it has no other.
const USUAL_PORT: u16 = 5432;

impl Server {
    /// Starts one, with these settings beside its defaults (`-c name=value`).
    pub fn start(settings: &str) -> Self {
        Self::keep(&Kind { settings, ..Kind::default() })
    }

    /// Starts a streaming replica of this one.
    #[must_use]
    pub fn replica(&self, settings: &str) -> Self {
        Self::keep(&Kind { settings, primary: self.folder().display().to_string(), ..Kind::default() })
    }

    /// Starts one that listens on a port of loopback as well.
    pub fn start_on_loopback() -> Self {
        Self::keep(&Kind { port: Some(free_port()), ..Kind::default() })
    }

    /// Starts one that speaks TLS on a port of loopback.
    pub fn start_with_tls(certificate: &Certificate) -> Self {
        Self::keep(&Kind { port: Some(free_port()), certificate: Some(certificate), ..Kind::default() })
    }

    /// Starts one from what [`Server::back_up`] made, with this restore point as the last of what it has.
    pub fn restored(backup: &Path, restore_point: &str) -> Self {
        let backup = backup.display().to_string();
        let restored =
            Self::keep(&Kind { settings: "-c fsync=off", backup, restore_point, ..Kind::default() });
        // It answers before it has come so far.
        for _ in 0..1_500 {
            if restored.sql("postgres", "SELECT pg_is_in_recovery()") == Ok("f".to_owned()) {
                return restored;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server does not come to the restore point {restore_point}");
    }

    fn keep(kind: &Kind) -> Self {
        let programs = programs().expect(MISSING);
        let port = kind.port.unwrap_or(USUAL_PORT);
        let listens = if kind.port.is_some() { " -c listen_addresses=127.0.0.1" } else { "" };
        let pem = |part: fn(&Certificate) -> &String| kind.certificate.map(part).cloned().unwrap_or_default();
        let variables = [
            ("bin", programs.display().to_string()),
            ("settings", format!("{}{listens}", kind.settings)),
            ("primary", kind.primary.clone()),
            ("backup", kind.backup.clone()),
            ("restore_point", kind.restore_point.to_owned()),
            ("certificate", pem(|certificate| &certificate.chain_pem)),
            ("key", pem(|certificate| &certificate.key_pem)),
            // What all of its programs go by.
            ("PGPORT", port.to_string()),
        ];
        let keeper = Keeper::start(&Program { variables: &variables, ..PROGRAM });
        Self { programs, port, keeper }
    }

    /// The port in the name of its socket, and on loopback if it listens there.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill`, `stop`, `start`, `pause`, `resume` or `promote`; returns when it is done.
    pub fn order(&self, order: &str) {
        self.keeper.order(order);
    }

    /// Copies the server's files, after a restart, and from now on keeps its log: what any later restore point is reached from.
    pub fn back_up(&self) -> PathBuf {
        self.order("backup");
        self.folder().join("backup")
    }

    /// Runs one of its programs on a database, such as `pg_dump`.
    pub fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).args(["-p", &self.port.to_string(), "-U", "dce", "-h"]).arg(self.folder());
        let output = command.output().expect("it is installed with the server");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Where it listens.
    pub fn folder(&self) -> &Path {
        self.keeper.folder()
    }

    /// How to reach a database of it.
    pub fn url(&self, database: &str) -> String {
        format!("host={} port={} user=dce dbname={database}", self.folder().display(), self.port)
    }

    /// Runs statements on a database and gives what they print.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-p",
                &self.port.to_string(),
                "-U",
                "dce",
                "-d",
                database,
                "-c",
                sql,
                "-h",
            ])
            .arg(self.folder())
            .output()
            .expect("psql runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

/// The newest installed PostgreSQL's programs: from the PATH, or where Debian keeps them.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file());
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(version, folder)| *version >= 15 && folder.join("initdb").is_file())
        .max()
        .map(|(_, folder)| folder);
    newest.or(on_path)
}
