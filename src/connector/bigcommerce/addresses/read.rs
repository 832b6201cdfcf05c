//! Addresses are read with their customers. The documentation cuts them at ten, and form fields are not among them: where a
//! customer does not show all, its addresses are read beside the page.

use std::collections::HashMap;

use super::super::paging::{Paging, Step};
use super::super::read::CustomersPage;
use super::super::wire::{Listing, Object};
use super::super::{BigCommerce, Paid, query};
use super::{Address, AddressRow};
use crate::connector::End;
use crate::http::Answer;
use crate::model::Failure;

/// Addresses by customer.
pub(super) type Addresses = HashMap<u64, Vec<Address>>;

impl BigCommerce {
    /// Shows the addresses of a page of customers.
    pub(in super::super) async fn show_addresses(
        &self,
        page: &mut CustomersPage,
        paid: Paid<'_>,
    ) -> Result<(), Failure> {
        let mark = self.address_mark();
        let asked = page.ids.iter().zip(&page.books).filter(|(_, book)| book.shown.is_some());
        let incomplete: Vec<u64> = asked.filter(|(_, book)| !book.is_whole(mark)).map(|(id, _)| *id).collect();
        let mut read =
            if incomplete.is_empty() { Addresses::new() } else { self.addresses_of(&incomplete, paid).await? };
        for ((id, book), record) in page.ids.iter().zip(&page.books).zip(&mut page.observed) {
            let Some(shown) = &book.shown else { continue };
            if book.is_whole(mark) {
                self.show_address(&mut record.cells, book, shown);
            } else {
                let all = read.remove(id).unwrap_or_default();
                self.show_address(&mut record.cells, book, &all);
            }
        }
        Ok(())
    }

    /// All addresses of these customers.
    pub(super) async fn addresses_of(&self, customers: &[u64], paid: Paid<'_>) -> Result<Addresses, Failure> {
        let mut addresses = Addresses::new();
        let mut rest = customers;
        while !rest.is_empty() {
            let (group, later) = query::fitting(rest, &[], self.ids_per_call());
            match self.addresses_of_group(group, paid).await {
                Err(failure) if self.asks_for_fewer(&failure, group) => continue,
                found => {
                    for address in found? {
                        addresses.entry(address.customer).or_default().push(address);
                    }
                }
            }
            rest = later;
        }
        Ok(addresses)
    }

    async fn addresses_of_group(&self, customers: &[u64], paid: Paid<'_>) -> Result<Vec<Address>, Failure> {
        let endpoint = &self.endpoints.addresses;
        let base = query::addresses_of(customers, self.address_mark().is_some());
        let mut paging = Paging::default();
        let mut addresses: Vec<Address> = Vec::new();
        loop {
            let parse = |answer: &Answer| {
                let Object(listing) = answer.json::<Object<Listing<AddressRow<'_>>>>()?;
                let kept: Vec<Address> = listing.data.iter().map(AddressRow::kept).collect();
                Ok((kept, listing.meta))
            };
            let query = format!("{base}{}", paging.query());
            let (kept, meta) = self.read(endpoint, &query, paid, parse).await?;
            let ids: Vec<u64> = kept.iter().map(|address| address.id).collect();
            addresses.extend(kept);
            match paging.turned(&ids, &meta).map_err(|why| self.senseless(endpoint, why))? {
                Step::More => {}
                Step::Again => addresses.clear(),
                Step::End(End::Whole) => return Ok(addresses),
                Step::End(End::Torn) => return Err(self.restless("addresses")),
            }
        }
    }
}
