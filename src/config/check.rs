//! What can only be seen with everything side by side: a mapping beside the CRM it is used with, and what nothing uses.

use std::collections::BTreeMap;

use super::mapping::ReadMapping;
use super::reader::Reader;
use super::tree::Node;
use super::{Crm, Store, crm};
use crate::model::FieldOptions;

/// Fields that would write a column which the connector itself needs, or that are of a record to which nothing leads.
pub(super) fn pairs(
    reader: &Reader,
    stores: &BTreeMap<String, Store>,
    crms: &BTreeMap<String, Crm>,
    mappings: &BTreeMap<String, ReadMapping<'_>>,
) {
    for pair in stores.values().flat_map(|store| &store.pairs) {
        let (Some(crm), Some(mapping)) = (crms.get(&pair.crm), mappings.get(&pair.mapping)) else { continue };
        for (rule, node) in mapping.mapping.fields.iter().zip(&mapping.fields) {
            crm::check(reader, crm, rule, node);
        }
    }
    for store in stores.values() {
        one_meaning(reader, store, mappings);
    }
}

/// A store is read once for all its mappings: what tells which address or which segments a field is about is one for all.
fn one_meaning(reader: &Reader, store: &Store, mappings: &BTreeMap<String, ReadMapping<'_>>) {
    let mut met: BTreeMap<&str, (&str, &FieldOptions)> = BTreeMap::new();
    for mapping in store.pairs.iter().filter_map(|pair| mappings.get(&pair.mapping)) {
        for (rule, node) in mapping.mapping.fields.iter().zip(&mapping.fields) {
            let about = if rule.store.starts_with("address:") { "address:…" } else { rule.store.as_str() };
            let (other, options) = *met.entry(about).or_insert((&mapping.mapping.name, &rule.options));
            let told = |options: &FieldOptions| {
                (options.address.clone(), options.among.clone(), options.permission_set.clone())
            };
            if told(options) != told(&rule.options) {
                reader.problem(
                    node,
                    format!(
                        "[store.{}] uses this mapping and [mapping.{other}], and they say different things of `{about}`: a store \
                         is read once for all its mappings, so `address`, `among` and `permission_set` must be the same",
                        store.name
                    ),
                );
            }
        }
    }
}

/// What was configured and has no effect.
pub(super) fn unused(
    reader: &Reader,
    stores: &BTreeMap<String, Store>,
    crms: &BTreeMap<String, Node>,
    mappings: &BTreeMap<String, Node>,
) {
    let pairs = || stores.values().flat_map(|store| &store.pairs);
    for (name, node) in crms.iter().filter(|(name, _)| pairs().all(|pair| pair.crm != **name)) {
        reader.warning(node, format!("no store uses the CRM `{name}`: it is not read"));
    }
    for (name, node) in mappings.iter().filter(|(name, _)| pairs().all(|pair| pair.mapping != **name)) {
        reader.warning(node, format!("no store uses the mapping `{name}`"));
    }
}
