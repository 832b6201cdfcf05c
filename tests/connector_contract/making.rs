//! The contract of making and removing records, for the sources that do, a test each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use attune::connector::{Created, Lane, Lifecycle, NewRecord, Removed, Unreserved};
use attune::model::{Existence, Key, Seen, Value};

use crate::suite::{BACK, changes, fetch, read, text};
use crate::world::{NOTE, Place, REFUSED, TITLE, World};

contract!(
    making,
    what_is_made_holds_what_it_was_given,
    what_stands_in_the_way_is_told_and_nothing_is_made,
    a_bad_record_does_not_keep_the_others,
    one_token_makes_one_record,
    what_is_removed_is_gone,
);

const NOW: Unreserved = Unreserved(Lane::Fresh);

/// How a source makes and removes records; none where it does not.
async fn lifecycle(world: &dyn World) -> Option<&dyn Lifecycle> {
    let lifecycle = world.connector().lifecycle()?;
    // Nobody knows what a source takes before it was looked at.
    world.connector().prepare(&[None, None], false).await.expect("it can be prepared");
    assert!(lifecycle.creates_with(TITLE) && lifecycle.creates_with(NOTE));
    assert!(!lifecycle.creates_with(usize::MAX), "what is no field takes nothing");
    Some(lifecycle)
}

/// A token that no other test has: systems keep them for ever.
pub fn token(word: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    format!("{word}_{now}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn record(token: &str, title: &str, note: Option<&str>) -> NewRecord {
    let note = note.map(|note| (NOTE, Value::text(note)));
    let values = std::iter::once((TITLE, Value::text(title))).chain(note).collect();
    NewRecord { token: token.to_owned(), values }
}

/// Makes records as the engine does: in calls of as many as the source takes, and a batch that was refused in halves.
async fn make(lifecycle: &dyn Lifecycle, records: &[NewRecord]) -> Vec<Created> {
    let most = lifecycle.lifecycle_limits().records_per_create;
    let records: Vec<(usize, &NewRecord)> = records.iter().enumerate().collect();
    let mut waiting: Vec<Vec<(usize, &NewRecord)>> = records.chunks(most).rev().map(<[_]>::to_vec).collect();
    let mut outcomes: BTreeMap<usize, Created> = BTreeMap::new();
    while let Some(batch) = waiting.pop() {
        let sent: Vec<NewRecord> = batch.iter().map(|(_, record)| (*record).clone()).collect();
        let made = lifecycle.create(&sent, &NOW).await;
        assert_eq!(made.len(), batch.len(), "one outcome for each record");
        let is_refused = |outcome: &Created| matches!(outcome, Created::BatchRejected(_));
        if made.iter().any(is_refused) {
            assert!(batch.len() > 1, "one record alone is refused itself");
            assert!(!made.iter().any(|outcome| matches!(outcome, Created::Made(_))), "nothing of it was made");
        }
        let (again, settled): (Vec<_>, Vec<_>) =
            batch.into_iter().zip(made).partition(|(_, outcome)| is_refused(outcome));
        outcomes.extend(settled.into_iter().map(|((place, _), outcome)| (place, outcome)));
        let again: Vec<(usize, &NewRecord)> = again.into_iter().map(|(record, _)| record).collect();
        let halves = again.split_at(again.len() / 2);
        waiting.extend([halves.1, halves.0].into_iter().filter(|half| !half.is_empty()).map(<[_]>::to_vec));
    }
    outcomes.into_values().collect()
}

fn made(outcome: &Created) -> &Key {
    match outcome {
        Created::Made(key) => key,
        other => panic!("not made: {other:?}"),
    }
}

async fn present(world: &dyn World) -> BTreeSet<Key> {
    let records = read(world.connector().everything()).await;
    records.into_iter().filter(|record| record.existence == Existence::Present).map(|record| record.key).collect()
}

pub async fn what_is_made_holds_what_it_was_given(place: &dyn Place) {
    let world = place.world(2).await;
    let Some(lifecycle) = lifecycle(&*world).await else { return };
    let (before, already) = (world.now().await, present(&*world).await);
    let odd = "it's \"quoted\", 100% _ \\ ä€𝄞 {x}";
    let count = lifecycle.lifecycle_limits().records_per_create + 3;
    let records: Vec<NewRecord> = (0..count)
        .map(|number| record(&token("whole"), &format!("made {number}"), (number > 0).then_some(odd)))
        .collect();
    let keys: Vec<Key> = make(lifecycle, &records).await.iter().map(made).cloned().collect();
    let distinct: BTreeSet<Key> = keys.iter().cloned().collect();
    assert_eq!(distinct.len(), count, "a key for each");
    let shown = fetch(&*world, &keys).await;
    for (number, record) in shown.iter().enumerate() {
        assert_eq!(record.existence, Existence::Present);
        assert_eq!(text(&record.cells[TITLE]), Some(format!("made {number}").as_str()));
        assert_eq!(text(&record.cells[NOTE]), (number > 0).then_some(odd), "what was not given is absent");
    }
    assert_eq!(present(&*world).await, &already | &distinct, "these and no others");
    let fed: BTreeSet<Key> = changes(&*world, before - BACK).await.into_keys().collect();
    assert!(distinct.is_subset(&fed), "the feed shows what was made");
    assert!(lifecycle.create(&[], &NOW).await.is_empty());
}

pub async fn what_stands_in_the_way_is_told_and_nothing_is_made(place: &dyn Place) {
    let world = place.world(4).await;
    let Some(lifecycle) = lifecycle(&*world).await else { return };
    if !world.make_titles_unique().await {
        return;
    }
    let there = world.keys().await;
    let records = [
        record(&token("way"), "new 1", None),
        record(&token("way"), "title 3", Some("in vain")),
        record(&token("way"), "new 2", None),
        record(&token("way"), "new 1", None),
    ];
    let outcomes = make(lifecycle, &records).await;
    let key = made(&outcomes[0]).clone();
    match &outcomes[1] {
        Created::Exists(known) => assert!(known.as_ref().is_none_or(|known| *known == there[2]), "{known:?}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(&outcomes[3], Created::Exists(known) if known.as_ref().is_none_or(|known| *known == key)));
    let made: BTreeSet<Key> = [key, made(&outcomes[2]).clone()].into();
    assert_eq!(present(&*world).await, &there.iter().cloned().collect() | &made, "nothing else was made");
    assert_eq!(text(&fetch(&*world, &there[2..3]).await[0].cells[NOTE]), None, "nor was the other changed");
}

pub async fn a_bad_record_does_not_keep_the_others(place: &dyn Place) {
    let world = place.world(1).await;
    let Some(lifecycle) = lifecycle(&*world).await else { return };
    for bad in [0, 2, 4] {
        let before = present(&*world).await;
        let titles = |number: usize| if number == bad { REFUSED } else { "fine" };
        let records: Vec<NewRecord> =
            (0..5).map(|number| record(&token("bad"), titles(number), Some("with a note"))).collect();
        let outcomes = make(lifecycle, &records).await;
        let mut all = before;
        for (number, outcome) in outcomes.iter().enumerate() {
            if number == bad {
                let Created::Rejected(why) = outcome else { panic!("{outcome:?}") };
                assert!(!why.contains(REFUSED) && !why.contains("with a note"), "no values in sentences: {why}");
            } else {
                assert!(all.insert(made(outcome).clone()), "each was made");
            }
        }
        assert_eq!(present(&*world).await, all, "and nothing else");
    }
}

pub async fn one_token_makes_one_record(place: &dyn Place) {
    let world = place.world(1).await;
    let Some(lifecycle) = lifecycle(&*world).await else { return };
    if !world.keeps_tokens() {
        return;
    }
    let (same, another) = (token("same"), token("other"));
    let first = make(lifecycle, &[record(&same, "first", None), record(&another, "other", None)]).await;
    let (key, other) = (made(&first[0]).clone(), made(&first[1]).clone());
    world.edit(&key, TITLE, Some("edited since")).await;
    let before = present(&*world).await;
    // The answer was lost: the engine asks again, with another beside it.
    let again = make(lifecycle, &[record(&same, "first", None), record(&token("third"), "third", None)]).await;
    assert_eq!(made(&again[0]), &key);
    let third = made(&again[1]).clone();
    assert_eq!(present(&*world).await, &before | &[third].into(), "no second one");
    assert_eq!(text(&fetch(&*world, &[key]).await[0].cells[TITLE]), Some("edited since"), "nor a word overwritten");
    // Somebody archived it since: it stays so.
    if world.mark_deleted(&other).await {
        let outcomes = lifecycle.create(&[record(&another, "other", None)], &NOW).await;
        assert_eq!(made(&outcomes[0]), &other);
        assert_eq!(fetch(&*world, &[other]).await[0].existence, Existence::Gone, "nobody comes back from the dead");
    }
}

pub async fn what_is_removed_is_gone(place: &dyn Place) {
    let world = place.world(6).await;
    let Some(lifecycle) = lifecycle(&*world).await else { return };
    let keys = world.keys().await;
    let remove = async |keys: &[Key]| {
        let outcomes = lifecycle.remove(keys, &NOW).await;
        assert_eq!(outcomes.len(), keys.len(), "one outcome for each key");
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Removed::Gone)), "{outcomes:?}");
    };
    world.remove(&keys[4]).await;
    // One that is gone already, and one that never was, are gone.
    remove(&[keys[1].clone(), keys[4].clone(), Key::new("no such key"), keys[3].clone()]).await;
    let records = fetch(&*world, &keys).await;
    let gone: Vec<bool> = records.iter().map(|record| record.existence == Existence::Gone).collect();
    assert_eq!(gone, [false, true, false, true, true, false]);
    assert!(records[1].cells.iter().all(|cell| cell.seen == Seen::Unseen));
    assert_eq!(present(&*world).await, [0, 2, 5].map(|at| keys[at].clone()).into());
    remove(&keys[1..2]).await;
    remove(&[]).await;
    for (number, at) in [(1, 0), (3, 2), (6, 5)] {
        assert_eq!(
            text(&records[at].cells[TITLE]),
            Some(format!("title {number}").as_str()),
            "the others are as they were"
        );
    }
}
