//! A store that cannot be reached, refuses us, or answers nonsense: what is said, and that nothing is lost.

use std::time::{Duration, Instant};

use crate::world::{Config, TITLE, World, text};

/// Two stores, one edit waiting for each.
async fn two_stores() -> World {
    let world = World::of(1).await;
    world.bolt().add_customer(attune::simulator::NewCustomer::new("p1@example.com", [])).unwrap();
    world.configure(&Config::new(&[TITLE]).more(&world.second_store()));
    world.run("sync").await.ended(0);
    world.edit("title = 'edited'", "true").await;
    world
}

/// The other store got its edit; this one gets it when its trouble is over.
async fn others_go_on_and_it_recovers(world: &World) {
    assert_eq!(world.store().value(1, "Title"), text("edited"), "the other store goes on");
    assert_eq!(world.bolt().value(1, "Title"), None);
    world.bolt().clear_faults();
    world.run("sync").await.ended(0);
    assert_eq!(world.bolt().value(1, "Title"), text("edited"), "nothing is lost");
    assert_eq!(world.status("bolt").await["state"], "ok");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_there_is_75_within_the_patience() {
    let world = two_stores().await;
    // A port that was ours a moment ago: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = Config::new(&[TITLE]).more(&world.second_store());
    let (acme, bolt) =
        world.text(&config).split_once("[store.bolt]").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let bolt = bolt.replace(&world.simulator.address().to_string(), &free.to_string());
    std::fs::write(world.path("attune.toml"), format!("{acme}[store.bolt]{bolt}")).unwrap();
    let began = Instant::now();
    let said = world.run("sync --patience 1s").await.ended(75);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let said = said.complains(&["attune: store bolt:", &free.to_string()]);
    assert_eq!(said.event("source.unreachable")["store"], "bolt");
    assert_eq!(world.status("bolt").await["state"], "unreachable");
    world.configure(&config);
    others_go_on_and_it_recovers(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_77_and_is_not_shown() {
    let world = two_stores().await;
    world.bolt().set_token("another");
    let said = world.run("sync").await.ended(77);
    let said = said.complains(&["attune: store bolt: BigCommerce refuses the access token", "401"]);
    assert!(!format!("{said:?}").contains("token-b"), "the token is shown: {said:#?}");
    let event = said.event("source.unauthorized");
    assert_eq!((&event["store"], &event["status"]), (&"bolt".into(), &401.into()));
    assert!(event["request_id"].is_string(), "{event}");
    world.bolt().set_token("token-b");
    others_go_on_and_it_recovers(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_scope_is_77_and_is_named() {
    use attune::simulator::Scope;
    let world = two_stores().await;
    world.bolt().set_scopes(&[Scope::InformationRead]);
    let said = world.run("sync").await.ended(77);
    said.complains(&["attune: store bolt:", "403", "scope", "Customers"]);
    // It may read, and not write.
    world.bolt().set_scopes(&[Scope::CustomersRead, Scope::InformationRead]);
    let said = world.run("sync").await.ended(77);
    said.complains(&["attune: store bolt:", "403", "scope"]);
    let history = world.history().await;
    assert!(
        history.iter().all(|write| write["outcome"] != "unknown"),
        "a 403 is known not to have happened: {history:?}"
    );
    world.bolt().set_scopes(&[Scope::CustomersModify, Scope::InformationRead]);
    others_go_on_and_it_recovers(&world).await;
}

/// One way of answering nonsense: what is said of it.
async fn nonsense(fault: &str, words: &[&str]) {
    let world = two_stores().await;
    world.bolt().change_behaviour(|behaviour| behaviour.slow.0 = 60_000);
    world.bolt().add_fault(fault.parse().unwrap()).unwrap();
    let began = Instant::now();
    let said = world.run("sync --patience 1s").await.ended(75);
    assert!(began.elapsed() < Duration::from_secs(25), "{fault}: {:?}", began.elapsed());
    let said = said.complains(&["attune: store bolt:"]).complains(words);
    assert!(!format!("{said:?}").contains("token-b"), "{fault}: the token is shown: {said:#?}");
    assert!(!said.stderr.contains("example.com"), "{fault}: {said:#?}");
    others_go_on_and_it_recovers(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn html_instead_of_json() {
    nonsense("html", &["200", "JSON"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_the_wrong_shape() {
    nonsense("wrong-shape", &["200"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_the_wrong_shape_in_a_feed() {
    nonsense("wrong-shape@GET attribute-values", &["200", "attribute-values"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_body() {
    nonsense("truncated@GET", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_a_gibibyte_is_refused_and_not_read() {
    nonsense("huge", &["more than 16777216 bytes", "not read"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_errors_and_resets() {
    nonsense("5xx", &["50"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_never_come() {
    nonsense("slow", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_repeats_for_ever_ends() {
    let world = World::new().await;
    for number in 1..=300 {
        let email = format!("p{number}@example.com");
        world.store().add_customer(attune::simulator::NewCustomer::new(&email, [("Title", "a")])).unwrap();
    }
    world.store().add_fault("repeat-page".parse().unwrap()).unwrap();
    let said = world.run("sync --patience 1s").await;
    assert!(said.code == 75, "{said:#?}");
    said.complains(&["attune: store acme:", "page"]);
    assert!(world.store().report().total < 100, "{:?}", world.store().report().calls);
    world.store().clear_faults();
    world.run("sync").await.ended(0);
    // And in a feed.
    for number in 1..=300 {
        world.store().set_value(number, "Title", "b").unwrap();
    }
    world.contact(1, "'p1@example.com'", &[]).await;
    world.edit("title = NULL", "id = 1").await;
    world.store().reset_report();
    world.store().add_fault("repeat-page@GET attribute-values".parse().unwrap()).unwrap();
    let said = world.run("sync --patience 1s").await;
    assert!(matches!(said.code, 0 | 75), "{said:#?}");
    assert!(world.store().report().total < 100, "{:?}", world.store().report().calls);
    world.store().clear_faults();
    world.run("sync").await.ended(0);
    world.titles(1, "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_that_cannot_be_reached_is_75_and_one_without_its_table_78() {
    let world = World::of(1).await;
    world.run("sync").await.ended(0);
    world.sql("ALTER TABLE contacts RENAME TO people").await;
    world.run("sync").await.ended(78).complains(&["attune: crm erp:", "contacts"]);
    world.sql("ALTER TABLE people RENAME TO contacts").await;
    world.run("sync").await.ended(0);
    let config = world.text(&Config::new(&[TITLE]));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let elsewhere = config.replace("sqlite:erp.db", &format!("postgres://postgres@{free}/test"));
    std::fs::write(
        world.path("attune.toml"),
        elsewhere.replace("crm.erp", "crm.other").replace("\"erp\"", "\"other\""),
    )
    .unwrap();
    let began = Instant::now();
    world.run("sync --patience 1s").await.ended(75).complains(&["attune: crm other:"]);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
