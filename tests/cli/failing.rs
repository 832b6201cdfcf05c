//! What goes wrong, what is said of it, and the exit code that it leads to.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::world::{World, checkpoint, finish, signal};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_our_token_keeps_nobody_else() {
    let world = World::small().await;
    world.configure("", "", &world.second_store());
    let said = world.run_with("sync", "BOLT_TOKEN", "stale").await.ended(77);
    let said = said.complains(&["attune: store bolt: BigCommerce refuses the access token"]);
    assert!(said.events.iter().any(|event| event["event"] == "source.unauthorized" && event["store"] == "bolt"));
    assert!(!format!("{said:?}").contains("stale"), "the token is shown");
    assert_eq!(world.title("c1").await.as_deref(), Some("Buyer"));
    let status = world.run("status --json").await.ended(0).json();
    assert_eq!(status["stores"][1]["state"], "unauthorized");
    assert_eq!(status["stores"][0]["state"], "ok");
    world.run_with("plan", "BOLT_TOKEN", "stale").await.ended(77);
    world.run_with("check", "BOLT_TOKEN", "stale").await.ended(77);
    world.run_with("link", "BOLT_TOKEN", "stale").await.ended(77);
    world.run("sync").await.ended(0);
    assert_eq!(world.run("status --json").await.json()["stores"][1]["state"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_not_there_ends_with_75_within_the_patience() {
    let world = World::small().await;
    world.run("sync").await.ended(0);
    world.simulator.refuse_connections(true).await;
    for line in ["sync", "plan", "check", "link"] {
        let began = Instant::now();
        world.run(&format!("{line} --patience 1s")).await.ended(75).complains(&["attune: store acme:"]);
        assert!(began.elapsed() < Duration::from_secs(20), "{line} took {:?}", began.elapsed());
    }
    for line in ["status", "held", "history", "explain c1"] {
        world.run(line).await.ended(0);
    }
    assert_eq!(world.run("status --json").await.json()["stores"][0]["state"], "unreachable");
    world.simulator.refuse_connections(false).await;
    world.run("sync").await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_work_ends_with_78_and_says_why() {
    let world = World::small().await;
    let sound = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    let write = |from: &str, to: &str| {
        assert!(sound.contains(from), "{from}");
        std::fs::write(world.path("attune.toml"), sound.replace(from, to)).unwrap();
    };
    write("job_title", "job_titel");
    for line in ["sync", "plan", "check"] {
        world.run(line).await.ended(78).complains(&["attune: crm erp:", "job_titel"]);
    }
    world.run("check --offline").await.ended(0);
    write("attribute:Points", "attribute:Pionts");
    world.run("sync").await.ended(78).complains(&["attune: store acme:", "Pionts"]);
    write("type = \"number\"", "type = \"date\"");
    world.run("check").await.ended(78).complains(&["attune: store acme:", "Points"]);
    write("{ env = \"ACME_TOKEN\" }", "\"very-secret\"");
    let said = world.run("check --offline").await.ended(78).complains(&["attune: attune.toml:3:", "access_token"]);
    assert!(!format!("{said:?}").contains("very-secret"));
    write("mapping      =", "maping       =");
    let said = world.run("sync").await.ended(78);
    said.complains(&["attune: attune.toml:6:", "mapping"]);
    let problems = world.run("check --json").await.ended(78).json();
    assert!(problems["problems"].as_array().unwrap().iter().any(|problem| problem["line"] == 6), "{problems}");
    write("ACME_TOKEN", "ACME_TOKEN_2");
    world.run("sync").await.ended(78).complains(&["ACME_TOKEN_2"]);
    world.run("status").await.ended(0);
    std::fs::remove_file(world.path("attune.toml")).unwrap();
    world.run("status").await.ended(78);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_missing_is_one_store_s_trouble() {
    let world = World::small().await;
    world.configure("", "", &world.second_store().replace("BOLT_TOKEN", "NOT_SET"));
    world.run("sync").await.ended(78).complains(&["store bolt", "NOT_SET"]);
    assert_eq!(world.title("c1").await.as_deref(), Some("Buyer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_means_another_system_is_refused_until_it_is_forgotten() {
    let world = World::small().await;
    world.run("sync").await.ended(0);
    let text = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    std::fs::write(world.path("attune.toml"), text.replace("abc123", "def456").replace("ACME_", "BOLT_")).unwrap();
    for line in ["sync", "check", "plan"] {
        world.run(line).await.ended(78).complains(&["abc123", "def456", "attune forget acme"]);
    }
    world.run("forget acme").await.ended(0);
    world.run("sync").await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_none_is_left_alone() {
    let world = World::small().await;
    std::fs::write(checkpoint(world.folder.path()), "these are my notes, not a database").unwrap();
    for line in ["sync", "status", "held", "plan", "check"] {
        world.run(line).await.ended(78).complains(&["attune.db", "not a checkpoint of Attune"]);
    }
    let notes = std::fs::read_to_string(checkpoint(world.folder.path())).unwrap();
    assert_eq!(notes, "these are my notes, not a database");
}

/// A file that nobody can make.
const NO_RECORD: &str = "simulate --listen 127.0.0.1:0 --record /nowhere/calls.jsonl";

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_ends_with_2() {
    let world = World::small().await;
    for line in
        ["", "synch", "sync --limit 0", "held retry", "sync --store nobody", "simulate --fault gremlins", NO_RECORD]
    {
        world.run(line).await.ended(2);
    }
    world.run("sync --store acmee").await.ended(2).complains(&["acme"]);
    world.run("--help").await.ended(0);
    world.run("--version").await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_interrupted_ends_in_good_order() {
    let world = World::small().await;
    world.store().change_behaviour(|behaviour| behaviour.latency_ms = 400);
    let child = world.command("sync").spawn().unwrap();
    while world.store().report().total == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    signal(&child, "INT").await;
    finish(child).await.ended(1).complains(&["attune: stopped before it was done; nothing is lost"]);
    assert!(began.elapsed() < Duration::from_secs(10));
    world.store().change_behaviour(|behaviour| behaviour.latency_ms = 0);
    world.run("sync").await.ended(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_defect() {
    let world = World::small().await;
    world.run("sync").await.ended(0);
    for line in ["history", "history --json", "plan --json", "status", "link --csv"] {
        let mut child = world.command(line).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        finish(child).await.ended(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulator_says_where_it_is_and_ends_with_0() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let world = World::small().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (calls, name) in [(1, "INT"), (2, "TERM")] {
        let line = "simulate --listen 127.0.0.1:0 --customers 3 --record calls.jsonl";
        let mut child = world.command(line).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next_line().await.unwrap().unwrap();
        assert!(address.starts_with("http://127.0.0.1:"), "{address}");
        let asked = client.get(format!("{address}/stores/abc123/v2/time")).header("X-Auth-Token", "token");
        assert_eq!(asked.send().await.unwrap().status(), 200);
        signal(&child, name).await;
        finish(child).await.ended(0);
        let record = std::fs::read_to_string(world.path("calls.jsonl")).unwrap();
        let recorded = record.lines().filter(|line| line.contains(r#""path":"/v2/time","query":null,"status":200"#));
        assert_eq!(recorded.count(), calls, "{record}");
    }
    let taken = format!("simulate --listen {}", world.simulator.address());
    world.run(&taken).await.ended(75).complains(&["cannot listen on"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn html_instead_of_json_is_the_system_s_trouble() {
    let world = World::small().await;
    world.store().add_fault("html".parse().unwrap()).unwrap();
    world.run("sync --patience 1s").await.ended(75).complains(&["store acme"]);
    world.store().clear_faults();
    world.store().set_scopes(&[]);
    world.run("sync").await.ended(77).complains(&["scope"]);
    let status = world.run("status --json").await.ended(0).json();
    assert_eq!(status["stores"][0]["state"], json!("unauthorized"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_read_whole_is_no_success() {
    let world = World::small().await;
    let store = MockServer::start().await;
    let answers = |at: &str, rows: serde_json::Value, total: u64| {
        let pagination = json!({ "total": total, "total_pages": 1 });
        let body = json!({ "data": rows, "meta": { "pagination": pagination } });
        let date = "Tue, 15 Nov 2022 08:12:31 GMT";
        let answer = ResponseTemplate::new(200).insert_header("date", date).set_body_json(body);
        Mock::given(path(format!("/stores/abc123/v3{at}"))).respond_with(answer)
    };
    let attributes =
        json!([{ "id": 7, "name": "Job title", "type": "string" }, { "id": 8, "name": "Points", "type": "number" }]);
    answers("/customers/attributes", attributes, 2).mount(&store).await;
    // A row that slips off its page every time: the first page promises more than is ever shown.
    let nothing = json!({ "data": [], "meta": { "pagination": { "total": 1, "total_pages": 1 } } });
    let nothing =
        ResponseTemplate::new(200).insert_header("date", "Tue, 15 Nov 2022 08:12:31 GMT").set_body_json(nothing);
    let second_page = Mock::given(path("/stores/abc123/v3/customers")).and(query_param("page", "2"));
    second_page.respond_with(nothing).mount(&store).await;
    let customer = json!([{ "id": 1, "email": "ann@example.com", "attribute_count": 0, "attributes": [] }]);
    answers("/customers", customer, 2).mount(&store).await;
    let sound = std::fs::read_to_string(world.path("attune.toml")).unwrap();
    std::fs::write(world.path("attune.toml"), sound.replace(world.simulator.url(), &store.uri())).unwrap();
    for line in ["sync", "sync --sweep", "plan", "link"] {
        let said = world.run(line).await.ended(75);
        said.complains(&["attune: store acme: it changed every time while it was read"]);
    }
}
