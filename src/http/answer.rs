//! One good answer: its body, read within a limit, and the system's clock before the call.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use serde::Deserialize;

use super::failure;
use crate::model::{Failure, Timestamp};

/// An answer with a status of 2xx.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body, decompressed.
    pub body: Vec<u8>,
    /// The headers; they may hold anything.
    pub headers: HeaderMap,
    /// The system's own clock at a moment before the call was sent, never later than the truth; none where the answer
    /// carries no `Date`.
    pub clock: Option<Timestamp>,
    /// The system's own clock when it answered, cut to the second (`Date`).
    pub date: Option<Timestamp>,
    /// The system's id for the call (`X-Request-Id`).
    pub request_id: Option<String>,
    /// Method, host and path, for people.
    pub(super) place: String,
    pub(super) html: bool,
}

impl Answer {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// Of class `Broken`, possibly happened: HTML, cut off, or a shape that is not `T`.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let first = self.body.iter().find(|byte| !byte.is_ascii_whitespace());
            let mut unreadable = if first.is_none() {
                self.unreadable("nothing where JSON was expected")
            } else if first == Some(&b'<') || (self.html && !error.is_data()) {
                self.unreadable("HTML instead of JSON")
            } else if error.is_eof() {
                self.unreadable("JSON that is cut off")
            } else if error.is_syntax() {
                self.unreadable("something that is not JSON")
            } else {
                self.unreadable("JSON of a shape that we do not understand")
            };
            unreadable.detail = Some(failure::shorten(&unquoted(&error.to_string())));
            unreadable
        })
    }

    /// The failure of an answer whose content makes no sense; `why` ends the sentence "… answered".
    pub fn unreadable(&self, why: &str) -> Failure {
        let mut failure = failure::unreadable(&self.place, self.status, why);
        failure.request_id.clone_from(&self.request_id);
        failure
    }
}

/// What the parser says, without what it quotes of the answer: that may be anything, a secret too.
fn unquoted(text: &str) -> String {
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}\"…\"{}", &text[..first], &text[last + 1..]),
        _ => text.to_owned(),
    }
}

/// Why a body was not read.
pub(super) enum BodyError {
    /// It is longer than the limit: nothing more is read or kept.
    TooLarge,
    /// The connection broke, or the time was over.
    Transport(reqwest::Error),
}

/// Reads at most `bytes_max` bytes; never holds more.
pub(super) async fn read_body(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > bytes_max as u64 {
        return Err(BodyError::TooLarge);
    }
    let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Transport)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads at most `bytes_max` bytes of the body of a refusal; what cannot be read is no matter.
pub(super) async fn read_refusal(mut response: Response, bytes_max: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < bytes_max {
        let Ok(Some(chunk)) = response.chunk().await else { break };
        let room = bytes_max - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    body
}

/// The system's clock before the call: its `Date` (cut to the second) less the time until the headers were here.
pub(super) fn clock(date: Timestamp, took: Duration) -> Timestamp {
    // A whole millisecond more: what is rounded is rounded down.
    date - took - Duration::from_millis(1)
}

/// When the system says that it answered.
pub(super) fn answered(headers: &HeaderMap) -> Option<Timestamp> {
    date(headers, DATE.as_str()).map(|date| Timestamp::from_millis(date.as_millisecond()))
}

/// A header that holds a date.
pub(super) fn date(headers: &HeaderMap, name: &str) -> Option<jiff::Timestamp> {
    let text = headers.get(name)?.to_str().ok()?;
    jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()
}

pub(super) fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.to_ascii_lowercase().contains("html")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
        let place = "GET host/path".to_owned();
        let request_id = Some("r1".into());
        let headers = HeaderMap::new();
        Answer { status: 200, body: body.into(), headers, clock: None, date: None, request_id, place, html: false }
    }

    #[test]
    fn the_clock_is_never_later_than_the_truth() {
        let headers: HeaderMap = [(DATE, "Tue, 15 Nov 1994 08:12:31 GMT".parse().unwrap())].into_iter().collect();
        let clock = clock(answered(&headers).unwrap(), Duration::from_micros(1_500_400));
        assert_eq!(clock, Timestamp::parse("1994-11-15T08:12:29.499Z").unwrap());
        assert_eq!(answered(&HeaderMap::new()), None);
    }

    #[test]
    fn what_cannot_be_read_says_why_and_never_repeats_it() {
        for (body, why) in [
            ("", "nothing"),
            ("  <!doctype html>", "HTML"),
            ("[1, 2", "cut off"),
            ("[1 2]", "not JSON"),
            (r#"["bob@example.com"]"#, "a shape"),
        ] {
            let failure = answer(body).json::<Vec<u64>>().unwrap_err();
            assert!(failure.message.contains(why), "{body}: {}", failure.message);
            assert!(!format!("{failure:?}").contains("bob@example.com"), "{failure:?}");
            assert!(failure.may_have_happened);
            assert_eq!(failure.request_id.as_deref(), Some("r1"));
        }
    }
}
