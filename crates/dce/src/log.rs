//! Logs: `tracing` to stderr.

use crate::config::{LogConfig, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

/// Starts logging. Panics are logged as errors too, in the same format, so that a machine can read every line.
pub(crate) fn start(config: &LogConfig) {
    let filter = config.level.parse::<EnvFilter>().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = SubscriberBuilder::default().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    // A line that cannot be written, as to a file on a full disk, is lost. To say so on the same stderr would panic.
    let builder = builder.log_internal_errors(false);
    // Only fails when logging has been started already, as in tests.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("a value that is not text");
        tracing::error!(%place, %message, "panic: a defect, please report it");
    }));
}
