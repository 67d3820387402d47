//! The `dce` binary, run as people run it.

mod binary;
mod patience;
mod config;
mod demo;
mod keys;
mod serve;
mod audit;
mod backup;
mod proof;
mod replay;
mod usage;
mod exchange;
mod marketplace;
mod sipp;
mod calls;
mod refusals;
mod vanished;
mod flood;
mod receiver;
mod consumers;
mod nodes;
mod stacks;
mod bad_days;
mod bad_databases;
