//! Screening by law and policy. The rules are data (`data/` in this crate); the code here only applies them.

pub mod verdict;
pub mod area_code;
pub mod calling_hours;
pub mod holiday;
pub mod screening;
