//! Rows as other programs leave them.

use proptest::prelude::*;
use proptest::sample::select;
use rusqlite::types::Value as Stored;

use crate::harness::{Cost, fuzz};
use crate::mutation::{number, text, time};
use crate::targets::columns::{self, Row};

fn cell() -> BoxedStrategy<Stored> {
    prop_oneof![
        1 => Just(Stored::Null),
        2 => any::<i64>().prop_map(Stored::Integer),
        2 => (-3_i64..4).prop_map(Stored::Integer),
        2 => (any::<i64>(), -20_i32..20).prop_map(|(digits, power)| {
            #[allow(clippy::cast_precision_loss)]
            let digits = digits as f64;
            Stored::Real(digits * 10_f64.powi(power))
        }),
        2 => any::<f64>().prop_filter("SQLite makes a null of it", |number| !number.is_nan()).prop_map(Stored::Real),
        1 => select(vec![0.1 + 0.2, 1e15, 1e16, 1.0, -0.0, 1e300, 5e-324, 0.1, 123_456_789_012_345_680.0]).prop_map(Stored::Real),
        3 => text().prop_map(Stored::Text),
        3 => number().prop_map(Stored::Text),
        2 => time().prop_map(Stored::Text),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Stored::Blob),
    ]
    .boxed()
}

fn row() -> BoxedStrategy<Row> {
    let cells = [cell(), cell(), cell(), cell(), cell(), cell(), cell()];
    (cells, prop_oneof![3 => time().prop_map(Stored::Text), 1 => cell()])
        .prop_map(|(cells, modified)| Row { cells, modified })
        .boxed()
}

#[test]
fn rows() {
    fuzz("rows", Cost::Trip, &(prop::collection::vec(row(), 0..6), text()), |(rows, title)| columns::rows(rows, title));
}

#[test]
fn what_was_once_misread() {
    // Fifteen digits are not all of a real number.
    for real in [0.1 + 0.2, 123_456_789_012_345_680.0, 12_345_678.901_234_567] {
        let cells = [(); 7].map(|()| Stored::Real(real));
        columns::rows(&[Row { cells, modified: Stored::Null }], "a");
    }
    // An exponent whose size is none: its sign cannot be turned.
    columns::any("1e-2147483648");
}
