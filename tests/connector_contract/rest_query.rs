//! What the servers of `rest_world` understand of queries: filters as Directus and OData have them, and nothing else.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The arguments of a query.
pub fn arguments(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(&value.replace('+', " ")))
        })
        .collect()
}

pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: Vec<u8> = rest.by_ref().take(2).collect();
            let digits = std::str::from_utf8(&digits).expect("digits");
            bytes.push(u8::from_str_radix(digits, 16).expect("digits"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A condition on a record.
pub enum Filter {
    Always,
    All(Vec<Filter>),
    Any(Vec<Filter>),
    /// A field (with `/` of a related record), an operator, and what it is compared with.
    Compare(String, String, Vec<Value>),
}

impl Filter {
    pub fn of_json(text: &str) -> Option<Self> {
        Self::of_object(serde_json::from_str::<Value>(text).ok()?.as_object()?, "")
    }

    fn of_object(object: &Map<String, Value>, path: &str) -> Option<Self> {
        let mut all = Vec::new();
        for (name, value) in object {
            all.push(match name.as_str() {
                "_and" | "_or" => {
                    let items = value.as_array()?.iter().map(|item| Self::of_object(item.as_object()?, path));
                    let items = items.collect::<Option<Vec<_>>>()?;
                    if name == "_and" { Self::All(items) } else { Self::Any(items) }
                }
                "_gt" | "_gte" => Self::Compare(path.to_owned(), name[1..].to_owned(), vec![value.clone()]),
                "_in" => Self::Compare(path.to_owned(), "in".to_owned(), value.as_array()?.clone()),
                field if field.starts_with('_') => return None,
                field => {
                    let path = if path.is_empty() { field.to_owned() } else { format!("{path}/{field}") };
                    Self::of_object(value.as_object()?, &path)?
                }
            });
        }
        Some(Self::All(all))
    }

    pub fn of_odata(text: &str) -> Option<Self> {
        let tokens = tokens(text)?;
        let mut rest = &tokens[..];
        let filter = either(&mut rest)?;
        rest.is_empty().then_some(filter)
    }

    /// Whether it holds; none where a field is not one of the record.
    pub fn holds(&self, row: &Map<String, Value>) -> Option<bool> {
        match self {
            Self::Always => Some(true),
            Self::All(items) => items.iter().try_fold(true, |all, item| Some(item.holds(row)? && all)),
            Self::Any(items) => items.iter().try_fold(false, |any, item| Some(item.holds(row)? || any)),
            Self::Compare(field, operator, values) => {
                let value = match field.split_once('/') {
                    None => row.get(field)?,
                    Some((relation, inner)) => match row.get(relation)? {
                        Value::Object(related) => related.get(inner)?,
                        _ => &Value::Null,
                    },
                };
                let order = |other: &Value| match (value, other) {
                    (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
                    (Value::String(one), Value::String(other)) => {
                        // Times are compared as times.
                        let times = (one.parse::<jiff::Timestamp>(), other.parse::<jiff::Timestamp>());
                        match times {
                            (Ok(one), Ok(other)) => Some(one.cmp(&other)),
                            _ => Some(one.cmp(other)),
                        }
                    }
                    _ => None,
                };
                Some(values.iter().filter_map(order).any(|order| match operator.as_str() {
                    "gt" => order.is_gt(),
                    "gte" | "ge" => order.is_ge(),
                    "in" | "eq" => order.is_eq(),
                    other => panic!("{other}"),
                }))
            }
        }
    }
}

fn tokens(text: &str) -> Option<Vec<String>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '(' | ')' => 1,
            '\'' => {
                let mut end = 1;
                loop {
                    end += rest[end..].find('\'')? + 1;
                    if !rest[end..].starts_with('\'') {
                        break end;
                    }
                    end += 1;
                }
            }
            _ => rest.find([' ', '(', ')']).unwrap_or(rest.len()),
        };
        tokens.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Some(tokens)
}

fn either(tokens: &mut &[String]) -> Option<Filter> {
    let mut any = vec![both(tokens)?];
    while tokens.first().is_some_and(|token| token == "or") {
        *tokens = &tokens[1..];
        any.push(both(tokens)?);
    }
    Some(Filter::Any(any))
}

fn both(tokens: &mut &[String]) -> Option<Filter> {
    let mut all = vec![one(tokens)?];
    while tokens.first().is_some_and(|token| token == "and") {
        *tokens = &tokens[1..];
        all.push(one(tokens)?);
    }
    Some(Filter::All(all))
}

fn one(tokens: &mut &[String]) -> Option<Filter> {
    if tokens.first()? == "(" {
        *tokens = &tokens[1..];
        let inside = either(tokens)?;
        if tokens.first()? != ")" {
            return None;
        }
        *tokens = &tokens[1..];
        return Some(inside);
    }
    let [field, operator, literal, rest @ ..] = *tokens else { return None };
    *tokens = rest;
    if !["gt", "ge", "eq"].contains(&operator.as_str()) {
        return None;
    }
    let value = match literal.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        Some(text) => Value::from(text.replace("''", "'")),
        None => literal.parse::<i64>().map_or_else(|_| Value::from(literal.as_str()), Value::from),
    };
    // What has no quotes is a number or a time.
    let is_time = literal.parse::<jiff::Timestamp>().is_ok();
    (value.is_number() || is_time || literal.starts_with('\''))
        .then(|| Filter::Compare(field.clone(), operator.clone(), vec![value]))
}
