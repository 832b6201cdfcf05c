//! A store's data as it is changed and read: the data itself, and the copy behind it that lists may be read from.
//!
//! Every change goes through here, whether it came over HTTP or from a person at the control panel.
//! Must not know: HTTP, quotas, faults.

use std::collections::VecDeque;

use super::beside::Beside;
use super::data::{Address, AttributeValue, Customer, Data, Definition};
use super::dates::Seconds;
use super::form_fields::FormField;
use super::groups::{Group, Groups};
use super::settings::{AttributeKind, EmptyValue, Readings, Replica, UnchangedUpsert, ValueEdits};

/// When something happens, by the two clocks of a simulator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// What rows are dated with.
    pub(super) date: Seconds,
    /// Milliseconds since the simulator started: what lag, windows and late effects are measured with.
    pub(super) elapsed_ms: u64,
}

/// The data, its copy, and the next ids.
#[derive(Debug)]
pub(super) struct Records {
    data: Data,
    replica: Option<Copy>,
    next_customer: u64,
    next_definition: u64,
    next_value: u64,
    next_address: u64,
    /// Groups and questions are few and change seldom: no copy of them lags.
    groups: Groups,
    form_fields: Vec<FormField>,
}

#[derive(Debug)]
struct Copy {
    data: Data,
    lag_ms: u64,
    /// What the copy has not taken over yet, and when it will.
    queue: VecDeque<(u64, Change)>,
}

#[derive(Debug)]
enum Change {
    Customer(u64, Option<Box<Customer>>),
    Definition(u64, Option<Definition>),
    Beside(Box<Beside>),
}

impl Copy {
    fn catch_up(&mut self, elapsed_ms: u64) {
        while self.queue.front().is_some_and(|(due, _)| *due <= elapsed_ms) {
            match self.queue.pop_front() {
                Some((_, Change::Customer(id, customer))) => self.data.put_customer(id, customer.map(|boxed| *boxed)),
                Some((_, Change::Definition(id, definition))) => self.data.put_definition(id, definition),
                Some((_, Change::Beside(beside))) => *self.data.beside_mut() = *beside,
                None => {}
            }
        }
    }
}

impl Records {
    /// From what a store starts with.
    pub(super) fn new(data: Data) -> Self {
        let next = |last: Option<u64>| last.unwrap_or(0) + 1;
        Self {
            next_customer: next(data.customers().map(|customer| customer.id).last()),
            next_definition: next(data.definitions().map(|definition| definition.id).last()),
            next_value: next(data.customers().flat_map(|customer| customer.values.iter().map(|value| value.id)).max()),
            next_address: 1,
            data,
            replica: None,
            groups: Groups::new(),
            form_fields: Vec::new(),
        }
    }

    /// Sets how far the copy lags; a copy that did not exist starts equal.
    pub(super) fn set_replica(&mut self, replica: Replica, moment: Moment) {
        match &mut self.replica {
            _ if replica.lag_ms == 0 => self.replica = None,
            Some(copy) => {
                copy.catch_up(moment.elapsed_ms);
                copy.lag_ms = replica.lag_ms;
            }
            None => {
                self.replica = Some(Copy { data: self.data.clone(), lag_ms: replica.lag_ms, queue: VecDeque::new() });
            }
        }
    }

    /// What queries selected counts no more: they may mean something else now.
    pub(super) fn forget_selections(&mut self) {
        self.data.forget_selections();
        if let Some(copy) = &mut self.replica {
            copy.data.forget_selections();
        }
    }

    /// The data as it is.
    pub(super) const fn now(&self) -> &Data {
        &self.data
    }

    /// The data as a list shows it: as it is, or as the copy has it.
    pub(super) fn listed(&mut self, behind: bool, moment: Moment) -> &mut Data {
        match &mut self.replica {
            Some(copy) if behind => {
                copy.catch_up(moment.elapsed_ms);
                &mut copy.data
            }
            _ => &mut self.data,
        }
    }

    fn put(&mut self, moment: Moment, id: u64, customer: Option<Customer>) {
        if let Some(copy) = &mut self.replica {
            let due = moment.elapsed_ms + copy.lag_ms;
            copy.queue.push_back((due, Change::Customer(id, customer.clone().map(Box::new))));
        }
        self.data.put_customer(id, customer);
    }

    fn put_definition(&mut self, moment: Moment, id: u64, definition: Option<Definition>) {
        if let Some(copy) = &mut self.replica {
            let due = moment.elapsed_ms + copy.lag_ms;
            copy.queue.push_back((due, Change::Definition(id, definition.clone())));
        }
        self.data.put_definition(id, definition);
    }

    /// Changes what is kept beside customers.
    pub(super) fn edit_beside<T>(&mut self, moment: Moment, edit: impl FnOnce(&mut Beside) -> T) -> T {
        let made = edit(self.data.beside_mut());
        if let Some(copy) = &mut self.replica {
            let due = moment.elapsed_ms + copy.lag_ms;
            copy.queue.push_back((due, Change::Beside(Box::new(self.data.beside().clone()))));
        }
        made
    }

    /// Changes the addresses of a customer, which does not date it. False: there is no such customer.
    pub(super) fn edit_addresses(&mut self, moment: Moment, id: u64, edit: impl FnOnce(&mut Vec<Address>)) -> bool {
        let Some(mut customer) = self.data.customer(id).cloned() else { return false };
        edit(&mut customer.addresses);
        self.put(moment, id, Some(customer));
        true
    }

    /// The id of an address that is to be made.
    pub(super) const fn next_address(&mut self) -> u64 {
        let id = self.next_address;
        self.next_address += 1;
        id
    }

    /// A new customer under the next id, dated now.
    pub(super) fn create_customer(&mut self, moment: Moment, mut customer: Customer) -> u64 {
        let id = self.next_customer;
        self.next_customer += 1;
        customer.id = id;
        customer.created = moment.date;
        customer.modified = moment.date;
        self.put(moment, id, Some(customer));
        id
    }

    /// A change that dates nothing by itself. False: there is no such customer.
    pub(super) fn change_customer(&mut self, moment: Moment, id: u64, change: impl FnOnce(&mut Customer)) -> bool {
        let Some(mut customer) = self.data.customer(id).cloned() else { return false };
        change(&mut customer);
        self.put(moment, id, Some(customer));
        true
    }

    /// The groups.
    pub(super) const fn groups(&self) -> &Groups {
        &self.groups
    }

    /// A new group under the next id, dated now.
    pub(super) fn create_group(&mut self, moment: Moment, name: &str) -> u64 {
        let id = self.groups.last_key_value().map_or(1, |(last, _)| last + 1);
        self.groups.insert(id, Group { name: name.to_owned(), created: moment.date, modified: moment.date });
        id
    }

    /// A new name for a group. False: there is no such group.
    pub(super) fn rename_group(&mut self, moment: Moment, id: u64, name: &str) -> bool {
        let Some(group) = self.groups.get_mut(&id) else { return false };
        name.clone_into(&mut group.name);
        group.modified = moment.date;
        true
    }

    /// What is asked at sign-up.
    pub(super) fn form_fields(&self) -> &[FormField] {
        &self.form_fields
    }

    /// The same, to be changed.
    pub(super) const fn form_fields_mut(&mut self) -> &mut Vec<FormField> {
        &mut self.form_fields
    }

    /// An edit of a customer's own fields, dated now. False: there is no such customer.
    pub(super) fn edit_customer(&mut self, moment: Moment, id: u64, edit: impl FnOnce(&mut Customer)) -> bool {
        let Some(mut customer) = self.data.customer(id).cloned() else { return false };
        edit(&mut customer);
        customer.modified = moment.date;
        self.put(moment, id, Some(customer));
        true
    }

    /// Takes a customer and its values away. False: there is no such customer.
    pub(super) fn delete_customer(&mut self, moment: Moment, id: u64) -> bool {
        let known = self.data.customer(id).is_some();
        if known {
            self.put(moment, id, None);
            self.edit_beside(moment, |beside| beside.customer_went(id));
        }
        known
    }

    /// A new definition under the next id, dated now.
    pub(super) fn create_definition(&mut self, moment: Moment, name: &str, kind: AttributeKind) -> u64 {
        let id = self.next_definition;
        self.next_definition += 1;
        let definition = Definition { id, name: name.to_owned(), kind, created: moment.date, modified: moment.date };
        self.put_definition(moment, id, Some(definition));
        id
    }

    /// A new name for a definition. False: there is no such definition.
    pub(super) fn rename_definition(&mut self, moment: Moment, id: u64, name: &str) -> bool {
        let Some(mut definition) = self.data.definition(id).cloned() else { return false };
        name.clone_into(&mut definition.name);
        definition.modified = moment.date;
        self.put_definition(moment, id, Some(definition));
        true
    }

    /// Takes a definition away, and every customer's value of it. False: there is no such definition.
    pub(super) fn delete_definition(&mut self, moment: Moment, id: u64) -> bool {
        if self.data.definition(id).is_none() {
            return false;
        }
        let holders: Vec<Customer> = self
            .data
            .customers()
            .filter(|customer| customer.values.iter().any(|value| value.attribute_id == id))
            .cloned()
            .collect();
        for mut customer in holders {
            customer.values.retain(|value| value.attribute_id != id);
            self.put(moment, customer.id, Some(customer));
        }
        self.put_definition(moment, id, None);
        true
    }

    /// Makes or changes a customer's value of an attribute, dated now as the readings say. Both exist.
    pub(super) fn set_value(
        &mut self,
        moment: Moment,
        readings: &Readings,
        customer_id: u64,
        attribute_id: u64,
        text: &str,
    ) {
        let Some(mut customer) = self.data.customer(customer_id).cloned() else { return };
        let position = customer.values.iter().position(|value| value.attribute_id == attribute_id);
        match position {
            Some(at) if text.is_empty() && readings.empty_value == EmptyValue::Deletes => {
                customer.values.remove(at);
            }
            None if text.is_empty() && readings.empty_value == EmptyValue::Deletes => return,
            Some(at) => {
                let value = &mut customer.values[at];
                if *value.text == *text && readings.unchanged_upsert == UnchangedUpsert::Keeps {
                    return;
                }
                value.text = text.into();
                value.modified = moment.date;
            }
            None => {
                let id = self.next_value;
                self.next_value += 1;
                let (created, modified) = (moment.date, moment.date);
                customer.values.push(AttributeValue { id, attribute_id, text: text.into(), created, modified });
            }
        }
        self.touch(moment, readings, customer);
    }

    /// Takes a value away. False: there is no such value.
    pub(super) fn delete_value(&mut self, moment: Moment, readings: &Readings, id: u64) -> bool {
        let Some((customer, _)) = self.data.value(id) else { return false };
        let mut customer = customer.clone();
        customer.values.retain(|value| value.id != id);
        self.touch(moment, readings, customer);
        true
    }

    fn touch(&mut self, moment: Moment, readings: &Readings, mut customer: Customer) {
        if readings.value_edits == ValueEdits::TouchCustomer {
            customer.modified = moment.date;
        }
        self.put(moment, customer.id, Some(customer));
    }
}
