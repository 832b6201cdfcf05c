//! Making and deleting customers. Each call is sent once; nothing that the store does to people by itself is triggered.

use std::collections::BTreeMap;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::customers::CustomerField;
use super::field::Field;
use super::read::id_of;
use super::wire::{CustomerRow, Listing, Object};
use super::{BigCommerce, Ids, Lane, Paid, Reservation, deletion, query};
use crate::connector::{Created, Lifecycle, LifecycleLimits, Lookup, NewRecord, Removed};
use crate::http::{Answer, Request};
use crate::model::{Class, Existence, Failure, Key, Value};

/// BigCommerce takes at most 10 customers in one call; more is refused.
const CUSTOMERS_PER_POST: usize = 10;

/// The attributes that a new customer may bring; what is over is written afterwards.
const ATTRIBUTES_PER_CUSTOMER: usize = 10;

/// Ids of one delete: a limit of ours.
const CUSTOMERS_PER_DELETE: usize = 50;

#[async_trait]
impl Lifecycle for BigCommerce {
    fn lifecycle_limits(&self) -> LifecycleLimits {
        LifecycleLimits { records_per_create: CUSTOMERS_PER_POST, keys_per_remove: CUSTOMERS_PER_DELETE }
    }

    fn required(&self) -> Vec<Vec<&'static str>> {
        vec![
            vec!["customer:email"],
            vec!["customer:first_name", "customer:name"],
            vec!["customer:last_name", "customer:name"],
        ]
    }

    fn creates_with(&self, field: usize) -> bool {
        match self.fields.get(field) {
            Some(Field::Attribute(_)) => true,
            Some(Field::Customer(field)) => field.is_writable(),
            _ => false,
        }
    }

    async fn create(&self, batch: &[NewRecord], reservation: &dyn Reservation) -> Vec<Created> {
        let mut created: Vec<Option<Created>> = vec![None; batch.len()];
        let mut rows = Vec::with_capacity(batch.len());
        let mut sent: BTreeMap<String, usize> = BTreeMap::new();
        for (place, record) in batch.iter().enumerate() {
            match self.new_customer(record) {
                Ok((email, row)) => {
                    sent.insert(email, place);
                    rows.push(row);
                }
                Err(why) => created[place] = Some(Created::Rejected(why)),
            }
        }
        if !rows.is_empty() {
            self.post_customers(&rows, &sent, reservation, &mut created).await;
        }
        let forgotten = || {
            let sentence = format!("a customer for store {} was left out of the call", self.store_hash);
            Created::NotSent(Failure::new(Class::Broken, sentence))
        };
        created.into_iter().map(|created| created.unwrap_or_else(forgotten)).collect()
    }

    async fn remove(&self, keys: &[Key], reservation: &dyn Reservation) -> Vec<Removed> {
        let Some(ids) = Ids::of(keys.iter().filter_map(id_of)) else { return vec![Removed::Gone; keys.len()] };
        let lost = match self.send_write(&self.endpoints.customer_writes, &deletion(&ids), reservation).await {
            Ok(_) => None,
            Err(failure) if failure.may_have_happened => Some(failure),
            Err(failure) if failure.class == Class::Rejected => {
                let sentence =
                    "BigCommerce refused to delete the customer; delete it there by hand, or leave it".to_owned();
                return vec![Removed::Rejected(sentence); keys.len()];
            }
            Err(failure) => return vec![Removed::NotSent(failure); keys.len()],
        };
        // The answer to a delete proves nothing, and neither does its absence: what is still shown does.
        let identity: Vec<usize> = (0..self.fields.len()).collect();
        match self.read_directly(keys, &identity, Paid::by(reservation, Lane::Resolve)).await {
            Ok(shown) => shown
                .iter()
                .map(|shown| match (&shown.existence, &lost) {
                    (Existence::Gone, _) => Removed::Gone,
                    (_, Some(failure)) => Removed::Unknown(failure.clone()),
                    (_, None) => Removed::Unknown(self.still_there()),
                })
                .collect(),
            Err(failure) => vec![Removed::Unknown(lost.unwrap_or(failure).possibly_happened()); keys.len()],
        }
    }
}

impl BigCommerce {
    /// One row of the call, and the e-mail by which the answer is told apart. The error is a sentence without values.
    fn new_customer(&self, record: &NewRecord) -> Result<(String, Json), String> {
        let attributes = self.attributes().map_err(|failure| failure.to_string())?;
        let mut row = serde_json::Map::new();
        let mut values = Vec::new();
        for (at, value) in &record.values {
            match self.fields.get(*at) {
                Some(Field::Customer(field)) => {
                    for (name, value) in field.entries(Some(value))? {
                        row.insert(name.to_owned(), value);
                    }
                }
                Some(Field::Attribute(_)) => {
                    // Here it is `attribute_value`, where the upsert wants `value`.
                    if let (Some(id), Value::Text(text), true) =
                        (attributes.of_field(*at), value, values.len() < ATTRIBUTES_PER_CUSTOMER)
                    {
                        values.push(json!({ "attribute_id": id, "attribute_value": text }));
                    }
                }
                _ => {}
            }
        }
        for name in ["email", "first_name", "last_name"] {
            if !row.contains_key(name) {
                return Err(format!("a customer needs `{name}`, and it has none"));
            }
        }
        if !values.is_empty() {
            row.insert("attributes".to_owned(), values.into());
        }
        // What happens where it is not said is not documented: nobody is written to because of us.
        row.insert("trigger_account_created_notification".to_owned(), false.into());
        let email = row.get("email").and_then(Json::as_str).unwrap_or_default().trim().to_lowercase();
        Ok((email, row.into()))
    }

    async fn post_customers(
        &self,
        rows: &[Json],
        sent: &BTreeMap<String, usize>,
        reservation: &dyn Reservation,
        created: &mut [Option<Created>],
    ) {
        let made = match serde_json::to_vec(rows) {
            Ok(body) => {
                let request = Request::change(Method::POST, "", Some(body));
                self.send_write(&self.endpoints.customer_writes, &request, reservation).await.and_then(|answer| {
                    keys_by_email(&answer).map(|keys| (keys, answer.unreadable("without the customer")))
                })
            }
            Err(_) => Err(self.unwritable()),
        };
        match made {
            Ok((keys, incomplete)) => {
                for (email, place) in sent {
                    created[*place] = Some(match keys.get(email) {
                        Some(id) => Created::Made(Key::new(id.to_string())),
                        None => Created::Unknown(incomplete.clone()),
                    });
                }
            }
            Err(failure) => self.not_made(&failure, sent, reservation.lane(), created).await,
        }
    }

    /// What became of a call that was refused: whether some of it was made all the same is not documented, so the e-mails are
    /// looked up. Who has one was made, or was there before: which of them, nobody needs to know.
    async fn not_made(
        &self,
        failure: &Failure,
        sent: &BTreeMap<String, usize>,
        lane: Lane,
        created: &mut [Option<Created>],
    ) {
        let outcome = |failure: Failure| match failure.class {
            _ if failure.may_have_happened => Created::Unknown(failure),
            Class::Rejected if sent.len() > 1 => Created::BatchRejected(failure),
            Class::Rejected => Created::Rejected(format!(
                "BigCommerce refused to make the customer (status {}{}); correct it where it comes from",
                failure.status.unwrap_or_default(),
                failure.request_id.as_ref().map(|id| format!(", request {id}")).unwrap_or_default(),
            )),
            _ => Created::NotSent(failure),
        };
        if failure.may_have_happened || failure.class != Class::Rejected {
            sent.values().for_each(|place| created[*place] = Some(outcome(failure.clone())));
            return;
        }
        let said = failure.detail.as_deref().unwrap_or_default();
        tracing::debug!(target: "attune", customers = sent.len(), "{failure}: {said}");
        let emails: Vec<String> = sent.keys().cloned().collect();
        let found = self.holders(&emails, lane).await;
        for (email, place) in sent {
            created[*place] = Some(match &found {
                Ok(found) => match found.get(email) {
                    Some(id) => Created::Exists(Some(Key::new(id.to_string()))),
                    None => outcome(failure.clone()),
                },
                Err(unknown) => Created::Unknown(unknown.clone().possibly_happened()),
            });
        }
    }

    /// Who has these e-mails, in lower case.
    async fn holders(&self, emails: &[String], lane: Lane) -> Result<BTreeMap<String, u64>, Failure> {
        let each = self.lookup_limits().values_per_find;
        let mut found = BTreeMap::new();
        for emails in emails.chunks(each) {
            let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
            let query = query::customers_with("email:in", &emails);
            found.extend(self.read(&self.endpoints.customers, &query, Paid::in_lane(lane), keys_by_email).await?);
        }
        Ok(found)
    }

    fn still_there(&self) -> Failure {
        let sentence = format!(
            "store {} took a delete of customers, but still shows one of them; it is looked at again later",
            self.store_hash
        );
        Failure::new(Class::Retry, sentence).possibly_happened()
    }
}

/// The customers of an answer, by their e-mails in lower case.
fn keys_by_email(answer: &Answer) -> Result<BTreeMap<String, u64>, Failure> {
    let Object(listing) = answer.json::<Object<Listing<CustomerRow<'_>>>>()?;
    Ok(listing.data.iter().map(|row| (row.email.text().trim().to_lowercase(), row.id)).collect())
}

impl CustomerField {
    /// Whether a new customer can be given it.
    const fn is_writable(self) -> bool {
        !matches!(self, Self::Id | Self::StoreCredit | Self::OriginChannelId | Self::DateCreated | Self::DateModified)
    }
}
