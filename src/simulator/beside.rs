//! What a store keeps beside its customers: segments with their members, metafields, subscribers.
//!
//! Few enough in a rehearsal to be walked through, so there are no indexes. Must not know: HTTP, queries, clocks.

use std::collections::{BTreeMap, BTreeSet};

use super::dates::Seconds;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Beside {
    /// By id, in the order in which they were made.
    pub(super) segments: BTreeMap<String, Segment>,
    /// By id.
    pub(super) profiles: BTreeMap<String, Profile>,
    /// By id.
    pub(super) metafields: BTreeMap<u64, Metafield>,
    /// By id.
    pub(super) subscribers: BTreeMap<u64, Subscriber>,
    last_id: u64,
}

/// A segment and the shopper profiles in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) created: Seconds,
    pub(super) modified: Seconds,
    pub(super) members: BTreeSet<String>,
}

/// What stands for a customer in segments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Profile {
    pub(super) customer_id: u64,
    pub(super) created: Seconds,
}

/// A metafield of a customer, who need not exist.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Metafield {
    pub(super) customer_id: u64,
    pub(super) namespace: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) description: String,
    pub(super) permission_set: String,
    /// The API account that made it.
    pub(super) owner: String,
    pub(super) created: Seconds,
    pub(super) modified: Seconds,
}

impl Metafield {
    /// Whether an API account sees it.
    pub(super) fn is_seen_by(&self, client: &str) -> bool {
        self.owner == client || self.permission_set != "app_only"
    }

    /// Whether an API account may change it.
    pub(super) fn is_changed_by(&self, client: &str) -> bool {
        self.owner == client || self.permission_set.starts_with("write")
    }
}

/// Somebody who was asked whether they want mail: joined to customers by nothing but the e-mail.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subscriber {
    pub(super) email: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) source: String,
    pub(super) consents: BTreeSet<String>,
    pub(super) created: Seconds,
    pub(super) modified: Seconds,
}

impl Beside {
    /// A number that was never given before.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A UUID that was never given before.
    pub(super) fn next_uuid(&mut self) -> String {
        let id = self.next_id();
        format!("5e60e47a-0000-4000-8000-{id:012x}")
    }

    /// The profile of a customer.
    pub(super) fn profile_of(&self, customer: u64) -> Option<&str> {
        let found = self.profiles.iter().find(|(_, profile)| profile.customer_id == customer);
        found.map(|(id, _)| id.as_str())
    }

    /// The segments that a customer is in.
    pub(super) fn segments_of(&self, customer: u64) -> Vec<&str> {
        let Some(profile) = self.profile_of(customer) else { return Vec::new() };
        let within = self.segments.iter().filter(|(_, segment)| segment.members.contains(profile));
        within.map(|(id, _)| id.as_str()).collect()
    }

    /// The segment of a name.
    pub(super) fn segment_named(&self, name: &str) -> Option<&str> {
        self.segments.iter().find(|(_, segment)| segment.name == name).map(|(id, _)| id.as_str())
    }

    /// A customer went: so does its profile. Metafields stay, and a subscriber never belonged to it.
    pub(super) fn customer_went(&mut self, customer: u64) {
        let Some(profile) = self.profile_of(customer).map(str::to_owned) else { return };
        self.profiles.remove(&profile);
        for segment in self.segments.values_mut() {
            segment.members.remove(&profile);
        }
    }
}
