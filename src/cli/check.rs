//! `attune check`: reads the configuration, reaches every system, compares fields and types. It creates nothing and
//! remembers nothing.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::arguments::{Check, Common};
use super::exit::Exit;
use super::output::{self, counted, plain};
use super::session::{self, Access, Session, Trouble, exit_of, said};
use crate::checkpoint;
use crate::config::{self, Config, Problem};
use crate::connector::{Prepared, Quota};
use crate::daemon::{Blueprint, PairPlan, SourcePlan};
use crate::engine::inability;
use crate::http::webhook;
use crate::model::{
    Class, DefinitionState, Direction, Failure, FieldRule, FieldShape, FieldType, Holds, OnClear, Side,
};

/// A clock that is further off is worth a word: conflicts are decided by times.
const SKEW_MIN: Duration = Duration::from_secs(60);

/// Runs the command.
///
/// # Errors
/// When the configuration or the checkpoint cannot be used at all.
pub async fn run(common: &Common, options: &Check, stop: &CancellationToken) -> Result<Exit, Trouble> {
    if options.json
        && let Err(problems) = config::load(&common.config, std::env::vars_os())
    {
        output::document(&json!({
            "problems": problems.iter().collect::<Vec<_>>(), "warnings": [], "sources": [], "pairs": [],
        }))?;
        return Ok(Exit::Misconfigured);
    }
    if options.offline {
        let config = session::load(common)?;
        return offline(&config, options.json);
    }
    let session = Session::open(common, Access::Read, stop).await?;
    let blueprint = session.blueprint().await;
    let looks = join_all(blueprint.sources.iter().map(|plan| look(&session, plan))).await;
    let mut looks = looks.into_iter().collect::<Result<Vec<Look<'_>>, Trouble>>()?;
    note_inabilities(&blueprint, &mut looks);
    let mut warnings = warnings(&session.config, &blueprint, &looks);
    warnings.extend(no_alerts(&session).await);
    if options.json {
        output::document(&document(&session.config, &blueprint, &looks, &warnings))?;
    } else {
        as_text(&blueprint, &looks, &warnings)?;
    }
    let failures = looks.iter().flat_map(|look| &look.failures);
    if !options.json {
        for look in &looks {
            look.failures.iter().for_each(|failure| output::note(&said(look.plan.side, &look.plan.name, failure)));
        }
    }
    Ok(failures.map(exit_of).collect())
}

fn offline(config: &Config, json: bool) -> Result<Exit, Trouble> {
    if json {
        let (sources, pairs): ([Json; 0], [Json; 0]) = ([], []);
        let warnings: Vec<String> = config.warnings.iter().map(Problem::to_string).collect();
        let stores: Vec<&String> = config.stores.keys().collect();
        output::document(
            &json!({ "stores": stores, "problems": [], "warnings": warnings, "sources": sources, "pairs": pairs }),
        )?;
        return Ok(Exit::Done);
    }
    let count = |count: usize, one: &str, many: &str| counted(count as u64, one, many);
    output::show(&format!(
        "The configuration is sound: {}, {}, {}.",
        count(config.stores.len(), "store", "stores"),
        count(config.crms.len(), "CRM", "CRMs"),
        count(config.mappings.len(), "mapping", "mappings")
    ))?;
    for warning in &config.warnings {
        output::show(&format!("Warning: {}", plain(&warning.to_string())))?;
    }
    Ok(Exit::Done)
}

/// What one source answered.
struct Look<'a> {
    plan: &'a SourcePlan,
    answered: Option<Prepared>,
    took: Duration,
    /// Its clock minus ours.
    skew_ms: i64,
    quota: Option<Quota>,
    failures: Vec<Failure>,
}

impl<'a> Look<'a> {
    fn failed(plan: &'a SourcePlan, took: Duration, failure: Failure) -> Self {
        Self { plan, answered: None, took, skew_ms: 0, quota: None, failures: vec![failure] }
    }

    fn state(&self) -> &'static str {
        match self.failures.iter().map(exit_of).collect::<Exit>() {
            Exit::Done => "ok",
            Exit::Unauthorized => "unauthorized",
            Exit::Misconfigured => "misconfigured",
            Exit::Unreachable => "unreachable",
            Exit::Attention | Exit::Usage | Exit::Defect => "failing",
        }
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &DefinitionState)> {
        let names = self.plan.settings.iter().flat_map(|settings| settings.connector.fields());
        let definitions = self.answered.iter().flat_map(|answered| &answered.definitions);
        names.map(String::as_str).zip(definitions.map(|definition| &definition.state))
    }

    /// The words that a field takes, where it takes no others.
    fn choices(&self, field: &str) -> Option<&[String]> {
        let at = self.plan.settings.as_ref().ok()?.connector.fields().iter().position(|name| name == field)?;
        let choices = &self.answered.as_ref()?.choices;
        choices.iter().find(|(index, _)| *index == at).map(|(_, words)| &**words)
    }

    fn shape(&self, field: &str) -> Option<&FieldShape> {
        self.fields().find(|(name, _)| *name == field).and_then(|(_, state)| shape(state))
    }
}

const fn shape(state: &DefinitionState) -> Option<&FieldShape> {
    match state {
        DefinitionState::Usable(shape)
        | DefinitionState::Renamed(shape, _)
        | DefinitionState::ToCreate(shape)
        | DefinitionState::Created(shape) => Some(shape),
        DefinitionState::Changed(_) | DefinitionState::Unusable(_) => None,
    }
}

async fn look<'a>(session: &Session, plan: &'a SourcePlan) -> Result<Look<'a>, Trouble> {
    let began = Instant::now();
    let settings = match &plan.settings {
        Ok(settings) => settings,
        Err(failure) => return Ok(Look::failed(plan, began.elapsed(), failure.clone())),
    };
    let (known, identity) = remembered(session, plan, settings.connector.fields()).await?;
    let asked = session.engine.clock().now();
    let answered = match settings.connector.prepare(&known, false).await {
        Ok(answered) => answered,
        Err(failure) => return Ok(Look::failed(plan, began.elapsed(), failure)),
    };
    let mut look = Look {
        plan,
        took: began.elapsed(),
        skew_ms: 0,
        quota: settings.connector.quota(),
        failures: Vec::new(),
        answered: None,
    };
    // The answer's clock is of a moment between asking and now.
    let now = session.engine.clock().now();
    let (behind, ahead) = (answered.clock.millis_since(asked), answered.clock.millis_since(now));
    look.skew_ms = if behind < 0 { behind } else { ahead.max(0) };
    if let Some(known) = identity.filter(|known| *known != answered.identity) {
        let (side, name, found) = (plan.side.as_str(), plan.name.clone(), answered.identity.clone());
        let error = checkpoint::Error::AnotherSystem { side, name, known, found };
        look.failures.push(Failure::new(Class::Misconfigured, error.to_string()));
    }
    for definition in &answered.definitions {
        if let DefinitionState::Unusable(why) = &definition.state {
            look.failures.push(Failure::new(Class::Misconfigured, why.clone()));
        }
    }
    look.answered = Some(answered);
    Ok(look)
}

/// What the mappings ask of a side beyond writing fields, and it cannot do.
fn note_inabilities(blueprint: &Blueprint, looks: &mut [Look<'_>]) {
    for pair in &blueprint.pairs {
        for look in looks.iter_mut().filter(|look| pair.name_on(look.plan.side) == look.plan.name) {
            let Ok(settings) = &look.plan.settings else { continue };
            let mapping = &pair.settings.mapping;
            let Some(sentence) = inability(mapping, look.plan.side, &*settings.connector) else { continue };
            if !look.failures.iter().any(|known| known.message == sentence) {
                look.failures.push(Failure::new(Class::Misconfigured, sentence));
            }
        }
    }
}

/// What is remembered of a source: the ids of its fields' definitions, and what it is.
async fn remembered(
    session: &Session,
    plan: &SourcePlan,
    names: &[String],
) -> Result<(Vec<Option<String>>, Option<String>), Trouble> {
    let mut transaction = session.engine.checkpoint().read().await?;
    let row = transaction.source(plan.side, &plan.name).await?;
    let known = match &row {
        Some(row) => transaction.known_fields(row.id, names).await?,
        None => Vec::new(),
    };
    transaction.end().await?;
    let definition = |name: &String| known.iter().find(|field| field.name == *name)?.definition.clone();
    Ok((names.iter().map(definition).collect(), row.and_then(|row| row.identity)))
}

/// All that is unusual and stops nobody.
/// Why no alert can be sent, where one is to be. Nothing is sent to find out.
async fn no_alerts(session: &Session) -> Option<String> {
    let alerts = session.config.alerts.as_ref()?;
    let reason = match alerts.url.resolve(&session.surroundings.environment).await {
        Ok(url) => webhook::check(&url).err()?.to_string(),
        Err(reason) => reason,
    };
    Some(format!("alerts.url: {reason}; until then no message is sent"))
}

fn warnings(config: &Config, blueprint: &Blueprint, looks: &[Look<'_>]) -> Vec<String> {
    let mut warnings: Vec<String> = config.warnings.iter().map(Problem::to_string).collect();
    for look in looks {
        let who = format!("{} {}", look.plan.side, look.plan.name);
        let said = look.answered.iter().flat_map(|answered| &answered.warnings);
        warnings.extend(said.map(|warning| format!("{who}: {warning}")));
        for (name, state) in look.fields() {
            match state {
                DefinitionState::Renamed(_, now) => {
                    warnings.push(format!("{who}: {name} is called {now:?} there now; change the mapping"));
                }
                DefinitionState::Changed(why) => warnings.push(format!("{who}: {name}: {why}")),
                DefinitionState::ToCreate(_) => {
                    warnings.push(format!("{who}: {name} is not there yet; the first pass that may write makes it"));
                }
                DefinitionState::Usable(_) | DefinitionState::Created(_) | DefinitionState::Unusable(_) => {}
            }
        }
        if look.skew_ms.unsigned_abs() > u64::try_from(SKEW_MIN.as_millis()).unwrap_or(u64::MAX) {
            let off = output::lasting(Duration::from_millis(look.skew_ms.unsigned_abs()));
            let way = if look.skew_ms > 0 { "ahead of" } else { "behind" };
            warnings.push(format!("{who}: its clock is {off} {way} ours; conflicts are decided by corrected times"));
        }
    }
    for pair in &blueprint.pairs {
        let (store, crm) = sides(pair, looks);
        for rule in &pair.settings.mapping.fields {
            for (side, look, name) in [(Side::Store, store, &rule.store), (Side::Crm, crm, &rule.crm)] {
                let Some(shape) = look.and_then(|look| look.shape(name)) else { continue };
                let other = if side == Side::Store { crm } else { store };
                let other_name = if side == Side::Store { &rule.crm } else { &rule.store };
                let from = other.and_then(|look| look.shape(other_name));
                let who = format!("{} ⇄ {}: {}", pair.store, pair.crm, rule.store);
                warnings.extend(target(rule, side, shape, from).map(|why| format!("{who}: {why}")));
            }
            let words = crm.and_then(|look| look.choices(&rule.crm));
            let why = words.and_then(|words| other_words(rule, words));
            warnings.extend(why.map(|why| format!("{} ⇄ {}: {}: {why}", pair.store, pair.crm, rule.store)));
        }
    }
    warnings
}

/// The most words that a sentence names.
const WORDS_MAX: usize = 10;

/// Words that a CRM field of choices does not take and may be sent.
fn other_words(rule: &FieldRule, choices: &[String]) -> Option<String> {
    if rule.direction == Direction::ToStore {
        return None;
    }
    let listed = |words: &[&String]| {
        let mut text: Vec<String> = words.iter().take(WORDS_MAX).map(|word| format!("`{word}`")).collect();
        if words.len() > WORDS_MAX {
            text.push(format!("and {} more", words.len() - WORDS_MAX));
        }
        text.join(", ")
    };
    let there = listed(&choices.iter().collect::<Vec<_>>());
    if rule.values.is_empty() {
        return Some(format!(
            "the crm takes only its choices there ({there}): any other word is held; where the store has other words, give `values`"
        ));
    }
    let others: Vec<&String> = rule.values.keys().filter(|word| !choices.contains(word)).collect();
    (!others.is_empty()).then(|| {
        format!(
            "the crm has no choice {} there (it has {there}): what maps to it is held; correct `values`",
            listed(&others)
        )
    })
}

/// What a target cannot take of what may come.
fn target(rule: &FieldRule, side: Side, shape: &FieldShape, from: Option<&FieldShape>) -> Option<String> {
    let written = match rule.direction {
        Direction::Both => true,
        Direction::ToStore => side == Side::Store,
        Direction::ToCrm => side == Side::Crm,
    };
    if !written {
        return None;
    }
    if !shape.writable {
        let other = if side == Side::Crm { "to_store" } else { "to_crm" };
        return Some(format!(
            "the {side} does not let us write it (read-only or computed there, or our user or token lacks the right): what \
             differs there is held; grant the right, or set direction = \"{other}\""
        ));
    }
    if rule.kind == FieldType::String && !matches!(shape.holds, Holds::Text | Holds::FullName | Holds::List) {
        return Some(format!(
            "the {side} holds {} only: any other text is held; give the field its `type`",
            holds(shape)
        ));
    }
    let unseparated = rule.kind == FieldType::List && rule.options.separator.is_none();
    if unseparated && side == Side::Crm && shape.holds == Holds::Text {
        return Some(
            "the crm holds text: lists stand there as JSON; if they are separated there, give `separator`".to_owned(),
        );
    }
    let longest = shape
        .max_chars
        .filter(|most| from.is_none_or(|from| from.max_chars.is_none_or(|most_there| most_there > *most)));
    if let Some(most) = longest.filter(|most| *most < 255) {
        return Some(format!("the {side} takes at most {most} characters: what is longer is held"));
    }
    if !shape.clearable && rule.on_clear == OnClear::Propagate {
        return Some(format!("the {side} cannot hold nothing there: a clear is held, or set on_clear = \"restore\""));
    }
    None
}

const fn holds(shape: &FieldShape) -> &'static str {
    match shape.holds {
        Holds::Text => "text",
        Holds::FullName => "first and last names",
        Holds::Number => "numbers",
        Holds::Integer => "whole numbers",
        Holds::Date => "days",
        Holds::Instant => "instants",
        Holds::Boolean => "true and false",
        Holds::List => "lists",
    }
}

fn sides<'l, 'p>(pair: &PairPlan, looks: &'l [Look<'p>]) -> (Option<&'l Look<'p>>, Option<&'l Look<'p>>) {
    let of = |side: Side, name: &str| looks.iter().find(|look| look.plan.side == side && look.plan.name == name);
    (of(Side::Store, &pair.store), of(Side::Crm, &pair.crm))
}

/// What a side holds in a field, in a word.
fn held_by(look: Option<&Look<'_>>, name: &str) -> String {
    let state = look.and_then(|look| look.fields().find(|(field, _)| *field == name)).map(|(_, state)| state);
    match state {
        None => "not reached".to_owned(),
        Some(DefinitionState::Unusable(_)) => "unusable".to_owned(),
        Some(DefinitionState::Changed(_)) => "definition changed".to_owned(),
        Some(state) => {
            let created = if matches!(state, DefinitionState::ToCreate(_)) { ", to be made" } else { "" };
            let shape = shape(state);
            let most = shape
                .filter(|shape| shape.holds == Holds::Text)
                .and_then(|shape| shape.max_chars)
                .map(|most| format!(" of {most}"))
                .unwrap_or_default();
            format!("{}{most}{created}", shape.map_or("text", holds))
        }
    }
}

/// How a clock stands to ours. A `Date` header is up to a second old.
fn clock(skew_ms: i64) -> String {
    let off = Duration::from_millis(skew_ms.unsigned_abs());
    match skew_ms {
        -2000..=2000 => "in step".to_owned(),
        2001.. => format!("{} ahead", output::lasting(off)),
        _ => format!("{} behind", output::lasting(off)),
    }
}

const fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Both => "⇄",
        Direction::ToStore => "←",
        Direction::ToCrm => "→",
    }
}

fn as_text(blueprint: &Blueprint, looks: &[Look<'_>], warnings: &[String]) -> Result<(), Trouble> {
    let rows = looks.iter().map(|look| {
        let answered = look.answered.as_ref();
        [
            format!("{} {}", look.plan.side, look.plan.name),
            look.state().to_owned(),
            answered.map_or_else(|| "-".to_owned(), |answered| answered.identity.clone()),
            answered.map_or_else(|| "-".to_owned(), |_| clock(look.skew_ms)),
            look.quota.map_or_else(|| "-".to_owned(), |quota| format!("{} of {}", quota.left, quota.quota)),
        ]
    });
    output::show(&output::table(["SYSTEM", "STATE", "IS", "CLOCK", "QUOTA LEFT"], rows))?;
    for pair in &blueprint.pairs {
        let (store, crm) = sides(pair, looks);
        let rows = pair.settings.mapping.fields.iter().map(|rule| {
            [
                rule.store.clone(),
                held_by(store, &rule.store),
                arrow(rule.direction).to_owned(),
                rule.crm.clone(),
                held_by(crm, &rule.crm),
                rule.kind.as_str().to_owned(),
            ]
        });
        let title = format!("\n{} ⇄ {}, mapping {}", pair.store, pair.crm, pair.settings.mapping.name);
        output::show(&title)?;
        output::show(&output::table(["STORE FIELD", "HOLDS", "", "CRM FIELD", "HOLDS", "COMPARED AS"], rows))?;
    }
    if !warnings.is_empty() {
        output::show("")?;
    }
    for warning in warnings {
        output::show(&format!("Warning: {}", plain(warning)))?;
    }
    Ok(())
}

fn document(config: &Config, blueprint: &Blueprint, looks: &[Look<'_>], warnings: &[String]) -> Json {
    let source = |look: &Look<'_>| {
        let fields: Vec<Json> = look
            .fields()
            .map(|(name, state)| json!({ "name": name, "holds": shape(state).map(|shape| shape.holds), "usable": shape(state).is_some() }))
            .collect();
        let reasons: Vec<String> = look.failures.iter().map(ToString::to_string).collect();
        json!({
            "side": look.plan.side, "name": look.plan.name, "state": look.state(),
            "reason": (!reasons.is_empty()).then(|| reasons.join("; ")),
            "identity": look.answered.as_ref().map(|answered| &answered.identity),
            "answered_ms": look.answered.as_ref().map(|_| u64::try_from(look.took.as_millis()).unwrap_or(u64::MAX)),
            "clock_skew_ms": look.answered.as_ref().map(|_| look.skew_ms), "quota": look.quota, "fields": fields,
        })
    };
    let pair = |pair: &PairPlan| {
        let (store, crm) = sides(pair, looks);
        let fields: Vec<Json> = pair
            .settings
            .mapping
            .fields
            .iter()
            .map(|rule| {
                json!({
                    "store": rule.store, "crm": rule.crm, "type": rule.kind.as_str(), "direction": rule.direction,
                    "store_holds": held_by(store, &rule.store), "crm_holds": held_by(crm, &rule.crm),
                })
            })
            .collect();
        json!({ "name": pair.store, "crm": pair.crm, "mapping": pair.settings.mapping.name, "fields": fields })
    };
    json!({
        "problems": [], "warnings": warnings,
        "sources": looks.iter().map(source).collect::<Vec<_>>(),
        "pairs": blueprint.pairs.iter().map(pair).collect::<Vec<_>>(),
        "stores": config.stores.keys().collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_choices_are_told() {
        let choices = ["gold".to_owned(), "silver".to_owned()];
        let rule = |words: &[&str], direction: Direction| FieldRule {
            values: words.iter().map(|word| ((*word).to_owned(), (*word).to_uppercase())).collect(),
            direction,
            ..FieldRule::new("attribute:Tier", "tier")
        };
        let said = other_words(&rule(&["gold", "Tin"], Direction::Both), &choices).unwrap();
        assert!(
            said.contains("no choice `Tin` there (it has `gold`, `silver`)") && said.contains("`values`"),
            "{said}"
        );
        let said = other_words(&rule(&[], Direction::ToCrm), &choices).unwrap();
        assert!(said.contains("only its choices there (`gold`, `silver`)") && said.contains("give `values`"), "{said}");
        assert_eq!(other_words(&rule(&["gold", "silver"], Direction::Both), &choices), None);
        assert_eq!(other_words(&rule(&["Tin"], Direction::ToStore), &choices), None, "nothing is written there");
    }
}
