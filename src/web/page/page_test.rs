//! The page over HTTP, on an office that knows a few things by heart.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::model::{HeldReason, Side, Timestamp, Value};
use crate::web::{Condition, Health, Meters, Server};

const TOKEN: &str = "a token that nobody guesses";

/// A value that would be a script, were it not escaped.
const EVIL: &str = "\"><script>alert('x')</script>&amp;";

const EMAIL: &str = "ada@example.com";

/// An office that says the same every time, and notes what it is asked to do.
#[derive(Clone)]
pub(in crate::web) struct Fixed {
    token: Option<&'static str>,
    acts: Arc<Mutex<Vec<Act>>>,
}

impl Default for Fixed {
    fn default() -> Self {
        Self { token: Some(TOKEN), acts: Arc::default() }
    }
}

fn pair() -> PairStanding {
    let stretches = vec![Stretch { to_store: 3, to_crm: 1, longest_ms: Some(4000) }, Stretch::default()];
    PairStanding {
        store: "acme".to_owned(),
        crm: "erp".to_owned(),
        state: "stopped".to_owned(),
        reason: Some(format!("stopped at a rail {EVIL}")),
        lag_ms: 90_000,
        pending: 2,
        held: 1,
        linked: 12_345,
        last_pass: Some(Timestamp::from_millis(940_000)),
        quota: Some(Quota { left: 120, of: 150 }),
        day: Some(Day { from: Timestamp::EPOCH, stretch_ms: 1_800_000, stretches }),
    }
}

fn held() -> Held {
    Held {
        id: 17,
        store: "acme".to_owned(),
        crm: "erp".to_owned(),
        store_key: Some("41".to_owned()),
        crm_key: Some("c41".to_owned()),
        field: Some(format!("attribute:{EVIL}")),
        reason: HeldReason::FirstMeeting,
        since: Timestamp::EPOCH,
        chosen: None,
        next_step: "choose a side".to_owned(),
        values: Some(HeldValues {
            agreed: None,
            store: Some(Value::text(EVIL)),
            crm: Some(Value::text("Purchaser")),
            detail: None,
        }),
    }
}

#[async_trait]
impl Office for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000)
    }

    fn can_sign_in(&self) -> bool {
        self.token.is_some()
    }

    async fn admin_token(&self) -> Result<SecretString, String> {
        self.token.map(SecretString::from).ok_or_else(|| "it is not there".to_owned())
    }

    async fn overview(&self) -> Result<Overview, Unavailable> {
        let erp = SourceStanding { name: "erp".to_owned(), state: "ok".to_owned(), ..SourceStanding::default() };
        Ok(Overview { pairs: vec![pair()], crms: vec![erp], ..Overview::default() })
    }

    async fn store(&self, name: &str, sight: Sight) -> Result<Option<StoreDetail>, Unavailable> {
        let rail = CrossedRail { rail: "clears".to_owned(), count: 140, limit: 100 };
        let detail = PairDetail { standing: pair(), rails: vec![rail], stopped: 140, ..PairDetail::default() };
        let source = SourceStanding { name: "acme".to_owned(), state: "ok".to_owned(), ..SourceStanding::default() };
        assert!(sight == Sight::Public || sight == Sight::Whole);
        Ok((name == "acme").then(|| StoreDetail {
            source,
            pairs: vec![detail],
            stopped: Some("erp [[\"clears\",140,100]]".to_owned()),
            writes: Vec::new(),
        }))
    }

    async fn crm(&self, name: &str) -> Result<Option<CrmDetail>, Unavailable> {
        let source = SourceStanding { name: "erp".to_owned(), state: "ok".to_owned(), ..SourceStanding::default() };
        Ok((name == "erp").then(|| CrmDetail { source, pairs: vec![pair()] }))
    }

    async fn held(&self, _: &HeldQuery, sight: Sight) -> Result<HeldList, Unavailable> {
        let values = held().values.filter(|_| sight == Sight::Whole);
        let reasons = vec![HeldCount { reason: HeldReason::FirstMeeting, count: 1 }];
        Ok(HeldList {
            rows: vec![Held { values, ..held() }],
            total: 1,
            more: false,
            stores: vec![("acme".to_owned(), 1)],
            reasons,
        })
    }

    async fn records(&self, words: &str) -> Result<Records, Unavailable> {
        if words != EMAIL && words != "41" {
            return Ok(Records::default());
        }
        let field = RecordField {
            name: "attribute:Job title".to_owned(),
            agreed: Some(Some(Value::text(EVIL))),
            store: Some(SeenValue { value: None, modified: None }),
            crm: None,
            next: "nothing".to_owned(),
            held: None,
        };
        let record = Record {
            store: "acme".to_owned(),
            crm: "erp".to_owned(),
            store_key: Some("41".to_owned()),
            crm_key: Some("c41".to_owned()),
            linked: true,
            gone: false,
            why: "linked".to_owned(),
            fields: vec![field],
            writes: Vec::new(),
        };
        Ok(Records { found: vec![record], ..Records::default() })
    }

    async fn act(&self, act: &Act) -> Outcome {
        self.acts.lock().unwrap().push(act.clone());
        Outcome { done: true, message: format!("so it is {EVIL}") }
    }
}

#[async_trait]
impl Health for Fixed {
    fn live(&self) -> Condition {
        Condition { well: true, about: serde_json::Value::Null }
    }

    async fn ready(&self) -> Condition {
        self.live()
    }
}

#[async_trait]
impl Meters for Fixed {
    async fn text(&self) -> String {
        String::new()
    }
}

/// A server with the page.
struct Site {
    address: SocketAddr,
    office: Fixed,
    stop: CancellationToken,
}

/// An answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// What the cookie that it sets holds.
    fn cookie(&self) -> &str {
        self.header("set-cookie").unwrap().split(';').next().unwrap()
    }

    /// The token in its forms.
    fn form_token(&self) -> &str {
        let (_, rest) = self.body.split_once("name=\"form_token\" value=\"").unwrap();
        rest.split('"').next().unwrap()
    }
}

impl Site {
    async fn open(office: Fixed) -> Self {
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, stop) = (server.address(), CancellationToken::new());
        let own = Arc::new(office.clone());
        tokio::spawn(server.serve(Arc::clone(&own) as _, Arc::clone(&own) as _, own, stop.clone()));
        Self { address, office, stop }
    }

    async fn send(&self, text: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A refusal may close the connection before all was sent.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: attune.test\r\ncookie: {cookie}\r\n\r\n")).await
    }

    async fn post(&self, path: &str, cookie: &str, more: &str, form: &str) -> Answer {
        let kind = "content-type: application/x-www-form-urlencoded";
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: attune.test\r\ncookie: {cookie}\r\n{kind}\r\n{more}content-length: {}\r\n\r\n{form}",
            form.len()
        ))
        .await
    }

    /// Signs in: the cookie, and the token that forms must hold.
    async fn sign_in(&self) -> (String, String) {
        let form = format!("token={}&next=/held", TOKEN.replace(' ', "+"));
        let signed = self.post("/sign-in", "", "sec-fetch-site: same-origin\r\n", &form).await;
        assert_eq!((signed.status, signed.header("location")), (303, Some("/held")), "{}", signed.body);
        let cookie = signed.cookie().to_owned();
        let form_token = self.get("/held", &cookie).await.form_token().to_owned();
        (cookie, form_token)
    }

    fn acts(&self) -> Vec<Act> {
        self.office.acts.lock().unwrap().clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const PAGES: [&str; 8] =
    ["/", "/stores/acme", "/crms/erp", "/held", "/record?q=41", "/sign-in", "/no/such/page", "/stores/none"];

#[tokio::test]
async fn every_page_is_strict_and_complete() {
    let site = Site::open(Fixed::default()).await;
    let (cookie, _) = site.sign_in().await;
    for cookie in ["", &cookie] {
        for path in PAGES {
            let page = site.get(path, cookie).await;
            let expected = if path.contains("no") { 404 } else { 200 };
            assert_eq!(page.status, expected, "{path}");
            assert_eq!(page.header("content-security-policy"), Some(POLICY), "{path}");
            assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(page.header("referrer-policy"), Some("no-referrer"), "{path}");
            assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
            let body = &page.body;
            assert!(
                !body.contains("<script") && !body.contains(" style=") && !body.contains("<style"),
                "{path}: {body}"
            );
            let runs = |rest: &str| {
                rest.split_once("=\"").is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_lowercase()))
            };
            let is_run = body.contains("javascript:") || body.split(" on").skip(1).any(runs);
            assert!(!is_run, "an attribute may run: {path}: {body}");
            assert_eq!(body.matches("<h1").count(), 1, "{path}");
            for part in ["<html lang=\"en\">", "<main", "<nav", "<header", "<footer", "name=\"viewport\"", "</html>"] {
                assert!(body.contains(part), "{path} has no {part}");
            }
            assert_eq!(body.matches("<th ").count(), body.matches("<th scope=").count(), "{path}");
            assert_eq!(body.matches("<table").count(), body.matches("<caption>").count(), "{path}");
        }
    }
    let style = site.get("/style.css", "").await;
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert_eq!(site.get("/?refresh=30", "").await.header("refresh"), Some("30"));
    assert_eq!(site.get("/?refresh=1", "").await.header("refresh"), None);
    assert_eq!(site.get("/?refresh=soon", "").await.status, 200);
}

#[tokio::test]
async fn nothing_personal_is_shown_without_a_session() {
    let site = Site::open(Fixed::default()).await;
    for path in PAGES {
        let page = site.get(path, "attune_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").await;
        assert!(!page.body.contains("Purchaser") && !page.body.contains(EMAIL), "{path}");
        assert!(!page.body.contains("form_token"), "{path} offers an act");
    }
    let held = site.get("/held", "").await;
    assert!(held.body.contains("customer 41") && held.body.contains("first meeting"), "{}", held.body);
    let found = site.post("/record", "", "", &format!("q={EMAIL}")).await;
    assert_eq!(found.status, 401);
    assert!(!found.body.contains("customer 41"), "{}", found.body);
    // With a session an e-mail is looked up from the form, and never by the address.
    let (cookie, form_token) = site.sign_in().await;
    let found = site.post("/record", &cookie, "", &format!("q={EMAIL}&form_token={form_token}")).await;
    assert!(found.status == 200 && found.body.contains("customer 41"), "{}", found.body);
    let found = site.get(&format!("/record?q={EMAIL}"), &cookie).await;
    assert!(found.status == 200 && !found.body.contains("customer 41"), "{}", found.body);
    assert!(site.get("/held", &cookie).await.body.contains("Purchaser"));
}

#[tokio::test]
async fn whatever_comes_from_outside_is_escaped() {
    let site = Site::open(Fixed::default()).await;
    let (cookie, form_token) = site.sign_in().await;
    let mut bodies = Vec::new();
    for path in PAGES {
        bodies.push(site.get(path, &cookie).await.body);
    }
    let form = format!("q=%22%3E%3Cscript%3E&form_token={form_token}");
    bodies.push(site.post("/record", &cookie, "", &form).await.body);
    bodies.push(site.get("/sign-in?next=/%22%3E%3Cscript%3E", &cookie).await.body);
    bodies.push(site.get("/held?store=%22%3E%3Cscript%3E&reason=%22%3E%3Cscript%3E", &cookie).await.body);
    bodies.push(site.get("/no\"><script>", &cookie).await.body);
    site.post("/pause", &cookie, "", &format!("name=x&form_token={form_token}")).await;
    bodies.push(site.get("/", &cookie).await.body);
    for body in &bodies {
        assert!(!body.contains("<script"), "{body}");
    }
    let shown = bodies.iter().filter(|body| body.contains("&#60;script&#62;")).count();
    assert!(shown >= 5, "the values are not on the pages at all: {shown}");
}

#[tokio::test]
async fn only_the_token_opens_a_session_and_only_ten_may_be_tried_a_minute() {
    let site = Site::open(Fixed::default()).await;
    let wrong = site.post("/sign-in", "", "", "token=wrong").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (403, None));
    assert!(wrong.body.contains("This is not the token."));
    let elsewhere = site.post("/sign-in", "", "origin: https://evil.example\r\n", "token=wrong").await;
    assert!(elsewhere.status == 403 && elsewhere.body.contains("does not come from this page"));
    assert_eq!(site.post("/sign-in", "", "", "").await.status, 400);

    let form = format!("token={}&next=//evil.example", TOKEN.replace(' ', "+"));
    let signed = site.post("/sign-in", "", "x-forwarded-proto: https\r\n", &form).await;
    assert_eq!((signed.status, signed.header("location")), (303, Some("/")));
    let cookie = signed.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    let cookie = signed.cookie();
    assert!(site.get("/held", cookie).await.body.contains("Purchaser"));
    // Under another name of this machine the session is none.
    let rebound = format!("GET /held HTTP/1.1\r\nhost: evil.example\r\ncookie: {cookie}\r\n\r\n");
    assert!(!site.send(&rebound).await.body.contains("Purchaser"));

    let form_token = site.get("/held", cookie).await.form_token().to_owned();
    let out = site.post("/sign-out", cookie, "", &format!("form_token={form_token}")).await;
    assert_eq!((out.status, out.cookie()), (303, "attune_session="));
    assert!(!site.get("/held", cookie).await.body.contains("Purchaser"));

    for _ in 0..8 {
        assert_eq!(site.post("/sign-in", "", "", "token=wrong").await.status, 403);
    }
    let (limited, right) =
        (site.post("/sign-in", "", "", "token=wrong").await, site.post("/sign-in", "", "", &form).await);
    assert_eq!((limited.status, right.status), (429, 429));
    assert!(limited.body.contains("More than 10 attempts within a minute"));
}

#[tokio::test]
async fn without_a_token_in_the_configuration_nobody_signs_in() {
    let site = Site::open(Fixed { token: None, ..Fixed::default() }).await;
    assert!(site.get("/sign-in", "").await.body.contains("names no <code>server.admin_token</code>"));
    let refused = site.post("/sign-in", "", "", "token=").await;
    assert_eq!((refused.status, refused.header("set-cookie")), (403, None));
    assert!(!site.get("/", "").await.body.contains("/sign-in"));
}

#[tokio::test]
async fn an_act_needs_the_session_its_form_and_our_own_page() {
    let site = Site::open(Fixed::default()).await;
    let (cookie, form_token) = site.sign_in().await;
    let (other, other_token) = site.sign_in().await;
    let good = format!("id=17&choice=take+store&back=/held%23notice&form_token={form_token}");
    let without = "id=17&choice=take+store";
    for (cookie, more, form, status) in [
        ("", "", good.as_str(), 401),
        (&cookie, "", without, 403),
        (&cookie, "", &format!("{without}&form_token={other_token}"), 403),
        (&other, "", &good, 403),
        (&cookie, "sec-fetch-site: cross-site\r\n", &good, 403),
        (&cookie, "origin: https://evil.example\r\n", &good, 403),
        (&cookie, "", &format!("id=x&form_token={form_token}"), 422),
        (&cookie, "", &format!("id=1&choice=all&form_token={form_token}"), 400),
        (&cookie, "", &format!("{good}&more={}", "x".repeat(FORM_BYTES_MAX)), 413),
    ] {
        let refused = site.post("/held", cookie, more, form).await;
        assert_eq!(refused.status, status, "{form}: {}", refused.body);
    }
    // Nothing but a POST changes anything.
    for path in ["/pause", "/resume", "/approve", "/sign-out"] {
        assert_eq!(site.get(&format!("{path}?name=acme&form_token={form_token}"), &cookie).await.status, 405, "{path}");
    }
    assert_eq!(site.acts(), []);

    let done = site.post("/held", &cookie, "sec-fetch-site: same-origin\r\n", &good).await;
    assert_eq!((done.status, done.header("location")), (303, Some("/held#notice")), "{}", done.body);
    assert!(site.get("/held", &cookie).await.body.contains("so it is"), "what came of it is told");
    assert!(!site.get("/held", &cookie).await.body.contains("so it is"), "once");
    for (path, form) in [
        ("/held", "id=18&choice=take+crm"),
        ("/held", "id=19&choice=leave"),
        ("/held", "id=20&choice=look+again"),
        ("/pause", "name=acme"),
        ("/resume", "name=erp"),
        ("/approve", "name=acme&shown=what+is+stopped"),
    ] {
        assert_eq!(site.post(path, &cookie, "", &format!("{form}&form_token={form_token}")).await.status, 303);
    }
    let held = |id, choice| Act::Held { id, choice };
    let expected = [
        held(17, Choice::Take(Side::Store)),
        held(18, Choice::Take(Side::Crm)),
        held(19, Choice::Leave),
        held(20, Choice::LookAgain),
        Act::Pause("acme".to_owned()),
        Act::Resume("erp".to_owned()),
        Act::Approve { store: "acme".to_owned(), shown: "what is stopped".to_owned() },
    ];
    assert_eq!(site.acts(), expected);
}
