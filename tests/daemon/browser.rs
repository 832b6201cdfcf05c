//! The page in a real browser: `tests/page/browser.mjs` signs in, decides, pauses, resumes, approves and looks somebody up
//! with Chromium, checks the order of focus and the accessibility in light and dark, and takes pictures.
//!
//! Where `ATTUNE_TEST_BROWSER` names a folder with the npm packages that it needs; `.ci/run` makes one.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use attune::model::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use tokio::process::Command;

use super::page;
use super::world::{World, email, until};

/// The browser has so long for everything.
const PATIENCE: Duration = Duration::from_secs(240);

/// A day of writes, laid into the checkpoint so that its charts have something to show.
async fn lay_in_a_day(world: &World, now: Timestamp) {
    let options = SqliteConnectOptions::new().filename(world.path("attune.db")).busy_timeout(Duration::from_secs(10));
    let mut checkpoint = options.connect().await.unwrap();
    let pairs = sqlx::query("SELECT id FROM pair ORDER BY id").fetch_all(&mut checkpoint).await.unwrap();
    for (number, pair) in pairs.iter().map(|row| row.get::<i64, _>(0)).enumerate() {
        let number = i64::try_from(number).unwrap();
        for half_hour in 1..48_i64 {
            // Busy by day, and at noon most; another rhythm for each pair.
            let hour = (half_hour / 2 + number * 5) % 24;
            let writes = (12 - (hour - 12).abs()).max(0) + (half_hour * 7 + number) % 5;
            let query = sqlx::query(
                "INSERT INTO history (at, pass, pair, link, mapped, side, record, field, store_key, crm_key, name, old, new,
                     canonical, edited, reason, outcome, open)
                 SELECT ?1 + value * 60000, 1, ?2, 0, 0, CASE value % 3 WHEN 0 THEN 'store' ELSE 'crm' END, 0, 0,
                        1000 + ?3, 1000 + ?3, 'attribute:Job title', '\"Buyer\"', '\"Head of purchasing\"',
                        '\"Head of purchasing\"', ?1 + value * 60000 - 1000 * ((?3 * 13 + value * 3) % 41 + 2), 'changed',
                        'written', 0
                 FROM json_each(?4)",
            );
            let writes: Vec<i64> = (0..writes).collect();
            let writes = serde_json::to_string(&writes).unwrap();
            let begins = now.as_millis() - half_hour * 1_800_000;
            query.bind(begins).bind(pair).bind(half_hour).bind(writes).execute(&mut checkpoint).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_in_a_real_browser() {
    let Some(packages) = std::env::var_os("ATTUNE_TEST_BROWSER") else {
        eprintln!("skipped: ATTUNE_TEST_BROWSER does not name a folder with playwright-core and axe-core");
        return;
    };
    let mut world = page::world(&["acme", "bolt"], 8).await;
    world.store_lines += "rails = { writes = { count = 5, percent = 100 } }\n";
    let titles = ["Buyer", "Head of purchasing", "Owner", "Store manager", "Clerk", "Driver", "Farmer", "Engineer"];
    for (person, title) in (1..).zip(titles) {
        world.edit_customer("acme", person, title);
    }
    for (person, title) in
        [(2, "Purchaser"), (3, "Managing director"), (4, "\"><script>document.title = 'run'</script>")]
    {
        world.edit_contact(person, title).await;
    }
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    until("the first values are filled in", async || world.customer("bolt", 8).as_deref() == Some("Engineer")).await;
    lay_in_a_day(&world, Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())).await;
    for person in 1..=8 {
        world.edit_customer("bolt", person, &format!("Partner {person}"));
    }
    until("bolt stops at its rail", async || {
        let page = reqwest::get(format!("http://{}/stores/bolt", daemon.control.address().unwrap())).await.unwrap();
        page.text().await.unwrap().contains("Stopped at a rail")
    })
    .await;

    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let pictures = root.join("target").join("page");
    std::fs::create_dir_all(&pictures).unwrap();
    let browser = Command::new("node")
        .arg(root.join("tests/page/browser.mjs"))
        .env("ATTUNE_URL", format!("http://{}", daemon.control.address().unwrap()))
        .env("ATTUNE_TOKEN", page::TOKEN)
        .env("ATTUNE_EMAIL", email(2))
        .env("ATTUNE_PACKAGES", packages)
        .env("ATTUNE_PICTURES", pictures)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let said = tokio::time::timeout(PATIENCE, browser).await.expect("the browser takes too long").unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{text}");
    println!("{text}");

    // What was decided there has happened on both sides.
    until("the store's value is in the CRM", async || world.contact(2).await.as_deref() == Some("Head of purchasing"))
        .await;
    until("what was approved is in the CRM", async || world.contact(8).await.as_deref() == Some("Partner 8")).await;
    daemon.stop().await;
}
