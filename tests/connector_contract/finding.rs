//! The contract of finding records by what they hold, for the sources that do, a test each.

use std::collections::BTreeSet;

use attune::connector::sql::Sql;
use attune::connector::{Connector, FieldWanted, Lane, Lookup};
use attune::model::{FieldType, Key};

use crate::sql_world::{Database, text_field};
use crate::suite::{fetch, text};
use crate::world::{Place, TITLE, World};

contract!(
    finding,
    what_holds_a_value_is_found_in_any_case_of_letters,
    nothing_is_found_by_what_nobody_holds,
    many_values_are_found_with_one_call,
    characters_that_mean_something_are_themselves,
    the_count_is_that_of_the_records,
);

/// What only tables have.
mod columns {
    on!(sql_world::on_sqlite as sqlite, finding, [keys_and_columns_of_every_type_find]);
    on!(sql_world::on_postgres as postgres, finding, [keys_and_columns_of_every_type_find]);
    on!(sql_world::on_mysql as mysql, finding, [keys_and_columns_of_every_type_find]);
}

/// The others take it away when they store a value.
mod white_space {
    on!(sql_world::on_sqlite as sqlite, finding, [white_space_around_a_value_does_not_count]);
    on!(sql_world::on_postgres as postgres, finding, [white_space_around_a_value_does_not_count]);
    on!(sql_world::on_mysql as mysql, finding, [white_space_around_a_value_does_not_count]);
    on!(odoo_world::on_odoo as odoo, finding, [white_space_around_a_value_does_not_count]);
    on!(tryton_world::on_tryton as tryton, finding, [white_space_around_a_value_does_not_count]);
    on!(odoo_world::on_odoo_14 as odoo_14, finding, [white_space_around_a_value_does_not_count]);
    on!(odoo_world::on_odoo_before_19 as odoo_before_19, finding, [white_space_around_a_value_does_not_count]);
}

/// How a source finds records; none where it does not.
async fn lookup(world: &dyn World) -> Option<&dyn Lookup> {
    let lookup = world.connector().lookup()?;
    // Nobody knows what a source finds by before it was looked at.
    world.connector().prepare(&[None, None], false).await.expect("it can be prepared");
    assert!(lookup.finds_by(TITLE), "a plain text can be found by");
    assert!(!lookup.finds_by(usize::MAX), "what is no field finds nothing");
    Some(lookup)
}

async fn find(lookup: &dyn Lookup, values: &[&str], fold: bool) -> BTreeSet<Key> {
    let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
    assert!(values.len() <= lookup.lookup_limits().values_per_find, "not more than the source takes");
    let keys = lookup.keys_with(TITLE, &values, fold, Lane::Fresh).await.expect("the find succeeds");
    keys.into_iter().collect()
}

/// What is left when what was found is read and compared, as the engine does.
async fn holders(world: &dyn World, values: &[&str], fold: bool) -> BTreeSet<Key> {
    let found: Vec<Key> = find(lookup(world).await.expect("it finds"), values, fold).await.into_iter().collect();
    let is_wanted = |held: &str| {
        let held = if fold { held.trim().to_lowercase() } else { held.trim().to_owned() };
        values.contains(&held.as_str())
    };
    let records = fetch(world, &found).await;
    records
        .into_iter()
        .filter(|record| text(&record.cells[TITLE]).is_some_and(is_wanted))
        .map(|record| record.key)
        .collect()
}

fn set(keys: &[&Key]) -> BTreeSet<Key> {
    keys.iter().map(|key| (*key).clone()).collect()
}

pub async fn what_holds_a_value_is_found_in_any_case_of_letters(place: &dyn Place) {
    let world = place.world(20).await;
    let Some(lookup) = lookup(&*world).await else { return };
    let keys = world.keys().await;
    let titles = ["Ada@Example.com", "ADA@EXAMPLE.COM", "ada@example.com", "ada@example.com.au", "b.ada@example.com"];
    for (key, title) in keys.iter().zip(titles) {
        world.edit(key, TITLE, Some(title)).await;
    }
    let ada = set(&[&keys[0], &keys[1], &keys[2]]);
    assert_eq!(find(lookup, &["ada@example.com"], true).await, ada, "letters of one alphabet are told exactly");
    assert_eq!(holders(&*world, &["ada@example.com"], false).await, set(&[&keys[2]]));
    assert_eq!(find(lookup, &["title 7"], false).await, set(&[&keys[6]]));

    // Letters of which not every database knows the case; the first is one letter as a whole, or two characters.
    let others =
        ["ÄRGER@Example.com", "Ärger@example.com", "ΑΔΑ@example.com", "ÆSIR", "ада@пример.рф", "АДА@ПРИМЕР.РФ"];
    for (key, title) in keys[10..].iter().zip(others) {
        world.edit(key, TITLE, Some(title)).await;
    }
    assert_eq!(holders(&*world, &["ärger@example.com"], true).await, set(&[&keys[10], &keys[11]]));
    assert_eq!(holders(&*world, &["αδα@example.com", "æsir"], true).await, set(&[&keys[12], &keys[13]]));
    assert_eq!(holders(&*world, &["ада@пример.рф"], true).await, set(&[&keys[14], &keys[15]]));
    assert_eq!(holders(&*world, &["ада@пример.рф"], false).await, set(&[&keys[14]]));
}

pub async fn nothing_is_found_by_what_nobody_holds(place: &dyn Place) {
    let world = place.world(10).await;
    let Some(lookup) = lookup(&*world).await else { return };
    let key = world.keys().await.remove(3);
    world.edit(&key, TITLE, Some("another")).await;
    for (values, fold) in
        [(&["nobody@example.com"][..], true), (&["title"], false), (&["title 100", "%", "_"], true), (&[], true)]
    {
        assert_eq!(find(lookup, values, fold).await, BTreeSet::new(), "{values:?}");
    }
    assert_eq!(find(lookup, &["title 4"], true).await, BTreeSet::new(), "not by what somebody held");
}

pub async fn many_values_are_found_with_one_call(place: &dyn Place) {
    let world = place.world(1_200).await;
    let Some(lookup) = lookup(&*world).await else { return };
    let keys = world.keys().await;
    let most = lookup.lookup_limits().values_per_find;
    let titles: Vec<String> = (1..=most).map(|number| format!("title {}", number * 2)).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let held: BTreeSet<Key> = keys.iter().skip(1).step_by(2).take(most).cloned().collect();
    assert_eq!(find(lookup, &titles, true).await, held);
    // More records than a page of any source hold one value.
    world.storm("Alike").await;
    assert_eq!(find(lookup, &["alike"], true).await, keys.into_iter().collect());
}

pub async fn characters_that_mean_something_are_themselves(place: &dyn Place) {
    let odd = [
        "o'hara@example.com",
        "100%",
        "100 percent",
        "a_b",
        "axb",
        "back\\slash",
        "back\\\\slash",
        "double \"quotes\"",
        "smith, john",
        "smith",
        "john",
        "'; drop table contacts; --",
        "(brackets) [and] {more}",
        "?1 $1 :x *",
        "a|b;c&d=e+f#g",
    ];
    let world = place.world(odd.len()).await;
    let Some(lookup) = lookup(&*world).await else { return };
    let keys = world.keys().await;
    for (key, value) in keys.iter().zip(odd) {
        world.edit(key, TITLE, Some(value)).await;
    }
    for fold in [false, true] {
        for (key, value) in keys.iter().zip(odd) {
            assert_eq!(find(lookup, &[value], fold).await, set(&[key]), "{value:?}");
        }
        assert_eq!(holders(&*world, &odd, fold).await, keys.iter().cloned().collect());
    }
}

pub async fn the_count_is_that_of_the_records(place: &dyn Place) {
    for records in [0, 7] {
        let world = place.world(records).await;
        let Some(lookup) = lookup(&*world).await else { return };
        let count = async || lookup.count(Lane::Sweep).await.expect("it counts");
        assert_eq!(count().await, records as u64);
        if let Some(key) = world.keys().await.get(3) {
            if world.mark_deleted(key).await {
                assert_eq!(count().await, 6, "what is marked as deleted is not there");
                assert_eq!(find(lookup, &["title 4"], true).await, BTreeSet::new(), "nor is it found");
            }
            world.remove(key).await;
            assert_eq!(count().await, 6);
        }
    }
}

pub async fn white_space_around_a_value_does_not_count(place: &dyn Place) {
    let world = place.world(10).await;
    let keys = world.keys().await;
    for (key, title) in
        keys.iter().zip([" ada@example.com", "Ada@example.com\t", "\u{a0}ada@example.com\r\n", "ada @example.com"])
    {
        world.edit(key, TITLE, Some(title)).await;
    }
    assert_eq!(holders(&*world, &["ada@example.com"], true).await, set(&[&keys[0], &keys[1], &keys[2]]));
    assert_eq!(holders(&*world, &["ada@example.com"], false).await, set(&[&keys[0], &keys[2]]));
}

pub async fn keys_and_columns_of_every_type_find(database: &Database) {
    let uuids = ["0193e6a4-0000-7000-8000-000000000001", "0193e6a4-0000-7000-8000-000000000002"];
    let (text_keys, text_other) = (["Ключ", "it's"], ["ключ", "0193e6a4-0000-7000-8000-000000000001"]);
    let mut cases = vec![
        (
            database.one_of("INTEGER PRIMARY KEY", "integer PRIMARY KEY", "int PRIMARY KEY"),
            ["7", "-3"],
            ["007", "seven"],
        ),
        (database.one_of("TEXT PRIMARY KEY", "text PRIMARY KEY", "varchar(80) PRIMARY KEY"), text_keys, text_other),
    ];
    if let Database::Postgres { .. } = database {
        cases.push(("uuid PRIMARY KEY", uuids, ["0193E6A4-0000-7000-8000-000000000001", "7"]));
    }
    for (key_type, keys, others) in cases {
        let mut settings = database.new_table();
        let wanted = |name: &str, kind: FieldType| FieldWanted::new(name, kind);
        let number = wanted("number", FieldType::Number);
        let day = wanted("day", FieldType::Date);
        let price = wanted("price", FieldType::Number);
        settings.fields = vec![text_field("@key"), text_field("word"), number, day, price, text_field("missing")];
        let table = settings.table.clone();
        // Where the database itself takes A for a, and blanks for nothing.
        let word = database.one_of("TEXT COLLATE NOCASE", "text", "varchar(255) COLLATE utf8mb4_general_ci");
        let (date, price) = (database.one_of("DATE", "date", "date"), database.one_of("REAL", "float8", "double"));
        database
            .execute(
                &settings,
                &format!(
                    "CREATE TABLE {table} (id {key_type}, word {word}, number bigint, day {date}, price {price}, \
                     updated_at timestamp NULL)"
                ),
            )
            .await;
        for (key, word, number) in [(keys[0], "Buyer ", "1500"), (keys[1], "buyer", "-15")] {
            let key = key.replace('\'', "''");
            let sql = format!(
                "INSERT INTO {table} (id, word, number, day, price) VALUES ('{key}', '{word}', {number}, '2026-01-02', 1.5)"
            );
            database.execute(&settings, &sql).await;
        }
        let connector = Sql::new(settings);
        assert!(!connector.finds_by(1), "nobody has looked yet");
        connector.prepare(&[], false).await.expect("it can be prepared");
        let finds: Vec<bool> = (0..connector.fields().len()).map(|field| connector.finds_by(field)).collect();
        assert_eq!(finds, [true, true, true, true, false, false], "not by what has several spellings");
        let find = async |field: usize, values: &[&str], fold: bool| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            let mut found = connector.keys_with(field, &values, fold, Lane::Fresh).await.expect("the find succeeds");
            found.sort();
            found.into_iter().map(|key| key.0).collect::<Vec<_>>()
        };
        let mut both = keys;
        both.sort_unstable();
        for key in keys {
            assert_eq!(find(0, &[key, others[1]], false).await, [key], "{key_type}");
        }
        assert_eq!(find(0, &others, false).await, [""; 0], "{key_type}: no other spelling is the key");
        assert_eq!(find(1, &["buyer"], true).await, both);
        assert_eq!(find(1, &["Buyer"], false).await, [keys[0]]);
        assert_eq!(find(2, &["1500", "x", "\0"], false).await, [keys[0]]);
        assert_eq!(find(2, &["-15"], true).await, [keys[1]]);
        assert_eq!(find(3, &["2026-01-02"], false).await, both);
        assert_eq!(find(3, &["2026-1-2"], false).await, [""; 0]);
        assert_eq!(connector.count(Lane::Sweep).await.expect("it counts"), 2);
    }
}
