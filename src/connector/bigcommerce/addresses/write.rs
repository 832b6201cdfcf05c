//! Addresses are made and changed by tens, a customer's fields in one row. An answer without the row may mean that nothing was
//! done because another address is equal: what the customer has then is read.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::super::field::Field;
use super::super::read::id_of;
use super::super::wire::{Listing, Object};
use super::super::write::refuse;
use super::super::{BigCommerce, Lane, Paid, Reservation};
use super::{Address, AddressField, AddressRow, Token};
use crate::connector::batch::by_record;
use crate::http::{Answer, Request};
use crate::model::{Failure, Outcome, Seen, Value, Write};

/// How many a call takes is not documented; so many are taken.
pub(in super::super) const ADDRESSES_PER_CALL: usize = 10;

/// What else may be the matter.
const HINT: &str = "; states are written by their full names (Ohio, not OH), countries by two letters, and some countries need a \
                    state or a postal code";

/// What no address is made without.
const NEEDED: [&str; 5] = ["first_name", "last_name", "address1", "city", "country_code"];

/// What a new address names in any case, were it to say that there is none: whether one is needed depends on the country.
const NAMED: [&str; 2] = ["state_or_province", "postal_code"];

/// Packs the addresses of ten customers into a call, new ones apart.
pub(in super::super) fn batches(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let is_new = |writes: &Vec<Write>| writes.first().is_some_and(|write| token_of(write).id.is_none());
    let (new, known): (Vec<_>, Vec<_>) = by_record(writes).into_iter().partition(is_new);
    let packed = |customers: &[Vec<Write>]| customers.chunks(ADDRESSES_PER_CALL).map(<[_]>::concat).collect::<Vec<_>>();
    let mut batches = packed(&new);
    batches.extend(packed(&known));
    batches
}

fn token_of(write: &Write) -> Token {
    write.expect.token.as_deref().and_then(|token| serde_json::from_str(token).ok()).unwrap_or_default()
}

/// One address that is to be made or changed.
struct Row {
    token: Token,
    /// Places in the batch, with their fields.
    places: Vec<(usize, AddressField)>,
    texts: BTreeMap<&'static str, String>,
}

impl BigCommerce {
    /// Sends a batch once; one outcome for each write, in order.
    pub(in super::super) async fn write_addresses(
        &self,
        batch: &[Write],
        reservation: &dyn Reservation,
    ) -> Vec<Option<Outcome>> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
        for (place, write) in batch.iter().enumerate() {
            let text = match &write.value {
                None => Some(String::new()),
                Some(Value::Text(text)) => Some(text.clone()),
                Some(Value::List(_)) => None,
            };
            let field = self.fields.get(write.field);
            let (Some(customer), Some(Field::Address(field)), Some(text)) = (id_of(&write.key), field, text) else {
                outcomes[place] = Some(self.unsendable("it belongs to no field of an address"));
                continue;
            };
            let row = rows.entry(customer).or_insert_with(|| Row {
                token: token_of(write),
                places: Vec::new(),
                texts: BTreeMap::new(),
            });
            row.places.push((place, *field));
            row.texts.insert(field.name, text);
        }
        let (known, new): (BTreeMap<u64, Row>, BTreeMap<u64, Row>) =
            rows.into_iter().partition(|(_, row)| row.token.id.is_some());
        let new = self.completed(new, &mut outcomes);
        self.put_addresses(Method::POST, new, reservation, &mut outcomes).await;
        self.put_addresses(Method::PUT, known, reservation, &mut outcomes).await;
        outcomes
    }

    /// What a new address needs besides; those that lack what nobody can guess are not sent.
    fn completed(&self, rows: BTreeMap<u64, Row>, outcomes: &mut [Option<Outcome>]) -> BTreeMap<u64, Row> {
        let mut complete = BTreeMap::new();
        for (customer, mut row) in rows {
            let names = [("first_name", row.token.first_name.clone()), ("last_name", row.token.last_name.clone())];
            for (name, text) in names {
                row.texts.entry(name).or_insert(text);
            }
            let lacks = |name: &&&str| row.texts.get(**name).is_none_or(|text| text.trim().is_empty());
            let lacking: Vec<&str> = NEEDED.iter().filter(lacks).copied().collect();
            if lacking.is_empty() {
                complete.insert(customer, row);
                continue;
            }
            let sentence = format!(
                "the customer has no such address yet, and none can be made without {}: map it, and fill it in the CRM",
                lacking.join(", ")
            );
            for (place, _) in row.places {
                outcomes[place] = Some(Outcome::Rejected(sentence.clone()));
            }
        }
        complete
    }

    async fn put_addresses(
        &self,
        method: Method,
        rows: BTreeMap<u64, Row>,
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Outcome>],
    ) {
        if rows.is_empty() {
            return;
        }
        let places: Vec<usize> = rows.values().flat_map(|row| &row.places).map(|(place, _)| *place).collect();
        let body: Vec<Json> = rows.iter().map(|(customer, row)| self.address_body(*customer, row)).collect();
        let sent = match serde_json::to_vec(&body) {
            Ok(body) => {
                let request = Request::change(method, "", Some(body));
                self.send_write(&self.endpoints.address_writes, &request, reservation).await
            }
            Err(_) => Err(self.unwritable()),
        };
        match sent {
            Ok(answer) => self.became(&answer, rows, reservation, outcomes).await,
            Err(failure) => refuse(&places, &failure, HINT, outcomes),
        }
    }

    fn address_body(&self, customer: u64, row: &Row) -> Json {
        let mut body: Map<String, Json> =
            row.texts.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        match row.token.id {
            Some(id) => drop(body.insert("id".to_owned(), json!(id))),
            None => {
                body.insert("customer_id".to_owned(), json!(customer));
                for name in NAMED {
                    body.entry(name).or_insert_with(|| json!(""));
                }
                if let Some(mark) = self.address_mark() {
                    let mark = json!([{ "name": mark.form_field, "value": mark.value }]);
                    body.insert("form_fields".to_owned(), mark);
                }
            }
        }
        Json::Object(body)
    }

    /// What became of the addresses: the rows that the answer shows are stored; of the others it is read what there is.
    async fn became(
        &self,
        answer: &Answer,
        rows: BTreeMap<u64, Row>,
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Outcome>],
    ) {
        // Where nothing was done the answer may have no list at all.
        let shown: Vec<Address> = match answer.json::<Object<Listing<AddressRow<'_>>>>() {
            Ok(Object(listing)) => listing.data.iter().map(AddressRow::kept).collect(),
            Err(_) => Vec::new(),
        };
        let mut rest: BTreeMap<u64, Row> = BTreeMap::new();
        for (customer, row) in rows {
            let its = |address: &&Address| match row.token.id {
                Some(id) => address.id == id,
                None => address.customer == customer,
            };
            match shown.iter().find(its) {
                Some(address) => stored(address, &row, outcomes),
                None => drop(rest.insert(customer, row)),
            }
        }
        if rest.is_empty() {
            return;
        }
        let customers: Vec<u64> = rest.keys().copied().collect();
        match self.addresses_of(&customers, Paid::by(reservation, Lane::Resolve)).await {
            Ok(mut held) => {
                for (customer, row) in rest {
                    self.not_shown(&held.remove(&customer).unwrap_or_default(), &row, outcomes);
                }
            }
            Err(failure) => {
                let failure = failure.possibly_happened();
                for (place, _) in rest.values().flat_map(|row| &row.places) {
                    outcomes[*place] = Some(Outcome::Unknown(failure.clone()));
                }
            }
        }
    }

    /// An address that the answer left out: it holds what was sent, or another one does.
    fn not_shown(&self, held: &[Address], row: &Row, outcomes: &mut [Option<Outcome>]) {
        let target = match row.token.id {
            Some(id) => held.iter().find(|address| address.id == id),
            None => self.meant(held.iter()),
        };
        let holds = |address: &&Address| row.texts.iter().all(|(name, text)| address.texts.get(name) == Some(text));
        if let Some(address) = target.filter(holds) {
            return stored(address, row, outcomes);
        }
        let twins: BTreeSet<u64> = held.iter().filter(holds).map(|address| address.id).collect();
        for (place, _) in &row.places {
            outcomes[*place] = Some(if twins.is_empty() && row.token.id.is_none() {
                Outcome::Unknown(self.address_not_shown())
            } else {
                Outcome::Rejected(
                    "BigCommerce took the address and did nothing: the customer has another address that is equal but for what \
                     the mapping does not name, and BigCommerce keeps no two; delete one of them, or change the value"
                        .to_owned(),
                )
            });
        }
    }

    fn address_not_shown(&self) -> Failure {
        let sentence =
            format!("store {} took an address, but does not show it; it is looked at again later", self.store_hash);
        Failure::new(crate::model::Class::Retry, sentence).possibly_happened()
    }
}

/// The outcome of every field of an address that is stored.
fn stored(address: &Address, row: &Row, outcomes: &mut [Option<Outcome>]) {
    for (place, field) in &row.places {
        let stored = address.cell(*field, None);
        outcomes[*place] = Some(match stored.seen {
            Seen::Unseen => Outcome::Unknown(
                Failure::new(
                    crate::model::Class::Retry,
                    "the answer does not show the field of the address that was sent",
                )
                .possibly_happened(),
            ),
            _ => Outcome::Written { stored },
        });
    }
}
