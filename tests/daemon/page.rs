//! The page of a running daemon over HTTP: what it shows to whom, and that its acts reach both sides.

use attune::model::Side;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, StatusCode, redirect};

use super::world::{Running, World, email, events, until};

pub const TOKEN: &str = "the-token-of-the-page";

/// A world whose page one can sign in to.
pub async fn world(names: &[&str], people: u64) -> World {
    let mut world = World::new(names, people).await;
    std::fs::write(world.path("admin.token"), format!("{TOKEN}\n")).unwrap();
    world.server_lines = format!("admin_token = {{ file = {:?} }}\n", world.path("admin.token"));
    world
}

/// Somebody with a browser that keeps one cookie, and follows no redirects by itself.
struct Visitor {
    client: Client,
    url: String,
    cookie: String,
}

impl Visitor {
    fn new(daemon: &Running) -> Self {
        let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap();
        Self { client, url: format!("http://{}", daemon.control.address().unwrap()), cookie: String::new() }
    }

    async fn get(&self, path: &str) -> String {
        let answer = self.client.get(format!("{}{path}", self.url)).header(COOKIE, &self.cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> reqwest::Response {
        let encoded: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", coded(value))).collect();
        self.client
            .post(format!("{}{path}", self.url))
            .header(COOKIE, &self.cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encoded.join("&"))
            .send()
            .await
            .unwrap()
    }

    async fn sign_in(&mut self, token: &str) -> StatusCode {
        let answer = self.post("/sign-in", &[("token", token), ("next", "/held")]).await;
        if let Some(cookie) = answer.headers().get(SET_COOKIE) {
            cookie.to_str().unwrap().split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer.status()
    }

    /// What came of an act, as the page that follows tells it.
    async fn act(&self, path: &str, form: &[(&str, &str)]) -> String {
        let page = self.get("/held").await;
        let token = page.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let form: Vec<_> = form.iter().copied().chain([("form_token", token), ("back", "/held#notice")]).collect();
        let answer = self.post(path, &form).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{}", answer.text().await.unwrap());
        let next = answer.headers()[LOCATION].to_str().unwrap().to_owned();
        let page = self.get(&next).await;
        let notice = page.split("id=\"notice\"").nth(1).expect("what came of it is told");
        notice.split("</strong>").nth(1).unwrap().split("</p>").next().unwrap().trim().to_owned()
    }
}

fn coded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The number of what is held in a page.
fn number_of(page: &str) -> &str {
    page.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_field_is_resolved_from_the_page() {
    let world = world(&["paged"], 2).await;
    world.edit_customer("paged", 1, "Head of <b>buying</b>");
    world.edit_contact(1, "Purchaser").await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    let mut visitor = Visitor::new(&daemon);

    let overview = visitor.get("/").await;
    for words in ["paged", "erp", "1 waiting for a person", ">ok<", "/held?store=paged"] {
        assert!(overview.contains(words), "{words:?} is not in {overview}");
    }
    let held = visitor.get("/held?store=paged&reason=first+meeting").await;
    assert!(held.contains("customer 1") && held.contains("first meeting"), "{held}");
    for page in [&overview, &held, &visitor.get("/stores/paged").await, &visitor.get("/crms/erp").await] {
        assert!(!page.contains("Purchaser") && !page.contains("buying") && !page.contains(&email(1)), "{page}");
    }
    assert!(!visitor.get("/record?q=1").await.contains("Purchaser"));

    assert_eq!(visitor.sign_in("another").await, StatusCode::FORBIDDEN);
    assert_eq!(visitor.sign_in(TOKEN).await, StatusCode::SEE_OTHER);
    let held = visitor.get("/held").await;
    assert!(held.contains("Purchaser") && held.contains("Head of &#60;b&#62;buying&#60;/b&#62;"), "{held}");
    let explained = visitor.get("/record?q=1&store=paged").await;
    assert!(explained.contains("Purchaser") && explained.contains("held: first meeting"), "{explained}");

    let told = visitor.act("/held", &[("id", number_of(&held)), ("choice", "take store")]).await;
    assert_eq!(told, "1 held take the store&#39;s value with the next pass");
    until("the store's value is in the CRM", async || {
        world.contact(1).await.as_deref() == Some("Head of <b>buying</b>")
    })
    .await;
    until("it is held no more", async || visitor.get("/held").await.contains("Nothing waits for a person")).await;
    let told = visitor.act("/held", &[("id", number_of(&held)), ("choice", "leave")]).await;
    assert!(told.starts_with("not held (any more)"), "{told}");
    assert_eq!(events("operator.acted", "paged")[0]["action"], "held resolve");

    // By the e-mail, from the form: the write is in its history.
    let page = visitor.get("/record").await;
    let token = page.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let found = visitor.post("/record", &[("q", &email(1)), ("form_token", token)]).await.text().await.unwrap();
    assert!(found.contains("resolved") && found.contains("Purchaser") && found.contains("customer 1"), "{found}");
    let store = visitor.get("/stores/paged").await;
    assert!(
        store.contains("Last passes that did something") && store.contains("0 to the store and 1 to the CRM"),
        "{store}"
    );
    assert!(store.contains("Last writes") && store.contains("Purchaser"), "{store}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_paused_and_resumed_and_a_token_that_was_changed_counts_at_once() {
    let world = world(&["rested"], 1).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    let mut visitor = Visitor::new(&daemon);
    std::fs::write(world.path("admin.token"), "a new one").unwrap();
    assert_eq!(visitor.sign_in(TOKEN).await, StatusCode::FORBIDDEN);
    assert_eq!(visitor.sign_in("a new one").await, StatusCode::SEE_OTHER);

    let told = visitor.act("/pause", &[("name", "rested")]).await;
    assert!(told.starts_with("rested is paused: nothing is read or written there"), "{told}");
    let store = visitor.get("/stores/rested").await;
    assert!(store.contains("paused") && store.contains("Resume rested"), "{store}");
    world.edit_contact(1, "Buyer").await;
    until("calls have ceased", async || {
        let calls = world.store("rested").report().total;
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        world.store("rested").report().total == calls
    })
    .await;
    assert_eq!(world.customer("rested", 1), None);
    assert_eq!(visitor.act("/resume", &[("name", "rested")]).await, "rested is resumed");
    until("the edit travels", async || world.customer("rested", 1).as_deref() == Some("Buyer")).await;
    let told = visitor.act("/pause", &[("name", "nobody")]).await;
    assert!(told.contains("no store or CRM of this name"), "{told}");
    // A CRM is paused by its name as well.
    assert!(visitor.act("/pause", &[("name", "erp")]).await.starts_with("erp is paused"));
    assert!(visitor.get("/crms/erp").await.contains("Resume erp"));
    let acted: Vec<_> = events("operator.acted", "rested").iter().map(|event| event["action"].clone()).collect();
    assert_eq!(acted, ["pause", "resume"]);
    assert_eq!(daemon.state(Side::Store, "rested").await, "ok");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rail_stopped_is_let_through_if_it_is_what_was_shown() {
    let mut world = world(&["railed"], 4).await;
    world.store_lines += "rails = { writes = { count = 2, percent = 100 } }\n";
    for person in 1..=4 {
        world.edit_customer("railed", person, "Buyer");
    }
    world.configure("");
    let daemon = world.run().await;
    until("the first values are filled in", async || world.contact(4).await.as_deref() == Some("Buyer")).await;
    for person in 1..=4 {
        world.edit_customer("railed", person, "Seller");
    }
    let mut visitor = Visitor::new(&daemon);
    until("it stops at the rail", async || visitor.get("/stores/railed").await.contains("4 writes in 24 hours")).await;
    let page = visitor.get("/stores/railed").await;
    assert!(page.contains("where 2 are allowed") && page.contains("attune approve railed"), "{page}");
    assert!(visitor.get("/").await.contains("railed with erp is stopped"));
    assert_eq!(visitor.sign_in(TOKEN).await, StatusCode::SEE_OTHER);
    until("what it stopped is listed", async || visitor.get("/stores/railed").await.contains("Let 4 changes through"))
        .await;
    let page = visitor.get("/stores/railed").await;
    let shown = page.split("name=\"shown\" value=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#34;", "\"");
    assert_eq!(shown, "erp [[\"writes\",4,2]]");
    let told = visitor.act("/approve", &[("name", "railed"), ("shown", "erp [[\"writes\",3,2]]")]).await;
    assert_eq!(told, "nothing was let through: what is stopped now is not what was shown; look again");
    let told = visitor.act("/approve", &[("name", "railed"), ("shown", &shown)]).await;
    assert!(told.starts_with("4 changes of railed are let through"), "{told}");
    until("they arrive", async || {
        let mut arrived = 0;
        for person in 1..=4 {
            arrived += u64::from(world.contact(person).await.as_deref() == Some("Seller"));
        }
        arrived == 4
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_page_is_read_only_and_its_reading_waits_for_nobody() {
    let world = World::new(&["unsigned"], 2).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    let mut visitor = Visitor::new(&daemon);
    assert!(visitor.get("/").await.contains("Read-only"));
    assert_eq!(visitor.sign_in("").await, StatusCode::FORBIDDEN);
    // Somebody holds the writer for long: the page is read beside it.
    let writing = daemon.checkpoint.begin().await.unwrap();
    let shown = tokio::time::timeout(std::time::Duration::from_secs(5), visitor.get("/stores/unsigned")).await;
    assert!(shown.unwrap().contains("Linked records"));
    writing.end().await.unwrap();
    daemon.stop().await;
}
