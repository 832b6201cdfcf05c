//! The only source of chance: splitmix64, and decisions keyed by what they are about, so that one more event does not
//! reshuffle all that follows.

/// A small generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x51ed_270b_9f04_c6d5))
    }

    /// A generator for one decision: the same words give the same numbers, whatever else happened.
    pub fn keyed(seed: u64, words: &[u64]) -> Self {
        let state = words.iter().fold(mix(seed), |state, word| mix(state.wrapping_add(*word).wrapping_add(GOLDEN)));
        Self(state)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Less than `bound` (which is not 0).
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.below(u64::try_from(high - low + 1).unwrap())).unwrap()
    }

    /// True so many times in a thousand.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// FNV-1a: stable over runs and machines.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
