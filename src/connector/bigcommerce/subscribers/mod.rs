//! Subscribers: whether somebody agreed to be sent mail (`subscriber:marketing_newsletter`, `subscriber:abandoned_cart`).
//!
//! A subscriber is joined to a customer by nothing but the e-mail, whatever the case of its letters. One without a consent said no,
//! or was never asked in the checkout; who is no subscriber was not asked at all. What follows from that is the merge's to know.
//!
//! - `read`: the feed, the whole for a sweep, those of given customers
//! - `write`: one at a time; never a delete
//!
//! Must not know: other fields of customers.

mod read;
mod write;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::BigCommerce;
use super::field::Field;
use super::wire::{Shown, ShownList, number};
use crate::model::{Cell, FieldShape, Holds, Seen, Timestamp, Value};

pub(super) use read::{Known, Subscribed, Subscribers};
pub(super) use write::batches;

/// What can be consented to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    MarketingNewsletter,
    AbandonedCart,
}

impl Consent {
    const ALL: [Self; 2] = [Self::MarketingNewsletter, Self::AbandonedCart];

    const fn word(self) -> &'static str {
        match self {
            Self::MarketingNewsletter => "marketing_newsletter",
            Self::AbandonedCart => "abandoned_cart",
        }
    }

    /// Reads BigCommerce's word; the error is a sentence.
    pub(super) fn parse(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|consent| consent.word() == word).ok_or_else(|| {
            format!("there is no consent `{word}`; there are {}", Self::ALL.map(Self::word).join(" and "))
        })
    }
}

/// Yes or no. Nothing is no subscriber, and who is one cannot be made to have never been asked.
pub(super) fn shape() -> FieldShape {
    FieldShape { holds: Holds::Boolean, clearable: false, ..FieldShape::TEXT }
}

/// A subscriber.
#[derive(Debug, Deserialize)]
struct SubscriberRow<'a> {
    #[serde(deserialize_with = "number")]
    id: u64,
    #[serde(borrow)]
    email: Cow<'a, str>,
    #[serde(borrow, default)]
    consents: ShownList<'a>,
    #[serde(borrow, default)]
    date_modified: Shown<'a>,
}

impl SubscriberRow<'_> {
    fn modified(&self) -> Option<Timestamp> {
        Timestamp::parse(self.date_modified.text())
    }

    /// What is kept of it. Consents that are not shown are no refusal.
    fn subscribed(&self) -> Subscribed {
        let consents = match &self.consents {
            ShownList::Missing | ShownList::Null => None,
            ShownList::Items(items) => Some(items.iter().map(|item| item.text().to_owned()).collect()),
        };
        Subscribed { id: self.id, email: self.email.clone().into_owned(), consents, modified: self.modified() }
    }
}

/// What a write needs: all consents are replaced at once, and who is no subscriber is made one by the e-mail. In memory only.
#[derive(Debug, Deserialize, Serialize)]
struct Token {
    id: Option<u64>,
    email: String,
    consents: BTreeSet<String>,
}

/// What a consent's field shows of somebody.
fn cell(consent: Consent, email: &str, subscribed: Option<&Subscribed>) -> Cell {
    let consents = match subscribed {
        None => None,
        Some(Subscribed { consents: Some(consents), .. }) => Some(consents),
        Some(Subscribed { consents: None, .. }) => return Cell::default(),
    };
    let token = Token {
        id: subscribed.map(|subscribed| subscribed.id),
        email: subscribed.map_or_else(|| email.to_owned(), |subscribed| subscribed.email.clone()),
        consents: consents.cloned().unwrap_or_default(),
    };
    let seen = match consents {
        None => Seen::Absent,
        Some(consents) => Seen::Value(Value::text(consents.contains(consent.word()).to_string())),
    };
    let modified = subscribed.and_then(|subscribed| subscribed.modified);
    Cell { seen, modified, token: serde_json::to_string(&token).ok() }
}

/// An e-mail as it is compared.
pub(super) fn comparable(email: &str) -> String {
    email.trim().to_lowercase()
}

impl BigCommerce {
    fn consents_mapped(&self) -> impl Iterator<Item = (usize, Consent)> {
        self.fields.iter().enumerate().filter_map(|(index, field)| match field {
            Field::Subscriber(consent) => Some((index, *consent)),
            _ => None,
        })
    }

    pub(super) fn maps_subscribers(&self) -> bool {
        self.consents_mapped().next().is_some()
    }

    /// Shows of a record what its e-mail has consented to. Without an e-mail nobody can be asked.
    pub(super) fn show_consents(&self, cells: &mut [Cell], email: &str, subscribed: Option<&Subscribed>) {
        for (index, consent) in self.consents_mapped() {
            cells[index] = cell(consent, email, subscribed);
        }
    }
}
