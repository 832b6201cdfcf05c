//! `kind = "salesforce"`: an object of a Salesforce org.

use super::{crm, keys};
use crate::config::reader::Reader;
use crate::config::tree::Node;
use crate::config::{Crm, CrmKind, Secret, secret, url};

const KEYS: [&str; 8] =
    ["url", "client_id", "client_secret", "private_key", "user", "audience", "object", "external_id"];

/// Who assertions are for, where nobody says: sandboxes have another.
const AUDIENCE: &str = "https://login.salesforce.com";

/// An object of a Salesforce org, one record a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SalesforceSettings {
    /// The org's own address; HTTPS, or loopback.
    pub url: String,
    /// The connected app's consumer key.
    pub client_id: String,
    /// How tokens are asked for.
    pub grant: SalesforceGrant,
    /// The object, `Contact`.
    pub object: String,
    /// The object's external id field in which Attune leaves the token of a creation.
    pub external_id: Option<String>,
}

/// How tokens are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SalesforceGrant {
    /// With the connected app's consumer secret.
    ClientCredentials(Secret),
    /// With an assertion that a private key signs.
    JwtBearer {
        /// The key, in PEM.
        private_key: Secret,
        /// The user's login.
        user: String,
        /// Who the assertion is for.
        audience: String,
    },
}

/// Reads one.
pub(super) fn read(reader: &Reader, name: &str, node: &Node) -> Option<Crm> {
    let fields = reader.table(node, &keys(&KEYS))?;
    let url = fields
        .require("url", "the org's own address, such as \"https://example.my.salesforce.com\"")
        .and_then(|node| url::read_api(reader, node));
    let client_id = fields.require("client_id", "the connected app's consumer key").and_then(|node| reader.text(node));
    let object = fields.get_or("object", "Contact".to_owned(), |node| {
        api_name(reader, node, "an object: expected one such as \"Contact\" or \"Member__c\"")
    });
    let external_id = fields.get("external_id").and_then(|node| {
        api_name(reader, node, "a field: expected one of text that is an external id, such as \"Attune__c\"")
    });
    let audience = fields.get_or("audience", AUDIENCE.to_owned(), |node| url::read_api(reader, node));
    let grant = match (fields.get("client_secret"), fields.get("private_key")) {
        (Some(secret), None) => {
            for key in ["user", "audience"] {
                if let Some(node) = fields.get(key) {
                    reader.warning(node, "has no effect with `client_secret`: it belongs to `private_key`");
                }
            }
            secret::read(reader, secret).map(SalesforceGrant::ClientCredentials)
        }
        (None, Some(key)) => {
            let private_key = secret::read(reader, key);
            let user = fields
                .require("user", "the login of the user that the private key signs for")
                .and_then(|node| reader.text(node));
            private_key.zip(user).map(|(private_key, user)| SalesforceGrant::JwtBearer { private_key, user, audience })
        }
        (None, None) => {
            reader.problem(
                node,
                "neither `client_secret` (client credentials) nor `private_key` (JWT bearer): one of them proves who we are",
            );
            None
        }
        (Some(_), Some(_)) => {
            reader.problem(node, "both `client_secret` and `private_key` are given: keep one");
            None
        }
    };
    let settings = SalesforceSettings { url: url?, client_id: client_id?, grant: grant?, object, external_id };
    Some(crm(reader, name, CrmKind::Salesforce(settings), &fields))
}

/// The API name of something, which is part of addresses and queries.
fn api_name(reader: &Reader, node: &Node, of: &str) -> Option<String> {
    let text = reader.text(node)?;
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        reader.problem(node, format!("not the API name of {of}"));
        return None;
    }
    Some(text)
}
