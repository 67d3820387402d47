//! An Apache Kafka of our own: one node, private ports, a directory that goes with it.

use crate::free_port;
use crate::keeper::{Keeper, Program};
use std::path::PathBuf;

const PROGRAM: Program = Program {
    name: "kafka",
    user: None,
    make: r#"printf '%s\nlog.dirs=%s\n' "$properties" "$folder/data" > "$folder/server.properties" &&
        java -cp "$jars/*" kafka.tools.StorageTool format --cluster-id 4L6g3nShT-eMCtK--X86sw \
            --config "$folder/server.properties""#,
    run: r#"java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.Kafka "$folder/server.properties""#,
    ready: r#"bash -c "exec 3<>/dev/tcp/127.0.0.1/$port""#,
    more: "false",
    end: "KILL",
    variables: &[],
};

/// A running server.
pub struct KafkaServer {
    port: u16,
    keeper: Keeper,
}

impl KafkaServer {
    /// Starts one.
    pub fn start() -> Self {
        let port = free_port();
        Self::keep(port, port)
    }

    /// Starts one that tells its clients to come to another port of loopback, which leads to it.
    pub fn start_behind(advertised_port: u16) -> Self {
        Self::keep(free_port(), advertised_port)
    }

    fn keep(port: u16, advertised_port: u16) -> Self {
        let controller = free_port();
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{advertised_port}\ncontroller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\noffsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0"
        );
        let jars = jars().display().to_string();
        let variables = [("properties", properties), ("port", port.to_string()), ("jars", jars)];
        Self { port, keeper: Keeper::start(&Program { variables: &variables, ..PROGRAM }) }
    }

    /// Where it listens, as `host:port`.
    pub fn broker(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill`, `start`, `pause` or `resume`; returns when it is done.
    pub fn order(&self, order: &str) {
        self.keeper.order(order);
    }
}

/// Where `cargo xtask test` puts Kafka's published artifacts.
fn jars() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a file");
    let jars = program.ancestors().map(|folder| folder.join("test-servers/kafka")).find(|jars| jars.is_dir());
    jars.expect("no Kafka beside the built programs; run `cargo xtask test`, which brings it")
}
