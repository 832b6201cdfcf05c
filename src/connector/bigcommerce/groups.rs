//! Customer groups: a customer shows the id of its group, people know its name. Groups belong to version 2 of the API.
//!
//! They are listed when the store is prepared, and again where an id or a name is not among them. A group is made only where
//! the mapping says so, and with nothing but a name: discount rules are never sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::field::Field;
use super::read::CustomersPage;
use super::wire::{Object, number};
use super::write::NotPut;
use super::{BigCommerce, Lane, PAGE_ROWS, Paid, Reservation, explained};
use crate::http::{Answer, Pay, Request};
use crate::model::{Cell, Class, Failure, FieldShape, Seen, Side, Value, Write};
use crate::telemetry::{Source, note_of};

/// Nobody has as many.
const PAGES_MAX: usize = 100;

/// How long a group that was asked to be made may take to appear: meanwhile it is not asked for again.
const APPEARS_WITHIN: Duration = Duration::from_secs(120);

/// More groups are not made in a day: a column of anything else, mapped by mistake, must not become groups.
const GROUPS_PER_DAY: usize = 20;

const DAY: Duration = Duration::from_secs(86_400);

/// What is known of a store's groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    listed: RwLock<Arc<Listed>>,
    /// Names are looked up one batch after the other, so that a group is made once.
    turn: tokio::sync::Mutex<()>,
    /// What was asked to be made today, and when.
    asked_for: Mutex<HashMap<String, Instant>>,
}

/// The groups as they were last listed.
#[derive(Debug, Default)]
struct Listed {
    names: BTreeMap<u64, String>,
}

#[derive(Debug, Deserialize)]
struct GroupRow {
    #[serde(deserialize_with = "number")]
    id: u64,
    name: String,
}

impl Listed {
    /// The groups of a name.
    fn named(&self, name: &str) -> Vec<u64> {
        self.names.iter().filter(|(_, known)| known.trim() == name.trim()).map(|(id, _)| *id).collect()
    }
}

/// A customer is in one group or in none.
pub(super) const fn shape() -> FieldShape {
    FieldShape::TEXT
}

impl BigCommerce {
    fn listed_groups(&self) -> Arc<Listed> {
        Arc::clone(&self.groups.listed.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn maps_groups(&self) -> bool {
        self.fields.iter().any(|field| *field == Field::Group)
    }

    /// Lists the groups where a field needs them.
    pub(super) async fn find_groups(&self, paid: Paid<'_>) -> Result<(), Failure> {
        if self.maps_groups() {
            self.list_groups(paid).await?;
        }
        Ok(())
    }

    async fn list_groups(&self, paid: Paid<'_>) -> Result<Arc<Listed>, Failure> {
        let mut names = BTreeMap::new();
        for page in 1..=PAGES_MAX {
            let query = format!("limit={PAGE_ROWS}&page={page}");
            let parse = |answer: &Answer| {
                // A list without rows has no body.
                if answer.body.iter().all(u8::is_ascii_whitespace) {
                    return Ok(Vec::new());
                }
                answer.json::<Vec<Object<GroupRow>>>()
            };
            let rows = self.read(&self.endpoints.groups, &query, paid, parse).await?;
            let known = names.len();
            let shown = rows.len();
            names.extend(rows.into_iter().map(|Object(row)| (row.id, row.name)));
            // A page that shows nothing new is the last one, too: pages have no totals here.
            if shown < PAGE_ROWS || names.len() == known {
                let listed = Arc::new(Listed { names });
                *self.groups.listed.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&listed);
                return Ok(listed);
            }
        }
        Err(self.senseless(&self.endpoints.groups, "more pages of groups than any store has"))
    }

    /// Shows the name of each customer's group; of one that is not among the groups, nothing.
    pub(super) async fn show_groups(&self, page: &mut CustomersPage, paid: Paid<'_>) -> Result<(), Failure> {
        if !self.maps_groups() {
            return Ok(());
        }
        let mut listed = self.listed_groups();
        let unknown = |id: &Option<u64>| id.is_some_and(|id| id != 0 && !listed.names.contains_key(&id));
        if page.groups.iter().any(unknown) {
            listed = self.list_groups(paid).await?;
        }
        for (record, group) in page.observed.iter_mut().zip(&page.groups) {
            let seen = match group {
                None => Seen::Unseen,
                Some(0) => Seen::Absent,
                Some(id) => listed.names.get(id).map_or(Seen::Unseen, |name| Seen::Value(Value::text(name.trim()))),
            };
            for (field, cell) in self.fields.iter().zip(&mut record.cells) {
                if *field == Field::Group {
                    *cell = Cell { seen: seen.clone(), ..Cell::default() };
                }
            }
        }
        Ok(())
    }

    /// The id of the group that each write of a batch names, by its place; 0 for none. Missing ones are made where the
    /// mapping says so.
    pub(super) async fn group_ids(
        &self,
        batch: &[Write],
        reservation: &dyn Reservation,
    ) -> HashMap<usize, Result<u64, NotPut>> {
        let is_group = |write: &Write| self.fields.get(write.field) == Some(&Field::Group);
        let mut ids = HashMap::new();
        if !batch.iter().any(is_group) {
            return ids;
        }
        let _turn = self.groups.turn.lock().await;
        let paid = Paid::by(reservation, Lane::Fresh);
        let mut looked_again = false;
        for (place, write) in batch.iter().enumerate().filter(|(_, write)| is_group(write)) {
            let name = match &write.value {
                None => "",
                Some(Value::Text(name)) => name,
                Some(Value::List(_)) => {
                    let why = "it is a list, and a customer is in one group".to_owned();
                    ids.insert(place, Err(NotPut::Refused(why)));
                    continue;
                }
            };
            let id = self.group_id(name, &mut looked_again, paid).await;
            ids.insert(place, id);
        }
        ids
    }

    async fn group_id(&self, name: &str, looked_again: &mut bool, paid: Paid<'_>) -> Result<u64, NotPut> {
        if name.trim().is_empty() {
            return Ok(0);
        }
        let mut named = self.listed_groups().named(name);
        if named.is_empty() && !*looked_again {
            *looked_again = true;
            named = self.list_groups(paid).await.map_err(NotPut::Failed)?.named(name);
        }
        if named.is_empty() && self.create_groups {
            named = self.create_group(name.trim(), paid).await?;
        }
        match named.as_slice() {
            [id] => Ok(*id),
            [] => Err(NotPut::Refused(
                "the store has no customer group of this name; create it in BigCommerce, correct the name where it comes \
                 from, or set create_groups = true in the mapping"
                    .to_owned(),
            )),
            _ => Err(NotPut::Refused(
                "the store has several customer groups of this name; rename all but one in BigCommerce, so that the name \
                 says which"
                    .to_owned(),
            )),
        }
    }

    /// The name stays out of it: it is text that came from a CRM.
    fn say_created(&self, named: &[u64]) {
        let ids: Vec<String> = named.iter().map(u64::to_string).collect();
        let text =
            format!("customer group {} was created, because a contact names it (create_groups = true)", ids.join(", "));
        note_of(tracing::Level::INFO, Source::of(Side::Store, &self.name), &text);
    }

    /// Makes one group, with one call that is never repeated: whatever it answers, a listing says what there is.
    async fn create_group(&self, name: &str, paid: Paid<'_>) -> Result<Vec<u64>, NotPut> {
        let not_yet = || {
            let sentence = format!(
                "a customer group that store {} was asked to create is not listed yet; it is looked for again",
                self.store_hash
            );
            NotPut::Failed(Failure::new(Class::Retry, sentence))
        };
        {
            let mut asked_for = self.groups.asked_for.lock().unwrap_or_else(PoisonError::into_inner);
            asked_for.retain(|_, at| at.elapsed() < DAY);
            if asked_for.get(name).is_some_and(|at| at.elapsed() < APPEARS_WITHIN) {
                return Err(not_yet());
            }
            if asked_for.len() >= GROUPS_PER_DAY {
                return Err(NotPut::Refused(format!(
                    "the store has no customer group of this name, and {GROUPS_PER_DAY} were created within a day already; \
                     create it in BigCommerce if it is meant, or correct the mapping"
                )));
            }
            asked_for.insert(name.to_owned(), Instant::now());
        }
        let forget = || self.groups.asked_for.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let body = serde_json::to_vec(&json!({ "name": name })).map_err(|_| NotPut::Failed(self.unwritable()))?;
        let request = Request::change(Method::POST, "", Some(body));
        let turn = self.caller.turn(&self.endpoints.group_writes, Pay::InTurn(Lane::Fresh)).await;
        let sent = match turn {
            Ok(turn) => self.caller.send(turn, &request).await.map_err(explained),
            Err(failure) => Err(failure),
        };
        let refused = match sent {
            Ok(_) => false,
            Err(failure) if failure.class == Class::Rejected && !failure.may_have_happened => true,
            Err(failure) if failure.may_have_happened => false,
            Err(failure) => {
                forget();
                return Err(NotPut::Failed(failure));
            }
        };
        let named = self.list_groups(paid).await.map_err(NotPut::Failed)?.named(name);
        match (named.is_empty(), refused) {
            (false, _) => {
                self.say_created(&named);
                Ok(named)
            }
            (true, true) => {
                forget();
                Err(NotPut::Refused(
                    "BigCommerce refused to create a customer group of this name; create it there, or correct the name where \
                     it comes from"
                        .to_owned(),
                ))
            }
            (true, false) => Err(not_yet()),
        }
    }
}
