//! What `attune check` itself says of the mistakes that people make: systems that answer, and fields that do not fit each other. What
//! each kind of system says is in the contract tests (`tests/connector_contract/*_mistakes.rs`).

use crate::world::World;

/// A world whose CRM is one table of these columns beside `id`, `email` and `updated_at`.
async fn world(columns: &str) -> World {
    let world = World::small().await;
    world.crm("DROP TABLE contacts").await;
    world.crm(&format!("CREATE TABLE contacts (id TEXT PRIMARY KEY, email TEXT, updated_at TEXT, {columns})")).await;
    world.crm("CREATE INDEX contacts_updated_at ON contacts (updated_at)").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_do_not_fit_are_told_and_stop_nobody() {
    for (mistake, columns, field, words) in [
        ("nothing", "job_title TEXT, points INTEGER", "", &[][..]),
        (
            "a column that is too short",
            "job_title VARCHAR(20), points INTEGER",
            "",
            &["at most 20 characters", "is held"],
        ),
        ("a column of another type", "job_title INTEGER, points INTEGER", "", &["whole numbers only", "`type`"]),
        (
            "a column that is computed",
            "job_title TEXT AS (upper(email)), points INTEGER",
            "",
            &["the crm does not let us write it", "grant the right", "direction = \"to_store\""],
        ),
        (
            "the same, to the store alone",
            "job_title TEXT AS (upper(email)), points INTEGER",
            ", direction = \"to_store\"",
            &[],
        ),
        (
            "a column that holds something always",
            "job_title TEXT, points INTEGER NOT NULL DEFAULT 0",
            "",
            &["cannot hold nothing", "on_clear"],
        ),
    ] {
        let world = world(columns).await;
        world.configure("", field, "");
        let said = world.run("check").await.ended(0);
        assert_eq!(said.stdout.contains("Warning:"), !words.is_empty(), "{mistake}: {said:#?}");
        for word in words {
            assert!(said.stdout.contains(word), "{mistake}: {word:?} is not said: {said:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stops_a_system_is_told_with_its_name_and_ends_with_78() {
    let world = World::small().await;
    let sound = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    for (from, to, words) in [
        ("sqlite:erp.db", "sqlite:epr.db", ["attune: crm erp:", "epr.db", "correct `url`"]),
        ("\"contacts\"", "\"contcats\"", ["attune: crm erp:", "did you mean `contacts`?", "set `table`"]),
        ("\"job_title\"", "\"job_titel\"", ["attune: crm erp:", "did you mean `job_title`?", "the mapping's `crm`"]),
        (
            "attribute:Job title",
            "attribute:Job titel",
            ["attune: store acme:", "nearest is `Job title`", "create_attributes"],
        ),
    ] {
        assert!(sound.contains(from), "{from}");
        std::fs::write(world.path("attune.toml"), sound.replace(from, to)).unwrap();
        world.run("check").await.ended(78).complains(&words);
        let document = world.run("check --json").await.ended(78).json();
        let states: Vec<&str> =
            document["sources"].as_array().unwrap().iter().filter_map(|one| one["state"].as_str()).collect();
        assert_eq!(states.iter().filter(|state| **state == "misconfigured").count(), 1, "{document}");
    }
}
