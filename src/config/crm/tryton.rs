//! `kind = "tryton"`: a model of a Tryton.

use super::{crm, keys};
use crate::config::reader::Reader;
use crate::config::tree::Node;
use crate::config::{Crm, CrmKind, Secret, secret, url};

const KEYS: [&str; 5] = ["url", "database", "user", "password", "model"];

/// A model of a Tryton, one record a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrytonSettings {
    /// Scheme and host, and the path where it is not at the root; HTTPS, or loopback.
    pub url: String,
    /// The database.
    pub database: String,
    /// The login of the user.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// The model, `party.party`.
    pub model: String,
}

/// Reads one.
pub(super) fn read(reader: &Reader, name: &str, node: &Node) -> Option<Crm> {
    let fields = reader.table(node, &keys(&KEYS))?;
    let url = fields
        .require("url", "the address of the Tryton server, such as \"https://erp.example.com\"")
        .and_then(|node| url::read_api(reader, node));
    let database =
        fields.require("database", "the name of the Tryton's database").and_then(|node| database(reader, node));
    let user = fields.require("user", "the login of the user that Attune works as").and_then(|node| user(reader, node));
    let password = fields
        .require("password", "where the user's password is found, such as { credential = \"tryton\" }")
        .and_then(|node| secret::read(reader, node));
    let model = fields.get_or("model", "party.party".to_owned(), |node| model(reader, node));
    let settings = TrytonSettings { url: url?, database: database?, user: user?, password: password?, model };
    Some(crm(reader, name, CrmKind::Tryton(settings), &fields))
}

/// It becomes a part of the address.
fn database(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        reader.problem(node, "not the name of a database: expected letters, digits, `_`, `-` and `.`");
        return None;
    }
    Some(text)
}

/// Sessions name the user before a colon.
fn user(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    if text.is_empty() || text.contains(':') {
        reader.problem(node, "not a login that Tryton takes: it must not be empty or hold a colon");
        return None;
    }
    Some(text)
}

fn model(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    let is_sound = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    if !text.split('.').all(is_sound) {
        reader.problem(node, "not the technical name of a model: expected one such as \"party.party\"");
        return None;
    }
    Some(text)
}
