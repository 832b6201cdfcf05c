//! Looking at what a pass has written, with eyes of its own: `attune sync --limit N`.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::{Fate, Mood, Verdict};
use super::{CHUNK, Engine, Error, Pair};
use crate::checkpoint::HistoryFilter;
use crate::connector::Lane;
use crate::model::{Key, Side};

/// What both sides were read to hold in the fields that a pass has written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// Linked records that the pass wrote to.
    pub records: u64,
    /// Fields that it wrote.
    pub fields: u64,
    /// Fields in which the sides do not agree: customer's key, contact's key, field.
    pub differing: Vec<(String, String, String)>,
}

impl Engine {
    /// Reads both sides of every record that this pass wrote to, and compares.
    ///
    /// # Errors
    /// When a source or the checkpoint fails, or we are told to stop.
    pub async fn read_back(&self, pair: &Pair, pass: u64) -> Result<ReadBack, Error> {
        let filter = HistoryFilter {
            stores: vec![pair.store.name.clone()],
            pass: Some(i64::try_from(pass).unwrap_or(i64::MAX)),
            ..HistoryFilter::default()
        };
        let mut transaction = self.checkpoint.read().await?;
        let mut written: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for row in transaction.history(&filter).await? {
            written.entry(row.link).or_default().insert(row.mapped);
        }
        transaction.end().await?;
        let mut back = ReadBack { records: written.len() as u64, ..ReadBack::default() };
        let links: Vec<i64> = written.keys().copied().collect();
        for chunk in links.chunks(CHUNK) {
            self.look_at_both(pair, chunk).await?;
            let mut transaction = self.checkpoint.read().await?;
            let links = transaction.links(chunk).await?;
            let decided = self.decide(&mut transaction, pair, links, Mood::default()).await?;
            transaction.end().await?;
            for decided in decided {
                let Fate::Fields(verdicts) = &decided.fate else { continue };
                let mapped = written.get(&decided.link.id);
                for (field, verdict) in pair.fields.iter().zip(verdicts) {
                    if !mapped.is_some_and(|mapped| mapped.contains(&field.mapped)) {
                        continue;
                    }
                    back.fields += 1;
                    if !matches!(verdict, Verdict::Unchanged | Verdict::Agree(_)) {
                        let (store, crm) = (&decided.link.store.key.0, &decided.link.crm.key.0);
                        back.differing.push((store.clone(), crm.clone(), field.rule.store.clone()));
                    }
                }
            }
        }
        Ok(back)
    }

    async fn look_at_both(&self, pair: &Pair, links: &[i64]) -> Result<(), Error> {
        let mut transaction = self.checkpoint.read().await?;
        let links = transaction.links(links).await?;
        transaction.end().await?;
        for side in [Side::Store, Side::Crm] {
            let keys: Vec<Key> = links.iter().map(|link| link.record(side).key.clone()).collect();
            let fields: BTreeSet<usize> = pair.fields.iter().map(|field| field.on(side).0).collect();
            self.look(pair.source(side), &keys, &fields.into_iter().collect::<Vec<_>>(), Lane::Fresh).await?;
        }
        Ok(())
    }
}
