//! Consent to be sent mail: a refusal wins, nothing is presumed, and nobody loses another consent on the way.

use attune::simulator::settings::{Readings, SubscriberEmails};

use crate::world::{Config, World, text, unlimited};

const NEWS: &str = r#"store = "subscriber:marketing_newsletter", crm = "vip", type = "boolean""#;
const CART: &str = r#"store = "subscriber:abandoned_cart", crm = "grade", type = "boolean""#;

fn email(number: u64) -> String {
    format!("p{number}@example.com")
}

/// What the store says of somebody's newsletter: yes, no, or nothing.
fn news(world: &World, number: u64) -> Option<bool> {
    world.store().consents(&email(number)).map(|consents| consents.contains("marketing_newsletter"))
}

fn set(world: &World, number: u64, consents: Option<&[&str]>) {
    world.store().set_consents(&email(number), consents);
}

const YES: Option<&[&str]> = Some(&["marketing_newsletter", "abandoned_cart"]);
const NO: Option<&[&str]> = Some(&["abandoned_cart"]);

async fn met(readings: Readings) {
    let world = World::with(unlimited(readings)).await;
    let people =
        [(YES, "0"), (NO, "1"), (YES, "NULL"), (None, "1"), (None, "0"), (None, "NULL"), (YES, "1"), (YES, "1")];
    for (store, crm) in people {
        let number = world.person(&[], &[("vip", crm)]).await;
        set(&world, number, store);
    }
    // Somebody wrote their e-mail in capitals when they subscribed.
    let nine = world.person(&[], &[("vip", "1")]).await;
    world.store().set_consents("P9@Example.com", YES);
    world.configure(&Config::new(&[NEWS]));
    world.run("sync").await.ended(1);
    assert_eq!(world.reasons().await, ["first meeting", "first meeting"], "consent fills no blank");
    assert_eq!([1, 2, 5].map(|number| news(&world, number)), [Some(false), Some(false), Some(false)], "a refusal wins");
    assert_eq!(world.cell(2, "vip").await, text("0"));
    assert_eq!((news(&world, 4), world.cell(3, "vip").await), (None, None));
    assert_eq!((news(&world, 6), world.cell(6, "vip").await), (None, None), "nobody was asked");
    assert_eq!(world.cell(nine, "vip").await, text("1"));
    assert_eq!(
        world.store().consents(&email(1)),
        Some(["abandoned_cart".to_owned()].into()),
        "the other consent stays"
    );
    world.run("held resolve --field subscriber:marketing_newsletter --take store --yes").await.ended(0);
    world.run("sync").await.ended(0);
    assert_eq!((world.cell(3, "vip").await, world.cell(4, "vip").await), (text("1"), None), "a person may decide");

    // What somebody says from now on is carried over, whatever it is.
    set(&world, 7, NO);
    set(&world, 2, YES);
    world.edit("vip = 1", "id = 6").await;
    world.edit("vip = 0", "id = 3").await;
    world.run("sync").await.ended(0);
    assert_eq!((world.cell(7, "vip").await, world.cell(2, "vip").await), (text("0"), text("1")));
    assert_eq!((news(&world, 6), news(&world, 3)), (Some(true), Some(false)));
    // Both at once: the refusal wins, though the other is younger.
    world.edit("vip = 0", "id = 6").await;
    set(&world, 6, Some(&[]));
    world.store_edit_consent_later(2, YES).await;
    world.edit("vip = 0", "id = 2").await;
    world.run("sync").await.ended(0);
    assert_eq!((news(&world, 6), world.cell(6, "vip").await), (Some(false), text("0")));
    assert_eq!((news(&world, 2), world.cell(2, "vip").await), (Some(false), text("0")));
    // A subscriber that is gone leaves no trace in the feed.
    set(&world, 8, None);
    world.run("sync").await.ended(0);
    assert_eq!(world.cell(8, "vip").await, text("1"));
    let said = world.run("sync --sweep").await.ended(0);
    assert_eq!(world.cell(8, "vip").await, None, "nothing is not a consent");
    assert!(!said.has_event("drift.found"), "{said:#?}");
    // A contact that is left blank cannot make somebody have never been asked.
    world.edit("vip = NULL", "id = 7").await;
    world.run("sync").await.ended(1);
    assert_eq!(world.reasons().await, ["cannot be taken"]);
    assert_eq!(news(&world, 7), Some(false));
    world.is_quiet(1).await;
}

impl World {
    /// Somebody says so in the store, a minute from now.
    async fn store_edit_consent_later(&self, number: u64, consents: Option<&[&str]>) {
        self.simulator.set_clock_skew_ms(60_000);
        set(self, number, consents);
        self.simulator.set_clock_skew_ms(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_wins_and_nothing_is_presumed() {
    met(Readings::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_emails_are_compared_without_their_case_too() {
    met(Readings { subscriber_emails: SubscriberEmails::Folded, ..Readings::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consents_of_one_subscriber_go_in_one_call() {
    let world = World::of(12).await;
    world.configure(&Config::new(&[NEWS, CART]));
    world.run("sync").await.ended(0);
    world.edit("vip = 1, grade = 'true'", "true").await;
    world.store().reset_report();
    world.run("sync").await.ended(0);
    let report = world.store().report();
    assert_eq!((report.calls_of("POST subscribers"), report.calls_of("PUT subscriber")), (12, 0), "{report:#?}");
    // The feed; three e-mails, and the list, for somebody might be in it in capitals; then the list for every three.
    assert_eq!(report.calls_of("GET subscribers"), 1 + 3 + 1 + 3, "{report:#?}");
    for number in 1..=12 {
        assert_eq!(world.store().consents(&email(number)).unwrap().len(), 2);
    }
    world.edit("vip = 0", "true").await;
    world.store().reset_report();
    world.run("sync").await.ended(0);
    let report = world.store().report();
    assert_eq!((report.calls_of("POST subscribers"), report.calls_of("PUT subscriber")), (0, 12), "{report:#?}");
    assert_eq!(world.store().consents(&email(1)), Some(["abandoned_cart".to_owned()].into()));
    world.store().reset_report();
    world.run("sync").await.ended(0);
    let report = world.store().report();
    // Definitions, customers, subscribers, and whose e-mails those are.
    assert_eq!((report.total, report.violations, report.throttled()), (4, 0, 0), "{report:#?}");
    world.is_quiet(0).await;
}
