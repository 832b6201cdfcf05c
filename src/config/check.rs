//! What can only be seen with everything side by side: a mapping beside the CRM it is used with, and what nothing uses.

use std::collections::BTreeMap;

use crate::model::Direction;

use super::mapping::ReadMapping;
use super::reader::Reader;
use super::tree::Node;
use super::{Crm, CrmKind, Store, nearest};

/// Fields that would write a column which the connector itself needs, or that are of a record to which nothing leads.
pub(super) fn pairs(
    reader: &Reader,
    stores: &BTreeMap<String, Store>,
    crms: &BTreeMap<String, Crm>,
    mappings: &BTreeMap<String, ReadMapping<'_>>,
) {
    for pair in stores.values().flat_map(|store| &store.pairs) {
        let (Some(crm), Some(mapping)) = (crms.get(&pair.crm), mappings.get(&pair.mapping)) else { continue };
        let CrmKind::Sql(sql) = &crm.kind;
        for (rule, node) in mapping.mapping.fields.iter().zip(&mapping.fields) {
            if let Some((relation, _)) = rule.crm.split_once('.')
                && !sql.relations.contains_key(relation)
            {
                let hint = nearest::hint(relation, sql.relations.keys().map(String::as_str));
                reader.problem(
                    node,
                    format!(
                        "`{}` is a field of the record that a contact points to, and [crm.{}] does not say how: add \
                         [crm.{}.relation.{relation}] with `table` and `from`{hint}",
                        rule.crm, crm.name, crm.name
                    ),
                );
            }
            let taken = [("key", Some(&sql.key)), ("modified", Some(&sql.modified)), ("deleted", sql.deleted.as_ref())];
            for (role, column) in taken {
                if rule.direction != Direction::ToStore && column == Some(&rule.crm) {
                    reader.problem(
                        node,
                        format!(
                            "`{}` is the `{role}` column of [crm.{}], and this field would write it: set direction = \
                             \"to_store\", or map another column",
                            rule.crm, crm.name
                        ),
                    );
                }
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
