//! The functions that run inside Redis. Their names end in a digest of their text, so that nodes of two versions each call their
//! own while one replaces the other; a library that nobody calls any more is a few kilobytes.

use crate::audit::Hash;
use redis::Cmd;
use std::sync::LazyLock;

const SOURCE: &str = include_str!("dce.lua");

/// The first digits of the text's SHA-256.
static VERSION: LazyLock<String> = LazyLock::new(|| Hash::of(SOURCE).to_string()[..12].to_owned());

/// Loads the library. That it is there already is what a second node hears.
pub(super) fn load() -> Cmd {
    let mut load = redis::cmd("FUNCTION");
    load.arg("LOAD").arg(SOURCE.replace("VERSION", &VERSION));
    load
}

/// Whether it says that the library is there already.
pub(super) fn is_there_already(detail: &str) -> bool {
    detail.contains("already exists")
}

/// Whether it says that the library is gone: Redis was emptied.
pub(super) fn is_missing(detail: &str) -> bool {
    detail.contains("Function not found")
}

/// A call of one function on these keys, to which its arguments are added.
pub(super) fn call(function: &str, keys: &[String]) -> Cmd {
    let mut call = redis::cmd("FCALL");
    call.arg(format!("dce_{function}_{}", *VERSION)).arg(keys.len()).arg(keys);
    call
}
