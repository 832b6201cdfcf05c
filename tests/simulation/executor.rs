//! Runs tasks one poll at a time in an order that the seed chooses, and moves virtual time when all of them wait.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::random::Random;

pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whose a task is: a crash drops those of the process, the world goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    World,
    Process,
}

/// Virtual time, in milliseconds, and who waits for it; also where tasks ask for further tasks.
pub struct Time {
    timers: Mutex<Timers>,
}

struct Timers {
    now: i64,
    next: u64,
    queue: BTreeMap<(i64, u64), Waker>,
    spawned: Vec<(Owner, Work)>,
}

impl Time {
    pub fn new(now: i64) -> Arc<Self> {
        let timers = Timers { now, next: 0, queue: BTreeMap::new(), spawned: Vec::new() };
        Arc::new(Self { timers: Mutex::new(timers) })
    }

    pub fn now(&self) -> i64 {
        self.timers.lock().unwrap().now
    }

    /// Ends after so many milliseconds; yields at least once, also for none.
    pub fn sleep(self: &Arc<Self>, ms: i64) -> Sleep {
        Sleep { time: Arc::clone(self), until: self.now() + ms.max(0), id: None }
    }

    pub fn spawn(&self, owner: Owner, work: Work) {
        self.timers.lock().unwrap().spawned.push((owner, work));
    }
}

pub struct Sleep {
    time: Arc<Time>,
    until: i64,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let time = Arc::clone(&self.time);
        let mut timers = time.timers.lock().unwrap();
        if let Some(id) = self.id {
            let waiting = timers.queue.contains_key(&(self.until, id));
            if !waiting {
                return Poll::Ready(());
            }
        }
        let id = self.id.unwrap_or(timers.next);
        timers.next = timers.next.max(id + 1);
        timers.queue.insert((self.until, id), context.waker().clone());
        self.id = Some(id);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.time.timers.lock().unwrap().queue.remove(&(self.until, id));
        }
    }
}

struct Wakeup {
    task: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().insert(self.task);
    }
}

struct Task {
    owner: Owner,
    work: Work,
    waker: Waker,
}

pub struct Executor {
    pub time: Arc<Time>,
    ready: Arc<Mutex<BTreeSet<u64>>>,
    tasks: BTreeMap<u64, Task>,
    next: u64,
    random: Random,
}

impl Executor {
    pub fn new(time: Arc<Time>, seed: u64) -> Self {
        Self { time, ready: Arc::default(), tasks: BTreeMap::new(), next: 0, random: Random::new(seed) }
    }

    /// Drops every task of the process where it stands.
    pub fn kill(&mut self) {
        // What the process asked to be spawned dies with it.
        self.adopt();
        self.tasks.retain(|_, task| task.owner != Owner::Process);
        let tasks = &self.tasks;
        self.ready.lock().unwrap().retain(|id| tasks.contains_key(id));
    }

    fn adopt(&mut self) {
        let spawned = std::mem::take(&mut self.time.timers.lock().unwrap().spawned);
        for (owner, work) in spawned {
            let waker = Waker::from(Arc::new(Wakeup { task: self.next, ready: Arc::clone(&self.ready) }));
            self.tasks.insert(self.next, Task { owner, work, waker });
            self.ready.lock().unwrap().insert(self.next);
            self.next += 1;
        }
    }

    /// Polls one task, or moves time to the next one who waits for it. Answers whose task it polled; none at the end.
    ///
    /// # Panics
    /// When tasks are left and nothing can ever wake them: a deadlock.
    pub fn step(&mut self) -> Option<Owner> {
        loop {
            self.adopt();
            let ready: Vec<u64> = self.ready.lock().unwrap().iter().copied().collect();
            if ready.is_empty() {
                let mut timers = self.time.timers.lock().unwrap();
                let Some(((until, _), waker)) = timers.queue.pop_first() else {
                    assert!(self.tasks.is_empty(), "all tasks wait, and nothing will wake them");
                    return None;
                };
                timers.now = timers.now.max(until);
                drop(timers);
                waker.wake();
                continue;
            }
            let id = *self.random.pick(&ready);
            self.ready.lock().unwrap().remove(&id);
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            let owner = task.owner;
            let waker = task.waker.clone();
            if task.work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.tasks.remove(&id);
            }
            return Some(owner);
        }
    }
}

/// The outcome of work that never waits.
///
/// # Panics
/// When it does.
pub fn at_once<F: Future>(work: F) -> F::Output {
    match std::pin::pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("work that must not wait waits"),
    }
}
