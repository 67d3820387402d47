//! Screening by law.

pub mod verdict;
