//! What a person asks for: the same whether a command does it by itself or the running daemon is asked to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Engine, Error};
use crate::checkpoint::{HeldFilter, HeldRow, HeldState};
use crate::model::{HeldReason, Key, Side, Timestamp};
use crate::telemetry::{Event, Source as Named};

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
    /// Link a customer and a contact by hand.
    LinkAdd {
        /// The store's label.
        store: String,
        /// The CRM's label, where the store has several.
        crm: Option<String>,
        /// The customer's key.
        customer: String,
        /// The contact's key.
        contact: String,
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
    /// Does what a person asks for, except [`Request::Sync`], which is for whoever runs the passes.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn operate(&self, request: &Request) -> Result<Answer, Error> {
        let (action, answer) = match request {
            Request::Sync { .. } => return Ok(Answer::refused("a pass cannot be asked for here")),
            Request::Approve { store } => ("approve", self.approve(store).await?),
            // These say themselves what they were about.
            Request::Pause { name } => return self.set_paused(name, true).await,
            Request::Resume { name } => return self.set_paused(name, false).await,
            Request::Held { selection, action } => return self.decide_held(selection, *action).await,
            Request::LinkAdd { store, crm, customer, contact } => {
                ("link add", self.link_by_hand(store, crm.as_deref(), customer, contact).await?)
            }
            Request::LinkRemove { store, customer } => ("link remove", self.part(store, customer).await?),
        };
        if answer.done
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
        Ok(Answer::done(count, format!("all that was remembered of {name} is dropped; its next pass is a first one")))
    }

    async fn approve(&self, store: &str) -> Result<Answer, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        let pairs: Vec<i64> = transaction.pairs_by_name(store).await?.into_iter().map(|pair| pair.id).collect();
        if pairs.is_empty() {
            return Ok(Answer::refused(format!("no store {store:?} is remembered")));
        }
        let mut count = 0;
        for pair in &pairs {
            if transaction.pair(*pair).await?.stopped.is_some() {
                count += transaction.approve(*pair, self.clock.now()).await?;
            }
        }
        transaction.commit().await?;
        if count == 0 {
            return Ok(Answer::refused(format!("nothing of {store} is stopped at a rail")));
        }
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

    async fn link_by_hand(
        &self,
        store: &str,
        crm: Option<&str>,
        customer: &str,
        contact: &str,
    ) -> Result<Answer, Error> {
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
        let key = Key::new(customer);
        let Some(store_record) =
            transaction.records_by_key(pair.store_id, &[&key]).await?.into_iter().find(|r| !r.gone)
        else {
            return Ok(Answer::refused(format!("{store} has no customer {customer}")));
        };
        let key = Key::new(contact);
        let Some(crm_record) = transaction.records_by_key(pair.crm_id, &[&key]).await?.into_iter().find(|r| !r.gone)
        else {
            return Ok(Answer::refused(format!("{} has no contact {contact}", pair.crm)));
        };
        let linked = transaction.linked_among(pair.id, &[store_record.id, crm_record.id]).await?;
        if !linked.is_empty() {
            let which = if linked.contains_key(&store_record.id) {
                format!("customer {customer}")
            } else {
                format!("contact {contact}")
            };
            return Ok(Answer::refused(format!(
                "{which} has a link already; `attune link remove {store} CUSTOMER` parts it"
            )));
        }
        transaction.set_parted(pair.id, customer, contact, false).await?;
        transaction.add_links(pair.id, &[(store_record.id, crm_record.id)], self.clock.now()).await?;
        let held = transaction.held_records(pair.id).await?;
        let released: Vec<i64> =
            [store_record.id, crm_record.id].iter().filter_map(|record| held.get(record).map(|(id, _)| *id)).collect();
        transaction.release(&released).await?;
        // Whoever was ambiguous with them may have nobody to choose from any more.
        transaction.touch_records(&[store_record.id, crm_record.id]).await?;
        transaction.commit().await?;
        Event::LinkCreated {
            pair: crate::telemetry::Pair { store, crm: &pair.crm },
            pass: 0,
            store_key: customer,
            crm_key: contact,
            by: "hand",
        }
        .emit();
        Ok(Answer::done(1, format!("customer {customer} of {store} is contact {contact} of {}", pair.crm)))
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
                    transaction.set_parted(pair.id, customer, row.crm.key.as_str(), true).await?;
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
