//! A record of all calls with their answers, one line of JSON each, for whoever holds them against BigCommerce's own
//! description of its API. What a line holds is in `docs/command-line.md`.
//!
//! Must not know: what the calls mean. It never sees a token: of most headers it is only told that they were there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

use axum::http::{HeaderMap, header};
use serde::Serialize;

use crate::model::Timestamp;

use super::faults::Fault;

/// A longer body is left out of its line, which then tells its length alone.
const BODY_MAX_BYTES: usize = 1 << 20;

/// A file to which calls are appended. Several simulators, of several processes, may share one.
#[derive(Debug)]
pub(super) struct Recorder {
    file: File,
    failure: OnceLock<io::Error>,
}

/// What was asked, as it came.
#[derive(Debug)]
pub(super) struct Asked {
    /// Which headers were sent, by name; of most of them the value is not told.
    headers: serde_json::Map<String, serde_json::Value>,
    body: Vec<u8>,
}

/// One call.
#[derive(Debug, Serialize)]
pub(super) struct Call<'call> {
    /// When it was answered, by the simulator's clock.
    pub(super) at_ms: Timestamp,
    /// The store's hash.
    pub(super) store: &'call str,
    /// The method.
    pub(super) method: &'call str,
    /// The path after `/stores/{hash}`.
    pub(super) path: &'call str,
    /// The query as it was sent.
    pub(super) query: Option<&'call str>,
    /// The status; 0: the connection was reset.
    pub(super) status: u16,
    /// What went wrong on purpose: such an answer is often none that BigCommerce would give.
    pub(super) fault: Option<Fault>,
}

#[derive(Serialize)]
struct Line<'call> {
    #[serde(flatten)]
    call: Call<'call>,
    headers: &'call serde_json::Map<String, serde_json::Value>,
    request_bytes: usize,
    request: Option<&'call str>,
    answer_bytes: usize,
    answer: Option<&'call str>,
}

impl Asked {
    /// From a request.
    pub(super) fn new(headers: &HeaderMap, body: &[u8]) -> Self {
        let shown = |name: &str, value: &header::HeaderValue| {
            let plain = [header::ACCEPT.as_str(), header::CONTENT_TYPE.as_str()].contains(&name);
            let value = if plain { value.to_str().unwrap_or("not text") } else { "not recorded" };
            (name.to_owned(), value.into())
        };
        let headers = headers.iter().map(|(name, value)| shown(name.as_str(), value)).collect();
        Self { headers, body: body.to_vec() }
    }
}

impl Recorder {
    /// Appends to a file, or makes it, for its owner alone: what is synchronised with real people's data is recorded too.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self { file: options.open(path)?, failure: OnceLock::new() })
    }

    /// Appends one call: one line, by one write, so that the lines of several processes do not mix.
    pub(super) fn record(&self, call: Call<'_>, asked: &Asked, answer: &[u8]) {
        if let Err(error) = self.try_record(call, asked, answer) {
            // The first failure tells the cause; the record has a gap from here on.
            let _ = self.failure.set(error);
        }
    }

    fn try_record(&self, call: Call<'_>, asked: &Asked, answer: &[u8]) -> io::Result<()> {
        let line = Line {
            call,
            headers: &asked.headers,
            request_bytes: asked.body.len(),
            request: text(&asked.body),
            answer_bytes: answer.len(),
            answer: text(answer),
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        (&self.file).write_all(&bytes)
    }

    /// Why the record is not complete, if it is not.
    pub(super) fn failure(&self) -> Option<&io::Error> {
        self.failure.get()
    }
}

/// What is neither text nor short is left out.
fn text(body: &[u8]) -> Option<&str> {
    if body.is_empty() || body.len() > BODY_MAX_BYTES { None } else { std::str::from_utf8(body).ok() }
}
