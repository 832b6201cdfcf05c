//! Sound documents, broken in one place.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Text that somebody meant: plain, odd, long, with every kind of white space and control character.
pub fn text() -> BoxedStrategy<String> {
    let odd = select(vec![
        "",
        " ",
        "\0",
        "a\0b",
        "\u{feff}",
        "\u{200b}",
        "\u{a0}x\u{a0}",
        "\u{202e}abc",
        "e\u{301}",
        "é",
        "ß",
        "İ",
        "\u{1f600}",
        "\u{10ffff}",
        "\u{fffd}",
        "\r\n",
        "\t",
        "null",
        "NaN",
        "Infinity",
        "-0",
        "1e400",
        "\\u0000",
        "\\ud800",
        "\"",
        "'",
        "--",
        "%",
        "%00",
        "a,b",
        "[\"a\"]",
        "{}",
        "٣",
        "½",
        "０",
        "１２",
        "ﬁ",
        "\u{2028}",
        "\u{85}",
    ])
    .prop_map(str::to_owned);
    prop_oneof![
        4 => "[ -~]{0,24}",
        3 => odd,
        2 => any::<String>(),
        1 => ("[a-z é\u{1f600}]{1,3}", 1_usize..2000).prop_map(|(word, times)| word.repeat(times)),
    ]
    .boxed()
}

/// Digits that somebody meant for a number, and what only looks like one.
pub fn number() -> BoxedStrategy<String> {
    let sign = select(vec!["", "", "", "-", "+", "--"]);
    let power = prop_oneof![
        4 => Just(String::new()),
        2 => (-70_i64..70).prop_map(|power| format!("e{power}")),
        1 => (0_i64..99).prop_map(|power| format!("E+{power:03}")),
        1 => any::<i64>().prop_map(|power| format!("e{power}")),
        1 => select(vec!["e", "e+", "e-", "e1.5", "e99999999999999999999999", "e-2147483648", "e2147483648"]).prop_map(str::to_owned),
    ];
    let digits = prop_oneof![
        3 => "[0-9]{0,3}", 2 => "0{0,3}[0-9]{0,30}0{0,3}", 1 => "[0-9]{60,70}", 1 => any::<u64>().prop_map(|number| number.to_string()),
    ];
    (sign, digits.clone(), prop_oneof![2 => Just(None), 3 => digits.prop_map(Some)], power)
        .prop_map(|(sign, whole, fraction, power)| match fraction {
            None => format!("{sign}{whole}{power}"),
            Some(fraction) => format!("{sign}{whole}.{fraction}{power}"),
        })
        .boxed()
}

/// Days and instants, most of them real, as many systems spell them.
pub fn time() -> BoxedStrategy<String> {
    let day =
        (prop_oneof![0_u32..10_000, 1999_u32..2030, select(vec![0, 1900, 2000, 2024, 2100])], 0_u32..14, 0_u32..33)
            .prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}"));
    let clock = prop_oneof![
        1 => Just(String::new()),
        4 => (select(vec!["T", "t", " ", "  ", ""]), 0_u32..25, 0_u32..61, 0_u32..62)
            .prop_map(|(between, hour, minute, second)| format!("{between}{hour:02}:{minute:02}:{second:02}")),
        1 => (0_u32..25, 0_u32..61).prop_map(|(hour, minute)| format!("T{hour:02}:{minute:02}")),
    ];
    let fraction = prop_oneof![2 => Just(String::new()), 1 => "\\.[0-9]{0,12}"];
    let zone = prop_oneof![
        4 => select(vec!["", "Z", "z", "+00:00", "-00:00", "+00", " +01:30", "+0130", "-11", "+25:00", "+1", " UTC", "[UTC]", " ", "Z "])
            .prop_map(str::to_owned),
        1 => (0_u32..26, 0_u32..62).prop_map(|(hours, minutes)| format!("-{hours:02}:{minutes:02}")),
    ];
    (day, clock, fraction, zone)
        .prop_map(|(day, clock, fraction, zone)| format!("{day}{clock}{fraction}{zone}"))
        .boxed()
}

/// Any JSON, small or nested deep, its numbers and texts as they are on the wire.
pub fn json() -> BoxedStrategy<String> {
    let text = prop_oneof![
        3 => text().prop_map(|text| serde_json::Value::from(text).to_string()),
        1 => select(vec![r#""\ud800""#, r#""\udc00\ud800""#, r#""\ud83d\ude00""#, r#""\u0000""#, r#""\u00zz""#, r#""\x41""#, "\"\t\"", "\"open"])
            .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        2 => select(vec!["null", "true", "false", "[]", "{}", "-", "01", "1.", ".5", "+1", "NaN", "nul"]).prop_map(str::to_owned),
        3 => text,
        3 => number(),
        2 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| format!("{number:?}")),
        1 => (1_usize..400, select(vec!["[", "{\"a\":", "[{\"a\":["])).prop_map(|(depth, open)| open.repeat(depth)),
        1 => (1_usize..200).prop_map(|depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((select(vec!["id", "data", "meta", "a"]), inner), 0..4).prop_map(|entries| {
                let entries: Vec<String> =
                    entries.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
    .boxed()
}

/// What is done to a document as bytes.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Set(Index, u8),
    Utf16,
    Latin1,
    Mark,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => Just(Change::Nothing),
        3 => any::<Index>().prop_map(Change::Cut),
        2 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        2 => (any::<Index>(), 1_usize..20).prop_map(|(at, length)| Change::Remove(at, length)),
        2 => (any::<Index>(), 1_usize..60).prop_map(|(at, length)| Change::Repeat(at, length)),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => Just(Change::Utf16),
        1 => Just(Change::Latin1),
        1 => Just(Change::Mark),
    ]
}

/// The document as bytes, most often with one thing done to them.
pub fn broken(document: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    (document, change()).prop_map(|(document, change)| {
        let mut bytes = document.clone().into_bytes();
        let place = |at: Index| at.index(document.len() + 1);
        match change {
            Change::Nothing => {}
            Change::Cut(at) => bytes.truncate(place(at)),
            Change::Insert(at, new) => drop(bytes.splice(place(at)..place(at), new)),
            Change::Remove(at, length) => drop(bytes.drain(place(at)..(place(at) + length).min(document.len()))),
            Change::Repeat(at, length) => {
                let part = bytes[place(at)..(place(at) + length).min(document.len())].to_vec();
                drop(bytes.splice(place(at)..place(at), part));
            }
            Change::Set(at, byte) if !bytes.is_empty() => bytes[at.index(document.len())] = byte,
            Change::Set(..) => {}
            Change::Utf16 => bytes = document.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Change::Latin1 => bytes = document.chars().map(|symbol| u8::try_from(symbol).unwrap_or(b'?')).collect(),
            Change::Mark => drop(bytes.splice(0..0, *b"\xef\xbb\xbf")),
        }
        bytes
    })
}
