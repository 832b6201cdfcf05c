//! `kind = "hubspot"`: an object of a HubSpot account.

use super::{crm, keys};
use crate::config::reader::Reader;
use crate::config::tree::Node;
use crate::config::{Crm, CrmKind, Secret, secret, url};

const KEYS: [&str; 5] = ["url", "access_token", "object", "create_properties", "property_group"];

/// The API's address, where nobody names another.
const URL: &str = "https://api.hubapi.com";

/// The group of contacts' properties that every account has.
const GROUP: &str = "contactinformation";

/// An object of a HubSpot account, one record a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSpotSettings {
    /// Scheme and host of the API; HTTPS, or loopback.
    pub url: String,
    /// The private app's access token.
    pub access_token: Secret,
    /// The object, `contacts`.
    pub object: String,
    /// The group in which missing properties are made; none: they are not made.
    pub create_in_group: Option<String>,
}

/// Reads one.
pub(super) fn read(reader: &Reader, name: &str, node: &Node) -> Option<Crm> {
    let fields = reader.table(node, &keys(&KEYS))?;
    let url = fields.get_or("url", URL.to_owned(), |node| url::read_api(reader, node));
    let access_token = fields
        .require("access_token", "where the private app's token is found, such as { credential = \"hubspot\" }")
        .and_then(|node| secret::read(reader, node));
    let object = fields.get_or("object", "contacts".to_owned(), |node| word(reader, node));
    let creates = fields.get_or("create_properties", false, |node| reader.boolean(node));
    let group = fields.get_or("property_group", GROUP.to_owned(), |node| word(reader, node));
    let create_in_group = creates.then_some(group);
    let settings = HubSpotSettings { url, access_token: access_token?, object, create_in_group };
    Some(crm(reader, name, CrmKind::HubSpot(settings), &fields))
}

/// A name of HubSpot's own, which is part of addresses.
fn word(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        reader.problem(node, "expected HubSpot's internal name, which has letters, digits, `_` and `-`");
        return None;
    }
    Some(text)
}
