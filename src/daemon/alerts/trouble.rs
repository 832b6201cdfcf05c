//! What is wrong now, one trouble for each thing that can be wrong with each source, each pair and the process.

use std::collections::BTreeMap;

use crate::daemon::vitals::Vitals;
use crate::daemon::watched::{Watched, WatchedPair, WatchedSource};
use crate::daemon::works::Works;
use crate::model::Side;

/// Whom a trouble is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    Process,
    Source(Side, String),
    Pair { store: String, crm: String },
}

/// Which of the things that can be wrong with it: each has one state at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Concern {
    Checkpoint,
    Configuration,
    Loops,
    State,
    Held,
    Drift,
}

impl Concern {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Configuration => "configuration",
            Self::Loops => "loops",
            Self::State => "state",
            Self::Held => "held",
            Self::Drift => "drift",
        }
    }
}

/// What a message is about, and the message that ends it too.
pub(super) type Subject = (About, Concern);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// In a word.
    pub state: String,
    /// Why, as a sentence; no secret, no personal data.
    pub reason: String,
    /// The names of the other side that it keeps from working: the stores of a CRM, the CRMs of a store.
    pub concerns: Vec<String>,
    /// The command that helps.
    pub command: String,
}

/// Everything that is wrong.
pub(super) type Troubles = BTreeMap<Subject, Trouble>;

/// What is wrong with the process.
pub(super) fn of_process(works: &Works, vitals: &Vitals) -> Troubles {
    let mut troubles = Troubles::new();
    let mut add = |concern, state: &str, reason: String, command: &str| {
        let trouble = Trouble { state: state.to_owned(), reason, concerns: Vec::new(), command: command.to_owned() };
        troubles.insert((About::Process, concern), trouble);
    };
    if let Some(reason) = works.checkpoint_failure() {
        add(Concern::Checkpoint, "not writable", reason, "attune status");
    }
    if vitals.is_rejected() {
        let reason = "the configuration was read again and is not sound; the one before stays in force".to_owned();
        add(Concern::Configuration, "rejected", reason, "attune check --offline");
    }
    if !vitals.is_alive() {
        let reason = "a loop does not turn any more: a defect; /livez names it, a restart is safe".to_owned();
        add(Concern::Loops, "stuck", reason, "systemctl restart attune");
    }
    troubles
}

/// What is wrong with sources and pairs; `failing` says why the passes of a store with a CRM fail.
pub(super) fn of_watched(watched: &Watched, failing: impl Fn(&str, &str) -> Option<String>) -> Troubles {
    let mut troubles = Troubles::new();
    for standing in &watched.sources {
        let about = About::Source(standing.side, standing.name.clone());
        if let Some(trouble) = state_of_source(standing, watched) {
            troubles.insert((about.clone(), Concern::State), trouble);
        }
        if standing.drift > 0 {
            let drift = standing.drift;
            let reason =
                format!("its last sweep found {drift} changed fields that its feeds had missed; they are synced now");
            let command = "attune status".to_owned();
            let trouble = Trouble { state: "drift".to_owned(), reason, concerns: Vec::new(), command };
            troubles.insert((about, Concern::Drift), trouble);
        }
    }
    for standing in &watched.pairs {
        let about = About::Pair { store: standing.store.clone(), crm: standing.crm.clone() };
        if let Some(trouble) = state_of_pair(standing, failing(&standing.store, &standing.crm)) {
            troubles.insert((about.clone(), Concern::State), trouble);
        }
        if standing.status.held > 0 {
            troubles.insert((about, Concern::Held), held_of_pair(standing));
        }
    }
    troubles
}

fn state_of_source(standing: &WatchedSource, watched: &Watched) -> Option<Trouble> {
    let WatchedSource { side, name, state, reason, .. } = standing;
    let narrowed = if *side == Side::Store { format!(" --store {name}") } else { String::new() };
    let command = match state.as_str() {
        "ok" | "new" => return None,
        "paused" => format!("attune resume {name}"),
        "unauthorized" | "misconfigured" => format!("attune check{narrowed}"),
        _ => format!("attune status{narrowed}"),
    };
    let concerns = watched.pairs.iter().filter_map(|pair| {
        let (own, other) = if *side == Side::Store { (&pair.store, &pair.crm) } else { (&pair.crm, &pair.store) };
        (own == name).then(|| other.clone())
    });
    let reason = reason.clone().unwrap_or_default();
    Some(Trouble { state: state.clone(), reason, concerns: concerns.collect(), command })
}

/// What is wrong with the pair itself: what is wrong with its store or its CRM is told once, for that one.
fn state_of_pair(standing: &WatchedPair, failing: Option<String>) -> Option<Trouble> {
    let store = &standing.store;
    let trouble = |state: &str, reason: String, command: String| {
        Some(Trouble { state: state.to_owned(), reason, concerns: Vec::new(), command })
    };
    match standing.status.state.as_str() {
        state @ "stopped" => {
            trouble(state, standing.status.reason.clone().unwrap_or_default(), format!("attune plan --store {store}"))
        }
        state @ "behind" => {
            trouble(state, standing.status.reason.clone().unwrap_or_default(), format!("attune held --store {store}"))
        }
        _ => trouble("failing", failing?, format!("attune status --store {store}")),
    }
}

fn held_of_pair(standing: &WatchedPair) -> Trouble {
    let by_reason = standing.status.held_by_reason.iter().map(|(reason, count)| format!("{count} {reason}"));
    let reason = format!(
        "fields or records wait for a person: {}; more may follow without another message",
        by_reason.collect::<Vec<_>>().join(", ")
    );
    let command = format!("attune held --store {}", standing.store);
    Trouble { state: "held".to_owned(), reason, concerns: Vec::new(), command }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::Arguments;
    use crate::daemon::watched::WatchedPair;
    use crate::engine::PairStatus;
    use crate::model::HeldReason;
    use crate::telemetry::metrics::{PAIR_STATES, SOURCE_STATES};

    const PAGE: &str = include_str!("../../../docs/alerts.md");

    fn source(side: Side, name: &str, state: &str) -> WatchedSource {
        WatchedSource {
            side,
            name: name.to_owned(),
            state: state.to_owned(),
            reason: Some("no answer".to_owned()),
            quota: None,
            last_read: None,
            last_sweep: None,
            drift: 0,
            offset_ms: None,
            cursor_age_ms: None,
        }
    }

    fn pair(store: &str, state: &str) -> WatchedPair {
        WatchedPair {
            store: store.to_owned(),
            crm: "erp".to_owned(),
            status: PairStatus { state: state.to_owned(), ..PairStatus::default() },
        }
    }

    fn troubles(sources: Vec<WatchedSource>, pairs: Vec<WatchedPair>) -> Troubles {
        of_watched(&Watched { pairs, sources }, |_, _| None)
    }

    #[test]
    fn what_keeps_a_crm_from_working_is_one_trouble_that_names_its_stores() {
        let stores = ["acme", "bravo"];
        let pairs = || stores.map(|store| pair(store, "unreachable")).to_vec();
        let mut sources = stores.map(|store| source(Side::Store, store, "ok")).to_vec();
        sources.push(source(Side::Crm, "erp", "unreachable"));
        let found = troubles(sources, pairs());
        assert_eq!(found.len(), 1, "{found:?}");
        let trouble = &found[&(About::Source(Side::Crm, "erp".to_owned()), Concern::State)];
        assert_eq!(trouble.concerns, stores);

        let sources = vec![source(Side::Store, "acme", "unauthorized"), source(Side::Crm, "erp", "ok")];
        let found = troubles(sources, pairs());
        let trouble = &found[&(About::Source(Side::Store, "acme".to_owned()), Concern::State)];
        assert_eq!(
            (found.len(), &trouble.concerns[..], trouble.command.as_str()),
            (1, &["erp".to_owned()][..], "attune check --store acme")
        );
    }

    #[test]
    fn every_state_is_trouble_or_none_as_the_page_says_and_names_a_command_that_there_is() {
        // What a pair has from its source is told of the source.
        let well = ["ok", "new", "observing"];
        let of_pair = PAIR_STATES.iter().filter(|state| !SOURCE_STATES.contains(state));
        let found = SOURCE_STATES
            .iter()
            .map(|state| (state, troubles(vec![source(Side::Crm, "erp", state)], vec![pair("acme", state)])))
            .chain(of_pair.map(|state| (state, troubles(Vec::new(), vec![pair("acme", state)]))));
        for (state, mut found) in found {
            assert_eq!(found.len(), usize::from(!well.contains(state)), "{state}: {found:?}");
            if let Some((_, trouble)) = found.pop_first() {
                assert!(PAGE.contains(&format!("`{state}`")), "{state} is not on the page");
                let words = trouble.command.split(' ').map(str::to_owned);
                assert!(Arguments::read(words.collect::<Vec<_>>()).is_ok(), "{}", trouble.command);
            }
        }
    }

    #[test]
    fn what_is_held_is_one_trouble_for_a_pair_and_drift_one_for_a_source() {
        let mut held = pair("acme", "ok");
        (held.status.held, held.status.held_by_reason) =
            (5, vec![(HeldReason::Conflict, 3), (HeldReason::Ambiguous, 2)]);
        let mut drifted = source(Side::Store, "acme", "ok");
        drifted.drift = 4;
        let found = troubles(vec![drifted], vec![held]);
        let told: Vec<_> = found.values().map(|trouble| (trouble.state.as_str(), trouble.command.as_str())).collect();
        assert_eq!(told, [("drift", "attune status"), ("held", "attune held --store acme")]);
        let reasons: Vec<_> = found.values().map(|trouble| trouble.reason.as_str()).collect();
        assert!(
            reasons[0].contains("found 4 changed fields") && reasons[1].contains("3 conflict, 2 ambiguous"),
            "{reasons:?}"
        );
    }

    #[test]
    fn a_pair_whose_passes_fail_is_told_where_nothing_else_is() {
        let watched = Watched { pairs: vec![pair("acme", "ok")], sources: Vec::new() };
        let found = of_watched(&watched, |_, _| Some("the CRM's table is locked".to_owned()));
        let told: Vec<_> = found.values().map(|trouble| (trouble.state.as_str(), trouble.reason.as_str())).collect();
        assert_eq!(told, [("failing", "the CRM's table is locked")]);
    }
}
