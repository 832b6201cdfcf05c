//! Groups and form fields, and what the documents leave open about them.

use super::*;
use crate::simulator::settings::*;

const GROUPS: &str = "/v2/customer_groups";
const FORM_FIELD_VALUES: &str = "/v3/customers/form-field-values";

async fn reading(change: impl FnOnce(&mut Readings)) -> Bench {
    let bench = Bench::behaving(|behaviour| change(&mut behaviour.readings)).await;
    for (name, kind) in
        [("Size", FormFieldKind::Text), ("Points", FormFieldKind::Number), ("Toppings", FormFieldKind::List)]
    {
        bench.store().add_form_field(name, kind);
    }
    bench.store().set_form_field(1, "Size", &json!("M")).unwrap();
    bench.store().set_form_field(1, "Toppings", &json!(["a", "b"])).unwrap();
    bench
}

async fn put(bench: &Bench, form_fields: Value) -> Got {
    bench.write("PUT", CUSTOMERS, json!([{ "id": 1, "form_fields": form_fields }])).await
}

#[tokio::test]
async fn groups_are_a_bare_list_and_their_errors_too() {
    let bench = Bench::new().await;
    let none = bench.get(GROUPS).await;
    assert_eq!((none.status, none.body), (204, Value::Null));
    let made = bench.write("POST", GROUPS, json!({ "name": "Wholesale" })).await;
    assert_eq!((made.status, &made.body["id"], &made.body["name"]), (200, &json!(1), &json!("Wholesale")));
    let listed = bench.get(&format!("{GROUPS}?limit=1&page=1")).await;
    assert_eq!(listed.body[0]["name"], "Wholesale");
    assert_eq!(bench.get(&format!("{GROUPS}?limit=1&page=2")).await.status, 204);
    assert_eq!(bench.get(&format!("{GROUPS}?name=Retail")).await.status, 204);
    let refused = bench.write("POST", GROUPS, json!({})).await;
    assert_eq!((refused.status, &refused.body[0]["status"]), (400, &json!(400)));
    assert_eq!(bench.violations(), 1);
    bench.write("POST", GROUPS, json!({ "name": "A", "discount_rules": [] })).await;
    assert_eq!(bench.violations(), 2, "nobody here has any business with discounts");
    assert_eq!(bench.get(&format!("{GROUPS}?foo=1")).await.status, 422);
}

#[tokio::test]
async fn a_group_has_its_name_alone_or_not() {
    for (names, status) in [(GroupNames::Unique, 409), (GroupNames::Repeatable, 200)] {
        let bench = reading(|readings| readings.group_names = names).await;
        bench.store().add_group("Wholesale");
        assert_eq!(bench.write("POST", GROUPS, json!({ "name": "Wholesale" })).await.status, status);
        assert_eq!(bench.write("POST", GROUPS, json!({ "name": "Retail" })).await.status, 200);
    }
}

#[tokio::test]
async fn form_fields_that_are_not_sent_stay_or_go() {
    for (writes, toppings) in [(FormFieldWrites::Merge, Some(json!(["a", "b"]))), (FormFieldWrites::Replace, None)] {
        let bench = reading(|readings| readings.form_field_writes = writes).await;
        let got = put(&bench, json!([{ "name": "Size", "value": "L" }, { "name": "Points", "value": 3 }])).await;
        assert_eq!(got.status, 200);
        assert_eq!(bench.store().form_field(1, "Size"), Some(json!("L")));
        assert_eq!(bench.store().form_field(1, "Points"), Some(json!(3)));
        assert_eq!(bench.store().form_field(1, "Toppings"), toppings, "{writes:?}");
    }
}

#[tokio::test]
async fn an_unknown_form_field_is_refused_or_left_out() {
    for (unknown, status) in [(UnknownFormFields::Refused, 422), (UnknownFormFields::Ignored, 200)] {
        let bench = reading(|readings| readings.unknown_form_fields = unknown).await;
        bench.store().rename_form_field("Size", "Shirt size").unwrap();
        assert_eq!(bench.store().form_field(1, "Shirt size"), Some(json!("M")), "what was entered stays");
        assert_eq!(put(&bench, json!([{ "name": "Size", "value": "L" }])).await.status, status, "{unknown:?}");
        assert_eq!(bench.store().form_field(1, "Size"), None);
        assert_eq!(bench.violations(), 0, "a client cannot know");
    }
}

#[tokio::test]
async fn a_required_form_field_is_asked_for_or_not() {
    for (required, status) in [(RequiredFormFields::Unchecked, 200), (RequiredFormFields::Checked, 422)] {
        let bench = reading(|readings| readings.required_form_fields = required).await;
        bench.store().require_form_field("Points").unwrap();
        assert_eq!(put(&bench, json!([{ "name": "Size", "value": "L" }])).await.status, status, "{required:?}");
        let both = json!([{ "name": "Size", "value": "L" }, { "name": "Points", "value": 3 }]);
        assert_eq!(put(&bench, both).await.status, 200);
        let other = bench.write("PUT", CUSTOMERS, json!([{ "id": 2, "phone": "7" }])).await;
        assert_eq!(other.status, 200, "only who writes form fields is asked for them");
    }
}

#[tokio::test]
async fn an_answer_shows_form_fields_or_not() {
    for (answered, shown) in [(FormFieldsAnswered::Absent, false), (FormFieldsAnswered::Shown, true)] {
        let bench = reading(|readings| readings.form_fields_answered = answered).await;
        let got = put(&bench, json!([{ "name": "Size", "value": "L" }])).await;
        assert_eq!(got.body["data"][0].get("form_fields").is_some(), shown, "{answered:?}");
        let read = bench.get("/v3/customers?id:in=1&include=formfields").await;
        assert!(read.body["data"][0].get("form_fields").is_some());
    }
}

#[tokio::test]
async fn a_shopper_s_edit_dates_the_customer_or_not() {
    for (edits, touched) in [(FormFieldEdits::TouchCustomer, true), (FormFieldEdits::KeepCustomer, false)] {
        let bench = reading(|readings| readings.form_field_edits = edits).await;
        let before = bench.store().customer(2).unwrap().modified;
        bench.store().set_form_field(2, "Size", &json!("S")).unwrap();
        assert_eq!(bench.store().customer(2).unwrap().modified > before, touched, "{edits:?}");
    }
}

#[tokio::test]
async fn store_credit_is_a_number_or_a_text() {
    for (amount, shown) in [(StoreCreditAmount::Number, json!(12.5)), (StoreCreditAmount::Text, json!("12.5000"))] {
        let bench = reading(|readings| readings.store_credit_amount = amount).await;
        let credit = CustomerEdit { store_credit: Some(12.5), ..CustomerEdit::default() };
        bench.store().edit_customer(1, credit).unwrap();
        let got = bench.get("/v3/customers?id:in=1&include=storecredit").await;
        assert_eq!(got.body["data"][0]["store_credit_amounts"], json!([{ "amount": shown }]), "{amount:?}");
    }
}

#[tokio::test]
async fn form_fields_have_types_and_holders() {
    let bench = reading(|_| {}).await;
    for wrong in [
        json!([{ "name": "Points", "value": "many" }]),
        json!([{ "name": "Toppings", "value": "a" }]),
        json!([{ "name": "Size", "value": 3 }]),
    ] {
        assert_eq!(put(&bench, wrong.clone()).await.status, 422, "{wrong}");
    }
    assert_eq!(bench.violations(), 0);
    for misshapen in
        [json!({ "Size": "L" }), json!([{ "name": "Size" }]), json!([{ "id": 1, "name": "Size", "value": "" }])]
    {
        assert_eq!(put(&bench, misshapen.clone()).await.status, 422, "{misshapen}");
    }
    assert_eq!(bench.violations(), 3);
    let held = bench.get(&format!("{FORM_FIELD_VALUES}?field_name=Size&limit=250")).await;
    assert_eq!(held.body["data"], json!([{ "name": "Size", "value": "M", "customer_id": 1 }]));
    assert_eq!(bench.get(&format!("{FORM_FIELD_VALUES}?field_name=Shoe%20size")).await.total(), 0);
}
