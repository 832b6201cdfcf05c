//! One store as calls meet it: who is let in, what it costs, what goes wrong, what is counted.
//!
//! All of a store's state is behind one lock that is never held across a wait.
//! Must not know: sockets, HTTP headers beyond the two that decide about admission.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::answer::{Answer, Refusal};
use super::clock::Clock;
use super::endpoint::{Call, Endpoint, Method, PathIds};
use super::faults::{Fault, FaultRule, Faults};
use super::generate;
use super::quota::{Spent, Window};
use super::random::Random;
use super::records::{Moment, Records};
use super::report::{Log, Report};
use super::request::{self, Request};
use super::settings::{Behaviour, Scope, StoreSettings};

/// A store, shared by all its calls.
#[derive(Debug)]
pub(super) struct Store {
    /// Its hash.
    pub(super) hash: String,
    clock: Arc<Clock>,
    state: Mutex<State>,
}

/// What is behind the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) token: String,
    pub(super) scopes: Vec<Scope>,
    behaviour: Behaviour,
    faults: Faults,
    pub(super) records: Records,
    window: Window,
    pub(super) report: Report,
    pub(super) log: Log,
    under_way: BTreeMap<Call, u32>,
    random: Random,
    /// Calls whose connection was reset and whose effect is still to come, and when it comes.
    late: Vec<(u64, LateCall)>,
}

#[derive(Debug)]
struct LateCall {
    call: Call,
    ids: PathIds,
    query: Option<String>,
    body: Vec<u8>,
}

/// A request as it came in.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) call: Call,
    pub(super) ids: PathIds,
    pub(super) query: Option<String>,
    pub(super) body: Vec<u8>,
    pub(super) token: Option<String>,
    pub(super) content_type: Option<String>,
}

/// What became of a request at the door.
#[derive(Debug)]
pub(super) struct Admission {
    /// What the quota headers say; none: they are not sent.
    pub(super) spent: Option<Spent>,
    /// Refused at once, or let in.
    pub(super) verdict: Result<Admitted, Refusal>,
}

/// A call that was let in.
#[derive(Debug)]
pub(super) struct Admitted {
    /// What goes wrong with it.
    pub(super) fault: Option<Fault>,
    /// How long it takes at least.
    pub(super) latency_ms: u64,
    /// How long slowness takes.
    pub(super) slow_ms: u64,
    /// The size of a huge body.
    pub(super) huge_body_bytes: u64,
    /// Counts it as under way until dropped.
    _under_way: UnderWay,
}

/// Counts a call as under way for as long as it lives.
#[derive(Debug)]
struct UnderWay {
    store: Arc<Store>,
    call: Call,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(count) = self.store.lock().under_way.get_mut(&self.call) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Store {
    /// With what it holds at first.
    pub(super) fn new(settings: &StoreSettings, log_limit: usize, clock: Arc<Clock>) -> Self {
        let seed =
            settings.hash.bytes().fold(settings.population.seed, |seed, byte| Random::of(seed, u64::from(byte)).next());
        let mut records = Records::new(generate::data(&settings.population));
        records.set_replica(settings.behaviour.replica, clock.moment());
        Self {
            hash: settings.hash.clone(),
            state: Mutex::new(State {
                token: settings.token.clone(),
                scopes: settings.scopes.clone(),
                faults: Faults::new(&settings.behaviour.faults),
                behaviour: settings.behaviour.clone(),
                records,
                window: Window::default(),
                report: Report::default(),
                log: Log::new(log_limit),
                under_way: BTreeMap::new(),
                random: Random::new(seed),
                late: Vec::new(),
            }),
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state at this moment: what was still to come and is due has happened.
    pub(super) fn now(&self) -> (MutexGuard<'_, State>, Moment) {
        let mut state = self.lock();
        let moment = self.clock.moment();
        state.settle(moment, &self.hash);
        (state, moment)
    }

    /// Lets a request in, or not.
    pub(super) fn admit(self: &Arc<Self>, incoming: &Incoming) -> Admission {
        let (mut state, moment) = self.now();
        let state = &mut *state;
        let call = incoming.call;
        state.report.arrived(call);
        if incoming.token.as_deref() != Some(state.token.as_str()) {
            return Admission {
                spent: None,
                verdict: Err(Refusal::new(401, "The X-Auth-Token is missing or not valid.")),
            };
        }
        let quota = state.behaviour.quota;
        let spent = state.window.spend(&quota, moment.elapsed_ms);
        let shown = quota.headers.then_some(spent);
        let refused = |refusal: Refusal| Admission { spent: shown, verdict: Err(refusal) };
        if !spent.allowed {
            state.report.throttled_by_quota += 1;
            return refused(Refusal::new(429, "You have exceeded your request quota."));
        }
        if !permitted(call, &state.scopes) {
            return refused(Refusal::new(403, "You don't have a required scope to access the endpoint"));
        }
        let segments =
            matches!(call.endpoint, Endpoint::Segments | Endpoint::SegmentMembers | Endpoint::ShopperProfiles);
        if segments && state.behaviour.no_segments {
            return refused(Refusal::new(403, "Exclusive enterprise feature"));
        }
        let json = incoming.content_type.as_deref().is_some_and(|kind| kind.starts_with("application/json"));
        if matches!(call.method, Method::Post | Method::Put) && !json {
            return refused(Refusal::new(415, "Unsupported Media Type").violating());
        }
        let all = state.under_way.values().sum::<u32>() + 1;
        let count = state.under_way.entry(call).or_default();
        let concurrency = &state.behaviour.concurrency;
        let limit = match (call.endpoint, call.method) {
            (Endpoint::Customers, Method::Post) => concurrency.create_customers,
            (Endpoint::Segments | Endpoint::SegmentMembers | Endpoint::Addresses, Method::Post) => {
                concurrency.create_others
            }
            (_, Method::Get) => concurrency.reads,
            _ => concurrency.writes,
        };
        if limit > 0 && *count >= limit {
            state.report.throttled_by_concurrency += 1;
            let refusal = Refusal::new(429, format!("Too many concurrent requests: {call} allows {limit}."));
            return Admission { spent: None, verdict: Err(refusal.violating()) };
        }
        *count += 1;
        state.report.under_way(call, *count, all);
        let fault = state.faults.choose(call, &mut state.random);
        if let Some(fault) = fault {
            state.report.fault(fault);
        }
        Admission {
            spent: shown,
            verdict: Ok(Admitted {
                fault,
                latency_ms: state.behaviour.latency_ms,
                slow_ms: state.behaviour.slow.0,
                huge_body_bytes: state.behaviour.huge_body.0,
                _under_way: UnderWay { store: Arc::clone(self), call },
            }),
        }
    }

    /// Does what a request asks for, now.
    pub(super) fn answer(&self, incoming: &Incoming, fault: Option<Fault>) -> Result<Answer, Refusal> {
        let (mut state, moment) = self.now();
        let share = state.behaviour.replica.share;
        let behind = share >= 1.0 || state.random.chance(share);
        state.carry_out(
            &self.hash,
            moment,
            (incoming.call, &incoming.ids),
            (incoming.query.as_deref(), &incoming.body),
            behind,
            fault == Some(Fault::RepeatPage),
        )
    }

    /// Does what a request asks for, later.
    pub(super) fn answer_later(&self, incoming: Incoming) {
        let (mut state, moment) = self.now();
        let due = moment.elapsed_ms + state.behaviour.late_effect.0;
        let late = LateCall { call: incoming.call, ids: incoming.ids, query: incoming.query, body: incoming.body };
        state.late.push((due, late));
    }

    /// One of the statuses of a server in trouble.
    pub(super) fn server_error(&self) -> u16 {
        self.lock().random.pick(&[500, 502, 503, 504])
    }

    /// Whether every call is cut off.
    pub(super) fn outage(&self) -> bool {
        self.lock().behaviour.outage
    }
}

impl State {
    fn settle(&mut self, moment: Moment, hash: &str) {
        if self.late.is_empty() {
            return;
        }
        let (mut due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|(due, _)| *due <= moment.elapsed_ms);
        self.late = rest;
        due.sort_by_key(|(due, _)| *due);
        for (at, late) in due {
            let ago_s = i64::try_from((moment.elapsed_ms - at) / 1000).unwrap_or(0);
            let then = Moment { date: super::dates::Seconds(moment.date.0 - ago_s), elapsed_ms: at };
            // Nobody waits for the answer any more.
            let _ =
                self.carry_out(hash, then, (late.call, &late.ids), (late.query.as_deref(), &late.body), false, false);
        }
    }

    fn carry_out(
        &mut self,
        hash: &str,
        moment: Moment,
        (call, ids): (Call, &PathIds),
        (query, body): (Option<&str>, &[u8]),
        behind: bool,
        repeating: bool,
    ) -> Result<Answer, Refusal> {
        let violations = RefCell::new(Vec::new());
        let readings = self.behaviour.readings;
        let request = Request {
            call,
            ids,
            query,
            body,
            moment,
            readings,
            behind,
            repeating,
            hash,
            client: &self.token,
            violations: &violations,
        };
        let answer = request::answer(&mut self.records, request);
        for note in violations.into_inner() {
            self.report.violation(note);
        }
        answer
    }

    /// How it behaves.
    pub(super) const fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// One more rule of faults, asked before all others.
    pub(super) fn put_fault_first(&mut self, rule: FaultRule) {
        self.faults.put_first(&rule);
        self.behaviour.faults.insert(0, rule);
    }

    /// Changes how it behaves. Rules of faults that did not change go on counting where they were.
    pub(super) fn set_behaviour(&mut self, behaviour: Behaviour, moment: Moment) {
        if behaviour.faults != self.behaviour.faults {
            self.faults.replace(&behaviour.faults);
        }
        if behaviour.replica != self.behaviour.replica {
            self.records.set_replica(behaviour.replica, moment);
        }
        if behaviour.readings != self.behaviour.readings {
            self.records.forget_selections();
        }
        self.behaviour = behaviour;
    }
}

fn permitted(call: Call, scopes: &[Scope]) -> bool {
    match call.endpoint {
        Endpoint::Time | Endpoint::Store => scopes.contains(&Scope::InformationRead),
        // The one list that needs the scope to change things.
        Endpoint::SegmentMembers => scopes.contains(&Scope::CustomersModify),
        _ if call.writes() => scopes.contains(&Scope::CustomersModify),
        _ => scopes.contains(&Scope::CustomersModify) || scopes.contains(&Scope::CustomersRead),
    }
}
