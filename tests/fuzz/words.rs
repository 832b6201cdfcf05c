//! Command lines of known words, numbers, times and whatever else a shell hands over.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;
use proptest::sample::select;

use crate::harness::{Cost, fuzz};
use crate::mutation::{number, text, time};
use crate::targets::words;

fn word() -> BoxedStrategy<OsString> {
    let known = select(vec![
        "demo",
        "check",
        "link",
        "add",
        "remove",
        "plan",
        "sync",
        "run",
        "status",
        "held",
        "retry",
        "resolve",
        "drop",
        "explain",
        "history",
        "approve",
        "pause",
        "resume",
        "forget",
        "simulate",
        "help",
        "--config",
        "--store",
        "--patience",
        "--json",
        "--csv",
        "--all",
        "--sweep",
        "--limit",
        "--expect",
        "--since",
        "--until",
        "--field",
        "--reason",
        "--take",
        "--yes",
        "--offline",
        "--watch",
        "--exit-code",
        "--crm",
        "--customers",
        "--attribute",
        "--latency",
        "--skew",
        "--scope",
        "--reading",
        "--help",
        "--version",
        "--",
        "-",
        "-h",
        "--=",
        "--store=",
        "--patience=5s",
        "acme",
        "store",
        "crm",
        "first meeting",
        "A:number",
        "A:date:",
        "-5s",
        "1d",
    ]);
    prop_oneof![
        8 => known.prop_map(OsString::from),
        1 => number().prop_map(OsString::from),
        1 => time().prop_map(OsString::from),
        1 => text().prop_map(OsString::from),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(OsString::from_vec),
        1 => (select(vec!["--since=", "--patience=", "--limit=", "--reason=", "--skew=", "--share="]), prop_oneof![number(), time(), text()])
            .prop_map(|(option, value)| OsString::from(format!("{option}{value}"))),
    ]
    .boxed()
}

#[test]
fn command_lines() {
    fuzz("command lines", Cost::Trip, &prop::collection::vec(word(), 0..8), |line| words::command_line(line));
}

#[test]
fn a_word_as_long_as_a_command_line_can_be() {
    let long = "x".repeat(100_000);
    for line in [
        vec!["held", "--reason", &long],
        vec![&long],
        vec!["sync", "--patience", &long],
        vec!["history", "--since", &long],
    ] {
        words::command_line(&line.into_iter().map(OsString::from).collect::<Vec<_>>());
    }
}
