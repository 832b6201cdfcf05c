//! Messages to a webhook: one for a change of state, one when it is over, and nobody waits for them.

use std::io::Write;
use std::time::Duration;

use attune::daemon::Reloaded;
use attune::engine::Request;
use serde_json::Value;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::world::{World, until};

/// Stands in for a chat: what it was sent.
struct Receiver(MockServer);

impl Receiver {
    async fn answering(answer: ResponseTemplate) -> Self {
        let server = MockServer::start().await;
        Mock::given(method("POST")).and(path("/hooks/hunter2")).respond_with(answer).mount(&server).await;
        Self(server)
    }

    /// Adds `[alerts]` to the configuration.
    fn is_configured(&self, world: &World, more: &str) {
        let secret = world.path("alerts.url");
        std::fs::write(&secret, format!("{}/hooks/hunter2\n", self.0.uri())).unwrap();
        let mut file = std::fs::OpenOptions::new().append(true).open(world.path("attune.toml")).unwrap();
        write!(file, "[alerts]\nurl = {{ file = {secret:?} }}\nafter = \"0s\"\n{more}").unwrap();
    }

    async fn got(&self) -> Vec<Value> {
        let requests = self.0.received_requests().await.unwrap();
        requests.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    }

    /// What it got, as (status, whom, state); waits for so many.
    async fn told(&self, count: usize) -> Vec<String> {
        until("it is told", async || self.got().await.len() >= count).await;
        let short = |message: &Value| {
            let word = |key: &str| message[key].as_str().unwrap_or("-").to_owned();
            format!("{} {}/{} {}", word("status"), word("store"), word("crm"), word("state"))
        };
        self.got().await.iter().map(short).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_crm_is_one_message_that_names_its_stores_and_one_when_it_is_over() {
    let world = World::new(&["told", "told-too"], 1).await;
    let receiver = Receiver::answering(ResponseTemplate::new(200)).await;
    world.configure("");
    receiver.is_configured(&world, "");
    let daemon = world.run().await;
    daemon.until_ready().await;
    sqlx::query("ALTER TABLE contacts RENAME TO elsewhere").execute(&mut world.crm().await).await.unwrap();
    assert_eq!(receiver.told(1).await, ["began -/erp misconfigured"]);
    let message = &receiver.got().await[0];
    assert_eq!(message["concerns"], serde_json::json!(["told", "told-too"]));
    let text = message["text"].as_str().unwrap();
    assert!(text.starts_with("CRM erp: misconfigured since ") && text.ends_with("Next: attune check"), "{text}");
    assert!(text.contains("Concerns the stores told, told-too"), "{text}");
    // However often it is asked meanwhile.
    for _ in 0..5 {
        assert_eq!(daemon.control.reload().await.unwrap(), Reloaded::Unchanged);
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    sqlx::query("ALTER TABLE elsewhere RENAME TO contacts").execute(&mut world.crm().await).await.unwrap();
    daemon.control.reload().await.unwrap();
    assert_eq!(receiver.told(2).await, ["began -/erp misconfigured", "over -/erp misconfigured"]);

    // A person's pause is a state like any other.
    daemon.ask(&Request::Pause { name: "told".to_owned() }).await;
    assert_eq!(receiver.told(3).await[2..], ["began told/- paused"]);
    assert_eq!(receiver.got().await[2]["command"], "attune resume told");
    daemon.ask(&Request::Resume { name: "told".to_owned() }).await;
    assert_eq!(receiver.told(4).await[3..], ["over told/- paused"]);
    daemon.stop().await;
    assert_eq!(receiver.got().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_held_fields_are_one_message_without_anything_about_a_person() {
    let world = World::new(&["holding"], 8).await;
    let receiver = Receiver::answering(ResponseTemplate::new(200)).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    for person in 1..=8 {
        world.edit_contact(person, &format!("secret-of-{person} {}", "x".repeat(256))).await;
    }
    // It is configured while the daemon runs.
    receiver.is_configured(&world, "format = \"slack\"\n");
    assert_eq!(daemon.control.reload().await.unwrap(), Reloaded::Unchanged);
    until("it is told", async || !receiver.got().await.is_empty()).await;
    let text = receiver.got().await[0]["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("holding with erp: held since ") && text.contains("cannot be taken"), "{text}");
    assert!(text.ends_with("Next: attune held --store holding"), "{text}");
    for person in 1..=8 {
        world.edit_contact(person, "short").await;
    }
    until("it is over", async || receiver.got().await.len() == 2).await;
    let all = format!("{:?}", receiver.got().await);
    assert!(!all.contains("secret-of") && !all.contains('@'), "{all}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_tried_again_and_one_that_hangs_delays_neither_passes_nor_the_end() {
    let world = World::new(&["undelivered"], 1).await;
    let receiver = Receiver::answering(ResponseTemplate::new(500)).await;
    world.configure("");
    receiver.is_configured(&world, "");
    let daemon = world.run().await;
    daemon.until_ready().await;
    world.store("undelivered").set_outage(true);
    until("it is tried", async || !receiver.got().await.is_empty()).await;
    // From now on it takes what it is sent.
    receiver.0.reset().await;
    Mock::given(method("POST")).respond_with(ResponseTemplate::new(200)).mount(&receiver.0).await;
    assert_eq!(receiver.told(1).await, ["began undelivered/- unreachable"]);

    // And now it hangs.
    receiver.0.reset().await;
    let hanging = ResponseTemplate::new(200).set_delay(Duration::from_secs(60));
    Mock::given(method("POST")).respond_with(hanging).mount(&receiver.0).await;
    world.store("undelivered").set_outage(false);
    until("it is asked", async || !receiver.got().await.is_empty()).await;
    world.edit_contact(1, "Buyer").await;
    until("an edit travels", async || world.customer("undelivered", 1).as_deref() == Some("Buyer")).await;
    let (ended, took) = daemon.stop().await;
    assert!(ended.finished && took < Duration::from_secs(3), "{ended:?} after {took:?}");
}
