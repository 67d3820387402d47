//! An Apache Kafka of a test's own: one node, private ports, a directory that goes with it.

use crate::keeper::{Keeper, Program};
use infra::bus::kafka::KafkaConfig;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

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

pub(crate) struct KafkaServer {
    port: u16,
    keeper: Keeper,
}

impl KafkaServer {
    pub(crate) fn start() -> Self {
        let (port, controller) = (free_port(), free_port());
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\noffsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0"
        );
        let jars = jars().display().to_string();
        let variables = [("properties", properties), ("port", port.to_string()), ("jars", jars)];
        Self { port, keeper: Keeper::start(&Program { variables: &variables, ..PROGRAM }) }
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
    pub(crate) fn kill(&self) {
        self.keeper.order("kill");
    }

    /// The same server with the same data, started again.
    pub(crate) fn start_again(&self) {
        self.keeper.order("start");
    }
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
