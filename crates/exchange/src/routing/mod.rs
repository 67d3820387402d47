//! Routing: in which order the bids that want a call are rung.

mod algorithm;

pub use algorithm::Algorithm;
