//! Reading a source: feeds from their cursors, and sweeps.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use futures::stream::{BoxStream, StreamExt};

use super::observe::{Reading, Recorded};
use super::{CHUNK, Engine, Error, OVERREACH, Source};
use crate::checkpoint::Cursor;
use crate::connector::{End, Lane, Page, Unreserved};
use crate::model::{Cell, Class, Existence, Failure, Key, Observed, Side, Timestamp};
use crate::proof::Fault;
use crate::telemetry::Event;

/// The most pages of one read: a feed that never ends is a fault of the source.
const PAGES_MAX: u64 = 1_000_000;

/// How much of a source is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What changed since the cursors; everything if the source was never read, or a field is new.
    Changes,
    /// Everything.
    Sweep,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pulled {
    /// Whether it was a sweep.
    pub swept: bool,
    /// Records shown.
    pub records: u64,
    /// Records found gone.
    pub gone: u64,
    /// Changes that the feeds had missed.
    pub drift: u64,
    /// Whether a cursor stayed because the read was torn.
    pub torn: bool,
}

/// What one read of many records came to.
pub(super) struct Streamed {
    pub records: u64,
    pub missed: u64,
    pub clock: Option<Timestamp>,
    pub whole: bool,
}

impl Engine {
    /// Reads a source. Cursors move only when a whole feed was read and recorded, to the source's own clock as it was
    /// before the read.
    ///
    /// # Errors
    /// When the source or the checkpoint fails, or we are told to stop.
    pub async fn pull(&self, source: &Source, reach: Reach) -> Result<Pulled, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let mut cursors = transaction.cursors(source.id).await?;
        let row = transaction.source(source.side, &source.name).await?;
        transaction.end().await?;
        let never = row.is_none_or(|row| row.swept_at.is_none());
        let feeds = source.connector.feeds();
        let unknown = feeds.iter().any(|feed| !cursors.contains_key(*feed));
        // A mapping may want to see everybody now.
        let is_partly_known = source.by_key.load(Ordering::SeqCst)
            && source.pairs().iter().any(|pair| pair.mapping.create.on(Side::Store));
        if never || unknown || is_partly_known || source.must_sweep.load(Ordering::SeqCst) {
            return self.sweep(source, None).await;
        }
        source.cover(&cursors);
        let covered = source.covered();
        let mut pulled = Pulled::default();
        for feed in feeds {
            let Some(cursor) = cursors.get_mut(*feed) else { continue };
            let streamed = self.pull_feed(source, feed, cursor).await?;
            pulled.records += streamed.records;
            pulled.torn |= !streamed.whole;
        }
        if source.by_key.load(Ordering::SeqCst) {
            self.meet_successors(source).await?;
        }
        self.note_read(source, &cursors).await?;
        source.started.store(true, Ordering::SeqCst);
        if reach == Reach::Sweep {
            let swept = self.sweep(source, covered).await?;
            pulled = Pulled { records: pulled.records + swept.records, ..swept };
        }
        Ok(pulled)
    }

    async fn note_read(&self, source: &Source, cursors: &BTreeMap<String, Cursor>) -> Result<(), Error> {
        let quota = source.connector.quota().and_then(|quota| serde_json::to_string(&quota).ok());
        let now = self.clock.now();
        source.cover(cursors);
        let mut transaction = self.checkpoint.begin().await?;
        transaction.note_read(source.id, now, cursors, source.offset_ms(), quota.as_deref()).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Reads one feed; its cursor moves if the feed was read whole.
    async fn pull_feed(&self, source: &Source, feed: &'static str, cursor: &mut Cursor) -> Result<Streamed, Error> {
        let now = self.clock.now();
        let overlap_due = !source.started.load(Ordering::SeqCst) || now >= cursor.overlapped_at + source.times.overlap;
        let back = if overlap_due { source.times.overlap.max(OVERREACH) } else { OVERREACH };
        let since = if crate::proof::has(Fault::NoOverlap) { cursor.at } else { cursor.at - back };
        let streamed = self.stream(source, source.connector.changes(feed, since), Some(cursor.at), false).await?;
        let whole = streamed.whole || crate::proof::has(Fault::CursorDespiteTear);
        let ours = crate::proof::has(Fault::CursorFromOurClock).then_some(now);
        if let (true, Some(clock)) = (whole, ours.or(streamed.clock)) {
            cursor.at = cursor.at.max(clock);
            if overlap_due {
                cursor.overlapped_at = now;
            }
        }
        Ok(streamed)
    }

    /// Records a stream page by page, the next page being fetched while the one before is recorded.
    async fn stream(
        &self,
        source: &Source,
        mut pages: BoxStream<'_, Result<Page, Failure>>,
        covered: Option<Timestamp>,
        sweep: bool,
    ) -> Result<Streamed, Error> {
        let mut streamed = Streamed { records: 0, missed: 0, clock: None, whole: false };
        let mut ahead: (i64, u64) = (0, 0);
        let mut started = self.clock.now();
        source.call();
        let mut next = pages.next().await;
        let mut number = 0_u64;
        while let Some(page) = next {
            let page = page.map_err(|failure| source.error(failure))?;
            self.going_on()?;
            number += 1;
            if number > PAGES_MAX {
                let what = format!("a read of {} did not end after {PAGES_MAX} pages", source.name);
                return Err(source.error(Failure::new(Class::Broken, what)));
            }
            let shown_at = self.clock.now();
            if streamed.clock.is_none() {
                streamed.clock = Some(page.clock);
                let offset_ms = offset(source.offset_ms(), page.clock, started, shown_at);
                source.offset_ms.store(offset_ms, Ordering::Relaxed);
                source.told_time.store(true, Ordering::Relaxed);
            }
            skew(&page, started, shown_at, &mut ahead);
            let reading = Reading { started, covered, of_target: false };
            started = shown_at;
            streamed.whole = page.end == Some(End::Whole);
            let last = page.end.is_some();
            let recording = self.record(source, &page.observed, reading, sweep);
            let recorded;
            if last {
                recorded = recording.await?;
                next = None;
            } else {
                source.call();
                let (following, now_recorded) = futures::join!(pages.next(), recording);
                recorded = now_recorded?;
                next = following;
            }
            streamed.records += recorded.records;
            streamed.missed += recorded.missed;
        }
        if ahead.1 > 0 {
            let ahead_ms = u64::try_from(ahead.0).unwrap_or(0);
            Event::ClockSkewed { source: source.event(), ahead_ms, records: ahead.1 }.emit();
        }
        Ok(streamed)
    }

    /// Reads everything, finds what is gone, and measures what the feeds had missed.
    async fn sweep(&self, source: &Source, covered: Option<Timestamp>) -> Result<Pulled, Error> {
        let (started, calls) = (self.clock.now(), source.calls());
        let by_key = self.reads_by_key(source).await?;
        if !by_key && source.started.load(Ordering::SeqCst) {
            // Definitions change rarely, and a sweep is rare: here is where a rename or a loss is noticed.
            self.refresh_definitions(source, false).await?;
        }
        let mut transaction = self.checkpoint.begin().await?;
        transaction.clear_swept(source.id).await?;
        transaction.commit().await?;
        let streamed = if by_key {
            self.sweep_by_key(source, covered).await?
        } else {
            self.stream(source, source.connector.everything(), covered, true).await?
        };
        let mut pulled = Pulled { swept: true, records: streamed.records, torn: !streamed.whole, ..Pulled::default() };
        let whole = streamed.whole || crate::proof::has(Fault::TornSweepIsWhole);
        let Some(clock) = streamed.clock.filter(|_| whole) else {
            let torn = "a sweep was torn: nothing is taken for gone, it is read again next time";
            crate::telemetry::note_of(tracing::Level::WARN, source.event(), torn);
            return Ok(pulled);
        };
        pulled.gone = self.find_gone(source).await?;
        pulled.drift = streamed.missed;
        let now = self.clock.now();
        let fields: Vec<i64> = source.fields.iter().map(|field| field.id).collect();
        let indexed: Vec<i64> = source.match_fields.iter().map(|(field, _)| *field).collect();
        let cursor = Cursor { at: clock, overlapped_at: started };
        let cursors = source.connector.feeds().iter().map(|feed| ((*feed).to_owned(), cursor)).collect();
        self.note_read(source, &cursors).await?;
        let mut transaction = self.checkpoint.begin().await?;
        transaction.note_swept(source.id, now, pulled.drift, by_key).await?;
        transaction.note_fields_swept(&fields, &indexed).await?;
        transaction.clear_swept(source.id).await?;
        transaction.commit().await?;
        source.must_sweep.store(false, Ordering::SeqCst);
        source.must_index.store(false, Ordering::SeqCst);
        source.started.store(true, Ordering::SeqCst);
        source.by_key.store(by_key, Ordering::SeqCst);
        Event::SweepCompleted {
            source: source.event(),
            duration_ms: u64::try_from(now.millis_since(started)).unwrap_or(0),
            records: pulled.records,
            gone: pulled.gone,
            drift: pulled.drift,
            calls: source.calls() - calls,
        }
        .emit();
        if pulled.drift > 0 {
            Event::DriftFound { source: source.event(), drift: pulled.drift }.emit();
        }
        Ok(pulled)
    }

    /// Records that the sweep did not meet are read directly; those that are not there either are gone.
    async fn find_gone(&self, source: &Source) -> Result<u64, Error> {
        let limit = source.connector.limits().keys_per_fetch.min(CHUNK);
        let mut after = 0;
        let mut gone = 0;
        loop {
            self.going_on()?;
            let mut transaction = self.checkpoint.read().await?;
            let missing = transaction.not_swept(source.id, after, limit).await?;
            transaction.end().await?;
            let Some((last, _)) = missing.last() else { return Ok(gone) };
            after = *last;
            let keys: Vec<Key> = missing.into_iter().map(|(_, key)| key).collect();
            let started = self.clock.now();
            source.call();
            let found = if crate::proof::has(Fault::GoneUnconfirmed) {
                keys.into_iter().map(|key| gone_at_sight(source, key)).collect()
            } else {
                let fetching = source.connector.fetch(&keys, &[], &Unreserved(Lane::Sweep));
                fetching.await.map_err(|failure| source.error(failure))?
            };
            gone += found
                .iter()
                .filter(|shown| matches!(shown.existence, Existence::Gone | Existence::MergedInto(_)))
                .count() as u64;
            self.record(source, &found, Reading::direct(source, started), false).await?;
        }
    }

    /// Reads records directly and remembers what they show.
    pub(super) async fn look(&self, source: &Source, keys: &[Key], fields: &[usize], lane: Lane) -> Result<(), Error> {
        for chunk in keys.chunks(source.connector.limits().keys_per_fetch.max(1)) {
            self.going_on()?;
            self.look_at(source, chunk, fields, lane, (source.covered(), false)).await?;
        }
        Ok(())
    }

    /// One call of a direct read: what it shows, and what remembering it came to. `sweep`: who is there has been met by it.
    pub(super) async fn look_at(
        &self,
        source: &Source,
        keys: &[Key],
        fields: &[usize],
        lane: Lane,
        (covered, sweep): (Option<Timestamp>, bool),
    ) -> Result<(Vec<Observed>, Recorded), Error> {
        let started = self.clock.now();
        source.call();
        let unreserved = Unreserved(lane);
        let fetching = source.connector.fetch(keys, fields, &unreserved);
        let shown = fetching.await.map_err(|failure| source.error(failure))?;
        let recorded = self.record(source, &shown, Reading { started, covered, of_target: false }, sweep).await?;
        Ok((shown, recorded))
    }
}

/// A record that is gone because nobody has looked for it: a planted fault's reading of a sweep.
fn gone_at_sight(source: &Source, key: Key) -> Observed {
    Observed { key, existence: Existence::Gone, modified: None, cells: vec![Cell::default(); source.fields.len()] }
}

/// A source's clock minus ours, from one answer: the estimate so far, moved no further than this answer proves it wrong. The
/// clock it tells is a lower bound, cut to whole seconds and less the time that the call took, which we know to be at most
/// the time that we waited; so one answer leaves it open by more than a second, and several narrow it down.
pub(super) fn offset(known_ms: i64, theirs: Timestamp, asked: Timestamp, answered: Timestamp) -> i64 {
    let least_ms = theirs.millis_since(answered);
    let most_ms = theirs.millis_since(asked) + answered.millis_since(asked).max(0) + 1001;
    known_ms.clamp(least_ms, most_ms.max(least_ms))
}

/// Notes rows dated later than the source's own clock can have been while the page was read.
fn skew(page: &Page, started: Timestamp, shown_at: Timestamp, ahead: &mut (i64, u64)) {
    let took = std::time::Duration::from_millis(u64::try_from(shown_at.millis_since(started)).unwrap_or(0));
    let latest = page.clock + took + OVERREACH;
    for shown in &page.observed {
        let cells = shown.cells.iter().filter_map(|cell| cell.modified);
        let Some(newest) = cells.chain(shown.modified).max() else { continue };
        if newest > latest {
            ahead.0 = ahead.0.max(newest.millis_since(latest));
            ahead.1 += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    #[test]
    fn clocks_in_step_have_no_offset_however_slow_the_answer() {
        for took in [0, 5, 900, 4_000, 30_000] {
            for phase in [0, 400, 999] {
                // The server's clock at the answer, cut to the second, less the time that the call took.
                let sent = at(phase);
                let date = (sent.as_millis() + took).div_euclid(1000) * 1000;
                let theirs = Timestamp::from_millis(date - took - 1);
                assert_eq!(offset(0, theirs, sent, at(phase + took)), 0, "{took} {phase}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_off_is_found_to_the_second_and_followed() {
        let mut known = 0;
        for (ours, truth) in [(0, 60_000), (10_370, 60_000), (20_810, 60_000), (30_150, -5_000), (40_640, -5_000)] {
            let date = (at(ours).as_millis() + truth + 100).div_euclid(1000) * 1000;
            known = offset(known, Timestamp::from_millis(date - 101), at(ours), at(ours + 100));
            assert!((known - truth).abs() <= 1_250, "{known} and {truth}");
        }
    }
}
