//! What a store holds: customers with their values, definitions, and the indexes that keep every read cheap.
//!
//! Must not know: HTTP, queries, clocks. It is the same for the store itself and for a copy that lags.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::beside::Beside;
use super::dates::Seconds;
use super::form_fields::Entered;
use super::settings::AttributeKind;

/// A customer, with its values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Customer {
    pub(super) id: u64,
    pub(super) email: String,
    pub(super) first_name: String,
    pub(super) last_name: String,
    pub(super) company: String,
    pub(super) phone: String,
    pub(super) notes: String,
    pub(super) tax_exempt_category: String,
    pub(super) customer_group_id: u64,
    pub(super) created: Seconds,
    pub(super) modified: Seconds,
    pub(super) force_password_reset: bool,
    pub(super) accepts_emails: bool,
    pub(super) origin_channel_id: u64,
    pub(super) channel_ids: Option<Vec<u64>>,
    pub(super) store_credit: f64,
    pub(super) form_fields: Entered,
    /// In no order that means anything; few.
    pub(super) values: Vec<AttributeValue>,
    /// By id.
    pub(super) addresses: Vec<Address>,
}

impl Customer {
    /// One with nothing but an id.
    pub(super) const fn blank(id: u64) -> Self {
        Self {
            id,
            email: String::new(),
            first_name: String::new(),
            last_name: String::new(),
            company: String::new(),
            phone: String::new(),
            notes: String::new(),
            tax_exempt_category: String::new(),
            customer_group_id: 0,
            created: Seconds(0),
            modified: Seconds(0),
            force_password_reset: false,
            accepts_emails: false,
            origin_channel_id: 1,
            channel_ids: None,
            store_credit: 0.0,
            form_fields: Entered::new(),
            values: Vec::new(),
            addresses: Vec::new(),
        }
    }
}

/// An address of a customer. Nothing dates it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Address {
    pub(super) id: u64,
    /// By BigCommerce's names, all of them but the id and the customer.
    pub(super) texts: BTreeMap<&'static str, String>,
    /// Form fields, by name.
    pub(super) form_fields: BTreeMap<String, String>,
}

/// A value of a customer's attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AttributeValue {
    pub(super) id: u64,
    pub(super) attribute_id: u64,
    pub(super) text: Box<str>,
    pub(super) created: Seconds,
    pub(super) modified: Seconds,
}

/// An attribute definition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Definition {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) kind: AttributeKind,
    pub(super) created: Seconds,
    pub(super) modified: Seconds,
}

/// How many results of recent queries are kept, so that page after page of one list costs its own rows only.
const KEPT_SELECTIONS: usize = 8;

/// One copy of everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    customers: BTreeMap<u64, Customer>,
    definitions: BTreeMap<u64, Definition>,
    /// Folded e-mail → customers.
    emails: HashMap<String, Vec<u64>>,
    /// Value → its customer.
    owners: BTreeMap<u64, u64>,
    customers_by_modified: BTreeSet<(Seconds, u64)>,
    /// (modified, value) → attribute.
    values_by_modified: BTreeMap<(Seconds, u64), u64>,
    beside: Beside,
    /// Counts changes: what was selected before the last one is stale.
    version: u64,
    selections: VecDeque<(String, u64, Arc<[u64]>)>,
}

impl Data {
    /// From everything at once, much quicker than one by one.
    pub(super) fn bulk(customers: Vec<Customer>, definitions: Vec<Definition>) -> Self {
        let mut emails: HashMap<String, Vec<u64>> = HashMap::with_capacity(customers.len());
        for customer in &customers {
            emails.entry(fold(&customer.email)).or_default().push(customer.id);
        }
        let values =
            || customers.iter().flat_map(|customer| customer.values.iter().map(move |value| (customer, value)));
        Self {
            emails,
            owners: values().map(|(customer, value)| (value.id, customer.id)).collect(),
            customers_by_modified: customers.iter().map(|customer| (customer.modified, customer.id)).collect(),
            values_by_modified: values().map(|(_, value)| ((value.modified, value.id), value.attribute_id)).collect(),
            customers: customers.into_iter().map(|customer| (customer.id, customer)).collect(),
            definitions: definitions.into_iter().map(|definition| (definition.id, definition)).collect(),
            beside: Beside::default(),
            version: 0,
            selections: VecDeque::new(),
        }
    }

    /// What is kept beside customers.
    pub(super) const fn beside(&self) -> &Beside {
        &self.beside
    }

    /// The same, to be changed.
    pub(super) const fn beside_mut(&mut self) -> &mut Beside {
        self.version += 1;
        &mut self.beside
    }

    pub(super) fn customer(&self, id: u64) -> Option<&Customer> {
        self.customers.get(&id)
    }

    pub(super) fn customers(&self) -> impl Iterator<Item = &Customer> {
        self.customers.values()
    }

    pub(super) fn definition(&self, id: u64) -> Option<&Definition> {
        self.definitions.get(&id)
    }

    pub(super) fn definitions(&self) -> impl ExactSizeIterator<Item = &Definition> {
        self.definitions.values()
    }

    /// The definition with exactly this name.
    pub(super) fn definition_named(&self, name: &str) -> Option<&Definition> {
        self.definitions.values().find(|definition| definition.name == name)
    }

    /// Customers whose e-mail is this one but for case.
    pub(super) fn with_email(&self, email: &str) -> &[u64] {
        self.emails.get(&fold(email)).map_or(&[], Vec::as_slice)
    }

    /// A value and its customer.
    pub(super) fn value(&self, id: u64) -> Option<(&Customer, &AttributeValue)> {
        let customer = self.customers.get(self.owners.get(&id)?)?;
        customer.values.iter().find(|value| value.id == id).map(|value| (customer, value))
    }

    /// Customers modified at `from` or later, the oldest modification first.
    pub(super) fn customers_since(&self, from: Seconds) -> impl Iterator<Item = u64> {
        self.customers_by_modified.range((from, 0)..).map(|&(_, id)| id)
    }

    /// (value, attribute) of values modified at `from` or later, the oldest modification first.
    pub(super) fn values_since(&self, from: Seconds) -> impl Iterator<Item = (Seconds, u64, u64)> {
        self.values_by_modified.range((from, 0)..).map(|(&(modified, id), &attribute)| (modified, id, attribute))
    }

    /// Puts a customer in place of the one with its id, or takes that one away.
    pub(super) fn put_customer(&mut self, id: u64, customer: Option<Customer>) {
        self.version += 1;
        if let Some(old) = self.customers.remove(&id) {
            self.customers_by_modified.remove(&(old.modified, id));
            for value in &old.values {
                self.owners.remove(&value.id);
                self.values_by_modified.remove(&(value.modified, value.id));
            }
            let folded = fold(&old.email);
            if let Some(ids) = self.emails.get_mut(&folded) {
                ids.retain(|&other| other != id);
                if ids.is_empty() {
                    self.emails.remove(&folded);
                }
            }
        }
        if let Some(customer) = customer {
            self.customers_by_modified.insert((customer.modified, id));
            for value in &customer.values {
                self.owners.insert(value.id, id);
                self.values_by_modified.insert((value.modified, value.id), value.attribute_id);
            }
            self.emails.entry(fold(&customer.email)).or_default().push(id);
            self.customers.insert(id, customer);
        }
    }

    /// Puts a definition in place of the one with its id, or takes that one away; its values are someone else's work.
    pub(super) fn put_definition(&mut self, id: u64, definition: Option<Definition>) {
        self.version += 1;
        match definition {
            Some(definition) => self.definitions.insert(id, definition),
            None => self.definitions.remove(&id),
        };
    }

    /// What queries selected counts no more: they may mean something else now.
    pub(super) fn forget_selections(&mut self) {
        self.selections.clear();
    }

    /// The ids that a query selects, remembered until something changes.
    pub(super) fn select(&mut self, query: &str, find: impl FnOnce(&Self) -> Vec<u64>) -> Arc<[u64]> {
        let version = self.version;
        self.selections.retain(|(_, seen, _)| *seen == version);
        if let Some((_, _, ids)) = self.selections.iter().find(|(known, _, _)| known == query) {
            return Arc::clone(ids);
        }
        let ids: Arc<[u64]> = find(self).into();
        if self.selections.len() == KEPT_SELECTIONS {
            self.selections.pop_front();
        }
        self.selections.push_back((query.to_owned(), version, Arc::clone(&ids)));
        ids
    }
}

/// An e-mail for looking up.
pub(super) fn fold(email: &str) -> String {
    email.to_lowercase()
}
