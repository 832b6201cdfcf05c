//! What each event says to people. Messages may be reworded at any time; names and fields may not.

use std::fmt;

use super::{Event, Pair, Source};
use crate::model::Side;

impl Event<'_> {
    /// A sentence for people, understandable without the fields.
    pub(super) fn message(&self) -> String {
        match self {
            Self::DaemonStarted { version, stores, crms, pairs } => {
                format!("attune {version} started: {stores} stores, {crms} CRMs, {pairs} pairs")
            }
            Self::DaemonStopped { reason, finished: true, .. } => format!("stopped: {reason}"),
            Self::DaemonStopped { reason, finished: false, .. } => {
                format!("stopped before everything in flight was finished: {reason}; the next start reads it back")
            }
            Self::ConfigReloaded { stores, crms, pairs } => {
                format!("configuration reloaded: {stores} stores, {crms} CRMs, {pairs} pairs")
            }
            Self::ConfigRejected { problems, reason } => {
                format!(
                    "configuration rejected, the one before stays in force; problems: {problems}; the first: {reason}"
                )
            }
            Self::PassCompleted { pair, pass, observed, .. } if !self.balances() => format!(
                "pass {pass} of {pair} does not balance: {observed} fields observed are not the sum of what became of \
                 them; this is a defect, please report it"
            ),
            Self::PassCompleted { pair, pass, written, agreed, held, pending, failed, .. } => format!(
                "pass {pass} of {pair} completed: {written} written, {agreed} agreed, {held} held, {pending} pending, \
                 {failed} failed"
            ),
            Self::PassFailed { pair, pass, reason, .. } => format!("pass {pass} of {pair} failed: {reason}"),
            Self::SweepCompleted { source, records, gone, drift, .. } => {
                format!(
                    "sweep of {source} completed: {records} records, {gone} gone, {drift} changes missed by its feeds"
                )
            }
            Self::StoreHeartbeat { pair, state, pending, held, .. } => {
                format!("{pair} is {state}: {pending} pending, {held} held")
            }
            Self::LinkCreated { store_key, crm_key, by, .. } => {
                format!("customer {store_key} is contact {crm_key}, by {by}")
            }
            Self::RecordCreated { side: Side::Store, store_key, crm_key, .. } => {
                format!("customer {store_key} made for contact {crm_key}")
            }
            Self::RecordCreated { side: Side::Crm, store_key, crm_key, .. } => {
                format!("contact {crm_key} made for customer {store_key}")
            }
            Self::RecordDeleted { side: Side::Store, store_key, crm_key, partner_deleted, .. } => {
                let partner = if *partner_deleted { "was deleted too" } else { "stays" };
                format!("customer {store_key} is gone; contact {crm_key} {partner}")
            }
            Self::RecordDeleted { side: Side::Crm, store_key, crm_key, partner_deleted, .. } => {
                let partner = if *partner_deleted { "was deleted too" } else { "stays" };
                format!("contact {crm_key} is gone; customer {store_key} {partner}")
            }
            Self::AttributeCreated { source, field, .. } => format!("{field} created in {source}"),
            Self::SchemaChanged { source, field, reason } => format!("{field} of {source} changed: {reason}"),
            Self::FieldHeld { store_key, crm_key, field, reason, .. } => format!(
                "{field} of customer {store_key}, contact {crm_key}, is held: {reason}; next: {}",
                reason.next_step()
            ),
            Self::RecordHeld { side, key, reason, candidates, .. } => {
                let record = match side {
                    Side::Store => "customer",
                    Side::Crm => "contact",
                };
                let between = if *candidates > 0 { format!(", {candidates} candidates") } else { String::new() };
                format!("{record} {key} is held: {reason}{between}; next: {}", reason.next_step())
            }
            Self::ConflictResolved { store_key, crm_key, field, winner, policy, .. } => {
                format!("conflict in {field} of customer {store_key}, contact {crm_key}: {winner} won by {policy}")
            }
            Self::RailStopped { pair, rail, count, limit, .. } => format!(
                "{pair} stopped before crossing a rail: {count} {rail} in 24 hours, {limit} allowed; look at \
                 `attune plan --store {store}`, then `attune approve {store}`",
                store = pair.store
            ),
            Self::QuotaWaiting { source, wait_ms, .. } => format!("{source}: waiting {wait_ms} ms for the quota"),
            Self::QuotaThrottled { source, wait_ms, .. } => {
                format!("{source} answered 429: nothing is sent for {wait_ms} ms")
            }
            Self::SourcePaused { source, reason } => {
                format!("{source} is paused: {reason}; `attune resume {}` goes on", source.name())
            }
            Self::SourceRecovered { source, duration_ms } => format!("{source} works again after {duration_ms} ms"),
            Self::SourceUnauthorized { source, reason, .. } => format!("{source} refuses our credentials: {reason}"),
            Self::SourceUnreachable { source, reason, .. } => format!("{source} cannot be reached: {reason}"),
            Self::ClockSkewed { source, ahead_ms, records } => {
                format!("{source} dates {records} records up to {ahead_ms} ms past its own clock")
            }
            Self::DriftFound { source, drift } => {
                format!("a sweep of {source} found {drift} changed fields that its feeds had missed")
            }
            Self::CheckpointBehind { pair, reason } => {
                format!("the checkpoint is older than what {pair} hold: {reason}")
            }
            Self::OperatorActed { target: Some(source), action, count } => {
                format!("operator: {action} on {source}, {count} touched")
            }
            Self::OperatorActed { target: None, action, count } => format!("operator: {action}, {count} touched"),
        }
    }
}

impl fmt::Display for Pair<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} with {}", self.store, self.crm)
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(name) => write!(formatter, "store {name}"),
            Self::Crm(name) => write!(formatter, "CRM {name}"),
        }
    }
}

impl<'a> Source<'a> {
    const fn name(self) -> &'a str {
        match self {
            Self::Store(name) | Self::Crm(name) => name,
        }
    }
}
