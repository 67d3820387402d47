//! A PostgreSQL server of our own: its files in a temporary folder, reached over a socket there, gone when the test program is.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// What is missing when no server can be started.
const MISSING: &str = "these tests need PostgreSQL 15 or newer: `cargo xtask test` installs it, or `apt-get install postgresql`";

/// Runs the server, obeys `kill`, `stop`, `start` and `promote`, and takes everything away when nobody speaks to it any more. It is a process
/// of its own so that the server also ends when the test program is killed.
const KEEPER: &str = r#"
folder=$(mktemp -d /tmp/dce-postgresql-XXXXXX) || exit 1
start() {
    for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        "$bin/postgres" -D "$folder/data" -k "$folder" -c listen_addresses= $settings >>"$folder/log" 2>&1 &
        pid=$!
        while kill -0 $pid 2>/dev/null; do
            "$bin/pg_isready" -q -h "$folder" -U dce && return 0
            sleep 0.02
        done
        # Killed just before, the old server's processes may not all be gone.
        sleep 0.2
    done
    cat "$folder/log" >&2
    return 1
}
if [ -n "$primary" ]; then
    "$bin/pg_basebackup" -h "$primary" -U dce -D "$folder/data" -R -X stream -c fast --no-sync >"$folder/log" 2>&1
else
    "$bin/initdb" -D "$folder/data" -U dce -A trust -E UTF8 --locale=C --no-sync >"$folder/log" 2>&1
fi &&
start && echo "ready $folder" || { cat "$folder/log" >&2; rm -rf "$folder"; exit 1; }
while read -r command; do
    case $command in
    kill) kill -9 $pid $(ps -o pid= --ppid $pid); wait $pid 2>/dev/null ;;
    stop) kill -INT $pid; wait $pid ;;
    start) start ;;
    promote) "$bin/pg_ctl" -D "$folder/data" promote -w >>"$folder/log" ;;
    esac
    echo "done"
done
kill -QUIT $pid 2>/dev/null
wait $pid 2>/dev/null
rm -rf "$folder"
"#;

/// A running server.
pub(crate) struct Server {
    folder: PathBuf,
    programs: PathBuf,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    _process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// Starts one, with these settings beside its defaults (`-c name=value`).
    pub(crate) fn start(settings: &str) -> Self {
        Self::keep(settings, "")
    }

    /// Starts a streaming replica of this one.
    pub(crate) fn replica(&self, settings: &str) -> Self {
        Self::keep(settings, &self.folder.display().to_string())
    }

    fn keep(settings: &str, primary: &str) -> Self {
        let programs = programs().expect(MISSING);
        let mut command = keeper_command();
        command.args(["-c", KEEPER]).env("bin", &programs).env("settings", settings).env("primary", primary);
        command.current_dir("/");
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell to start it from");
        let orders = process.stdin.take().expect("piped");
        let mut answers = BufReader::new(process.stdout.take().expect("piped"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("readable");
        let folder =
            line.trim_end().strip_prefix("ready ").expect("PostgreSQL does not start; see above").into();
        Self { folder, programs, keeper: Mutex::new(Keeper { _process: process, orders, answers }) }
    }

    /// `kill`, `stop`, `start` or `promote`; returns when it is done.
    pub(crate) fn order(&self, order: &str) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(keeper.orders, "{order}").expect("the keeper listens");
        let mut line = String::new();
        keeper.answers.read_line(&mut line).expect("readable");
        assert_eq!(line, "done\n", "the keeper obeys");
    }

    /// Where it listens.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How to reach a database of it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("host={} user=dce dbname={database}", self.folder.display())
    }

    /// Runs statements on a database and gives what they print.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "dce",
                "-d",
                database,
                "-c",
                sql,
                "-h",
            ])
            .arg(&self.folder)
            .output()
            .expect("psql runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

/// A shell as a user that PostgreSQL agrees to run as: it refuses to be root.
fn keeper_command() -> Command {
    let is_root =
        Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !is_root {
        return Command::new("sh");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
    command
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
