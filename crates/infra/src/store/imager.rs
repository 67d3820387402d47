//! A thread that makes the image of the bids anew when a restart would have to read too many documents in spite of it.

use super::image::{BidImage, ImageMade};
use super::{Reader, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Documents that a restart may have to read: a tenth of a second's work, more or less.
const DOCUMENTS_MAX: u64 = 10_000;

/// How often is looked.
const EVERY: Duration = Duration::from_mins(5);

/// The running thread. Dropping it stops it, whatever it is at.
#[derive(Debug)]
pub struct Imager {
    is_wanted: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Imager {
    /// Starts it; it looks at once.
    pub fn start(image: BidImage, reader: Reader) -> Result<Self, StoreError> {
        let (stop, stopped) = channel();
        let is_wanted = Arc::new(AtomicBool::new(true));
        let wanted = Arc::clone(&is_wanted);
        let thread = std::thread::Builder::new()
            .name("bid-image".to_owned())
            .spawn(move || run(&image, &reader, &wanted, &stopped))
            .map_err(StoreError::NoThread)?;
        Ok(Self { is_wanted, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Imager {
    fn drop(&mut self) {
        self.is_wanted.store(false, Ordering::Relaxed);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that makes the image of the bids panicked");
        }
    }
}

fn run(image: &BidImage, reader: &Reader, is_wanted: &AtomicBool, stopped: &Receiver<()>) {
    loop {
        if let Err(error) = keep_up(image, reader, &|| is_wanted.load(Ordering::Relaxed)) {
            tracing::warn!(%error, "no image of the bids was made: a restart takes longer; it is tried again");
        }
        if !matches!(stopped.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
            return;
        }
    }
}

/// Makes the image anew if it is time.
fn keep_up(image: &BidImage, reader: &Reader, is_wanted: &dyn Fn() -> bool) -> Result<(), StoreError> {
    if reader.bids_not_in(image)? <= DOCUMENTS_MAX {
        return Ok(());
    }
    let started = Instant::now();
    if let ImageMade::Made { bids } = reader.make_image(image, is_wanted)? {
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(bids, took_ms, "made an image of the bids");
    }
    Ok(())
}
