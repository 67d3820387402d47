//! The `dce` binary, run as people run it.

mod binary;
mod config;
mod demo;
mod keys;
mod serve;
mod usage;
