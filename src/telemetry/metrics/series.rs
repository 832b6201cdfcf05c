//! The series: which there are, what they stand at, and their text.

use std::collections::{BTreeMap, BTreeSet};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::definition::{Kind, Metric, Scope};
use crate::telemetry::{Pair, Source};

/// The values of a metric's labels, in the order of [`Metric::labels`]; an empty one is a label that is not there.
type Labels = Vec<String>;

/// What a series is about, as its labels `store` and `crm`.
type About = (String, String);

/// What can have series.
pub(super) trait Subject {
    /// The values of `store` and `crm`.
    fn about(&self) -> About;
    /// Which metrics are about it.
    const SCOPE: Scope;
}

impl Subject for Source<'_> {
    fn about(&self) -> About {
        match self {
            Self::Store(name) => ((*name).to_owned(), String::new()),
            Self::Crm(name) => (String::new(), (*name).to_owned()),
        }
    }
    const SCOPE: Scope = Scope::Source;
}

impl Subject for Pair<'_> {
    fn about(&self) -> About {
        (self.store.to_owned(), self.crm.to_owned())
    }
    const SCOPE: Scope = Scope::Pair;
}

/// Counters and histograms, for what is served.
#[derive(Debug, Default)]
pub(super) struct Series {
    served: BTreeSet<About>,
    counters: BTreeMap<(Metric, Labels), f64>,
    histograms: BTreeMap<(Metric, Labels), Histogram>,
}

impl Series {
    /// Keeps the series of these, makes those that are new, at 0, and forgets all others.
    pub fn serve(&mut self, sources: &[Source<'_>], pairs: &[Pair<'_>]) {
        let sources: BTreeSet<About> = sources.iter().map(Subject::about).collect();
        let pairs: BTreeSet<About> = pairs.iter().map(Subject::about).collect();
        let process = BTreeSet::from([About::default()]);
        let mut wanted = BTreeSet::new();
        for metric in Metric::ALL.iter().copied() {
            let definition = metric.definition();
            let (subjects, named) = match definition.scope {
                Scope::Process => (&process, false),
                Scope::Source => (&sources, true),
                Scope::Pair => (&pairs, true),
            };
            for (store, crm) in subjects {
                let about = if named { vec![store.clone(), crm.clone()] } else { Vec::new() };
                for labels in divided(about, definition.by) {
                    match (definition.kind, definition.kind.buckets()) {
                        (Kind::Counter, _) => _ = self.counters.entry((metric, labels.clone())).or_default(),
                        (_, Some(buckets)) => {
                            let made = || Histogram::new(buckets.iter().copied());
                            self.histograms.entry((metric, labels.clone())).or_insert_with(made);
                        }
                        (Kind::Gauge | Kind::Info | Kind::Durations | Kind::Windows, None) => {}
                    }
                    wanted.insert((metric, labels));
                }
            }
        }
        self.counters.retain(|series, _| wanted.contains(series));
        self.histograms.retain(|series, _| wanted.contains(series));
        self.served = sources.into_iter().chain(pairs).collect();
    }

    /// Counts something of the process.
    pub fn count(&mut self, metric: Metric, words: &[&str], by: f64) {
        let labels = words.iter().map(|word| (*word).to_owned()).collect();
        if let Some(counter) = self.counters.get_mut(&(metric, labels)) {
            *counter += by;
        }
    }

    /// Counts something of a store, a CRM or a pair, if it is served.
    pub fn count_of(&mut self, metric: Metric, subject: &impl Subject, words: &[&str], by: f64) {
        let Some(labels) = self.labels_of(subject, words) else { return };
        if let Some(counter) = self.counters.get_mut(&(metric, labels)) {
            *counter += by;
        }
    }

    /// Puts something into a histogram, in seconds.
    pub fn observe_of(&self, metric: Metric, subject: &impl Subject, words: &[&str], seconds: f64) {
        let Some(labels) = self.labels_of(subject, words) else { return };
        if let Some(histogram) = self.histograms.get(&(metric, labels)) {
            histogram.observe(seconds);
        }
    }

    fn labels_of<S: Subject>(&self, subject: &S, words: &[&str]) -> Option<Labels> {
        let about = subject.about();
        self.served.contains(&about).then(|| {
            let (store, crm) = about;
            [store, crm].into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()
        })
    }

    /// All that there is to tell now.
    pub fn snapshot(&self, gauges: Gauges) -> Snapshot {
        let mut of: BTreeMap<Metric, Vec<(Labels, Value)>> = BTreeMap::new();
        for ((metric, labels), value) in &self.counters {
            of.entry(*metric).or_default().push((labels.clone(), Value::Counter(*value)));
        }
        for ((metric, labels), histogram) in &self.histograms {
            of.entry(*metric).or_default().push((labels.clone(), Value::Histogram(histogram.clone())));
        }
        for (metric, labels, value) in gauges.0 {
            let told = of.entry(metric).or_default();
            if metric.definition().kind == Kind::Counter {
                told.retain(|(known, _)| *known != labels);
                told.push((labels, Value::Counter(value)));
            } else {
                told.push((labels, Value::Gauge(value)));
            }
        }
        Snapshot(of)
    }
}

/// Every combination of the words that divide a metric.
fn divided(about: Labels, by: &[(&str, &[&str])]) -> Vec<Labels> {
    let mut all = vec![about];
    for (_, words) in by {
        let with = |labels: &Labels| {
            let labels = labels.clone();
            words.iter().map(move |word| labels.iter().cloned().chain([(*word).to_owned()]).collect())
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}

/// What whoever is asked knows at that moment: gauges, and counters that somebody else keeps.
#[derive(Debug, Default)]
pub struct Gauges(Vec<(Metric, Labels, f64)>);

impl Gauges {
    /// Of the process.
    pub fn set(&mut self, metric: Metric, words: &[&str], value: f64) {
        debug_assert_eq!(metric.definition().scope, Scope::Process);
        self.0.push((metric, words.iter().map(|word| (*word).to_owned()).collect(), value));
    }

    /// Of a store or a CRM.
    pub fn set_of_source(&mut self, metric: Metric, source: Source<'_>, words: &[&str], value: f64) {
        self.set_of(metric, &source, words, value);
    }

    /// Of a pair.
    pub fn set_of_pair(&mut self, metric: Metric, pair: Pair<'_>, words: &[&str], value: f64) {
        self.set_of(metric, &pair, words, value);
    }

    fn set_of<S: Subject>(&mut self, metric: Metric, subject: &S, words: &[&str], value: f64) {
        debug_assert_eq!(metric.definition().scope, S::SCOPE);
        let (store, crm) = subject.about();
        let labels = [store, crm].into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect();
        self.0.push((metric, labels, value));
    }
}

#[derive(Debug)]
enum Value {
    Counter(f64),
    Gauge(f64),
    Histogram(Histogram),
}

/// What is told once.
#[derive(Debug)]
pub(super) struct Snapshot(BTreeMap<Metric, Vec<(Labels, Value)>>);

impl Snapshot {
    /// As OpenMetrics text.
    pub fn text(self) -> String {
        let mut registry = Registry::with_prefix("attune");
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // A `String` takes whatever is written to it.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for metric in Metric::ALL.iter().copied() {
            let definition = metric.definition();
            let unit = definition.unit.map(|unit| Unit::Other(unit.to_owned()));
            let kind = match definition.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Info => MetricType::Info,
                Kind::Durations | Kind::Windows => MetricType::Histogram,
            };
            let mut family = encoder.encode_descriptor(definition.name, definition.help.trim(), unit.as_ref(), kind)?;
            let names = metric.labels();
            for (labels, value) in self.0.get(&metric).into_iter().flatten() {
                let pairs = names.iter().copied().zip(labels.iter().map(String::as_str));
                let labels: Vec<(&str, &str)> = pairs.filter(|(_, value)| !value.is_empty()).collect();
                if definition.kind == Kind::Info {
                    // Its labels are the metric itself.
                    Info::new(labels).encode(family.encode_family(&NO_LABELS)?)?;
                    continue;
                }
                let encoder = family.encode_family(&labels)?;
                match value {
                    Value::Counter(value) => ConstCounter::new(*value).encode(encoder)?,
                    Value::Gauge(value) => ConstGauge::new(*value).encode(encoder)?,
                    Value::Histogram(histogram) => histogram.encode(encoder)?,
                }
            }
        }
        Ok(())
    }
}

const NO_LABELS: [(&str, &str); 0] = [];
