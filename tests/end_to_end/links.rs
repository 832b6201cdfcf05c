//! Who is whom: links that stay, end, wait, and are made by hand.

use attune::simulator::{CustomerEdit, NewCustomer};

use crate::world::{Config, TITLE, World, text};

/// Gives a customer another e-mail.
fn rename(world: &World, id: u64, email: &str) {
    let edit = CustomerEdit { email: Some(email.to_owned()), ..CustomerEdit::default() };
    world.store().edit_customer(id, edit).unwrap();
}

/// How many records are linked.
async fn linked(world: &World) -> u64 {
    world.run("link --json").await.ended(0).json()["stores"][0]["linked"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_that_is_deleted_is_unlinked_and_its_contact_left_alone() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.person(&[("Title", "b")], &[]).await;
    world.run("sync").await.ended(0);
    world.store().delete_customer(1).unwrap();
    world.sql("DELETE FROM contacts WHERE id = 2").await;
    let said = world.run("sync --sweep").await.ended(0);
    assert!(said.has_event("record.deleted"), "{said:#?}");
    assert_eq!(linked(&world).await, 0);
    assert_eq!(world.cell(1, "title").await, text("a"), "its values are no clears");
    assert_eq!(world.store().value(2, "Title"), text("b"));
    // Made again they are somebody new, who meets for the first time.
    world.store().add_customer(NewCustomer::new("p1@example.com", [])).unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(world.store().value(3, "Title"), text("a"));
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_outlives_its_e_mails() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.person(&[("Title", "b")], &[]).await;
    world.run("sync").await.ended(0);
    // They swap their e-mails; the contacts stay as they are.
    rename(&world, 1, "nobody@example.com");
    rename(&world, 2, "p1@example.com");
    world.store().set_value(1, "Title", "a, edited").unwrap();
    world.edit("title = 'b, edited'", "id = 2").await;
    world.run("sync").await.ended(0);
    world.titles(1, "a, edited").await;
    world.titles(2, "b, edited").await;
    world.edit("email = NULL", "true").await;
    world.run("sync --sweep").await.ended(0);
    assert_eq!(linked(&world).await, 2);
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e_mails_that_are_empty_match_nobody_and_case_and_blanks_do_not_count() {
    let world = World::new().await;
    world.store().add_customer(NewCustomer::new("", [("Title", "nobody")])).unwrap();
    world.store().add_customer(NewCustomer::new("Mixed.Case@Example.com", [("Title", "a")])).unwrap();
    world.contact(1, "''", &[]).await;
    world.contact(2, "NULL", &[]).await;
    world.contact(3, "'   '", &[]).await;
    world.contact(4, "'  mixed.case@EXAMPLE.com '", &[]).await;
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(4, "title").await, text("a"));
    for id in 1..=3 {
        assert_eq!(world.cell(id, "title").await, None);
    }
    let links = world.run("link --json").await.ended(0).json();
    let links = &links["stores"][0];
    assert_eq!((&links["linked"], &links["ambiguous"]), (&1.into(), &0.into()), "{links}");
    assert_eq!(links["alone"]["store"]["no_value"], 1, "{links}");
    assert_eq!(links["alone"]["crm"]["no_value"], 3, "{links}");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicated_e_mail_on_either_side_waits_until_it_is_one() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.person(&[("Title", "b")], &[]).await;
    world.contact(11, "'P1@example.com'", &[("title", "'twin'")]).await;
    world.store().add_customer(NewCustomer::new("p2@example.com", [("Title", "twin")])).unwrap();
    let said = world.run("sync").await.ended(1);
    assert!(said.has_event("record.held"), "{said:#?}");
    let held = world.held().await;
    assert_eq!(held.len(), 6, "{held:?}");
    assert!(held.iter().all(|held| held["reason"] == "ambiguous" && held["field"].is_null()));
    let explained = world.run("explain 11").await.ended(0);
    assert!(explained.stdout.contains("ambiguous"), "{explained:#?}");
    assert_eq!(world.store_writes(), 0);
    assert_eq!(world.cell(1, "title").await, None);
    // The contact goes; the second customer takes another e-mail.
    world.sql("DELETE FROM contacts WHERE id = 11").await;
    rename(&world, 3, "else@example.com");
    world.run("sync --sweep").await.ended(0);
    assert_eq!(world.cell(1, "title").await, text("a"));
    assert_eq!(world.cell(2, "title").await, text("b"));
    assert_eq!(world.held().await.len(), 0);
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_gone_and_is_there_again_is_linked_again_by_key() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.person(&[("Title", "b")], &[]).await;
    world.sql("ALTER TABLE contacts ADD COLUMN deleted_at TEXT").await;
    world.configure(&Config::new(&[TITLE]).crm("deleted = \"deleted_at\""));
    world.run("sync").await.ended(0);
    // A contact is archived, and everything that it matched by changes meanwhile: its e-mail is another customer's now.
    world.edit("deleted_at = '2026-01-01T00:00:00Z'", "id = 1").await;
    world.run("sync --sweep").await.ended(0);
    assert_eq!(linked(&world).await, 1);
    world.store().add_customer(NewCustomer::new("other@example.com", [("Title", "c")])).unwrap();
    world.store().set_value(1, "Title", "a, edited").unwrap();
    world.run("sync").await.ended(0);
    world.edit("deleted_at = NULL, email = 'other@example.com'", "id = 1").await;
    let links = world.run("link --csv").await.ended(0);
    assert!(links.stdout.contains("acme,erp,1,1,unique,key"), "{}", links.stdout);
    assert_eq!(world.run("plan --json").await.json()["stores"][0]["held"][0]["reason"], "first meeting");
    let said = world.run("sync").await;
    let created = said.event("link.created");
    assert_eq!((&created["store_key"], &created["crm_key"], &created["by"]), (&"1".into(), &"1".into(), &"key".into()));
    // They differ, and what was agreed is forgotten.
    assert_eq!(world.reasons().await, ["first meeting"]);
    world.run("held resolve --take store --store acme --yes").await.ended(0);
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(1, "title").await, text("a, edited"));
    assert_eq!(linked(&world).await, 2, "the third customer is alone");
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_another_partner_meanwhile_does_not_go_back() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.sql("ALTER TABLE contacts ADD COLUMN deleted_at TEXT").await;
    world.configure(&Config::new(&[TITLE]).crm("deleted = \"deleted_at\""));
    world.run("sync").await.ended(0);
    world.edit("deleted_at = '2026-01-01T00:00:00Z'", "id = 1").await;
    world.run("sync --sweep").await.ended(0);
    world.contact(2, "'p1@example.com'", &[]).await;
    world.run("sync --sweep").await.ended(0);
    assert_eq!(world.cell(2, "title").await, text("a"));
    world.edit("deleted_at = NULL, title = 'stays'", "id = 1").await;
    world.run("sync --sweep").await.ended(0);
    world.store().set_value(1, "Title", "b").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!((world.cell(1, "title").await, world.cell(2, "title").await), (text("stays"), text("b")));
    // And when both contacts are there and the second goes, the first is found by what it matches by.
    world.sql("DELETE FROM contacts WHERE id = 2").await;
    world.run("sync --sweep").await;
    assert_eq!(linked(&world).await, 1);
    // A person parts them: nothing links them again.
    world.run("link remove acme 1").await.ended(0);
    world.edit("deleted_at = '2026-01-01T00:00:00Z'", "id = 1").await;
    world.run("sync --sweep").await.ended(0);
    world.edit("deleted_at = NULL", "id = 1").await;
    world.run("sync --sweep").await.ended(0);
    assert_eq!(linked(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_only_is_unlinked_without_a_write() {
    let world = World::new().await;
    for _ in 0..2 {
        world.person(&[("Title", "a")], &[("title", "'a'"), ("kind", "'contact'")]).await;
    }
    world.configure(&Config::new(&[TITLE]).mapping("only = { crm = { kind = [\"contact\"] } }"));
    world.run("sync").await.ended(0);
    assert_eq!(linked(&world).await, 2);
    world.edit("kind = 'supplier', title = NULL", "id = 1").await;
    world.store().set_value(1, "Title", "edited").unwrap();
    world.run("sync").await.ended(0);
    assert_eq!(linked(&world).await, 1);
    assert_eq!(world.both(1, "Title", "title").await, (text("edited"), None));
    assert_eq!(world.history().await.len(), 0);
    // Back again, they meet for the first time.
    world.edit("kind = 'contact'", "id = 1").await;
    world.run("sync").await.ended(0);
    world.titles(1, "edited").await;
    world.is_quiet(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_made_and_parted_by_hand_are_remembered() {
    let world = World::new().await;
    world.person(&[("Title", "a")], &[]).await;
    world.person(&[("Title", "b")], &[]).await;
    world.run("sync").await.ended(0);
    world.run("link remove acme 1").await.ended(0);
    world.run("link remove acme 2").await.ended(0);
    world.run("link add acme 1 2").await.ended(0);
    // Two values that never agreed: nobody knows which is right.
    world.run("sync --sweep").await.ended(1);
    assert_eq!(world.reasons().await, ["first meeting"]);
    world.run("held resolve --take store --store acme --yes").await.ended(0);
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(2, "title").await, text("a"));
    world.edit("title = 'c'", "id = 2").await;
    world.edit("title = 'of nobody'", "id = 1").await;
    world.run("sync --sweep").await.ended(0);
    assert_eq!(world.store().value(1, "Title"), text("c"));
    assert_eq!(world.store().value(2, "Title"), text("b"), "customer 2 and contact 2 are parted for good");
    assert_eq!(linked(&world).await, 1);
    world.is_quiet(0).await;
}
