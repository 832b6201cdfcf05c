//! OData batches (`$batch`, multipart): requests that stand for themselves in one call, and their answers. Pure.
//!
//! Never a change set: a service may answer 200 and a new ETag to a request of a change set that it then rolled back.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::http::Answer;

/// No line of JSON can be this: line breaks are escaped in it.
const BOUNDARY: &str = "attune-batch";

/// One request.
pub(super) struct Part<'a> {
    pub(super) method: &'a str,
    pub(super) address: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// The answer to one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartAnswer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// The headers of the call: without the preference a service stops at the first request that fails.
pub(super) fn headers() -> HeaderMap {
    [
        (CONTENT_TYPE, HeaderValue::from_static("multipart/mixed; boundary=attune-batch")),
        (HeaderName::from_static("prefer"), HeaderValue::from_static("odata.continue-on-error")),
        (reqwest::header::ACCEPT, HeaderValue::from_static("multipart/mixed")),
    ]
    .into_iter()
    .collect()
}

/// The address of a request as services want it in a batch: relative to the folder that the batch is sent to. Not all of them
/// understand the other forms of the standard.
pub(super) fn relative(batch: &str, address: &str) -> String {
    let folder = batch.rsplit_once('/').map_or("", |(folder, _)| folder);
    let below = address.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
    below.map_or_else(|| address.to_owned(), str::to_owned)
}

pub(super) fn body(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let Part { method, address, body: json, .. } = part;
        let length = json.len();
        let head = format!(
            "--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: {}\r\n\r\n\
             {method} {address} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n",
            number + 1
        );
        body.extend_from_slice(head.as_bytes());
        for (name, value) in &part.headers {
            body.extend_from_slice(name.as_str().as_bytes());
            body.extend_from_slice(b": ");
            body.extend_from_slice(value.as_bytes());
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("\r\n{json}\r\n").as_bytes());
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// The answers in the order of the requests, none for those that have none; nothing where it makes no sense.
pub(super) fn answers(answer: &Answer, requests: usize) -> Option<Vec<Option<PartAnswer>>> {
    let kind = answer.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    read(kind, &answer.body, requests)
}

fn read(kind: &str, body: &[u8], requests: usize) -> Option<Vec<Option<PartAnswer>>> {
    if !kind.trim_start().to_ascii_lowercase().starts_with("multipart/mixed") {
        return None;
    }
    let parameter = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    let delimiter = format!("--{}", parameter.trim().trim_matches('"'));
    let mut answers: Vec<Option<PartAnswer>> = Vec::new();
    answers.resize_with(requests, || None);
    let text = std::str::from_utf8(body).ok()?;
    let mut pieces = text.split(delimiter.as_str());
    pieces.next();
    let mut ended = false;
    for (number, piece) in pieces.enumerate() {
        if piece.starts_with("--") {
            ended = true;
            break;
        }
        let (about, http) = halves(piece.trim_start_matches(['\r', '\n']))?;
        let about = headers_of(about.lines());
        if !about.get(CONTENT_TYPE)?.to_str().ok()?.starts_with("application/http") {
            return None;
        }
        // Some services number answers as the requests were, all keep their order.
        let told = about.get("content-id").and_then(|id| id.to_str().ok()?.trim().parse::<usize>().ok());
        let place = told.and_then(|told| told.checked_sub(1)).unwrap_or(number);
        let (head, body) = halves(http).unwrap_or((http, ""));
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let answer = PartAnswer { status, headers: headers_of(lines), body: body.trim_end().as_bytes().to_vec() };
        let slot = answers.get_mut(place).filter(|slot| slot.is_none())?;
        *slot = Some(answer);
    }
    ended.then_some(answers)
}

/// What stands before and after the first empty line.
fn halves(text: &str) -> Option<(&str, &str)> {
    text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n"))
}

fn headers_of<'a>(lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    lines
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::from_str(value.trim()).ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/mixed; boundary=\"b1\"";

    fn statuses(body: &str) -> Option<Vec<Option<u16>>> {
        let answers = read(KIND, body.as_bytes(), 2)?;
        Some(answers.into_iter().map(|answer| answer.map(|answer| answer.status)).collect())
    }

    #[test]
    fn a_batch_is_written_as_multipart() {
        let headers = [("if-match".parse().unwrap(), HeaderValue::from_static("W/\"1\""))].into_iter().collect();
        let part =
            Part { method: "PATCH", address: "https://x/C(1)".to_owned(), headers, body: "{\"a\":\"ä\"}".to_owned() };
        let text = String::from_utf8(body(&[part])).unwrap();
        assert_eq!(
            text,
            "--attune-batch\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\n\
             PATCH https://x/C(1) HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 10\r\nif-match: W/\"1\"\r\n\r\n\
             {\"a\":\"ä\"}\r\n--attune-batch--\r\n"
        );
    }

    #[test]
    fn answers_are_read_one_by_one() {
        let part = |status: &str, body: &str| {
            format!("--b1\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status}\r\nETag: \"2\"\r\n\r\n{body}\r\n")
        };
        let whole = format!("{}{}--b1--\r\n", part("200 OK", "{\"a\":1}"), part("412 Precondition Failed", ""));
        let answers = read(KIND, whole.as_bytes(), 2).unwrap();
        let first = answers[0].as_ref().unwrap();
        assert_eq!((first.status, &first.body[..]), (200, &b"{\"a\":1}"[..]));
        assert_eq!(first.headers.get("etag").unwrap(), "\"2\"");
        assert_eq!(answers[1].as_ref().unwrap().status, 412);
        let numbered = whole.replacen("http\r\n\r\n", "http\r\nContent-ID: 2\r\n\r\n", 1);
        let numbered = numbered.replacen("http\r\n\r\n", "http\r\nContent-ID: 1\r\n\r\n", 1);
        assert_eq!(statuses(&numbered), Some(vec![Some(412), Some(200)]));
        assert_eq!(statuses(&format!("{}--b1--", part("400 Bad Request", ""))), Some(vec![Some(400), None]));
        assert_eq!(statuses(&whole.replace('\r', "")), Some(vec![Some(200), Some(412)]));
    }

    #[test]
    fn addresses_are_relative_to_the_batch() {
        assert_eq!(relative("/$batch", "/Contacts(1)?x=1"), "Contacts(1)?x=1");
        assert_eq!(relative("/v4/$batch", "/v4/Contacts(1)"), "Contacts(1)");
        assert_eq!(relative("/v4/$batch", "/v41/Contacts(1)"), "/v41/Contacts(1)");
    }

    #[test]
    fn what_makes_no_sense_is_nothing() {
        let part = "--b1\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\r\n";
        for body in [
            String::new(),
            part.to_owned(),
            format!("{part}{part}{part}--b1--"),
            format!("{}--b1--", part.replace("200", "fine")),
            format!("{}--b1--", part.replace("application/http", "multipart/mixed; boundary=c")),
        ] {
            assert_eq!(statuses(&body), None, "{body}");
        }
        assert!(read("application/json", b"{}", 1).is_none());
    }
}
