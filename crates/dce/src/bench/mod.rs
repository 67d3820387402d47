//! Benchmarks: every figure the project claims, from one command anyone can run.

pub(crate) mod decision;
pub(crate) mod percentiles;
