//! What happens in a history, as a list: who is there at first, what people do and when, which faults strike, where the
//! process dies. A seed makes one; a failing history is shrunk by leaving things out of it, and kept as what is left.

use std::collections::BTreeSet;

use attune::model::{Conflict, Create, FieldType};
use serde::{Deserialize, Serialize};

use crate::plan::{Plan, REPLICA_LAG_MS, Upheaval};
use crate::random::Random;
use crate::world::SEGMENTS;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    pub seed: u64,
    pub plan: Plan,
    pub beings: Vec<Being>,
    /// Who is missing at first: system, person, and the key that is kept for him.
    #[serde(default)]
    pub absent: Vec<(usize, u64, u64)>,
    pub deeds: Vec<Timed>,
    /// One for each life of the process that ends; after the last it lives on.
    pub deaths: Vec<Death>,
    /// The faults that strike; none: as often as the plan says.
    pub strikes: Option<BTreeSet<Strike>>,
}

/// A record that is there when the history begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Being {
    pub system: usize,
    pub key: u64,
    pub person: u64,
    /// The e-mail first.
    pub values: Vec<Option<String>>,
}

/// Something that somebody does, so long after the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    pub at_ms: i64,
    pub deed: Deed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// A field gets another value (field 0: the e-mail). Late: it shows so much later than it is dated.
    Edit {
        system: usize,
        key: u64,
        field: usize,
        value: Option<String>,
        late_ms: i64,
    },
    Remove {
        system: usize,
        key: u64,
    },
    /// Somebody who was removed registers again.
    Register(Return),
    Merge {
        system: usize,
        key: u64,
        into: u64,
    },
    Pause {
        system: usize,
        for_ms: i64,
    },
    /// Our clock jumps.
    Step {
        ms: i64,
    },
    Operate(Operation),
    /// All that a system holds is what it held so long ago.
    Restore {
        system: usize,
        age_ms: i64,
    },
    /// The process ends, and begins again with its checkpoint of so long ago; and with the mark beside it or not.
    RestoreCheckpoint {
        age_ms: i64,
        with_mark: bool,
    },
    /// The process ends, and begins again with so many of the fields in its mapping.
    Remap {
        fields: usize,
    },
    /// The process ends, and begins again with another policy for conflicts in a field.
    Repolicy {
        field: usize,
        conflict: Conflict,
    },
    Silence {
        system: usize,
        for_ms: i64,
    },
}

impl Deed {
    /// The field that it is about.
    pub const fn field(&self) -> Option<usize> {
        match self {
            Self::Edit { field, .. } | Self::Repolicy { field, .. } => Some(*field),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    pub system: usize,
    pub key: u64,
    pub person: u64,
    pub values: Vec<Option<String>>,
}

/// What an operator does about everything that waits for him.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    TakeStore,
    TakeCrm,
    Drop,
    Retry,
    Approve,
}

/// Where a life of the process ends: after so many turns of its tasks, or at so many commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    pub turns: Option<u64>,
    pub commits: Option<i64>,
}

/// One fault: its kind, what it strikes, and which occasion of that it was.
pub type Strike = (String, String, u64);

/// The longest list of deaths.
const LIVES: usize = 12;

impl Script {
    pub fn of(seed: u64) -> Self {
        let plan = Plan::of(seed);
        let beings = beings(seed, &plan);
        let deeds = deeds(seed, &plan, &beings);
        let deaths = deaths(seed, &plan);
        let (beings, absent) =
            if plan.creates == Create::None { (beings, Vec::new()) } else { some_are_missing(seed, beings) };
        Self { seed, plan, beings, absent, deeds, deaths, strikes: None }
    }
}

/// People as contacts, and as customers of one store or of several.
fn beings(seed: u64, plan: &Plan) -> Vec<Being> {
    let mut beings = Vec::new();
    let mut number = 0;
    for person in 1..=plan.people {
        let mut random = Random::keyed(seed, &[5, person]);
        let email = format!("P{person}@example.com");
        let (crms, all) = (plan.crms, plan.crms + plan.stores);
        let first = crms + usize::try_from(random.below(plan.stores as u64)).unwrap();
        let systems: BTreeSet<usize> =
            (0..all).filter(|system| *system < crms || *system == first || random.chance(plan.shared)).collect();
        for system in systems {
            let mut values = vec![Some(email.clone())];
            for field in 1..=plan.fields.len() {
                // Most begin equal or with one side empty; a few differ when they first meet.
                values.push(match random.below(10) {
                    0..4 => Some(value(plan, field, 500 + person * 10 + field as u64)),
                    4..9 => None,
                    _ => {
                        number += 1;
                        Some(value(plan, field, 900 + number))
                    }
                });
            }
            beings.push(Being { system, key: system as u64 * 1000 + person, person, values });
        }
    }
    beings
}

/// A third of all are not there at first; what people do to them later they do when somebody has made them.
fn some_are_missing(seed: u64, beings: Vec<Being>) -> (Vec<Being>, Vec<(usize, u64, u64)>) {
    let is_missing = |being: &Being| Random::keyed(seed, &[7, being.key]).chance(330);
    let (missing, there): (Vec<Being>, Vec<Being>) = beings.into_iter().partition(is_missing);
    (there, missing.into_iter().map(|being| (being.system, being.person, being.key)).collect())
}

/// A value of the field's type that nobody else uses, where the type has so many.
fn value(plan: &Plan, field: usize, number: u64) -> String {
    let chosen = Random::keyed(number, &[field as u64]).next();
    match plan.fields[field - 1].kind {
        FieldType::Boolean => chosen.is_multiple_of(2).to_string(),
        FieldType::List => {
            let within = SEGMENTS.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1);
            serde_json::to_string(&within.map(|(_, name)| name).collect::<Vec<_>>()).unwrap()
        }
        FieldType::Number if number.is_multiple_of(5) => format!("{number}.125"),
        FieldType::Number => format!("{number}.50"),
        _ if number.is_multiple_of(5) => format!("v{number} at length"),
        _ if number.is_multiple_of(7) => format!(" v{number} "),
        _ => format!("v{number}"),
    }
}

struct Making<'a> {
    plan: &'a Plan,
    beings: &'a [Being],
    random: Random,
    now_ms: i64,
    deeds: Vec<Timed>,
}

fn deeds(seed: u64, plan: &Plan, beings: &[Being]) -> Vec<Timed> {
    let mut making = Making { plan, beings, random: Random::keyed(seed, &[2]), now_ms: 0, deeds: Vec::new() };
    for number in 0..plan.edits {
        making.now_ms += 1 + i64::try_from(making.random.below(u64::try_from(plan.edit_gap_ms).unwrap() * 2)).unwrap();
        if making.now_ms < plan.chaos_ms {
            making.deed(number);
        }
    }
    if plan.pauses {
        let mut at_ms = 0;
        loop {
            at_ms += making.random.between(10_000, 60_000);
            if at_ms >= plan.chaos_ms {
                break;
            }
            let system = usize::try_from(making.random.below((plan.crms + plan.stores) as u64)).unwrap();
            let for_ms = making.random.between(12_000, 40_000);
            making.deeds.push(Timed { at_ms, deed: Deed::Pause { system, for_ms } });
            at_ms += for_ms;
        }
    }
    plan.upheavals.iter().for_each(|upheaval| making.upheaval(*upheaval));
    if plan.our_steps_ms > 0 {
        let (at_ms, ms) =
            (making.random.between(1, plan.chaos_ms), making.random.between(-plan.our_steps_ms, plan.our_steps_ms));
        making.deeds.push(Timed { at_ms, deed: Deed::Step { ms } });
    }
    let mut deeds = making.deeds;
    deeds.sort_by_key(|timed| timed.at_ms);
    deeds
}

impl Making<'_> {
    fn push(&mut self, deed: Deed) {
        self.deeds.push(Timed { at_ms: self.now_ms, deed });
    }

    fn deed(&mut self, number: u64) {
        let (plan, beings) = (self.plan, self.beings);
        let person = 1 + self.random.below(plan.people);
        let field = 1 + usize::try_from(self.random.below(plan.fields.len() as u64)).unwrap();
        let places: Vec<&Being> = beings.iter().filter(|being| being.person == person).collect();
        // Half of all edits are made in the CRM.
        let place = if self.random.chance(500) { places[0] } else { *self.random.pick(&places) };
        let fresh = value(plan, field, 1000 + number);
        let special = self.random.below(1000);
        let kinds = [plan.deletions, plan.emails, plan.merges, plan.operations];
        let limits: Vec<u64> = kinds
            .iter()
            .scan(0, |sum, kind| {
                Some({
                    *sum += kind;
                    *sum
                })
            })
            .collect();
        if let Some(kind) = limits.iter().position(|limit| special < *limit) {
            return match kind {
                0 => self.removal(place, number),
                1 => self.email(place),
                2 => self.merge(person),
                _ => self.operation(),
            };
        }
        match self.random.below(100) {
            0..14 => self.edit(place, field, None),
            14..22 => self.edit(place, field, place.values[field].clone()),
            22..30 => places.iter().for_each(|place| self.edit(place, field, Some(fresh.clone()))),
            30..38 => {
                for (at, place) in places.iter().enumerate() {
                    self.edit(place, field, Some(value(plan, field, 2000 + number * 10 + at as u64)));
                }
            }
            38..42 => {
                // An import: everybody's field in the same second.
                for (at, place) in beings.iter().filter(|being| being.system == place.system).enumerate() {
                    self.edit(place, field, Some(value(plan, field, 3000 + number * 10 + at as u64)));
                }
            }
            _ => self.edit(place, field, Some(fresh)),
        }
    }

    /// At once, or by a transaction that commits later and is dated when it began.
    fn edit(&mut self, place: &Being, field: usize, value: Option<String>) {
        let late = place.system < self.plan.crms && self.random.chance(self.plan.faults.late_commit);
        let late_ms = if late { self.random.between(500, REPLICA_LAG_MS - 6_000) } else { 0 };
        self.push(Deed::Edit { system: place.system, key: place.key, field, value, late_ms });
    }

    fn removal(&mut self, place: &Being, number: u64) {
        self.push(Deed::Remove { system: place.system, key: place.key });
        if self.random.chance(500) {
            let fields = 1..=self.plan.fields.len();
            let mut values = vec![place.values[0].clone()];
            let random = &mut self.random;
            values.extend(fields.map(|field| random.chance(500).then(|| value(self.plan, field, 4000 + number))));
            let after_ms = self.random.between(1, 30_000);
            let (system, key, person) = (place.system, place.key + 100 + number, place.person);
            let deed = Deed::Register(Return { system, key, person, values });
            self.deeds.push(Timed { at_ms: self.now_ms + after_ms, deed });
        }
    }

    fn email(&mut self, place: &Being) {
        let other = if self.random.chance(500) { 1 + self.random.below(self.plan.people) } else { 90 + place.person };
        self.push(Deed::Edit {
            system: place.system,
            key: place.key,
            field: 0,
            value: Some(format!("p{other}@example.com ")),
            late_ms: 0,
        });
    }

    fn merge(&mut self, person: u64) {
        let other = 1 + self.random.below(self.plan.people);
        if other != person {
            self.push(Deed::Merge { system: 0, key: person, into: other });
        }
    }

    fn upheaval(&mut self, upheaval: Upheaval) {
        let (plan, random) = (self.plan, &mut self.random);
        let at_ms = random.between(plan.chaos_ms / 4, plan.chaos_ms - 1);
        let system = usize::try_from(random.below((plan.crms + plan.stores) as u64)).unwrap();
        let age_ms = random.between(5_000, plan.chaos_ms / 2);
        let field = 1 + usize::try_from(random.below(plan.fields.len() as u64)).unwrap();
        let deed = match upheaval {
            Upheaval::Restore => Deed::Restore { system, age_ms },
            Upheaval::RestoreCheckpoint => Deed::RestoreCheckpoint { age_ms, with_mark: random.chance(500) },
            Upheaval::Remap => {
                let back = Deed::Remap { fields: plan.fields.len() };
                let again_ms = at_ms + random.between(1_000, 60_000);
                self.deeds.push(Timed { at_ms: again_ms.min(plan.chaos_ms - 1), deed: back });
                Deed::Remap { fields: field - 1 }
            }
            Upheaval::Repolicy => {
                let policies = [Conflict::Newest, Conflict::Store, Conflict::Crm, Conflict::Hold];
                Deed::Repolicy { field, conflict: *random.pick(&policies) }
            }
            Upheaval::Silence => Deed::Silence { system, for_ms: random.between(5_000, 60_000) },
        };
        self.deeds.push(Timed { at_ms, deed });
    }

    fn operation(&mut self) {
        let operation = *self.random.pick(&[
            Operation::TakeStore,
            Operation::TakeCrm,
            Operation::Drop,
            Operation::Retry,
            Operation::Approve,
        ]);
        self.push(Deed::Operate(operation));
    }
}

fn deaths(seed: u64, plan: &Plan) -> Vec<Death> {
    let mut random = Random::keyed(seed, &[4]);
    let mut deaths = Vec::new();
    while deaths.len() < LIVES {
        let turns = random.chance(plan.faults.crash_at_await).then(|| 10 + random.below(1500));
        let commits = random.chance(plan.faults.crash_at_commit).then(|| random.between(0, 200));
        if turns.is_none() && commits.is_none() {
            break;
        }
        deaths.push(Death { turns, commits });
    }
    deaths
}
