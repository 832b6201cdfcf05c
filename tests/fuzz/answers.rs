//! What a store answers, sound but for one thing, and noise.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::harness::{Bytes, Cost, fuzz};
use crate::mutation::{broken, json, number, text, time};
use crate::targets::answers::{self, Paged};
use crate::targets::server::TOKEN;

/// An object of a sound answer: its entries as they are written.
type Entries = Vec<(String, String)>;

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn written(entries: &Entries) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{}:{value}", quoted(key))).collect();
    format!("{{{}}}", entries.join(","))
}

fn id() -> BoxedStrategy<String> {
    prop_oneof![
        6 => (1_u64..12).prop_map(|id| id.to_string()),
        1 => any::<u64>().prop_map(|id| id.to_string()),
        1 => (0_u64..12).prop_map(|id| format!("\"{id}\"")),
        1 => select(vec!["null", "-1", "1.0", "1e2", "18446744073709551616", "\"007\"", "\"\"", "\"x\"", "true"]).prop_map(str::to_owned),
    ]
    .boxed()
}

/// A text, or a number, a truth value or nothing where a text is expected.
fn shown() -> BoxedStrategy<String> {
    prop_oneof![
        6 => text().prop_map(|text| quoted(&text)),
        2 => number(),
        2 => any::<f64>().prop_map(|number| format!("{number:?}")),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => select(vec!["null", "true", "false", "1.10", "0.1000000000000000055", "12345678901234567890123", "1e400", "-0", "{}", "[]"])
            .prop_map(str::to_owned),
    ]
    .boxed()
}

fn date() -> BoxedStrategy<String> {
    time().prop_map(|time| quoted(&time)).boxed()
}

fn value_row() -> BoxedStrategy<Entries> {
    (id(), 1_u64..4, shown(), 5_u64..9, date())
        .prop_map(|(id, attribute, value, customer, date)| {
            let entry = |key: &str, value: String| (key.to_owned(), value);
            vec![
                entry("id", id),
                entry("attribute_id", attribute.to_string()),
                entry("attribute_value", value),
                entry("customer_id", customer.to_string()),
                entry("date_modified", date),
            ]
        })
        .boxed()
}

fn customer_row() -> BoxedStrategy<Entries> {
    let form_field = (select(vec!["Size", "Other"]), prop_oneof![3 => shown(), 1 => json()])
        .prop_map(|(name, value)| format!(r#"{{"name":"{name}","value":{value}}}"#));
    let own = (shown(), id(), prop::collection::vec(form_field, 0..3), prop_oneof![3 => shown(), 1 => json()]);
    (id(), shown(), date(), prop::collection::vec(value_row(), 0..4), 0_usize..4, own)
        .prop_map(|(id, email, date, values, count, (company, group, form_fields, channels))| {
            let values: Vec<String> = values.iter().map(written).collect();
            let entry = |key: &str, value: String| (key.to_owned(), value);
            vec![
                entry("id", id),
                entry("email", email),
                entry("first_name", quoted("Ada")),
                entry("company", company),
                entry("customer_group_id", group),
                entry("form_fields", format!("[{}]", form_fields.join(","))),
                entry("channel_ids", format!("[{channels}]")),
                entry("date_modified", date),
                entry("attribute_count", count.to_string()),
                entry("attributes", format!("[{}]", values.join(","))),
            ]
        })
        .boxed()
}

/// A row of any of the lists beside the customers.
fn row_beside() -> BoxedStrategy<Entries> {
    let word = |words: [&'static str; 3]| {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        prop_oneof![6 => select(words), 1 => shown()]
    };
    let consents = prop_oneof![
        3 => Just(r#"["marketing_newsletter"]"#.to_owned()), 1 => Just("[]".to_owned()), 1 => json()
    ];
    let holder = prop_oneof![3 => Just("7".to_owned()), 1 => id()];
    (id(), holder, word(["Gold", "erp", "a@example.com"]), shown(), date(), consents)
        .prop_map(|(id, holder, name, value, date, consents)| {
            let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            vec![
                entry("id", &id),
                entry("customer_id", &holder),
                entry("resource_id", &holder),
                entry("name", &name),
                entry("namespace", &quoted("erp")),
                entry("key", &quoted("id")),
                entry("value", &value),
                entry("city", &value),
                entry("email", &name),
                entry("consents", &consents),
                entry("date_modified", &date),
            ]
        })
        .boxed()
}

fn definition_row() -> BoxedStrategy<Entries> {
    (id(), prop_oneof![3 => select(vec!["Job title", "Wholesaler ID"]).prop_map(str::to_owned), 1 => text()], shown())
        .prop_map(|(id, name, kind)| {
            let kind = if kind.len() % 2 == 0 { quoted("string") } else { kind };
            vec![("id".to_owned(), id), ("name".to_owned(), quoted(&name)), ("type".to_owned(), kind)]
        })
        .boxed()
}

/// What happens to an object: an entry is dropped, repeated, of another type, or the object is a list of its values.
fn altered(row: BoxedStrategy<Entries>) -> BoxedStrategy<String> {
    (row, any::<Index>(), 0_u8..16, json())
        .prop_map(|(mut entries, at, change, other)| {
            let at = at.index(entries.len());
            match change {
                0 => drop(entries.remove(at)),
                1 => entries.push(entries[at].clone()),
                2 => entries[at].1 = other,
                3 => entries[at].1 = "null".to_owned(),
                4 => entries[at].1 = quoted(&entries[at].1),
                5 => entries.push((entries[at].0.clone(), other)),
                6 => entries.push(("unknown".to_owned(), other)),
                7 => {
                    let values: Vec<&str> = entries.iter().map(|(_, value)| value.as_str()).collect();
                    return format!("[{}]", values.join(","));
                }
                _ => {}
            }
            written(&entries)
        })
        .boxed()
}

fn meta() -> BoxedStrategy<String> {
    let total = prop_oneof![3 => (0_u64..8).prop_map(|total| total.to_string()), 1 => id(), 1 => json()];
    let cursor = prop_oneof![Just("null".to_owned()), text().prop_map(|text| quoted(&text))];
    prop_oneof![
        2 => Just("{}".to_owned()),
        1 => json(),
        4 => (total.clone(), total).prop_map(|(total, pages)| format!(r#"{{"pagination":{{"total":{total},"total_pages":{pages},"links":[]}}}}"#)),
        2 => (cursor.clone(), cursor).prop_map(|(cursor, next)| {
            format!(r#"{{"cursor_pagination":{{"end_cursor":{cursor},"links":{{"next":{next}}}}}}}"#)
        }),
    ]
    .boxed()
}

fn listing() -> BoxedStrategy<String> {
    let row =
        prop_oneof![altered(value_row()), altered(customer_row()), altered(definition_row()), altered(row_beside())];
    (prop::collection::vec(row, 0..5), meta(), 0_u8..24, json())
        .prop_map(|(rows, meta, change, other)| {
            let rows = format!("[{}]", rows.join(","));
            match change {
                0 => format!(r#"{{"meta":{meta}}}"#),
                1 => format!(r#"{{"data":{rows},"data":{other},"meta":{meta}}}"#),
                2 => format!(r#"{{"data":{other},"meta":{meta}}}"#),
                3 => format!("[{rows},{meta}]"),
                4 => rows,
                5 => format!(r#"{{"data":{rows}}} {other}"#),
                6 => format!(r#"{{"data":{rows},"other":{other}}}"#),
                7 => format!("<!doctype html><html>{TOKEN}</html>"),
                8 => other,
                _ => format!(r#"{{"data":{rows},"meta":{meta}}}"#),
            }
        })
        .boxed()
}

/// A header of a sound answer with a value that may be anything that a header can hold, and more.
fn header() -> BoxedStrategy<Vec<u8>> {
    let name = select(vec![
        "date",
        "retry-after",
        "x-retry-after",
        "x-rate-limit-requests-left",
        "x-rate-limit-requests-quota",
        "x-rate-limit-time-reset-ms",
        "x-rate-limit-time-window-ms",
        "x-request-id",
        "content-type",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "location",
        "connection",
    ]);
    let value = prop_oneof![
        2 => number().prop_map(String::into_bytes),
        2 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        1 => text().prop_map(String::into_bytes),
        1 => time().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        2 => select(vec![
            "Fri, 02 Jan 2026 03:04:05 GMT", "Fri, 30 Feb 2026 03:04:05 GMT", "Tue, 15 Nov 99994 08:12:31 GMT", "Mon, 01 Jan 0001 00:00:00 -2359",
            "inf", "NaN", "1e400", "-1", "0", "18446744073709551615", "9223372036854775807", "gzip", "deflate", "chunked", "identity",
            "text/html", "close", TOKEN,
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
    ];
    (name, value).prop_map(|(name, value)| [name.as_bytes(), b": ", &value, b"\r\n"].concat()).boxed()
}

fn whole_answer() -> BoxedStrategy<Vec<u8>> {
    let status = prop_oneof![
        3 => Just("200 OK".to_owned()), 1 => Just("204 No Content".to_owned()), 2 => Just("429 X".to_owned()), 4 => (0_u16..1100).prop_map(|status| format!("{status} X")),
    ];
    let body =
        prop_oneof![2 => broken(listing()), 1 => Just(TOKEN.repeat(40).into_bytes()), 1 => Just(b"[1]".repeat(3000))];
    (status, prop::collection::vec(header(), 0..6), body)
        .prop_map(|(status, headers, body)| {
            [format!("HTTP/1.1 {status}\r\n").as_bytes(), &headers.concat(), b"\r\n", &body].concat()
        })
        .boxed()
}

#[test]
fn bodies() {
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    fuzz(
        "bodies",
        Cost::Trip,
        &prop_oneof![8 => broken(listing()), 1 => json().prop_map(String::into_bytes), 1 => noise].prop_map(Bytes),
        |body| {
            answers::body(&body.0);
        },
    );
}

#[test]
fn whole_answers() {
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    fuzz("whole answers", Cost::Trip, &prop_oneof![8 => whole_answer(), 1 => noise].prop_map(Bytes), |answer| {
        answers::exchange(&answer.0)
    });
}

#[test]
fn cursors() {
    fuzz("cursors", Cost::Trip, &text(), |cursor| answers::cursor(cursor));
}

#[test]
fn walks() {
    let said = any::<(bool, bool, bool, bool, bool)>();
    fuzz("walks", Cost::Trip, &(0_usize..14, 1_usize..6, said), |(customers, page_rows, said)| {
        let (by_cursor, says_total, says_pages, says_page_rows, links) = *said;
        let (customers, page_rows) = (*customers, *page_rows);
        answers::walk(Paged { customers, page_rows, by_cursor, says_total, says_pages, says_page_rows, links });
    });
}

#[test]
fn a_sound_page_cut_at_every_byte() {
    let page = r#"{"data":[{"id":5,"email":"a\u00e9@b.c","attribute_count":1,"attributes":[{"id":9,"attribute_id":1,
        "attribute_value":"x"}]}],"meta":{}}"#;
    for end in 0..=page.len() {
        answers::body(&page.as_bytes()[..end]);
    }
}

#[test]
fn what_was_once_misread() {
    for body in [
        // Lists where objects are expected: the parser took them by position.
        "[[]]",
        r#"[[{"id": 1, "name": "Job title", "type": "string"}], {}]"#,
        r#"{"data": [[5, "a@b.c", "", "", "", "", "", "", "", null, null]]}"#,
        r#"{"data": [[9, 1, "x", 7, ""]]}"#,
        // Numbers where text is expected, which binary fractions cannot hold.
        r#"{"data": [{"id": 9, "attribute_id": 1, "customer_id": 7, "attribute_value": 12345678901234567890123}]}"#,
        r#"{"data": [{"id": 9, "attribute_id": 1, "customer_id": 7, "attribute_value": 0.1000000000000000055}]}"#,
    ] {
        answers::body(body.as_bytes());
    }
}

#[test]
fn what_once_showed_the_token() {
    // Echoed as the id of a call that cannot be read.
    for status in ["200 OK", "422 X"] {
        answers::exchange(format!("HTTP/1.1 {status}\r\nx-request-id: {TOKEN}\r\n\r\n?").as_bytes());
    }
}

/// A body that is a thousand times larger once it is unpacked: sixty-four thousand zeros in gzip.
#[test]
fn a_body_that_unpacks_to_more_than_the_limit() {
    let packed: Vec<u8> = packed_zeros();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
    answers::exchange(&[head.as_bytes(), &packed].concat());
}

fn packed_zeros() -> Vec<u8> {
    vec![
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xff, 0xed, 0xc1, 0x81, 0x00, 0x00, 0x00, 0x00, 0x80,
        0x20, 0xa5, 0xfd, 0xe9, 0x16, 0xa9, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x6a, 0x0b,
        0x51, 0x49, 0x68, 0x00, 0x00, 0x01, 0x00,
    ]
}
