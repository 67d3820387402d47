//! Tests of the store, the bus and the coordination against real files and real servers.

mod fixtures;
mod conformance;
mod commits;
mod opening;
mod image;
mod version_1;
mod disk_full;
mod crash;
mod reads;
mod audit;
mod audit_log;
mod kafka_server;
mod bus;
mod consumers;
mod postgresql;
mod certificates;
mod tls;
mod replicas;
mod backup;
mod partitions;
mod retention;
mod lost_answer;
mod redis_server;
mod coordination;
mod reservations;
