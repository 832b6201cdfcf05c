//! How many cases, from which seed, and how a case that fails is told.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Few enough for every run of the tests.
const CASES_DEFAULT: u32 = 256;

fn number(variable: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(variable) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{variable} is no whole number: {text:?}"))
}

/// How much a case costs: where it goes over a socket or through a database, fewer are run.
#[derive(Clone, Copy)]
pub enum Cost {
    /// Text in, text out.
    Text,
    /// A file, a call or a statement for each case.
    Trip,
}

/// Bytes that are shown as text where they are text.
#[derive(Clone)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Feeds `target` with what `input` makes: always the same cases for the same seed, name and number of cases.
///
/// A case that fails is shrunk and shown; it then belongs into the file of its family as an explicit case, where it is
/// run for ever.
pub fn fuzz<S: Strategy>(name: &str, cost: Cost, input: &S, target: impl Fn(&S::Value)) {
    let seed = number("ATTUNE_FUZZ_SEED", 0);
    let cases = u32::try_from(number("ATTUNE_FUZZ_CASES", u64::from(CASES_DEFAULT))).unwrap_or(u32::MAX);
    let cases = match cost {
        Cost::Text => cases.saturating_mul(4),
        Cost::Trip => cases / 4 + 1,
    };
    println!("{name}: {cases} cases of seed {seed} (ATTUNE_FUZZ_CASES, ATTUNE_FUZZ_SEED)");
    // Each target has its own course, whatever runs beside it.
    let mut bytes = [0; 32];
    for (lane, chunk) in bytes.chunks_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        (seed, name, lane).hash(&mut hasher);
        chunk.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    // What fails is kept as an explicit case in the sources, not in a file beside them.
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let result = runner.run(input, |value| {
        target(&value);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{name}: {failure}\nrun it again: ATTUNE_FUZZ_SEED={seed} cargo test --test fuzz");
    }
}
