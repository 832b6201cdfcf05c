//! What a store counted: calls, answers, throttling, violations, and a log of requests.
//!
//! Must not know: how any of it came about.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::model::Timestamp;

use super::endpoint::Call;
use super::faults::Fault;

/// How many violations are kept word by word.
const VIOLATIONS_KEPT: usize = 100;

/// Counts since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// All calls.
    pub total: u64,
    /// Calls by method and endpoint, e.g. `PUT attribute-values`.
    pub calls: BTreeMap<String, u64>,
    /// Answers by status; 0 is a connection that was reset.
    pub statuses: BTreeMap<u16, u64>,
    /// 429s because the quota was used up.
    pub throttled_by_quota: u64,
    /// 429s because too many calls were under way.
    pub throttled_by_concurrency: u64,
    /// Faults by name.
    pub faults: BTreeMap<String, u64>,
    /// The most calls that were ever under way at once.
    pub highest_concurrency: u32,
    /// The same by method and endpoint.
    pub highest_concurrency_of: BTreeMap<String, u32>,
    /// Calls that no correct client makes, whatever the data.
    pub violations: u64,
    /// The first hundred of them in words.
    pub violation_notes: Vec<String>,
}

impl Report {
    /// Calls of one kind, e.g. `PUT attribute-values`.
    pub fn calls_of(&self, call: &str) -> u64 {
        self.calls.get(call).copied().unwrap_or(0)
    }

    /// 429s of every kind.
    pub fn throttled(&self) -> u64 {
        self.statuses.get(&429).copied().unwrap_or(0)
    }

    /// Counts a call that has come.
    pub(super) fn arrived(&mut self, call: Call) {
        self.total += 1;
        *self.calls.entry(call.to_string()).or_default() += 1;
    }

    /// Counts how many are under way.
    pub(super) fn under_way(&mut self, call: Call, of_its_kind: u32, all: u32) {
        self.highest_concurrency = self.highest_concurrency.max(all);
        let highest = self.highest_concurrency_of.entry(call.to_string()).or_default();
        *highest = (*highest).max(of_its_kind);
    }

    /// Counts a fault.
    pub(super) fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault.to_string()).or_default() += 1;
    }

    /// Counts a violation.
    pub(super) fn violation(&mut self, note: String) {
        self.violations += 1;
        if self.violation_notes.len() < VIOLATIONS_KEPT {
            self.violation_notes.push(note);
        }
    }
}

/// One request and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoggedRequest {
    /// Counts from 1 since the start of the store.
    pub number: u64,
    /// When it was answered, by the simulator's clock.
    pub at: Timestamp,
    /// The method.
    pub method: String,
    /// Path and query after `/stores/{hash}`, as they were sent.
    pub target: String,
    /// The status; 0: the connection was reset.
    pub status: u16,
    /// What went wrong on purpose.
    pub fault: Option<Fault>,
    /// What `X-Request-Id` said.
    pub request_id: String,
}

/// The most recent requests.
#[derive(Debug)]
pub(super) struct Log {
    limit: usize,
    next: u64,
    requests: VecDeque<LoggedRequest>,
}

impl Log {
    /// An empty one.
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, next: 1, requests: VecDeque::new() }
    }

    /// Adds one; its number is given here.
    pub(super) fn add(&mut self, mut request: LoggedRequest) {
        request.number = self.next;
        self.next += 1;
        self.requests.push_back(request);
        while self.requests.len() > self.limit {
            self.requests.pop_front();
        }
    }

    /// Forgets all; numbers go on.
    pub(super) fn clear(&mut self) {
        self.requests.clear();
    }

    /// The oldest first.
    pub(super) fn all(&self) -> Vec<LoggedRequest> {
        self.requests.iter().cloned().collect()
    }
}
