//! When a source is read: the keys that stores and CRMs have in common.

use std::time::Duration;

use croner::parser::{CronParser, Seconds};

use super::reader::{Fields, Reader};
use super::tree::Node;
use super::{Sweep, Times};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Polling more often than this would only ask the same again.
const SHORTEST_POLL: Duration = Duration::from_millis(10);

/// Reads `poll`, `sweep`, `overlap`, `quarantine` and `replica_lag`.
pub(super) fn read(reader: &Reader, fields: &Fields<'_, '_>) -> Times {
    let defaults = Times::default();
    let up_to = |most: Duration| move |node| reader.duration(node, Duration::ZERO..=most);
    Times {
        poll: fields.get_or("poll", defaults.poll, |node| reader.duration(node, SHORTEST_POLL..=DAY)),
        sweep: fields.get_or("sweep", defaults.sweep, |node| sweep(reader, node)),
        overlap: fields.get_or("overlap", defaults.overlap, up_to(7 * DAY)),
        quarantine: fields.get_or("quarantine", defaults.quarantine, up_to(DAY)),
        replica_lag: fields.get_or("replica_lag", defaults.replica_lag, up_to(DAY)),
    }
}

fn sweep(reader: &Reader, node: &Node) -> Option<Sweep> {
    let text = reader.any_text(node, "\"daily\", \"off\", or a cron pattern in quotes")?;
    match text.trim() {
        "daily" => Some(Sweep::Daily),
        "off" => Some(Sweep::Off),
        pattern => match cron(pattern) {
            Ok(pattern) => Some(Sweep::Cron(pattern)),
            Err(message) => {
                reader.problem(node, message);
                None
            }
        },
    }
}

/// A cron pattern of five or six fields, as six: what the scheduler takes, by the rules that the scheduler has.
fn cron(pattern: &str) -> Result<String, String> {
    const EXPECTED: &str = "expected \"daily\", \"off\", or a cron pattern in UTC of five fields (minute, hour, day of \
                            month, month, day of week) or six (seconds first), such as \"30 3 * * *\"";
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let six = match fields.len() {
        5 => format!("0 {}", fields.join(" ")),
        6 => fields.join(" "),
        _ => return Err(EXPECTED.to_owned()),
    };
    if !six.is_ascii() || six.contains('@') {
        return Err(EXPECTED.to_owned());
    }
    let parser = CronParser::builder().seconds(Seconds::Required).dom_and_dow(true).build();
    match parser.parse(&six) {
        Ok(_) => Ok(six),
        Err(_) => Err(format!("a field of this cron pattern is out of its range or misspelt; {EXPECTED}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_and_six_fields_become_six() {
        assert_eq!(cron("30  3 * * *").as_deref(), Ok("0 30 3 * * *"));
        assert_eq!(cron("15 30 3 * * MON-FRI").as_deref(), Ok("15 30 3 * * MON-FRI"));
    }

    #[test]
    fn anything_else_is_refused() {
        for pattern in
            ["", "weekly", "@daily", "* * * *", "* * * * * * *", "61 * * * *", "* 24 * * *", "é * * * *", "x x x x x"]
        {
            assert!(cron(pattern).is_err(), "{pattern}");
        }
    }
}
