//! What the suite needs of a source: a place that makes worlds, and a world that others edit behind our back.

use async_trait::async_trait;
use attune::connector::Connector;
use attune::model::{Key, Timestamp};

/// The fields of every world's connector, by index.
pub const TITLE: usize = 0;
/// The second text field.
pub const NOTE: usize = 1;

/// A value that the field [`TITLE`] of every world refuses with an error of the source itself.
pub const REFUSED: &str = "refused by the source";

/// Makes worlds: databases, stores.
#[async_trait]
pub trait Place: Send + Sync {
    /// A world with this many records, each with a title (`title 1`, …) and no note.
    async fn world(&self, records: usize) -> Box<dyn World>;
}

/// One source with its connector, and the hands of those who edit it behind the connector's back.
#[async_trait]
pub trait World: Send + Sync {
    /// The connector, with the fields [`TITLE`] and [`NOTE`].
    fn connector(&self) -> &dyn Connector;

    /// The keys of all records, in the order in which they were made.
    async fn keys(&self) -> Vec<Key>;

    /// Somebody sets a field; none clears it.
    async fn edit(&self, key: &Key, field: usize, value: Option<&str>);

    /// Somebody adds a record with this title.
    async fn add(&self, title: &str) -> Key;

    /// Somebody deletes a record so that nothing of it is left.
    async fn remove(&self, key: &Key);

    /// Somebody marks a record as deleted; false where the source has no such mark.
    async fn mark_deleted(&self, key: &Key) -> bool;

    /// Somebody edits the titles of all records at one and the same time, and this is the time.
    async fn storm(&self, title: &str) -> Timestamp;

    /// Sets a record's modification time; false where nobody can.
    async fn set_modified(&self, key: &Key, modified: Timestamp) -> bool;

    /// The source's clock, read in another way than the connector's.
    async fn now(&self) -> Timestamp;

    /// From now on no two records have one title; false where nobody can say so.
    async fn make_titles_unique(&self) -> bool {
        false
    }

    /// Whether the source knows a creation that it was asked for before by its token.
    fn keeps_tokens(&self) -> bool {
        false
    }
}
