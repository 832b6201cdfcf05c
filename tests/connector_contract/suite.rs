//! The contract, a test each. Nothing here knows what kind of source it talks to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use attune::connector::{Connector, Dating, End, Lane, Page, Unreserved};
use attune::model::{Cell, DefinitionState, Existence, Failure, Key, Observed, Outcome, Seen, Timestamp, Value, Write};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::world::{NOTE, Place, REFUSED, TITLE, World};

/// More than a page of any connector.
const STORM: usize = 5_000;
/// How far a feed is read back, as the engine does, against clocks of whole seconds.
pub const BACK: Duration = Duration::from_secs(2);

fn feed(connector: &dyn Connector) -> &'static str {
    connector.feeds()[0]
}

pub async fn read(pages: BoxStream<'_, Result<Page, Failure>>) -> Vec<Observed> {
    let pages: Vec<Page> = pages.try_collect().await.expect("the read succeeds");
    let (last, others) = pages.split_last().expect("a read has at least one page");
    assert_eq!(last.end, Some(End::Whole), "the last page says that the read is whole");
    assert!(others.iter().all(|page| page.end.is_none()), "no other page ends the read");
    pages.into_iter().flat_map(|page| page.observed).collect()
}

pub async fn changes(world: &dyn World, since: Timestamp) -> BTreeMap<Key, Observed> {
    let connector = world.connector();
    read(connector.changes(feed(connector), since))
        .await
        .into_iter()
        .map(|record| (record.key.clone(), record))
        .collect()
}

async fn fetch_one(world: &dyn World, key: &Key) -> Observed {
    let mut records = fetch(world, std::slice::from_ref(key)).await;
    assert_eq!(records.len(), 1);
    records.remove(0)
}

pub async fn fetch(world: &dyn World, keys: &[Key]) -> Vec<Observed> {
    let mut records = Vec::new();
    for keys in keys.chunks(world.connector().limits().keys_per_fetch) {
        let fetched = world.connector().fetch(keys, &[TITLE, NOTE], &Unreserved(Lane::Fresh)).await;
        records.extend(fetched.expect("the fetch succeeds"));
    }
    records
}

pub fn text(cell: &Cell) -> Option<&str> {
    match &cell.seen {
        Seen::Value(Value::Text(text)) => Some(text),
        Seen::Absent => None,
        other => panic!("neither absent nor a text: {other:?}"),
    }
}

fn write(record: &Observed, field: usize, value: Option<&str>) -> Write {
    Write {
        key: record.key.clone(),
        field,
        expect: record.cells[field].clone(),
        value: value.map(Value::text),
        modified: record.modified,
    }
}

/// Sends writes as the engine does, batch by batch.
async fn send(world: &dyn World, writes: Vec<Write>) -> Vec<(Write, Outcome)> {
    let connector = world.connector();
    let mut outcomes = Vec::new();
    for batch in connector.batches(writes) {
        let answers = connector.write(&batch, &Unreserved(Lane::Fresh)).await;
        assert_eq!(answers.len(), batch.len(), "one outcome for each write");
        outcomes.extend(batch.into_iter().zip(answers));
    }
    outcomes
}

fn stored(outcome: &Outcome) -> &Cell {
    match outcome {
        Outcome::Written { stored } => stored,
        other => panic!("not written: {other:?}"),
    }
}

pub async fn says_what_it_is(place: &dyn Place) {
    let world = place.world(1).await;
    let connector = world.connector();
    let prepared = connector.prepare(&[None, None], false).await.expect("it can be prepared");
    assert_eq!(prepared.definitions.len(), connector.fields().len());
    for definition in &prepared.definitions {
        assert!(matches!(&definition.state, DefinitionState::Usable(shape) if shape.writable && shape.clearable));
    }
    assert_eq!(prepared.warnings, [""; 0], "an ordinary source gives no warnings");
    let again = connector.prepare(&[None, None], false).await.expect("it can be prepared again");
    assert_eq!(prepared.identity, again.identity);
    let other = place.world(1).await;
    let other = other.connector().prepare(&[None, None], false).await.expect("another can be prepared");
    assert_ne!(prepared.identity, other.identity, "two sources are two identities");
}

pub async fn everything_shows_every_record_once(place: &dyn Place) {
    let world = place.world(STORM).await;
    let records = read(world.connector().everything()).await;
    assert_eq!(records.len(), STORM);
    let seen: BTreeSet<Key> = records.iter().map(|record| record.key.clone()).collect();
    assert_eq!(seen, world.keys().await.into_iter().collect());
    for record in &records {
        assert_eq!(record.existence, Existence::Present);
        assert!(text(&record.cells[TITLE]).expect("a title").starts_with("title "));
        assert_eq!(text(&record.cells[NOTE]), None);
        assert!(world.connector().dating(TITLE) == Dating::Itself || record.modified.is_some());
    }
    let none = place.world(0).await;
    assert_eq!(read(none.connector().everything()).await, []);
}

pub async fn a_feed_shows_edits_and_needs_only_a_lower_bound(place: &dyn Place) {
    let world = place.world(10).await;
    let keys = world.keys().await;
    let all = changes(&*world, Timestamp::EPOCH).await;
    assert_eq!(all.len(), 10, "from the beginning of time, everything has changed");

    let before = world.now().await;
    world.edit(&keys[3], TITLE, Some("edited")).await;
    let changed = changes(&*world, before - BACK).await;
    assert_eq!(text(&changed[&keys[3]].cells[TITLE]), Some("edited"));
    let dated = &changed[&keys[3]];
    let modified = dated.cells[TITLE].modified.or(dated.modified).expect("an edit has a time");
    assert!(modified >= before - Duration::from_secs(1), "the edit is dated: {modified} is before {before}");

    let later = world.now().await + Duration::from_secs(3_600);
    assert!(changes(&*world, later).await.is_empty(), "nothing has changed since the future");
}

pub async fn a_feed_shows_new_records(place: &dyn Place) {
    let world = place.world(3).await;
    let before = world.now().await;
    let key = world.add("new here").await;
    let changed = changes(&*world, before - BACK).await;
    assert_eq!(text(&changed[&key].cells[TITLE]), Some("new here"));
}

pub async fn a_storm_of_one_time_is_complete(place: &dyn Place) {
    let world = place.world(STORM).await;
    let at = world.storm("after the storm").await;
    for since in [at, at - BACK] {
        let changed = changes(&*world, since).await;
        assert_eq!(changed.len(), STORM);
        assert!(changed.values().all(|record| text(&record.cells[TITLE]) == Some("after the storm")));
    }
}

pub async fn edits_while_paging_lose_nothing(place: &dyn Place) {
    let world = place.world(STORM).await;
    let keys = world.keys().await;
    let connector = world.connector();
    let since = world.storm("before").await - BACK;
    for whole in [false, true] {
        let mut pages = if whole { connector.everything() } else { connector.changes(feed(connector), since) };
        let mut known: BTreeMap<Key, Observed> = BTreeMap::new();
        let mut clock = None;
        let mut page_number = 0;
        while let Some(page) = pages.next().await {
            let page = page.expect("the page is read");
            let first_clock = *clock.get_or_insert(page.clock);
            assert!(page.clock >= first_clock);
            known.extend(page.observed.into_iter().map(|record| (record.key.clone(), record)));
            // Others edit records on pages already read and on pages to come, and delete one.
            page_number += 1;
            for key in keys.iter().skip(page_number).step_by(499) {
                world.edit(key, TITLE, Some(&format!("edited on page {page_number}"))).await;
            }
            if page_number == 1 {
                world.remove(&keys[if whole { 1 } else { 0 }]).await;
            }
        }
        assert!(page_number > 1, "the test needs several pages");
        let cursor = clock.expect("a clock");
        known.extend(changes(&*world, cursor - BACK).await);
        let truth = fetch(&*world, &keys[2..1_000]).await;
        for record in truth {
            assert_eq!(known[&record.key].cells[TITLE].seen, record.cells[TITLE].seen, "{}", record.key);
        }
        let untouched = keys[2..].iter().filter(|key| !known.contains_key(key)).count();
        assert_eq!(untouched, 0, "no record that was there throughout is missing");
    }
}

pub async fn the_clock_is_not_ahead(place: &dyn Place) {
    let world = place.world(1).await;
    let connector = world.connector();
    for _ in 0..20 {
        let before = world.now().await;
        let prepared = connector.prepare(&[None, None], false).await.expect("it can be prepared");
        let mut pages = connector.everything();
        let page = pages.next().await.expect("a page").expect("it is read");
        drop(pages);
        let after = world.now().await;
        for clock in [prepared.clock, page.clock] {
            assert!(clock <= after, "{clock} is ahead of {after}");
            assert!(clock >= before - BACK, "{clock} is far behind {before}");
        }
    }
}

pub async fn null_empty_and_values_are_told_apart(place: &dyn Place) {
    let world = place.world(3).await;
    let keys = world.keys().await;
    world.edit(&keys[0], NOTE, None).await;
    world.edit(&keys[1], NOTE, Some("")).await;
    world.edit(&keys[2], NOTE, Some(" ")).await;
    let records = fetch(&*world, &keys).await;
    assert_eq!(records[0].cells[NOTE].seen, Seen::Absent);
    assert_eq!(records[1].cells[NOTE].seen, Seen::Absent, "empty is absent");
    assert_eq!(records[2].cells[NOTE].seen, Seen::Value(Value::text(" ")), "white space is a value");
    // Both kinds of nothing can be overwritten on the condition that they are still there.
    for record in &records {
        let outcomes = send(&*world, vec![write(record, NOTE, Some("now"))]).await;
        assert_eq!(text(stored(&outcomes[0].1)), Some("now"), "{}", record.key);
    }
}

pub async fn odd_and_long_text_comes_and_goes_unharmed(place: &dyn Place) {
    let long = "ä€𝄞x".repeat(2_500);
    let odd = [
        "it's \"quoted\" `so` [and] \\so\\",
        "two\nlines\tand a tab\r\n",
        "👩‍👩‍👧‍👦 family, ﷽, e\u{301}, \u{202e}backwards",
        "'; DROP TABLE contacts; --",
        "%_*?$1 :name ?1 {}",
        "\u{1}\u{1f}\u{7f}",
        " surrounded ",
        "0012",
        "1e5",
        "null",
        long.as_str(),
    ];
    let world = place.world(odd.len()).await;
    let keys = world.keys().await;
    for (key, value) in keys.iter().zip(odd) {
        world.edit(key, NOTE, Some(value)).await;
    }
    let records = fetch(&*world, &keys).await;
    for (record, value) in records.iter().zip(odd) {
        assert_eq!(text(&record.cells[NOTE]), Some(value));
    }
    // Written to another field, on the condition of what was read, and then over itself.
    let writes = records.iter().zip(odd).map(|(record, value)| write(record, TITLE, Some(value))).collect();
    for (sent, outcome) in send(&*world, writes).await {
        assert_eq!(Some(&stored(&outcome).seen), sent.value.map(Seen::Value).as_ref());
    }
    // Where the condition is the whole record, our own write has changed it.
    let records = fetch(&*world, &keys).await;
    let writes = records.iter().map(|record| write(record, NOTE, Some("plain"))).collect();
    for (sent, outcome) in send(&*world, writes).await {
        assert_eq!(text(stored(&outcome)), Some("plain"), "{sent:?}");
    }
    let records = fetch(&*world, &keys).await;
    for (record, value) in records.iter().zip(odd) {
        assert_eq!(text(&record.cells[TITLE]), Some(value));
    }
}

pub async fn a_write_is_seen_by_the_feed(place: &dyn Place) {
    let world = place.world(3).await;
    let keys = world.keys().await;
    let before = world.now().await;
    let record = fetch_one(&*world, &keys[1]).await;
    let outcomes = send(&*world, vec![write(&record, TITLE, Some("ours"))]).await;
    assert_eq!(text(stored(&outcomes[0].1)), Some("ours"));
    let changed = changes(&*world, before - BACK).await;
    assert_eq!(text(&changed[&keys[1]].cells[TITLE]), Some("ours"));
}

pub async fn a_clear_leaves_nothing(place: &dyn Place) {
    let world = place.world(2).await;
    let keys = world.keys().await;
    world.edit(&keys[0], NOTE, Some("to be cleared")).await;
    let record = fetch_one(&*world, &keys[0]).await;
    let outcomes = send(&*world, vec![write(&record, NOTE, None)]).await;
    assert_eq!(text(stored(&outcomes[0].1)), None);
    let record = fetch_one(&*world, &keys[0]).await;
    assert_eq!(record.cells[NOTE].seen, Seen::Absent);
    assert_eq!(text(&record.cells[TITLE]), Some("title 1"), "only what was asked is cleared");
}

pub async fn several_fields_of_one_record_are_written_together(place: &dyn Place) {
    let world = place.world(4).await;
    let keys = world.keys().await;
    let records = fetch(&*world, &keys).await;
    // Different records set different fields in one batch.
    let writes = vec![
        write(&records[0], TITLE, Some("both")),
        write(&records[0], NOTE, Some("of them")),
        write(&records[1], TITLE, Some("only this")),
        write(&records[2], NOTE, Some("only that")),
    ];
    for (_, outcome) in send(&*world, writes).await {
        stored(&outcome);
    }
    let records = fetch(&*world, &keys).await;
    let texts: Vec<_> = records.iter().map(|record| (text(&record.cells[TITLE]), text(&record.cells[NOTE]))).collect();
    assert_eq!(
        texts,
        [
            (Some("both"), Some("of them")),
            (Some("only this"), None),
            (Some("title 3"), Some("only that")),
            (Some("title 4"), None)
        ]
    );
}

pub async fn a_large_batch_is_written_whole(place: &dyn Place) {
    let world = place.world(1_200).await;
    let keys = world.keys().await;
    let mut records = Vec::new();
    for chunk in keys.chunks(world.connector().limits().keys_per_fetch) {
        records.extend(fetch(&*world, chunk).await);
    }
    let writes: Vec<Write> =
        records.iter().map(|record| write(record, NOTE, Some(&format!("note of {}", record.key)))).collect();
    let outcomes = send(&*world, writes).await;
    assert_eq!(outcomes.len(), 1_200);
    for (sent, outcome) in &outcomes {
        assert_eq!(text(stored(outcome)), Some(format!("note of {}", sent.key).as_str()));
    }
    for record in read(world.connector().everything()).await {
        assert_eq!(text(&record.cells[NOTE]), Some(format!("note of {}", record.key).as_str()));
    }
}

pub async fn a_write_that_lost_changes_nothing(place: &dyn Place) {
    let world = place.world(5).await;
    if !world.connector().limits().conditional_writes {
        return;
    }
    let keys = world.keys().await;
    world.edit(&keys[1], NOTE, Some("was there")).await;
    let records = fetch(&*world, &keys).await;
    world.edit(&keys[0], NOTE, Some("theirs")).await; // from nothing to something
    world.edit(&keys[1], NOTE, None).await; // from something to nothing
    world.edit(&keys[2], NOTE, Some("")).await; // from null to empty
    let writes = records.iter().map(|record| write(record, NOTE, Some("ours"))).collect();
    for (sent, outcome) in send(&*world, writes).await {
        if keys[..3].contains(&sent.key) {
            assert!(matches!(outcome, Outcome::Changed), "{}: {outcome:?}", sent.key);
        } else {
            assert_eq!(text(stored(&outcome)), Some("ours"), "the others of the batch are written");
        }
    }
    let records = fetch(&*world, &keys).await;
    let notes: Vec<_> = records.iter().map(|record| text(&record.cells[NOTE])).collect();
    assert_eq!(notes, [Some("theirs"), None, None, Some("ours"), Some("ours")]);
}

pub async fn white_space_counts_for_a_conditional_write(place: &dyn Place) {
    let world = place.world(1).await;
    if !world.connector().limits().conditional_writes {
        return;
    }
    let key = world.keys().await.remove(0);
    world.edit(&key, NOTE, Some("value")).await;
    let record = fetch_one(&*world, &key).await;
    world.edit(&key, NOTE, Some("value ")).await;
    let outcomes = send(&*world, vec![write(&record, NOTE, Some("ours"))]).await;
    assert!(matches!(outcomes[0].1, Outcome::Changed));
    assert_eq!(text(&fetch_one(&*world, &key).await.cells[NOTE]), Some("value "));
}

pub async fn a_record_is_written_entirely_or_not_at_all(place: &dyn Place) {
    let world = place.world(1).await;
    if !world.connector().limits().conditional_writes {
        return;
    }
    let key = world.keys().await.remove(0);
    let record = fetch_one(&*world, &key).await;
    world.edit(&key, NOTE, Some("theirs")).await;
    let writes = vec![write(&record, TITLE, Some("ours")), write(&record, NOTE, Some("ours"))];
    for (_, outcome) in send(&*world, writes).await {
        assert!(matches!(outcome, Outcome::Changed), "{outcome:?}");
    }
    let record = fetch_one(&*world, &key).await;
    assert_eq!((text(&record.cells[TITLE]), text(&record.cells[NOTE])), (Some("title 1"), Some("theirs")));
}

pub async fn a_bad_row_is_isolated_wherever_it_is(place: &dyn Place) {
    for bad in [0, 4, 8] {
        let world = place.world(9).await;
        let keys = world.keys().await;
        let records = fetch(&*world, &keys).await;
        let value = |index| if index == bad { REFUSED } else { "fine" };
        let writes: Vec<Write> =
            records.iter().enumerate().map(|(index, record)| write(record, TITLE, Some(value(index)))).collect();
        // As the engine: a refused batch is read back, halved and sent again, down to the row.
        let mut waiting = world.connector().batches(writes);
        let (mut rejected, mut calls) = (Vec::new(), 0);
        while let Some(batch) = waiting.pop() {
            calls += 1;
            assert!(calls < 100, "bisecting ends");
            let outcomes = world.connector().write(&batch, &Unreserved(Lane::Fresh)).await;
            let alone = batch.len() == 1;
            let mut group = Vec::new();
            for (write, outcome) in batch.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::BatchRejected(failure) => {
                        assert!(!alone, "one row alone is rejected itself");
                        assert!(!failure.to_string().contains("fine"), "no values in messages: {failure}");
                        group.push(write);
                    }
                    Outcome::Rejected(why) => {
                        assert!(!why.contains(REFUSED), "no values in messages: {why}");
                        rejected.push(write.key.clone());
                    }
                    outcome => assert_eq!(text(stored(&outcome)), Some("fine")),
                }
            }
            let keys: Vec<Key> = group.iter().map(|write| write.key.clone()).collect();
            let now = fetch(&*world, &keys).await;
            let still_old: Vec<Write> = group
                .into_iter()
                .zip(now)
                .filter(|(write, record)| record.cells[TITLE].seen == write.expect.seen)
                .map(|(write, record)| Write { expect: record.cells[TITLE].clone(), ..write })
                .collect();
            let half = still_old.len() / 2;
            waiting.extend([still_old[half..].to_vec(), still_old[..half].to_vec()]);
            waiting.retain(|batch| !batch.is_empty());
        }
        assert_eq!(rejected, [keys[bad].clone()]);
        for (index, record) in fetch(&*world, &keys).await.iter().enumerate() {
            let expected = if index == bad { format!("title {}", bad + 1) } else { "fine".to_owned() };
            assert_eq!(text(&record.cells[TITLE]), Some(expected.as_str()));
        }
    }
}

pub async fn missing_records_are_gone(place: &dyn Place) {
    let world = place.world(3).await;
    let keys = world.keys().await;
    let record = fetch_one(&*world, &keys[1]).await;
    world.remove(&keys[1]).await;
    let asked = [keys[2].clone(), keys[1].clone(), Key::new("no such key"), keys[0].clone()];
    let records = fetch(&*world, &asked).await;
    assert_eq!(records.iter().map(|record| record.key.clone()).collect::<Vec<_>>(), asked, "one answer for each key");
    let existence: Vec<_> = records.iter().map(|record| record.existence.clone()).collect();
    assert_eq!(existence, [Existence::Present, Existence::Gone, Existence::Gone, Existence::Present]);
    assert!(records[1].cells.iter().all(|cell| cell.seen.is_unseen()), "what is gone shows nothing");
    let outcomes = send(&*world, vec![write(&record, TITLE, Some("too late"))]).await;
    if world.connector().limits().conditional_writes {
        assert!(matches!(outcomes[0].1, Outcome::Gone), "{:?}", outcomes[0].1);
    }
    assert!(!read(world.connector().everything()).await.iter().any(|record| record.key == keys[1]));
    assert_eq!(fetch(&*world, &[]).await, []);
}

pub async fn deleted_records_are_gone_everywhere(place: &dyn Place) {
    let world = place.world(3).await;
    let keys = world.keys().await;
    let record = fetch_one(&*world, &keys[1]).await;
    let before = world.now().await;
    if !world.mark_deleted(&keys[1]).await {
        return;
    }
    assert_eq!(changes(&*world, before - BACK).await[&keys[1]].existence, Existence::Gone);
    assert_eq!(fetch_one(&*world, &keys[1]).await.existence, Existence::Gone);
    let everything = read(world.connector().everything()).await;
    let existence =
        |key: &Key| everything.iter().find(|record| record.key == *key).map(|record| record.existence.clone());
    assert!(matches!(existence(&keys[1]), None | Some(Existence::Gone)));
    assert_eq!(existence(&keys[0]), Some(Existence::Present));
    let outcomes = send(&*world, vec![write(&record, TITLE, Some("too late"))]).await;
    assert!(matches!(outcomes[0].1, Outcome::Gone), "{:?}", outcomes[0].1);
}

pub async fn a_write_never_lowers_the_modification_time(place: &dyn Place) {
    let world = place.world(3).await;
    let keys = world.keys().await;
    let now = world.now().await;
    // A row dated ahead of the clock stays dated so.
    let ahead = now + Duration::from_secs(3_600);
    if !world.set_modified(&keys[0], ahead).await {
        return;
    }
    let old = now - Duration::from_secs(86_400);
    world.set_modified(&keys[1], old).await;
    world.set_modified(&keys[2], old).await;
    let records = fetch(&*world, &keys).await;
    let mut writes: Vec<Write> = records.iter().map(|record| write(record, TITLE, Some("ours"))).collect();
    // The caller asks for a later time than the clock's.
    let asked = now + Duration::from_secs(1_800);
    writes[2].modified = Some(asked);
    for (_, outcome) in send(&*world, writes).await {
        stored(&outcome);
    }
    let after = world.now().await;
    let records = fetch(&*world, &keys).await;
    let modified: Vec<Timestamp> = records.iter().map(|record| record.modified.expect("a time")).collect();
    let second = Duration::from_secs(1);
    assert!(modified[0] >= records[0].modified.expect("a time") && modified[0] + second > ahead, "{}", modified[0]);
    assert!(modified[1] + second > now && modified[1] <= after, "{} is not now", modified[1]);
    assert!(modified[2] + second > asked && modified[2] <= asked, "{} is not {asked}", modified[2]);
}

pub async fn fetch_answers_only_what_was_asked(place: &dyn Place) {
    let world = place.world(2).await;
    let keys = world.keys().await;
    let records = world.connector().fetch(&keys, &[TITLE], &Unreserved(Lane::Fresh)).await.expect("the fetch succeeds");
    for record in records {
        assert!(text(&record.cells[TITLE]).is_some());
        assert!(record.cells[NOTE].seen.is_unseen(), "not asked is unseen, not absent");
    }
}
