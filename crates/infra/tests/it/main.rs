//! Tests of the store against real files.

mod fixtures;
mod conformance;
mod commits;
mod opening;
mod version_1;
mod disk_full;
mod crash;
mod reads;
mod audit;
