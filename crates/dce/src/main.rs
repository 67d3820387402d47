//! The command line.

mod command_line;
mod failure;
mod config;
mod config_command;
mod log;
mod sip_metrics;
mod live_bidders;
mod exchange_process;
mod serve;
mod key;
mod secret_file;
mod audit_key;
mod audit;
mod events;
mod migrate;
mod backup;
mod verify;
mod replay;
mod marketplace;
mod demo;
mod simulate;
mod bench;

use clap::{CommandFactory, Parser};
use command_line::{Command, CommandLine, SettingFlags};
use config::{Loaded, Sources};
use failure::Failure;
use std::io::Write;
use std::process::ExitCode;

/// Units of work are made on one thread and freed on another, all the time: that is what this allocator is good at
/// (docs/decisions/0007-allocator-and-hasher.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    match run(&command_line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failures) => {
            for failure in &failures {
                // Nowhere to report a broken stderr.
                let _ = writeln!(std::io::stderr(), "dce: {failure}");
            }
            failures.first().map_or(ExitCode::FAILURE, Failure::exit_code)
        }
    }
}

fn run(command_line: &CommandLine) -> Result<(), Vec<Failure>> {
    match &command_line.command {
        Command::Serve { settings, roles } => {
            let roles =
                roles.iter().map(|roles| ("--roles".to_owned(), "node.roles".to_owned(), roles.clone()));
            serve::run(&load_with(settings, roles)?.config).map_err(one)
        }
        Command::Key { settings, command } => key::run(load(settings)?.config.place(), command).map_err(one),
        Command::Audit { settings, command } => audit::run(&load(settings)?.config, command).map_err(one),
        Command::Events { settings, command } => events::run(&load(settings)?.config, command).map_err(one),
        Command::Backup { settings, to } => backup::run(&load(settings)?.config, to).map_err(one),
        Command::Migrate(settings) => migrate::run(load(settings)?.config.place()).map_err(one),
        Command::Verify { settings, format } => {
            verify::run(load(settings)?.config.place(), *format).map_err(one)
        }
        Command::Replay { settings, arguments } => {
            let config = load(settings)?.config;
            replay::run(config.place(), &config.policy, arguments).map_err(one)
        }
        Command::Config(command) => config_command::run(command),
        Command::Demo(arguments) => demo::run(arguments).map_err(one),
        Command::Simulate { settings, digest: true, first_seed, calls, format, .. } => {
            simulate::run_in_books(&load(settings)?.config, *first_seed, *calls, *format).map_err(one)
        }
        Command::Simulate { settings, .. } if !settings.flags().is_empty() => {
            let finding = "--data and --set count only with --digest; add it, or leave them out";
            Err(vec![Failure::usage(finding)])
        }
        Command::Simulate { seeds, first_seed, calls, trace, format, .. } => {
            simulate::run(*first_seed, *seeds, *calls, *trace, *format).map_err(one)
        }
        Command::Bench(command) => bench::run(command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut CommandLine::command(), "dce", &mut script);
            print(&String::from_utf8_lossy(&script)).map_err(one)
        }
    }
}

fn load(settings: &SettingFlags) -> Result<Loaded, Vec<Failure>> {
    load_with(settings, None)
}

/// Loads the configuration, in which flags of the command's own, as `(flag, key, value)`, win.
fn load_with(
    settings: &SettingFlags,
    own: impl IntoIterator<Item = (String, String, String)>,
) -> Result<Loaded, Vec<Failure>> {
    config::load(&Sources {
        file: settings.config.clone(),
        // A variable that is not Unicode cannot be one of ours.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        flags: settings.flags().into_iter().chain(own).collect(),
    })
}

/// Prints what nobody else has, and sees it through to the reader.
fn hand_over(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    let handed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    handed.map_err(|error| Failure::environment(format!("stdout: {error}")))
}

/// Prints to stdout. A reader that has gone away (`dce ... | head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::environment(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn one(failure: Failure) -> Vec<Failure> {
    vec![failure]
}
