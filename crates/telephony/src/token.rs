//! Tags, branches and call identifiers: unique, not to be guessed, and reproducible from a seed.

use exchange::id::CallId;
use exchange::time::Timestamp;
use std::fmt;

/// A stream of random tokens. The same seed gives the same stream, so a simulation can be replayed; in service the
/// seed is drawn from the operating system.
///
/// `ChaCha` with 8 rounds (Bernstein, 2008): whoever sees the tags of his own calls cannot work out those of others,
/// which a plain pseudo-random generator would allow.
#[derive(Debug, Clone)]
pub struct Tokens {
    key: [u32; 8],
    block_count: u64,
    block: [u64; 8],
    used: usize,
}

impl Tokens {
    /// Starts the stream that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        let mut key = [0u32; 8];
        for (word, part) in
            key.iter_mut().zip([0x6463_6521u64, seed, seed.rotate_left(32), 0x5349_5021].iter().cycle())
        {
            *word = low_half(*part);
        }
        Self { key, block_count: 0, block: [0; 8], used: 8 }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        if self.used == self.block.len() {
            self.block = chacha8(&self.key, self.block_count);
            self.block_count += 1;
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// A fresh tag.
    pub fn tag(&mut self) -> Tag {
        Tag(self.next_u64())
    }

    /// A fresh `Call-ID` for a leg of ours.
    pub fn sip_call_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.next_u64(), self.next_u64())
    }

    /// A fresh UUID version 7 for a call that arrived at `now`.
    pub fn call_id(&mut self, now: Timestamp) -> CallId {
        let mut random = [0u8; 10];
        random[..8].copy_from_slice(&self.next_u64().to_be_bytes());
        random[8..].copy_from_slice(&self.next_u64().to_be_bytes()[..2]);
        let ms = u64::try_from(now.micros() / 1_000).unwrap_or(0);
        CallId(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }
}

fn low_half(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).expect("masked to 32 bits")
}

fn chacha8(key: &[u32; 8], counter: u64) -> [u64; 8] {
    let mut state = [0u32; 16];
    state[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    state[4..12].copy_from_slice(key);
    state[12] = low_half(counter);
    state[13] = low_half(counter >> 32);
    let start = state;
    for _ in 0..4 {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter_round(&mut state, a, b, c, d);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter_round(&mut state, a, b, c, d);
        }
    }
    let mut block = [0u64; 8];
    for (index, word) in block.iter_mut().enumerate() {
        let high = state[2 * index].wrapping_add(start[2 * index]);
        let low = state[2 * index + 1].wrapping_add(start[2 * index + 1]);
        *word = u64::from(high) << 32 | u64::from(low);
    }
    block
}

fn quarter_round(state: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    for (left, right) in [(16, 12), (8, 7)] {
        state[a] = state[a].wrapping_add(state[b]);
        state[d] = (state[d] ^ state[a]).rotate_left(left);
        state[c] = state[c].wrapping_add(state[d]);
        state[b] = (state[b] ^ state[c]).rotate_left(right);
    }
}

/// Our own tag of a dialog. It is random and unique, so it alone finds the dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

impl Tag {
    /// Reads a tag that we wrote.
    pub fn read(text: &str) -> Option<Self> {
        read_hex(text).map(Self)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Reads exactly what `{:016x}` writes.
pub(crate) fn read_hex(text: &str) -> Option<u64> {
    let well_formed = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    well_formed.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_the_stream() {
        let stream =
            |seed| std::iter::repeat_with(Tokens::new(seed).into_next()).take(20).collect::<Vec<_>>();
        assert_eq!(stream(7), stream(7));
        assert_ne!(stream(7), stream(8));
        let mut all = stream(7);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20);
    }

    impl Tokens {
        fn into_next(mut self) -> impl FnMut() -> u64 {
            move || self.next_u64()
        }
    }

    #[test]
    fn call_ids_sort_by_time() {
        let mut tokens = Tokens::new(1);
        let early = tokens.call_id(Timestamp(1_700_000_000_000_000));
        let late = tokens.call_id(Timestamp(1_700_000_000_001_000));
        assert!(early < late);
        assert_eq!(early.0.get_version_num(), 7);
    }

    #[test]
    fn a_tag_reads_back_and_nothing_else_does() {
        assert_eq!(Tag::read(&Tag(0xab).to_string()), Some(Tag(0xab)));
        for foreign in ["", "ab", "00000000000000AB", "+0000000000000ab", "00000000000000abc"] {
            assert_eq!(Tag::read(foreign), None, "{foreign}");
        }
    }
}
