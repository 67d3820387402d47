//! `dce config check|show|example`.

use crate::command_line::ConfigCommand;
use crate::config::{Config, EXAMPLE, Loaded};
use crate::failure::Failure;
use crate::{one, print};

/// Runs it. The configuration is only read when the command needs it.
pub(crate) fn run(
    command: &ConfigCommand,
    load: impl FnOnce() -> Result<Loaded, Vec<Failure>>,
) -> Result<(), Vec<Failure>> {
    let text = match command {
        ConfigCommand::Check => format!("ok: {}\n", summary(&load()?.config)),
        ConfigCommand::Show => load()?.shown(),
        ConfigCommand::Example => EXAMPLE.to_owned(),
    };
    print(&text).map_err(one)
}

fn summary(config: &Config) -> String {
    let sip: Vec<_> = config.sip.listen.iter().map(|address| address.0.to_string()).collect();
    format!(
        "data in {}, API on {}, SIP on {}, calls taken from {} trunks",
        config.place(),
        config.http.listen.join(" and "),
        sip.join(" and "),
        config.sip.trunks.len(),
    )
}
