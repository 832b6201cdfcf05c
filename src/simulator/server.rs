//! HTTP: requests become calls on stores, what became of them becomes answers, resets and broken bodies.
//!
//! Must not know: what the endpoints do.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderName, HeaderValue, Request as HttpRequest, StatusCode, header, request::Parts};
use axum::response::Response;

use super::answer::{Answer, Meta, Refusal, created, rows};
use super::clock::Clock;
use super::connection::{Connection, Gate};
use super::control_http;
use super::endpoint::{self, NoCall};
use super::faults::Fault;
use super::quota::Spent;
use super::random::Random;
use super::recorder::{Asked, Call, Recorder};
use super::report::LoggedRequest;
use super::store::{Incoming, Store};

/// The greatest body of a request.
const BODY_MAX_BYTES: usize = 16 << 20;
/// How much of a huge body is sent at a time.
const HUGE_CHUNK_BYTES: usize = 64 << 10;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) url: String,
    pub(super) stores: BTreeMap<String, Arc<Store>>,
    pub(super) clock: Arc<Clock>,
    pub(super) gate: Arc<Gate>,
    pub(super) uri_limit_bytes: usize,
    pub(super) requests: AtomicU64,
    pub(super) recorder: Option<Recorder>,
}

/// What is sent back.
enum Outcome {
    Answer(Result<Answer, Refusal>),
    /// A status and a body that have nothing to do with the question.
    Nonsense(u16, &'static str, &'static str),
    Truncated(Answer),
    Huge(u64),
    Reset,
}

/// Every request comes here.
pub(super) async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: HttpRequest<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX_BYTES).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    };
    let path = parts.uri.path().to_owned();
    if path == "/_simulator" || path.starts_with("/_simulator/") {
        return control_http::handle(&shared, &parts, &body).await;
    }
    let Some((hash, rest)) = path.strip_prefix("/stores/").and_then(|rest| rest.find('/').map(|at| rest.split_at(at)))
    else {
        return plain(StatusCode::NOT_FOUND, "there is nothing here but /stores/{hash}/… and /_simulator");
    };
    let Some(store) = shared.stores.get(hash).map(Arc::clone) else {
        return plain(StatusCode::NOT_FOUND, "there is no such store");
    };
    let (hash, rest) = (hash.to_owned(), rest.to_owned());
    let writes = parts.method != axum::http::Method::GET;
    let work = serve(shared, store, connection, parts, (hash, rest), body);
    if writes {
        // A server carries on when its client hangs up: what was sent takes effect.
        tokio::spawn(work).await.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "the simulator failed"))
    } else {
        work.await
    }
}

async fn serve(
    shared: Arc<Shared>,
    store: Arc<Store>,
    connection: Connection,
    parts: Parts,
    (hash, path): (String, String),
    body: Bytes,
) -> Response {
    let mut exchange = Exchange {
        request_id: request_id(shared.requests.fetch_add(1, Ordering::Relaxed)),
        is_v2: path.starts_with("/v2/"),
        spent: None,
        fault: None,
        asked: shared.recorder.is_some().then(|| Asked::new(&parts.headers, &body)),
        shared,
        connection,
        hash,
        method: parts.method.to_string(),
        target: match parts.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.clone(),
        },
    };
    if store.outage() {
        return exchange.finish(&store, Outcome::Reset);
    }
    let refusal = |refusal: Refusal| Outcome::Answer(Err(refusal));
    let (call, ids) = match endpoint::parse(parts.method.as_str(), &path) {
        Ok(parsed) => parsed,
        Err(NoCall::Path) => {
            return exchange.finish(&store, refusal(Refusal::new(404, "The resource does not exist.").violating()));
        }
        Err(NoCall::Method) => {
            return exchange.finish(&store, refusal(Refusal::new(405, "Method Not Allowed").violating()));
        }
    };
    if exchange.target.len() > exchange.shared.uri_limit_bytes {
        return exchange.finish(&store, refusal(Refusal::new(414, "URI Too Long").violating()));
    }
    let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let incoming = Incoming {
        call,
        ids,
        query: parts.uri.query().map(str::to_owned),
        body: body.to_vec(),
        token: text(HeaderName::from_static("x-auth-token")),
        content_type: text(header::CONTENT_TYPE),
    };
    let admission = store.admit(&incoming);
    exchange.spent = admission.spent;
    let admitted = match admission.verdict {
        Ok(admitted) => admitted,
        Err(refused) => return exchange.finish(&store, refusal(refused)),
    };
    exchange.fault = admitted.fault;
    let slow = Duration::from_millis(admitted.slow_ms);
    tokio::time::sleep(Duration::from_millis(admitted.latency_ms)).await;
    if admitted.fault == Some(Fault::Slow) {
        tokio::time::sleep(slow).await;
    }
    let done = || store.answer(&incoming, admitted.fault);
    let outcome = match admitted.fault {
        None | Some(Fault::Slow | Fault::RepeatPage) => Outcome::Answer(done()),
        Some(Fault::SlowAfter) => {
            let answer = done();
            tokio::time::sleep(slow).await;
            Outcome::Answer(answer)
        }
        Some(Fault::ServerError) => refusal(server_error(store.server_error())),
        Some(Fault::ServerErrorAfter) => {
            let _ = done();
            refusal(server_error(store.server_error()))
        }
        Some(Fault::ResetBefore) => Outcome::Reset,
        Some(Fault::ResetAfter) => {
            let _ = done();
            Outcome::Reset
        }
        Some(Fault::LateEffect) => {
            store.answer_later(incoming);
            Outcome::Reset
        }
        Some(Fault::Truncated) => match done() {
            Ok(answer) => Outcome::Truncated(answer),
            refused => Outcome::Answer(refused),
        },
        Some(Fault::NoRows) => Outcome::Answer(done().map(|answer| match answer {
            Answer::Json(_) => rows::<u8>(&[], Meta::default()),
            Answer::Created(_) => created::<u8>(&[]),
            Answer::NoContent => Answer::NoContent,
        })),
        Some(Fault::Html) => Outcome::Nonsense(
            200,
            "text/html; charset=UTF-8",
            "<!DOCTYPE html><html><head><title>We'll be right back</title></head><body><h1>Maintenance</h1></body></html>",
        ),
        Some(Fault::WrongShape) => Outcome::Nonsense(
            200,
            "application/json",
            r#"{"data":{"id":"seven","attribute_value":[1,2,3]},"meta":"none"}"#,
        ),
        Some(Fault::Huge) => Outcome::Huge(admitted.huge_body_bytes),
        Some(Fault::Bare429) => {
            exchange.spent = None;
            refusal(Refusal::new(429, "Too many requests"))
        }
        Some(Fault::Unauthorized) => refusal(Refusal::new(401, "The X-Auth-Token is missing or not valid.")),
        Some(Fault::Forbidden) => refusal(Refusal::new(403, "You don't have a required scope to access the endpoint")),
    };
    drop(admitted);
    exchange.finish(&store, outcome)
}

/// An empty title, as seen of a real 504 (<https://github.com/bigcommerce/bigcommerce-for-wordpress/issues/303>).
fn server_error(status: u16) -> Refusal {
    Refusal::new(status, "")
}

/// Looks like an id, is the same in every run.
fn request_id(number: u64) -> String {
    let mut random = Random::of(0x51D, number);
    format!("{:016x}{:016x}", random.next(), random.next())
}

/// One request and what is known about its answer so far.
struct Exchange {
    shared: Arc<Shared>,
    connection: Connection,
    request_id: String,
    is_v2: bool,
    spent: Option<Spent>,
    fault: Option<Fault>,
    /// Kept for the record, where there is one.
    asked: Option<Asked>,
    hash: String,
    method: String,
    target: String,
}

impl Exchange {
    /// Counts, logs and sends.
    fn finish(self, store: &Store, outcome: Outcome) -> Response {
        let status = match &outcome {
            Outcome::Answer(Ok(Answer::Json(_))) | Outcome::Truncated(_) | Outcome::Huge(_) => 200,
            Outcome::Answer(Ok(Answer::Created(_))) => 201,
            Outcome::Answer(Ok(Answer::NoContent)) => 204,
            Outcome::Answer(Err(refusal)) => refusal.status,
            Outcome::Nonsense(status, _, _) => *status,
            Outcome::Reset => 0,
        };
        self.log(store, status, &outcome);
        self.record(status, &outcome);
        let json = "application/json";
        let (kind, length, body) = match outcome {
            Outcome::Answer(Ok(Answer::Json(body) | Answer::Created(body))) => {
                (json, body.len() as u64, Body::from(body))
            }
            Outcome::Answer(Ok(Answer::NoContent)) => (json, 0, Body::empty()),
            Outcome::Answer(Err(refusal)) => {
                let body = refusal.body(self.is_v2);
                (json, body.len() as u64, Body::from(body))
            }
            Outcome::Nonsense(_, kind, text) => (kind, text.len() as u64, Body::from(text)),
            Outcome::Truncated(answer) => {
                let body = match answer {
                    Answer::Json(body) | Answer::Created(body) => body,
                    Answer::NoContent => Vec::new(),
                };
                (json, body.len().max(2) as u64, half(body))
            }
            Outcome::Huge(bytes) => (json, bytes, huge(bytes)),
            Outcome::Reset => {
                self.connection.reset();
                (json, 0, Body::empty())
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let mut set = |name: &str, value: String| {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        };
        set("date", self.date());
        set("x-request-id", self.request_id);
        if status != 204 {
            set("content-type", kind.to_owned());
            set("content-length", length.to_string());
        }
        for (name, value) in self.spent.iter().flat_map(Spent::headers) {
            // Only a refused call is told when to come back.
            if name != "X-Retry-After" || status == 429 {
                set(name, value);
            }
        }
        response
    }

    fn log(&self, store: &Store, status: u16, outcome: &Outcome) {
        let (mut state, _) = store.now();
        *state.report.statuses.entry(status).or_default() += 1;
        if let Outcome::Answer(Err(refusal)) = outcome
            && refusal.violation
        {
            let because: Vec<String> = refusal.errors.iter().map(|(field, what)| format!("{field}: {what}")).collect();
            let note = format!("{} {}: {status} {} {}", self.method, self.target, refusal.title, because.join(", "));
            state.report.violation(note.trim_end().to_owned());
        }
        state.log.add(LoggedRequest {
            number: 0,
            at: self.shared.clock.now(),
            method: self.method.clone(),
            target: self.target.clone(),
            status,
            fault: self.fault,
            request_id: self.request_id.clone(),
        });
    }

    fn record(&self, status: u16, outcome: &Outcome) {
        let (Some(recorder), Some(asked)) = (&self.shared.recorder, &self.asked) else { return };
        let answer: Cow<'_, [u8]> = match outcome {
            Outcome::Answer(Ok(Answer::Json(body) | Answer::Created(body))) => body.as_slice().into(),
            Outcome::Answer(Err(refusal)) => refusal.body(self.is_v2).into(),
            Outcome::Nonsense(_, _, text) => text.as_bytes().into(),
            // Of these no whole body arrives.
            Outcome::Truncated(_) | Outcome::Huge(_) | Outcome::Reset | Outcome::Answer(Ok(Answer::NoContent)) => {
                Cow::default()
            }
        };
        let (path, query) =
            self.target.split_once('?').map_or((&*self.target, None), |(path, query)| (path, Some(query)));
        let call = Call {
            at_ms: self.shared.clock.now(),
            store: &self.hash,
            method: &self.method,
            path,
            query,
            status,
            fault: self.fault,
        };
        recorder.record(call, asked, &answer);
    }

    fn date(&self) -> String {
        let now = jiff::Timestamp::from_millisecond(self.shared.clock.now().as_millis()).unwrap_or_default();
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default()
    }
}

/// Half of a body; the connection is closed where the other half should come.
fn half(body: Vec<u8>) -> Body {
    let mut first = body;
    first.truncate(first.len() / 2);
    let stream = futures::stream::unfold(Some(first), |first| async move {
        match first {
            Some(first) => Some((Ok(Bytes::from(first)), None)),
            None => {
                // What was written so far leaves while this waits.
                tokio::task::yield_now().await;
                Some((Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)), None))
            }
        }
    });
    Body::from_stream(stream)
}

/// The beginning of a list that never comes to its first row.
fn huge(bytes: u64) -> Body {
    let stream = futures::stream::unfold((0_u64, bytes), |(sent, bytes)| async move {
        if sent == bytes {
            return None;
        }
        let length = usize::try_from(bytes - sent).unwrap_or(usize::MAX).min(HUGE_CHUNK_BYTES);
        let mut chunk = vec![b' '; length];
        if sent == 0 {
            for (place, byte) in chunk.iter_mut().zip(br#"{"data":["#) {
                *place = *byte;
            }
        }
        Some((Ok::<_, std::io::Error>(Bytes::from(chunk)), (sent + length as u64, bytes)))
    });
    Body::from_stream(stream)
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
