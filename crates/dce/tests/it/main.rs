//! The `dce` binary, run as people run it.

mod binary;
mod config;
mod keys;
mod serve;
mod usage;
