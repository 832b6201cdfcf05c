//! The customers a store starts with, derived from a seed: the same population is the same data everywhere.
//!
//! Public so that whoever needs a CRM with the same people can make one without asking the store.
//! Must not know: HTTP, clocks.

use super::data::{AttributeValue, Customer, Data, Definition};
use super::dates::Seconds;
use super::random::Random;
use super::settings::{AttributeKind, Population};

/// 2025-01-01T00:00:00Z: everything generated was made and changed in the 300 days after it.
const FIRST_SECOND: i64 = 1_735_689_600;
const SPAN_SECONDS: u64 = 300 * 86_400;

const FIRST_NAMES: [&str; 24] = [
    "Ada", "Ben", "Chiara", "Dmitri", "Elif", "Femi", "Grace", "Hugo", "Ines", "Jonas", "Keiko", "Liam", "Maja",
    "Noor", "Olga", "Pablo", "Quinn", "Rosa", "Søren", "Tariq", "Uma", "Viktor", "Wanda", "Yusuf",
];
const LAST_NAMES: [&str; 24] = [
    "Abara", "Bianchi", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Ivanova", "Jansen", "Kowalski",
    "Larsen", "Moreau", "Nakamura", "Okafor", "Petrov", "Quirke", "Rossi", "Santos", "Tanaka", "Ueda", "Varga",
    "Weber", "Yılmaz",
];
const WORDS: [&str; 16] = [
    "amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "harbour", "indigo", "juniper", "kelp", "linden",
    "maple", "nickel", "ochre", "pine",
];

/// The e-mail of the generated customer with this id.
pub fn email(id: u64) -> String {
    format!("customer{id:07}@example.com")
}

/// First and last name of the generated customer with this id.
pub fn names(seed: u64, id: u64) -> (&'static str, &'static str) {
    let mut random = Random::of(seed, id);
    (random.pick(&FIRST_NAMES), random.pick(&LAST_NAMES))
}

/// The value of a generated customer's attribute, or none where it is missing; `attribute` counts from 0.
pub fn value(population: &Population, id: u64, attribute: usize) -> Option<String> {
    let kind = population.attributes.get(attribute)?.kind;
    let mut random = Random::of(population.seed, id.wrapping_mul(64).wrapping_add(attribute as u64 + 1));
    if random.chance(population.missing) {
        return None;
    }
    Some(match kind {
        AttributeKind::String => {
            format!("{} {} {}", random.pick(&WORDS), random.pick(&WORDS), random.below(1000))
        }
        AttributeKind::Number => match random.below(2) {
            0 => random.below(100_000).to_string(),
            _ => format!("{}.{}", random.below(10_000), 1 + random.below(9)),
        },
        AttributeKind::Date => {
            format!("20{:02}-{:02}-{:02}", 10 + random.below(16), 1 + random.below(12), 1 + random.below(28))
        }
    })
}

/// Everything: customers from id 1, attributes from id 1, values from id 1.
pub(super) fn data(population: &Population) -> Data {
    let definitions = (1..)
        .zip(&population.attributes)
        .map(|(id, attribute)| Definition {
            id,
            name: attribute.name.clone(),
            kind: attribute.kind,
            created: Seconds(FIRST_SECOND),
            modified: Seconds(FIRST_SECOND),
        })
        .collect();
    let mut next_value = 1;
    let customers = (1..=population.customers)
        .map(|id| {
            let mut random = Random::of(population.seed, id.wrapping_mul(64));
            let mut instant = || Seconds(FIRST_SECOND + i64::try_from(random.below(SPAN_SECONDS)).unwrap_or(0));
            let (first, second) = (instant(), instant());
            let (created, modified) = (first.min(second), first.max(second));
            let mut values = Vec::with_capacity(population.attributes.len());
            for attribute in 0..population.attributes.len() {
                if let Some(text) = value(population, id, attribute) {
                    values.push(AttributeValue {
                        id: next_value,
                        attribute_id: attribute as u64 + 1,
                        text: text.into(),
                        created,
                        modified: modified.min(instant().max(created)),
                    });
                    next_value += 1;
                }
            }
            let (first_name, last_name) = names(population.seed, id);
            Customer {
                email: email(id),
                first_name: first_name.to_owned(),
                last_name: last_name.to_owned(),
                created,
                modified,
                values,
                ..Customer::blank(id)
            }
        })
        .collect();
    Data::bulk(customers, definitions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::settings::AttributeSettings;

    fn population() -> Population {
        let attribute = |name: &str, kind| AttributeSettings { name: name.to_owned(), kind };
        Population {
            customers: 2_000,
            attributes: vec![
                attribute("Job title", AttributeKind::String),
                attribute("Credit", AttributeKind::Number),
                attribute("Since", AttributeKind::Date),
            ],
            missing: 0.5,
            seed: 7,
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_data_and_another_gives_other_data() {
        let all = |population: &Population| data(population).customers().cloned().collect::<Vec<_>>();
        assert_eq!(all(&population()), all(&population()));
        assert_ne!(all(&population()), all(&Population { seed: 8, ..population() }));
    }

    #[test]
    fn the_share_of_missing_values_is_what_was_asked_for() {
        let held: usize = data(&population()).customers().map(|customer| customer.values.len()).sum();
        assert!((2_800..3_200).contains(&held), "{held} of 6000 values");
        let full = data(&Population { missing: 0.0, ..population() });
        assert!(full.customers().all(|customer| customer.values.len() == 3));
    }

    #[test]
    fn values_have_their_types_and_dates_their_order() {
        for customer in data(&population()).customers() {
            assert!(customer.created <= customer.modified);
            for value in &customer.values {
                assert!(customer.created <= value.created && value.created <= value.modified);
                match value.attribute_id {
                    2 => assert!(value.text.parse::<f64>().is_ok(), "{}", value.text),
                    3 => assert!(value.text.parse::<jiff::civil::Date>().is_ok(), "{}", value.text),
                    _ => assert!(!value.text.is_empty()),
                }
                let expected = super::value(&population(), customer.id, value.attribute_id as usize - 1);
                assert_eq!(Some(&*value.text), expected.as_deref());
            }
        }
    }
}
