//! What only APIs have that the configuration describes, when records are made and removed: answers that do not show what they
//! made, statuses that mean something else, descriptions that say nothing of it.

use attune::connector::{Connector, Created, Lane, Lifecycle, NewRecord, Removed, Unreserved};
use attune::model::{Class, FieldType, Key, Value};

use crate::rest_world::{Home, Manner, TOKEN, connector};
use crate::world::World;

const NOW: Unreserved = Unreserved(Lane::Fresh);
const FIELDS: [(&str, FieldType); 5] = [
    ("title", FieldType::String),
    ("score", FieldType::Number),
    ("account.name", FieldType::String),
    ("date_created", FieldType::Date),
    ("@key", FieldType::String),
];

fn record(values: &[(usize, &str)]) -> NewRecord {
    let values = values.iter().map(|(field, value)| (*field, Value::text(*value))).collect();
    NewRecord { token: "token".to_owned(), values }
}

#[tokio::test]
async fn a_new_record_has_values_of_its_own_types_and_no_others() {
    let peer = Home { manner: Manner::Directus }.peer_with(1, &FIELDS, "").await;
    let api = &peer.connector;
    assert_eq!(api.lifecycle_limits().records_per_create, 1, "a request for each");
    let takes: Vec<bool> = (0..FIELDS.len()).map(|field| api.creates_with(field)).collect();
    assert_eq!(takes, [true, true, false, false, true]);
    let made = api.create(&[record(&[(0, "it's"), (1, "12")])], &NOW).await;
    let Created::Made(key) = &made[0] else { panic!("{made:?}") };
    assert_eq!(key.as_str(), "2");
    assert_eq!(peer.held().bodies, [r#"{"title":"it's","score":12}"#]);
    for wrong in [&[(1, "twelve")][..], &[(2, "x")], &[(4, "no number")]] {
        let made = api.create(&[record(wrong)], &NOW).await;
        assert!(matches!(&made[0], Created::Rejected(why) if !why.contains("twelve")), "{made:?}");
    }
    assert_eq!(peer.held().bodies.len(), 1, "what cannot be sent is not");
}

#[tokio::test]
async fn what_an_answer_does_not_tell_is_unknown() {
    for (more, status) in
        [("create.record = \"/nowhere\"", None), ("create.record = \"\"", None), ("", Some(502)), ("", Some(200))]
    {
        let peer = Home { manner: Manner::Directus }.peer_with(1, &FIELDS, more).await;
        peer.held().lost_answer = status;
        let made = peer.connector.create(&[record(&[(0, "x")])], &NOW).await;
        let Created::Unknown(failure) = &made[0] else { panic!("{more} {status:?}: {made:?}") };
        assert!(failure.may_have_happened, "{failure}");
        assert_eq!(peer.held().rows.len(), 2, "it was made all the same, once");
    }
    // A status that means a refusal here.
    let peer = Home { manner: Manner::Directus }.peer_with(1, &FIELDS, "").await;
    peer.held().lost_answer = Some(500);
    let made = peer.connector.create(&[record(&[(0, "x")])], &NOW).await;
    assert!(matches!(made[0], Created::Rejected(_)), "{made:?}");
}

#[tokio::test]
async fn a_removal_is_believed_when_it_is_seen() {
    let peer = Home { manner: Manner::Directus }.peer_with(3, &FIELDS, "").await;
    let keys = peer.keys().await;
    peer.held().lost_answer = Some(502);
    let outcomes = peer.connector.remove(&keys[..1], &NOW).await;
    assert!(matches!(&outcomes[0], Removed::Unknown(failure) if failure.may_have_happened), "{outcomes:?}");
    // One that is still there, whatever it answers: by a path that removes something else.
    let more = "delete.path = \"/items/contacts/9{key}\"";
    let other = connector(&peer.address, Home { manner: Manner::Directus }.api(&peer.address, more), &FIELDS, TOKEN);
    let outcomes = other.remove(&keys[1..2], &NOW).await;
    let Removed::NotSent(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(failure.class, Class::Auth, "403 says that it is missing, and it is not: {failure}");
    let odata = Home { manner: Manner::OData }.peer_with(2, &FIELDS[..2], "delete.headers.If-Match = \"\"").await;
    let outcomes = odata.connector.remove(&odata.keys().await[..1], &NOW).await;
    assert!(matches!(&outcomes[0], Removed::Rejected(_) | Removed::NotSent(_)), "without a condition: {outcomes:?}");
    assert_eq!(odata.held().rows.len(), 2);
}

#[tokio::test]
async fn what_a_description_says_nothing_of_is_not_done() {
    let api = |more: &str| {
        let mut api = Home { manner: Manner::Directus }.api("http://127.0.0.1:1", "");
        match more {
            "neither" => (api.create, api.delete) = (None, None),
            "no delete" => api.delete = None,
            _ => api.create = None,
        }
        connector("http://127.0.0.1:1", api, &FIELDS, TOKEN)
    };
    assert!(api("neither").lifecycle().is_none());
    let outcomes = api("no delete").remove(&[Key::new("7")], &NOW).await;
    assert!(matches!(&outcomes[0], Removed::Rejected(why) if why.contains("add `delete`")), "{outcomes:?}");
    assert!(!api("no create").creates_with(0));
}
