//! Forgetting a person: what is remembered of them leaves the checkpoint, and every byte of it the file.
//!
//! Whoever is still there is met again, as somebody new, when their record is read next.

use super::operate::Answer;
use super::{Engine, Error};
use crate::model::Side;
use crate::telemetry::{Event, Source as Named};

impl Engine {
    /// Drops all that is remembered of a person, by the key of their record at a store or CRM.
    ///
    /// # Errors
    /// When the checkpoint fails.
    pub(super) async fn forget_person(&self, name: &str, key: &str) -> Result<Answer, Error> {
        let mut transaction = self.checkpoint.begin().await?;
        // A store before a CRM of the same name.
        let sources = transaction.sources().await?;
        let of = |side: Side| sources.iter().find(|source| source.side == side && source.name == name);
        let Some(source) = of(Side::Store).or_else(|| of(Side::Crm)) else {
            return Ok(Answer::refused(format!("no store or CRM {name:?} is remembered")));
        };
        let who = format!("{} {key} of {name}", if source.side == Side::Store { "customer" } else { "contact" });
        let person = transaction.person(source.id, source.side, key).await?;
        if transaction.is_under_way(&person).await? {
            return Ok(Answer::refused(format!(
                "a write to {who} is under way and may still take effect: nothing was forgotten; ask again after `quarantine`"
            )));
        }
        let before = transaction.forgotten_at(source.id, key).await?;
        let forgotten = transaction.forget_person((source.id, source.side, key), &person, self.clock.now()).await?;
        transaction.commit().await?;
        let count = forgotten.records + forgotten.links + forgotten.writes;
        if count > 0 {
            Event::OperatorActed { target: Some(Named::of(source.side, name)), action: "forget", count }.emit();
        }
        // Also where nothing was found: an earlier one may have been ended before it came to this.
        let is_clean = self.checkpoint.scrub().await?;
        if count == 0 {
            let before = before.map(|at| format!(": forgotten at {}", at.to_seconds_text())).unwrap_or_default();
            return Ok(Answer::refused(format!("nothing is remembered of {who}{before}")));
        }
        let mut message = format!(
            "{who} is forgotten: {}, {} and {} in history; who is still there is met again as new",
            counted(forgotten.records, "record"),
            counted(forgotten.links, "link"),
            counted(forgotten.writes, "write")
        );
        for (label, key) in &person.shared {
            message.push_str(&format!(
                "\n{key} of {label} stays: somebody else is linked to it; `attune forget {label} {key}` forgets all of them"
            ));
        }
        if !is_clean {
            message.push_str(
                "\nanother process was reading: old bytes may be left in the file until this is run once more",
            );
        }
        Ok(Answer { done: true, count, message })
    }
}

fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
