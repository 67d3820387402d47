//! A thread that anchors the log: every so often, if there is something new, and once more when it is stopped.

use super::anchor::SigningKey;
use crate::store::{Reader, StoreError, StoreHealth, Writer, wall_clock};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The running thread. Dropping it anchors once more.
#[derive(Debug)]
pub struct Anchorer {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Anchorer {
    /// Starts it.
    pub fn start(
        key: SigningKey,
        every: Duration,
        reader: Reader,
        writer: Writer,
    ) -> Result<Self, StoreError> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("audit-anchors".to_owned())
            .spawn(move || run(&key, every, &reader, &writer, &stopped))
            .map_err(StoreError::NoThread)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Anchorer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that anchors the audit log panicked");
        }
    }
}

fn run(key: &SigningKey, every: Duration, reader: &Reader, writer: &Writer, stopped: &Receiver<()>) {
    loop {
        let is_over = !matches!(stopped.recv_timeout(every), Err(RecvTimeoutError::Timeout));
        // While the store refuses there is nothing new either, and a write would wait for it.
        if writer.health() == StoreHealth::Healthy
            && let Err(error) = anchor(key, reader, writer)
        {
            tracing::error!(%error, "the audit log was not anchored; it is tried again");
        }
        if is_over {
            return;
        }
    }
}

/// Anchors the log as it is, unless its last entry is anchored already.
fn anchor(key: &SigningKey, reader: &Reader, writer: &Writer) -> Result<(), StoreError> {
    match reader.audit_statement(wall_clock())? {
        Some(statement) => writer.write_audit_anchor(key.sign(statement)),
        None => Ok(()),
    }
}
