//! What a test, the demo or a shell script does to a running simulator: people's edits, changes of behaviour, and
//! looking at everything.
//!
//! Must not know: how the API answers.

use std::sync::{Arc, MutexGuard};

use super::attributes::ATTRIBUTES_MAX;
use super::data::{Customer, Data, Definition};
use super::faults::FaultRule;
use super::people::{AttributeState, CustomerEdit, CustomerState, NewCustomer, state_of};
use super::records::Moment;
use super::report::{LoggedRequest, Report};
use super::settings::{AttributeKind, Behaviour, Scope};
use super::store::{State, Store};

/// Why an order to the simulator could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no such customer.
    #[error("there is no customer {0}")]
    NoCustomer(u64),
    /// There is no such attribute.
    #[error("there is no attribute named {0:?}")]
    NoAttribute(String),
    /// There is no such group.
    #[error("there is no customer group {0}")]
    NoGroup(u64),
    /// There is no such form field.
    #[error("there is no form field named {0:?}")]
    NoFormField(String),
    /// The attribute is there already.
    #[error("there is an attribute named {0:?} already")]
    AttributeExists(String),
    /// A store has 50 attributes at most.
    #[error("the store has {ATTRIBUTES_MAX} attributes already")]
    TooManyAttributes,
    /// A rule of faults makes no sense.
    #[error("{0}")]
    Fault(String),
}

/// The handle of one store: everything here happens at once, without the API, and dated by the simulator's clock.
#[derive(Clone, Debug)]
pub struct StoreControl {
    store: Arc<Store>,
}

impl StoreControl {
    /// Takes hold of a store.
    pub(super) const fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    pub(super) fn now(&self) -> (MutexGuard<'_, State>, Moment) {
        self.store.now()
    }

    /// The hash in its URLs.
    pub fn hash(&self) -> &str {
        &self.store.hash
    }

    /// The token that it accepts.
    pub fn token(&self) -> String {
        self.now().0.token.clone()
    }

    // What people do.

    /// A new customer; its id.
    ///
    /// # Errors
    /// If an attribute does not exist.
    pub fn add_customer(&self, new: NewCustomer) -> Result<u64, ControlError> {
        let (mut state, moment) = self.now();
        let readings = state.behaviour().readings;
        let mut values = Vec::new();
        for (name, value) in &new.attributes {
            values.push((attribute(state.records.now(), name)?, value));
        }
        let customer = Customer {
            email: new.email,
            first_name: new.first_name,
            last_name: new.last_name,
            company: new.company,
            phone: new.phone,
            notes: new.notes,
            ..Customer::blank(0)
        };
        let id = state.records.create_customer(moment, customer);
        for (attribute, value) in values {
            state.records.set_value(moment, &readings, id, attribute, value);
        }
        Ok(id)
    }

    /// Changes a customer's own fields.
    ///
    /// # Errors
    /// If there is no such customer.
    pub fn edit_customer(&self, id: u64, edit: CustomerEdit) -> Result<(), ControlError> {
        let (mut state, moment) = self.now();
        let known = state.records.edit_customer(moment, id, |customer| {
            let fields = [
                (edit.email, &mut customer.email),
                (edit.first_name, &mut customer.first_name),
                (edit.last_name, &mut customer.last_name),
                (edit.company, &mut customer.company),
                (edit.phone, &mut customer.phone),
                (edit.notes, &mut customer.notes),
                (edit.tax_exempt_category, &mut customer.tax_exempt_category),
            ];
            for (wanted, held) in fields {
                if let Some(wanted) = wanted {
                    *held = wanted;
                }
            }
            customer.customer_group_id = edit.customer_group_id.unwrap_or(customer.customer_group_id);
            customer.accepts_emails = edit.accepts_emails.unwrap_or(customer.accepts_emails);
            customer.store_credit = edit.store_credit.unwrap_or(customer.store_credit);
            if let Some(channel_ids) = edit.channel_ids {
                customer.channel_ids = Some(channel_ids);
            }
        });
        if known { Ok(()) } else { Err(ControlError::NoCustomer(id)) }
    }

    /// Deletes a customer and its values.
    ///
    /// # Errors
    /// If there is no such customer.
    pub fn delete_customer(&self, id: u64) -> Result<(), ControlError> {
        let (mut state, moment) = self.now();
        if state.records.delete_customer(moment, id) { Ok(()) } else { Err(ControlError::NoCustomer(id)) }
    }

    /// Sets a value, whatever its length or type.
    ///
    /// # Errors
    /// If there is no such customer or attribute.
    pub fn set_value(&self, id: u64, name: &str, value: &str) -> Result<(), ControlError> {
        let (mut state, moment) = self.now();
        let readings = state.behaviour().readings;
        let attribute = attribute(state.records.now(), name)?;
        state.records.now().customer(id).ok_or(ControlError::NoCustomer(id))?;
        state.records.set_value(moment, &readings, id, attribute, value);
        Ok(())
    }

    /// Takes a value away, if there is one.
    ///
    /// # Errors
    /// If there is no such customer or attribute.
    pub fn clear_value(&self, id: u64, name: &str) -> Result<(), ControlError> {
        let (mut state, moment) = self.now();
        let readings = state.behaviour().readings;
        let attribute = attribute(state.records.now(), name)?;
        let customer = state.records.now().customer(id).ok_or(ControlError::NoCustomer(id))?;
        let held = customer.values.iter().find(|value| value.attribute_id == attribute).map(|value| value.id);
        if let Some(held) = held {
            state.records.delete_value(moment, &readings, held);
        }
        Ok(())
    }

    /// A new attribute definition; its id.
    ///
    /// # Errors
    /// If there is one of that name, or 50 in all.
    pub fn create_attribute(&self, name: &str, kind: AttributeKind) -> Result<u64, ControlError> {
        let (mut state, moment) = self.now();
        if state.records.now().definition_named(name).is_some() {
            return Err(ControlError::AttributeExists(name.to_owned()));
        }
        if state.records.now().definitions().len() >= ATTRIBUTES_MAX {
            return Err(ControlError::TooManyAttributes);
        }
        Ok(state.records.create_definition(moment, name, kind))
    }

    /// Gives an attribute definition another name.
    ///
    /// # Errors
    /// If there is none of the old name, or one of the new.
    pub fn rename_attribute(&self, from: &str, to: &str) -> Result<(), ControlError> {
        let (mut state, moment) = self.now();
        let id = attribute(state.records.now(), from)?;
        if state.records.now().definition_named(to).is_some() {
            return Err(ControlError::AttributeExists(to.to_owned()));
        }
        state.records.rename_definition(moment, id, to);
        Ok(())
    }

    /// Deletes an attribute definition and all its values.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn delete_attribute(&self, name: &str) -> Result<(), ControlError> {
        let (mut state, moment) = self.now();
        let id = attribute(state.records.now(), name)?;
        state.records.delete_definition(moment, id);
        Ok(())
    }

    // What is there.

    /// All customers, by id.
    pub fn customers(&self) -> Vec<CustomerState> {
        let (state, _) = self.now();
        let data = state.records.now();
        data.customers().map(|customer| state_of(data, customer)).collect()
    }

    /// One customer.
    pub fn customer(&self, id: u64) -> Option<CustomerState> {
        let (state, _) = self.now();
        let data = state.records.now();
        data.customer(id).map(|customer| state_of(data, customer))
    }

    /// Customers with this e-mail, whatever its case.
    pub fn customers_with_email(&self, email: &str) -> Vec<CustomerState> {
        let (state, _) = self.now();
        let data = state.records.now();
        let ids = data.with_email(email).iter();
        ids.filter_map(|&id| data.customer(id)).map(|customer| state_of(data, customer)).collect()
    }

    /// One value.
    pub fn value(&self, id: u64, name: &str) -> Option<String> {
        let (state, _) = self.now();
        let data = state.records.now();
        let attribute = data.definition_named(name)?.id;
        let values = &data.customer(id)?.values;
        values.iter().find(|value| value.attribute_id == attribute).map(|value| value.text.to_string())
    }

    /// All attribute definitions, by id.
    pub fn attributes(&self) -> Vec<AttributeState> {
        let (state, _) = self.now();
        let show = |definition: &Definition| AttributeState {
            id: definition.id,
            name: definition.name.clone(),
            kind: definition.kind,
        };
        state.records.now().definitions().map(show).collect()
    }

    // What was counted.

    /// Counts of calls, answers, throttling and violations.
    pub fn report(&self) -> Report {
        self.now().0.report.clone()
    }

    /// The most recent requests, the oldest first.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.now().0.log.all()
    }

    /// Sets all counts to nothing and forgets the requests.
    pub fn reset_report(&self) {
        let (mut state, _) = self.now();
        state.report = Report::default();
        state.log.clear();
    }

    // How it behaves.

    /// How it behaves now.
    pub fn behaviour(&self) -> Behaviour {
        self.now().0.behaviour().clone()
    }

    /// Changes how it behaves, for every call from now on.
    pub fn change_behaviour(&self, change: impl FnOnce(&mut Behaviour)) {
        let (mut state, moment) = self.now();
        let mut behaviour = state.behaviour().clone();
        change(&mut behaviour);
        state.set_behaviour(behaviour, moment);
    }

    /// One more rule of faults, asked before all others: "the next three upserts are reset after their effect" is
    /// `FaultRule::next(3, Fault::ResetAfter).on("PUT attribute-values")`.
    ///
    /// # Errors
    /// If the rule makes no sense.
    pub fn add_fault(&self, rule: FaultRule) -> Result<(), ControlError> {
        rule.check().map_err(ControlError::Fault)?;
        self.now().0.put_fault_first(rule);
        Ok(())
    }

    /// Nothing goes wrong any more.
    pub fn clear_faults(&self) {
        self.change_behaviour(|behaviour| behaviour.faults.clear());
    }

    /// While on, every connection that asks for this store is reset before anything happens.
    pub fn set_outage(&self, outage: bool) {
        self.change_behaviour(|behaviour| behaviour.outage = outage);
    }

    /// Another token: the old one is answered with 401 from now on.
    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut self.now().0.token);
    }

    /// Other scopes: what they do not cover is answered with 403 from now on.
    pub fn set_scopes(&self, scopes: &[Scope]) {
        self.now().0.scopes = scopes.to_vec();
    }
}

fn attribute(data: &Data, name: &str) -> Result<u64, ControlError> {
    data.definition_named(name)
        .map(|definition| definition.id)
        .ok_or_else(|| ControlError::NoAttribute(name.to_owned()))
}
