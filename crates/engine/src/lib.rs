//! Runs the pure core: the owner of the in-memory book, the journal, recovery, timers.
