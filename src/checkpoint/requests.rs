//! What other processes ask of the one that holds the lock.

use super::database::statement;
use super::{Error, Transaction};
use crate::model::Timestamp;

/// A request that nobody has answered yet.
#[derive(Clone, Debug)]
pub struct RequestRow {
    /// Its number.
    pub id: i64,
    /// JSON.
    pub request: String,
}

impl Transaction<'_> {
    /// Leaves a request; its number.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn leave_request(&mut self, at: Timestamp, request: &str) -> Result<i64, Error> {
        let query = statement("INSERT INTO request (at, request) VALUES (?1, ?2) RETURNING id")
            .bind(at.as_millis())
            .bind(request);
        Ok(self.one(query).await?.get(0))
    }

    /// The requests that nobody has answered, oldest first, at most 100.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn open_requests(&mut self) -> Result<Vec<RequestRow>, Error> {
        let query = statement("SELECT id, request FROM request WHERE answer IS NULL ORDER BY id LIMIT 100");
        let rows = self.database.rows(query).await?;
        Ok(rows.iter().map(|row| RequestRow { id: row.get(0), request: row.get(1) }).collect())
    }

    /// Answers a request, and forgets those that were answered more than a day ago.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn answer_request(&mut self, id: i64, answer: &str, now: Timestamp) -> Result<(), Error> {
        let query = statement("UPDATE request SET answer = ?2 WHERE id = ?1").bind(id).bind(answer);
        self.database.execute(query).await?;
        let query =
            statement("DELETE FROM request WHERE answer IS NOT NULL AND at < ?1").bind(now.as_millis() - 86_400_000);
        self.database.execute(query).await?;
        Ok(())
    }

    /// The answer to a request, once there is one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn answer_to(&mut self, id: i64) -> Result<Option<String>, Error> {
        let query = statement("SELECT answer FROM request WHERE id = ?1").bind(id);
        let row = self.first(query).await?;
        Ok(row.and_then(|row| row.get(0)))
    }
}
