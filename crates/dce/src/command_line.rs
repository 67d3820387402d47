//! The command line: what can be asked of `dce`.

use crate::demo::DemoArguments;
use crate::replay::ReplayArguments;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use infra::audit::PublicKey;
use std::path::PathBuf;

/// A pay-per-call exchange: calls come in over SIP, buyers bid for them, the winner's phone rings, and every cent is
/// accounted for.
#[derive(Debug, Parser)]
#[command(name = "dce", version, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Start here:
  dce demo                                             see it all work, on this machine
  dce config example > dce.toml                        a documented configuration
  dce key create --name me --role admin                an API key for the first request
  dce serve --config dce.toml                          the exchange itself

Settings: flags win over the environment (DCE_SECTION__KEY), which wins over the file, which wins over the defaults.

Exit codes:
  0    done
  1    the command ran and found something wrong (such as violations in the books)
  2    wrong command line or configuration
  3    wrong surroundings: port in use, data directory locked, database damaged or away
  130  a second signal cut `serve`'s shutdown short";

/// Flags of the commands that read the configuration. They win over the environment (`DCE_SECTION__KEY`), which wins over the file.
#[derive(Debug, Args)]
pub(crate) struct SettingFlags {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE", env = "DCE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory (data.directory)
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub(crate) data: Option<String>,
    /// Any setting, such as --set http.listen=127.0.0.1:8080; may be repeated
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write SECTION.KEY=VALUE, such as log.level=debug")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl SettingFlags {
    /// As `(flag, key, value)`; the generic `--set` first, so that a flag of its own wins.
    pub(crate) fn flags(&self) -> Vec<(String, String, String)> {
        let set = self.set.iter().map(|(key, value)| (format!("--set {key}"), key.clone(), value.clone()));
        let data =
            self.data.iter().map(|value| ("--data".to_owned(), "data.directory".to_owned(), value.clone()));
        set.chain(data).collect()
    }
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the exchange until SIGINT or SIGTERM
    ///
    /// Takes SIP calls and API requests. The first signal stops new calls and lets live ones finish for
    /// `shutdown.drain_timeout_s`; a second signal ends at once. Either way nothing that was acknowledged is lost.
    #[command(after_help = "Examples:\n  dce serve --config dce.toml --set log.format=json\n  \
                            dce serve --config dce.toml --roles gateway,telephony")]
    Serve {
        /// The configuration
        #[command(flatten)]
        settings: SettingFlags,
        /// What this node does (node.roles): gateway, telephony, engine, worker
        #[arg(long, value_name = "ROLE,ROLE")]
        roles: Option<String>,
    },
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// API keys, while no server runs
    ///
    /// The first admin key is made here; later ones are better made over the API (POST /v1/api-keys), which works while
    /// the exchange runs.
    Key {
        /// Where the keys are
        #[command(flatten)]
        settings: SettingFlags,
        /// What to do
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Bring the store's schema up to date, while no server runs
    ///
    /// `dce serve` does it by itself at its start; here it is done beforehand, by whom you let.
    #[command(after_help = "Example:\n  dce migrate --config dce.toml")]
    Migrate(SettingFlags),
    /// Copy the data directory, also while a server runs on it
    ///
    /// The copy is one state of the books that was durable, with the secret keys beside them, and is itself a data directory: audit it with
    /// `dce verify`. Of books on `PostgreSQL` its own tools make copies.
    #[command(after_help = "Example:\n  dce backup --config dce.toml --to /backups/2026-11-23")]
    Backup {
        /// Where the books are
        #[command(flatten)]
        settings: SettingFlags,
        /// A directory for the copy; created when missing, refused when there are books in it
        #[arg(long, value_name = "DIRECTORY")]
        to: PathBuf,
    },
    /// Audit the books, on SQLite while no server runs
    ///
    /// Replays every transfer and compares it with balances, calls and the journal. Exits with 1 when anything is off,
    /// with one line for each violation.
    #[command(after_help = "Example:\n  dce verify --data /var/lib/dce --format json")]
    Verify {
        /// Where the books are
        #[command(flatten)]
        settings: SettingFlags,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// The audit log: who changed what, and whether anybody changed the log; on SQLite while no server runs
    #[command(subcommand_required = true)]
    Audit {
        /// Where the books are
        #[command(flatten)]
        settings: SettingFlags,
        /// What to do
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Events that consumers refused, and giving them again
    #[command(subcommand_required = true)]
    Events {
        /// Where the books are, and Kafka
        #[command(flatten)]
        settings: SettingFlags,
        /// What to do
        #[command(subcommand)]
        command: EventsCommand,
    },
    /// Replay past calls under other rules and print the difference, while no server runs
    ///
    /// Reads the journal from the start and steps it through two books: one under the rules as they were, which must give
    /// what was booked, and one under the rules asked for, which win over every scope's. Prints for both sides how many
    /// calls rang, were answered and converted, what was charged, paid and kept, and who gains and loses most.
    ///
    /// What cannot be known is held constant. A target that was rung for a call fares as it did then. One that was not is
    /// taken to do what the one that was connected did, as quickly and for as long; if none was connected, it fails as the
    /// last one did. A call for which nobody was rung then counts as not answered. Callers call as they did. The
    /// configuration's policy must be the one that the exchange ran with.
    #[command(
        after_help = "Examples:\n  dce replay --data /var/lib/dce --auction second-price --floor 25\n  \
                      dce replay --from 2026-07-01T00:00:00Z --to 2026-08-01T00:00:00Z --vertical medicare \
                      --algorithm predictive --format json"
    )]
    Replay {
        /// Where the books are, and the policy
        #[command(flatten)]
        settings: SettingFlags,
        /// What to change
        #[command(flatten)]
        arguments: ReplayArguments,
    },
    /// See it all work: an exchange on this machine, a marketplace, and calls over real sockets
    ///
    /// Starts the exchange on free loopback ports with 220 buyers, 2,200 bid profiles and 500 tracking numbers, plays
    /// consumers and call centres (answering, busy, ringing out, hanging up early), shows what the calls came to with one
    /// receipt in full, and audits the books against what both sides saw. Exits with 1 when anything is off.
    /// It brings its own configuration.
    #[command(after_help = "Examples:\n  dce demo\n  dce demo --calls 500 --cps 100 --format json")]
    Demo(DemoArguments),
    /// Play seeded worlds in virtual time: bad networks, crashes, vanishing peers
    ///
    /// The engine and the signalling are the real ones; the network loses, doubles and reorders packets, and the process
    /// crashes after any write. Every world must keep the promises about money, caps and calls. A seed that does not is
    /// printed with the command that replays it, and fails the command.
    #[command(after_help = "Examples:\n  dce simulate --seeds 10000\n  \
                            dce simulate --digest --first-seed 7 --calls 200 --data empty-directory --format json")]
    Simulate {
        /// With --digest: the stack to play on
        #[command(flatten)]
        settings: SettingFlags,
        /// Play the first seed's world alone, on the store (which must be empty), the coordination and the bus of the configuration, and
        /// print hashes of what it came to: the same on any stack
        #[arg(long)]
        digest: bool,
        /// How many worlds
        #[arg(long, default_value_t = 1_000, value_parser = value_parser!(u64).range(1..=100_000_000))]
        seeds: u64,
        /// The first one's seed
        #[arg(long, default_value_t = 1)]
        first_seed: u64,
        /// Calls in each world
        #[arg(long, default_value_t = 20, value_parser = value_parser!(u32).range(1..=5_000))]
        calls: u32,
        /// First show every packet of the first seed's world
        #[arg(long)]
        trace: bool,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Measure what the project claims
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print a shell's completion script
    #[command(after_help = "Example:\n  dce completions bash > /etc/bash_completion.d/dce")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// `dce config ...`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say "ok", or every problem, one a line
    #[command(after_help = "Example:\n  dce config check --config dce.toml")]
    Check(SettingFlags),
    /// Print the configuration in force, with who set what
    #[command(after_help = "Example:\n  DCE_LOG__LEVEL=debug dce config show --config dce.toml")]
    Show(SettingFlags),
    /// Print a documented configuration file
    #[command(after_help = "Example:\n  dce config example > dce.toml")]
    Example,
}

/// `dce key ...`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it; it is shown this once
    #[command(
        after_help = "Example:\n  dce key create --name 'first admin' --role admin --data /var/lib/dce"
    )]
    Create {
        /// For people: who or what uses it
        #[arg(long)]
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: RoleName,
        /// The buyer's or seller's account, for those roles
        #[arg(long, value_name = "ACCOUNT_ID")]
        account: Option<String>,
    },
    /// List keys, without their secrets
    #[command(after_help = "Example:\n  dce key list --data /var/lib/dce")]
    List {
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Revoke a key, for good
    #[command(after_help = "Example:\n  dce key revoke 0190b6a2-5a7e-7cc0-8f2e-8d1f5b0f4f11")]
    Revoke {
        /// The key's id, as `dce key list` shows it
        id: String,
    },
}

/// `dce audit ...`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Find any entry that was changed, removed, inserted or moved, and any anchor that does not hold
    ///
    /// Reads the whole log, or an export of it, and compares every hash with what it is of, and every anchor with its entry, its
    /// signature and the ledger. Exits with 1 when anything is off, with one line for each finding. Whoever can write to the
    /// database and has the signing key can write log and anchors anew: only anchors kept elsewhere show that.
    #[command(
        after_help = "Examples:\n  dce audit verify --data /var/lib/dce --anchors /mnt/elsewhere/anchors.jsonl\n  \
                      dce audit verify --export audit.jsonl --anchors anchors.jsonl --public-key d75a9801...511a --format json"
    )]
    Verify {
        /// Anchors kept elsewhere, one a line: what `dce audit anchors --format json` wrote, or `audit.anchored` events
        #[arg(long, value_name = "FILE")]
        anchors: Option<PathBuf>,
        /// The public key that anchors must be signed with; may be repeated. Without it, that of the exchange's own key
        #[arg(long, value_name = "KEY")]
        public_key: Vec<PublicKey>,
        /// Check this export instead of the database
        #[arg(long, value_name = "FILE")]
        export: Option<PathBuf>,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print entries: one JSON object a line, or comma-separated values
    #[command(after_help = "Examples:\n  dce audit export --data /var/lib/dce > audit.jsonl\n  \
                      dce audit export --from 1000 --to 1999 --format csv > audit.csv")]
    Export {
        /// The first entry's number
        #[arg(long, default_value_t = 1, value_parser = value_parser!(i64).range(1..))]
        from: i64,
        /// The last entry's number; absent is the last there is
        #[arg(long, value_parser = value_parser!(i64).range(1..))]
        to: Option<i64>,
        /// JSON Lines can be checked with `dce audit verify --export`
        #[arg(long, value_enum, default_value_t = ExportFormat::Json)]
        format: ExportFormat,
    },
    /// Print the anchors, to be kept elsewhere: as JSON, one a line
    #[command(after_help = "Example:\n  dce audit anchors --format json > /mnt/elsewhere/anchors.jsonl")]
    Anchors {
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print the public key that anchors are checked with; makes the key if there is none
    #[command(after_help = "Example:\n  dce audit public-key --data /var/lib/dce")]
    PublicKey,
}

/// `dce events ...`
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// List events that a consumer refused for good; on SQLite while no server runs
    ///
    /// While one runs, ask its API: GET /v1/dead-letters. With --kafka, the messages that could not be read, in the topic
    /// PREFIX.dead-letters; that works at any time.
    #[command(after_help = "Examples:\n  dce events dead-letters --config dce.toml --format json\n  \
                      dce events dead-letters --config dce.toml --kafka")]
    DeadLetters {
        /// Those of this consumer, such as 'webhook crm'
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        /// Messages in Kafka that could not be read, instead of events in the books
        #[arg(long)]
        kafka: bool,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Have them given again to where they came from, while no server runs
    ///
    /// While one runs, ask its API: POST /v1/dead-letters/replay. An event goes to the consumer that refused it, once the exchange
    /// runs; refused again, it waits again. With --kafka, messages go back to their topic at once, also while a server runs. Safe to
    /// run twice: what was given again is not given once more.
    #[command(
        after_help = "Examples:\n  dce events replay --config dce.toml --all --group 'webhook crm'\n  \
                      dce events replay --config dce.toml --id 5c0b3d1e-0f0a-8d57-8000-00000000002a\n  \
                      dce events replay --config dce.toml --kafka --id dce.dead-letters/0/17"
    )]
    #[command(group = clap::ArgGroup::new("which").required(true).args(["id", "all"]))]
    Replay {
        /// This one, as `dce events dead-letters` shows it
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// All that wait
        #[arg(long)]
        all: bool,
        /// Of those, the ones of this consumer
        #[arg(long, value_name = "GROUP")]
        group: Option<String>,
        /// Messages in Kafka that could not be read, instead of events in the books
        #[arg(long)]
        kafka: bool,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

/// `dce bench ...`
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Finding the best bids, and whole decisions, while bids are changed all the time
    ///
    /// Beside it, in the same run, a naive scan of the same bids: `differences` counts the answers that are not the scan's, and
    /// fails the command. `update_us` is the most that a search waits for a change that is being made.
    #[command(
        after_help = "Example:\n  dce bench auction --bids 100000 --updates-per-s 100000 --format json"
    )]
    Auction {
        /// Standing bids
        #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u32).range(1..=5_000_000))]
        bids: u32,
        /// Bids changed each second, all the time
        #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u32).range(0..=1_000_000))]
        updates_per_s: u32,
        /// Searches, and as many decisions
        #[arg(long, default_value_t = 50_000, value_parser = value_parser!(u32).range(1..=7_000_000))]
        calls: u32,
        /// What bids and calls are drawn from
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// A whole decision (screen, auction, hold, receipt) beside a naive scan of the same bids
    ///
    /// The scan is yardstick and oracle: `differences` counts the calls whose route plan was not the scan's, and fails the
    /// command.
    #[command(after_help = "Example:\n  dce bench decision --bids 10000 --format json")]
    Decision {
        /// Standing bids
        #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=5_000_000))]
        bids: u32,
        /// Calls decided
        #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u32).range(1..=7_000_000))]
        calls: u32,
        /// What bids and calls are drawn from
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Durable settlements on SQLite or `PostgreSQL`
    ///
    /// Settles connected calls through the real engine and store, each on disk before it counts. Beside it, in the same run:
    /// on SQLite how many syncs a second this disk can do at all; on `PostgreSQL` what a plain double-entry schema in the same
    /// database does, with one transaction for each transfer. The store is the configuration's: a database of `PostgreSQL` must be
    /// empty, and SQLite has a directory of its own.
    #[command(after_help = "Examples:\n  dce bench settle --format json\n  \
                      dce bench settle --config dce.toml --set store.url=postgresql://dce@localhost/empty --buyers 1")]
    Settle {
        /// The configuration
        #[command(flatten)]
        settings: SettingFlags,
        /// Calls settled
        #[arg(long, default_value_t = 50_000, value_parser = value_parser!(u32).range(1..=7_000_000))]
        calls: u32,
        /// Settlements waiting for the disk at the same time
        #[arg(long, default_value_t = 512, value_parser = value_parser!(u32).range(1..=8_000))]
        in_flight: u32,
        /// Buyers whose calls they are; one is a hot spot
        #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(1..=10_000))]
        buyers: u32,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// A restart with so many bids in the store, to a book that decides
    ///
    /// Fills the configuration's store (an empty database of `PostgreSQL`, or SQLite in a directory of its own), closes it, and measures
    /// opening, loading and restoring. Beside it, in the same run: reading SQLite's file, or the documents of all bids, once.
    #[command(after_help = "Examples:\n  dce bench restart --bids 1000000 --format json\n  \
                      dce bench restart --config dce.toml --set store.url=postgresql://dce@localhost/empty")]
    Restart {
        /// The configuration
        #[command(flatten)]
        settings: SettingFlags,
        /// Standing bids
        #[arg(long, default_value_t = 100_000, value_parser = value_parser!(u32).range(1..=5_000_000))]
        bids: u32,
        /// What bids are drawn from
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Events from the outbox to Kafka, and their lag
    ///
    /// Writes events to the configuration's store (an empty database of `PostgreSQL`, or SQLite in a directory of its own), relays them
    /// to topics of its own on the configuration's brokers, and reads them as a consumer group: events a second, and the time from
    /// durable to read. Beside it, in the same run: how many events the store alone makes durable.
    #[command(after_help = "Examples:\n  dce bench outbox --config dce.toml --format json\n  \
                      dce bench outbox --set bus.kafka.brokers=127.0.0.1:9092")]
    Outbox {
        /// The configuration
        #[command(flatten)]
        settings: SettingFlags,
        /// Events relayed at full speed
        #[arg(long, default_value_t = 200_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
        events: u32,
        /// Events a second while the lag is measured
        #[arg(long, default_value_t = 2_000, value_parser = value_parser!(u32).range(1..=100_000))]
        paced_per_s: u32,
        /// For so many seconds
        #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=3_600))]
        paced_s: u32,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Reservations of money, concurrency and caps on Redis
    ///
    /// Round trips with 1 and with 64 under way, reservations a second, and how many of those one buyer alone gets. Beside it, in turns:
    /// a bare INCR on the same connection. Redis is the configuration's, and no node may be using it; keys have a prefix of their own and
    /// are taken away, or expire in ten minutes.
    #[command(after_help = "Examples:\n  dce bench reserve --config dce.toml --format json\n  \
                      dce bench reserve --set coordination.kind=redis --set coordination.url=redis://127.0.0.1:6379")]
    Reserve {
        /// The configuration
        #[command(flatten)]
        settings: SettingFlags,
        /// Reservations of each kind
        #[arg(long, default_value_t = 50_000, value_parser = value_parser!(u32).range(5..=10_000_000))]
        reservations: u32,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// From a bid that is changed on one node to a ping on another that sees it
    ///
    /// Starts two nodes as processes of their own on the configuration's `PostgreSQL`, whose database must be empty: one has the book,
    /// the other only an API. A bid's price is changed over the API of the one, then the other is pinged: what the change took, and what
    /// it took until the ping was answered with the new price. Then the same from the other one. `missed` counts answers with an
    /// old price, and fails the command. Beside it: how many reads of one account the other node answers a second.
    #[command(
        after_help = "Example:\n  dce bench nodes --config dce.toml --set store.url=postgresql://dce@localhost/empty"
    )]
    Nodes {
        /// The configuration
        #[command(flatten)]
        settings: SettingFlags,
        /// Changes on each node
        #[arg(long, default_value_t = 500, value_parser = value_parser!(u32).range(1..=100_000))]
        changes: u32,
        /// For people or for machines
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

/// How entries of the audit log are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON object a line.
    Json,
    /// Comma-separated values (RFC 4180).
    Csv,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Everything.
    Admin,
    /// Reads everything, with callers' numbers masked.
    Analyst,
    /// A buyer's own account, bids and calls.
    Buyer,
    /// A seller's own account, numbers and calls.
    Seller,
}
