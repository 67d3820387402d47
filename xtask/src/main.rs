//! Developer commands: `cargo xtask tidy`, `cargo xtask test`, `cargo xtask crash`, `cargo xtask faults`, `cargo xtask memory` and
//! `cargo xtask bench-vs`.

mod repository;
mod rust_source;
mod tidy;
mod prerequisite;
mod kafka;
mod test;
mod under_load;
mod crash;
mod faults;
mod memory;
mod bench_vs;

use clap::{Parser, Subcommand};
use repository::Repository;
use std::process::ExitCode;

/// Developer commands of the Dependable Call Exchange.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check what the compiler does not: arrows between crates, house rules, documents, licences.
    Tidy,
    /// Find or install what the tests need, then build and run every test.
    Test(test::TestArguments),
    /// Kill the exchange again and again under real SIP load: nothing acknowledged may be lost, or there twice.
    Crash(crash::CrashArguments),
    /// Kill, pause, move and slow down what the exchange stands on, under real SIP load: the same must hold.
    Faults(faults::FaultsArguments),
    /// Measure the memory of a call that is up, with real calls over SIP.
    Memory(memory::MemoryArguments),
    /// Run the benches and compare them with the baselines in the repository, each with the yardstick of its own run.
    BenchVs(bench_vs::BenchVsArguments),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let result = Repository::here().and_then(|repository| match command {
        Command::Tidy => tidy::run(&repository),
        Command::Test(arguments) => test::run(&repository, &arguments),
        Command::Crash(arguments) => crash::run(&repository, &arguments),
        Command::Faults(arguments) => faults::run(&repository, &arguments),
        Command::Memory(arguments) => memory::run(&repository, &arguments),
        Command::BenchVs(arguments) => bench_vs::run(&repository, &arguments),
    });
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
