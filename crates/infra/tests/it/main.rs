//! Tests of the store against real files and a real server.

mod postgresql_server;
mod fixtures;
mod conformance;
mod commits;
mod opening;
mod version_1;
mod disk_full;
mod crash;
mod reads;
mod audit;
mod audit_log;
mod kafka_server;
mod bus;
mod postgresql;
mod partitions;
mod lost_answer;
