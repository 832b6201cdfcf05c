//! The customer's own fields, groups and form fields.

use super::*;

const OWN: &[&str] = &[
    "customer:company",
    "customer:name",
    "customer:group",
    "form_field:Size",
    "customer:email",
    "customer:store_credit",
];

fn groups(from: u64, count: u64) -> Json {
    (from..from + count).map(|id| json!({"id": id, "name": format!("Group {id}"), "discount_rules": []})).collect()
}

fn customer(id: u64, company: &str, group: u64) -> Json {
    json!({"id": id, "company": company, "first_name": "Ann", "last_name": "Lee", "email": "a@example.com",
        "customer_group_id": group, "date_modified": "2026-01-02T03:04:05Z"})
}

/// Prepared with these fields, on a server that has two groups and one holder of the form field.
async fn with_own(
    fields: &[&str],
    adjust: impl FnOnce(&mut Settings),
    answer: impl Fn(&Call) -> ResponseTemplate + Send + Sync + 'static,
) -> (MockServer, BigCommerce) {
    let server = server(move |call| match call.line.split('?').next().unwrap_or_default() {
        "GET /customers/attributes" => good(definitions()),
        _ if call.line == "GET /v2/customer_groups?limit=250&page=1" => good(groups(1, 2)),
        _ if call.line.starts_with("GET /customers/form-field-values") => {
            good(json!({"data": [{"customer_id": 9, "name": "Size", "value": "M"}]}))
        }
        _ => answer(call),
    })
    .await;
    let mut settings = settings(&server.uri(), fields);
    adjust(&mut settings);
    let store = BigCommerce::new(settings).unwrap();
    store.prepare(&[], false).await.unwrap();
    (server, store)
}

fn to_group(customer: u64, field: usize, name: Option<&str>) -> Write {
    write(customer, field, name, None)
}

#[tokio::test]
async fn what_is_mapped_is_included_and_nothing_else() {
    for (fields, asked) in [
        (&["customer:company"][..], "GET /customers?limit=250"),
        (&["customer:store_credit"], "GET /customers?limit=250&include=storecredit"),
        (&["form_field:Size", "customer:group"], "GET /customers?limit=250&include=formfields"),
        (OWN, "GET /customers?limit=250&include=formfields,storecredit"),
        (&["attribute:Job title", "form_field:Size"], "GET /customers?limit=250&include=attributes,formfields"),
    ] {
        let (server, store) = with_own(fields, |_| {}, |_| good(json!({"data": []}))).await;
        let _: Vec<_> = store.everything().collect().await;
        assert_eq!(calls(&server).await.last().unwrap(), asked);
        let feeds = if fields[0].starts_with("attribute:") { 2 } else { 1 };
        assert_eq!(store.feeds().len(), feeds);
    }
}

#[tokio::test]
async fn a_customer_shows_its_own_fields_by_their_types() {
    let (server, store) = with_own(
        OWN,
        |_| {},
        |call| match call.line.as_str() {
            "GET /customers?limit=250&include=formfields,storecredit" => {
                let mut rows = [customer(1, "", 2), customer(2, "Acme", 7), customer(3, "Bolt", 0)];
                rows[0]["form_fields"] = json!([{"name": "Size", "value": "L", "customer_id": 1}]);
                rows[0]["store_credit_amounts"] = json!([{"amount": 12.50}]);
                rows[1]["form_fields"] = json!([]);
                rows[1]["store_credit_amounts"] = json!([{"amount": "3.0000"}]);
                good(json!({"data": rows}))
            }
            other => panic!("{other}"),
        },
    )
    .await;
    let pages: Vec<Page> = store.everything().map(Result::unwrap).collect().await;
    let rows: Vec<Vec<&str>> = pages[0].observed.iter().map(|record| record.cells.iter().map(text).collect()).collect();
    assert_eq!(rows[0], ["absent", "Ann Lee", "Group 2", "L", "a@example.com", "12.5"]);
    assert_eq!(rows[1], ["Acme", "Ann Lee", "unseen", "absent", "a@example.com", "3.0000"], "nobody knows group 7");
    assert_eq!(rows[2][2..4], ["absent", "unseen"], "no group; form fields that are not shown are not absent");
    let token = pages[0].observed[0].cells[3].token.clone();
    assert_eq!(token.as_deref(), Some(r#"[{"name":"Size","value":"L"}]"#), "what a write must send again");
    let listings = calls(&server).await.iter().filter(|call| call.starts_with("GET /v2/customer_groups")).count();
    assert_eq!(listings, 2, "when prepared, and for the group that was not among them");
}

#[tokio::test]
async fn groups_are_listed_to_the_last_page() {
    let server = server(|call| match call.line.as_str() {
        "GET /customers/attributes?limit=250" => good(definitions()),
        "GET /v2/customer_groups?limit=250&page=1" => good(groups(1, 250)),
        "GET /v2/customer_groups?limit=250&page=2" => good(groups(251, 250)),
        // An empty list has no body.
        "GET /v2/customer_groups?limit=250&page=3" => ResponseTemplate::new(204),
        "PUT /customers" => {
            assert_eq!(call.body, json!([{"id": 1, "customer_group_id": 500}]));
            good(json!({"data": [customer(1, "", 500)]}))
        }
        other => panic!("{other}"),
    })
    .await;
    let store = BigCommerce::new(settings(&server.uri(), &["customer:group"])).unwrap();
    store.prepare(&[], false).await.unwrap();
    let outcomes = store.write(&[to_group(1, 0, Some("Group 500"))], NO_RESERVATION).await;
    assert!(matches!(&outcomes[0], Outcome::Written { stored } if text(stored) == "Group 500"), "{outcomes:?}");
}

#[tokio::test]
async fn the_fields_of_a_customer_go_in_one_row_and_rows_are_found_by_id() {
    let (server, store) = with_own(
        OWN,
        |_| {},
        |call| {
            assert_eq!(call.line, "PUT /customers");
            assert_eq!(
                call.body,
                json!([
                    {"id": 1, "company": "Acme", "first_name": "Ann", "last_name": "Lee", "customer_group_id": 2},
                    {"id": 2, "company": ""},
                    {"id": 3, "customer_group_id": 0},
                ])
            );
            // Out of order, one of them missing, one not as it was sent.
            good(json!({"data": [customer(2, "kept", 1), customer(1, "Acme", 2)]}))
        },
    )
    .await;
    let batch = [
        write(1, 0, Some("Acme"), None),
        write(1, 1, Some("Ann Lee"), None),
        to_group(1, 2, Some("Group 2")),
        write(2, 0, None, None),
        to_group(3, 2, None),
        write(4, 1, Some("Madonna"), None),
    ];
    let outcomes = store.write(&batch, NO_RESERVATION).await;
    assert_eq!(said(&outcomes), ["written", "written", "written", "written", "unknown", "rejected"]);
    let Outcome::Written { stored } = &outcomes[3] else { panic!() };
    assert_eq!(text(stored), "kept", "what the answer shows is what is stored");
    let Outcome::Rejected(why) = &outcomes[5] else { panic!() };
    assert!(why.contains("first and a last name") && !why.contains("Madonna"), "{why}");
    assert_eq!(calls(&server).await.iter().filter(|call| call.starts_with("PUT")).count(), 1);
}

#[tokio::test]
async fn a_refused_row_says_what_else_may_be_the_matter() {
    let (_server, store) = with_own(
        OWN,
        |settings| settings.fields[4].options.allow_side_effects = true,
        |_| ResponseTemplate::new(422).set_body_json(json!({"title": "x", "errors": {}})),
    )
    .await;
    let size = write(1, 3, Some("L"), Some("[]"));
    for (write, says) in
        [(write(1, 4, Some("b@example.com"), None), "another customer may have it"), (size, "required")]
    {
        let outcomes = store.write(&[write], NO_RESERVATION).await;
        let Outcome::Rejected(why) = &outcomes[0] else { panic!("{outcomes:?}") };
        assert!(why.contains("status 422") && why.contains(says) && !why.contains("example.com"), "{why}");
    }
    let both = [write(1, 0, Some("x"), None), write(2, 4, Some("b@example.com"), None)];
    assert_eq!(said(&store.write(&both, NO_RESERVATION).await), ["batch rejected", "batch rejected"]);
}

#[tokio::test]
async fn all_form_fields_are_sent_and_read_back_where_the_answer_does_not_show_them() {
    let shown = Arc::new(Mutex::new("L"));
    let (server, store) = with_own(OWN, |_| {}, {
        let shown = Arc::clone(&shown);
        move |call| match call.line.as_str() {
            "PUT /customers" => {
                let all = json!([{"name": "Other", "value": 3}, {"name": "Size", "value": "L"}]);
                assert_eq!(call.body, json!([{"id": 1, "form_fields": all}]));
                good(json!({"data": [customer(1, "", 0)]}))
            }
            "GET /customers?limit=250&include=formfields&id:in=1" => {
                let mut row = customer(1, "", 0);
                row["form_fields"] = json!([{"name": "Size", "value": *shown.lock().unwrap()}]);
                good(json!({"data": [row]}))
            }
            other => panic!("{other}"),
        }
    })
    .await;
    let token = r#"[{"name":"Other","value":3},{"name":"Size","value":"M"}]"#;
    let mut size = write(1, 3, Some("L"), Some(token));
    size.expect.seen = Seen::Value(Value::text("M"));
    // What was sent; what it became; what was there before, because a copy lags.
    for (now, outcome) in [("L", "written"), ("l", "written"), ("M", "unknown")] {
        *shown.lock().unwrap() = now;
        assert_eq!(said(&store.write(std::slice::from_ref(&size), NO_RESERVATION).await), [outcome], "{now}");
    }
    size.expect.token = None;
    let before = calls(&server).await.len();
    assert_eq!(
        said(&store.write(&[size], NO_RESERVATION).await),
        ["not sent"],
        "it would replace what nobody has read"
    );
    assert_eq!(calls(&server).await.len(), before);
}

#[tokio::test]
async fn a_form_field_that_nobody_has_any_more_is_unseen_not_absent() {
    let held = Arc::new(AtomicUsize::new(1));
    let server = server({
        let held = Arc::clone(&held);
        move |call| match call.line.split('?').next().unwrap_or_default() {
            "GET /customers/attributes" => good(definitions()),
            "GET /customers/form-field-values" => {
                assert_eq!(call.line, "GET /customers/form-field-values?limit=250&field_name=Shirt%20size");
                let one = json!([{"customer_id": 9, "name": "Shirt size", "value": "M"}]);
                good(json!({"data": if held.load(Ordering::SeqCst) > 0 { one } else { json!([]) }}))
            }
            _ => {
                let mut row = customer(1, "", 0);
                row["form_fields"] = json!([]);
                good(json!({"data": [row]}))
            }
        }
    })
    .await;
    let new = || BigCommerce::new(settings(&server.uri(), &["form_field:Shirt size"])).unwrap();
    let sees = async |store: &BigCommerce| {
        let found = store.fetch(&[Key::new("1")], &[0], NO_RESERVATION).await.unwrap();
        text(&found[0].cells[0]).to_owned()
    };
    let store = new();
    let found = store.prepare(&[None], false).await.unwrap();
    assert_eq!(found.definitions[0].id.as_deref(), Some("Shirt size"), "somebody has it: remembered");
    assert_eq!((found.warnings.len(), sees(&store).await.as_str()), (0, "absent"));
    // Renamed. A process that has seen it looks again after a while; a new one that remembers says so.
    held.store(0, Ordering::SeqCst);
    assert_eq!(sees(&store).await, "absent", "it was there a moment ago");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    assert_eq!(sees(&store).await, "unseen");
    let store = new();
    let found = store.prepare(&[Some("Shirt size".to_owned())], false).await.unwrap();
    let DefinitionState::Changed(sentence) = &found.definitions[0].state else { panic!("{found:?}") };
    assert!(sentence.contains("renamed or deleted"), "{sentence}");
    assert_eq!(found.definitions[0].id.as_deref(), Some("Shirt size"));
    assert_eq!(sees(&store).await, "unseen");
    // One that nobody has ever had is empty, and is said to be.
    let store = new();
    let found = store.prepare(&[None], false).await.unwrap();
    assert!(matches!(found.definitions[0].state, DefinitionState::Usable(_)) && found.definitions[0].id.is_none());
    assert!(found.warnings[0].contains("nobody has a value in the form field `Shirt size`"), "{:?}", found.warnings);
    assert_eq!(sees(&store).await, "absent");
}

#[tokio::test]
async fn a_group_is_made_once_and_only_where_the_mapping_says_so() {
    let made = Arc::new(AtomicUsize::new(0));
    let server = server({
        let made = Arc::clone(&made);
        move |call| match call.line.as_str() {
            "GET /customers/attributes?limit=250" => good(definitions()),
            "GET /v2/customer_groups?limit=250&page=1" => {
                good(groups(1, if made.load(Ordering::SeqCst) > 0 { 3 } else { 2 }))
            }
            "POST /v2/customer_groups" => {
                assert_eq!(call.body, json!({"name": "Group 3"}), "no discount rules");
                made.fetch_add(1, Ordering::SeqCst);
                // The answer is lost, the group is there.
                ResponseTemplate::new(504)
            }
            "PUT /customers" => good(json!({"data": [customer(1, "", 3), customer(2, "", 3)]})),
            other => panic!("{other}"),
        }
    })
    .await;
    let batch = [to_group(1, 0, Some("Group 3")), to_group(2, 0, Some(" Group 3 "))];
    for (create_groups, outcome, posts) in [(false, "rejected", 0), (true, "written", 1)] {
        let mut settings = settings(&server.uri(), &["customer:group"]);
        settings.create_groups = create_groups;
        let store = BigCommerce::new(settings).unwrap();
        store.prepare(&[], false).await.unwrap();
        assert_eq!(said(&store.write(&batch, NO_RESERVATION).await), [outcome, outcome]);
        assert_eq!(made.load(Ordering::SeqCst), posts);
    }
}

#[tokio::test]
async fn a_column_mapped_by_mistake_does_not_become_groups() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let server = server({
        let made = Arc::clone(&made);
        move |call| match call.line.as_str() {
            "GET /customers/attributes?limit=250" => good(definitions()),
            "GET /v2/customer_groups?limit=250&page=1" => {
                let made = made.lock().unwrap();
                good((1..).zip(made.iter()).map(|(id, name): (u64, &Json)| json!({"id": id, "name": name})).collect())
            }
            "POST /v2/customer_groups" => {
                made.lock().unwrap().push(call.body["name"].clone());
                good(json!({"id": 1}))
            }
            "PUT /customers" => {
                let rows = call.body.as_array().unwrap().iter();
                let row =
                    |row: &Json| customer(row["id"].as_u64().unwrap(), "", row["customer_group_id"].as_u64().unwrap());
                good(json!({"data": rows.map(row).collect::<Vec<_>>()}))
            }
            other => panic!("{other}"),
        }
    })
    .await;
    let mut settings = settings(&server.uri(), &["customer:group"]);
    settings.create_groups = true;
    let store = BigCommerce::new(settings).unwrap();
    store.prepare(&[], false).await.unwrap();
    let names: Vec<String> = (1..=23).map(|number| format!("person{number}@example.com")).collect();
    let batch: Vec<Write> = (1..).zip(&names).map(|(id, name)| to_group(id, 0, Some(name))).collect();
    let outcomes = store.write(&batch, NO_RESERVATION).await;
    assert_eq!(said(&outcomes)[..20], ["written"; 20]);
    assert_eq!(said(&outcomes)[20..], ["rejected"; 3]);
    assert_eq!(made.lock().unwrap().len(), 20);
    let Outcome::Rejected(why) = &outcomes[22] else { panic!() };
    assert!(why.contains("20 were created within a day") && !why.contains("example.com"), "{why}");
}

#[tokio::test]
async fn each_writer_has_calls_of_its_own() {
    let fields = ["attribute:Job title", "customer:company", "form_field:Size"];
    let (_server, store) = with_own(&fields, |_| {}, |call| panic!("{}", call.line)).await;
    let writes = (1..=12).flat_map(|customer| (0..3).map(move |field| write(customer, field, Some("x"), None)));
    let batches = store.batches(writes.collect());
    let shape: Vec<(usize, bool)> = batches.iter().map(|batch| (batch.len(), batch[0].field == 0)).collect();
    assert_eq!(shape, [(10, true), (2, true), (20, false), (4, false)]);
    for batch in &batches {
        let destinations: Vec<_> = batch.iter().map(|write| store.destination(write.field)).collect();
        assert!(destinations.windows(2).all(|two| two[0] == two[1]));
    }
}
