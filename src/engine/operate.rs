//! What a person asks for: the same whether a command does it by itself or the running daemon is asked to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::undo::UndoSelection;
use super::{Engine, Error};
use crate::checkpoint::{HeldFilter, HeldRow, HeldState, Transaction};
use crate::model::{HeldReason, Key, Side, Timestamp};
use crate::telemetry::{Event, Source as Named};

/// Links that could not be made and are named in an answer; of the others the number is told.
const REFUSALS_SHOWN: usize = 20;

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A pass over every pair of these stores (none: all), now.
    Sync {
        /// Labels.
        stores: Vec<String>,
        /// Read everything first.
        sweep: bool,
    },
    /// Let through what a rail stopped.
    Approve {
        /// The store's label.
        store: String,
    },
    /// Do not read or write this source.
    Pause {
        /// Its label.
        name: String,
    },
    /// Read and write it again.
    Resume {
        /// Its label.
        name: String,
    },
    /// Decide on held fields and records.
    Held {
        /// Which.
        selection: HeldSelection,
        /// What.
        action: HeldAction,
    },
    /// Link customers and contacts by hand.
    LinkAdd {
        /// The store's label.
        store: String,
        /// The CRM's label, where the store has several.
        crm: Option<String>,
        /// Customer key and contact key of each.
        links: Vec<(String, String)>,
    },
    /// Put back what past writes replaced.
    Undo(UndoSelection),
    /// Drop all that is remembered of a person.
    Forget {
        /// The label of a store or CRM.
        name: String,
        /// The key of their record there.
        key: String,
    },
    /// Part a customer from its contact, for good.
    LinkRemove {
        /// The store's label.
        store: String,
        /// The customer's key.
        customer: String,
    },
}

/// What to do about held fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldAction {
    /// Decide, and try, again.
    Retry,
    /// Make both sides equal to this one.
    Take(Side),
    /// Leave both sides as they are until either changes.
    Drop,
}

/// Which held fields and records are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSelection {
    /// These numbers; empty: all.
    pub ids: Vec<i64>,
    /// These stores; empty: all.
    pub stores: Vec<String>,
    /// These fields, by their store names; empty: all.
    pub fields: Vec<String>,
    /// These reasons; empty: all.
    pub reasons: Vec<HeldReason>,
    /// Held since this moment or later.
    pub since: Option<Timestamp>,
}

impl HeldSelection {
    /// As the checkpoint takes it.
    pub fn filter(&self) -> HeldFilter {
        HeldFilter {
            ids: self.ids.clone(),
            stores: self.stores.clone(),
            fields: self.fields.clone(),
            reasons: self.reasons.clone(),
            since: self.since,
            ..HeldFilter::default()
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub done: bool,
    /// How many things it touched.
    pub count: u64,
    /// A sentence for the person.
    pub message: String,
}

impl Answer {
    fn done(count: u64, message: impl Into<String>) -> Self {
        Self { done: true, count, message: message.into() }
    }

    /// It was not done, and why.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { done: false, count: 0, message: message.into() }
    }
}

impl Engine {
    /// Does what a person asks for, except [`Request::Sync`] and [`Request::Undo`], which are for whoever runs the passes.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn operate(&self, request: &Request) -> Result<Answer, Error> {
        let (action, answer) = match request {
            Request::Sync { .. } | Request::Undo(_) => return Ok(Answer::refused("this cannot be asked for here")),
            Request::Approve { store } => ("approve", self.approve(store).await?),
            // These say themselves what they were about.
            Request::Pause { name } => return self.set_paused(name, true).await,
            Request::Resume { name } => return self.set_paused(name, false).await,
            Request::Held { selection, action } => return self.decide_held(selection, *action).await,
            Request::Forget { name, key } => return self.forget_person(name, key).await,
            Request::LinkAdd { store, crm, links } => {
                ("link add", self.link_by_hand(store, crm.as_deref(), links).await?)
            }
            Request::LinkRemove { store, customer } => ("link remove", self.part(store, customer).await?),
        };
        if (answer.done || answer.count > 0)
            && let Request::Approve { store } | Request::LinkAdd { store, .. } | Request::LinkRemove { store, .. } =
                request
        {
            Event::OperatorActed { target: Some(Named::Store(store)), action, count: answer.count }.emit();
        }
        Ok(answer)
    }

    /// Drops all that is remembered of a store or CRM.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn forget(&self, name: &str) -> Result<Answer, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        let side = transaction.sources().await?.iter().find(|row| row.name == name).map(|row| row.side);
        let count = transaction.forget_source(name).await?;
        transaction.commit().await?;
        if count == 0 {
            return Ok(Answer::refused(format!("nothing is remembered of {name:?}")));
        }
        let target = side.map(|side| Named::of(side, name));
        Event::OperatorActed { target, action: "forget", count }.emit();
        self.checkpoint.scrub().await?;
        Ok(Answer::done(count, format!("all that was remembered of {name} is dropped; its next pass is a first one")))
    }

    async fn approve(&self, store: &str) -> Result<Answer, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        let pairs: Vec<i64> = transaction.pairs_by_name(store).await?.into_iter().map(|pair| pair.id).collect();
        if pairs.is_empty() {
            return Ok(Answer::refused(format!("no store {store:?} is remembered")));
        }
        let (mut count, mut is_stopped) = (0, false);
        for pair in &pairs {
            if transaction.pair(*pair).await?.stopped.is_some() {
                is_stopped = true;
                count += transaction.approve(*pair, self.clock.now()).await?;
            }
        }
        // Without a commit the pair stays stopped: a pass that stops lists its changes a moment later.
        if count == 0 && is_stopped {
            return Ok(Answer::refused(format!("what stopped {store} is being counted: ask again in a moment")));
        }
        if count == 0 {
            return Ok(Answer::refused(format!("nothing of {store} is stopped at a rail")));
        }
        transaction.commit().await?;
        Ok(Answer::done(count, format!("{count} changes of {store} are let through by the next pass, within 24 hours")))
    }

    async fn set_paused(&self, name: &str, paused: bool) -> Result<Answer, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        let known: Vec<(Side, bool)> = transaction
            .sources()
            .await?
            .iter()
            .filter(|row| row.name == name)
            .map(|row| (row.side, row.paused))
            .collect();
        let count = transaction.set_paused(name, paused).await?;
        transaction.commit().await?;
        if known.is_empty() {
            return Ok(Answer::refused(format!("no store or CRM {name:?} is remembered")));
        }
        let action = if paused { "pause" } else { "resume" };
        for (side, was_paused) in &known {
            let source = Named::of(*side, name);
            if paused && !was_paused {
                Event::SourcePaused { source, reason: "a person paused it" }.emit();
            }
            Event::OperatorActed { target: Some(source), action, count: 1 }.emit();
        }
        let is_news = known.iter().any(|(_, was_paused)| *was_paused != paused);
        let word = match (paused, is_news) {
            (true, true) => format!("paused: nothing is read or written there until `attune resume {name}`"),
            (true, false) => format!("paused already; `attune resume {name}` goes on"),
            (false, true) => "resumed".to_owned(),
            (false, false) => "not paused: nothing to do".to_owned(),
        };
        Ok(Answer::done(count, format!("{name} is {word}")))
    }

    async fn decide_held(&self, selection: &HeldSelection, action: HeldAction) -> Result<Answer, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        let rows = transaction.held(&selection.filter()).await?;
        let fields: Vec<&HeldRow> = rows.iter().filter(|row| row.link.is_some()).collect();
        let records = rows.len() - fields.len();
        let ids: Vec<i64> = fields.iter().map(|row| row.id).collect();
        let links: Vec<i64> = fields.iter().filter_map(|row| row.link).collect();
        match action {
            HeldAction::Retry => transaction.release(&rows.iter().map(|row| row.id).collect::<Vec<_>>()).await?,
            HeldAction::Take(side) => transaction.set_held_state(&ids, HeldState::Take(side)).await?,
            HeldAction::Drop => {
                let all: Vec<i64> = rows.iter().map(|row| row.id).collect();
                transaction.set_held_state(&all, HeldState::Dropped).await?;
            }
        }
        if action == HeldAction::Retry {
            let redefined: std::collections::BTreeSet<i64> = rows
                .iter()
                .filter(|row| row.reason == HeldReason::DefinitionChanged)
                .filter_map(|row| row.mapped)
                .collect();
            if !redefined.is_empty() {
                transaction.accept_definitions(&redefined.into_iter().collect::<Vec<_>>()).await?;
            }
        }
        if action == HeldAction::Retry && records > 0 {
            for row in rows.iter().filter(|row| row.link.is_none()) {
                transaction.look_again_at_pair(row.pair).await?;
            }
            let held: Vec<i64> = rows.iter().filter_map(|row| row.record).collect();
            transaction.retry_creations(&held).await?;
        }
        transaction.unsettle_links(&links, self.clock.now()).await?;
        transaction.commit().await?;
        let mut touched: BTreeMap<&str, u64> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.link.is_some() || !matches!(action, HeldAction::Take(_))) {
            *touched.entry(&row.store).or_default() += 1;
        }
        let word = match action {
            HeldAction::Retry => "held retry",
            HeldAction::Take(_) => "held resolve",
            HeldAction::Drop => "held drop",
        };
        for (store, count) in touched {
            Event::OperatorActed { target: Some(Named::Store(store)), action: word, count }.emit();
        }
        let missing: Vec<String> =
            selection.ids.iter().filter(|id| !rows.iter().any(|row| row.id == **id)).map(i64::to_string).collect();
        if !missing.is_empty() {
            return Ok(Answer::refused(format!("not held (any more): {}", missing.join(", "))));
        }
        let is_take = matches!(action, HeldAction::Take(_));
        let count = if is_take { fields.len() } else { rows.len() } as u64;
        let hint = if records > 0 && is_take {
            format!("; {records} records need `attune link add` instead")
        } else {
            String::new()
        };
        let done = match action {
            HeldAction::Retry => "are decided again by the next pass",
            HeldAction::Take(Side::Store) => "take the store's value with the next pass",
            HeldAction::Take(Side::Crm) => "take the CRM's value with the next pass",
            HeldAction::Drop => "are left as they are until either side changes",
        };
        Ok(Answer { done: count > 0 || records == 0, count, message: format!("{count} held {done}{hint}") })
    }

    async fn link_by_hand(&self, store: &str, crm: Option<&str>, links: &[(String, String)]) -> Result<Answer, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        let pairs = transaction.pairs_by_name(store).await?;
        let fitting: Vec<_> = pairs.iter().filter(|pair| crm.is_none_or(|crm| pair.crm == crm)).collect();
        let [pair] = fitting.as_slice() else {
            let names: Vec<&str> = pairs.iter().map(|pair| pair.crm.as_str()).collect();
            return Ok(Answer::refused(match names.len() {
                0 => format!("no store {store:?} is remembered; run `attune sync` or `attune plan` first"),
                _ => format!("{store} has several CRMs ({}): say which with --crm", names.join(", ")),
            }));
        };
        let customers = there(&mut transaction, pair.store_id, links.iter().map(|(customer, _)| customer)).await?;
        let contacts = there(&mut transaction, pair.crm_id, links.iter().map(|(_, contact)| contact)).await?;
        let everybody: Vec<i64> = customers.values().chain(contacts.values()).copied().collect();
        let mut taken: BTreeSet<i64> = transaction.linked_among(pair.id, &everybody).await?.into_keys().collect();
        let (mut made, mut keys, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (customer, contact) in links {
            let Some(store_record) = customers.get(customer) else {
                refused.push(format!("{store} has no customer {customer}"));
                continue;
            };
            let Some(crm_record) = contacts.get(contact) else {
                refused.push(format!("{} has no contact {contact}", pair.crm));
                continue;
            };
            if taken.contains(store_record) || taken.contains(crm_record) {
                let which = if taken.contains(store_record) { "customer" } else { "contact" };
                let key = if taken.contains(store_record) { customer } else { contact };
                let how = format!("`attune link remove {store} CUSTOMER` parts it");
                refused.push(format!("{which} {key} has a link already; {how}"));
                continue;
            }
            taken.extend([store_record, crm_record]);
            made.push((*store_record, *crm_record));
            keys.push((customer.as_str(), contact.as_str()));
        }
        if !made.is_empty() {
            transaction.set_parted(pair.id, &keys, false).await?;
            transaction.add_links(pair.id, &made, self.clock.now()).await?;
            let linked: Vec<i64> = made.iter().flat_map(|(customer, contact)| [*customer, *contact]).collect();
            let held = transaction.held_records(pair.id).await?;
            let released: Vec<i64> = linked.iter().filter_map(|record| held.get(record).map(|(id, _)| *id)).collect();
            transaction.release(&released).await?;
            // Whoever was ambiguous with them may have nobody to choose from any more.
            transaction.touch_records(&linked).await?;
            transaction.commit().await?;
        }
        for (number, (store_key, crm_key)) in keys.iter().copied().enumerate() {
            let of = crate::telemetry::Pair { store, crm: &pair.crm };
            Event::LinkCreated { pair: of, pass: 0, store_key, crm_key, by: "hand" }
                .emit_at(number as u64 >= Event::RECORDS_PER_PASS);
        }
        let count = made.len() as u64;
        let message = match (links, refused.as_slice()) {
            ([(customer, contact)], []) => {
                format!("customer {customer} of {store} is contact {contact} of {}", pair.crm)
            }
            ([_], [why]) => why.clone(),
            (_, []) => format!("{count} customers of {store} are paired with contacts of {}", pair.crm),
            (_, refused) => {
                let shown = refused.iter().take(REFUSALS_SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n  ");
                let more = refused.len().saturating_sub(REFUSALS_SHOWN);
                let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
                format!(
                    "{count} customers of {store} are paired with contacts of {}, {} are not:\n  {shown}{more}",
                    pair.crm,
                    refused.len()
                )
            }
        };
        Ok(Answer { done: refused.is_empty(), count, message })
    }

    async fn part(&self, store: &str, customer: &str) -> Result<Answer, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        let mut parted = Vec::new();
        for pair in transaction.pairs_by_name(store).await? {
            let key = Key::new(customer);
            let Some(record) = transaction.records_by_key(pair.store_id, &[&key]).await?.into_iter().next() else {
                continue;
            };
            for link in transaction.linked_among(pair.id, &[record.id]).await?.into_values() {
                for row in transaction.links(&[link]).await? {
                    transaction.set_parted(pair.id, &[(customer, row.crm.key.as_str())], true).await?;
                    // Others may be linked to either of them now.
                    transaction.touch_records(&[row.store.id, row.crm.id]).await?;
                    parted.push(row.crm.key.0);
                }
                transaction.remove_links(&[link]).await?;
            }
        }
        transaction.commit().await?;
        if parted.is_empty() {
            return Ok(Answer::refused(format!("customer {customer} of {store} has no link")));
        }
        let count = parted.len() as u64;
        Ok(Answer::done(
            count,
            format!("customer {customer} of {store} and contact {} are parted, for good", parted.join(", ")),
        ))
    }
}

/// The records of a source with these keys that are there.
async fn there(
    transaction: &mut Transaction<'_>,
    source: i64,
    keys: impl Iterator<Item = &String>,
) -> Result<BTreeMap<String, i64>, Error> {
    let keys: Vec<Key> = keys.map(Key::new).collect();
    let rows = transaction.records_by_key(source, &keys.iter().collect::<Vec<_>>()).await?;
    Ok(rows.into_iter().filter(|row| !row.gone).map(|row| (row.key.0, row.id)).collect())
}
