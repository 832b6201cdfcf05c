//! A message: a sentence with the command that helps, in the shape that its receiver takes.

use serde_json::{Value, json};

use super::ledger::Due;
use super::trouble::{About, Trouble};
use crate::config::AlertFormat;
use crate::model::{Side, Timestamp};

/// More names than these are only counted, in the sentence.
const NAMED_MAX: usize = 20;

/// More names than these are only counted, in the list.
const LISTED_MAX: usize = 100;

/// A reason is at most this long.
const REASON_CHARS_MAX: usize = 600;

/// The body that is sent.
pub(super) fn body(due: &Due, format: AlertFormat, now: Timestamp) -> Vec<u8> {
    let text = text(due);
    let body = match format {
        AlertFormat::Json => json_of(due, &text, now),
        AlertFormat::Slack => json!({ "text": escaped(&text) }),
    };
    body.to_string().into_bytes()
}

fn json_of(due: &Due, text: &str, now: Timestamp) -> Value {
    let (about, concern) = &due.subject;
    let (store, crm) = match about {
        About::Process => (None, None),
        About::Source(Side::Store, name) => (Some(name), None),
        About::Source(Side::Crm, name) => (None, Some(name)),
        About::Pair { store, crm } => (Some(store), Some(crm)),
    };
    let trouble = due.now.as_ref().or(due.before.as_ref());
    let concerns: Vec<&String> = trouble.iter().flat_map(|trouble| &trouble.concerns).take(LISTED_MAX).collect();
    json!({
        "text": text,
        "status": match (&due.before, &due.now) {
            (_, None) => "over",
            (None, Some(_)) => "began",
            (Some(_), Some(_)) => "changed",
        },
        "concern": concern.as_str(),
        "store": store,
        "crm": crm,
        "state": trouble.map(|trouble| &trouble.state),
        "reason": trouble.map(|trouble| shortened(&trouble.reason)),
        "concerns": concerns,
        "since": due.since.to_string(),
        "at": now.to_string(),
        "command": due.now.as_ref().map(|trouble| &trouble.command),
    })
}

fn text(due: &Due) -> String {
    let who = match &due.subject.0 {
        About::Process => "Attune".to_owned(),
        About::Source(Side::Store, name) => format!("Store {name}"),
        About::Source(Side::Crm, name) => format!("CRM {name}"),
        About::Pair { store, crm } => format!("{store} with {crm}"),
    };
    let what = match &due.subject.0 {
        About::Process => format!("{who}, {}", due.subject.1.as_str()),
        About::Source(..) | About::Pair { .. } => who,
    };
    let since = due.since.to_seconds_text();
    match (&due.before, &due.now) {
        (before, Some(now)) => {
            let before = before.as_ref().map(|before| format!(" (was {})", before.state)).unwrap_or_default();
            format!(
                "{what}: {}{before} since {since}. {}{}. Next: {}",
                now.state,
                sentence(&shortened(&now.reason)),
                whom(now, &due.subject.0),
                now.command
            )
        }
        (Some(before), None) => format!("{what}: over. It was {} since {since}.", before.state),
        (None, None) => format!("{what}: over."),
    }
}

/// `. Concerns the stores acme, bravo`.
fn whom(trouble: &Trouble, about: &About) -> String {
    let others = match about {
        About::Source(Side::Crm, _) => "stores",
        About::Source(Side::Store, _) => "CRMs",
        About::Process | About::Pair { .. } => return String::new(),
    };
    if trouble.concerns.is_empty() {
        return String::new();
    }
    let mut names = trouble.concerns.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if let Some(more) = trouble.concerns.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        names += &format!(" and {more} more");
    }
    format!(". Concerns the {others} {names}")
}

/// With a capital, and without its full stop.
fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn shortened(text: &str) -> String {
    let plain = text.replace(char::is_control, " ");
    if plain.chars().count() <= REASON_CHARS_MAX {
        return plain;
    }
    plain.chars().take(REASON_CHARS_MAX).chain(['…']).collect()
}

/// What Slack would read as markup is not.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::trouble::Concern;
    use super::*;

    fn trouble(state: &str, concerns: usize) -> Trouble {
        Trouble {
            state: state.to_owned(),
            reason: "it did not answer in time <a&b>; it is tried again.".to_owned(),
            concerns: (1..=concerns).map(|number| format!("s{number}")).collect(),
            command: "attune status".to_owned(),
        }
    }

    fn due(before: Option<Trouble>, now: Option<Trouble>) -> Due {
        let since = Timestamp::parse("2026-11-22T13:50:01.500Z").unwrap();
        Due { subject: (About::Source(Side::Crm, "erp".to_owned()), Concern::State), before, now, since }
    }

    fn read(due: &Due, format: AlertFormat) -> Value {
        let now = Timestamp::parse("2026-11-22T13:52:00Z").unwrap();
        serde_json::from_slice(&body(due, format, now)).unwrap()
    }

    #[test]
    fn a_beginning_names_whom_it_concerns_and_the_command_that_helps() {
        let began = due(None, Some(trouble("unreachable", 2)));
        let text = "CRM erp: unreachable since 2026-11-22T13:50:01Z. It did not answer in time <a&b>; it is tried again. \
                    Concerns the stores s1, s2. Next: attune status";
        assert_eq!(
            read(&began, AlertFormat::Json),
            json!({
                "text": text, "status": "began", "concern": "state", "store": null, "crm": "erp", "state": "unreachable",
                "reason": "it did not answer in time <a&b>; it is tried again.", "concerns": ["s1", "s2"],
                "since": "2026-11-22T13:50:01.5Z", "at": "2026-11-22T13:52:00Z", "command": "attune status",
            })
        );
        let slack = text.replace("<a&b>", "&lt;a&amp;b&gt;");
        assert_eq!(read(&began, AlertFormat::Slack), json!({ "text": slack }));
    }

    #[test]
    fn a_change_says_what_it_was_and_an_end_says_how_long() {
        let changed = read(&due(Some(trouble("unreachable", 0)), Some(trouble("unauthorized", 0))), AlertFormat::Json);
        assert_eq!(changed["status"], "changed");
        assert!(changed["text"].as_str().unwrap().starts_with("CRM erp: unauthorized (was unreachable) since "));
        let over = read(&due(Some(trouble("unreachable", 0)), None), AlertFormat::Json);
        assert_eq!((&over["status"], &over["command"]), (&"over".into(), &Value::Null));
        assert_eq!(over["text"], "CRM erp: over. It was unreachable since 2026-11-22T13:50:01Z.");
    }

    #[test]
    fn it_is_short_whatever_it_is_about() {
        let mut long = trouble("unreachable", 1000);
        long.reason = "x\n".repeat(10_000);
        let body = body(&due(None, Some(long)), AlertFormat::Json, Timestamp::EPOCH);
        assert!(body.len() < 4000, "{}", body.len());
        let text = serde_json::from_slice::<Value>(&body).unwrap()["text"].as_str().unwrap().to_owned();
        assert!(text.contains("s20 and 980 more") && !text.contains('\n'), "{text}");
    }
}
