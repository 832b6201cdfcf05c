//! What the checkpoint holds: packed cells, cursors, agreed values, keys. All of it comes back as it went in.

use std::collections::BTreeMap;

use attune::checkpoint::{Checkpoint, Cursor, LinkUpdate, RecordSave, SeenCell, SeenRecord};
use attune::merge::canonical;
use attune::model::{Canonical, FieldRule, Key, Seen, Side, Timestamp, Value};
use tokio::runtime::Runtime;

/// A column of packed cells as it may stand in a file: read, or refused, and never changed by being written again.
pub fn packed(text: &str) {
    let Ok(record) = serde_json::from_str::<SeenRecord>(text) else { return };
    let spelled = serde_json::to_string(&record).expect("what was read can be written");
    let again: SeenRecord = serde_json::from_str(&spelled).expect("what was written can be read");
    assert_eq!(again, record, "{text:?} became {spelled:?}");
}

/// Cursors as they stand in a file.
pub fn packed_cursors(text: &str) {
    let Ok(cursors) = serde_json::from_str::<BTreeMap<String, Cursor>>(text) else { return };
    let spelled = serde_json::to_string(&cursors).expect("what was read can be written");
    assert_eq!(serde_json::from_str::<BTreeMap<String, Cursor>>(&spelled).ok().as_ref(), Some(&cursors), "{text:?}");
}

/// One record and what is known of it.
#[derive(Clone, Debug)]
pub struct Known {
    pub key: String,
    pub merged_into: Option<String>,
    pub cells: Vec<SeenCell>,
    pub matched_by: Option<String>,
}

/// Everything that one case puts into the checkpoint.
#[derive(Clone, Debug)]
pub struct Everything {
    pub store: Vec<Known>,
    pub crm: Known,
    pub cursors: BTreeMap<String, Cursor>,
    pub agreed: Vec<Option<String>>,
    pub state: String,
}

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
}

/// Puts it into a new checkpoint through the SQL that the engine uses, and takes it out again.
pub fn through(everything: &Everything) {
    RUNTIME.with(|runtime| runtime.block_on(travel(everything)));
}

fn agreed_on(text: Option<&str>) -> Option<Canonical> {
    let rule = FieldRule { trim: false, ..FieldRule::new("attribute:A", "a") };
    text.and_then(|text| canonical(&rule, Side::Store, &Value::text(text)).expect("every text is a text"))
}

async fn travel(everything: &Everything) {
    let checkpoint = Checkpoint::empty().await.expect("SQLite makes a checkpoint in memory");
    let mut transaction = checkpoint.begin().await.expect("a transaction");
    let store = transaction.bind_source(Side::Store, "acme", "abc123").await.expect("a source").id;
    let crm = transaction.bind_source(Side::Crm, "erp", "erp.db").await.expect("a source").id;
    let names: Vec<String> = (0..6).map(|number| format!("attribute:{number}")).collect();
    let fields = transaction.bind_fields(store, &names).await.expect("fields");
    let crm_fields = transaction.bind_fields(crm, &names).await.expect("fields");

    let seen_of = |known: &Known| {
        let mut seen = SeenRecord::EMPTY;
        for (field, cell) in fields.iter().zip(&known.cells) {
            seen.set(field.id, cell.clone());
        }
        seen
    };
    let save_of = |known: &Known| RecordSave {
        key: Key::new(known.key.as_str()),
        gone: known.merged_into.is_some(),
        merged_into: known.merged_into.as_deref().map(Key::new),
        seen: seen_of(known),
        is_new: true,
        matches: known.matched_by.as_ref().map(|value| vec![(fields[0].id, value.clone())]),
    };
    let saves: Vec<RecordSave> = everything.store.iter().map(save_of).collect();
    let ids = transaction.save_records(store, 1, &saves).await.expect("records are saved");
    let keys: Vec<&Key> = saves.iter().map(|save| &save.key).collect();
    let read = transaction.records_by_key(store, &keys).await.expect("records are read");
    assert_eq!(read.len(), saves.len(), "{:?}", read);
    for (known, save) in everything.store.iter().zip(&saves) {
        let id = ids.iter().find(|(key, _)| *key == save.key).expect("its id is told").1;
        let row = read.iter().find(|row| row.key == save.key).expect("it is found by its key");
        assert_eq!((row.id, row.gone, &row.merged_into, &row.seen), (id, save.gone, &save.merged_into, &save.seen));
        for (field, cell) in fields.iter().zip(&known.cells) {
            assert_eq!(row.seen.get(field.id).as_ref(), Some(cell));
            assert_eq!(row.seen.seen(field.id), cell.value.clone().map_or(Seen::Absent, Seen::Value));
        }
        if let (Some(value), false) = (&known.matched_by, save.gone) {
            let found =
                transaction.records_with_match(fields[0].id, &[value.as_str()]).await.expect("it can be looked for");
            assert!(found.contains(&(value.clone(), id)), "{value:?} leads to {found:?}, not to {id}");
        }
    }

    transaction.note_read(store, Timestamp::EPOCH, &everything.cursors, 0, None).await.expect("a read is noted");
    assert_eq!(transaction.cursors(store).await.expect("cursors are read"), everything.cursors);
    transaction.note_state(Side::Store, "acme", "failing", Some(&everything.state)).await.expect("a state is noted");
    let row = transaction.source(Side::Store, "acme").await.expect("a source is read").expect("it is there");
    assert_eq!(row.reason.as_deref(), Some(everything.state.as_str()));

    let contact = transaction.save_records(crm, 1, &[save_of(&everything.crm)]).await.expect("records are saved");
    let pair = transaction.bind_pair(store, crm).await.expect("a pair").id;
    let mut mapped = Vec::new();
    for (field, other) in fields.iter().zip(&crm_fields) {
        mapped.push(transaction.add_mapped(pair, field.id, other.id, "{}").await.expect("a mapped field"));
    }
    let link = transaction.add_links(pair, &[(ids[0].1, contact[0].1)], Timestamp::EPOCH).await.expect("a link")[0];
    let mut agreed: BTreeMap<i64, Option<Canonical>> =
        mapped.iter().copied().zip(everything.agreed.iter().map(|text| agreed_on(text.as_deref()))).collect();
    let update = LinkUpdate { id: link, agreed: agreed.clone(), unsettled: None, pending: 3 };
    transaction.update_links(&[update]).await.expect("a link is updated");
    let links = transaction.links(&[link]).await.expect("a link is read");
    assert_eq!((&links[0].agreed, links[0].pending), (&agreed, 3));

    // SQL takes one field out; the others must come through untouched.
    transaction.accept_definitions(&mapped[..1]).await.expect("a definition is accepted");
    agreed.remove(&mapped[0]);
    let links = transaction.links(&[link]).await.expect("a link is read");
    assert_eq!(links[0].agreed, agreed);
    transaction.commit().await.expect("it is committed");
}

/// All of this family that takes text.
pub fn any(text: &str) {
    packed(text);
    packed_cursors(text);
}
