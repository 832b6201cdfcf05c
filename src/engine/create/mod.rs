//! Making the partners that records lack: look once more → intend → send → settle, a batch at a time.
//!
//! A creation is recorded before it leaves, and one of unknown outcome is looked for before it is sent again.
//!
//! - `wanted`: which records lack a partner
//! - `contents`: what a new record is to hold
//! - here: the batch, up to the moment at which it is answered
//! - `settle`: what became of it; what was made is linked by its key
//! - `made`: what was made is read, and agreed on

mod contents;
mod made;
mod settle;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use super::{CHUNK, Engine, Error, Pair, PairField, Source};
use crate::checkpoint::{Creation, CreationState, Ended, NewHeld, RecordRow, Sending, SentField, Transaction};
use crate::connector::{Created, Lane, Lifecycle, NewRecord};
use crate::model::{Class, Failure, HeldReason, Key, Side, Value};
use crate::proof::Fault;
use crate::telemetry::Event;

pub(super) use contents::{Contents, contents, lacking};
pub(super) use wanted::{Wanted, alone};

/// Why a record is held for which no partner can be made.
const REASONS: [HeldReason; 2] = [HeldReason::CannotBeTaken, HeldReason::Rejected];

/// What the making of partners came to.
#[derive(Default)]
pub(super) struct Making {
    /// Records made, and linked.
    pub made: u64,
    /// Records that are held because no partner can be made for them, and were not before.
    pub held: u64,
    /// The failure that ended it early.
    pub failure: Option<Error>,
}

/// A record as it is about to be made.
struct Draft {
    creation: Creation,
    /// The match rule and value by which others would make it too.
    found_by: (usize, String),
    values: Vec<(usize, Value)>,
    sent: Vec<SentField>,
}

impl Engine {
    /// Makes these partners, as far as they still are wanted.
    pub(super) async fn make_partners(&self, pair: &Pair, pass: i64, wanted: &[Wanted]) -> Result<Making, Error> {
        let mut making = Making::default();
        for side in [Side::Store, Side::Crm] {
            let target = pair.source(side);
            let ids: Vec<i64> = wanted.iter().filter(|one| one.side == side).map(|one| one.creation).collect();
            let Some(lifecycle) = target.connector.lifecycle().filter(|_| !ids.is_empty()) else { continue };
            let each = lifecycle.lifecycle_limits().records_per_create.max(1);
            let mut groups: Vec<Vec<i64>> = ids.chunks(each).rev().map(<[i64]>::to_vec).collect();
            while let Some(group) = groups.pop() {
                self.going_on()?;
                if making.failure.is_some() {
                    break;
                }
                // One at a time for whoever shares the target: two stores may want the same contact.
                let _turn = target.lane.lock().await;
                let apart = self.make_batch(pair, (pass, side), lifecycle, &group, &mut making).await?;
                groups.extend(apart.into_iter().rev().map(|id| vec![id]));
            }
        }
        Ok(making)
    }

    /// One batch. Answers those of it that must be tried one by one, because the batch was refused for one of them.
    async fn make_batch(
        &self,
        pair: &Pair,
        (pass, side): (i64, Side),
        lifecycle: &dyn Lifecycle,
        ids: &[i64],
        making: &mut Making,
    ) -> Result<Vec<i64>, Error> {
        let target = pair.source(side);
        let reservation = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Error::Stopped),
            reservation = target.connector.reserve(Lane::Fresh, 1) => reservation,
        };
        let reservation = match reservation {
            Ok(reservation) => reservation,
            Err(failure) => {
                making.failure = Some(target.error(failure));
                return Ok(Vec::new());
            }
        };
        if self.is_paused(pair).await? {
            making.failure = Some(Error::Stopped);
            return Ok(Vec::new());
        }
        if let Err(error) = self.look_once_more(pair, side, ids).await {
            let Error::Source { .. } = error else { return Err(error) };
            making.failure = Some(error);
            return Ok(Vec::new());
        }
        let drafts = self.intend_to_make(pair, (pass, side), lifecycle, ids, making).await?;
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let batch: Vec<NewRecord> = drafts
            .iter()
            .map(|draft| NewRecord { token: token(pair, side, &draft.creation.origin), values: draft.values.clone() })
            .collect();
        target.call();
        let sent = self.clock.now();
        let mut answers = lifecycle.create(&batch, &*reservation).await.into_iter();
        let missing = || {
            let what = "the connector answered fewer outcomes than records";
            Created::Unknown(Failure::new(Class::Broken, what).possibly_happened())
        };
        let alone = drafts.len() == 1;
        let answered: Vec<(Draft, Created)> =
            drafts.into_iter().map(|draft| (draft, answers.next().unwrap_or_else(missing))).collect();
        let apart = answered
            .iter()
            .filter(|(_, created)| matches!(created, Created::BatchRejected(_)) && !alone)
            .map(|(draft, _)| draft.creation.id)
            .collect();
        self.settle_made(pair, (pass, side), sent, answered, making).await?;
        Ok(apart)
    }

    /// Reads the origins again, and whoever on the other side may be who is to be made.
    async fn look_once_more(&self, pair: &Pair, side: Side, ids: &[i64]) -> Result<(), Error> {
        let (origin, target) = (pair.source(side.other()), pair.source(side));
        let mut transaction = self.checkpoint.read().await?;
        let creations = transaction.creations(ids).await?;
        transaction.end().await?;
        let keys: Vec<Key> = creations.iter().map(|creation| creation.origin.key.clone()).collect();
        let every: Vec<usize> = (0..origin.fields.len()).collect();
        self.look(origin, &keys, &every, Lane::Fresh).await?;
        let lookup = target.connector.lookup().filter(|_| !crate::proof::has(Fault::CreateUnlooked));
        let Some(lookup) = lookup else { return Ok(()) };
        let mut transaction = self.checkpoint.read().await?;
        let creations = transaction.creations(ids).await?;
        transaction.end().await?;
        let mut wanted: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for creation in &creations {
            for (rule, value) in pair.findable(side.other(), &creation.origin.seen) {
                wanted.entry(rule).or_default().push(value);
            }
        }
        for (rule, values) in wanted {
            let place = pair.rule_field(rule, side).and_then(|field| target.place(field));
            let Some(place) = place.filter(|place| lookup.finds_by(*place)) else { continue };
            let fold = pair.rules.get(rule).is_some_and(|(_, _, fold)| *fold);
            for values in values.chunks(lookup.lookup_limits().values_per_find.max(1)) {
                self.find_and_read(target, lookup, (place, fold), values, Lane::Fresh).await?;
            }
        }
        Ok(())
    }

    /// Decides once more what is to be made, and records that it is about to be.
    async fn intend_to_make(
        &self,
        pair: &Pair,
        (pass, side): (i64, Side),
        lifecycle: &dyn Lifecycle,
        ids: &[i64],
        making: &mut Making,
    ) -> Result<Vec<Draft>, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        transaction.begin_settling().await?;
        let creations = transaction.creations(ids).await?;
        let still = self.sort_out(&mut transaction, pair, side, creations).await?;
        let mut drafts = Vec::new();
        let mut refused = Vec::new();
        let found_by = |creation: Creation| Some((pair.deciding(side.other(), &creation.origin.seen)?, creation));
        let still: Vec<((usize, String), Creation)> = still.into_iter().filter_map(found_by).collect();
        let open = open_elsewhere(&mut transaction, pair, side, &still).await?;
        for (found_by, creation) in still {
            // Another store has sent the same, and nobody knows yet what became of it.
            if open.iter().any(|(rule, value, id)| (*rule, value) == (found_by.0, &found_by.1) && *id != creation.id) {
                continue;
            }
            let Contents { values, mapped } = contents(pair, side, lifecycle, &creation.origin);
            let number = |at: usize| pair.fields.get(at).map_or(0, |field| field.mapped);
            let sent = mapped.into_iter().map(|(at, value, canonical)| (number(at), value, canonical)).collect();
            match lacking(pair.source(side), lifecycle, &values) {
                None => drafts.push(Draft { creation, found_by, values, sent }),
                Some(sentence) => refused.push((creation, HeldReason::CannotBeTaken, sentence)),
            }
        }
        self.refuse(&mut transaction, pair, (pass, side), &refused, making).await?;
        let sending: Vec<Sending<'_>> = drafts
            .iter()
            .map(|draft| Sending {
                id: draft.creation.id,
                field: pair.rule_field(draft.found_by.0, side).unwrap_or_default(),
                value: &draft.found_by.1,
                sent: &draft.sent,
            })
            .collect();
        transaction.send_creations(self.clock.now(), &sending).await?;
        transaction.commit().await?;
        Ok(drafts)
    }

    /// Holds records for which no partner can be made, until they change.
    async fn refuse(
        &self,
        transaction: &mut Transaction<'_>,
        pair: &Pair,
        (pass, side): (i64, Side),
        refused: &[(Creation, HeldReason, String)],
        making: &mut Making,
    ) -> Result<(), Error> {
        if refused.is_empty() {
            return Ok(());
        }
        let before: BTreeSet<i64> = transaction.held_records(pair.id).await?.into_keys().collect();
        let ended: Vec<Ended> = refused
            .iter()
            .map(|(creation, ..)| Ended { id: creation.id, state: CreationState::Refused, key: None })
            .collect();
        transaction.end_creations(&ended).await?;
        let held: Vec<NewHeld> = refused
            .iter()
            .map(|(creation, reason, sentence)| NewHeld {
                link: None,
                mapped: None,
                record: Some(creation.origin.id),
                reason: *reason,
                store_value: "null".to_owned(),
                crm_value: "null".to_owned(),
                detail: Some(sentence.clone()),
            })
            .collect();
        transaction.hold(pair.id, self.clock.now(), &held).await?;
        for (creation, reason, _) in refused.iter().filter(|(creation, ..)| !before.contains(&creation.origin.id)) {
            let (key, side) = (creation.origin.key.as_str(), side.other());
            Event::RecordHeld { pair: pair.event(), pass: number_of(pass), side, key, reason: *reason, candidates: 0 }
                .emit_at(making.held >= Event::RECORDS_PER_PASS);
            making.held += 1;
        }
        Ok(())
    }
}

/// The creations of unknown outcome, of whatever pair, that would hold what these are found by: rule, value, number.
async fn open_elsewhere(
    transaction: &mut Transaction<'_>,
    pair: &Pair,
    side: Side,
    wanted: &[((usize, String), Creation)],
) -> Result<Vec<(usize, String, i64)>, Error> {
    let mut open = Vec::new();
    for rule in 0..pair.rules.len() {
        let of_rule = wanted.iter().filter(|((at, _), _)| *at == rule).map(|((_, value), _)| value.as_str());
        let (values, field): (Vec<&str>, _) = (of_rule.collect(), pair.rule_field(rule, side));
        if let Some(field) = field.filter(|_| !values.is_empty()) {
            let found = transaction.open_creations(field, &values).await?;
            open.extend(found.into_iter().map(|(id, value)| (rule, value, id)));
        }
    }
    Ok(open)
}

/// What names a creation to the target for ever, also where the checkpoint was lost: who wants whom where.
fn token(pair: &Pair, side: Side, origin: &RecordRow) -> String {
    let text = [&pair.store.identity, &pair.crm.identity, side.as_str(), origin.key.as_str()].join("\n");
    blake3::hash(text.as_bytes()).to_hex().as_str().chars().take(32).collect()
}

fn number_of(pass: i64) -> u64 {
    u64::try_from(pass).unwrap_or(0)
}
