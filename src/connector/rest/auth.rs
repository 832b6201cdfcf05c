//! How calls prove who we are: a secret in a header, a user and a password, or a token that is fetched (OAuth 2.0 client
//! credentials, RFC 6749 4.4). It must not know what the calls are about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::settings::Auth;
use crate::connector::retry::Attempts;
use crate::http::{
    Caller, Client, Credential, Endpoint, Fetch, Lane, Pay, Request, SecretProvider, SecretSource, Throttle,
    ThrottleSettings, encoded,
};
use crate::model::{Class, Failure, Side};

/// A token is fetched anew so long before it expires, or when a tenth of its life is left where that is less.
const RENEWED_BEFORE: Duration = Duration::from_secs(60);

/// A token that is younger than this is not fetched anew for a refusal: a right is missing, not the token.
const YOUNG: Duration = Duration::from_secs(5);

/// No token lives longer for us: whatever an answer says.
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Tokens of one client.
pub(super) struct Tokens {
    name: String,
    caller: Caller,
    endpoint: Endpoint,
    body: Vec<u8>,
    patience: Duration,
    cancel: CancellationToken,
    /// The token that was given last.
    held: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    text: SecretString,
    fetched: Instant,
    renewed: Option<Instant>,
}

/// What every call of a source shares.
pub(super) struct Shared<'a> {
    pub(super) name: &'a str,
    pub(super) client: &'a Client,
    pub(super) patience: Duration,
    pub(super) cancel: &'a CancellationToken,
}

/// The credential of all calls, and where its tokens are from if they are fetched.
pub(super) fn credential(auth: Auth, shared: &Shared<'_>) -> Result<(Credential, Option<Arc<Tokens>>), Failure> {
    match auth {
        Auth::Header { header, prefix, secret } => {
            let header = HeaderName::try_from(header).map_err(|_invalid| {
                Failure::new(Class::Misconfigured, "`header` in `auth` is not the name of a header")
            })?;
            Ok((Credential { header, prefix: prefix.into(), secret: secret.into() }, None))
        }
        Auth::Basic { user, secret } => Ok((basic(user, secret), None)),
        Auth::OAuth { token_url, client_id, secret, scope } => {
            let tokens = Arc::new(Tokens::new(&token_url, client_id, secret, scope.as_deref(), shared)?);
            let secret = SecretSource::Fetched(Arc::clone(&tokens) as Arc<dyn Fetch>);
            Ok((Credential { header: AUTHORIZATION, prefix: "Bearer ".into(), secret }, Some(tokens)))
        }
    }
}

fn basic(user: String, secret: SecretProvider) -> Credential {
    let secret: SecretProvider = Arc::new(move || {
        let password = secret()?;
        Ok(SecretString::from(STANDARD.encode(format!("{user}:{}", password.expose_secret().trim()))))
    });
    Credential { header: AUTHORIZATION, prefix: "Basic ".into(), secret: secret.into() }
}

impl Tokens {
    fn new(
        token_url: &str,
        client_id: String,
        secret: SecretProvider,
        scope: Option<&str>,
        shared: &Shared<'_>,
    ) -> Result<Self, Failure> {
        // Both are form-encoded before they become a user and a password (RFC 6749 2.3.1).
        let encoded_secret: SecretProvider =
            Arc::new(move || secret().map(|secret| encoded(secret.expose_secret().trim()).into()));
        let throttle = ThrottleSettings {
            side: Side::Crm,
            name: shared.name.to_owned(),
            share: 1.0,
            fixed: None,
            in_flight_max: 1,
        };
        let caller = Caller::new(crate::http::Settings {
            client: shared.client.clone(),
            base: token_url.to_owned(),
            credential: basic(encoded(&client_id), encoded_secret),
            headers: HeaderMap::new(),
            throttle: Throttle::new(throttle, shared.cancel.clone()),
            body_bytes_max: Some(64 * 1024),
        })
        .map_err(|mut failure| {
            failure.message = format!("`token_url` in `auth`: {}", failure.message);
            failure
        })?;
        let scope = scope.map(|scope| format!("&scope={}", encoded(scope))).unwrap_or_default();
        Ok(Self {
            name: shared.name.to_owned(),
            caller,
            endpoint: Endpoint::new("", 1),
            body: format!("grant_type=client_credentials{scope}").into_bytes(),
            patience: shared.patience,
            cancel: shared.cancel.clone(),
            held: Mutex::new(None),
        })
    }

    /// Whether the token that calls have expires soon: then another must be fetched.
    pub(super) fn is_due(&self) -> bool {
        self.held().as_ref().and_then(|token| token.renewed).is_some_and(|at| Instant::now() >= at)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self) -> Result<Token, Failure> {
        let mut request = Request::ask(self.body.clone());
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let mut attempts = Attempts::new(self.patience, &self.cancel);
        loop {
            let turn = self.caller.turn(&self.endpoint, Pay::InTurn(Lane::Resolve)).await?;
            attempts.begin();
            let asked = Instant::now();
            match self.caller.send(turn, &request).await {
                Ok(answer) => {
                    // What cannot be read may hold a token: nothing of it is kept.
                    let said: Value = answer.json().map_err(|mut failure| {
                        failure.detail = None;
                        failure
                    })?;
                    return self.token(&said, asked);
                }
                Err(failure) => attempts.failed(failure).await.map_err(|failure| self.explained(failure))?,
            }
        }
    }

    fn token(&self, said: &Value, asked: Instant) -> Result<Token, Failure> {
        let text = said.get("access_token").and_then(Value::as_str).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| self.senseless())?;
        let life = said.get("expires_in").and_then(|life| life.as_u64().or_else(|| life.as_str()?.parse().ok()));
        let renewed = life.map(|life| {
            let life = Duration::from_secs(life).min(LIFE_MAX);
            asked + (life - RENEWED_BEFORE.min(life / 10))
        });
        Ok(Token { text: SecretString::from(text), fetched: asked, renewed })
    }

    fn explained(&self, mut failure: Failure) -> Failure {
        // 400 is how a wrong client or scope is answered.
        if matches!(failure.class, Class::Auth | Class::Rejected) {
            failure.class = Class::Auth;
            failure.message = format!(
                "no token is given to this client; check `client_id`, `secret`, `scope` and `token_url` in `auth` of [crm.{}]",
                self.name
            );
        }
        failure
    }

    fn senseless(&self) -> Failure {
        let why = format!(
            "the answer of `token_url` has no `access_token`; check the address in `auth` of [crm.{}]",
            self.name
        );
        Failure::new(Class::Misconfigured, why)
    }
}

#[async_trait]
impl Fetch for Tokens {
    async fn fetch(&self) -> Result<SecretString, Failure> {
        let young =
            |token: &Token| token.fetched.elapsed() < YOUNG && token.renewed.is_none_or(|at| Instant::now() < at);
        let known = self.held().clone().filter(young);
        let token = match known {
            Some(token) => token,
            None => self.ask().await?,
        };
        *self.held() = Some(token.clone());
        Ok(token.text)
    }
}
