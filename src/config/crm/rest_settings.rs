//! What the configuration says about an API, read and checked. Plain data.

use std::collections::BTreeMap;

use crate::config::Secret;
use crate::model::Holds;

/// An API, one record a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestSettings {
    /// Scheme, host and the path that all requests begin with; HTTPS, or loopback.
    pub url: String,
    /// How calls prove who we are.
    pub auth: RestAuth,
    /// What `{collection}` stands for.
    pub collection: Option<String>,
    /// The field with the record's key.
    pub key: String,
    /// What keys are.
    pub key_is: RestKey,
    /// The field that says when a record changed.
    pub modified: Option<String>,
    /// The field that says when a record was made.
    pub created: Option<String>,
    /// The field that says that a record is gone, and the values that do; none: anything but null, false, 0 and nothing.
    pub deleted: Option<(String, Vec<String>)>,
    /// The field that says when a related record changed.
    pub related_modified: Option<String>,
    /// The field that holds a record's ETag.
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
    pub list: RestList,
    /// How one record is read.
    pub read: Option<RestRead>,
    /// How records are written.
    pub write: Option<RestWrite>,
}

/// How calls prove who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestAuth {
    /// A header that holds a secret.
    Header {
        /// The header.
        header: String,
        /// What stands before the secret.
        prefix: String,
        /// The secret.
        secret: Secret,
    },
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        secret: Secret,
    },
    /// OAuth 2.0 client credentials.
    OAuth {
        /// Where tokens are given.
        token_url: String,
        /// The client.
        client_id: String,
        /// The client's secret.
        secret: Secret,
        /// What is asked for.
        scope: Option<String>,
    },
}

/// What keys are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestKey {
    /// Any text.
    #[default]
    Text,
    /// Whole numbers.
    Number,
    /// UUIDs.
    Uuid,
}

/// How records are listed; every text is a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestList {
    /// The path.
    pub path: String,
    /// The query.
    pub query: String,
    /// Where the records are (JSON pointer).
    pub records: String,
    /// Records of a page.
    pub page_size: u64,
    /// How pages follow each other.
    pub paging: RestPaging,
    /// Where the number of all records is.
    pub total: Option<String>,
    /// What is added to the query where there are conditions.
    pub filter: String,
    /// What stands between conditions.
    pub and: String,
    /// The condition that something is not before a time.
    pub since: Option<String>,
    /// The same of a related record.
    pub since_related: Option<String>,
    /// One of several conditions.
    pub any: String,
    /// What stands between them.
    pub or: String,
    /// The condition that a key is one of several.
    pub keys: Option<String>,
    /// One key in it.
    pub each: String,
    /// What stands between keys.
    pub between: String,
    /// Keys at once.
    pub keys_max: u64,
    /// What is added to the query for related records.
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
pub enum RestPaging {
    /// By a condition.
    Key {
        /// It.
        after: String,
        /// Where the answer says that more follows.
        next: Option<String>,
    },
    /// By number.
    Page,
    /// By the number of records before.
    Offset,
    /// By a token.
    Cursor {
        /// Where it is.
        pointer: String,
        /// What is added to the query.
        query: String,
    },
    /// By the `Link` header.
    Link,
    /// By an address in the answer.
    Next {
        /// Where it is.
        pointer: String,
    },
}

/// How one record is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestRead {
    /// The path.
    pub path: String,
    /// The query.
    pub query: String,
    /// Where the record is.
    pub record: String,
    /// The statuses that say that there is none.
    pub missing: Vec<u16>,
    /// Headers of these requests.
    pub headers: BTreeMap<String, String>,
}

/// How records are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestWrite {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query.
    pub query: String,
    /// What is sent.
    pub body: RestBody,
    /// Records at once.
    pub batch: u64,
    /// Where the answer shows what is stored.
    pub records: Option<String>,
    /// The statuses that say that a record is not there.
    pub missing: Vec<u16>,
    /// The other statuses that say that a value is refused.
    pub refused: Vec<u16>,
    /// Headers of these requests.
    pub headers: BTreeMap<String, String>,
}

/// What a write sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestBody {
    /// One record.
    Record,
    /// A list of records.
    Array,
    /// An OData batch, to this path.
    Batch(String),
}
