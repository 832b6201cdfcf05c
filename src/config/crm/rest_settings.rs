//! What the configuration says about an API, read and checked. Plain data.

use crate::config::Secret;
use crate::model::Api;

/// An API, one record a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestSettings {
    /// Scheme, host and the path that all requests begin with; HTTPS, or loopback.
    pub url: String,
    /// How calls prove who we are.
    pub auth: RestAuth,
    /// How it works.
    pub api: Api,
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
