//! Who has signed in: in memory, for some hours, a few at a time. A restart ends all sessions.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::Outcome;

/// A session ends so long after the sign-in, used or not.
const LIFETIME: Duration = Duration::from_secs(8 * 3600);

/// More at a time end the oldest.
const SESSIONS_MAX: usize = 16;

/// Attempts to sign in, by everybody together, within [`ATTEMPTS_TIME`]. Who has signed in already is not concerned.
pub(super) const ATTEMPTS_MAX: usize = 10;

const ATTEMPTS_TIME: Duration = Duration::from_secs(60);

/// Bytes of a session's secret and of a form's token: nobody guesses 256 bits.
const RANDOM_BYTES: usize = 32;

/// All sessions.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<Vec<Session>>,
    attempts: Mutex<VecDeque<Instant>>,
}

struct Session {
    /// What the cookie holds, hashed: it is compared in a time that tells nothing, and never in a dump of ours.
    secret: blake3::Hash,
    form_token: String,
    host: String,
    until: Instant,
    notice: Option<Outcome>,
}

/// A session, as a request has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    secret: blake3::Hash,
    /// What every form of it must hold.
    pub form_token: String,
}

/// The machine gives no random bytes.
#[derive(Debug)]
pub(super) struct NoChance;

impl Sessions {
    fn open(&self) -> MutexGuard<'_, Vec<Session>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        open.retain(|session| session.until > now);
        open
    }

    /// Whether somebody may try to sign in now; counts the attempt.
    pub fn may_try(&self) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while attempts.front().is_some_and(|at| now.duration_since(*at) >= ATTEMPTS_TIME) {
            attempts.pop_front();
        }
        if attempts.len() >= ATTEMPTS_MAX {
            return false;
        }
        attempts.push_back(now);
        true
    }

    /// A new session for who uses the page under this host; what its cookie holds.
    pub fn begin(&self, host: &str) -> Result<String, NoChance> {
        let (cookie, form_token) = (random()?, random()?);
        let mut open = self.open();
        if open.len() >= SESSIONS_MAX {
            open.remove(0);
        }
        let secret = blake3::hash(cookie.as_bytes());
        open.push(Session {
            secret,
            form_token,
            host: host.to_owned(),
            until: Instant::now() + LIFETIME,
            notice: None,
        });
        Ok(cookie)
    }

    /// The session of one of these cookies, under the host that it was begun under.
    pub fn find<'a>(&self, cookies: impl Iterator<Item = &'a str>, host: &str) -> Option<Signed> {
        let open = self.open();
        for cookie in cookies {
            let secret = blake3::hash(cookie.as_bytes());
            let found = open.iter().find(|session| session.secret == secret && session.host == host);
            if let Some(session) = found {
                return Some(Signed { secret, form_token: session.form_token.clone() });
            }
        }
        None
    }

    /// Ends a session.
    pub fn end(&self, signed: &Signed) {
        self.open().retain(|session| session.secret != signed.secret);
    }

    /// Leaves word of what came of an act, for the next page.
    pub fn leave_notice(&self, signed: &Signed, notice: Outcome) {
        if let Some(session) = self.open().iter_mut().find(|session| session.secret == signed.secret) {
            session.notice = Some(notice);
        }
    }

    /// Takes what was left.
    pub fn take_notice(&self, signed: &Signed) -> Option<Outcome> {
        self.open().iter_mut().find(|session| session.secret == signed.secret)?.notice.take()
    }
}

impl Signed {
    /// Whether a form was made for this session.
    pub fn made(&self, form_token: &str) -> bool {
        blake3::hash(form_token.as_bytes()) == blake3::hash(self.form_token.as_bytes())
    }
}

fn random() -> Result<String, NoChance> {
    let mut bytes = [0; RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoChance)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(sessions: &Sessions, cookie: &str, host: &str) -> Option<Signed> {
        sessions.find(std::iter::once(cookie), host)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_after_its_time_or_when_told_and_belongs_to_its_host() {
        let sessions = Sessions::default();
        let cookie = sessions.begin("localhost:9464").unwrap();
        assert_eq!(cookie.len(), 43, "256 bits in base64");
        let signed = find(&sessions, &cookie, "localhost:9464").unwrap();
        assert!(signed.made(&signed.form_token) && !signed.made("") && !signed.made(&cookie));
        assert_eq!(find(&sessions, &cookie, "evil.example"), None);
        assert_eq!(find(&sessions, "", "localhost:9464"), None);
        sessions.leave_notice(&signed, Outcome { done: true, message: "done".to_owned() });
        assert_eq!(sessions.take_notice(&signed).unwrap().message, "done");
        assert_eq!(sessions.take_notice(&signed), None, "a notice is shown once");
        tokio::time::advance(LIFETIME - Duration::from_secs(1)).await;
        assert!(find(&sessions, &cookie, "localhost:9464").is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(find(&sessions, &cookie, "localhost:9464"), None);

        let cookie = sessions.begin("a").unwrap();
        let signed = find(&sessions, &cookie, "a").unwrap();
        sessions.end(&signed);
        assert_eq!(find(&sessions, &cookie, "a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_two_sessions_are_alike_and_only_so_many_are_open() {
        let sessions = Sessions::default();
        let cookies: Vec<String> = (0..=SESSIONS_MAX).map(|_| sessions.begin("a").unwrap()).collect();
        let tokens: std::collections::BTreeSet<_> =
            cookies.iter().filter_map(|cookie| find(&sessions, cookie, "a")).map(|signed| signed.form_token).collect();
        assert_eq!(tokens.len(), SESSIONS_MAX);
        assert_eq!(find(&sessions, &cookies[0], "a"), None, "the oldest made room");
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_limited_for_everybody_together() {
        let sessions = Sessions::default();
        for attempt in 0..ATTEMPTS_MAX {
            assert!(sessions.may_try(), "attempt {attempt}");
        }
        assert!(!sessions.may_try());
        tokio::time::advance(ATTEMPTS_TIME - Duration::from_millis(1)).await;
        assert!(!sessions.may_try());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(sessions.may_try());
    }
}
