//! Keeps a real server for tests: starts it in a temporary folder, obeys orders, and takes everything away when nobody speaks to it
//! any more. It is a process of its own so that the server also ends when the test program is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// What the keeper does. The program's own parts come in the environment: `make`, `run`, `ready`, `more`, and the signal to `end` it by.
const SCRIPT: &str = r#"
folder=$(mktemp -d "/tmp/dce-$name-XXXXXX") || exit 1
start() {
    for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        eval "exec $run" >>"$folder/log" 2>&1 &
        pid=$!
        waits=0
        while kill -0 $pid 2>/dev/null && [ $((waits += 1)) -lt 2000 ]; do
            eval "$ready" >/dev/null 2>&1 && return 0
            sleep 0.05
        done
        # Killed just before, the old server's processes may not all be gone.
        sleep 0.2
    done
    cat "$folder/log" >&2
    return 1
}
eval "$make" >"$folder/log" 2>&1 &&
start && echo "ready $folder" || { cat "$folder/log" >&2; rm -rf "$folder"; exit 1; }
while read -r command; do
    case $command in
    kill) kill -9 $pid $(ps -o pid= --ppid $pid); wait $pid 2>/dev/null ;;
    stop) kill -INT $pid; wait $pid ;;
    pause) kill -STOP $pid $(ps -o pid= --ppid $pid) ;;
    resume) kill -CONT $pid $(ps -o pid= --ppid $pid) ;;
    start) start ;;
    *) eval "$more" >>"$folder/log" 2>&1 ;;
    esac
    echo "done"
done
kill -CONT $pid $(ps -o pid= --ppid $pid) 2>/dev/null
kill -$end $pid 2>/dev/null
wait $pid 2>/dev/null
rm -rf "$folder"
"#;

/// A server to be kept. Its parts are pieces of shell, which know `$folder`.
pub(crate) struct Program<'a> {
    /// What its folder is called.
    pub(crate) name: &'a str,
    /// Who it agrees to run as, where that is not root.
    pub(crate) user: Option<&'a str>,
    /// Makes what it needs, once.
    pub(crate) make: &'a str,
    /// The server itself, in the foreground.
    pub(crate) run: &'a str,
    /// Succeeds when it serves.
    pub(crate) ready: &'a str,
    /// What any other order means.
    pub(crate) more: &'a str,
    /// The signal that ends it without ado.
    pub(crate) end: &'a str,
    /// What the pieces need to know.
    pub(crate) variables: &'a [(&'a str, String)],
}

/// A running server.
pub(crate) struct Keeper {
    folder: PathBuf,
    lines: Mutex<Lines>,
}

struct Lines {
    _process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// Starts it, and waits until it serves.
    pub(crate) fn start(program: &Program) -> Self {
        let mut command = shell_of(program.user);
        command.args(["-c", SCRIPT]).current_dir("/");
        let Program { name, make, run, ready, more, end, .. } = *program;
        let parts =
            [("name", name), ("make", make), ("run", run), ("ready", ready), ("more", more), ("end", end)];
        command.envs(parts);
        command.envs(program.variables.iter().map(|(name, value)| (name, value)));
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell to start it from");
        let orders = process.stdin.take().expect("piped");
        let mut answers = BufReader::new(process.stdout.take().expect("piped"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("readable");
        let folder = line.trim_end().strip_prefix("ready ");
        let folder = folder.unwrap_or_else(|| panic!("{name} does not start; see above")).into();
        Self { folder, lines: Mutex::new(Lines { _process: process, orders, answers }) }
    }

    /// `kill`, `stop`, `start`, `pause`, `resume`, or what its `more` obeys; returns when it is done.
    pub(crate) fn order(&self, order: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(lines.orders, "{order}").expect("the keeper listens");
        let mut line = String::new();
        lines.answers.read_line(&mut line).expect("readable");
        assert_eq!(line, "done\n", "the keeper obeys");
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn shell_of(user: Option<&str>) -> Command {
    let is_root =
        Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    match user.filter(|_| is_root) {
        None => Command::new("sh"),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "sh"]);
            command
        }
    }
}
