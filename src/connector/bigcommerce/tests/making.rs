//! Customers that are found, made and deleted: the very calls, and what is made of answers that go wrong.

use super::*;
use crate::connector::{Created, Lifecycle, Lookup, NewRecord, Removed};

/// Twelve attributes and what a customer needs.
fn fields() -> Vec<String> {
    let attributes = (1..=12).map(|id| format!("attribute:A{id}"));
    attributes
        .chain(["customer:email", "customer:name", "customer:company", "customer:id"].map(str::to_owned))
        .collect()
}

const EMAIL: usize = 12;

async fn store(answer: impl Fn(&Call) -> ResponseTemplate + Send + Sync + 'static) -> (MockServer, BigCommerce) {
    let definitions: Vec<Json> =
        (1..=12).map(|id| json!({"id": id, "name": format!("A{id}"), "type": "string"})).collect();
    let server = server(move |call| {
        if call.line.starts_with("GET /customers/attributes?") {
            good(json!({"data": definitions}))
        } else {
            answer(call)
        }
    })
    .await;
    let fields = fields();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let store = BigCommerce::new(settings(&server.uri(), &fields)).unwrap();
    store.prepare(&[], false).await.unwrap();
    (server, store)
}

fn record(email: &str, name: &str) -> NewRecord {
    let values = vec![(EMAIL, Value::text(email)), (EMAIL + 1, Value::text(name))];
    NewRecord { token: "t".to_owned(), values }
}

fn row(id: u64, email: &str) -> Json {
    json!({"id": id, "email": email, "first_name": "Ann", "last_name": "Lee"})
}

fn made(created: &Created) -> &str {
    match created {
        Created::Made(key) => key.as_str(),
        Created::Exists(Some(_)) => "exists",
        Created::Exists(None) => "exists somewhere",
        Created::Rejected(_) => "rejected",
        Created::BatchRejected(_) => "batch rejected",
        Created::NotSent(_) => "not sent",
        Created::Unknown(_) => "unknown",
    }
}

#[tokio::test]
async fn a_customer_is_made_with_ten_values_and_nobody_is_written_to() {
    let (server, store) = store(|call| match call.line.as_str() {
        "POST /customers" => {
            let sent = &call.body[0];
            assert_eq!(sent["trigger_account_created_notification"], false);
            assert_eq!((&sent["email"], &sent["first_name"]), (&json!("New@Example.com"), &json!("Ann Mary")));
            assert_eq!((&sent["last_name"], &sent["company"]), (&json!("Lee"), &json!("Lee & Co")));
            let values = sent["attributes"].as_array().unwrap();
            assert_eq!(values.len(), 10, "as many as a new customer may bring");
            assert_eq!(values[9], json!({"attribute_id": 10, "attribute_value": "v10"}));
            assert_eq!(sent.as_object().unwrap().len(), 6);
            good(json!({"data": [row(7, "new@example.com")]}))
        }
        other => panic!("{other}"),
    })
    .await;
    let mut record = record("New@Example.com", "Ann Mary Lee");
    record.values.extend((0..12).map(|at| (at, Value::text(format!("v{}", at + 1)))));
    record.values.push((EMAIL + 2, Value::text("Lee & Co")));
    let created = store.create(&[record], NO_RESERVATION).await;
    assert_eq!(created.iter().map(made).collect::<Vec<_>>(), ["7"], "found by its e-mail, in any case of letters");
    assert_eq!(calls(&server).await.iter().filter(|call| call.starts_with("POST")).count(), 1);
    assert!(store.creates_with(0) && store.creates_with(EMAIL) && !store.creates_with(EMAIL + 3));
}

#[tokio::test]
async fn what_cannot_be_a_customer_is_not_sent_and_keeps_nobody() {
    let (_server, store) = store(|call| {
        assert_eq!(call.body.as_array().map(Vec::len), Some(1));
        good(json!({"data": [row(8, "b@example.com")]}))
    })
    .await;
    let nameless = NewRecord { token: "t".to_owned(), values: vec![(EMAIL, Value::text("c@example.com"))] };
    let batch = [record("a@example.com", "Madonna"), record("b@example.com", "Ann Lee"), nameless];
    let created = store.create(&batch, NO_RESERVATION).await;
    assert_eq!(created.iter().map(made).collect::<Vec<_>>(), ["rejected", "8", "rejected"]);
    for created in created {
        if let Created::Rejected(sentence) = created {
            assert!(!sentence.contains("Madonna") && !sentence.contains("example.com"), "{sentence}");
        }
    }
}

#[tokio::test]
async fn a_refused_batch_is_told_apart_by_who_has_the_e_mails() {
    let refusal =
        || ResponseTemplate::new(422).set_body_json(json!({"status": 422, "title": "Create customers failed."}));
    let (server, store) = store(move |call| match call.line.as_str() {
        "POST /customers" => refusal(),
        "GET /customers?limit=250&email:in=a%40example.com,b%40example.com" => {
            good(json!({"data": [row(5, "B@example.com")], "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
        }
        "GET /customers?limit=250&email:in=a%40example.com" => good(json!({"data": []})),
        other => panic!("{other}"),
    })
    .await;
    let batch = [record("a@example.com", "Ann Lee"), record("b@example.com", "Bo Lee")];
    let created = store.create(&batch, NO_RESERVATION).await;
    assert_eq!(created.iter().map(made).collect::<Vec<_>>(), ["batch rejected", "exists"]);
    assert!(matches!(&created[1], Created::Exists(Some(key)) if key.as_str() == "5"));
    let alone = store.create(&batch[..1], NO_RESERVATION).await;
    assert_eq!(alone.iter().map(made).collect::<Vec<_>>(), ["rejected"], "whose fault it is is known");
    assert_eq!(calls(&server).await.iter().filter(|call| call.starts_with("POST")).count(), 2, "nothing is sent again");
}

#[tokio::test]
async fn an_answer_without_the_customer_or_none_at_all_leaves_it_open() {
    for (answer, says) in [
        (good(json!({"data": []})), "unknown"),
        (good(json!({"data": [row(9, "somebody.else@example.com")]})), "unknown"),
        (ResponseTemplate::new(200).set_body_string("<html>"), "unknown"),
        (ResponseTemplate::new(502), "unknown"),
        (ResponseTemplate::new(429), "not sent"),
        (ResponseTemplate::new(403), "not sent"),
    ] {
        let (_server, store) = store(move |_| answer.clone()).await;
        let created = store.create(&[record("a@example.com", "Ann Lee")], NO_RESERVATION).await;
        assert_eq!(created.iter().map(made).collect::<Vec<_>>(), [says], "{created:?}");
    }
}

#[tokio::test]
async fn a_delete_names_its_ids_and_is_believed_when_nobody_is_shown() {
    let (server, store) = store(|call| match call.line.as_str() {
        "DELETE /customers?id:in=5,6" => ResponseTemplate::new(204),
        line if line.starts_with("GET /customers?") => {
            good(json!({"data": [row(6, "b@example.com")], "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
        }
        line if line.starts_with("GET /customers/attribute-values?") => good(json!({"data": []})),
        other => panic!("{other}"),
    })
    .await;
    let removed = store.remove(&[Key::new("5"), Key::new("6")], NO_RESERVATION).await;
    assert!(matches!(removed[..], [Removed::Gone, Removed::Unknown(_)]), "{removed:?}");
    let removed = store.remove(&[Key::new("no id")], NO_RESERVATION).await;
    assert!(matches!(removed[..], [Removed::Gone]), "{removed:?}");
    assert_eq!(calls(&server).await.iter().filter(|call| call.starts_with("DELETE")).count(), 1);
}

#[tokio::test]
async fn customers_are_found_by_e_mail_and_counted() {
    let (_server, store) = store(|call| match call.line.as_str() {
        "GET /customers?limit=1" => good(
            json!({"data": [row(1, "a@example.com")], "meta": {"pagination": {"total": 1234, "total_pages": 1234}}}),
        ),
        "GET /customers?limit=250&email:in=a%2Bb%40example.com" => {
            good(json!({"data": [row(3, "A+B@example.com")], "meta": {"pagination": {"total": 1, "total_pages": 1}}}))
        }
        other => panic!("{other}"),
    })
    .await;
    assert_eq!(store.count(Lane::Sweep).await.unwrap(), 1234);
    let values = ["a+b@example.com".to_owned(), "c,d@example.com".to_owned()];
    assert_eq!(store.keys_with(EMAIL, &values, true, Lane::Fresh).await.unwrap(), [Key::new("3")]);
    assert_eq!(store.keys_with(EMAIL, &values[1..], true, Lane::Fresh).await.unwrap(), []);
    assert!(store.finds_by(EMAIL) && !store.finds_by(0), "not by an attribute");
}
