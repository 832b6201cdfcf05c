//! `[alerts]`: where messages go when something changes.

use std::time::Duration;

use super::reader::Reader;
use super::tree::Node;
use super::{AlertFormat, Alerts, secret};

/// How long a state lasts before it is told, unless somebody says otherwise.
const AFTER: Duration = Duration::from_secs(60);

/// Whoever waits longer is not alerted.
const AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn read(reader: &Reader, node: &Node) -> Option<Alerts> {
    let fields = reader.table(node, &["url", "format", "after"])?;
    let url = fields.require("url", "the address of the webhook, as a secret: whoever has it can write there");
    let formats = [("json", AlertFormat::Json), ("slack", AlertFormat::Slack)];
    let format = fields.get_or("format", AlertFormat::Json, |node| reader.word(node, &formats));
    let after = fields.get_or("after", AFTER, |node| reader.duration(node, Duration::ZERO..=AFTER_MAX));
    Some(Alerts { url: secret::read(reader, url?)?, format, after })
}
