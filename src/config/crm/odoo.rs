//! `kind = "odoo"`: a model of an Odoo.

use super::{crm, keys};
use crate::config::reader::Reader;
use crate::config::tree::Node;
use crate::config::{Crm, CrmKind, Secret, secret, url};

const KEYS: [&str; 5] = ["url", "database", "user", "api_key", "model"];

/// A model of an Odoo, one record a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OdooSettings {
    /// Scheme and host, and the path where it is not at the root; HTTPS, or loopback.
    pub url: String,
    /// The database.
    pub database: String,
    /// The login of the user that the key belongs to: servers before version 19 ask for it.
    pub user: Option<String>,
    /// The API key.
    pub api_key: Secret,
    /// The model, `res.partner`.
    pub model: String,
}

/// Reads one.
pub(super) fn read(reader: &Reader, name: &str, node: &Node) -> Option<Crm> {
    let fields = reader.table(node, &keys(&KEYS))?;
    let url = fields
        .require("url", "the address of the Odoo, such as \"https://erp.example.com\"")
        .and_then(|node| url::read_api(reader, node));
    let database = fields.require("database", "the name of the Odoo's database").and_then(|node| reader.text(node));
    let user = fields.get("user").and_then(|node| reader.text(node));
    let api_key = fields
        .require("api_key", "where the key is found, such as { credential = \"odoo\" }")
        .and_then(|node| secret::read(reader, node));
    let model = fields.get_or("model", "res.partner".to_owned(), |node| model(reader, node));
    let settings = OdooSettings { url: url?, database: database?, user, api_key: api_key?, model };
    Some(crm(reader, name, CrmKind::Odoo(settings), &fields))
}

fn model(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    let is_sound =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !text.split('.').all(is_sound) {
        reader.problem(node, "not the technical name of a model: expected one such as \"res.partner\"");
        return None;
    }
    Some(text)
}
