//! Calls to one system: take a turn, send once, classify.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer::{self, Answer, BodyError};
use super::client::Base;
use super::throttle::Running;
use super::{Client, Lane, Throttle, failure};
use crate::model::{Class, Failure};
use crate::telemetry::metrics::{CallOutcome, Measure};

/// The largest body that is read by default: 16 MiB. A page of 250 customers with 50 values each is a tenth of it.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most that is read of the body of a refusal.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// The longest request id that is kept.
const REQUEST_ID_CHARS_MAX: usize = 100;

/// Gives the secret as it is now. It is asked at the first call and again when the system refuses the secret; the
/// error is a sentence that says where the secret was looked for, never the secret.
pub type SecretProvider = Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// A secret that a system gives out for a while: a session, a token. It is asked for at the first call and again when the
/// system refuses the one that it gave; never twice at a time.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// A fresh one. It must not wait for a turn of the throttle whose calls wait for it.
    ///
    /// # Errors
    /// Why there is none, in the class that decides what happens next: it stands for the call that needed it.
    async fn fetch(&self) -> Result<SecretString, Failure>;
}

/// Where a secret comes from.
#[derive(Clone)]
pub enum SecretSource {
    /// It is kept somewhere.
    Kept(SecretProvider),
    /// The system gives it out.
    Fetched(Arc<dyn Fetch>),
}

impl From<SecretProvider> for SecretSource {
    fn from(provider: SecretProvider) -> Self {
        Self::Kept(provider)
    }
}

/// How calls prove who we are: a header that holds a secret.
#[derive(Clone)]
pub struct Credential {
    /// The header: `x-auth-token`, `authorization`.
    pub header: HeaderName,
    /// What stands before the secret in it: nothing, or `Bearer `.
    pub prefix: Cow<'static, str>,
    /// Where the secret comes from.
    pub secret: SecretSource,
}

/// One system to call.
pub struct Settings {
    /// The process's client.
    pub client: Client,
    /// Scheme, host and the path that all addresses begin with.
    pub base: String,
    /// How calls prove who we are.
    pub credential: Credential,
    /// Headers that every call carries: nothing secret.
    pub headers: HeaderMap,
    /// The system's quota.
    pub throttle: Arc<Throttle>,
    /// The largest body that is read, in bytes; none: 16 MiB.
    pub body_bytes_max: Option<usize>,
}

/// Makes calls to one system.
pub struct Caller {
    client: Client,
    base: Base,
    credential: Credential,
    headers: HeaderMap,
    secret: Mutex<Option<SecretString>>,
    /// Held while a secret is looked for: whoever waits finds it.
    looking: tokio::sync::Mutex<()>,
    throttle: Arc<Throttle>,
    body_bytes_max: usize,
}

impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Caller").field("base", &self.base.shown).finish_non_exhaustive()
    }
}

/// One path of a system, and how many calls to it may be on their way at once.
#[derive(Debug)]
pub struct Endpoint {
    path: Cow<'static, str>,
    gate: Arc<Semaphore>,
}

impl Endpoint {
    /// A path below the system's base, beginning with a slash.
    pub fn new(path: impl Into<Cow<'static, str>>, in_flight_max: usize) -> Self {
        Self { path: path.into(), gate: Arc::new(Semaphore::new(in_flight_max)) }
    }

    /// Another path whose calls count together with these: that of one thing of a kind.
    #[must_use]
    pub fn at(&self, path: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.into(), gate: Arc::clone(&self.gate) }
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// How a call is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pay {
    /// It waits its turn in a lane.
    InTurn(Lane),
    /// A reservation has paid. If the system has asked for quiet since, the call waits until that is over.
    Prepaid,
    /// A reservation has paid, and the call leaves now or not at all.
    PrepaidNow,
}

/// The right to make one call to one endpoint, now.
pub struct Turn<'a> {
    endpoint: &'a Endpoint,
    running: Running,
    _gate: SemaphorePermit<'a>,
}

/// What is asked of an endpoint.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The query, written as it is sent, without its question mark; empty for none.
    pub query: String,
    /// The body, JSON unless `headers` have another `Content-Type`.
    pub body: Option<Vec<u8>>,
    /// Headers of this request alone, in place of those of every call: nothing secret.
    pub headers: HeaderMap,
    /// Whether nothing changes by it, whatever the method: it is given up when Attune stops.
    pub reads: bool,
    /// Whether a 422 may answer a batch of which a part was done: with a body that tells which, it is an answer like any other.
    pub partly: bool,
    /// The words in the body that stand for the secret, where a system wants it there and not in a header; they are inside a
    /// JSON string.
    pub secret_place: Option<&'static str>,
}

impl Request {
    /// A read.
    pub fn get(query: impl Into<String>) -> Self {
        Self { reads: true, ..Self::change(Method::GET, query, None) }
    }

    /// A question that is asked with a body.
    pub fn ask(body: Vec<u8>) -> Self {
        Self { reads: true, ..Self::change(Method::POST, "", Some(body)) }
    }

    /// A call that changes something; once it has left it is waited for.
    pub fn change(method: Method, query: impl Into<String>, body: Option<Vec<u8>>) -> Self {
        Self {
            method,
            query: query.into(),
            body,
            headers: HeaderMap::new(),
            reads: false,
            partly: false,
            secret_place: None,
        }
    }

    /// The body as it is sent.
    fn body_with(&self, secret: &SecretString) -> Option<Vec<u8>> {
        let body = self.body.as_ref()?;
        let Some(place) = self.secret_place else { return Some(body.clone()) };
        let text = String::from_utf8_lossy(body).replacen(place, &quoted(secret.expose_secret().trim()), 1);
        Some(text.into_bytes())
    }
}

impl Caller {
    /// Checks the address; nothing is called.
    ///
    /// # Errors
    /// Of class `Misconfigured` when the address is not HTTPS (or loopback), or holds credentials or a query.
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        Ok(Self {
            client: settings.client,
            base: Base::parse(&settings.base)?,
            credential: settings.credential,
            headers: settings.headers,
            secret: Mutex::new(None),
            looking: tokio::sync::Mutex::new(()),
            throttle: settings.throttle,
            body_bytes_max: settings.body_bytes_max.unwrap_or(BODY_BYTES_MAX),
        })
    }

    /// Scheme, host and the path that all addresses begin with, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base.address
    }

    /// The system's quota.
    pub fn throttle(&self) -> &Arc<Throttle> {
        &self.throttle
    }

    /// Reads the secret anew at the next call: for systems that refuse it in an answer that is no refusal.
    pub fn forget_secret(&self) {
        *self.secret.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits until a call to this endpoint may leave.
    ///
    /// # Errors
    /// When cancelled; with [`Pay::PrepaidNow`] also when the system has asked for quiet. The call was not made.
    pub async fn turn<'a>(&self, endpoint: &'a Endpoint, pay: Pay) -> Result<Turn<'a>, Failure> {
        let gate = self.throttle.or_cancelled(endpoint.gate.acquire()).await?;
        let gate = gate.map_err(|_closed| super::throttle::stopped())?;
        let running = match pay {
            Pay::InTurn(lane) => self.throttle.turn(lane).await?,
            Pay::Prepaid => self.throttle.prepaid().await?,
            Pay::PrepaidNow if self.throttle.cancelled().is_cancelled() => return Err(super::throttle::stopped()),
            Pay::PrepaidNow => self.throttle.prepaid_now().map_err(|until| {
                let sentence = format!(
                    "{}{} was not called: the system asked for quiet after too many calls",
                    self.base.shown, endpoint.path
                );
                let mut failure = Failure::new(Class::Retry, sentence);
                failure.retry_after = Some(until.saturating_duration_since(tokio::time::Instant::now()));
                failure
            })?,
        };
        Ok(Turn { endpoint, running, _gate: gate })
    }

    /// Sends a request once. A read is given up when Attune stops; a write that has left is waited for. After a 401 or
    /// 403 the secret is read again and, if it changed, the request is sent once more.
    ///
    /// # Errors
    /// Classified as DESIGN 5 says; `may_have_happened` is false only when no connection was made, or for a refusal.
    pub async fn send(&self, turn: Turn<'_>, request: &Request) -> Result<Answer, Failure> {
        let Turn { endpoint, running, _gate } = turn;
        let secret = self.throttle.or_cancelled(self.secret(None)).await.flatten()?;
        let refused = match self.send_with(endpoint, running, request, &secret).await {
            Err(failure) if failure.class == Class::Auth => failure,
            other => return other,
        };
        // Who cannot read the secret again still has the refusal to report.
        match self.throttle.or_cancelled(self.secret(Some(&secret))).await.flatten() {
            Ok(fresh) if fresh.expose_secret() != secret.expose_secret() => {
                let running = self.throttle.turn(Lane::Fresh).await?;
                self.send_with(endpoint, running, request, &fresh).await
            }
            // Nothing happened, and why there is no other session says more than the refusal.
            Err(failure) if matches!(self.credential.secret, SecretSource::Fetched(_)) => Err(failure),
            _ => Err(refused),
        }
    }

    async fn send_with(
        &self,
        endpoint: &Endpoint,
        running: Running,
        request: &Request,
        secret: &SecretString,
    ) -> Result<Answer, Failure> {
        let sending = self.send_unguarded(endpoint, running, request, secret);
        let result = if request.reads { self.throttle.or_cancelled(sending).await.flatten() } else { sending.await };
        match result {
            Ok(mut answer) => {
                // What cannot be read later becomes a failure that names the call.
                answer.request_id = answer.request_id.filter(|id| !id.contains(secret.expose_secret().trim()));
                Ok(answer)
            }
            Err(failure) => Err(redacted(failure, secret)),
        }
    }

    async fn send_unguarded(
        &self,
        endpoint: &Endpoint,
        running: Running,
        request: &Request,
        secret: &SecretString,
    ) -> Result<Answer, Failure> {
        let place = format!("{} {}{}", request.method, self.base.shown, endpoint.path);
        let mut address = format!("{}{}", self.base.address, endpoint.path);
        if !request.query.is_empty() {
            address.push('?');
            address.push_str(&request.query);
        }
        let json = HeaderValue::from_static("application/json");
        let mut headers: HeaderMap = [(ACCEPT, json.clone())].into_iter().collect();
        let body = request.body_with(secret);
        if body.is_some() {
            headers.insert(CONTENT_TYPE, json);
        }
        for (name, value) in self.headers.iter().chain(&request.headers) {
            headers.insert(name, value.clone());
        }
        if request.secret_place.is_none() {
            headers.insert(&self.credential.header, self.header_value(secret)?);
        }
        let mut call = self.client.connections(&self.base)?.request(request.method.clone(), address).headers(headers);
        if let Some(body) = body {
            call = call.body(body);
        }

        let began = Instant::now();
        let sent = call.send().await;
        let outcome =
            sent.as_ref().map_or(CallOutcome::Unanswered, |answer| CallOutcome::of_status(answer.status().as_u16()));
        Measure::Call { source: self.throttle.source(), outcome }.note();
        let response = sent.map_err(|error| failure::of_transport(&place, &error))?;
        let took = began.elapsed();

        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let request_id = request_id(&headers);
        let identified = |mut failure: Failure| {
            failure.request_id.clone_from(&request_id);
            failure
        };
        let is_answer = (200..300).contains(&status) || (request.partly && status == 422);
        if !is_answer {
            // The quota is learned before the body is read: others should not run into the same wall meanwhile.
            let told = super::told::Told::read(status, &headers);
            running.answered(status, &headers);
            // Before it is shortened: half a secret would not be recognised.
            let body = without_secret(answer::read_refusal(response, REFUSAL_BYTES_MAX).await, secret);
            let mut failure = failure::of_status(&place, status, &body);
            failure.retry_after = if told.throttled { told.wait() } else { told.retry_after };
            return Err(identified(failure));
        }
        let body = answer::read_body(response, self.body_bytes_max).await;
        running.answered(status, &headers);
        let body = body.map_err(|error| {
            identified(match error {
                BodyError::TooLarge => failure::too_large(&place, status, self.body_bytes_max),
                BodyError::Transport(error) => {
                    let mut failure = failure::of_transport(&place, &error).possibly_happened();
                    failure.status = Some(status);
                    failure
                }
            })
        })?;
        let date = answer::answered(&headers);
        let clock = date.map(|date| answer::clock(date, took));
        let html = answer::is_html(&headers);
        Ok(Answer { status, body, headers, clock, date, request_id, place, html })
    }

    fn header_value(&self, secret: &SecretString) -> Result<HeaderValue, Failure> {
        let text = format!("{}{}", self.credential.prefix, secret.expose_secret().trim());
        let mut value = HeaderValue::from_str(&text).map_err(|_invalid| {
            let sentence = format!(
                "the secret for {} holds characters that no token has (a line break, perhaps); check where it is kept",
                self.base.shown
            );
            Failure::new(Class::Misconfigured, sentence)
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The secret that is known, or read anew if none is or `refused` is the one that is known.
    async fn secret(&self, refused: Option<&SecretString>) -> Result<SecretString, Failure> {
        let known = || {
            let known = self.secret.lock().unwrap_or_else(PoisonError::into_inner).clone();
            known.filter(|known| refused.is_none_or(|refused| refused.expose_secret() != known.expose_secret()))
        };
        if let Some(known) = known() {
            return Ok(known);
        }
        let _looking = self.looking.lock().await;
        if let Some(known) = known() {
            return Ok(known);
        }
        let secret = match &self.credential.secret {
            SecretSource::Kept(provider) => self.kept(Arc::clone(provider)).await?,
            SecretSource::Fetched(fetch) => fetch.fetch().await.map_err(|mut failure| {
                // Whatever became of it, the call that needed it was not made.
                failure.may_have_happened = false;
                failure
            })?,
        };
        *self.secret.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret.clone());
        Ok(secret)
    }

    async fn kept(&self, provider: SecretProvider) -> Result<SecretString, Failure> {
        // It may read a file or run a command.
        let read = tokio::task::spawn_blocking(move || provider()).await;
        let secret = match read {
            Ok(Ok(secret)) if secret.expose_secret().trim().is_empty() => Err("it is empty".to_owned()),
            Ok(read) => read,
            Err(_panicked) => Err("reading it failed".to_owned()),
        };
        secret.map_err(|why| {
            Failure::new(Class::Misconfigured, format!("the secret for {} cannot be read: {why}", self.base.shown))
        })
    }
}

/// The system's id for the call, if it looks like one.
fn request_id(headers: &reqwest::header::HeaderMap) -> Option<String> {
    let text = headers.get("x-request-id")?.to_str().ok()?;
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.:".contains(character);
    (!text.is_empty() && text.len() <= REQUEST_ID_CHARS_MAX && text.chars().all(plain)).then(|| text.to_owned())
}

fn without_secret(body: Vec<u8>, secret: &SecretString) -> Vec<u8> {
    let text = String::from_utf8_lossy(&body);
    hidden(&text, secret).map_or(body, String::into_bytes)
}

/// Takes the secret out of whatever a system may have echoed.
fn redacted(mut failure: Failure, secret: &SecretString) -> Failure {
    for text in [&mut failure.detail, &mut failure.request_id, &mut failure.code].into_iter().flatten() {
        if let Some(without) = hidden(text, secret) {
            *text = without;
        }
    }
    failure
}

/// A text without the secret, as it is and as it stands in JSON; none where it does not hold it.
fn hidden(text: &str, secret: &SecretString) -> Option<String> {
    let secret = secret.expose_secret().trim();
    let quoted = quoted(secret);
    (text.contains(secret) || text.contains(&quoted))
        .then(|| text.replace(secret, "[REDACTED]").replace(&quoted, "[REDACTED]"))
}

/// A text as it stands inside a JSON string.
fn quoted(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
