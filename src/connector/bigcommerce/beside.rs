//! What a sweep reads before the customers, because it has lists of its own: with it every customer is shown complete, absences
//! included.
//!
//! It is remembered while the sweep lasts, some bytes for each metafield and each subscriber.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{BoxStream, StreamExt};

use super::field::Field;
use super::read::CustomersPage;
use super::subscribers::{Subscribers, comparable};
use super::{BigCommerce, Lane};
use crate::connector::Page;
use crate::model::{Cell, Failure};

/// Shared by the parts of one sweep.
pub(super) type SharedBeside = Arc<Mutex<Beside>>;

/// What was read before the customers.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Whose metafields were shown: customer and field.
    pub(super) metafields: HashSet<(u64, usize)>,
    /// Who is a subscriber, by e-mail.
    pub(super) subscribers: Subscribers,
    /// A list changed every time while it was read: what it did not show may be there.
    pub(super) torn: bool,
}

impl BigCommerce {
    /// Every customer with every field.
    pub(super) fn read_everything(&self) -> BoxStream<'_, Result<Page, Failure>> {
        let lane = Lane::Sweep;
        let beside = SharedBeside::default();
        let customers = self.read_customers(None, lane, Some(Arc::clone(&beside)));
        let mut everything = customers;
        if self.maps_metafields() {
            let not_the_end = |page: Result<Page, Failure>| page.map(|page| Page { end: None, ..page });
            let metafields = self.read_metafields(None, lane, Some(Arc::clone(&beside))).map(not_the_end);
            everything = metafields.chain(everything).boxed();
        }
        if self.maps_subscribers() {
            everything = self.read_all_subscribers(beside).chain(everything).boxed();
        }
        everything
    }

    pub(super) fn maps_metafields(&self) -> bool {
        self.fields.iter().any(|field| matches!(field, Field::Metafield(_)))
    }

    /// Shows of a page of customers what their other lists have shown, and what is absent because they have not. Answers
    /// whether those lists were whole.
    pub(super) fn show_beside(&self, page: &mut CustomersPage, beside: &SharedBeside) -> bool {
        let beside = beside.lock().unwrap_or_else(PoisonError::into_inner);
        if beside.torn {
            return false;
        }
        self.note_metafields(&beside.metafields);
        for (customer, record) in page.ids.iter().zip(&mut page.observed) {
            for (index, field) in self.fields.iter().enumerate() {
                if matches!(field, Field::Metafield(_)) && !beside.metafields.contains(&(*customer, index)) {
                    record.cells[index] = Cell::absent();
                }
            }
        }
        for (email, record) in page.emails.iter().zip(&mut page.observed) {
            let compared = comparable(email);
            if !compared.is_empty() {
                self.show_consents(&mut record.cells, email, beside.subscribers.get(&compared));
            }
        }
        true
    }
}
