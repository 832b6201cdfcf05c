//! What a seed makes of the world: which systems there are, what is mapped, which faults strike and how often.

use std::time::Duration;

use attune::engine::Times;
use attune::model::{
    Conflict, Create, Direction, FieldRule, FieldType, Mapping, MatchRule, OnClear, OnDelete, Rail, Rails, Side,
};

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// Virtual, like all times here; short, so that a history has many of them.
pub const TIMES: Times = Times {
    overlap: Duration::from_secs(90),
    quarantine: Duration::from_secs(40),
    replica_lag: Duration::from_secs(20),
};

pub const QUARANTINE_MS: i64 = 40_000;
pub const REPLICA_LAG_MS: i64 = 20_000;

/// How often each fault strikes, in a thousand.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    pub read_fails: u64,
    pub write_not_sent: u64,
    pub write_lost: u64,
    pub write_late: u64,
    pub answer_cut: u64,
    pub poison: u64,
    pub stale_read: u64,
    pub torn_read: u64,
    pub throttled: u64,
    pub late_commit: u64,
    pub unauthorized: u64,
    pub slow: u64,
    /// A sweep that says it is whole leaves a row out: those who joined and left cancelled out.
    pub hidden: u64,
    /// Lives that end at an await, at a commit.
    pub crash_at_await: u64,
    pub crash_at_commit: u64,
}

/// What the CRM does to a value that it stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Normalises {
    Nothing,
    Trims,
    Numbers,
    Truncates,
}

/// What befalls a whole system, the checkpoint or the mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Upheaval {
    /// A system is restored from a backup.
    Restore,
    /// Our checkpoint is.
    RestoreCheckpoint,
    /// Fields leave the mapping, and come back later.
    Remap,
    /// A conflict policy changes.
    Repolicy,
    /// A system shows nothing for a while, as if it were empty.
    Silence,
}

impl Upheaval {
    const ALL: [Self; 5] = [Self::Restore, Self::RestoreCheckpoint, Self::Remap, Self::Repolicy, Self::Silence];
}

/// How a system answers a batch with a row that it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refuses {
    /// That row alone, by name.
    Rows,
    /// The whole batch; nothing was written.
    Batch,
    /// The whole batch; the rows before it were written.
    Partly,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Several CRMs have one store, several stores one CRM.
    pub crms: usize,
    pub stores: usize,
    pub people: u64,
    pub fields: Vec<FieldRule>,
    /// Of a thousand people, so many are customers of a second store too.
    pub shared: u64,
    pub conditional: bool,
    pub crm_whole_seconds: bool,
    pub crm_batch: usize,
    pub page: usize,
    /// The CRM finds records by so many values a call, and shows so few a page that it is read by key; 0: it finds none.
    #[serde(default)]
    pub finds: usize,
    /// Whether missing partners are made.
    #[serde(default)]
    pub creates: Create,
    /// Whether the partners of records that are gone are removed.
    #[serde(default)]
    pub deletes: bool,
    /// Whether a system that is to make a record refuses a second one of an e-mail, and knows a token again.
    #[serde(default)]
    pub unique_emails: bool,
    #[serde(default)]
    pub keeps_tokens: bool,
    /// One of so many polls of a store reads who is in its segments.
    #[serde(default)]
    pub polls_per_members: u64,
    /// Whether metafields stay when their customer is deleted.
    #[serde(default)]
    pub leaves_rows: bool,
    pub since_is_exclusive: bool,
    pub faults: Faults,
    pub normalises: Normalises,
    pub refuses: Refuses,
    pub our_skew_ms: i64,
    /// Our clock jumps by up to this much, now and then.
    pub our_steps_ms: i64,
    pub skews_ms: Vec<i64>,
    /// How old a stale read is; 0: the seed says.
    pub stale_ms: i64,
    pub sweep_ms: i64,
    /// How long the process rests between two reads of a source.
    pub poll_ms: i64,
    pub edits: u64,
    pub edit_gap_ms: i64,
    /// Of a thousand deeds, so many remove a record; half of those who are removed come back under the same e-mail.
    pub deletions: u64,
    /// So many change an e-mail: to a new one, or to somebody else's.
    pub emails: u64,
    /// So many merge one contact into another.
    pub merges: u64,
    /// So many are an operator's: he resolves, drops or retries what is held, and lets through what a rail stopped.
    pub operations: u64,
    pub pauses: bool,
    /// Things that befall a whole system, the checkpoint or the mapping.
    pub upheavals: Vec<Upheaval>,
    pub chaos_ms: i64,
    pub rails: Rails,
}

pub const OPEN_RAIL: Rail = Rail { count: 1_000_000, percent: 100.0 };

pub const OPEN_RAILS: Rails = Rails { writes: OPEN_RAIL, clears: OPEN_RAIL, creates: OPEN_RAIL, deletes: OPEN_RAIL };

impl Plan {
    /// A world without faults, for scenarios.
    pub fn quiet(stores: usize, people: u64, fields: Vec<FieldRule>) -> Self {
        Self {
            crms: 1,
            stores,
            people,
            fields,
            shared: 1000,
            conditional: true,
            crm_whole_seconds: false,
            crm_batch: 10,
            page: 3,
            finds: 0,
            creates: Create::None,
            deletes: false,
            unique_emails: false,
            keeps_tokens: false,
            polls_per_members: 3,
            leaves_rows: false,
            since_is_exclusive: false,
            faults: Faults::default(),
            normalises: Normalises::Nothing,
            refuses: Refuses::Rows,
            our_skew_ms: 0,
            skews_ms: vec![0; stores + 1],
            our_steps_ms: 0,
            stale_ms: 0,
            sweep_ms: 135_000,
            poll_ms: 10_000,
            edits: 0,
            edit_gap_ms: 10_000,
            deletions: 0,
            emails: 0,
            merges: 0,
            operations: 0,
            pauses: false,
            upheavals: Vec::new(),
            chaos_ms: 0,
            rails: OPEN_RAILS,
        }
    }

    pub fn of(seed: u64) -> Self {
        let mut random = Random::keyed(seed, &[1]);
        let (crms, stores) = *random.pick(&[(1, 1), (1, 1), (1, 2), (1, 2), (1, 3), (2, 1)]);
        let fields = (0..random.between(1, 3)).map(|number| field(number, &mut random)).collect();
        let mut plan = Self { crms, ..Self::quiet(stores, u64::try_from(random.between(2, 6)).unwrap(), fields) };
        if random.chance(400) {
            // Few fields, much edited.
            (plan.people, plan.fields) = (2, plan.fields.into_iter().take(1).collect());
        }
        if random.chance(120) {
            plan.poll_ms = 1_000;
        }
        plan.sweep_ms = *random.pick(&[15_000, 45_000, 135_000]);
        plan.shared = *random.pick(&[0, 400, 900]);
        plan.conditional = random.chance(500);
        plan.crm_whole_seconds = random.chance(500);
        plan.crm_batch = *random.pick(&[3, 10, 200]);
        plan.page = usize::try_from(random.between(1, 5)).unwrap();
        plan.since_is_exclusive = random.chance(300);
        plan.refuses = *random.pick(&[Refuses::Rows, Refuses::Batch, Refuses::Partly]);
        plan.normalises =
            *random.pick(&[Normalises::Nothing, Normalises::Trims, Normalises::Numbers, Normalises::Truncates]);
        let edits = *random.pick(&[(3, 10), (10, 40)]);
        plan.edits = u64::try_from(random.between(edits.0, edits.1)).unwrap();
        plan.chaos_ms = random.between(60_000, 300_000);
        // All at once, or over the whole time.
        let evenly = plan.chaos_ms / i64::try_from(plan.edits).unwrap();
        plan.edit_gap_ms = *random.pick(&[1_000, evenly, evenly]);
        plan.faults = faults(&mut random);
        if random.chance(200) {
            plan.our_skew_ms = random.between(-90_000, 90_000);
        }
        if random.chance(200) {
            plan.skews_ms = (0..stores + crms).map(|_| random.between(-60_000, 60_000)).collect();
        } else {
            plan.skews_ms = vec![0; stores + crms];
        }
        if random.chance(100) {
            plan.our_steps_ms = 90_000;
        }
        plan.deletions = if random.chance(150) { 40 } else { 0 };
        plan.emails = if random.chance(100) { 40 } else { 0 };
        plan.merges = if random.chance(80) { 40 } else { 0 };
        plan.operations = if random.chance(200) { 60 } else { 0 };
        plan.pauses = random.chance(100);
        plan.upheavals = upheavals(&mut random);
        if plan.upheavals.contains(&Upheaval::Restore) && random.chance(300) {
            // So many that they look like a restored side.
            plan.people = 14;
        }
        if random.chance(60) {
            let tight = Rail { count: 4, percent: 100.0 };
            plan.rails = Rails { writes: Rail { count: 12, ..tight }, clears: tight, creates: tight, deletes: tight };
        }
        if random.chance(250) {
            plan.finds = usize::try_from(random.between(1, 3)).unwrap();
        }
        if random.chance(200) {
            plan.creates = *random.pick(&[Create::Store, Create::Crm, Create::Both]);
            plan.unique_emails = random.chance(500);
            plan.keeps_tokens = random.chance(500);
        }
        plan.deletes = random.chance(100);
        plan.add_resources(seed);
        plan
    }

    /// In a share of the seeds some fields belong to other resources than attributes and customers. Each of these decisions has
    /// numbers of its own: all others are what they were.
    fn add_resources(&mut self, seed: u64) {
        let mut random = Random::keyed(seed, &[8]);
        if !random.chance(300) {
            return;
        }
        self.polls_per_members = *random.pick(&[1, 3, 3, 10]);
        self.leaves_rows = random.chance(500);
        let sure = random.below(self.fields.len() as u64);
        for (number, rule) in (0..).zip(&mut self.fields) {
            let mut random = Random::keyed(seed, &[8, number]);
            if number == sure || random.chance(500) {
                belong_elsewhere(rule, number, &mut random);
            }
        }
        // There is one list of segments.
        let lists = self.fields.iter_mut().filter(|rule| rule.kind == FieldType::List);
        for (number, rule) in lists.enumerate().skip(1) {
            (rule.store, rule.kind) = (format!("segment:L{number}"), FieldType::Boolean);
        }
    }

    pub fn mapping(&self) -> Mapping {
        Mapping {
            name: "people".to_owned(),
            matches: vec![MatchRule { store: "customer:email".to_owned(), crm: "email".to_owned() }],
            only: attune::model::Only::default(),
            create: self.creates,
            on_delete: if self.deletes { OnDelete::Delete } else { OnDelete::Unlink },
            create_attributes: false,
            create_groups: false,
            fields: self.fields.clone(),
        }
    }

    pub fn creates_on(&self, side: Side) -> bool {
        match side {
            Side::Store => matches!(self.creates, Create::Store | Create::Both),
            Side::Crm => matches!(self.creates, Create::Crm | Create::Both),
        }
    }

    pub fn has_rails(&self) -> bool {
        self.rails.writes.count < OPEN_RAIL.count
    }
}

/// None as a rule, else one or two kinds of them.
fn upheavals(random: &mut Random) -> Vec<Upheaval> {
    if !random.chance(200) {
        return Vec::new();
    }
    (0..random.between(1, 2)).map(|_| *random.pick(&Upheaval::ALL)).collect()
}

/// Each fault on or off, then how much; a fifth of the seeds with none or one.
fn faults(random: &mut Random) -> Faults {
    let healthy = random.chance(200);
    let only = random.below(30);
    let mut number = 0;
    let mut of = |most: u64, chance: u64| {
        number += 1;
        let (on, much) = (random.chance(chance), 1 + random.below(most));
        let on = if healthy { number == only } else { on };
        if on { much } else { 0 }
    };
    Faults {
        read_fails: of(150, 400),
        write_not_sent: of(200, 350),
        write_lost: of(300, 400),
        write_late: of(600, 500),
        answer_cut: of(150, 300),
        poison: of(120, 350),
        stale_read: of(300, 400),
        torn_read: of(200, 300),
        throttled: of(150, 300),
        late_commit: of(300, 350),
        unauthorized: of(60, 150),
        slow: of(300, 300),
        hidden: of(300, 200),
        crash_at_await: of(1000, 300),
        crash_at_commit: of(1000, 300),
    }
}

fn field(number: i64, random: &mut Random) -> FieldRule {
    let mut rule = rule(&format!("F{number}"), &format!("f{number}"));
    rule.kind = *random.pick(&[FieldType::String, FieldType::String, FieldType::Number]);
    rule.direction =
        *random.pick(&[Direction::Both, Direction::Both, Direction::Both, Direction::ToStore, Direction::ToCrm]);
    rule.conflict = *random.pick(&[Conflict::Newest, Conflict::Newest, Conflict::Store, Conflict::Crm, Conflict::Hold]);
    rule.on_clear = *random.pick(&[OnClear::Propagate, OnClear::Propagate, OnClear::Restore, OnClear::Hold]);
    rule.overwrite = !random.chance(80);
    // The customer's own: dated by the customer, and written with it; or what it entered at sign-up, which nothing dates.
    if random.chance(350) {
        rule.store = format!("customer:F{number}");
    } else if random.chance(200) {
        rule.store = format!("form_field:F{number}");
    }
    rule
}

/// Makes a field one of another resource, with the type and the policies that go with it.
fn belong_elsewhere(rule: &mut FieldRule, number: u64, random: &mut Random) {
    let place = |prefix: &str| format!("{prefix}F{number}");
    match random.below(10) {
        0..3 => rule.store = place("metafield:"),
        3..6 => {
            rule.store = place("subscriber:");
            rule.kind = FieldType::Boolean;
            // What a configuration may say of consent.
            (rule.conflict, rule.overwrite) = (Conflict::Newest, true);
            rule.on_clear = *random.pick(&[OnClear::Propagate, OnClear::Propagate, OnClear::Hold]);
        }
        6..8 => (rule.store, rule.kind) = (place("segment:"), FieldType::Boolean),
        8 => (rule.store, rule.kind) = ("segments".to_owned(), FieldType::List),
        _ => rule.store = place(*random.pick(&["address:", "address:required "])),
    }
}

/// A two-way text field with every default.
pub fn rule(store: &str, crm: &str) -> FieldRule {
    FieldRule::new(format!("attribute:{store}"), crm)
}
