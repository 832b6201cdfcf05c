//! What commands show, as people read it and as scripts do.

use serde_json::{Value as Json, json};

use crate::world::{POINTS, TITLE, World, checkpoint, keys};

macro_rules! shows {
    ($name:literal, $world:expr, $line:expr) => {{
        let said = $world.run($line).await;
        insta::assert_snapshot!($name, said.stable(&$world));
        said
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_pass_there_is_nothing_to_show_and_nothing_is_made() {
    let world = World::new().await;
    shows!("status_before", world, "status").ended(0);
    shows!("explain_before", world, "explain ann@example.com").ended(1);
    world.run("held").await.ended(0);
    world.run("history").await.ended(0);
    assert_eq!(world.run("held --json").await.ended(0).json(), json!([]));
    assert_eq!(world.run("history --json").await.ended(0).json(), json!([]));
    let status = world.run("status --json").await.ended(0).json();
    assert_eq!(status["stores"][0]["state"], "new");
    assert_eq!(status["crms"][0]["state"], "new");
    assert!(!checkpoint(world.folder.path()).exists(), "reading made a checkpoint");
    assert_eq!(world.store().report().total, 0, "reading reached the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reaches_everything_and_changes_nothing() {
    let world = World::new().await;
    shows!("check", world, "check").ended(0);
    shows!("check_offline", world, "check --offline").ended(0);
    let checked = world.run("check --json").await.ended(0).json();
    let states: Vec<&Json> = checked["sources"].as_array().unwrap().iter().map(|source| &source["state"]).collect();
    assert_eq!(states, ["ok", "ok"]);
    assert_eq!(checked["pairs"][0]["fields"][1]["crm_holds"], "whole numbers");
    assert!(!checkpoint(world.folder.path()).exists());
    assert_eq!(world.store_writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_where_no_alert_could_be_sent_and_shows_nothing_of_the_address() {
    let world = World::new().await;
    world.configure("", "", "[alerts]\nurl = { env = \"HOOK\" }");
    let warnings = async |address: &str| {
        let checked = world.run_with("check --json", "HOOK", address).await.ended(0).json();
        let warnings = checked["warnings"].as_array().unwrap().clone();
        warnings.into_iter().filter(|warning| warning.as_str().unwrap().starts_with("alerts.url")).collect::<Vec<_>>()
    };
    assert_eq!(warnings("https://hooks.example.com/services/hunter2").await, [""; 0]);
    let told = warnings("http://hooks.example.com/services/hunter2").await;
    let expected = "alerts.url: the address of the webhook must begin with https://, except on this machine (127.0.0.1); \
                    until then no message is sent";
    assert_eq!(told, [expected]);
    let missing = world.run("check --json").await.ended(0).json();
    assert!(missing["warnings"].to_string().contains("alerts.url: the variable $HOOK is not set"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_everything_and_writes_nothing() {
    let world = World::new().await;
    let first = shows!("plan", world, "plan").ended(0);
    let plan = world.run("plan --json").await.ended(0).json();
    assert_eq!(keys(&plan), ["digest", "stores"]);
    let store = &plan["stores"][0];
    assert_eq!(keys(store), ["calls", "conflicts", "crm", "held", "name", "seconds", "writes"]);
    assert_eq!(
        store["writes"].as_array().unwrap().iter().find(|write| write["side"] == "store").unwrap(),
        &json!({
            "side": "store", "store_key": "2", "crm_key": "c2", "field": TITLE, "old": null, "new": "Boss",
            "reason": "filled",
        })
    );
    assert_eq!(
        store["held"].as_array().unwrap().iter().find(|held| held["field"] == TITLE).unwrap(),
        &json!({
            "store_key": "3", "crm_key": "c3", "field": TITLE, "reason": "first meeting", "store_value": "Clerk",
            "crm_value": "Cook",
        })
    );
    assert_eq!(store["calls"], json!({ "store": { "reads": 1, "writes": 1 }, "crm": { "reads": 1, "writes": 1 } }));
    assert!(store["seconds"].is_number());
    let digest = plan["digest"].as_str().unwrap();
    assert!(first.stdout.contains(digest), "the same plan has the same digest");
    world.run("plan --exit-code").await.ended(1);
    assert_eq!(world.store_writes(), 0);
    assert_eq!(world.title("c1").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_counted_listed_and_written_as_csv() {
    let world = World::new().await;
    shows!("link", world, "link").ended(0);
    shows!("link_csv", world, "link --csv").ended(0);
    let links = world.run("link --json").await.ended(0).json();
    assert_eq!(
        links,
        json!({ "stores": [{
            "name": "acme", "crm": "erp", "linked": 0, "unique": 3, "ambiguous": 3,
            "alone": { "store": { "no_value": 0, "no_partner": 1 }, "crm": { "no_value": 1, "no_partner": 1 } },
        }] })
    );
    world.run("sync").await.ended(1);
    let links = world.run("link --json").await.ended(0).json();
    assert_eq!((&links["stores"][0]["linked"], &links["stores"][0]["unique"]), (&json!(3), &json!(0)));
    assert_eq!(links["stores"][0]["ambiguous"], 3);
    // What is held is in the plan as long as it is, also when nothing has changed since it was found.
    world.run("sync").await.ended(1);
    let plan = world.run("plan --json").await.ended(0).json();
    assert_eq!(plan["stores"][0]["held"].as_array().unwrap().len(), 4, "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_pass_every_command_has_something_to_show() {
    let world = World::new().await;
    shows!("sync", world, "sync").ended(1);
    assert_eq!(world.title("c1").await.as_deref(), Some("Buyer"));
    assert_eq!(world.store().value(2, "Job title").as_deref(), Some("Boss"));
    shows!("status", world, "status").ended(0);
    shows!("held", world, "held").ended(0);
    shows!("history", world, "history").ended(0);
    shows!("explain", world, "explain ann@example.com").ended(0);
    shows!("explain_held", world, "explain c3").ended(0);
    shows!("explain_alone", world, "explain 4").ended(0);
    shows!("explain_ambiguous", world, "explain c6").ended(0);

    let status = world.run("status --json").await.json();
    let store = &status["stores"][0];
    assert_eq!(
        keys(store),
        ["crm", "drift", "held", "lag_ms", "last_pass", "last_sweep", "name", "pending", "quota", "reason", "state"]
    );
    assert_eq!((&store["state"], &store["pending"], &store["lag_ms"]), (&json!("ok"), &json!(0), &json!(0)));
    assert_eq!(store["held"], 4, "{status}");
    assert_eq!(keys(&status["crms"][0]), ["last_read", "name", "quota", "reason", "state"]);
    assert!(store["quota"]["left"].is_number());

    let held = world.run("held --json").await.json();
    let held = held.as_array().unwrap();
    assert_eq!(held.len(), 4);
    for row in held {
        assert_eq!(
            keys(row),
            [
                "agreed",
                "crm",
                "crm_key",
                "crm_value",
                "field",
                "id",
                "next_step",
                "reason",
                "since",
                "store",
                "store_key",
                "store_value"
            ]
        );
        assert!(attune::model::Timestamp::parse(row["since"].as_str().unwrap()).is_some());
    }
    let ambiguous = held.iter().find(|row| row["reason"] == "ambiguous" && row["store_key"] == "5").unwrap();
    assert_eq!((&ambiguous["field"], &ambiguous["crm_key"]), (&Json::Null, &Json::Null));

    let history = world.run("history --json").await.json();
    let history = history.as_array().unwrap();
    assert_eq!(history.len(), 2);
    for write in history {
        assert_eq!(
            keys(write),
            ["at", "crm", "crm_key", "field", "new", "old", "outcome", "pass", "reason", "side", "store", "store_key"]
        );
        assert_eq!((&write["outcome"], &write["reason"]), (&json!("written"), &json!("filled")));
    }
    assert_eq!(world.run("history --json --limit 1").await.json(), json!([history[0]]));
    assert_eq!(world.run("history --json --side store").await.json().as_array().unwrap().len(), 1);
    assert_eq!(world.run(&format!("history --json --field {POINTS}")).await.json(), json!([]));
    assert_eq!(world.run("history --json --until 2000-01-01").await.json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_show_conflicts_with_their_winner_and_lists_are_cut_unless_all_is_asked_for() {
    let world = World::small().await;
    world.configure("", ", conflict = \"crm\"", "");
    world.run("sync").await.ended(0);
    world.edit_title("c1", "Head buyer").await;
    world.store().set_value(1, "Job title", "Chief buyer").unwrap();
    let plan = world.run("plan --json").await.ended(0).json();
    assert_eq!(
        plan["stores"][0]["conflicts"],
        json!([{
            "store_key": "1", "crm_key": "c1", "field": TITLE, "store_value": "Chief buyer", "crm_value": "Head buyer",
            "winner": "crm",
        }])
    );
    assert_eq!(plan["stores"][0]["writes"][0]["reason"], "conflict");
    let said = world.run("plan").await.ended(0);
    assert!(said.stdout.contains("the CRM wins"), "{said:#?}");
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(1, "Job title").as_deref(), Some("Head buyer"));

    let values: Vec<String> = (100..130)
        .map(|id| format!("('n{id}', 'n{id}@example.com', 'Title {id}', NULL, '2026-01-01T00:00:00Z')"))
        .collect();
    world.crm(&format!("INSERT INTO contacts VALUES {}", values.join(", "))).await;
    for id in 100..130 {
        world.store().add_customer(attune::simulator::NewCustomer::new(&format!("n{id}@example.com"), [])).unwrap();
    }
    world.run("sync --sweep").await;
    world
        .crm("UPDATE contacts SET points = 7, updated_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE id LIKE 'n%'")
        .await;
    let cut = world.run("plan").await.ended(0).stdout;
    assert!(cut.contains("… and 10 more: --all shows them"), "{cut}");
    let all = world.run("plan --all").await.ended(0).stdout;
    assert_eq!(all.matches("nothing → \"7\"").count(), 30, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_status_goes_on_until_it_is_told_to_stop() {
    use tokio::io::AsyncReadExt;
    let world = World::small().await;
    let mut watching = world.command("status --watch").spawn().unwrap();
    let mut stdout = watching.stdout.take().unwrap();
    let mut seen = String::new();
    while seen.matches("STORE").count() < 2 {
        let mut piece = [0; 4096];
        let length = stdout.read(&mut piece).await.unwrap();
        assert!(length > 0, "it ended by itself: {seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    crate::world::signal(&watching, "INT").await;
    assert_eq!(watching.wait().await.unwrap().code(), Some(0));
}
