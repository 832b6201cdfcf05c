//! Bodies of writes: a list of objects, checked for shape before anything is done.
//!
//! The messages are those that BigCommerce gives (`error.path.missing`, `error.expected.jsnumber`), without an index,
//! as it gives them. Must not know: what the fields mean.

use serde_json::{Map, Value};

use super::answer::Refusal;

/// One object of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'body>(&'body Map<String, Value>);

fn misshapen(field: &str, what: &str) -> Refusal {
    Refusal::new(422, "JSON data is missing or invalid").because(field, what).violating()
}

/// Reads a body that must be a list.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Array(rows)) => Ok(rows),
        Ok(_) => Err(misshapen("", "error.expected.jsarray")),
        Err(_) => Err(Refusal::new(400, "Input is invalid").violating()),
    }
}

/// Holds every row to the fields an endpoint knows. BigCommerce may well ignore others; a client that sends one has a
/// defect all the same (`attribute_value` instead of `value` is the famous one).
pub(super) fn rows<'body>(values: &'body [Value], known: &[&str]) -> Result<Vec<Row<'body>>, Refusal> {
    values
        .iter()
        .map(|value| {
            let object = value.as_object().ok_or_else(|| misshapen("", "error.expected.jsobject"))?;
            Ok((object, object.keys().find(|key| !known.contains(&key.as_str()))))
        })
        .map(|row| match row? {
            (object, None) => Ok(Row(object)),
            (_, Some(key)) => Err(misshapen(key, "error.unexpected")),
        })
        .collect()
}

impl<'body> Row<'body> {
    /// A field as it was sent.
    pub(super) fn get(self, field: &str) -> Option<&'body Value> {
        self.0.get(field)
    }

    /// A text, if sent.
    pub(super) fn text(self, field: &str) -> Result<Option<&'body str>, Refusal> {
        let text = |value: &'body Value| value.as_str().ok_or_else(|| misshapen(field, "error.expected.jsstring"));
        self.get(field).map(text).transpose()
    }

    /// An id or another whole number, if sent.
    pub(super) fn number(self, field: &str) -> Result<Option<u64>, Refusal> {
        let number = |value: &Value| value.as_u64().ok_or_else(|| misshapen(field, "error.expected.jsnumber"));
        self.get(field).map(number).transpose()
    }

    /// True or false, if sent.
    pub(super) fn flag(self, field: &str) -> Result<Option<bool>, Refusal> {
        let flag = |value: &Value| value.as_bool().ok_or_else(|| misshapen(field, "error.expected.jsboolean"));
        self.get(field).map(flag).transpose()
    }

    /// A text that must be sent.
    pub(super) fn required_text(self, field: &str) -> Result<&'body str, Refusal> {
        self.text(field)?.ok_or_else(|| misshapen(field, "error.path.missing"))
    }

    /// A number that must be sent.
    pub(super) fn required_number(self, field: &str) -> Result<u64, Refusal> {
        self.number(field)?.ok_or_else(|| misshapen(field, "error.path.missing"))
    }

    /// An object inside, if sent.
    pub(super) fn object(self, field: &str) -> Result<Option<Self>, Refusal> {
        let object = |value: &'body Value| value.as_object().ok_or_else(|| misshapen(field, "error.expected.jsobject"));
        Ok(self.get(field).map(object).transpose()?.map(Row))
    }

    /// A list of ids, if sent.
    pub(super) fn numbers(self, field: &str) -> Result<Option<Vec<u64>>, Refusal> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let list = value.as_array().ok_or_else(|| misshapen(field, "error.expected.jsarray"))?;
        let number = |value: &Value| value.as_u64().ok_or_else(|| misshapen(field, "error.expected.jsnumber"));
        list.iter().map(number).collect::<Result<_, _>>().map(Some)
    }
}

/// A text no longer than `max` characters and no shorter than `min`; what it says otherwise.
pub(super) fn length(text: &str, min: usize, max: usize) -> Result<(), String> {
    let chars = text.chars().count();
    if (min..=max).contains(&chars) {
        Ok(())
    } else {
        Err(format!("the length must be between {min} and {max} characters, it is {chars}"))
    }
}

/// What a batch as a whole came to: the rows that are good, by index, and the others' errors.
#[derive(Debug)]
pub(super) struct Checked<T> {
    /// What may be done.
    pub(super) good: Vec<T>,
    /// Errors of the other rows.
    pub(super) errors: Vec<(String, String)>,
}

impl<T> Default for Checked<T> {
    fn default() -> Self {
        Self { good: Vec::new(), errors: Vec::new() }
    }
}

impl<T> Checked<T> {
    /// Takes what one row came to.
    pub(super) fn take(&mut self, row: Result<T, (String, String)>) {
        match row {
            Ok(good) => self.good.push(good),
            Err(error) => self.errors.push(error),
        }
    }

    /// The refusal, if any row was refused.
    pub(super) fn refusal(&self, title: &str) -> Option<Refusal> {
        (!self.errors.is_empty()).then(|| Refusal {
            status: 422,
            title: title.to_owned(),
            errors: self.errors.clone(),
            violation: false,
            whole: None,
        })
    }
}
