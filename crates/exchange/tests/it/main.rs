//! The core, tested from outside: a corpus of calls as files, and properties over random ones.

mod cases;
mod script;
mod render;
mod roll_ups;
mod strategies;
mod clearing;
mod properties;
