//! How an API that the configuration describes works: how its records are listed, read and written. Plain data; texts are
//! templates, and what they may hold is the connector's matter.

use std::collections::BTreeMap;

use super::Holds;

/// How an API works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// What `{collection}` stands for.
    pub collection: Option<String>,
    /// The field with the record's key.
    pub key: String,
    /// What keys are.
    pub key_is: ApiKeyIs,
    /// The field that says when a record changed.
    pub modified: Option<String>,
    /// The field that says when a record was made: new ones may have no modification time.
    pub created: Option<String>,
    /// The field whose records are gone where it holds one of the values; without values: where it holds anything but null,
    /// false, 0 and nothing.
    pub deleted: Option<(String, Vec<String>)>,
    /// The field that says when a related record changed.
    pub related_modified: Option<String>,
    /// The field that holds a record's ETag; with it writes are conditional.
    pub etag: Option<String>,
    /// How times are written into requests (`strftime`).
    pub time: String,
    /// Whether a field is cleared by an empty text; otherwise by null.
    pub clears_with_empty: bool,
    /// Whether fields that hold nothing are left out of answers.
    pub omits_nulls: bool,
    /// What fields hold, where it is not to be told from the values.
    pub types: BTreeMap<String, Holds>,
    /// Headers of every request.
    pub headers: BTreeMap<String, String>,
    /// How records are listed.
    pub list: ApiList,
    /// How one record is read, where a list cannot be asked for keys.
    pub read: Option<ApiRead>,
    /// How records are written; none: they are not.
    pub write: Option<ApiWrite>,
    /// How a record is made; none: not at all.
    pub create: Option<ApiCreate>,
    /// How a record is removed; none: not at all.
    pub delete: Option<ApiDelete>,
}

/// What keys are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiKeyIs {
    /// Any text.
    #[default]
    Text,
    /// Whole numbers.
    Number,
    /// UUIDs.
    Uuid,
}

/// How records are listed, and found by their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiList {
    /// The path.
    pub path: String,
    /// The query.
    pub query: String,
    /// Where the records are in the answer (JSON pointer).
    pub records: String,
    /// How many records a page has.
    pub page_size: usize,
    /// How pages follow each other.
    pub paging: ApiPaging,
    /// Where the number of all records is in the answer.
    pub total: Option<String>,
    /// What is added to the query where there are conditions.
    pub filter: String,
    /// What stands between conditions.
    pub and: String,
    /// The condition that a time is not before another; none: everything is read, and looked through here.
    pub since: Option<String>,
    /// The same of a related record.
    pub since_related: Option<String>,
    /// One of several conditions.
    pub any: String,
    /// What stands between the conditions in `any`.
    pub or: String,
    /// The condition that a key is one of several; none: records are read one by one.
    pub keys: Option<String>,
    /// One key in it.
    pub each: String,
    /// What stands between keys.
    pub between: String,
    /// How many keys are asked for at once.
    pub keys_max: usize,
    /// What is added to the query for related records; none: their fields stand among the others, with dots.
    pub expand: Option<String>,
    /// One relation in it.
    pub relation: String,
    /// What stands between relations.
    pub between_relations: String,
    /// Headers of these requests.
    pub headers: BTreeMap<String, String>,
}

/// How pages follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiPaging {
    /// By a condition: keys after the last one. `next` (JSON pointer) says that more follows, where the answer tells.
    Key {
        /// The condition.
        after: String,
        /// Where the answer has an address or a token for more.
        next: Option<String>,
    },
    /// By the page's number, `{page}`, from 1.
    Page,
    /// By the number of records before it, `{offset}`.
    Offset,
    /// By a token from the answer.
    Cursor {
        /// Where the token is.
        pointer: String,
        /// What is added to the query.
        query: String,
    },
    /// By an address in the `Link` header.
    Link,
    /// By an address in the answer.
    Next {
        /// Where it is.
        pointer: String,
    },
}

/// How one record is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRead {
    /// The path, with the key.
    pub path: String,
    /// The query.
    pub query: String,
    /// Where the record is in the answer.
    pub record: String,
    /// The statuses that say that there is none.
    pub missing: Vec<u16>,
    /// Headers of these requests.
    pub headers: BTreeMap<String, String>,
}

/// How records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiWrite {
    /// The method.
    pub method: String,
    /// The path; of each record where one is sent alone or in an OData batch.
    pub path: String,
    /// The query.
    pub query: String,
    /// What is sent.
    pub body: ApiBody,
    /// How many records at once.
    pub batch: usize,
    /// Where the answer shows the record, or the records, as they are stored now; none: they are read back.
    pub records: Option<String>,
    /// The statuses that say that a record is not there.
    pub missing: Vec<u16>,
    /// The statuses beyond 400, 409 and 422 that say that a value is refused.
    pub refused: Vec<u16>,
    /// Headers of these requests.
    pub headers: BTreeMap<String, String>,
}

/// How one record is made, by a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiCreate {
    /// The path.
    pub path: String,
    /// The query.
    pub query: String,
    /// Where the answer shows the new record, with its key.
    pub record: String,
    /// The statuses that say that there is such a record already.
    pub exists: Vec<u16>,
    /// The statuses beyond 400, 409 and 422 that say that the record is refused.
    pub refused: Vec<u16>,
    /// Headers of these requests.
    pub headers: BTreeMap<String, String>,
}

/// How one record is removed, by a DELETE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiDelete {
    /// The path, with the key.
    pub path: String,
    /// The query.
    pub query: String,
    /// The statuses that say that a record is not there.
    pub missing: Vec<u16>,
    /// Headers of these requests.
    pub headers: BTreeMap<String, String>,
}

/// What a write sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiBody {
    /// The fields of one record.
    Record,
    /// A list of records with their keys, all of which are written or none.
    Array,
    /// An OData batch of requests that stand for themselves, to this path.
    Batch(String),
}
