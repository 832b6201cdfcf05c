//! A stage for hand-made scenes: the same world and engine, but who does what when is written down.

use std::future::Future;
use std::sync::Arc;

use attune::engine::{Answer, Engine, Pair, PassOptions, PassReport, Reach, Request, Source};

use crate::driver::Process;
use crate::executor::{Executor, Owner};
use crate::plan::Plan;
use crate::script::Script;
use crate::world::{Hub, Shared};

pub struct Stage {
    pub hub: Shared,
    pub process: Arc<Process>,
    pub engine: Engine,
    pub sources: Vec<Arc<Source>>,
    pub pairs: Vec<Arc<Pair>>,
}

/// Plays a scene from its beginning to its end; whatever the world finds wrong fails it.
pub fn play<F>(plan: Plan, scene: impl FnOnce(Stage) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let script = Script {
        seed: 0,
        plan,
        beings: Vec::new(),
        absent: Vec::new(),
        deeds: Vec::new(),
        deaths: Vec::new(),
        strikes: None,
    };
    let hub = Hub::new(&script, false);
    let process = Process::new(&hub);
    let mut executor = Executor::new(Arc::clone(&hub.time), 0);
    let engine = process.engine();
    let stage = Stage { hub: Arc::clone(&hub), process, engine, sources: Vec::new(), pairs: Vec::new() };
    hub.time.spawn(Owner::World, Box::pin(scene(stage)));
    while executor.step().is_some() {}
    assert_eq!(hub.world().violations, Vec::<String>::new());
}

impl Stage {
    /// A record that was there before anything began.
    pub fn record(&self, system: usize, key: u64, email: &str, values: &[Option<&str>]) {
        let values = std::iter::once(Some(email)).chain(values.iter().copied()).map(|value| value.map(str::to_owned));
        let now = self.hub.now() - 3_600_000;
        self.hub.world().add(now, system, key, key % 100, &values.collect::<Vec<_>>());
    }

    /// Starts the process, or starts it again.
    pub async fn open(&mut self) {
        self.engine = self.process.engine();
        self.sources.clear();
        self.pairs.clear();
        for settings in self.process.sources() {
            self.sources.push(Arc::new(self.engine.attach(&settings).await.unwrap()));
        }
        for store in &self.sources[1..] {
            let settings = self.process.pair_settings();
            self.pairs.push(self.engine.pair(&settings, store, &self.sources[0]).await.unwrap());
        }
    }

    pub async fn pull(&self, reach: Reach) {
        for source in &self.sources {
            self.engine.pull(source, reach).await.unwrap();
        }
    }

    pub async fn pass(&self) -> PassReport {
        let report = self.engine.pass(&self.pairs[0], PassOptions::default()).await.unwrap();
        self.process.judge(&self.pairs[0], &report);
        report
    }

    /// Everything is read, and a pass over each pair; what the passes came to.
    pub async fn round(&self) -> Vec<PassReport> {
        self.hub.sleep(5_000).await;
        self.pull(Reach::Changes).await;
        let mut reports = Vec::new();
        for pair in &self.pairs {
            let report = self.engine.pass(pair, PassOptions::default()).await.unwrap();
            self.process.judge(pair, &report);
            reports.push(report);
        }
        reports
    }

    /// Rounds until nothing is written any more.
    pub async fn settle(&self) {
        for _ in 0..12 {
            let before = self.writes();
            let reports = self.round().await;
            if self.writes() == before && reports.iter().all(|report| report.balance.pending == 0) {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    pub fn writes(&self) -> u64 {
        self.hub.world().writes
    }

    pub fn edit(&self, system: usize, key: u64, field: usize, value: Option<&str>) {
        let now = self.hub.now();
        self.hub.world().edit(now, system, key, field, value.map(str::to_owned), now);
    }

    pub fn holds(&self, system: usize, key: u64, field: usize) -> Option<String> {
        self.hub.world().holds(system, key, field).map(str::to_owned)
    }

    pub async fn ask(&self, request: Request) -> Answer {
        if let Request::Held { action, .. } = &request {
            self.process.note_decided(*action);
        }
        let answer = self.engine.operate(&request).await.unwrap();
        assert!(answer.done, "{}", answer.message);
        answer
    }
}
