//! Fields of the record that a contact points to: the account's wholesaler ID in its contacts' customers.

use crate::world::{Config, World, text, writes};

const WHOLESALER_ID: &str = r#"store = "attribute:Code", crm = "account.wholesaler_id", direction = "to_store""#;

/// `people` customers, all of whose contacts are of account 1 but the last, who is of account 2.
async fn world(people: u64) -> World {
    let world = World::of(people).await;
    let accounts = "CREATE TABLE accounts (id INTEGER PRIMARY KEY, wholesaler_id TEXT, changed_at TEXT)";
    world.sql(accounts).await;
    world.sql("CREATE INDEX accounts_changed_at ON accounts (changed_at)").await;
    world.sql("ALTER TABLE contacts ADD COLUMN account_id INTEGER").await;
    world.sql("CREATE INDEX contacts_account_id ON contacts (account_id)").await;
    world
        .sql("INSERT INTO accounts VALUES (1, 'W-1', '2026-01-01T00:00:00Z'), (2, 'W-2', '2026-01-01T00:00:00Z')")
        .await;
    world.sql("UPDATE contacts SET account_id = 1").await;
    world.sql(&format!("UPDATE contacts SET account_id = 2 WHERE id = {people}")).await;
    let mut config = Config::new(&[r#"store = "attribute:Title", crm = "title""#, WHOLESALER_ID]);
    config.more = "[crm.erp.relation.account]\ntable = \"accounts\"\nfrom = \"account_id\"\nkey = \"id\"\n\
                   modified = \"changed_at\"\n"
        .to_owned();
    world.configure(&config);
    world
}

async fn edit_account(world: &World, id: u64, value: &str) {
    let sql = "UPDATE accounts SET wholesaler_id = '{value}', changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE id = {id}";
    world.sql(&sql.replace("{value}", value).replace("{id}", &id.to_string())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_an_account_reaches_its_twelve_customers_in_two_upserts() {
    let world = world(13).await;
    world.run("check").await.ended(0);
    world.run("sync").await.ended(0);
    for id in 1..=12 {
        assert_eq!(world.store().value(id, "Code"), text("W-1"));
    }
    assert_eq!(world.store().value(13, "Code"), text("W-2"));
    let before = writes(&world.store());
    edit_account(&world, 1, "W-1b").await;
    world.run("sync").await.ended(0);
    for id in 1..=12 {
        assert_eq!(world.store().value(id, "Code"), text("W-1b"), "{id}");
    }
    assert_eq!(writes(&world.store()) - before, 2);
    assert_eq!(world.store().value(13, "Code"), text("W-2"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_that_move_and_accounts_that_go_are_carried_over() {
    let world = world(4).await;
    world.run("sync").await.ended(0);
    // A contact moves to another account, whose own row is older than what was seen before.
    edit_account(&world, 1, "W-1b").await;
    world.run("sync").await.ended(0);
    world.edit("account_id = 2", "id = 1").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(1, "Code"), text("W-2"));
    world.edit("account_id = NULL", "id = 2").await;
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(2, "Code"), None);
    // Nothing dates what is gone: a sweep finds it, and it is no change that the feed had missed.
    world.sql("DELETE FROM accounts WHERE id = 1").await;
    let said = world.run("sync --sweep").await.ended(0);
    assert!(!said.has_event("drift.found"), "{said:#?}");
    assert_eq!(world.store().value(3, "Code"), None);
    // One way: what somebody types in the store is put back.
    world.store().set_value(4, "Code", "mine").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(4, "Code"), text("W-2"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_be_read_clears_nothing() {
    let world = world(2).await;
    world.run("sync").await.ended(0);
    world.sql("ALTER TABLE accounts RENAME TO accounts_of_others").await;
    world.store().set_value(1, "Title", "edited").unwrap();
    let said = world.run("sync --sweep").await;
    assert_eq!(world.store().value(1, "Code"), text("W-1"), "{said:#?}");
    assert_eq!(world.store().value(2, "Code"), text("W-2"));
    world.sql("ALTER TABLE accounts_of_others RENAME TO accounts").await;
    edit_account(&world, 1, "W-1b").await;
    world.settle().await;
    assert_eq!(world.store().value(1, "Code"), text("W-1b"));
}
