//! The rails of a pair: what they have counted, what they stop, and what a person let through.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::decide::{Decided, Due, Fate, Verdict};
use super::survey::{Ended, Survey};
use super::{CHUNK, Counts, Engine, Error, Pair};
use crate::checkpoint::{PairRow, Stopped, Transaction};
use crate::merge::{self, Crossed, Taken};
use crate::proof::Fault;
use crate::telemetry::Event;

/// What rails look back on, and how long an approval lasts.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// In the place of a mapped field of what a rail stopped: the link itself ends.
const LINK_ENDS: i64 = 0;

/// In the place of a mapped field of what a rail stopped: a partner is made, and in the place of the link is the record.
const PARTNER_MADE: i64 = -1;

/// What a survey comes to on the rails.
pub(super) struct Scale {
    /// What the last 24 hours have counted.
    pub past: Counts,
    /// Mapped fields of linked records, and linked records.
    pub base: (u64, u64),
    /// The links whose end, because a record is gone, a person let through.
    pub approved: BTreeSet<i64>,
    /// The records that a person let a partner be made for.
    pub approved_partners: BTreeSet<i64>,
    /// The rails that past and planned together would cross.
    pub crossed: Vec<Crossed>,
}

impl Engine {
    /// Weighs all that a survey has found against the rails, before the first write.
    pub(super) async fn weigh(&self, pair: &Pair, survey: &Survey) -> Result<Scale, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let links = transaction.count_links(pair.id).await?;
        let past = self.past(&mut transaction, pair).await?;
        let gone: Vec<i64> =
            survey.ended.iter().filter(|(_, ended)| *ended != Ended::Left).map(|(link, _)| link.id).collect();
        let approved = transaction.approved(pair.id, &gone, self.clock.now() - DAY).await?;
        let lonely: Vec<i64> = survey.wanted.iter().map(|wanted| wanted.record).collect();
        let partners = transaction.approved(pair.id, &lonely, self.clock.now() - DAY).await?;
        transaction.end().await?;
        let of = |stopped: Vec<Stopped>, mapped: i64| -> BTreeSet<i64> {
            stopped.into_iter().filter(|stopped| stopped.mapped == mapped).map(|stopped| stopped.link).collect()
        };
        let (approved, approved_partners) = (of(approved, LINK_ENDS), of(partners, PARTNER_MADE));
        let deletes = gone.iter().filter(|link| !approved.contains(link)).count() as u64;
        let creates = lonely.iter().filter(|record| !approved_partners.contains(record)).count() as u64;
        let planned = Counts { deletes, creates, ..survey.planned };
        let base = (links * pair.fields.len() as u64, links);
        let weighed = if crate::proof::has(Fault::RailAfterFirstWrite) { Counts::default() } else { planned };
        let crossed = merge::crossed(&pair.rails, past, weighed, base.0, base.1);
        Ok(Scale { past, base, approved, approved_partners, crossed })
    }

    /// What the rails have counted of the last 24 hours.
    pub(super) async fn past(&self, transaction: &mut Transaction<'_>, pair: &Pair) -> Result<Counts, Error> {
        let (writes, deletes) = transaction.counted_since(pair.id, self.clock.now() - DAY).await?;
        let creates = transaction.created_since(pair.id, self.clock.now() - DAY).await?;
        let mut past = Counts { deletes, creates, ..Counts::default() };
        for (rail, number) in writes {
            match rail.as_str() {
                "writes" => past.writes = number,
                "clears" => past.clears = number,
                _ => {}
            }
        }
        Ok(past)
    }

    /// Remembers which rails stopped the pair and exactly what; or that nothing stops it any more.
    pub(super) async fn note_rails(
        &self,
        pair: &Pair,
        pass: i64,
        row: &PairRow,
        crossed: &[Crossed],
        survey: &Survey,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        if crossed.is_empty() {
            if row.stopped.is_some() {
                let mut transaction = self.checkpoint.begin().await?;
                transaction.set_stopped(pair.id, None, now).await?;
                transaction.commit().await?;
            }
            return Ok(());
        }
        let rails: Vec<(&str, u64, u64)> = crossed.iter().map(|rail| (rail.rail, rail.count, rail.limit)).collect();
        let text = serde_json::to_string(&rails).unwrap_or_default();
        let mut transaction = self.checkpoint.begin().await?;
        transaction.set_stopped(pair.id, Some(&text), now).await?;
        let ended: Vec<Stopped> = survey
            .ended
            .iter()
            .map(|(link, _)| Stopped { link: link.id, mapped: LINK_ENDS, value: "gone".to_owned() })
            .collect();
        transaction.add_stopped(pair.id, &ended).await?;
        let partners: Vec<Stopped> = survey
            .wanted
            .iter()
            .map(|wanted| Stopped { link: wanted.record, mapped: PARTNER_MADE, value: "created".to_owned() })
            .collect();
        transaction.add_stopped(pair.id, &partners).await?;
        transaction.commit().await?;
        for chunk in survey.due.chunks(CHUNK) {
            let mut transaction = self.checkpoint.begin().await?;
            let links = transaction.links(chunk).await?;
            let decided = self.decide(&mut transaction, pair, links, survey.mood).await?;
            transaction.add_stopped(pair.id, &stopped_of(pair, &decided)).await?;
            transaction.commit().await?;
        }
        let said = pair.rails_said.swap(true, Ordering::SeqCst);
        let known = row.stopped.as_deref().filter(|_| said).unwrap_or_default();
        for rail in crossed.iter().filter(|rail| !known.contains(rail.rail)) {
            Event::RailStopped {
                pair: pair.event(),
                pass: u64::try_from(pass).unwrap_or(0),
                rail: rail.rail,
                count: rail.count,
                limit: rail.limit,
            }
            .emit();
        }
        Ok(())
    }
}

/// How the rails count a write that is due.
pub(super) fn count(due: &Due, first_pass: bool, counts: &mut Counts) {
    match due.intent.taken {
        _ if due.approved => {}
        Taken::Free => {}
        Taken::Fill if first_pass => {}
        Taken::Write | Taken::Fill => counts.writes += 1,
        Taken::Clear => counts.clears += 1,
    }
}

pub(super) fn uncount(due: &Due, first_pass: bool, counts: &mut Counts) {
    let mut one = Counts::default();
    count(due, first_pass, &mut one);
    counts.writes = counts.writes.saturating_sub(one.writes);
    counts.clears = counts.clears.saturating_sub(one.clears);
}

/// The writes of decided links, as `approve` lets them through.
fn stopped_of(pair: &Pair, decided: &[Decided]) -> Vec<Stopped> {
    let mut stopped = Vec::new();
    for decided in decided {
        let Fate::Fields(verdicts) = &decided.fate else { continue };
        for (field, verdict) in pair.fields.iter().zip(verdicts) {
            if let Verdict::Write(due) = verdict
                && !due.approved
            {
                stopped.push(Stopped { link: decided.link.id, mapped: field.mapped, value: due.fingerprint() });
            }
        }
    }
    stopped
}
