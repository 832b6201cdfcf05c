//! Conditions of fields (PYSON), as far as they are known of any record that is saved and active: whether a field is read-only
//! there, or required. What depends on anything else is not known, and then nothing is concluded.

use serde_json::Value;

/// How deep conditions are followed.
const DEPTH_MAX: usize = 20;

/// Whether a state (`readonly`, `required`) holds for every saved and active record, as `fields_get` describes it: an object
/// of conditions in a text.
pub(super) fn always(states: Option<&Value>, state: &str) -> bool {
    let conditions: Value =
        states.and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    known(conditions.get(state), 0) == Some(Known::Is(true))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Is(bool),
    Number(f64),
}

fn known(condition: Option<&Value>, depth: usize) -> Option<Known> {
    let condition = condition.filter(|_| depth < DEPTH_MAX)?;
    let object = match condition {
        Value::Bool(value) => return Some(Known::Is(*value)),
        Value::Number(number) => return number.as_f64().map(Known::Number),
        Value::Object(object) => object,
        _ => return None,
    };
    let part = |name: &str| known(object.get(name), depth + 1);
    let truth = |known: Known| match known {
        Known::Is(value) => value,
        Known::Number(number) => number != 0.0,
    };
    match object.get("__class__")?.as_str()? {
        "Eval" => match object.get("v")?.as_str()? {
            "id" => Some(Known::Number(1.0)),
            "active" => Some(Known::Is(true)),
            _ => None,
        },
        "Bool" => part("v").map(|value| Known::Is(truth(value))),
        "Not" => part("v").map(|value| Known::Is(!truth(value))),
        word @ ("And" | "Or") => {
            let ends = word == "Or";
            let all: Vec<Option<bool>> =
                object.get("s")?.as_array()?.iter().map(|one| known(Some(one), depth + 1).map(truth)).collect();
            if all.contains(&Some(ends)) {
                Some(Known::Is(ends))
            } else {
                all.iter().all(Option::is_some).then_some(Known::Is(!ends))
            }
        }
        word @ ("Greater" | "Less") => {
            let (Known::Number(first), Known::Number(second)) = (part("s1")?, part("s2")?) else { return None };
            let or_equal = object.get("e").and_then(Value::as_bool).unwrap_or_default();
            let beyond = if word == "Greater" { first > second } else { first < second };
            Some(Known::Is(beyond || (or_equal && first == second)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_every_saved_record() {
        let saved = r#"{"__class__": "Greater", "s1": {"__class__": "Eval", "v": "id", "d": -1}, "s2": 0, "e": true}"#;
        let inactive = r#"{"__class__": "Not", "v": {"__class__": "Eval", "v": "active", "d": true}}"#;
        let other = r#"{"__class__": "Bool", "v": {"__class__": "Eval", "v": "replaced_by", "d": ""}}"#;
        let both = |word: &str, one: &str, two: &str| format!(r#"{{"__class__": "{word}", "s": [{one}, {two}]}}"#);
        for (condition, expected) in [
            (saved.to_owned(), true),
            (inactive.to_owned(), false),
            (other.to_owned(), false),
            (both("Or", saved, inactive), true),
            (both("Or", other, saved), true),
            (both("Or", other, inactive), false),
            (both("And", saved, inactive), false),
            (both("And", saved, other), false),
            (both("And", saved, "true"), true),
            (saved.replace("Greater", "Less"), false),
            ("true".to_owned(), true),
            ("null".to_owned(), false),
            (r#"{"__class__": "Equal", "s1": 1, "s2": 1}"#.to_owned(), false),
        ] {
            let states = Value::String(format!(r#"{{"readonly": {condition}}}"#));
            assert_eq!(always(Some(&states), "readonly"), expected, "{condition}");
            assert!(!always(Some(&states), "required"), "another state");
        }
        for odd in [Value::Null, Value::from("{"), Value::from("7")] {
            assert!(!always(Some(&odd), "readonly"), "{odd}");
        }
        let deep = format!("{}true{}", r#"{"__class__": "Bool", "v": "#.repeat(50), "}".repeat(50));
        assert!(!always(Some(&Value::String(format!(r#"{{"readonly": {deep}}}"#))), "readonly"));
    }
}
