//! `dce demo`: a whole exchange on the loopback interface, a marketplace, carriers and call centres on real sockets, and
//! at the end an account of everything that happened, audited.

mod bidders;
mod terms;
mod floor;
mod cast;
mod traffic;
mod summary;
mod audit;
mod show;

use crate::command_line::Format;
use crate::config::{LogConfig, LogFormat};
use crate::failure::Failure;
use crate::serve::Signals;
use crate::{log, print};
use clap::Args;
use floor::{Floor, Sockets};
use std::path::PathBuf;
use summary::Summary;

/// `dce demo ...`
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// How many calls to place
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) calls: u32,
    /// How many calls to place a second
    #[arg(long, default_value_t = 50, value_name = "RATE", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) cps: u32,
    /// For people or for machines
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Where the exchange keeps its state; kept afterwards. Without it: a temporary directory, removed at the end
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Leave everything running, and its directory in place, until Ctrl-C; print where, and an API key
    #[arg(long)]
    pub(crate) keep: bool,
    /// Decides marketplace and callers
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Runs it. Violations fail the command.
pub(crate) fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    log::start(&LogConfig { level: "warn,partners=error".to_owned(), format: LogFormat::Text });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(format!("no threads: {error}; raise the process limit")))?;
    runtime.block_on(play(arguments))
}

async fn play(arguments: &DemoArguments) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (floor, sockets) = Floor::open(arguments.data_dir.as_deref(), arguments.seed).await?;
    let outcome = tokio::select! {
        outcome = trade(&floor, sockets, arguments) => outcome,
        name = signals.next() => Err(Failure::found(format!("{name}: the demo ends before its calls do"))),
    };
    let stayed = match &outcome {
        Ok(_) if arguments.keep => stay(&floor, arguments.format, &mut signals).await,
        _ => Ok(()),
    };
    let closed = floor.close(arguments.keep).await;
    let summary = outcome?;
    stayed.and(closed)?;
    match summary.violations {
        0 => Ok(()),
        violations => Err(Failure::found(format!(
            "{violations} violations, the first: {}",
            summary.violation_lines.first().map_or("none kept", String::as_str)
        ))),
    }
}

/// Says where everything is, and waits for Ctrl-C or SIGTERM.
async fn stay(floor: &Floor, format: Format, signals: &mut Signals) -> Result<(), Failure> {
    print(&show::invitation(floor, format)?)?;
    signals.next().await;
    Ok(())
}

/// Places the calls, waits for all of them to end, and gives an account.
async fn trade(floor: &Floor, sockets: Sockets, arguments: &DemoArguments) -> Result<Summary, Failure> {
    let traffic = traffic::run(floor, sockets, arguments).await?;
    let statement = summary::draw_up(&floor.reader(), &traffic)?;
    traffic::answer_on(traffic.retired);
    print(&match arguments.format {
        Format::Json => format!("{}\n", statement.summary.to_json()),
        Format::Text => show::statement(&floor.reader(), &statement)?,
    })?;
    Ok(statement.summary)
}
