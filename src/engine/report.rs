//! What people ask about: how pairs stand, how records pair up, why a record is as it is. Writes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use super::decide::{Fate, Mood, Verdict};
use super::{CHUNK, Engine, Error, Pair};
use crate::checkpoint::{
    Behind, CreationState, HeldRow, HeldState, HistoryFilter, HistoryRow, LinkCounts, RecordRow, SeenCell, SourceRow,
    Transaction,
};
use crate::model::{HeldReason, Mode, Side, Timestamp};

/// How one pair stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairStatus {
    /// In a word: `ok`, `new`, `paused`, `stopped`, `observing`, `behind`, or the state of its store or CRM.
    pub state: String,
    /// Why, where it is not `ok`.
    pub reason: Option<String>,
    /// How old the oldest change is that is not on both sides yet, in milliseconds; 0: none.
    pub lag_ms: u64,
    /// Fields that are not known equal, and neither held nor kept.
    pub pending: u64,
    /// Fields and records that wait for a person.
    pub held: u64,
    /// The same by reason, those that there are.
    pub held_by_reason: Vec<(HeldReason, u64)>,
    /// Ours.
    pub last_pass: Option<Timestamp>,
    /// Ours: of the store.
    pub last_sweep: Option<Timestamp>,
    /// Changes that the last sweeps of its sources found and the feeds had missed.
    pub drift: u64,
    /// Linked records.
    pub linked: u64,
    /// Of the store, as it last told, JSON.
    pub quota: Option<String>,
    /// The balance of the last pass, JSON.
    pub balance: Option<String>,
}

/// How records of a pair stand to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStanding {
    /// The customer.
    pub store_key: Option<String>,
    /// The contact.
    pub crm_key: Option<String>,
    /// How they stand.
    pub state: LinkState,
    /// The match rule, or the candidates.
    pub detail: Option<String>,
}

/// How a record stands to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Linked.
    Linked,
    /// Would be linked by the next pass.
    Unique,
    /// Held: several candidates.
    Ambiguous,
    /// It holds no value to match by.
    NoValue,
    /// Nobody on the other side has its value.
    NoPartner,
}

impl LinkState {
    /// The word for people and scripts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Unique => "unique",
            Self::Ambiguous => "ambiguous",
            Self::NoValue => "no value",
            Self::NoPartner => "no partner",
        }
    }
}

/// How the records of a pair pair up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkReport {
    /// Pairs of records that are linked.
    pub linked: u64,
    /// Pairs of records that the next pass would link.
    pub unique: u64,
    /// Records, on both sides, with several candidates.
    pub ambiguous: u64,
    /// Customers without a partner.
    pub alone_store: LinkCounts,
    /// Contacts without a partner.
    pub alone_crm: LinkCounts,
}

/// One record, explained.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The side it is on.
    pub side: Side,
    /// Its source's label.
    pub source: String,
    /// Its key.
    pub key: String,
    /// Whether it is gone.
    pub gone: bool,
    /// Its partner's key, if it is linked in this pair.
    pub partner: Option<String>,
    /// Why it is not linked, or not synced, as a sentence.
    pub why: String,
    /// Its mapped fields, if it is linked.
    pub fields: Vec<ExplainedField>,
    /// Its last writes, newest first.
    pub history: Vec<HistoryRow>,
}

/// One field of a linked record, explained.
#[derive(Clone, Debug)]
pub struct ExplainedField {
    /// By its store name.
    pub field: String,
    /// What is agreed; none: unknown.
    pub agreed: Option<serde_json::Value>,
    /// What the store was last seen to hold.
    pub store: Option<SeenCell>,
    /// What the CRM was last seen to hold.
    pub crm: Option<SeenCell>,
    /// What happens to it next, as a sentence.
    pub next: String,
    /// Why it is held, where it is.
    pub held: Option<HeldReason>,
    /// Under which number.
    pub held_id: Option<i64>,
}

impl Engine {
    /// How a pair stands, by what the checkpoint knows now.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn pair_status(&self, pair: &Pair) -> Result<PairStatus, Error> {
        self.pair_status_within(pair, Duration::MAX).await
    }

    /// The same; where what is left to do is so much that it is not decided within `patience`, it is counted as the last
    /// pass left it.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn pair_status_within(&self, pair: &Pair, patience: Duration) -> Result<PairStatus, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let row = transaction.pair(pair.id).await?;
        let deciding = self.pending(&mut transaction, pair, row.decided, row.behind);
        let (pending, since) = match tokio::time::timeout(patience, deciding).await {
            Ok(decided) => decided?,
            Err(_) => transaction.unsettled(pair.id).await?,
        };
        let held_by_reason = transaction.count_held_by_reason(pair.id).await?;
        let linked = transaction.count_links(pair.id).await?;
        let store = transaction.source(Side::Store, &pair.store.name).await?;
        let crm = transaction.source(Side::Crm, &pair.crm.name).await?;
        transaction.end().await?;
        let (state, reason) = [&store, &crm]
            .into_iter()
            .flatten()
            .find_map(|source| {
                let who = format!("{} {}", source.side, source.name);
                if source.paused {
                    return Some((
                        "paused".to_owned(),
                        Some(format!("{who} is paused; `attune resume {}`", source.name)),
                    ));
                }
                (source.state != "ok" && source.state != "new").then(|| {
                    (source.state.clone(), Some(format!("{who}: {}", source.reason.clone().unwrap_or_default())))
                })
            })
            .unwrap_or_else(|| standing(pair, &row));
        Ok(PairStatus {
            state,
            reason,
            lag_ms: self.lag_ms(since),
            pending,
            held: held_by_reason.iter().map(|(_, count)| count).sum(),
            held_by_reason,
            last_pass: row.passed_at,
            last_sweep: store.as_ref().and_then(|source| source.swept_at),
            drift: [&store, &crm].into_iter().flatten().map(|source| source.drift).sum(),
            linked,
            quota: store.and_then(|source| source.quota),
            balance: row.pass,
        })
    }

    /// How a pair stands of which one source was not reached: in this state, with what the checkpoint has of these sources and
    /// of it.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn recalled_status(
        &self,
        (store, crm): (Option<&SourceRow>, Option<&SourceRow>),
        (state, reason): (String, Option<String>),
    ) -> Result<PairStatus, Error> {
        let mut status = PairStatus {
            state,
            reason,
            last_sweep: store.and_then(|source| source.swept_at),
            drift: [store, crm].into_iter().flatten().map(|source| source.drift).sum(),
            quota: store.and_then(|source| source.quota.clone()),
            ..PairStatus::default()
        };
        let (Some(store), Some(crm)) = (store, crm) else { return Ok(status) };
        let mut transaction = self.checkpoint.read().await?;
        if let Some(row) = transaction.pair_of(store.id, crm.id).await? {
            let (pending, since) = transaction.unsettled(row.id).await?;
            status.pending = pending;
            status.lag_ms = self.lag_ms(since);
            status.held_by_reason = transaction.count_held_by_reason(row.id).await?;
            status.held = status.held_by_reason.iter().map(|(_, count)| count).sum();
            status.linked = transaction.count_links(row.id).await?;
            status.last_pass = row.passed_at;
            status.balance = row.pass;
        }
        transaction.end().await?;
        Ok(status)
    }

    /// How long ago the oldest change was made that is left to do.
    fn lag_ms(&self, since: Option<Timestamp>) -> u64 {
        since.map_or(0, |since| u64::try_from(self.clock.now().millis_since(since)).unwrap_or(0))
    }

    /// Fields of linked records that are not known equal and neither held nor kept, and since when the oldest is.
    async fn pending(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        decided: i64,
        behind: Behind,
    ) -> Result<(u64, Option<Timestamp>), Error> {
        transaction.gather_work(pair.id, pair.store.id, pair.crm.id, decided).await?;
        let (mut pending, mut since) = (0, None::<Timestamp>);
        let mut after = 0;
        loop {
            let ids = transaction.work(pair.id, after, CHUNK).await?;
            let Some(last) = ids.last() else { return Ok((pending, since)) };
            after = *last;
            let links = transaction.links(&ids).await?;
            for decided in self.decide(transaction, pair, links, Mood { behind, ..Mood::default() }).await? {
                let open = match &decided.fate {
                    Fate::Fields(verdicts) => verdicts.iter().filter(|verdict| is_open(verdict)).count() as u64,
                    // A link that a rail keeps from ending: all of its fields wait.
                    Fate::Gone(_) => pair.fields.len() as u64,
                    Fate::Left => 0,
                };
                if open > 0 {
                    pending += open;
                    let began = decided.link.unsettled.unwrap_or(self.clock.now());
                    since = Some(since.map_or(began, |since| since.min(began)));
                }
            }
        }
    }

    /// How the records of a pair pair up: counts, and each of them through `each`.
    ///
    /// # Errors
    /// When the checkpoint fails, or we are told to stop.
    pub async fn link_report(
        &self,
        pair: &Pair,
        each: &mut (dyn FnMut(LinkStanding) + Send),
    ) -> Result<LinkReport, Error> {
        self.find_partners(pair, 0).await?;
        let mut transaction = self.checkpoint.read().await?;
        let mut report = LinkReport::default();
        let mut after = 0;
        loop {
            let links = transaction.link_keys(pair.id, after, CHUNK).await?;
            let Some((last, ..)) = links.last() else { break };
            after = *last;
            report.linked += links.len() as u64;
            for (_, store_key, crm_key) in links {
                let (store_key, crm_key) = (Some(store_key), Some(crm_key));
                each(LinkStanding { store_key, crm_key, state: LinkState::Linked, detail: None });
            }
        }
        self.gather(&mut transaction, pair, 0).await?;
        let mut spoken_for = BTreeSet::new();
        let mut after = 0;
        loop {
            self.going_on()?;
            let customers = transaction.candidates(pair.id, after, CHUNK).await?;
            let Some(last) = customers.last() else { break };
            after = last.id;
            let found = super::link::search(&mut transaction, pair, customers).await?;
            for (store, crm, by) in found.unique {
                report.unique += 1;
                spoken_for.insert(crm.id);
                let (store_key, crm_key) = (Some(store.key.0), Some(crm.key.0));
                let detail = Some(by.name(pair).to_owned());
                each(LinkStanding { store_key, crm_key, state: LinkState::Unique, detail });
            }
            for held in found.ambiguous {
                if spoken_for.insert(held.record.id) {
                    report.ambiguous += 1;
                    let detail = Some(held.candidates.join(", "));
                    each(alone(held.side, held.record, LinkState::Ambiguous, detail));
                }
            }
            for record in found.alone {
                if pair.takes(Side::Store, &record.seen) {
                    each(count_alone(pair, Side::Store, record, &mut report.alone_store));
                }
            }
        }
        let mut after = 0;
        loop {
            self.going_on()?;
            let contacts = transaction.without_link(pair.id, pair.crm.id, after, CHUNK).await?;
            let Some(last) = contacts.last() else { break };
            after = last.id;
            for record in contacts {
                if !spoken_for.contains(&record.id) && pair.takes(Side::Crm, &record.seen) {
                    each(count_alone(pair, Side::Crm, record, &mut report.alone_crm));
                }
            }
        }
        transaction.end().await?;
        Ok(report)
    }

    /// Everything about the records of a pair that a person may mean by a key or an e-mail.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn explain(&self, pair: &Pair, words: &str) -> Result<Vec<Explained>, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let row = transaction.pair(pair.id).await?;
        let found = transaction.find_records(words).await?;
        let mut explained = Vec::new();
        let mut told = BTreeSet::new();
        for found in found {
            let side = if found.source == pair.store.id {
                Side::Store
            } else if found.source == pair.crm.id {
                Side::Crm
            } else {
                continue;
            };
            let link = transaction.linked_among(pair.id, &[found.record.id]).await?.into_values().next();
            if link.is_some_and(|link| !told.insert(link)) {
                continue;
            }
            explained.push(self.explain_one(&mut transaction, pair, side, found.record, link, row.behind).await?);
        }
        transaction.end().await?;
        Ok(explained)
    }

    async fn explain_one(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        side: Side,
        record: RecordRow,
        link: Option<i64>,
        behind: Behind,
    ) -> Result<Explained, Error> {
        let filter = HistoryFilter {
            stores: vec![pair.store.name.clone()],
            key: Some(record.key.0.clone()),
            limit: Some(20),
            ..HistoryFilter::default()
        };
        let mut explained = Explained {
            side,
            source: pair.source(side).name.clone(),
            key: record.key.0.clone(),
            gone: record.gone,
            partner: None,
            why: String::new(),
            fields: Vec::new(),
            history: transaction.history(&filter).await?,
        };
        let Some(link) = link else {
            explained.why = self.why_alone(transaction, pair, side, &record).await?;
            return Ok(explained);
        };
        let links = transaction.links(&[link]).await?;
        let mood = Mood { behind, ..Mood::default() };
        for decided in self.decide(transaction, pair, links, mood).await? {
            let other = if side == Side::Store { &decided.link.crm } else { &decided.link.store };
            explained.partner = Some(other.key.0.clone());
            let verdicts = match &decided.fate {
                Fate::Gone(side) => {
                    explained.why = format!(
                        "its record on the {side} side is gone: the link ends with the next pass, within the rails"
                    );
                    continue;
                }
                Fate::Left => {
                    explained.why =
                        "it does not take part any more (`only`): the link ends with the next pass".to_owned();
                    continue;
                }
                Fate::Fields(verdicts) => verdicts,
            };
            explained.why = "linked".to_owned();
            for (field, verdict) in pair.fields.iter().zip(verdicts) {
                let known = decided.held.get(&field.mapped);
                let held = known.filter(|held| held.state == HeldState::Held);
                let undone = *verdict == Verdict::Kept && known.is_some_and(|known| known.state == HeldState::Undone);
                let detail = held.and_then(|held| held.detail.as_deref());
                explained.fields.push(ExplainedField {
                    field: field.rule.store.clone(),
                    agreed: decided.link.agreed.get(&field.mapped).map(|value| serde_json::json!(value)),
                    store: decided.link.store.seen.get(field.store.1),
                    crm: decided.link.crm.seen.get(field.crm.1),
                    next: if undone { UNDONE.to_owned() } else { next_of(verdict, detail) },
                    held: if let Verdict::Hold(reason) = verdict { Some(*reason) } else { None },
                    held_id: held.map(|held| held.id),
                });
            }
        }
        Ok(explained)
    }

    async fn why_alone(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        side: Side,
        record: &RecordRow,
    ) -> Result<String, Error> {
        if record.gone {
            let forgotten = transaction.forgotten_at(pair.source(side).id, record.key.as_str()).await?;
            return Ok(match forgotten {
                Some(at) => format!("it was forgotten at {}, or is gone at its source", at.to_seconds_text()),
                None => "it is gone at its source".to_owned(),
            });
        }
        if !pair.takes(side, &record.seen) {
            return Ok("it does not take part: `only` in the mapping leaves it out".to_owned());
        }
        if let Some((_, reason)) = transaction.held_records(pair.id).await?.get(&record.id) {
            return Ok(format!("it is held as {reason}; {}", reason.next_step()));
        }
        let creation = transaction.creation_of(pair.id, record.id).await?;
        let its_creation = match creation.filter(|_| pair.creates_on().any(|target| target != side)) {
            Some(CreationState::Wanted) => Some("its partner is to be made by the next pass, within the rails"),
            Some(CreationState::Open) => Some(
                "its partner was sent to be made, and nobody knows yet what became of it: it is looked for after `quarantine`",
            ),
            Some(CreationState::Made | CreationState::Declined) => {
                Some("it had a partner, and none is made again; `attune link add STORE CUSTOMER CONTACT` gives it one")
            }
            Some(CreationState::Refused) | None => None,
        };
        if let Some(sentence) = its_creation {
            return Ok(sentence.to_owned());
        }
        Ok(match pair.deciding(side, &record.seen) {
            None => "it holds no value that a match rule could use".to_owned(),
            Some((rule, _)) => {
                let name = pair.mapping.matches.get(rule).map_or("", |rule| match side {
                    Side::Store => rule.store.as_str(),
                    Side::Crm => rule.crm.as_str(),
                });
                format!("nobody on the other side has its {name}, or a person parted them")
            }
        })
    }
}

const fn is_open(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Write(_) | Verdict::Pending | Verdict::Unseen(_) | Verdict::Agree(_))
}

const UNDONE: &str = "a person undid a write of it: each side keeps its own until either is edited";

fn next_of(verdict: &Verdict, detail: Option<&str>) -> String {
    match verdict {
        Verdict::Unchanged => "nothing: both sides agree".to_owned(),
        Verdict::Agree(_) => "the next pass agrees on what both sides hold".to_owned(),
        Verdict::Write(due) => {
            format!("the next pass writes it to the {} ({})", due.intent.to, due.intent.why.as_str())
        }
        Verdict::Hold(reason) => {
            let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("held: {reason}{detail}; {}", reason.next_step())
        }
        Verdict::Kept => "each side keeps its own, as the mapping or a person says".to_owned(),
        Verdict::Pending => "a write of it may still take effect, or an older value waits for a second look".to_owned(),
        Verdict::Unseen(side) => format!("the {side} was not read yet"),
    }
}

/// What to do about something held, with the names of this very thing in the command.
pub fn next_step(row: &HeldRow) -> String {
    let side = match row.state {
        HeldState::Take(Side::Store) => "store",
        HeldState::Take(Side::Crm) => "CRM",
        HeldState::Held | HeldState::Dropped | HeldState::Undo(_) | HeldState::Undone => {
            let step = row.reason.next_step().replace("held resolve --take", "held resolve ID --take");
            let step = step.replace(" ID", &format!(" {}", row.id)).replace(" STORE ", &format!(" {} ", row.store));
            let step = row.store_key.iter().fold(step, |step, key| step.replace("CUSTOMER", key));
            return row.crm_key.iter().fold(step, |step, key| step.replace("CONTACT", key));
        }
    };
    format!("the next pass takes the {side}'s value")
}

/// The rails that stopped a pair, as its row remembers them: rail, count, limit.
pub fn rails_of(stopped: &str) -> Vec<(String, u64, u64)> {
    serde_json::from_str(stopped).unwrap_or_default()
}

/// `30 clears in 24 hours, 10 allowed`.
fn rails_in_words(rails: &str) -> String {
    let crossed = rails_of(rails);
    let words = crossed.iter().map(|(rail, count, limit)| format!("{count} {rail} in 24 hours, {limit} allowed"));
    words.collect::<Vec<_>>().join("; ")
}

fn standing(pair: &Pair, row: &crate::checkpoint::PairRow) -> (String, Option<String>) {
    if row.behind.compares_only() {
        return (
            "behind".to_owned(),
            Some("the checkpoint is older than what the sides hold: it compares only".to_owned()),
        );
    }
    if let Some(rails) = &row.stopped {
        let next = format!("look at `attune plan --store {0}`, then `attune approve {0}`", pair.store.name);
        return ("stopped".to_owned(), Some(format!("stopped at a rail: {}; {next}", rails_in_words(rails))));
    }
    if row.passed_at.is_none() {
        return ("new".to_owned(), Some("no pass has completed yet".to_owned()));
    }
    if pair.mode == Mode::Observe {
        return ("observing".to_owned(), Some("mode = \"observe\": nothing is sent".to_owned()));
    }
    ("ok".to_owned(), None)
}

fn alone(side: Side, record: RecordRow, state: LinkState, detail: Option<String>) -> LinkStanding {
    let key = Some(record.key.0);
    let (store_key, crm_key) = if side == Side::Store { (key, None) } else { (None, key) };
    LinkStanding { store_key, crm_key, state, detail }
}

fn count_alone(pair: &Pair, side: Side, record: RecordRow, counts: &mut LinkCounts) -> LinkStanding {
    let state = if pair.deciding(side, &record.seen).is_none() {
        counts.no_value += 1;
        LinkState::NoValue
    } else {
        counts.no_partner += 1;
        LinkState::NoPartner
    };
    alone(side, record, state, None)
}
