//! Tests of the store against real files.

mod fixtures;
mod commits;
