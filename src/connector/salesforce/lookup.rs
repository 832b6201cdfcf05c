//! Finding records by what a field holds, and counting them: those in the bin are not there.

use async_trait::async_trait;

use super::api::senseless;
use super::read::{id_in, id_of};
use super::{ROWS_PER_PAGE, Salesforce};
use crate::connector::lookup::{KEYS_FOUND_MAX, pieces};
use crate::connector::paid::Paid;
use crate::connector::{Lane, Lookup, LookupLimits};
use crate::http::encoded;
use crate::model::{Failure, Key};

/// The values of one find.
const VALUES_PER_FIND: usize = 200;

/// The most characters of the values of one query, as they stand in an address.
const CHARS_PER_QUERY: usize = 10_000;

#[async_trait]
impl Lookup for Salesforce {
    fn lookup_limits(&self) -> LookupLimits {
        LookupLimits { values_per_find: VALUES_PER_FIND, rows_per_page: ROWS_PER_PAGE }
    }

    /// What has not been looked at yet finds nothing.
    fn finds_by(&self, field: usize) -> bool {
        self.known().is_some_and(|object| {
            object.fields.get(field).is_some_and(|found| found.as_ref().is_some_and(|one| one.finds))
        })
    }

    async fn count(&self, lane: Lane) -> Result<u64, Failure> {
        let soql = |_rows: usize| format!("SELECT COUNT() FROM {} WHERE IsDeleted = false", self.object);
        let (answered, _) = self.query(soql, 1, Paid::in_lane(lane)).await?;
        answered.body.total_size.ok_or_else(|| senseless("a count answered without a number"))
    }

    /// Salesforce compares texts without regard to case.
    async fn keys_with(&self, field: usize, values: &[String], _fold: bool, lane: Lane) -> Result<Vec<Key>, Failure> {
        let object = self.found().await?;
        let Some(field) = object.fields.get(field).and_then(Option::as_ref).filter(|field| field.finds) else {
            return Ok(Vec::new());
        };
        let is_key = field.path == "Id";
        let values = values.iter().filter(|value| !value.is_empty() && !value.contains('\0'));
        let literals: Vec<String> = if is_key {
            // Anything else is no id to Salesforce, and no question.
            values.filter_map(|value| id_of(&Key::new(value))).map(|id| literal(&id)).collect()
        } else {
            values.map(|value| literal(value)).collect()
        };
        let mut keys = Vec::new();
        for literals in
            pieces(&literals, VALUES_PER_FIND, CHARS_PER_QUERY, |literal| encoded(literal).len() + encoded(", ").len())
        {
            let among = literals.join(", ");
            let mut after = String::new();
            while keys.len() < KEYS_FOUND_MAX {
                let behind = if after.is_empty() { String::new() } else { format!(" AND Id > '{after}'") };
                let soql = |rows: usize| {
                    format!(
                        "SELECT Id FROM {} WHERE IsDeleted = false AND {} IN ({among}){behind} ORDER BY Id LIMIT {rows}",
                        self.object, field.path
                    )
                };
                let (answered, rows) = self.query(soql, ROWS_PER_PAGE, Paid::in_lane(lane)).await?;
                let found = answered.body.records.iter().map(id_in).collect::<Result<Vec<String>, Failure>>()?;
                let more = !answered.body.done || found.len() >= rows;
                if let Some(last) = found.last() {
                    if *last == after {
                        return Err(senseless("a query answered the same record twice"));
                    }
                    last.clone_into(&mut after);
                }
                let is_over = !more || found.is_empty();
                keys.extend(found.into_iter().map(Key));
                if is_over {
                    break;
                }
            }
        }
        Ok(keys)
    }
}

/// A text as SOQL writes it.
fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        match character {
            '\'' | '\\' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            other => literal.push(other),
        }
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_where_it_ends() {
        for (text, expected) in [
            ("ada", "'ada'"),
            ("O'Hara", "'O\\'Hara'"),
            ("\\", "'\\\\'"),
            ("') OR Id != ('", "'\\') OR Id != (\\''"),
            ("a\nb", "'a\\nb'"),
            ("50%_", "'50%_'"),
        ] {
            assert_eq!(literal(text), expected, "{text}");
        }
    }
}
