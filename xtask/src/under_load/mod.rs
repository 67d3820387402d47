//! The exchange as a process, and everything around it that calls, buys, pays, and remembers what it was told.

mod http;
pub(crate) mod exchange;
pub(crate) mod load;
pub(crate) mod deposits;
pub(crate) mod marketplace;
pub(crate) mod books;
pub(crate) mod report;
