//! Joining and leaving: fifty profiles a call. Who has no profile gets one first. Each call is sent once; that somebody joined is
//! read from the answer's rows, everything else from the customers.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::field::Field;
use super::super::ids::{Ids, deletion};
use super::super::read::{Included, id_of};
use super::super::wire::{Listing, Object, number};
use super::super::write::refuse;
use super::super::{BigCommerce, Lane, Paid, Reservation};
use super::{Segments, is_path_id};
use crate::http::{Answer, Request};
use crate::model::{Cell, Class, Failure, Key, Observed, Outcome, Seen, Value, Write};

/// BigCommerce takes at most 50 in one call.
pub(in super::super) const PROFILES_PER_CALL: usize = 50;

/// How often profiles are asked for: one that somebody else makes meanwhile may refuse the others of its call. A customer has one:
/// asking twice makes no second.
const PROFILE_CALLS_MAX: usize = 3;

/// Packs those who join, or leave, one segment into fifties.
pub(in super::super) fn batches(mut writes: Vec<Write>) -> Vec<Vec<Write>> {
    writes.sort_by(|one, other| {
        (one.field, &one.value, id_of(&one.key)).cmp(&(other.field, &other.value, id_of(&other.key)))
    });
    let is_list = |write: &Write| matches!(write.value, None | Some(Value::List(_)));
    let alike = |one: &Write, other: &Write| {
        one.field == other.field && (one.value == other.value || (is_list(one) && is_list(other)))
    };
    writes.chunk_by(alike).flat_map(|alike| alike.chunks(PROFILES_PER_CALL)).map(<[Write]>::to_vec).collect()
}

/// What one write changes.
struct Move {
    place: usize,
    customer: u64,
    profile: Option<String>,
    /// The segments that are joined (true) or left.
    moves: Vec<(String, bool)>,
}

#[derive(Serialize)]
struct NewProfile {
    customer_id: u64,
}

/// A shopper profile.
#[derive(Debug, Deserialize)]
struct ProfileRow {
    id: String,
    #[serde(deserialize_with = "number")]
    customer_id: u64,
}

impl BigCommerce {
    /// Sends a batch; one outcome for each write, in order.
    pub(in super::super) async fn move_members(
        &self,
        batch: &[Write],
        reservation: &dyn Reservation,
    ) -> Vec<Option<Outcome>> {
        let segments = self.segments();
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.len()];
        let mut moves = Vec::new();
        for (place, write) in batch.iter().enumerate() {
            match self.planned(place, write, &segments) {
                Ok(planned) => moves.push(planned),
                Err(outcome) => outcomes[place] = Some(outcome),
            }
        }
        self.give_profiles(&mut moves, reservation, &mut outcomes).await;
        moves.retain(|planned| outcomes[planned.place].is_none());
        let mut calls: BTreeMap<(String, bool), Vec<&Move>> = BTreeMap::new();
        for planned in &moves {
            for moved in &planned.moves {
                calls.entry(moved.clone()).or_default().push(planned);
            }
        }
        let mut proven: BTreeSet<(u64, String)> = BTreeSet::new();
        let mut failures: BTreeMap<usize, Failure> = BTreeMap::new();
        for ((segment, joins), members) in calls {
            match self.move_in(&segment, joins, &members, reservation).await {
                Ok(joined) => proven.extend(joined.into_iter().map(|customer| (customer, segment.clone()))),
                Err(failure) => {
                    for member in members {
                        // Where one may have happened, the whole write may have.
                        let worse = failures.get(&member.place).is_none_or(|known| !known.may_have_happened);
                        if worse {
                            failures.insert(member.place, failure.clone());
                        }
                    }
                }
            }
        }
        let is_proven = |planned: &Move| {
            let joined =
                |(segment, joins): &(String, bool)| *joins && proven.contains(&(planned.customer, segment.clone()));
            planned.moves.iter().all(joined)
        };
        let (known, unknown): (Vec<&Move>, Vec<&Move>) = moves.iter().partition(|planned| is_proven(planned));
        for planned in known {
            let seen = batch[planned.place].value.clone().map_or(Seen::Absent, Seen::Value);
            outcomes[planned.place] = Some(Outcome::Written { stored: Cell { seen, ..Cell::default() } });
        }
        self.look_after(batch, &unknown, &failures, reservation, &mut outcomes).await;
        outcomes
    }

    /// What a write changes, by what its recheck showed.
    fn planned(&self, place: usize, write: &Write, segments: &Segments) -> Result<Move, Outcome> {
        let customer = id_of(&write.key).ok_or_else(|| self.unsendable("its key is no customer id"))?;
        let found = segments.of_field(write.field);
        let found = found.filter(|found| !found.is_empty());
        let found = found.ok_or_else(|| self.unsendable("its segment is not known at present"))?;
        let names = |value: Option<&Value>| -> BTreeSet<String> {
            match (self.fields.get(write.field), value) {
                (_, None) => BTreeSet::new(),
                (Some(Field::Segment(name)), Some(value)) => {
                    let is_member = matches!(value, Value::Text(text) if says_yes(text));
                    is_member.then(|| name.clone()).into_iter().collect()
                }
                (_, Some(Value::Text(text))) => [text.clone()].into(),
                (_, Some(Value::List(names))) => names.iter().cloned().collect(),
            }
        };
        let (wanted, held) = (names(write.value.as_ref()), names(write.expect.seen.value()));
        if wanted.iter().any(|name| !found.contains_key(name)) {
            let sentence = "the value was not sent: it names a segment that `among` of the mapping does not list; add it there, or \
                            correct the value";
            return Err(Outcome::Rejected(sentence.to_owned()));
        }
        let moves: Vec<(String, bool)> = found
            .iter()
            .filter(|(name, _)| wanted.contains(*name) != held.contains(*name))
            .map(|(name, id)| (id.clone(), wanted.contains(name)))
            .collect();
        let profile = write.expect.token.clone().filter(|profile| is_path_id(profile));
        if profile.is_none() && moves.iter().any(|(_, joins)| !joins) {
            return Err(self.unsendable("the recheck showed no shopper profile that could leave a segment"));
        }
        Ok(Move { place, customer, profile, moves })
    }

    /// Makes the shopper profiles that are missing. That one exists means nothing by itself.
    async fn give_profiles(&self, moves: &mut [Move], reservation: &dyn Reservation, outcomes: &mut [Option<Outcome>]) {
        let mut refused = None;
        for _ in 0..PROFILE_CALLS_MAX {
            let without: BTreeSet<u64> =
                moves.iter().filter(|planned| planned.profile.is_none()).map(|planned| planned.customer).collect();
            if without.is_empty() {
                return;
            }
            let (made, last) = match self.make_profiles(&without, reservation).await {
                // Somebody else made one of them, or a customer is gone, or nobody knows: the customers tell.
                Err(failure) if failure.class == Class::Rejected || failure.may_have_happened => {
                    let last = failure.class == Class::Rejected;
                    refused = Some(failure);
                    (self.profiles_of(&without, reservation).await, last)
                }
                made => (made, true),
            };
            match made {
                Ok(made) if made.is_empty() && last => break,
                Ok(made) => {
                    for planned in moves.iter_mut().filter(|planned| planned.profile.is_none()) {
                        planned.profile = made.get(&planned.customer).cloned();
                    }
                }
                Err(failure) => {
                    refused = Some(failure);
                    break;
                }
            }
        }
        let places: Vec<usize> =
            moves.iter().filter(|planned| planned.profile.is_none()).map(|planned| planned.place).collect();
        let mut failure = refused.unwrap_or_else(|| {
            let sentence = format!("store {} did not say which shopper profiles it made", self.store_hash);
            Failure::new(Class::Rejected, sentence)
        });
        if failure.may_have_happened {
            // A profile means nothing by itself: whether somebody is in a segment was not touched.
            failure.may_have_happened = false;
            failure.class = Class::Retry;
        }
        refuse(&places, &failure, "; the customer has no shopper profile, and none was made", outcomes);
    }

    async fn make_profiles(
        &self,
        customers: &BTreeSet<u64>,
        reservation: &dyn Reservation,
    ) -> Result<BTreeMap<u64, String>, Failure> {
        let new: Vec<NewProfile> = customers.iter().map(|customer| NewProfile { customer_id: *customer }).collect();
        let body = serde_json::to_vec(&new).map_err(|_unwritable| self.unwritable())?;
        let request = Request::change(Method::POST, "", Some(body));
        let answer = self.send_write(&self.endpoints.profile_writes, &request, reservation).await?;
        let rows = answer.json::<Object<Listing<ProfileRow>>>()?.0.data;
        Ok(rows.into_iter().filter(|row| is_path_id(&row.id)).map(|row| (row.customer_id, row.id)).collect())
    }

    async fn profiles_of(
        &self,
        customers: &BTreeSet<u64>,
        reservation: &dyn Reservation,
    ) -> Result<BTreeMap<u64, String>, Failure> {
        let shown = self.members_now(customers.iter().copied(), reservation).await?;
        let profile = |record: Observed| {
            let profile = record.cells.into_iter().find_map(|cell| cell.token)?;
            Some((id_of(&record.key)?, profile))
        };
        Ok(shown.into_iter().filter_map(profile).collect())
    }

    /// What these customers show of their segments now.
    async fn members_now(
        &self,
        customers: impl Iterator<Item = u64>,
        reservation: &dyn Reservation,
    ) -> Result<Vec<Observed>, Failure> {
        let ids: Vec<u64> = customers.collect();
        let include = Included { segments: true, ..Included::default() };
        let mut shown = self.customers_by_id(&ids, include, Paid::by(reservation, Lane::Resolve)).await?;
        for record in &mut shown {
            for (field, cell) in self.fields.iter().zip(&mut record.cells) {
                if !field.is_about_segments() {
                    *cell = Cell::default();
                }
            }
        }
        Ok(shown)
    }

    /// One call. Answers the customers of which it says that they joined.
    async fn move_in(
        &self,
        segment: &str,
        joins: bool,
        members: &[&Move],
        reservation: &dyn Reservation,
    ) -> Result<Vec<u64>, Failure> {
        let profiles: Vec<&str> = members.iter().filter_map(|member| member.profile.as_deref()).collect();
        let endpoint = self.endpoints.member_writes.at(format!("/v3/segments/{segment}/shopper-profiles"));
        if joins {
            let body = serde_json::to_vec(&profiles).map_err(|_unwritable| self.unwritable())?;
            let request = Request::change(Method::POST, "", Some(body));
            let answer: Answer = self.send_write(&endpoint, &request, reservation).await?;
            // An answer without rows proves nothing: the customers are looked at.
            let rows = answer.json::<Object<Listing<ProfileRow>>>().map(|Object(listing)| listing.data);
            return Ok(rows.unwrap_or_default().into_iter().map(|row| row.customer_id).collect());
        }
        let Some(ids) = Ids::of(profiles) else { return Ok(Vec::new()) };
        self.send_write(&endpoint, &deletion(&ids), reservation).await.map(|_| Vec::new())
    }

    /// What became of those of whom no answer tells: an answer to a delete proves nothing, and a refusal may be one of others.
    async fn look_after(
        &self,
        batch: &[Write],
        moves: &[&Move],
        failures: &BTreeMap<usize, Failure>,
        reservation: &dyn Reservation,
        outcomes: &mut [Option<Outcome>],
    ) {
        if moves.is_empty() {
            return;
        }
        let customers: BTreeSet<u64> = moves.iter().map(|planned| planned.customer).collect();
        let shown: BTreeMap<Key, Observed> = match self.members_now(customers.into_iter(), reservation).await {
            Ok(shown) => shown.into_iter().map(|record| (record.key.clone(), record)).collect(),
            Err(failure) => {
                for planned in moves {
                    let failure = failures.get(&planned.place).unwrap_or(&failure).clone().possibly_happened();
                    outcomes[planned.place] = Some(Outcome::Unknown(failure));
                }
                return;
            }
        };
        let mut refused: BTreeMap<usize, &Failure> = BTreeMap::new();
        for planned in moves {
            let write = &batch[planned.place];
            let cell = shown.get(&write.key).and_then(|record| record.cells.get(write.field));
            let wanted = write.value.clone().map_or(Seen::Absent, Seen::Value);
            match (cell, failures.get(&planned.place)) {
                (Some(cell), _) if is_same(&cell.seen, &wanted) => {
                    outcomes[planned.place] = Some(Outcome::Written { stored: cell.clone() });
                }
                (None, _) => outcomes[planned.place] = Some(Outcome::Gone),
                // A list that was written in part is our own write, not somebody's edit.
                (Some(cell), Some(_)) if planned.moves.len() > 1 && !is_same(&cell.seen, &write.expect.seen) => {
                    outcomes[planned.place] = Some(Outcome::Written { stored: cell.clone() });
                }
                (Some(_), Some(failure)) => drop(refused.insert(planned.place, failure)),
                (Some(_), None) => outcomes[planned.place] = Some(Outcome::Unknown(self.not_shown_yet())),
            }
        }
        let Some(failure) = refused.values().next().copied() else { return };
        let alike = refused.values().all(|other| other.class == failure.class);
        if alike {
            let places: Vec<usize> = refused.keys().copied().collect();
            refuse(&places, failure, "; the segment may have been deleted in BigCommerce", outcomes);
        } else {
            for (place, failure) in refused {
                refuse(&[place], failure, "; the segment may have been deleted in BigCommerce", outcomes);
            }
        }
    }

    fn not_shown_yet(&self) -> Failure {
        let sentence = format!(
            "store {} took a change of who is in a segment, but does not show it yet; it is looked at again later",
            self.store_hash
        );
        Failure::new(Class::Retry, sentence).possibly_happened()
    }
}

/// A list is a set; yes and no have many spellings.
fn is_same(shown: &Seen, wanted: &Seen) -> bool {
    match (shown, wanted) {
        (Seen::Value(Value::List(one)), Seen::Value(Value::List(other))) => {
            one.iter().collect::<BTreeSet<_>>() == other.iter().collect()
        }
        (Seen::Value(Value::Text(one)), Seen::Value(Value::Text(other))) => says_yes(one) == says_yes(other),
        (one, other) => one == other,
    }
}

fn says_yes(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "true" | "t" | "yes" | "y" | "on" | "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_join_one_segment_go_by_fifties() {
        let write = |customer: u64, field: usize, value: &str| Write {
            key: Key::new(customer.to_string()),
            field,
            expect: Cell::default(),
            value: Some(Value::text(value)),
            modified: None,
        };
        let mut writes: Vec<Write> = (0..51).map(|customer| write(customer, 0, "true")).collect();
        writes.extend((60..63).map(|customer| write(customer, 0, "false")));
        writes.extend((0..2).map(|customer| write(customer, 1, "true")));
        let sizes: Vec<usize> = batches(writes).iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 50, 1, 2]);
    }
}
