//! Maps that are looked into many times a call: hashed by foldhash, several times quicker than the standard hasher. It is seeded
//! anew in every process, so nobody outside can aim keys at one bucket; nothing may depend on the order of iteration.

use std::collections::HashMap;

/// A map for the way of a call.
pub type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
