//! Looking at all the work of a pass before the first write: what needs no write is concluded, what does is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use super::balance::{Balance, Place};
use super::conclude::{News, agreed_of, place_of, settled_link};
use super::create::Wanted;
use super::decide::{Decided, Fate, Mood, Verdict};
use super::rails::{DAY, count};
use super::{CHUNK, Counts, Engine, Error, Pair};
use crate::checkpoint::{Behind, LinkRow, PairRow};
use crate::connector::Lane;
use crate::model::{Key, Side};

/// So many fields of one source that return within a day to superseded values look like a restored backup.
const RETURNED_MAX: u64 = 20;

/// What looking at all the work has found.
#[derive(Default)]
pub(super) struct Survey {
    pub mood: Mood,
    /// The change up to which everything was looked at before.
    since: i64,
    pub balance: Balance,
    pub due: Vec<i64>,
    pub ended: Vec<(LinkRow, Ended)>,
    /// Partners to be made.
    pub wanted: Vec<Wanted>,
    unseen: BTreeMap<Side, BTreeSet<Key>>,
    unseen_links: Vec<i64>,
    pub planned: Counts,
    returned: [u64; 2],
    met: u64,
    moved: u64,
    pub news: Vec<News>,
}

/// Why a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The record on this side is gone.
    Gone(Side),
    /// One of its records does not take part any more.
    Left,
}

impl Engine {
    /// Looks at all the work: what needs no write is concluded, what does is counted.
    pub(super) async fn survey(&self, pair: &Pair, row: &PairRow, since: i64) -> Result<Survey, Error> {
        let first_pass = row.first_pass_at.is_none();
        let mut mood = Mood { behind: row.behind, ..Mood::default() };
        if mood.behind.compares_only() {
            self.say_behind(pair);
        }
        loop {
            let mut transaction = self.checkpoint.begin().await?;
            transaction
                .gather_work(pair.id, pair.store.id, pair.crm.id, if mood.behind.compares_only() { 0 } else { since })
                .await?;
            transaction.commit().await?;
            let mut survey = Survey { mood, since, ..Survey::default() };
            self.look_over(pair, (true, first_pass), &mut survey).await?;
            if !survey.unseen_links.is_empty() {
                self.read_unseen(pair, &mut survey).await?;
                self.look_over(pair, (false, first_pass), &mut survey).await?;
            }
            let first = pair.first_since_start.load(Ordering::SeqCst);
            if first && !mood.behind.compares_only() && self.recognise_by_sides(pair, survey.met, survey.moved).await? {
                mood.behind = Behind::Suspected;
                self.say_behind(pair);
                continue;
            }
            if let Some(reverted) = self.find_reverted(pair, mood, &survey).await? {
                mood.reverted = reverted;
                continue;
            }
            return Ok(survey);
        }
    }

    /// Looks also at the links that were made since a survey, and at these.
    pub(super) async fn survey_also(
        &self,
        pair: &Pair,
        row: &PairRow,
        (newer_than, links): (i64, &[i64]),
        survey: &mut Survey,
    ) -> Result<(), Error> {
        let first_pass = row.first_pass_at.is_none();
        let mut transaction = self.checkpoint.begin().await?;
        transaction.set_work_since(pair.id, newer_than, links).await?;
        transaction.commit().await?;
        self.look_over(pair, (true, first_pass), survey).await?;
        if !survey.unseen_links.is_empty() {
            self.read_unseen(pair, survey).await?;
            self.look_over(pair, (false, first_pass), survey).await?;
        }
        Ok(())
    }

    /// Goes through `temp.work` in chunks.
    async fn look_over(
        &self,
        pair: &Pair,
        (may_read, first_pass): (bool, bool),
        survey: &mut Survey,
    ) -> Result<(), Error> {
        let mut after = 0;
        loop {
            self.going_on()?;
            let mut transaction = self.checkpoint.begin().await?;
            let ids = transaction.work(pair.id, after, CHUNK).await?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = *last;
            let links = transaction.links(&ids).await?;
            let decided = self.decide(&mut transaction, pair, links, survey.mood).await?;
            let settled: Vec<Decided> =
                decided.into_iter().filter_map(|decided| survey.sort(decided, may_read, first_pass)).collect();
            survey.news.extend(self.conclude(&mut transaction, pair, &settled).await?);
            let mut agreed = agreed_of(pair, &settled);
            let now = self.clock.now();
            let mut updates = Vec::new();
            for decided in &settled {
                let Fate::Fields(verdicts) = &decided.fate else { continue };
                let places: Vec<Place> = verdicts.iter().map(place_of).collect();
                places.iter().for_each(|place| survey.balance.put(*place));
                let left = places.iter().filter(|place| place.is_open()).count() as u64;
                let unsettled = (left > 0).then(|| decided.link.unsettled.unwrap_or(now));
                let news = agreed.remove(&decided.link.id).unwrap_or_default();
                if !news.is_empty() || unsettled != decided.link.unsettled || left != decided.link.pending {
                    updates.push(settled_link(&decided.link, news, unsettled, left));
                }
            }
            transaction.update_links(&updates).await?;
            transaction.commit().await?;
        }
    }

    /// Reads fields of linked records that nobody has looked at.
    async fn read_unseen(&self, pair: &Pair, survey: &mut Survey) -> Result<(), Error> {
        for (side, keys) in std::mem::take(&mut survey.unseen) {
            let source = pair.source(side);
            let fields: BTreeSet<usize> = pair.fields.iter().map(|field| field.on(side).0).collect();
            let keys: Vec<Key> = keys.into_iter().collect();
            self.look(source, &keys, &fields.into_iter().collect::<Vec<_>>(), Lane::Fresh).await?;
        }
        let links = std::mem::take(&mut survey.unseen_links);
        let mut transaction = self.checkpoint.begin().await?;
        transaction.set_work(pair.id, &links).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The sides that look restored from a backup.
    async fn find_reverted(
        &self,
        pair: &Pair,
        mood: Mood,
        survey: &Survey,
    ) -> Result<Option<[Option<Side>; 2]>, Error> {
        let mut reverted = mood.reverted;
        let since = self.clock.now() - DAY;
        for (at, side) in [Side::Store, Side::Crm].into_iter().enumerate() {
            if survey.returned[at] == 0 || reverted[at].is_some() {
                continue;
            }
            let mut transaction = self.checkpoint.read().await?;
            let before = transaction.returned_since(pair.source(side).id, side, since).await?;
            transaction.end().await?;
            if before + survey.returned[at] > RETURNED_MAX {
                reverted[at] = Some(side);
            }
        }
        let news = reverted.iter().flatten().count() > mood.reverted.iter().flatten().count();
        Ok(news.then_some(reverted))
    }
}

impl Survey {
    /// Sorts one decided link: what needs no write comes back, to be concluded.
    fn sort(&mut self, decided: Decided, may_read: bool, first_pass: bool) -> Option<Decided> {
        let verdicts = match &decided.fate {
            Fate::Gone(side) => {
                self.ended.push((decided.link, Ended::Gone(*side)));
                return None;
            }
            Fate::Left => {
                self.ended.push((decided.link, Ended::Left));
                return None;
            }
            Fate::Fields(verdicts) => verdicts,
        };
        if may_read && verdicts.iter().any(|verdict| matches!(verdict, Verdict::Unseen(_))) {
            for verdict in verdicts {
                if let Verdict::Unseen(side) = verdict {
                    let record = decided.link.record(*side);
                    self.unseen.entry(*side).or_default().insert(record.key.clone());
                }
            }
            self.unseen_links.push(decided.link.id);
            return None;
        }
        // In a restored copy neither side was ever seen with what it holds now.
        if decided.link.store.changed > self.since && decided.link.crm.changed > self.since {
            self.met += decided.met;
            self.moved += decided.met;
        }
        let mut due = false;
        for verdict in verdicts {
            if let Verdict::Write(write) = verdict {
                due = true;
                self.moved += 1;
                count(write, first_pass, &mut self.planned);
                if let Some(side) = write.returned {
                    self.returned[usize::from(side == Side::Crm)] += 1;
                }
            }
        }
        if due {
            self.due.push(decided.link.id);
            return None;
        }
        Some(decided)
    }
}
