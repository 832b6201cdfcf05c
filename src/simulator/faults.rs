//! What can go wrong with a call, and the rules that say when.
//!
//! Must not know: how a fault is carried out on the wire (`server` does).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::endpoint::Call;
use super::random::Random;

/// One thing that goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// 500, 502, 503 or 504, and nothing was done.
    #[serde(rename = "5xx")]
    ServerError,
    /// 500, 502, 503 or 504, and it was done.
    #[serde(rename = "5xx-after")]
    ServerErrorAfter,
    /// The connection is reset, and nothing was done.
    #[serde(rename = "reset-before")]
    ResetBefore,
    /// The connection is reset, and it was done.
    #[serde(rename = "reset-after")]
    ResetAfter,
    /// The connection is reset, and it is done some seconds later (`late_effect`).
    #[serde(rename = "late-effect")]
    LateEffect,
    /// Half the body is sent, then the connection is closed; it was done.
    #[serde(rename = "truncated")]
    Truncated,
    /// 200 with an HTML page; nothing was done.
    #[serde(rename = "html")]
    Html,
    /// 200 with JSON that has nothing to do with the question; nothing was done.
    #[serde(rename = "wrong-shape")]
    WrongShape,
    /// 200 with a list that has no rows; it was done.
    #[serde(rename = "no-rows")]
    NoRows,
    /// 200 with a body of `huge_body` bytes; nothing was done.
    #[serde(rename = "huge")]
    Huge,
    /// It takes long (`slow`), then it is done and answered.
    #[serde(rename = "slow")]
    Slow,
    /// It is done at once, and answered after long (`slow`).
    #[serde(rename = "slow-after")]
    SlowAfter,
    /// 429 without any of the quota headers; nothing was done.
    #[serde(rename = "bare-429")]
    Bare429,
    /// 401.
    #[serde(rename = "401")]
    Unauthorized,
    /// 403.
    #[serde(rename = "403")]
    Forbidden,
    /// Whatever page was asked for, the first is shown, and it says that there is a next.
    #[serde(rename = "repeat-page")]
    RepeatPage,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::ServerError,
        Self::ServerErrorAfter,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::LateEffect,
        Self::Truncated,
        Self::Html,
        Self::WrongShape,
        Self::NoRows,
        Self::Huge,
        Self::Slow,
        Self::SlowAfter,
        Self::Bare429,
        Self::Unauthorized,
        Self::Forbidden,
        Self::RepeatPage,
    ];

    /// The word for it in flags, JSON and the request log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerError => "5xx",
            Self::ServerErrorAfter => "5xx-after",
            Self::ResetBefore => "reset-before",
            Self::ResetAfter => "reset-after",
            Self::LateEffect => "late-effect",
            Self::Truncated => "truncated",
            Self::Html => "html",
            Self::WrongShape => "wrong-shape",
            Self::NoRows => "no-rows",
            Self::Huge => "huge",
            Self::Slow => "slow",
            Self::SlowAfter => "slow-after",
            Self::Bare429 => "bare-429",
            Self::Unauthorized => "401",
            Self::Forbidden => "403",
            Self::RepeatPage => "repeat-page",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// When a fault happens: with a probability, at most so many times, after so many calls, on some endpoints.
///
/// A script is a list of rules: "the third upsert is reset after its effect" is `reset-after*1+2@PUT attribute-values`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What goes wrong.
    pub fault: Fault,
    /// With which probability, 0 to 1, for each call that it is about.
    #[serde(default = "certain")]
    pub probability: f64,
    /// How many times at most; none: without end.
    #[serde(default)]
    pub times: Option<u64>,
    /// How many of the calls that it is about are left alone first.
    #[serde(default)]
    pub skip: u64,
    /// Which calls it is about: a method, an endpoint or both (`PUT`, `customers`, `GET attribute-values`); none: all.
    #[serde(default)]
    pub on: Option<String>,
}

const fn certain() -> f64 {
    1.0
}

impl FaultRule {
    /// On every call.
    pub const fn always(fault: Fault) -> Self {
        Self { fault, probability: 1.0, times: None, skip: 0, on: None }
    }

    /// On the next `times` calls.
    pub const fn next(times: u64, fault: Fault) -> Self {
        Self { fault, probability: 1.0, times: Some(times), skip: 0, on: None }
    }

    /// Only on these calls: a method, an endpoint or both (`PUT attribute-values`).
    #[must_use]
    pub fn on(mut self, calls: impl Into<String>) -> Self {
        self.on = Some(calls.into());
        self
    }

    fn is_about(&self, call: Call) -> bool {
        let Some(on) = &self.on else { return true };
        on.split_whitespace().all(|word| word == "*" || word == call.method.as_str() || word == call.endpoint.as_str())
    }

    /// Whether the rule can be carried out at all.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(format!("{}: a probability is between 0 and 1, not {}", self.fault, self.probability));
        }
        for word in self.on.iter().flat_map(|on| on.split_whitespace()) {
            if !Call::is_word(word) {
                return Err(format!(
                    "{}: {word:?} is neither a method nor an endpoint ({})",
                    self.fault,
                    Call::words().join(", ")
                ));
            }
        }
        Ok(())
    }
}

/// `NAME[=PROBABILITY][*TIMES][+SKIP][@[METHOD ][ENDPOINT]]`, e.g. `5xx=0.01`, `reset-after*1+2@PUT attribute-values`.
impl FromStr for FaultRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, on) = match text.split_once('@') {
            Some((rest, on)) => (rest, Some(on.trim().to_owned())),
            None => (text, None),
        };
        let name_end = rest.find(['=', '*', '+']).unwrap_or(rest.len());
        let (name, mut amounts) = rest.split_at(name_end);
        let fault = Fault::ALL.into_iter().find(|fault| fault.as_str() == name.trim()).ok_or_else(|| {
            let names: Vec<&str> = Fault::ALL.iter().map(|fault| fault.as_str()).collect();
            format!("there is no fault {name:?}: one of {}", names.join(", "))
        })?;
        let mut rule = Self { on, ..Self::always(fault) };
        while let Some(sign) = amounts.chars().next() {
            let after = &amounts[sign.len_utf8()..];
            let end = after.find(['=', '*', '+']).unwrap_or(after.len());
            let (amount, next) = after.split_at(end);
            let wrong = |what: &str| format!("{text:?}: {amount:?} after {sign:?} is no {what}");
            match sign {
                '=' => rule.probability = amount.trim().parse().map_err(|_| wrong("probability"))?,
                '*' => rule.times = Some(amount.trim().parse().map_err(|_| wrong("number of times"))?),
                _ => rule.skip = amount.trim().parse().map_err(|_| wrong("number of calls to skip"))?,
            }
            amounts = next;
        }
        rule.check()?;
        Ok(rule)
    }
}

impl Active {
    fn new(rule: &FaultRule) -> Self {
        Self { rule: rule.clone(), seen: 0, fired: 0 }
    }
}

/// The rules of a store with what they have done so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    rule: FaultRule,
    seen: u64,
    fired: u64,
}

impl Faults {
    /// From rules; nothing has happened yet.
    pub(super) fn new(rules: &[FaultRule]) -> Self {
        Self { rules: rules.iter().map(Active::new).collect() }
    }

    /// Other rules. Those that stay go on counting where they were.
    pub(super) fn replace(&mut self, rules: &[FaultRule]) {
        let mut old = std::mem::take(&mut self.rules);
        let mut kept = |rule: &FaultRule| old.iter().position(|active| active.rule == *rule).map(|at| old.remove(at));
        self.rules = rules.iter().map(|rule| kept(rule).unwrap_or_else(|| Active::new(rule))).collect();
    }

    /// One more rule, asked before all others.
    pub(super) fn put_first(&mut self, rule: &FaultRule) {
        self.rules.insert(0, Active::new(rule));
    }

    /// What goes wrong with this call, if anything.
    pub(super) fn choose(&mut self, call: Call, random: &mut Random) -> Option<Fault> {
        for active in &mut self.rules {
            if !active.rule.is_about(call) {
                continue;
            }
            active.seen += 1;
            let spent = active.rule.times.is_some_and(|times| active.fired >= times);
            if spent || active.seen <= active.rule.skip {
                continue;
            }
            // A certain fault draws no number, so that adding one leaves the others' luck as it was.
            if active.rule.probability >= 1.0 || random.chance(active.rule.probability) {
                active.fired += 1;
                return Some(active.rule.fault);
            }
        }
        None
    }
}
