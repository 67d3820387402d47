//! The exchange as a process, and everything around it that calls, buys, pays, and remembers what it was told.

mod http;
pub(crate) mod exchange;
pub(crate) mod load;
mod deposits;
pub(crate) mod marketplace;
mod books;
pub(crate) mod report;
pub(crate) mod show;
