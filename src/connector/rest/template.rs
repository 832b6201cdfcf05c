//! Paths and queries with places to fill in, `{name}`. Pure.
//!
//! What stands around a place decides how a value is spelt there: inside `"…"` as in a JSON string, inside `'…'` with quotes
//! doubled (OData). Whatever is filled in is then percent-encoded, and so are characters of the template that no address may
//! hold. A brace that does not enclose one word is itself: templates may be JSON.

use crate::http::encoded;

/// A text with places to fill in.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    /// As it is sent.
    Text(String),
    Place {
        name: String,
        /// The quotation mark that it stands between.
        quote: Option<char>,
    },
}

/// What is filled in.
#[derive(Clone, Copy)]
pub(super) enum Fill<'a> {
    /// A value, spelt as its place wants it.
    Value(&'a str),
    /// What was made of other templates: as it is.
    Made(&'a str),
}

impl Template {
    pub(super) fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        let mut plain = String::new();
        while let Some(open) = rest.find('{') {
            plain.push_str(&rest[..open]);
            let inside = &rest[open + 1..];
            let end = inside.find(|character: char| !(character.is_ascii_lowercase() || character == '_'));
            match end.filter(|end| *end > 0 && inside[*end..].starts_with('}')) {
                Some(end) => {
                    let before = plain.chars().last();
                    let after = inside[end + 1..].chars().next();
                    let quote = before.filter(|quote| ['"', '\''].contains(quote) && after == Some(*quote));
                    parts.push(Part::Text(written(&plain)));
                    parts.push(Part::Place { name: inside[..end].to_owned(), quote });
                    plain.clear();
                    rest = &inside[end + 1..];
                }
                None => {
                    plain.push('{');
                    rest = inside;
                }
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(written(&plain)));
        Self(parts)
    }

    /// The text with its places filled in; one that nothing is known for stays empty.
    pub(super) fn fill(&self, values: &[(&str, Fill<'_>)]) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Place { name, quote } => match values.iter().find(|(known, _)| known == name) {
                    Some((_, Fill::Value(value))) => {
                        let spelt = match quote {
                            Some('"') => json_inside(value),
                            Some(_) => value.replace('\'', "''"),
                            None => (*value).to_owned(),
                        };
                        text.push_str(&encoded(&spelt));
                    }
                    Some((_, Fill::Made(made))) => text.push_str(made),
                    None => {}
                },
            }
        }
        text
    }
}

/// What stands between parts, as it is sent.
pub(super) fn separator(text: &str) -> String {
    written(text)
}

/// A text as it stands inside a JSON string.
fn json_inside(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// What the configuration says as it stands in an address: what has a meaning there keeps it.
fn written(text: &str) -> String {
    let one = |character: char| {
        let has_meaning = "!$&'()*+,/:;=?@%".contains(character);
        if has_meaning { character.to_string() } else { encoded(character.encode_utf8(&mut [0; 4])) }
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, value: &str) -> String {
        Template::new(template).fill(&[("key", Fill::Value(value)), ("made", Fill::Made("a%20b"))])
    }

    #[test]
    fn values_are_spelt_as_their_place_wants_it() {
        assert_eq!(fill("/items/{key}", "a b/c?d"), "/items/a%20b%2Fc%3Fd");
        assert_eq!(fill("/Contacts('{key}')", "O'Brien"), "/Contacts('O%27%27Brien')");
        assert_eq!(
            fill("filter={\"id\":{\"_eq\":\"{key}\"}}", "a\"b\\"),
            "filter=%7B%22id%22:%7B%22_eq%22:%22a%5C%22b%5C%5C%22%7D%7D"
        );
        assert_eq!(fill("$filter=id gt {key}&x={made}", "7"), "$filter=id%20gt%207&x=a%20b");
        assert_eq!(fill("{unknown}{key", "7"), "%7Bkey");
        assert_eq!(fill("{}{Key}", "7"), "%7B%7D%7BKey%7D");
        assert_eq!(separator(" or "), "%20or%20");
    }
}
