//! A CRM of two million contacts beside a store of five thousand customers: what is read of it, counted in calls.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::{Engine, Pair, PairSettings, PassOptions, Reach, Source, SourceSettings, SystemClock, Times};
use crate::checkpoint::Checkpoint;
use crate::connector::{Connector, End, Lane, Limits, Lookup, LookupLimits, Page, Prepared, Reservation, Unreserved};
use crate::model::{
    Cell, Create, Definition, DefinitionState, Existence, Failure, FieldRule, FieldShape, Key, Mapping, MatchRule,
    Mode, Observed, OnDelete, Only, Outcome, Rails, Seen, Side, Timestamp, Value, Write,
};

const CUSTOMERS: u64 = 5_000;
const CONTACTS: u64 = 2_000_000;

/// As SQL has them.
const LIMITS: LookupLimits = LookupLimits { values_per_find: 1000, rows_per_page: 2000 };
const KEYS_PER_FETCH: usize = 1000;

/// The calls of a source since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Calls {
    pages: u64,
    fetches: u64,
    finds: u64,
    counts: u64,
}

/// People whose e-mails and titles follow from their numbers; nothing is kept of them.
struct People {
    side: Side,
    names: Vec<String>,
    /// The number of each is a multiple of this.
    step: u64,
    count: u64,
    gone: Mutex<BTreeSet<u64>>,
    calls: Mutex<Calls>,
}

impl People {
    fn new(side: Side, names: [&str; 2], step: u64, count: u64) -> Arc<Self> {
        Arc::new(Self {
            side,
            names: names.map(str::to_owned).to_vec(),
            step,
            count,
            gone: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> Calls {
        std::mem::take(&mut self.calls())
    }

    fn is_there(&self, number: u64) -> bool {
        let exists = number > 0 && number.is_multiple_of(self.step) && number / self.step <= self.count;
        exists && !self.gone.lock().unwrap().contains(&number)
    }

    fn shown(&self, number: u64) -> Observed {
        let cell = |text: String| Cell { seen: Seen::Value(Value::text(text)), modified: None, token: None };
        let cells = vec![cell(format!("p{number}@example.com")), cell(format!("title {}", number % 7))];
        let existence = if self.is_there(number) { Existence::Present } else { Existence::Gone };
        let modified = Some(Timestamp::from_millis(1_000));
        Observed { key: Key::new(number.to_string()), existence, modified, cells }
    }
}

fn now() -> Timestamp {
    use super::Clock;
    SystemClock::default().now()
}

#[async_trait]
impl Connector for People {
    fn kind(&self) -> &'static str {
        "people"
    }

    fn fields(&self) -> &[String] {
        &self.names
    }

    fn limits(&self) -> Limits {
        Limits {
            batches_per_round: 1,
            writes_per_batch: 10,
            keys_per_fetch: KEYS_PER_FETCH,
            conditional_writes: false,
            shows_nulls: true,
        }
    }

    async fn prepare(&self, _known: &[Option<String>], _may_create: bool) -> Result<Prepared, Failure> {
        let usable = Definition { id: None, state: DefinitionState::Usable(FieldShape::TEXT) };
        let identity = self.side.as_str().to_owned();
        Ok(Prepared { identity, clock: now(), definitions: vec![usable; 2], warnings: Vec::new(), choices: Vec::new() })
    }

    fn feeds(&self) -> &'static [&'static str] {
        &["rows"]
    }

    fn changes(&self, _feed: &'static str, _since: Timestamp) -> BoxStream<'_, Result<Page, Failure>> {
        self.calls().pages += 1;
        stream::iter([Ok(Page { observed: Vec::new(), clock: now(), end: Some(End::Whole) })]).boxed()
    }

    fn everything(&self) -> BoxStream<'_, Result<Page, Failure>> {
        let each = LIMITS.rows_per_page as u64;
        let pages = self.count.div_ceil(each);
        stream::iter(0..pages)
            .map(move |page| {
                self.calls().pages += 1;
                let numbers = (page * each + 1)..=((page + 1) * each).min(self.count);
                let there = numbers.map(|at| at * self.step).filter(|number| self.is_there(*number));
                let observed = there.map(|number| self.shown(number)).collect();
                Ok(Page { observed, clock: now(), end: (page + 1 == pages).then_some(End::Whole) })
            })
            .boxed()
    }

    async fn fetch(
        &self,
        keys: &[Key],
        _fields: &[usize],
        _reservation: &dyn Reservation,
    ) -> Result<Vec<Observed>, Failure> {
        assert!(!keys.is_empty() && keys.len() <= KEYS_PER_FETCH);
        self.calls().fetches += 1;
        Ok(keys.iter().map(|key| self.shown(key.as_str().parse().unwrap())).collect())
    }

    fn batches(&self, writes: Vec<Write>) -> Vec<Vec<Write>> {
        vec![writes]
    }

    async fn reserve(&self, lane: Lane, _calls: usize) -> Result<Box<dyn Reservation>, Failure> {
        Ok(Box::new(Unreserved(lane)))
    }

    async fn write(&self, _batch: &[Write], _reservation: &dyn Reservation) -> Vec<Outcome> {
        unreachable!("the sides agree")
    }

    fn lookup(&self) -> Option<&dyn Lookup> {
        Some(self)
    }
}

#[async_trait]
impl Lookup for People {
    fn lookup_limits(&self) -> LookupLimits {
        LIMITS
    }

    fn finds_by(&self, field: usize) -> bool {
        field == 0
    }

    async fn count(&self, _lane: Lane) -> Result<u64, Failure> {
        self.calls().counts += 1;
        Ok(self.count)
    }

    async fn keys_with(&self, field: usize, values: &[String], _fold: bool, _lane: Lane) -> Result<Vec<Key>, Failure> {
        assert!(field == 0 && !values.is_empty() && values.len() <= LIMITS.values_per_find);
        self.calls().finds += 1;
        let number = |value: &String| value.strip_prefix('p')?.strip_suffix("@example.com")?.parse().ok();
        let found = values.iter().filter_map(number).filter(|number| self.is_there(*number));
        Ok(found.map(|number| Key::new(number.to_string())).collect())
    }
}

struct Scene {
    engine: Engine,
    store: Arc<Source>,
    crm: Arc<Source>,
    pair: Arc<Pair>,
}

impl Scene {
    async fn new(store: &Arc<People>, crm: &Arc<People>) -> Self {
        let database = Box::new(crate::checkpoint::on_the_spot::InMemory::open().unwrap());
        let checkpoint = Checkpoint::simulated(database, None).unwrap();
        let engine = Engine::new(checkpoint, Arc::new(SystemClock::default()), CancellationToken::new());
        let mut sources = Vec::new();
        for (people, name) in [(store, "acme"), (crm, "erp")] {
            let connector: Arc<dyn Connector> = Arc::clone(people) as Arc<dyn Connector>;
            let match_fields = vec![(people.names[0].clone(), true)];
            let name = name.to_owned();
            let settings = SourceSettings { side: people.side, name, times: Times::default(), connector, match_fields };
            sources.push(Arc::new(engine.attach(&settings).await.unwrap()));
        }
        let (crm, store) = (sources.pop().unwrap(), sources.pop().unwrap());
        let mapping = Mapping {
            name: "b2b".to_owned(),
            matches: vec![MatchRule { store: "customer:email".to_owned(), crm: "email".to_owned() }],
            only: Only::default(),
            create: Create::None,
            on_delete: OnDelete::Unlink,
            create_attributes: false,
            create_groups: false,
            fields: vec![FieldRule::new("attribute:Title", "title")],
        };
        let settings = PairSettings { mapping, mode: Mode::Sync, rails: Rails::default() };
        let pair = engine.pair(&settings, &store, &crm).await.unwrap();
        Self { engine, store, crm, pair }
    }

    /// Both sides are read, and the pair passes. How many links there are then, and how many contacts are known.
    async fn round(&self, reach: Reach) -> (u64, u64) {
        self.engine.pull(&self.crm, reach).await.unwrap();
        self.engine.pull(&self.store, reach).await.unwrap();
        let report = self.engine.pass(&self.pair, PassOptions::default()).await.unwrap();
        assert!(report.balance.adds_up() && report.failure.is_none(), "{report:?}");
        let mut transaction = self.engine.checkpoint.read().await.unwrap();
        let links = transaction.count_links(self.pair.id).await.unwrap();
        let known = transaction.count_records(self.crm.id).await.unwrap();
        transaction.end().await.unwrap();
        (links, known)
    }
}

fn store(count: u64, step: u64) -> Arc<People> {
    People::new(Side::Store, ["customer:email", "attribute:Title"], step, count)
}

fn crm(count: u64) -> Arc<People> {
    People::new(Side::Crm, ["email", "title"], 1, count)
}

#[tokio::test]
async fn two_million_contacts_are_read_by_the_five_thousand_that_matter() {
    let (customers, contacts) = (store(CUSTOMERS, CONTACTS / CUSTOMERS), crm(CONTACTS));
    let scene = Scene::new(&customers, &contacts).await;
    assert_eq!(scene.round(Reach::Changes).await, (CUSTOMERS, CUSTOMERS));
    // Read whole, it would have been a thousand pages.
    assert_eq!(contacts.taken(), Calls { pages: 0, fetches: 5, finds: 5, counts: 1 });

    assert_eq!(scene.round(Reach::Changes).await, (CUSTOMERS, CUSTOMERS));
    assert_eq!(contacts.taken(), Calls { pages: 1, ..Calls::default() }, "a poll reads the feed, as ever");

    contacts.gone.lock().unwrap().extend([400, 1200, 4000]);
    assert_eq!(scene.round(Reach::Sweep).await.0, CUSTOMERS - 3, "a sweep by key finds who is gone");
    // The feed, as before every sweep; the linked ones; and whom those are now who lost their partners.
    assert_eq!(contacts.taken(), Calls { pages: 1, fetches: 5, finds: 1, counts: 1 });

    contacts.gone.lock().unwrap().clear();
    assert_eq!(scene.round(Reach::Sweep).await, (CUSTOMERS, CUSTOMERS), "and who is there again");
    // Found by the sweep, and once more by the pass that links them, in case others have come.
    assert_eq!(contacts.taken(), Calls { pages: 1, fetches: 7, finds: 2, counts: 1 });
}

#[tokio::test]
async fn a_crm_as_large_as_the_store_is_read_whole() {
    let (customers, contacts) = (store(3000, 1), crm(3000));
    let scene = Scene::new(&customers, &contacts).await;
    assert_eq!(scene.round(Reach::Changes).await, (3000, 3000));
    assert_eq!(contacts.taken(), Calls { pages: 2, fetches: 0, finds: 0, counts: 1 });
}
