//! What is sent: writes packed by record, and requests with one record, a list, or an OData batch of them.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue, IF_MATCH};

use super::outcome::Said;
use super::{Rest, batch, values};
use crate::connector::Reservation;
use crate::connector::batch::{by_record, fill};
use crate::connector::paid::Paid;
use crate::model::{ApiBody, Class, Failure, Holds, Key, Outcome, Write};

/// Packs writes: all of one record in one batch, at most so many records in each.
pub(super) fn batches(writes: Vec<Write>, records_max: usize) -> Vec<Vec<Write>> {
    by_record(writes).chunks(records_max.max(1)).map(<[_]>::concat).collect()
}

/// One record of a batch, as it is sent.
pub(super) struct Row {
    pub(super) key: Key,
    /// Its writes, by their place in the batch.
    pub(super) places: Vec<usize>,
    /// The members of its object, with a comma between them.
    members: String,
    etag: Option<HeaderValue>,
}

impl Rest {
    /// Sends one batch, once.
    pub(super) async fn send(&self, writes: &[Write], reservation: &dyn Reservation) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; writes.len()];
        match self.found().await {
            Ok(found) => {
                let rows = self.rows(writes, &found, &mut outcomes);
                if !rows.is_empty() {
                    let said = self.say(&rows, reservation).await;
                    self.conclude(writes, &rows, said, &mut outcomes).await;
                }
            }
            Err(failure) => fill(&mut outcomes, &Outcome::NotSent(failure)),
        }
        let missing = || Outcome::Unknown(self.senseless("a write was left without an outcome"));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    /// The rows to send. What cannot be sent is settled.
    fn rows(&self, writes: &[Write], found: &[Holds], outcomes: &mut [Option<Outcome>]) -> Vec<Row> {
        let mut places: BTreeMap<&Key, Vec<usize>> = BTreeMap::new();
        for (place, write) in writes.iter().enumerate() {
            places.entry(&write.key).or_default().push(place);
        }
        let mut rows = Vec::new();
        for (key, places) in places {
            if !self.queries.is_key(key) {
                places.iter().for_each(|place| outcomes[*place] = Some(Outcome::Gone));
                continue;
            }
            let mut members = Vec::new();
            for place in &places {
                match self.member(&writes[*place], found) {
                    Ok(member) => members.push(member),
                    Err(why) => outcomes[*place] = Some(Outcome::Rejected(why)),
                }
            }
            let failure = if members.len() == places.len() {
                match self.etag(places.iter().map(|place| &writes[*place])) {
                    Ok(etag) => {
                        rows.push(Row { key: key.clone(), places, members: members.join(","), etag });
                        continue;
                    }
                    Err(failure) => Outcome::NotSent(failure),
                }
            } else {
                // A record is written entirely or not at all: the others of its fields go again alone.
                let why = "another field of the record stood in the way";
                Outcome::BatchRejected(Failure::new(Class::Rejected, why))
            };
            for place in places {
                outcomes[place].get_or_insert_with(|| failure.clone());
            }
        }
        rows
    }

    /// `"name":value`; a sentence where it cannot be sent.
    fn member(&self, write: &Write, found: &[Holds]) -> Result<String, String> {
        let name = self.names.get(write.field).map_or("?", String::as_str);
        if self.api.write.is_none() || name == "@key" || name.contains('.') {
            return Err(format!("`{name}` cannot be written"));
        }
        let holds = found.get(write.field).copied().unwrap_or(Holds::Text);
        let value = match &write.value {
            Some(value) => values::spelt(holds, value).ok_or_else(|| {
                format!("`{name}` holds values of another type than this one; correct the value, or `types`")
            })?,
            None if self.api.clears_with_empty => "\"\"".to_owned(),
            None => "null".to_owned(),
        };
        Ok(format!("{}:{value}", serde_json::Value::from(name)))
    }

    /// The condition of a record's writes: its ETag as the recheck read it.
    fn etag<'a>(&self, mut writes: impl Iterator<Item = &'a Write>) -> Result<Option<HeaderValue>, Failure> {
        if self.api.etag.is_none() {
            return Ok(None);
        }
        let first = writes.next().and_then(|write| write.expect.token.as_deref());
        let is_one = writes.all(|write| write.expect.token.as_deref() == first);
        match first.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            Some(etag) if is_one => Ok(Some(etag)),
            // Read at different moments: none of them stands for the record.
            Some(_) => Err(Failure::new(Class::Retry, "the record changed while it was read; it is tried again")),
            None => Err(self.unfitting("a record shows no ETag, and without one it is not written; correct `etag` in")),
        }
    }

    /// Sends rows and says what was answered to each, in their order.
    async fn say(&self, rows: &[Row], reservation: &dyn Reservation) -> Vec<Said> {
        let Some(write) = &self.api.write else { return Vec::new() };
        let paid = Paid::by(reservation, reservation.lane());
        match &write.body {
            ApiBody::Record => {
                let mut said = Vec::new();
                for row in rows {
                    said.push(self.say_one(row, paid).await);
                }
                said
            }
            ApiBody::Array => self.say_all(rows, paid).await,
            ApiBody::Batch(path) => self.say_each(rows, path, paid).await,
        }
    }

    async fn say_one(&self, row: &Row, paid: Paid<'_>) -> Said {
        let Some((path, query)) = self.queries.write(Some(&row.key)) else {
            return Said::Failed(self.senseless("a write without a path"));
        };
        let mut headers = self.write_headers.clone();
        if let Some(etag) = &row.etag {
            headers.insert(IF_MATCH, etag.clone());
        }
        let body = format!("{{{}}}", row.members).into_bytes();
        match self.change(self.method.clone(), path, (query, Some(body), headers), paid).await {
            Ok(answer) => self.shown_one(&row.key, &answer.body, &answer.headers),
            Err(failure) => self.said(failure),
        }
    }

    async fn say_all(&self, rows: &[Row], paid: Paid<'_>) -> Vec<Said> {
        let Some((path, query)) = self.queries.write(None) else { return Vec::new() };
        let objects: Vec<String> = rows
            .iter()
            .map(|row| {
                let name = serde_json::Value::from(self.api.key.as_str());
                format!("{{{name}:{},{}}}", self.queries.json(row.key.as_str()), row.members)
            })
            .collect();
        let body = format!("[{}]", objects.join(",")).into_bytes();
        match self.change(self.method.clone(), path, (query, Some(body), self.write_headers.clone()), paid).await {
            Ok(answer) => self.shown_all(rows, &answer.body),
            Err(failure) => {
                let said = self.said(failure);
                rows.iter().map(|_| said.clone()).collect()
            }
        }
    }

    async fn say_each(&self, rows: &[Row], batch_path: &str, paid: Paid<'_>) -> Vec<Said> {
        let mut parts = Vec::new();
        for row in rows {
            let Some((path, query)) = self.queries.write(Some(&row.key)) else { return Vec::new() };
            let query = if query.is_empty() { query } else { format!("?{query}") };
            let mut headers = self.write_headers.clone();
            if let Some(etag) = &row.etag {
                headers.insert(IF_MATCH, etag.clone());
            }
            parts.push(batch::Part {
                method: self.method.as_str(),
                address: batch::relative(batch_path, &format!("{path}{query}")),
                headers,
                body: format!("{{{}}}", row.members),
            });
        }
        let headers: HeaderMap = batch::headers();
        let request = (String::new(), Some(batch::body(&parts)), headers);
        let answer = match self.change(Method::POST, batch_path.to_owned(), request, paid).await {
            Ok(answer) => answer,
            Err(failure) => {
                let said = self.said(failure);
                return rows.iter().map(|_| said.clone()).collect();
            }
        };
        let Some(answers) = batch::answers(&answer, rows.len()) else {
            let failure = answer.unreadable("something that is no OData batch");
            return rows.iter().map(|_| Said::Failed(failure.clone())).collect();
        };
        rows.iter()
            .zip(answers)
            .map(|(row, answer)| match answer {
                Some(part) if (200..300).contains(&part.status) => self.shown_one(&row.key, &part.body, &part.headers),
                Some(part) => self.said(self.part_failed(part.status)),
                // It stopped at one before.
                None => Said::Refused(self.refused_failure(None)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cell, Value};

    #[test]
    fn the_writes_of_a_record_are_never_split() {
        let write = |key: u32, field| Write {
            key: Key::new(format!("{key:03}")),
            field,
            expect: Cell::absent(),
            value: Some(Value::text("x")),
            modified: None,
        };
        let writes: Vec<Write> = (0..7).flat_map(|key| [write(key, 1), write(key, 0)]).collect();
        let sizes = |batches: Vec<Vec<Write>>| batches.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(batches(writes.clone(), 3)), [6, 6, 2]);
        assert_eq!(sizes(batches(writes, 1)), [2; 7]);
        assert_eq!(sizes(batches(Vec::new(), 3)), [0; 0]);
    }
}
