//! Waiting for something to become true, with a bound.

use std::time::{Duration, Instant};

/// Long enough for a busy machine; nothing in these tests should come near it.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often to look.
const LOOK: Duration = Duration::from_millis(20);

/// Looks until there is something to see, and fails when there never is.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(LOOK);
    }
}
