//! Plain noise, for every family: what `fuzz/` begins with.

use proptest::prelude::*;

use crate::harness::{Bytes, Cost, fuzz};
use crate::targets::{answers, columns, configuration, remembered, values, words};

fn noise(name: &str, cost: Cost, target: impl Fn(&[u8])) {
    let bytes = prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..120),
        1 => prop::collection::vec(prop::sample::select(b"[]{}\":,.-+eE0123456789 \\ud8\x00\n".to_vec()), 0..120),
    ];
    fuzz(name, cost, &bytes.prop_map(Bytes), |bytes| target(&bytes.0));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn in_every_family() {
    noise("noise: answers", Cost::Trip, answers::any);
    noise("noise: columns", Cost::Trip, |bytes| columns::any(&text(bytes)));
    noise("noise: configuration", Cost::Trip, configuration::any);
    noise("noise: remembered", Cost::Text, |bytes| remembered::any(&text(bytes)));
    noise("noise: values", Cost::Text, |bytes| values::any(&text(bytes)));
    noise("noise: words", Cost::Trip, |bytes| words::any(&text(bytes)));
}
