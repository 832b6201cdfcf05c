//! Sessions: a login with the password gives one, and every other call carries it.
//!
//! A few refused logins lock a user out for minutes, with the right password too. So a password that was refused is not sent
//! again until another one stands where it is kept, and nobody knocks while the door is locked. An expired session is no
//! refusal: whoever meets one logs in anew, once. It must not know what is called with a session.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::rpc::{PATH, envelope, error_of};
use crate::http::{
    Caller, Client, Credential, Endpoint, Fetch, Lane, Pay, Request, SecretProvider, Throttle, ThrottleSettings,
};
use crate::model::{Class, Failure, Side};

/// What stands for the password in the body of a login until it is sent.
const PASSWORD_PLACE: &str = "ATTUNE:PASSWORD";

/// How long a user stays locked out, as Tryton is delivered.
const LOCKED: Duration = Duration::from_secs(5 * 60);

/// The longest session that is taken, in characters.
const SESSION_CHARS_MAX: usize = 1_000;

/// The way in.
pub(super) struct Door {
    name: String,
    user: String,
    caller: Caller,
    endpoint: Endpoint,
    seen: Arc<Mutex<Passwords>>,
}

/// Which passwords were sent, and what came of it.
#[derive(Default)]
struct Passwords {
    /// The one that was read last, to be sent.
    last: Option<SecretString>,
    /// The one that was refused last.
    refused: Option<SecretString>,
    /// Whether the one that is kept is the refused one: it was not sent.
    is_refused: bool,
    locked_until: Option<Instant>,
}

/// What a way in is made of.
pub(super) struct DoorSettings {
    pub(super) name: String,
    pub(super) base: String,
    pub(super) user: String,
    pub(super) password: SecretProvider,
    pub(super) client: Client,
    pub(super) cancel: CancellationToken,
}

impl Door {
    /// A way in; nothing is called.
    pub(super) fn new(settings: DoorSettings) -> Result<Self, Failure> {
        let seen: Arc<Mutex<Passwords>> = Arc::default();
        let (kept, remembered) = (settings.password, Arc::clone(&seen));
        let guarded: SecretProvider = Arc::new(move || {
            let password = kept()?;
            let mut passwords = remembered.lock().unwrap_or_else(PoisonError::into_inner);
            passwords.is_refused =
                passwords.refused.as_ref().is_some_and(|refused| refused.expose_secret() == password.expose_secret());
            if passwords.is_refused {
                return Err("it is the one that was refused".to_owned());
            }
            passwords.last = Some(password.clone());
            Ok(password)
        });
        // Calls wait for a login while they hold their turns: it has a throttle of its own.
        let throttle = ThrottleSettings {
            side: Side::Crm,
            name: settings.name.clone(),
            share: 1.0,
            fixed: None,
            in_flight_max: 1,
        };
        let caller = Caller::new(crate::http::Settings {
            client: settings.client,
            base: settings.base,
            credential: Credential { header: AUTHORIZATION, prefix: "".into(), secret: guarded.into() },
            headers: HeaderMap::new(),
            throttle: Throttle::new(throttle, settings.cancel),
            body_bytes_max: Some(64 * 1024),
        })?;
        Ok(Self { name: settings.name, user: settings.user, caller, endpoint: Endpoint::new(PATH, 1), seen })
    }

    fn passwords(&self) -> std::sync::MutexGuard<'_, Passwords> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn log_in(&self) -> Result<SecretString, Failure> {
        if self.passwords().locked_until.is_some_and(|until| Instant::now() < until) {
            return Err(self.locked());
        }
        // Another password may stand there by now.
        self.caller.forget_secret();
        let mut request = Request::ask(
            envelope("common.db.login", &json!([self.user, { "password": PASSWORD_PLACE }, "en"])).to_string().into(),
        );
        request.secret_place = Some(PASSWORD_PLACE);
        let turn = self.caller.turn(&self.endpoint, Pay::InTurn(Lane::Fresh)).await?;
        let answer = self.caller.send(turn, &request).await.map_err(|failure| self.explained(failure))?;
        let mut body: Value = answer.json()?;
        if let Some(error) = body.get("error") {
            let failure = error_of(error, answer.unreadable("with an exception"));
            return Err(self.explained(failure));
        }
        let session = body["result"].take();
        let (number, token) = (session.get(0).and_then(Value::as_i64), session.get(1).and_then(Value::as_str));
        match (number, token) {
            (Some(number), Some(token)) if token.len() <= SESSION_CHARS_MAX => {
                Ok(SecretString::from(STANDARD.encode(format!("{}:{number}:{token}", self.user))))
            }
            _ => Err(answer.unreadable("a login with something that is no session")),
        }
    }

    fn explained(&self, mut failure: Failure) -> Failure {
        let name = &self.name;
        let mut passwords = self.passwords();
        if passwords.is_refused {
            passwords.is_refused = false;
            failure.class = Class::Auth;
            failure.message = format!(
                "Tryton has refused this password, so it is not sent again: a few refused logins lock the user out; \
                 correct `user` and `password` in [crm.{name}], or what `password` points to"
            );
            return failure;
        }
        match (failure.status, failure.code.as_deref()) {
            (Some(401), _) => {
                passwords.refused = passwords.last.clone();
                failure.class = Class::Auth;
                failure.message = format!(
                    "Tryton refuses this user or password; check `user` and `password` in [crm.{name}], and that the \
                     user is active; the same password is not sent again, for a few refused logins lock the user out"
                );
            }
            (Some(429), _) => {
                passwords.locked_until = Some(Instant::now() + LOCKED);
                drop(passwords);
                let mut locked = self.locked();
                locked.status = failure.status;
                return locked;
            }
            (Some(404), _) => {
                failure.class = Class::Misconfigured;
                failure.message = format!(
                    "there is no Tryton with this database at this address; check `url` and `database` in [crm.{name}]"
                );
            }
            (_, Some("LoginException")) => {
                passwords.refused = passwords.last.clone();
                failure.class = Class::Auth;
                failure.message = format!(
                    "Tryton asks this user for more than a password; make a user for Attune who logs in with a \
                     password alone, and name it in [crm.{name}]"
                );
            }
            (_, Some(_)) => {
                failure.class = Class::Retry;
                "Tryton could not log this user in just now; it is tried again".clone_into(&mut failure.message);
            }
            _ => {}
        }
        // It is explained: whoever needed the session hands it on as it is.
        failure.code = None;
        failure
    }

    fn locked(&self) -> Failure {
        let why = "Tryton lets this user in no more for some minutes, after too many refused logins; it is tried again after \
             that; find out who knocks with a wrong password".to_owned();
        Failure::new(Class::Auth, why)
    }
}

#[async_trait]
impl Fetch for Door {
    async fn fetch(&self) -> Result<SecretString, Failure> {
        self.log_in().await
    }
}
