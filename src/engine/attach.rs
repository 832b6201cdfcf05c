//! From a connector to a [`Source`]: reach it, learn who it is, find its fields; from two sources to a [`Pair`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::ability::inability;
use super::{Defined, Engine, Error, Pair, PairField, Source, SourceField, Times, shape_of};
use crate::checkpoint::{FieldRow, Settled, SourceRow};
use crate::connector::{Connector, Prepared};
use crate::model::{Class, Create, DefinitionState, Failure, FieldShape, Mapping, Mode, Rails, Side, Timestamp};
use crate::proof::Fault;
use crate::telemetry::Event;

/// A store or CRM to attach.
#[derive(Clone)]
pub struct SourceSettings {
    /// Its side.
    pub side: Side,
    /// Its label.
    pub name: String,
    /// How it is read.
    pub times: Times,
    /// How it is reached.
    pub connector: Arc<dyn Connector>,
    /// The names of the fields by which links are found, and whether letter case is ignored in them.
    pub match_fields: Vec<(String, bool)>,
}

/// A pair to make of two attached sources.
#[derive(Clone)]
pub struct PairSettings {
    /// What corresponds to what.
    pub mapping: Mapping,
    /// Whether it writes.
    pub mode: Mode,
    /// Its limits.
    pub rails: Rails,
}

impl Engine {
    /// Reaches a source and finds its fields. Nothing is created there.
    ///
    /// # Errors
    /// When it cannot be reached, refuses us, is not what its label meant before, or lacks a field.
    pub async fn attach(&self, settings: &SourceSettings) -> Result<Source, Error> {
        let failed =
            |failure| Error::Source { side: settings.side, name: settings.name.clone(), failure: Box::new(failure) };
        let names = settings.connector.fields().to_vec();
        let known = self.remembered_definitions(settings, &names).await?;
        let prepared = settings.connector.prepare(&known, false).await.map_err(failed)?;
        let mut transaction = self.checkpoint.begin().await?;
        let row = transaction.bind_source(settings.side, &settings.name, &prepared.identity).await?;
        let fields = transaction.bind_fields(row.id, &names).await?;
        transaction.commit().await?;
        self.assemble(settings, &row, fields, Some(&prepared)).await
    }

    /// A source as it is remembered, without reaching it: for plans beside a running daemon. None if it was never read.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub async fn recall(&self, settings: &SourceSettings) -> Result<Option<Source>, Error> {
        let names = settings.connector.fields().to_vec();
        let mut transaction = self.checkpoint.read().await?;
        let Some(row) = transaction.source(settings.side, &settings.name).await? else { return Ok(None) };
        let fields = transaction.known_fields(row.id, &names).await?;
        transaction.end().await?;
        if fields.len() != names.len() {
            return Ok(None);
        }
        Ok(Some(self.assemble(settings, &row, fields, None).await?))
    }

    async fn remembered_definitions(
        &self,
        settings: &SourceSettings,
        names: &[String],
    ) -> Result<Vec<Option<String>>, Error> {
        let mut transaction = self.checkpoint.read().await?;
        let known = match transaction.source(settings.side, &settings.name).await? {
            Some(row) => transaction.known_fields(row.id, names).await?,
            None => Vec::new(),
        };
        transaction.end().await?;
        let by_name: BTreeMap<&str, &FieldRow> = known.iter().map(|field| (field.name.as_str(), field)).collect();
        Ok(names.iter().map(|name| by_name.get(name.as_str()).and_then(|field| field.definition.clone())).collect())
    }

    async fn assemble(
        &self,
        settings: &SourceSettings,
        row: &SourceRow,
        rows: Vec<FieldRow>,
        prepared: Option<&Prepared>,
    ) -> Result<Source, Error> {
        let match_fields: Vec<(i64, bool)> = settings
            .match_fields
            .iter()
            .filter_map(|(name, fold)| rows.iter().find(|row| row.name == *name).map(|row| (row.id, *fold)))
            .collect();
        let must_index = rows.iter().any(|row| !row.indexed && match_fields.iter().any(|(field, _)| *field == row.id));
        let must_sweep = must_index || rows.iter().any(|row| !row.swept);
        let remembered = rows
            .iter()
            .map(|row| Defined {
                shape: row.shape.clone().unwrap_or(FieldShape::TEXT),
                definition: row.definition.clone(),
                changed: row.changed.clone(),
                // After a sweep whatever is defined was seen, absent or not: this one is yet to be made, or always shown.
                to_create: row.swept && row.definition.is_none(),
            })
            .collect();
        let source = Source {
            id: row.id,
            side: settings.side,
            name: settings.name.clone(),
            identity: row.identity.clone().unwrap_or_default(),
            times: settings.times,
            connector: Arc::clone(&settings.connector),
            fields: rows
                .iter()
                .enumerate()
                .map(|(at, row)| SourceField {
                    id: row.id,
                    name: row.name.clone(),
                    dating: settings.connector.dating(at),
                })
                .collect(),
            match_fields,
            defined: RwLock::new(remembered),
            must_sweep: AtomicBool::new(must_sweep),
            must_index: AtomicBool::new(must_index),
            by_key: AtomicBool::new(row.by_key),
            started: AtomicBool::new(false),
            pairs: Mutex::default(),
            lane: tokio::sync::Mutex::new(()),
            calls: AtomicU64::new(0),
            covered: Mutex::default(),
            offset_ms: AtomicI64::new(row.offset_ms),
            told_time: AtomicBool::new(false),
        };
        if let Some(prepared) = prepared {
            self.take_definitions(&source, prepared).await?;
        }
        Ok(source)
    }

    /// Asks the source again how it defines its fields; creates those that are to be created, if told so. Answers with the
    /// source's clock.
    ///
    /// # Errors
    /// As [`Engine::attach`].
    pub async fn refresh_definitions(&self, source: &Source, may_create: bool) -> Result<Timestamp, Error> {
        let names = source.connector.fields().to_vec();
        let mut transaction = self.checkpoint.read().await?;
        let rows = transaction.known_fields(source.id, &names).await?;
        transaction.end().await?;
        let known: Vec<Option<String>> = rows.into_iter().map(|row| row.definition).collect();
        source.call();
        let prepared = source.connector.prepare(&known, may_create).await.map_err(|failure| source.error(failure))?;
        self.take_definitions(source, &prepared).await?;
        Ok(prepared.clock)
    }

    /// Remembers what a source said of its fields, and says what changed.
    async fn take_definitions(&self, source: &Source, prepared: &Prepared) -> Result<(), Error> {
        let mut problems = Vec::new();
        let mut rows = Vec::new();
        for (at, definition) in prepared.definitions.iter().enumerate() {
            let (Some(field), Some(before)) = (source.fields.get(at), source.defined(at)) else { continue };
            let mut now = Defined {
                shape: shape_of(&definition.state),
                definition: definition.id.clone().or(before.definition),
                changed: None,
                to_create: matches!(definition.state, DefinitionState::ToCreate(_)),
            };
            match &definition.state {
                DefinitionState::Usable(_) | DefinitionState::ToCreate(_) => {}
                DefinitionState::Created(_) => Event::AttributeCreated {
                    source: source.event(),
                    field: &field.name,
                    attribute_id: definition.id.as_deref().unwrap_or_default(),
                }
                .emit(),
                DefinitionState::Renamed(_, name) => Event::SchemaChanged {
                    source: source.event(),
                    field: &field.name,
                    reason: &format!("it is called {name:?} there now; change the mapping when you can"),
                }
                .emit(),
                DefinitionState::Changed(sentence) => {
                    if before.changed.is_none() {
                        Event::SchemaChanged { source: source.event(), field: &field.name, reason: sentence }.emit();
                    }
                    now.shape = before.shape;
                    now.changed = Some(sentence.clone());
                }
                DefinitionState::Unusable(sentence) => problems.push(sentence.clone()),
            }
            rows.push((at, now));
        }
        if !problems.is_empty() {
            return Err(source.error(Failure::new(Class::Misconfigured, problems.join("; "))));
        }
        for warning in &prepared.warnings {
            crate::telemetry::note_of(tracing::Level::WARN, source.event(), warning);
        }
        let mut transaction = self.checkpoint.begin().await?;
        for (at, now) in rows {
            let Some(before) = source.defined(at) else { continue };
            let moved = before.changed != now.changed;
            let field = &source.fields[at];
            transaction
                .save_field(&FieldRow {
                    id: field.id,
                    name: field.name.clone(),
                    definition: now.definition.clone(),
                    shape: Some(now.shape.clone()),
                    changed: now.changed.clone(),
                    swept: false,
                    indexed: false,
                })
                .await?;
            if moved {
                // Its fields are held, or held no more: every link of the source is looked at again.
                transaction.look_again(source.id).await?;
            }
            if let Some(slot) = source.defined.write().unwrap_or_else(PoisonError::into_inner).get_mut(at) {
                *slot = now;
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Makes a pair of two sources. A field that is new to the mapping starts with nothing agreed; a changed type
    /// too, and it is said; a changed direction or policy is said.
    ///
    /// # Errors
    /// When the checkpoint fails, or the mapping names a field that the sources were not opened with.
    pub async fn pair(
        &self,
        settings: &PairSettings,
        store: &Arc<Source>,
        crm: &Arc<Source>,
    ) -> Result<Arc<Pair>, Error> {
        let mut pair = assemble_pair(settings, store, crm)?;
        for side in [Side::Store, Side::Crm] {
            let target = pair.source(side);
            if let Some(sentence) = inability(&pair.mapping, side, &*target.connector) {
                return Err(target.error(Failure::new(Class::Misconfigured, sentence)));
            }
        }
        self.bind_mapping(&mut pair).await?;
        if crate::proof::has(Fault::AttemptsForgottenAtStart) {
            self.forget_attempts(&pair).await?;
        }
        let pair = Arc::new(pair);
        for source in [store, crm] {
            let mut pairs = source.pairs.lock().unwrap_or_else(PoisonError::into_inner);
            pairs.retain(|known| known.upgrade().is_some_and(|known| known.id != pair.id));
            pairs.push(Arc::downgrade(&pair));
        }
        Ok(pair)
    }

    /// A pair as it is remembered, for reading beside a running daemon: nothing is written. None if it is new.
    ///
    /// # Errors
    /// As [`Engine::pair`].
    pub async fn recall_pair(
        &self,
        settings: &PairSettings,
        store: &Arc<Source>,
        crm: &Arc<Source>,
    ) -> Result<Option<Pair>, Error> {
        let mut pair = assemble_pair(settings, store, crm)?;
        let mut transaction = self.checkpoint.read().await?;
        let Some(row) = transaction.pair_of(store.id, crm.id).await? else { return Ok(None) };
        pair.id = row.id;
        let known = transaction.mapped(row.id).await?;
        transaction.end().await?;
        for field in &mut pair.fields {
            let same = |m: &&crate::checkpoint::MappedRow| m.store_field == field.store.1 && m.crm_field == field.crm.1;
            field.mapped = known.iter().find(same).map_or(0, |row| row.id);
        }
        Ok(Some(pair))
    }

    /// Closes what the process before left under way, as a planted fault does.
    async fn forget_attempts(&self, pair: &Pair) -> Result<(), Error> {
        let mut transaction = self.checkpoint.begin().await?;
        for side in [Side::Store, Side::Crm] {
            let open = transaction.attempts_due(pair.id, side, self.clock.now(), usize::from(u16::MAX)).await?;
            let settled: Vec<Settled> =
                open.iter().map(|attempt| Settled { id: attempt.id, outcome: "refused", open: false }).collect();
            transaction.settle(&settled).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn bind_mapping(&self, pair: &mut Pair) -> Result<(), Error> {
        let now = self.clock.now();
        let mut transaction = self.checkpoint.begin().await?;
        let row = transaction.bind_pair(pair.store.id, pair.crm.id).await?;
        pair.id = row.id;
        let mut known = transaction.mapped(row.id).await?;
        for field in &mut pair.fields {
            let rule = rule_text(&field.rule);
            let found = known.iter().position(|m| m.store_field == field.store.1 && m.crm_field == field.crm.1);
            let Some(found) = found else {
                field.mapped = transaction.add_mapped(row.id, field.store.1, field.crm.1, &rule).await?;
                continue;
            };
            let before = known.swap_remove(found);
            field.mapped = before.id;
            if before.rule == rule {
                continue;
            }
            let (said, forget) = difference(&before.rule, &rule);
            Event::SchemaChanged { source: pair.store.event(), field: &field.rule.store, reason: &said }.emit();
            if forget {
                transaction.remove_mapped(before.id, now).await?;
                field.mapped = transaction.add_mapped(row.id, field.store.1, field.crm.1, &rule).await?;
            } else {
                transaction.set_mapped_rule(before.id, &rule).await?;
            }
        }
        for gone in known {
            transaction.remove_mapped(gone.id, now).await?;
        }
        let rules: Vec<String> =
            pair.fields.iter().map(|field| format!("{} {}", field.mapped, rule_text(&field.rule))).collect();
        let mapping = blake3::hash(rules.join("\n").as_bytes()).to_hex().to_string();
        let mut matching = format!("{:?} {:?}", pair.mapping.matches, pair.mapping.only);
        if pair.mapping.create != Create::None {
            // Whoever has had no partner so far is looked at once more.
            matching.push_str(&format!(" {:?}", pair.mapping.create));
        }
        let matching = blake3::hash(matching.as_bytes()).to_hex().to_string();
        if row.mapping != mapping || row.matching != matching {
            transaction.set_mapping(row.id, &mapping, &matching).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// The pair that a mapping makes of two sources, before it is known to the checkpoint.
fn assemble_pair(settings: &PairSettings, store: &Arc<Source>, crm: &Arc<Source>) -> Result<Pair, Error> {
    let at = |source: &Source, name: &str| -> Result<(usize, i64), Error> {
        let found = source.fields.iter().enumerate().find(|(_, field)| field.name == name);
        found.map(|(at, field)| (at, field.id)).ok_or_else(|| {
            let what = format!("the mapping names {name:?}, which the source was not opened with");
            source.error(Failure::new(Class::Broken, what))
        })
    };
    let mapping = &settings.mapping;
    let mut fields = Vec::new();
    for rule in &mapping.fields {
        fields.push(PairField {
            mapped: 0,
            rule: rule.clone(),
            store: at(store, &rule.store)?,
            crm: at(crm, &rule.crm)?,
        });
    }
    let mut rules = Vec::new();
    for rule in &mapping.matches {
        rules.push((at(store, &rule.store)?.1, at(crm, &rule.crm)?.1, folds_case(&rule.store)));
    }
    let only = |source: &Source, only: &BTreeMap<String, Vec<String>>| -> Result<BTreeMap<i64, Vec<String>>, Error> {
        only.iter().map(|(name, words)| Ok((at(source, name)?.1, words.clone()))).collect()
    };
    let pair = Pair {
        id: 0,
        mode: settings.mode,
        rails: settings.rails,
        only_store: only(store, &mapping.only.store)?,
        only_crm: only(crm, &mapping.only.crm)?,
        store: Arc::clone(store),
        crm: Arc::clone(crm),
        mapping: mapping.clone(),
        fields,
        rules,
        first_since_start: AtomicBool::new(true),
        linking: tokio::sync::Mutex::default(),
        rails_said: AtomicBool::new(true),
    };
    Ok(pair)
}

/// Whether a match field holds e-mails.
pub fn folds_case(store_field: &str) -> bool {
    store_field == "customer:email"
}

/// All of a rule that decides, as one line in the words of the configuration: what agreed values depend on first.
fn rule_text(rule: &crate::model::FieldRule) -> String {
    let mut values: Vec<String> = rule.values.iter().map(|(crm, store)| format!("{crm} = {store}")).collect();
    values.sort();
    format!(
        "type={} trim={} values={{{}}} | direction={} conflict={} on_clear={} overwrite={}",
        rule.kind.as_str(),
        rule.trim,
        values.join(", "),
        word(&rule.direction),
        word(&rule.conflict),
        word(&rule.on_clear),
        rule.overwrite
    )
}

/// The side that a field of this rule, as [`rule_text`] has it, is only ever written to.
pub(super) fn only_written(rule: &str) -> Option<Side> {
    let direction = rule.split_whitespace().find_map(|word| word.strip_prefix("direction="))?;
    [Side::Store, Side::Crm].into_iter().find(|side| direction.strip_prefix("to_") == Some(side.as_str()))
}

/// The word that the configuration has for it.
fn word(choice: &impl serde::Serialize) -> String {
    serde_json::to_value(choice).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What changed about a rule, in words, and whether what was agreed under it still means the same.
fn difference(before: &str, after: &str) -> (String, bool) {
    let head = |text: &str| text.split(" | ").next().unwrap_or_default().to_owned();
    let forget = head(before) != head(after);
    let consequence = if forget {
        "what was agreed under the old rule is unknown now: the sides meet for the first time in this field"
    } else {
        "what was agreed stays"
    };
    (format!("its rule was [{before}] and is [{after}]; {consequence}"), forget)
}
