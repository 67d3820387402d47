//! `dce config check|show|example`.

use crate::command_line::ConfigCommand;
use crate::config::{Config, EXAMPLE};
use crate::failure::Failure;
use crate::{load, one, print};

/// Runs it. The configuration is only read when the command needs it.
pub(crate) fn run(command: &ConfigCommand) -> Result<(), Vec<Failure>> {
    let text = match command {
        ConfigCommand::Check(settings) => format!("ok: {}\n", summary(&load(settings)?.config)),
        ConfigCommand::Show(settings) => load(settings)?.shown(),
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
