//! The rails of a pair: what they have counted, what they stop, and what a person let through.

use std::time::Duration;

use super::decide::{Decided, Due, Fate, Mood, Verdict};
use super::survey::Survey;
use super::{CHUNK, Counts, Engine, Error, Pair};
use crate::checkpoint::{PairRow, Stopped, Transaction};
use crate::merge::{Crossed, Taken};
use crate::telemetry::Event;

/// What rails look back on, and how long an approval lasts.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

impl Engine {
    /// What the rails have counted of the last 24 hours.
    pub(super) async fn past(&self, transaction: &mut Transaction<'_>, pair: &Pair) -> Result<Counts, Error> {
        let (writes, deletes) = transaction.counted_since(pair.id, self.clock.now() - DAY).await?;
        let mut past = Counts { deletes, ..Counts::default() };
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
        mood: Mood,
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
            .map(|(link, _)| Stopped { link: link.id, mapped: 0, value: "gone".to_owned() })
            .collect();
        transaction.add_stopped(pair.id, &ended).await?;
        transaction.commit().await?;
        for chunk in survey.due.chunks(CHUNK) {
            let mut transaction = self.checkpoint.begin().await?;
            let links = transaction.links(chunk).await?;
            let decided = self.decide(&mut transaction, pair, links, mood).await?;
            transaction.add_stopped(pair.id, &stopped_of(pair, &decided)).await?;
            transaction.commit().await?;
        }
        let known = row.stopped.as_deref().unwrap_or_default();
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
