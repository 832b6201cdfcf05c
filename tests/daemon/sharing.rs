//! Several stores on one CRM: what one writes reaches the others, and idle stores cost no more than their own polls.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use attune::model::Side;

use super::world::{World, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_in_one_store_reaches_the_other_through_the_shared_contact() {
    let world = World::new(&["east", "west"], 2).await;
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    for (from, to, title) in [("east", "west", "Buyer"), ("west", "east", "Head of buying"), ("east", "west", "None")] {
        world.edit_customer(from, 1, title);
        until("it reaches the other store", async || world.customer(to, 1).as_deref() == Some(title)).await;
        assert_eq!(world.contact(1).await.as_deref(), Some(title));
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_idle_stores_cost_their_own_polls_and_one_read_of_the_crm() {
    let names: Vec<String> = (0..40).map(|store| format!("idle-{store}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(&names, 1).await;
    let poll = Duration::from_secs(2);
    world.store_lines = world.store_lines.replace("200ms", "2s");
    world.crm_lines = world.crm_lines.replace("200ms", "2s");
    world.configure("");
    let daemon = world.run().await;
    daemon.until_ready().await;
    let read_at = async || {
        let mut transaction = daemon.checkpoint.read().await.unwrap();
        let read = transaction.source(Side::Crm, "erp").await.unwrap().and_then(|row| row.read_at);
        transaction.end().await.unwrap();
        read
    };
    // After two more polls, the reads that reach back the whole overlap are behind us.
    let total = || names.iter().map(|name| world.store(name).report().total).sum::<u64>();
    let settled = total();
    until("two polls of everything", async || total() >= settled + 2 * 80).await;

    names.iter().for_each(|name| world.store(name).reset_report());
    let (began, reads) = (Instant::now(), Mutex::new(BTreeSet::new()));
    until("each store was polled four times", async || {
        reads.lock().unwrap().insert(read_at().await);
        names.iter().all(|name| world.store(name).report().calls_of("GET attribute-values") >= 4)
    })
    .await;
    let polls = u64::try_from(began.elapsed().as_millis() / poll.as_millis()).unwrap() + 1;
    for name in &names {
        let report = world.store(name).report();
        // One call a feed: customers, and their values.
        assert_eq!(
            report.calls.keys().map(String::as_str).collect::<Vec<_>>(),
            ["GET attribute-values", "GET customers"]
        );
        assert!(report.total <= 2 * polls, "{name}: {} calls in {polls} polls", report.total);
    }
    let reads = reads.into_inner().unwrap().len() as u64;
    assert!((2..=polls + 1).contains(&reads), "{reads} reads of the CRM in {polls} polls");
    // Their polls are spread over the interval: no moment sees most of them.
    let mut at: Vec<i64> = Vec::new();
    for name in &names {
        let requests = world.store(name).requests();
        at.extend(
            requests.iter().rev().find(|request| request.target.contains("attribute-values")).map(|r| r.at.as_millis()),
        );
    }
    let poll_ms = i64::try_from(poll.as_millis()).unwrap();
    let mut tenths = [0; 10];
    for at in at {
        tenths[usize::try_from(at.rem_euclid(poll_ms) * 10 / poll_ms).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| *count <= 16), "{tenths:?}");
    daemon.stop().await;
}
