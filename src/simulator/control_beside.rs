//! What people and other apps do to segments, metafields, subscribers and addresses, and looking at them.
//!
//! Must not know: how the API answers.

use std::collections::{BTreeMap, BTreeSet};

use super::addresses::TEXTS;
use super::beside::{Metafield, Subscriber};
use super::control::{ControlError, StoreControl};
use super::data::Address;
use super::segments;

/// A metafield as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetafieldState {
    /// Its id.
    pub id: u64,
    /// The value.
    pub value: String,
    /// Who sees and changes it.
    pub permission_set: String,
    /// The token of the API account that made it.
    pub owner: String,
}

impl StoreControl {
    /// Puts a customer into a segment, which is made where there is none of the name, or takes it out.
    ///
    /// # Errors
    /// If there is no such customer.
    pub fn set_member(&self, customer: u64, segment: &str, member: bool) -> Result<(), ControlError> {
        let (mut state, moment) = self.now();
        state.records.now().customer(customer).ok_or(ControlError::NoCustomer(customer))?;
        state.records.edit_beside(moment, |beside| {
            let id = beside.segment_named(segment).map(str::to_owned);
            let id = id.unwrap_or_else(|| segments::make(beside, moment.date, segment, ""));
            let profile = segments::profile(beside, moment.date, customer);
            if let Some(segment) = beside.segments.get_mut(&id) {
                if member {
                    segment.members.insert(profile)
                } else {
                    segment.members.remove(&profile)
                };
            }
        });
        Ok(())
    }

    /// A new segment without members; its id.
    pub fn create_segment(&self, name: &str) -> String {
        let (mut state, moment) = self.now();
        state.records.edit_beside(moment, |beside| segments::make(beside, moment.date, name, ""))
    }

    /// Gives a segment another name, or takes it away.
    pub fn rename_segment(&self, from: &str, to: Option<&str>) {
        let (mut state, moment) = self.now();
        state.records.edit_beside(moment, |beside| {
            let Some(id) = beside.segment_named(from).map(str::to_owned) else { return };
            match (to, beside.segments.get_mut(&id)) {
                (Some(to), Some(segment)) => to.clone_into(&mut segment.name),
                _ => drop(beside.segments.remove(&id)),
            }
        });
    }

    /// The names of the segments that a customer is in.
    pub fn segments_of(&self, customer: u64) -> BTreeSet<String> {
        let (state, _) = self.now();
        let beside = state.records.now().beside();
        let within = beside.segments_of(customer).into_iter();
        within.filter_map(|id| beside.segments.get(id)).map(|segment| segment.name.clone()).collect()
    }

    /// The names of all segments.
    pub fn segments(&self) -> BTreeSet<String> {
        let (state, _) = self.now();
        state.records.now().beside().segments.values().map(|segment| segment.name.clone()).collect()
    }

    /// How many shopper profiles there are.
    pub fn profiles(&self) -> usize {
        self.now().0.records.now().beside().profiles.len()
    }

    /// Sets the metafield of a customer that an API account owns (the store's token: ours), who may see it as
    /// `permission_set` says; none takes it away.
    pub fn set_metafield(&self, customer: u64, name: &str, value: Option<&str>, (owner, permission_set): (&str, &str)) {
        let (namespace, key) = name.split_once('/').unwrap_or(("", name));
        let (mut state, moment) = self.now();
        state.records.edit_beside(moment, |beside| {
            let is_meant = |metafield: &Metafield| {
                (metafield.customer_id, metafield.owner.as_str()) == (customer, owner)
                    && metafield.namespace == namespace
                    && metafield.key == key
            };
            let known = beside.metafields.iter().find(|(_, metafield)| is_meant(metafield)).map(|(id, _)| *id);
            let Some(value) = value else {
                if let Some(known) = known {
                    beside.metafields.remove(&known);
                }
                return;
            };
            let id = known.unwrap_or_else(|| beside.next_id());
            let metafield = beside.metafields.entry(id).or_insert_with(|| Metafield {
                customer_id: customer,
                namespace: namespace.to_owned(),
                key: key.to_owned(),
                value: String::new(),
                description: String::new(),
                permission_set: permission_set.to_owned(),
                owner: owner.to_owned(),
                created: moment.date,
                modified: moment.date,
            });
            value.clone_into(&mut metafield.value);
            metafield.modified = moment.date;
        });
    }

    /// The metafields `NAMESPACE/KEY` of a customer, whoever made them.
    pub fn metafields(&self, customer: u64, name: &str) -> Vec<MetafieldState> {
        let (state, _) = self.now();
        let all = state.records.now().beside().metafields.iter();
        let is_meant = |metafield: &Metafield| {
            metafield.customer_id == customer && name == format!("{}/{}", metafield.namespace, metafield.key)
        };
        all.filter(|(_, metafield)| is_meant(metafield))
            .map(|(id, metafield)| MetafieldState {
                id: *id,
                value: metafield.value.clone(),
                permission_set: metafield.permission_set.clone(),
                owner: metafield.owner.clone(),
            })
            .collect()
    }

    /// What somebody consents to; none: they are no subscriber any more.
    pub fn set_consents(&self, email: &str, consents: Option<&[&str]>) {
        let (mut state, moment) = self.now();
        state.records.edit_beside(moment, |beside| {
            let known = beside.subscribers.iter().find(|(_, other)| other.email == email).map(|(id, _)| *id);
            let Some(consents) = consents else {
                if let Some(known) = known {
                    beside.subscribers.remove(&known);
                }
                return;
            };
            let id = known.unwrap_or_else(|| beside.next_id());
            let subscriber = beside.subscribers.entry(id).or_insert_with(|| Subscriber {
                email: email.to_owned(),
                first_name: String::new(),
                last_name: String::new(),
                source: "storefront".to_owned(),
                consents: BTreeSet::new(),
                created: moment.date,
                modified: moment.date,
            });
            subscriber.consents = consents.iter().map(|word| (*word).to_owned()).collect();
            subscriber.modified = moment.date;
        });
    }

    /// What somebody consents to, where they are a subscriber.
    pub fn consents(&self, email: &str) -> Option<BTreeSet<String>> {
        let (state, _) = self.now();
        let all = state.records.now().beside().subscribers.values();
        all.into_iter().find(|subscriber| subscriber.email == email).map(|subscriber| subscriber.consents.clone())
    }

    /// A new address of a customer, by BigCommerce's names and by the names of form fields (in capitals); its id.
    ///
    /// # Errors
    /// If there is no such customer.
    pub fn add_address(&self, customer: u64, texts: &[(&str, &str)]) -> Result<u64, ControlError> {
        let (mut state, moment) = self.now();
        let id = state.records.next_address();
        let mut address = Address { id, ..Address::default() };
        put(&mut address, &[("address_type", "residential")]);
        put(&mut address, texts);
        let known = state.records.edit_addresses(moment, customer, |addresses| addresses.push(address));
        if known { Ok(id) } else { Err(ControlError::NoCustomer(customer)) }
    }

    /// Changes an address of a customer; without texts it is taken away.
    pub fn edit_address(&self, customer: u64, id: u64, texts: &[(&str, &str)]) {
        let (mut state, moment) = self.now();
        state.records.edit_addresses(moment, customer, |addresses| {
            if texts.is_empty() {
                addresses.retain(|address| address.id != id);
            } else if let Some(address) = addresses.iter_mut().find(|address| address.id == id) {
                put(address, texts);
            }
        });
    }

    /// The addresses of a customer, by id, each with its texts that are not empty.
    pub fn addresses(&self, customer: u64) -> Vec<(u64, BTreeMap<String, String>)> {
        let (state, _) = self.now();
        let Some(customer) = state.records.now().customer(customer) else { return Vec::new() };
        let texts = |address: &Address| {
            let all = address.texts.iter().filter(|(_, text)| !text.is_empty());
            all.map(|(name, text)| ((*name).to_owned(), text.clone())).collect()
        };
        customer.addresses.iter().map(|address| (address.id, texts(address))).collect()
    }
}

fn put(address: &mut Address, texts: &[(&str, &str)]) {
    for (name, text) in texts {
        match TEXTS.iter().find(|(known, _)| known == name) {
            Some((known, _)) => drop(address.texts.insert(known, (*text).to_owned())),
            None => drop(address.form_fields.insert((*name).to_owned(), (*text).to_owned())),
        }
    }
}
