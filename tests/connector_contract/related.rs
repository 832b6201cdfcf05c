//! Fields of the record that a contact points to, on every database: what they show, which edits the feed brings, and what
//! becomes of them when the other record goes, or may not be read.

use attune::connector::sql::{Relation, Settings, Sql};
use attune::connector::{Connector, Lane, Unreserved};
use attune::model::{Class, DefinitionState, Observed, Outcome, Seen, Timestamp, Value};

use crate::sql_only::{YEAR_2026_MS, fetch, keys_since, name_of, text, write, write_one};
use crate::sql_world::{Database, text_field};

/// Runs tests on every database.
macro_rules! on_all {
    ($($test:ident),* $(,)?) => {
        on!(sql_world::on_sqlite as sqlite, related, [$($test),*]);
        on!(sql_world::on_postgres as postgres, related, [$($test),*]);
        on!(sql_world::on_mysql as mysql, related, [$($test),*]);
    };
}

on_all!(
    an_account_shows_in_its_contacts,
    an_edit_of_an_account_brings_its_contacts,
    a_contact_moves_and_an_account_goes,
    many_accounts_are_complete,
    what_cannot_be_used_is_said,
);

const LONG_AGO: &str = "'2026-01-02 03:04:05'";
const NOTE: usize = 0;
const CODE: usize = 1;
const TIER: usize = 2;

/// Contacts 1 and 2 of account 10, 3 of none, 4 of one that is not there, 5 of account 11.
async fn contacts(database: &Database, with_indexes: bool) -> Settings {
    let mut settings = database.new_table();
    let table = name_of(&settings).to_owned();
    let accounts = format!("{table}_accounts");
    settings.fields = vec![text_field("note"), text_field("account.code"), text_field("account.tier")];
    let relation = Relation {
        table: accounts.clone(),
        from: "account_id".to_owned(),
        key: "id".to_owned(),
        modified: "changed_at".to_owned(),
    };
    settings.relations.insert("account".to_owned(), relation);
    let time = database.one_of("TEXT", "timestamptz", "timestamp(3) NULL");
    let sql = format!(
        "CREATE TABLE {table} (id bigint PRIMARY KEY, note varchar(40), account_id bigint, updated_at {time}); \
         CREATE TABLE {accounts} (id bigint PRIMARY KEY, code varchar(40), tier varchar(40), changed_at {time}); \
         INSERT INTO {accounts} VALUES (10, 'W-10', NULL, {LONG_AGO}), (11, 'W-11', 'gold', {LONG_AGO}); \
         INSERT INTO {table} VALUES (1, 'a', 10, {LONG_AGO}), (2, 'b', 10, {LONG_AGO}), (3, 'c', NULL, {LONG_AGO}), \
         (4, 'd', 99, {LONG_AGO}), (5, 'e', 11, {LONG_AGO})"
    );
    database.execute(&settings, &sql).await;
    if with_indexes {
        index(database, &settings).await;
    }
    settings
}

async fn index(database: &Database, settings: &Settings) {
    let table = name_of(settings);
    let name = table.replace('.', "_");
    let sql = format!(
        "CREATE INDEX {name}_u ON {table} (updated_at); CREATE INDEX {name}_a ON {table} (account_id); \
         CREATE INDEX {name}_c ON {table}_accounts (changed_at)"
    );
    database.execute(settings, &sql).await;
}

async fn edit_account(database: &Database, settings: &Settings, set: &str, which: &str) {
    let (table, now) = (name_of(settings), database.now_sql());
    database.execute(settings, &format!("UPDATE {table}_accounts SET {set}, changed_at = {now} WHERE {which}")).await;
}

async fn now(settings: &Settings) -> Timestamp {
    let connector = Sql::new(settings.clone());
    connector.prepare(&[None, None, None], false).await.expect("it can be prepared").clock
}

fn codes(records: &[Observed]) -> Vec<Option<&str>> {
    records.iter().map(|record| text(&record.cells[CODE])).collect()
}

async fn an_account_shows_in_its_contacts(database: &Database) {
    let settings = contacts(database, true).await;
    let connector = Sql::new(settings);
    let prepared = connector.prepare(&[None, None, None], false).await.expect("it can be prepared");
    assert_eq!(prepared.warnings, [""; 0]);
    for (at, definition) in prepared.definitions.iter().enumerate() {
        let DefinitionState::Usable(shape) = &definition.state else { panic!("field {at} is not usable") };
        assert_eq!(shape.writable, at == NOTE, "a shared record is never written");
    }
    let records = fetch(&connector, &["1", "2", "3", "4", "5"]).await;
    assert_eq!(codes(&records), [Some("W-10"), Some("W-10"), None, None, Some("W-11")]);
    assert_eq!(text(&records[0].cells[TIER]), None);
    assert_eq!(text(&records[4].cells[TIER]), Some("gold"));
    assert_eq!(text(&records[2].cells[NOTE]), Some("c"));
    // What was not asked for is unseen.
    let keys = [records[0].key.clone()];
    let own = connector.fetch(&keys, &[NOTE], &Unreserved(Lane::Fresh)).await.expect("a fetch").remove(0);
    assert_eq!((&own.cells[CODE].seen, text(&own.cells[NOTE])), (&Seen::Unseen, Some("a")));
    // The contact's own fields are written as ever; the account's are not.
    assert!(matches!(write_one(&connector, write(&records[0], NOTE, "new")).await, Outcome::Written { .. }));
    let refused = write_one(&connector, write(&records[0], CODE, "W-12")).await;
    assert!(matches!(refused, Outcome::Rejected(_)), "{refused:?}");
}

async fn an_edit_of_an_account_brings_its_contacts(database: &Database) {
    for with_indexes in [false, true] {
        let settings = contacts(database, with_indexes).await;
        let connector = Sql::new(settings.clone());
        let since = now(&settings).await;
        assert_eq!(keys_since(&connector, Some(since)).await, [""; 0]);
        edit_account(database, &settings, "code = 'W-10b'", "id = 10").await;
        assert_eq!(keys_since(&connector, Some(since)).await, ["1", "2"], "with indexes: {with_indexes}");
        let records = fetch(&connector, &["1", "5"]).await;
        assert_eq!(codes(&records), [Some("W-10b"), Some("W-11")]);
        // The date is the account's where the account is younger, and only for its fields.
        assert!(records[0].cells[CODE].modified >= Some(since), "{records:?}");
        assert!(records[0].modified < Some(since), "the contact itself did not change");
        assert!(records[1].cells[CODE].modified < Some(since));
        // Both at once: each contact once.
        let (table, now) = (name_of(&settings), database.now_sql());
        database
            .execute(&settings, &format!("UPDATE {table} SET note = 'x', updated_at = {now} WHERE id IN (1, 3)"))
            .await;
        assert_eq!(keys_since(&connector, Some(since)).await, ["1", "2", "3"], "with indexes: {with_indexes}");
    }
}

async fn a_contact_moves_and_an_account_goes(database: &Database) {
    let settings = contacts(database, true).await;
    let connector = Sql::new(settings.clone());
    let since = now(&settings).await;
    let (table, now) = (name_of(&settings).to_owned(), database.now_sql());
    let moves = format!("UPDATE {table} SET account_id = 11, updated_at = {now} WHERE id = 1");
    database.execute(&settings, &moves).await;
    assert_eq!(keys_since(&connector, Some(since)).await, ["1"]);
    let moved = fetch(&connector, &["1"]).await.remove(0);
    assert_eq!(text(&moved.cells[CODE]), Some("W-11"));
    // The old account is not younger than the new one: the move is what dates it.
    assert!(moved.cells[CODE].modified >= Some(since), "{moved:?}");
    let leaves = format!("UPDATE {table} SET account_id = NULL, updated_at = {now} WHERE id = 2");
    database.execute(&settings, &leaves).await;
    let left = fetch(&connector, &["2"]).await.remove(0);
    assert_eq!(left.cells[CODE].seen, Seen::Absent);
    assert!(left.cells[CODE].modified >= Some(since), "{left:?}");
    database.execute(&settings, &format!("DELETE FROM {table}_accounts WHERE id = 11")).await;
    let records = fetch(&connector, &["1", "5"]).await;
    assert!(records.iter().all(|record| record.cells[CODE].seen == Seen::Absent), "{records:?}");
    assert!(records.iter().all(|record| record.cells[CODE].modified >= Some(since)), "when it was seen: {records:?}");
}

async fn many_accounts_are_complete(database: &Database) {
    let settings = contacts(database, false).await;
    let table = name_of(&settings).to_owned();
    let numbers = |count: usize, row: fn(usize) -> String| (1..=count).map(row).collect::<Vec<_>>().join(", ");
    let accounts = numbers(1_500, |n| format!("({}, 'C-{n}', NULL, '2026-01-02 03:04:05')", 1_000 + n));
    let contacts = numbers(4_500, |n| format!("({}, 'x', {}, '2026-01-02 03:04:05')", 1_000 + n, 1_001 + n % 1_500));
    let sql = format!("INSERT INTO {table}_accounts VALUES {accounts}; INSERT INTO {table} VALUES {contacts}");
    database.execute(&settings, &sql).await;
    let since = now(&settings).await;
    for with_indexes in [false, true] {
        if with_indexes {
            index(database, &settings).await;
        }
        let connector = Sql::new(settings.clone());
        assert_eq!(keys_since(&connector, None).await.len(), 4_505);
        edit_account(database, &settings, "tier = 'new'", "id > 1001").await;
        let seen = keys_since(&connector, Some(since)).await;
        assert_eq!(seen.len(), 4_497, "with indexes: {with_indexes}");
        let records = fetch(&connector, &["1500", "5500"]).await;
        assert_eq!(codes(&records), [Some("C-501"), Some("C-1")]);
        let tiers: Vec<_> = records.iter().map(|record| record.cells[TIER].seen.clone()).collect();
        assert_eq!(tiers, [Seen::Value(Value::text("new")), Seen::Absent]);
    }
    assert!(since > Timestamp::from_millis(YEAR_2026_MS));
}

async fn what_cannot_be_used_is_said(database: &Database) {
    let settings = contacts(database, true).await;
    let with = |change: fn(&mut Relation)| {
        let mut settings = settings.clone();
        settings.relations.values_mut().for_each(change);
        Sql::new(settings)
    };
    // What may not be read is unseen, and nothing else suffers.
    let connector = with(|relation| relation.table.push('x'));
    let prepared = connector.prepare(&[None, None, None], false).await.expect("the others can be used");
    assert!(matches!(prepared.definitions[NOTE].state, DefinitionState::Usable(_)));
    for at in [CODE, TIER] {
        let DefinitionState::Unusable(why) = &prepared.definitions[at].state else { panic!("it cannot be read") };
        assert!(why.contains("this user may not read it") && why.contains("[crm.erp.relation.account]"), "{why}");
    }
    let record = fetch(&connector, &["1"]).await.remove(0);
    assert_eq!((&record.cells[CODE].seen, text(&record.cells[NOTE])), (&Seen::Unseen, Some("a")));
    let mut columns = settings.clone();
    columns.fields.push(text_field("account.cod"));
    let prepared = Sql::new(columns).prepare(&[None, None, None, None], false).await.expect("the others can be used");
    let DefinitionState::Unusable(why) = &prepared.definitions[3].state else { panic!("there is no such column") };
    assert!(why.contains("no column `cod`, or this user may not read it (did you mean `code`?"), "{why}");
    for (connector, part) in [
        (with(|relation| relation.from = "acount_id".to_owned()), "did you mean `account_id`?"),
        (with(|relation| relation.key = "idd".to_owned()), "did you mean `id`?"),
        (with(|relation| relation.modified = "changed".to_owned()), "no column `changed`"),
    ] {
        let failure = connector.prepare(&[None, None, None], false).await.expect_err("it cannot be prepared");
        assert_eq!(failure.class, Class::Misconfigured, "{failure}");
        assert!(failure.message.contains(part), "{part}: {failure}");
    }
    let failure = with(|relation| relation.from = "note".to_owned()).prepare(&[None, None, None], false).await;
    if database.is_sqlite() {
        assert!(failure.is_err() || failure.is_ok_and(|prepared| !prepared.warnings.is_empty()));
    } else {
        let failure = failure.expect_err("types differ");
        assert!(failure.message.contains("which it points to, of type"), "{failure}");
    }
}
