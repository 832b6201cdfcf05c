//! What the page asks for, and what it is told: plain data, and the trait of whoever knows.
//!
//! What a person who has not signed in may not see is not in the answer: values are filled in only for [`Sight::Whole`].

use async_trait::async_trait;
use secrecy::SecretString;

use crate::model::{HeldReason, Side, Timestamp, Value};

/// How much may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// States, counts and keys: by whoever reaches the address.
    Public,
    /// Values, too: by whoever has signed in.
    Whole,
}

/// Whoever knows how everything stands, and does what a person asks for.
#[async_trait]
pub trait Office: Send + Sync {
    /// Our clock.
    fn now(&self) -> Timestamp;

    /// Whether a person can sign in.
    fn can_sign_in(&self) -> bool;

    /// What a person signs in with, looked for afresh; why it cannot be found otherwise.
    async fn admin_token(&self) -> Result<SecretString, String>;

    /// How everything stands.
    async fn overview(&self) -> Result<Overview, Unavailable>;

    /// One store with its CRMs; none: there is no such store.
    async fn store(&self, name: &str, sight: Sight) -> Result<Option<StoreDetail>, Unavailable>;

    /// One CRM with its stores; none: there is no such CRM.
    async fn crm(&self, name: &str) -> Result<Option<CrmDetail>, Unavailable>;

    /// What is held.
    async fn held(&self, query: &HeldQuery, sight: Sight) -> Result<HeldList, Unavailable>;

    /// The records that are meant by a key, or by a value that links are found by (an e-mail).
    async fn records(&self, words: &str) -> Result<Records, Unavailable>;

    /// Does what a person asks for.
    async fn act(&self, act: &Act) -> Outcome;
}

/// It cannot be told now, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// How everything stands.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// Each store with each of its CRMs.
    pub pairs: Vec<PairStanding>,
    /// So many more are not shown.
    pub left_out: u64,
    /// The CRMs.
    pub crms: Vec<SourceStanding>,
    /// Why the checkpoint does not work, while it does not.
    pub checkpoint_failure: Option<String>,
}

/// How a store stands with a CRM.
#[derive(Clone, Debug, Default)]
pub struct PairStanding {
    /// The store's label.
    pub store: String,
    /// The CRM's label.
    pub crm: String,
    /// In a word.
    pub state: String,
    /// Why, where it is not `ok`.
    pub reason: Option<String>,
    /// How long the oldest of what is pending waits; 0: nothing does.
    pub lag_ms: u64,
    /// Fields that are not known equal, and neither held nor kept.
    pub pending: u64,
    /// Fields and records that wait for a person.
    pub held: u64,
    /// Linked records.
    pub linked: u64,
    /// When a pass last completed.
    pub last_pass: Option<Timestamp>,
    /// Of the store, as it last told.
    pub quota: Option<Quota>,
    /// What was written in the last day; none: that could not be told in time.
    pub day: Option<Day>,
}

/// What was left of a quota when the system last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Calls left in the window, for all apps together.
    pub left: u64,
    /// Calls in a window.
    pub of: u64,
}

/// What was written in the last day, in stretches of equal length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// When the first stretch begins.
    pub from: Timestamp,
    /// How long each is.
    pub stretch_ms: u64,
    /// From the oldest to the one that is under way.
    pub stretches: Vec<Stretch>,
}

/// What was written in one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Values.
    pub to_store: u64,
    /// Values.
    pub to_crm: u64,
    /// The longest time from an edit to the sending of its write.
    pub longest_ms: Option<u64>,
}

/// How one store or CRM stands by itself.
#[derive(Clone, Debug, Default)]
pub struct SourceStanding {
    /// Its label.
    pub name: String,
    /// In a word.
    pub state: String,
    /// Why, where it is not `ok`.
    pub reason: Option<String>,
    /// Whether a person paused it.
    pub paused: bool,
    /// When its feeds were last read to their end.
    pub last_read: Option<Timestamp>,
    /// When a sweep last ended cleanly.
    pub last_sweep: Option<Timestamp>,
    /// Changes that the last sweep found and the feeds had missed.
    pub drift: u64,
    /// As it last told.
    pub quota: Option<Quota>,
}

/// One store, with each of its CRMs.
#[derive(Clone, Debug, Default)]
pub struct StoreDetail {
    /// The store.
    pub source: SourceStanding,
    /// With each CRM.
    pub pairs: Vec<PairDetail>,
    /// What stands for all that rails have stopped now, to be given back with an approval; none: nothing is stopped.
    pub stopped: Option<String>,
    /// The last writes, newest first; none unless everything may be seen.
    pub writes: Vec<Write>,
}

/// One CRM, with each of its stores.
#[derive(Clone, Debug, Default)]
pub struct CrmDetail {
    /// The CRM.
    pub source: SourceStanding,
    /// With each store.
    pub pairs: Vec<PairStanding>,
}

/// All that is told of a store with a CRM.
#[derive(Clone, Debug, Default)]
pub struct PairDetail {
    /// How they stand.
    pub standing: PairStanding,
    /// The last passes that did something, newest first.
    pub passes: Vec<Pass>,
    /// Since when passes are noted.
    pub noted_since: Timestamp,
    /// What stopped it: the rails that would have been crossed.
    pub rails: Vec<CrossedRail>,
    /// How many changes they stopped; 0 while a pass is counting them.
    pub stopped: u64,
    /// What is held.
    pub held: Vec<HeldCount>,
}

/// One pass that did something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Its number.
    pub number: u64,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// How it ended, in words; none: it did what there was to do.
    pub ended: Option<String>,
    /// Where every field that it looked at is; these and the following add up to `observed`.
    pub observed: u64,
    /// Nothing to do.
    pub unchanged: u64,
    /// Found equal.
    pub agreed: u64,
    /// Written.
    pub written: u64,
    /// Waiting for a person.
    pub held: u64,
    /// Left alone.
    pub kept: u64,
    /// Changed again before it was written.
    pub superseded: u64,
    /// Not written yet.
    pub pending: u64,
    /// Refused.
    pub failed: u64,
    /// Of records without a link.
    pub unlinked: u64,
}

/// One rail that would have been crossed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossedRail {
    /// `writes`, `clears`, `creates` or `deletes`.
    pub rail: String,
    /// What it would have come to.
    pub count: u64,
    /// What a day allows.
    pub limit: u64,
}

/// How much is held for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldCount {
    /// Why.
    pub reason: HeldReason,
    /// How many fields and records.
    pub count: u64,
}

/// Which of what is held is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldQuery {
    /// Of this store.
    pub store: Option<String>,
    /// For this reason.
    pub reason: Option<HeldReason>,
    /// With a higher number.
    pub after: Option<i64>,
}

/// A page of what is held.
#[derive(Clone, Debug, Default)]
pub struct HeldList {
    /// Oldest first.
    pub rows: Vec<Held>,
    /// How many there are in all, for this store and reason.
    pub total: u64,
    /// Whether there are more after these.
    pub more: bool,
    /// Each store that has something held, with how much.
    pub stores: Vec<(String, u64)>,
    /// Each reason, with how much.
    pub reasons: Vec<HeldCount>,
}

/// A field or record that waits for a person.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its number.
    pub id: i64,
    /// The store's label.
    pub store: String,
    /// The CRM's label.
    pub crm: String,
    /// The customer's key.
    pub store_key: Option<String>,
    /// The contact's key.
    pub crm_key: Option<String>,
    /// None: a record.
    pub field: Option<String>,
    /// Why.
    pub reason: HeldReason,
    /// Since when.
    pub since: Timestamp,
    /// What a person has chosen already.
    pub chosen: Option<Side>,
    /// What to do.
    pub next_step: String,
    /// None unless everything may be seen.
    pub values: Option<HeldValues>,
}

impl Held {
    /// What it is, and whose: for whoever does not see what stands around it.
    pub(super) fn title(&self) -> String {
        let field = self.field.as_deref().unwrap_or("the record");
        let customer = self.store_key.iter().map(|key| format!("customer {key} of {}", self.store));
        let contact = self.crm_key.iter().map(|key| format!("contact {key} of {}", self.crm));
        let who: Vec<String> = customer.chain(contact).collect();
        format!("{field}: {}", who.join(" and "))
    }
}

/// What a held field's sides hold.
#[derive(Clone, Debug, Default)]
pub struct HeldValues {
    /// What is agreed, if that is known.
    pub agreed: Option<Option<Value>>,
    /// In the store.
    pub store: Option<Value>,
    /// In the CRM.
    pub crm: Option<Value>,
    /// A sentence, or the candidates.
    pub detail: Option<String>,
}

/// The records that are meant by some words.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// In each pair that they are of.
    pub found: Vec<Record>,
    /// Whether there are more.
    pub more: bool,
    /// Pairs in which nobody could look, for they were not reached since the daemon began.
    pub unread: Vec<(String, String)>,
}

/// One record, explained.
#[derive(Clone, Debug)]
pub struct Record {
    /// The store's label.
    pub store: String,
    /// The CRM's label.
    pub crm: String,
    /// The customer's key.
    pub store_key: Option<String>,
    /// The contact's key.
    pub crm_key: Option<String>,
    /// Whether it has a partner.
    pub linked: bool,
    /// Whether it is gone.
    pub gone: bool,
    /// Why it is not linked, or not synced.
    pub why: String,
    /// Its mapped fields, if it is linked.
    pub fields: Vec<RecordField>,
    /// Its last writes, newest first.
    pub writes: Vec<Write>,
}

/// One field of a linked record.
#[derive(Clone, Debug)]
pub struct RecordField {
    /// By its store name.
    pub name: String,
    /// What is agreed, if that is known.
    pub agreed: Option<Option<Value>>,
    /// What the store was last seen to hold, if anybody has looked.
    pub store: Option<SeenValue>,
    /// What the CRM was last seen to hold.
    pub crm: Option<SeenValue>,
    /// What happens to it next.
    pub next: String,
    /// The number under which it is held.
    pub held: Option<i64>,
}

/// What a side was seen to hold.
#[derive(Clone, Debug)]
pub struct SeenValue {
    /// None: nothing.
    pub value: Option<Value>,
    /// When that side says that it changed.
    pub modified: Option<Timestamp>,
}

/// One write of history.
#[derive(Clone, Debug)]
pub struct Write {
    /// When it left.
    pub at: Timestamp,
    /// In which pass.
    pub pass: i64,
    /// The CRM's label.
    pub crm: String,
    /// The customer's key.
    pub store_key: String,
    /// The contact's key.
    pub crm_key: String,
    /// The field.
    pub field: String,
    /// The side written.
    pub side: String,
    /// What it overwrote.
    pub old: Option<Value>,
    /// What it wrote.
    pub new: Option<Value>,
    /// Why.
    pub reason: String,
    /// `written`, `refused` or `unknown`.
    pub outcome: String,
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Do not read or write this store or CRM.
    Pause(String),
    /// Read and write it again.
    Resume(String),
    /// Let through what rails stopped in the pairs of this store, if it is still what the person was shown.
    Approve {
        /// The store's label.
        store: String,
        /// [`StoreDetail::stopped`] as it was shown.
        shown: String,
    },
    /// Decide on something held.
    Held {
        /// Its number.
        id: i64,
        /// What.
        choice: Choice,
    },
}

/// What to do about something held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Make both sides equal to this one.
    Take(Side),
    /// Leave both sides as they are until either changes.
    Leave,
    /// Decide again.
    LookAgain,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it was done.
    pub done: bool,
    /// A sentence for the person.
    pub message: String,
}
