//! What stands around every page, and what templates call to put facts into words.

use std::borrow::Borrow;
use std::time::Duration;

use axum::http::{HeaderMap, Uri};

use super::chart::{self, Chart, HEIGHT};
use super::session::Signed;
use super::words::{self, When};
use super::{Day, Outcome, Page, Quota, Stretch, guard};
use crate::model::{Side, Timestamp, Value, lasting};

/// What stands around every page.
pub(super) struct Frame {
    pub title: String,
    /// Which entry of the navigation this is.
    pub current: &'static str,
    pub signed: Option<Signed>,
    pub can_sign_in: bool,
    pub notice: Option<Outcome>,
    /// Path and query of the page itself.
    pub here: String,
    pub now: Timestamp,
    pub refreshing: bool,
}

/// Used by the templates.
impl Frame {
    pub fn ago(&self, moment: &Option<Timestamp>) -> When {
        When::ago(*moment, self.now)
    }

    pub fn since(&self, moment: &Timestamp) -> When {
        When::ago(Some(*moment), self.now)
    }

    pub fn exact(&self, moment: &Timestamp) -> When {
        When::exact(*moment)
    }

    pub fn lasting(&self, millis: &u64) -> String {
        lasting(Duration::from_millis(*millis))
    }

    pub fn number(&self, number: impl Borrow<u64>) -> String {
        words::number(*number.borrow())
    }

    pub fn tone(&self, state: &str) -> &'static str {
        words::tone(state)
    }

    pub fn used(&self, quota: &Quota) -> u64 {
        words::used(quota)
    }

    pub fn value(&self, value: &Option<Value>) -> Option<String> {
        words::value(value.as_ref())
    }

    /// A sentence in parts: what stands between backticks is a command.
    pub fn parts<'a>(&self, sentence: &'a str) -> impl Iterator<Item = (bool, &'a str)> {
        sentence.split('`').enumerate().map(|(at, part)| (at % 2 == 1, part))
    }

    pub fn side(&self, side: &Side) -> &'static str {
        words::side(*side)
    }

    pub fn writes(&self, day: &Day) -> Chart {
        chart::writes(day)
    }

    pub fn waits(&self, day: &Day) -> Chart {
        chart::waits(day)
    }

    pub fn written(&self, day: &Day) -> String {
        let (store, crm) = chart::totals(day);
        words::number(store + crm)
    }

    pub fn longest(&self, day: &Day) -> Option<String> {
        chart::longest(day).map(|millis| lasting(Duration::from_millis(millis)))
    }

    pub fn chart_height(&self) -> u64 {
        HEIGHT
    }

    /// The stretches of a day in which something was written, newest first: when each began, and what.
    pub fn stretches(&self, day: &Day) -> Vec<(Timestamp, Stretch)> {
        let step = Duration::from_millis(day.stretch_ms);
        let begins = |at: usize| day.from + step.saturating_mul(u32::try_from(at).unwrap_or(u32::MAX));
        let busy = day.stretches.iter().enumerate().filter(|(_, stretch)| stretch.to_store + stretch.to_crm > 0);
        busy.map(|(at, stretch)| (begins(at), *stretch)).rev().collect()
    }

    pub fn form_token(&self) -> &str {
        self.signed.as_ref().map_or("", |signed| &signed.form_token)
    }
}

impl Page {
    /// The session of a request.
    pub fn signed(&self, headers: &HeaderMap) -> Option<Signed> {
        self.sessions.find(guard::cookies(headers), guard::host(headers))
    }

    pub fn frame(&self, headers: &HeaderMap, here: &Uri, title: impl Into<String>, current: &'static str) -> Frame {
        let signed = self.signed(headers);
        Frame {
            title: title.into(),
            current,
            notice: signed.as_ref().and_then(|signed| self.sessions.take_notice(signed)),
            signed,
            can_sign_in: self.office.can_sign_in(),
            here: here.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            now: self.office.now(),
            refreshing: false,
        }
    }
}
