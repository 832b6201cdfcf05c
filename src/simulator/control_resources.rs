//! What people do with what belongs to a customer: groups, form fields, store credit. The rest is in `control`.
//!
//! Must not know: how the API answers.

use serde_json::Value;

use super::control::{ControlError, StoreControl};
use super::form_fields::{FormField, FormFieldKind};
use super::settings::FormFieldEdits;

impl StoreControl {
    /// A new customer group, also of a name that there is already; its id.
    pub fn add_group(&self, name: &str) -> u64 {
        let (mut state, moment) = self.now();
        state.records.create_group(moment, name)
    }

    /// Gives a group another name.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn rename_group(&self, id: u64, name: &str) -> Result<(), ControlError> {
        let (mut state, moment) = self.now();
        if state.records.rename_group(moment, id, name) { Ok(()) } else { Err(ControlError::NoGroup(id)) }
    }

    /// The names of the groups, by id.
    pub fn groups(&self) -> Vec<(u64, String)> {
        self.now().0.records.groups().iter().map(|(id, group)| (*id, group.name.clone())).collect()
    }

    /// A merchant asks for another thing at sign-up.
    pub fn add_form_field(&self, name: &str, kind: FormFieldKind) {
        let field = FormField { name: name.to_owned(), kind, required: false };
        self.now().0.records.form_fields_mut().push(field);
    }

    /// A merchant gives a form field another name: what was entered stays.
    ///
    /// # Errors
    /// If there is no such form field.
    pub fn rename_form_field(&self, from: &str, to: &str) -> Result<(), ControlError> {
        let (mut state, moment) = self.now();
        let Some(field) = state.records.form_fields_mut().iter_mut().find(|field| field.name == from) else {
            return Err(ControlError::NoFormField(from.to_owned()));
        };
        to.clone_into(&mut field.name);
        let holders: Vec<u64> = state.records.now().customers().map(|customer| customer.id).collect();
        for id in holders {
            state.records.change_customer(moment, id, |customer| {
                for (name, _) in customer.form_fields.iter_mut().filter(|(name, _)| name == from) {
                    to.clone_into(name);
                }
            });
        }
        Ok(())
    }

    /// A merchant makes a form field required.
    ///
    /// # Errors
    /// If there is no such form field.
    pub fn require_form_field(&self, name: &str) -> Result<(), ControlError> {
        let (mut state, _) = self.now();
        match state.records.form_fields_mut().iter_mut().find(|field| field.name == name) {
            Some(field) => {
                field.required = true;
                Ok(())
            }
            None => Err(ControlError::NoFormField(name.to_owned())),
        }
    }

    /// A shopper enters something; null empties it. It dates the customer as the readings say.
    ///
    /// # Errors
    /// If there is no such customer or form field.
    pub fn set_form_field(&self, id: u64, name: &str, value: &Value) -> Result<(), ControlError> {
        let (mut state, moment) = self.now();
        if !state.records.form_fields().iter().any(|field| field.name == name) {
            return Err(ControlError::NoFormField(name.to_owned()));
        }
        let touches = state.behaviour().readings.form_field_edits == FormFieldEdits::TouchCustomer;
        let known = state.records.change_customer(moment, id, |customer| {
            customer.form_fields.retain(|(known, _)| known != name);
            if !value.is_null() {
                customer.form_fields.push((name.to_owned(), value.clone()));
            }
            if touches {
                customer.modified = moment.date;
            }
        });
        if known { Ok(()) } else { Err(ControlError::NoCustomer(id)) }
    }

    /// What a customer has entered.
    pub fn form_field(&self, id: u64, name: &str) -> Option<Value> {
        let (state, _) = self.now();
        let customer = state.records.now().customer(id)?;
        customer.form_fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}
