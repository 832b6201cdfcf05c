//! What the configuration says about one API, beside how it works.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::connector::FieldWanted;
use crate::http::{Client, FixedQuota, SecretProvider};
use crate::model::Api;

/// What the configuration says about one API (`[crm.NAME]` with `kind = "rest"`).
pub struct Settings {
    /// The source's name in the configuration, for messages.
    pub name: String,
    /// Scheme, host and the path that all requests begin with.
    pub url: String,
    /// How calls prove who we are.
    pub auth: Auth,
    /// How the API works.
    pub api: Api,
    /// The quota to keep to; none: only a few calls at the same time.
    pub quota: Option<FixedQuota>,
    /// The fields, in the order that cells and writes index.
    pub fields: Vec<FieldWanted>,
    /// How long a read that fails for a passing reason is repeated before the failure is handed on.
    pub patience: Duration,
    /// Ends every wait at once.
    pub cancel: CancellationToken,
    /// The process's client.
    pub client: Client,
}

/// How calls prove who we are.
#[derive(Clone)]
pub enum Auth {
    /// A header that holds a secret.
    Header {
        /// The header.
        header: String,
        /// What stands before the secret: `Bearer `, or nothing.
        prefix: String,
        /// Where the secret comes from.
        secret: SecretProvider,
    },
    /// A user and a password in every call.
    Basic {
        /// The user.
        user: String,
        /// Where the password comes from.
        secret: SecretProvider,
    },
    /// OAuth 2.0 client credentials: a token that is fetched, and fetched anew before it expires.
    OAuth {
        /// Where tokens are given.
        token_url: String,
        /// The client.
        client_id: String,
        /// Where the client's secret comes from.
        secret: SecretProvider,
        /// What is asked for, where the API wants it said.
        scope: Option<String>,
    },
}
