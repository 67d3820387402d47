//! An Apache Kafka of a test's own: one node, private ports, a directory that goes with it.

use super::fixtures::Directory;
use infra::bus::kafka::KafkaConfig;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to start on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Keeps the server only as long as somebody holds its standard input: when the test's process dies, so does the server.
const KEEPER: &str = r#""$@" > "$LOG" 2>&1 & echo $!; cat > /dev/null; kill -9 $! 2> /dev/null; wait"#;

pub(crate) struct KafkaServer {
    directory: Directory,
    port: u16,
    keeper: Child,
    pid: String,
}

impl KafkaServer {
    pub(crate) fn start() -> Self {
        let directory = Directory::new();
        let (port, controller) = (free_port(), free_port());
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n",
            directory.path().join("data").display()
        );
        std::fs::write(directory.path().join("server.properties"), properties).expect("writable");
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "--cluster-id", "4L6g3nShT-eMCtK--X86sw", "--config"]);
        let formatted = format.arg(directory.path().join("server.properties")).output().expect("java runs");
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        let (keeper, pid) = launch(directory.path());
        let server = Self { directory, port, keeper, pid };
        server.wait_until_up();
        server
    }

    /// Topics of this prefix on this server.
    pub(crate) fn config(&self, topic_prefix: &str) -> KafkaConfig {
        let brokers = vec![format!("127.0.0.1:{}", self.port)];
        KafkaConfig {
            brokers,
            topic_prefix: topic_prefix.to_owned(),
            partitions: 3,
            ..KafkaConfig::default()
        }
    }

    /// SIGKILL, without a word.
    pub(crate) fn kill(&mut self) {
        let killed = Command::new("kill").args(["-9", &self.pid]).status().expect("kill runs");
        assert!(killed.success());
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same server with the same data, started again.
    pub(crate) fn start_again(&mut self) {
        self.let_go();
        (self.keeper, self.pid) = launch(self.directory.path());
        self.wait_until_up();
    }

    fn wait_until_up(&self) {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < START_TIMEOUT, "Kafka does not start: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn let_go(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().expect("a child");
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        self.let_go();
    }
}

fn launch(directory: &Path) -> (Child, String) {
    let java = java("kafka.Kafka");
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "sh"]).arg(java.get_program()).args(java.get_args());
    keeper.arg(directory.join("server.properties")).env("LOG", directory.join("log"));
    let mut keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
    let mut pid = String::new();
    BufReader::new(keeper.stdout.take().expect("piped")).read_line(&mut pid).expect("readable");
    (keeper, pid.trim().to_owned())
}

fn java(class: &str) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    java.arg(format!("{}/*", jars().display())).arg(class);
    java
}

/// Where `cargo xtask test` puts Kafka's published artifacts.
fn jars() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("within the target directory");
    let jars = target.join("test-servers/kafka");
    assert!(jars.is_dir(), "{}: no Kafka there; run `cargo xtask test`, which brings it", jars.display());
    jars
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
