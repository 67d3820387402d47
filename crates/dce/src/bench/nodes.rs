//! `dce bench nodes`: two nodes as processes of their own, and how long it takes until a bid that was changed on one is seen on the other.

use super::ground::EmptyStore;
use super::percentiles::Percentiles;
use crate::command_line::SettingFlags;
use crate::config::Config;
use crate::failure::Failure;
use crate::key;
use exchange::audit::RoleKind;
use serde::Serialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a node may take to be ready.
const READY_MAX: Duration = Duration::from_mins(1);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long reads are measured, and by how many clients at the same time.
const READS: Duration = Duration::from_secs(3);
const READERS: usize = 8;

const SELLER: &str = "00000000-0000-7000-8000-00000000000a";
const BUYER: &str = "00000000-0000-7000-8000-00000000000b";
const BID: &str = "00000000-0000-7000-8000-00000000000c";
const GROUP: &str = "00000000-0000-7000-8000-00000000000d";
const NUMBER: &str = "+12125550100";

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct NodesFigures {
    changes: usize,
    /// Changed on the node that has the book, seen on the other.
    from_the_book: Change,
    /// Changed on the other, seen on the node that has the book.
    from_another: Change,
    /// Reads of an account that the node without the book remembers.
    remembered_reads_per_s: f64,
    /// The yardstick: reads of a cap group, which is read from the database each time.
    database_reads_per_s: f64,
    /// Pings that were answered with an old price: must be 0.
    pub(super) missed: usize,
}

/// Milliseconds since the change was sent.
#[derive(Debug, Serialize)]
struct Change {
    /// Until it was acknowledged.
    acknowledged_ms: Percentiles,
    /// Until the other node's ping was answered with it.
    seen_ms: Percentiles,
}

/// Changes a bid so many times on each of two nodes.
pub(super) fn run(settings: &SettingFlags, config: &Config, changes: usize) -> Result<NodesFigures, Failure> {
    let empty = EmptyStore::of(config)?;
    let EmptyStore::Postgresql(_) = &empty else {
        let fix =
            "several nodes share a PostgreSQL; set it to postgresql, and store.url to an empty database";
        return Err(Failure::usage(format!("store.kind is sqlite: {fix}")));
    };
    let key = {
        let store = empty.open()?;
        key::mint(&store.writer(), "bench", RoleKind::Admin, None)?.to_string()
    };
    let folder = tempfile::Builder::new()
        .prefix("dce-bench-")
        .tempdir()
        .map_err(|error| failed("a folder", &error))?;
    let node_key = folder.path().join("node.key");
    let digits: String = (0..64).map(|_| fastrand::char('0'..='9')).collect();
    std::fs::write(&node_key, digits).map_err(|error| failed("the nodes' key", &error))?;
    let book = Node::start(settings, &folder, &node_key, "gateway,engine,worker")?;
    let other = Node::start(settings, &folder, &node_key, "gateway")?;
    let (book, other) = (&mut Api::to(&book, &key)?, &mut Api::to(&other, &key)?);
    open_market(book)?;

    let mut missed = 0;
    let from_the_book = change(book, other, 0..changes, &mut missed)?;
    let from_another = change(other, book, changes..2 * changes, &mut missed)?;
    Ok(NodesFigures {
        changes,
        from_the_book,
        from_another,
        remembered_reads_per_s: reads_per_s(other, &format!("/v1/accounts/{BUYER}"))?,
        database_reads_per_s: reads_per_s(other, &format!("/v1/cap-groups/{GROUP}"))?,
        missed,
    })
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::environment(format!("{what}: {error}"))
}

/// A node as a process of its own. Dropping it ends it.
struct Node {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    fn start(
        settings: &SettingFlags,
        folder: &TempDir,
        node_key: &std::path::Path,
        roles: &str,
    ) -> Result<Self, Failure> {
        let name = roles.replace(',', "-");
        let log = folder.path().join(format!("{name}.log"));
        let program = std::env::current_exe().map_err(|error| failed("this program", &error))?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--roles").arg(roles);
        if let Some(file) = &settings.config {
            command.arg("--config").arg(file);
        }
        let own = [
            ("node.key_file", node_key.display().to_string()),
            ("node.listen", "127.0.0.1:0".to_owned()),
            ("http.listen", "127.0.0.1:0".to_owned()),
            ("http.requests_per_minute", "10000000".to_owned()),
            ("http.requests_burst", "10000000".to_owned()),
            ("coordination.key_prefix", format!("dce-bench-{}", std::process::id())),
            ("bus.kafka.brokers", "[]".to_owned()),
            ("log.format", "json".to_owned()),
            ("log.level", "info".to_owned()),
        ];
        let given = settings.set.iter().map(|(key, value)| (key.as_str(), value.clone()));
        for (key, value) in given.chain(own) {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command.arg("--data").arg(folder.path().join(name));
        let file = File::create(&log).map_err(|error| failed("a log", &error))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let child = child.map_err(|error| failed("a node", &error))?;
        let mut node = Self { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), log };
        node.address = node.wait_for_address()?;
        Ok(node)
    }

    fn wait_for_address(&mut self) -> Result<SocketAddr, Failure> {
        let until = Instant::now() + READY_MAX;
        loop {
            let log = std::fs::read_to_string(&self.log).map_err(|error| failed("a log", &error))?;
            let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let is_ready = lines.iter().any(|line| line["message"] == "ready");
            let address = lines.iter().filter_map(|line| line["address"].as_str()?.parse().ok()).next_back();
            if let (true, Some(address)) = (is_ready, address) {
                return Ok(address);
            }
            let ended = self.child.try_wait().map_err(|error| failed("a node", &error))?;
            if ended.is_some() || Instant::now() > until {
                let last = log.lines().last().unwrap_or_default();
                return Err(Failure::environment(format!("a node of the benchmark is not ready: {last}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A connection to a node's API.
struct Api {
    address: SocketAddr,
    key: String,
    connection: BufReader<TcpStream>,
}

impl Api {
    /// To a node, once it is ready.
    fn to(node: &Node, key: &str) -> Result<Self, Failure> {
        let mut api = Self::connect(node.address, key)?;
        let until = Instant::now() + READY_MAX;
        while api.ask("GET", "/health/ready", None)?.0 != 200 {
            if Instant::now() > until {
                return Err(Failure::environment("a node of the benchmark does not become ready"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(api)
    }

    fn connect(address: SocketAddr, key: &str) -> Result<Self, Failure> {
        let connect = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            Ok(stream)
        };
        let stream = connect().map_err(|error| failed("a node's API", &error))?;
        Ok(Self { address, key: key.to_owned(), connection: BufReader::new(stream) })
    }

    /// One request; the answer's status and text.
    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, String), Failure> {
        self.asked(method, path, body).map_err(|error| failed("a node's API", &error))
    }

    fn asked(&mut self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<(u16, String)> {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        self.connection.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length, mut line) = (0, 0, String::new());
        while line.trim_end() != "" || status == 0 {
            line.clear();
            if self.connection.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let lower = line.to_ascii_lowercase();
            if let Some(rest) = lower.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            } else if let Some(rest) = lower.strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap_or(0);
            }
        }
        let mut answer = vec![0; length];
        self.connection.read_exact(&mut answer)?;
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }

    /// A request that must succeed.
    fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let (status, answer) = self.ask(method, path, body)?;
        if !(200..300).contains(&status) {
            return Err(Failure::environment(format!("{method} {path} was answered {status}: {answer}")));
        }
        Ok(serde_json::from_str(&answer).unwrap_or_default())
    }
}

fn open_market(api: &mut Api) -> Result<(), Failure> {
    for (id, kind) in [(SELLER, "seller"), (BUYER, "buyer")] {
        let account = json!({ "id": id, "kind": kind, "name": kind, "status": "active" });
        api.send("POST", "/v1/accounts", Some(&account))?;
    }
    let deposit = json!({ "amount_micros": 1_000_000_000_000_000_i64, "reference": "opening" });
    api.send("POST", &format!("/v1/accounts/{BUYER}/deposits"), Some(&deposit))?;
    let number = json!({
        "seller": SELLER, "vertical": "roofing", "origin": "organic_inbound", "floor_micros": 0,
        "payout_basis_points": 7_000, "active": true,
    });
    api.send("PUT", &format!("/v1/tracking-numbers/{NUMBER}"), Some(&number))?;
    let group = json!({ "buyer": BUYER, "name": "a group", "concurrent_calls": 1_000_000 });
    api.send("PUT", &format!("/v1/cap-groups/{GROUP}"), Some(&group))?;
    Ok(())
}

/// Changes the bid on one node and pings the other, again and again.
fn change(
    here: &mut Api,
    there: &mut Api,
    numbers: std::ops::Range<usize>,
    missed: &mut usize,
) -> Result<Change, Failure> {
    let (mut acknowledged, mut seen) = (Vec::new(), Vec::new());
    let micros = |since: Instant| u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    for number in numbers {
        let price_micros = 10_000_000 + number as u64 * 1_000;
        let bid = json!({
            "buyer": BUYER, "name": "a bid", "status": "active", "vertical": "roofing",
            "price": { "type": "per_call", "amount_micros": price_micros },
            "conversion": { "min_connected_s": 60 },
            "destination": { "sip_uris": ["sip:target@127.0.0.1:5090"] },
        });
        // A caller of its own: the same again is answered as before.
        let caller = format!("+1212{:07}", 2_000_000 + number);
        let ping = json!({ "number": NUMBER, "caller": caller, "expires_in_ms": 1_000 });
        let started = Instant::now();
        here.send("PUT", &format!("/v1/bid-profiles/{BID}"), Some(&bid))?;
        acknowledged.push(micros(started));
        let answer = there.send("POST", "/v1/pings", Some(&ping))?;
        seen.push(micros(started));
        *missed += usize::from(answer["payout_micros"] != json!(price_micros * 7 / 10));
    }
    let acknowledged_ms = Percentiles::of(acknowledged, 1_000.0);
    Ok(Change { acknowledged_ms, seen_ms: Percentiles::of(seen, 1_000.0) })
}

/// Reads one document with several clients at once for a while.
fn reads_per_s(api: &Api, path: &str) -> Result<f64, Failure> {
    let started = Instant::now();
    let read = |mut api: Api| -> Result<u64, Failure> {
        let mut reads = 0;
        while started.elapsed() < READS {
            api.send("GET", path, None)?;
            reads += 1;
        }
        Ok(reads)
    };
    let clients: Vec<Api> =
        (0..READERS).map(|_| Api::connect(api.address, &api.key)).collect::<Result<_, _>>()?;
    let reads = std::thread::scope(|scope| -> Result<u64, Failure> {
        let readers: Vec<_> = clients.into_iter().map(|client| scope.spawn(|| read(client))).collect();
        let mut reads = 0;
        for reader in readers {
            reads += reader.join().expect("a reader does not panic")?;
        }
        Ok(reads)
    })?;
    Ok(reads as f64 / started.elapsed().as_secs_f64())
}
