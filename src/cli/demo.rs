//! `attune demo`: a simulated store and a SQLite CRM, edits on both sides, a conflict, an outage; every line that it
//! shows was checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row, SqliteConnection};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::session::Trouble;
use crate::checkpoint::{Checkpoint, HeldFilter, HistoryFilter};
use crate::config::{self, Environment};
use crate::daemon::{Blueprint, Fleet, Surroundings};
use crate::engine::{Engine, Error, PassOptions, PassReport, Reach, SystemClock};
use crate::http::Client;
use crate::simulator::settings::{AttributeKind, Population, Settings, StoreSettings};
use crate::simulator::{self, NewCustomer, Simulator, StoreControl};

const JOB_TITLE: &str = "Job title";
const WHOLESALER_ID: &str = "Wholesaler ID";

/// Edits in the conflict are this far apart: BigCommerce dates in whole seconds, and within two of them it is a tie.
const APART: Duration = Duration::from_millis(3100);

/// Runs the command.
///
/// # Errors
/// When anything that it shows turns out not to be so.
pub async fn run() -> Result<Exit, Trouble> {
    let folder = Folder::create()?;
    let outcome = show(&folder).await;
    drop(folder);
    outcome.map(|()| Exit::Done)
}

async fn show(folder: &Folder) -> Result<(), Trouble> {
    heading("A store and a CRM");
    let mut demo = Demo::set_up(folder).await?;
    say("A BigCommerce store on loopback (simulated: quotas, odd answers and all) with five customers, and a CRM: a");
    say("SQLite table with the same people. Attune keeps two attributes and two columns in agreement, both ways:");
    println!();
    demo.print_config(folder)?;
    demo.first_agreement().await?;
    demo.edits().await?;
    demo.conflict().await?;
    demo.cannot_be_taken().await?;
    demo.outage().await?;
    demo.quiet().await?;
    demo.simulator.stop().await;
    heading("Done");
    say("Everything above was read back from both sides and checked. Next: the README's five minutes to a real store.");
    Ok(())
}

/// The folder of the demo, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self, Trouble> {
        let path = std::env::temp_dir().join(format!("attune-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|error| Trouble::new(Exit::Defect, format!("{} cannot be made: {error}", path.display())))?;
        Ok(Self(path))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning of temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Demo {
    simulator: Simulator,
    store: StoreControl,
    crm: SqliteConnection,
    engine: Engine,
    fleet: Fleet,
    /// Ada, Grace, Edsger, Barbara, Alan.
    customers: [u64; 5],
}

impl Demo {
    async fn set_up(folder: &Folder) -> Result<Self, Trouble> {
        let settings = Settings {
            stores: vec![StoreSettings {
                population: Population { customers: 0, ..Population::default() },
                ..StoreSettings::default()
            }],
            ..Settings::default()
        };
        let simulator = simulator::start(settings).await.map_err(broken)?;
        let [store]: [StoreControl; 1] =
            simulator.stores().try_into().map_err(|_| Trouble::new(Exit::Defect, "the simulator has one store"))?;
        for name in [JOB_TITLE, WHOLESALER_ID] {
            if !store.attributes().iter().any(|attribute| attribute.name == name) {
                store.create_attribute(name, AttributeKind::String).map_err(broken)?;
            }
        }
        let customer = |email: &str, values: &[(&str, &str)]| {
            store.add_customer(NewCustomer::new(email, values.iter().copied())).map_err(broken)
        };
        let customers = [
            customer("ada@example.com", &[(JOB_TITLE, "Buyer")])?,
            customer("grace@example.com", &[(WHOLESALER_ID, "W-2")])?,
            customer("edsger@example.com", &[(JOB_TITLE, "Head of purchasing")])?,
            customer("barbara@example.com", &[(JOB_TITLE, "Owner"), (WHOLESALER_ID, "W-4")])?,
            customer("alan@example.com", &[])?,
        ];
        let crm = make_crm(folder).await?;
        let (engine, fleet) = start_engine(folder, &simulator, &store).await?;
        Ok(Self { simulator, store, crm, engine, fleet, customers })
    }

    fn print_config(&self, folder: &Folder) -> Result<(), Trouble> {
        let text = std::fs::read_to_string(folder.file("attune.toml")).map_err(broken)?;
        for line in text.lines() {
            println!("      {line}");
        }
        Ok(())
    }

    /// One round of what the daemon does all the time: read both sides, then a pass.
    async fn round(&self) -> Result<PassReport, Error> {
        for slot in &self.fleet.sources {
            if let Ok(source) = &slot.source {
                self.engine.pull(source, Reach::Changes).await?;
            }
        }
        let Some(pair) = self.fleet.ready().next() else { return Err(Error::Stopped) };
        let report = self.engine.pass(pair, PassOptions::default()).await?;
        match report.failure {
            Some(error) => Err(error),
            None => Ok(report),
        }
    }

    async fn first_agreement(&mut self) -> Result<(), Trouble> {
        heading("The first agreement");
        let [ada, grace, edsger, barbara, alan] = self.customers;
        let report = self.round().await?;
        expect(report.balance.links_created == 5, "five customers are five contacts, by e-mail")?;
        self.expect_both(ada, "Ada", JOB_TITLE, Some("Buyer")).await?;
        self.expect_both(ada, "Ada", WHOLESALER_ID, Some("W-1")).await?;
        self.expect_both(grace, "Grace", WHOLESALER_ID, Some("W-2")).await?;
        self.expect_both(barbara, "Barbara", JOB_TITLE, Some("Owner")).await?;
        self.expect_both(alan, "Alan", JOB_TITLE, None).await?;
        say("What one side had and the other had not was filled in; what was equal was agreed on without a write.");
        expect(report.balance.held == 1, "one field is held")?;
        expect(
            self.store_value(edsger, JOB_TITLE).as_deref() == Some("Head of purchasing"),
            "the store keeps its own",
        )?;
        expect(
            self.crm_value("edsger@example.com", JOB_TITLE).await?.as_deref() == Some("Purchaser"),
            "so does the CRM",
        )?;
        say(
            "Edsger is \"Head of purchasing\" in the store and \"Purchaser\" in the CRM. Nobody knows which is newer, so",
        );
        say("Attune writes neither and asks: that is a `first meeting`, held for a person (`attune held`).");
        self.print_history(report.pass).await
    }

    async fn edits(&mut self) -> Result<(), Trouble> {
        heading("An edit on each side");
        let [ada, grace, ..] = self.customers;
        self.store.set_value(ada, JOB_TITLE, "Senior buyer").map_err(broken)?;
        self.set_crm("grace@example.com", JOB_TITLE, Some("Rear admiral")).await?;
        let report = self.round().await?;
        expect(report.balance.written == 2, "two edits, two writes")?;
        self.expect_both(ada, "Ada", JOB_TITLE, Some("Senior buyer")).await?;
        self.expect_both(grace, "Grace", JOB_TITLE, Some("Rear admiral")).await?;
        say("Ada's title was edited in the store, Grace's in the CRM. Each went to the other side, and nowhere else.");
        self.print_history(report.pass).await?;
        self.store.clear_value(grace, WHOLESALER_ID).map_err(broken)?;
        let Some(slot) = self
            .fleet
            .sources
            .iter()
            .find_map(|slot| slot.source.as_ref().ok().filter(|s| s.side == crate::model::Side::Store))
        else {
            return Err(Trouble::new(Exit::Defect, "the store is attached"));
        };
        self.engine.pull(slot, Reach::Sweep).await?;
        let report = self.round().await?;
        self.expect_both(grace, "Grace", WHOLESALER_ID, None).await?;
        say(
            "Grace's wholesaler ID was cleared in the store. A deletion leaves no trace in any feed: a sweep found it,",
        );
        say("a direct read confirmed it, and the CRM's column was cleared too.");
        self.print_history(report.pass).await
    }

    async fn conflict(&mut self) -> Result<(), Trouble> {
        heading("A conflict");
        let alan = self.customers[4];
        self.set_crm("alan@example.com", JOB_TITLE, Some("Codebreaker")).await?;
        tokio::time::sleep(APART).await;
        self.store.set_value(alan, JOB_TITLE, "Mathematician").map_err(broken)?;
        let report = self.round().await?;
        self.expect_both(alan, "Alan", JOB_TITLE, Some("Mathematician")).await?;
        say("Alan's title was edited on both sides before Attune looked. The later edit, the store's, won.");
        let history = self.history().await?;
        let kept = history.iter().any(|row| row.old == "\"Codebreaker\"" && row.new == "\"Mathematician\"");
        expect(kept, "the value that lost is in history, with both values")?;
        say("The one that lost is in history, so that nothing is ever gone silently:");
        self.print_history(report.pass).await
    }

    async fn cannot_be_taken(&mut self) -> Result<(), Trouble> {
        heading("A value that cannot be taken");
        let ada = self.customers[0];
        let novel = "x".repeat(300);
        self.set_crm("ada@example.com", JOB_TITLE, Some(&novel)).await?;
        let report = self.round().await?;
        expect(report.balance.written == 0 && report.balance.held > 0, "it is held, not written")?;
        expect(self.store_value(ada, JOB_TITLE).as_deref() == Some("Senior buyer"), "the store's value is untouched")?;
        say(
            "Somebody pasted 300 characters into Ada's title in the CRM; BigCommerce takes 255. Nothing is truncated and",
        );
        say("nothing is sent: the field waits, with the reason:");
        self.print_held().await?;
        self.set_crm("ada@example.com", JOB_TITLE, Some("Chief buyer")).await?;
        self.round().await?;
        self.expect_both(ada, "Ada", JOB_TITLE, Some("Chief buyer")).await?;
        say("Corrected in the CRM, it goes through by itself.");
        Ok(())
    }

    async fn outage(&mut self) -> Result<(), Trouble> {
        heading("An outage");
        let barbara = self.customers[3];
        self.simulator.refuse_connections(true).await;
        self.set_crm("barbara@example.com", JOB_TITLE, Some("Managing director")).await?;
        let Err(error) = self.round().await else {
            return Err(Trouble::new(Exit::Defect, "a store that refuses connections cannot be read"));
        };
        say("The store stopped answering, and Barbara's title was edited in the CRM meanwhile. The round ends with:");
        println!("      {error}");
        self.simulator.refuse_connections(false).await;
        let report = self.round().await?;
        self.expect_both(barbara, "Barbara", JOB_TITLE, Some("Managing director")).await?;
        say("Back again. There is no queue to replay: what is left to do follows from what both sides hold.");
        self.print_history(report.pass).await
    }

    async fn quiet(&mut self) -> Result<(), Trouble> {
        heading("The quiet after");
        let before = self.store.report().calls_of("PUT attribute-values");
        let writes = self.history().await?.len();
        for _ in 0..3 {
            let report = self.round().await?;
            expect(report.balance.written == 0, "nothing is left to write")?;
        }
        expect(self.store.report().calls_of("PUT attribute-values") == before, "no call wrote anything")?;
        expect(self.history().await?.len() == writes, "history did not grow")?;
        let report = self.store.report();
        expect(report.throttled() == 0 && report.violations == 0, "no 429, no call that the API would refuse")?;
        say(&format!(
            "Three more rounds: not one write. {} calls to the store in all, no 429 among them.",
            report.total
        ));
        Ok(())
    }

    async fn expect_both(&mut self, id: u64, who: &str, field: &str, value: Option<&str>) -> Result<(), Trouble> {
        let email = format!("{}@example.com", who.to_lowercase());
        let (store, crm) = (self.store_value(id, field), self.crm_value(&email, field).await?);
        let shown = |value: Option<&str>| value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
        expect(
            store.as_deref() == value && crm.as_deref() == value,
            &format!(
                "{who}'s {field} should be {} on both sides; the store holds {}, the CRM {}",
                shown(value),
                shown(store.as_deref()),
                shown(crm.as_deref())
            ),
        )
    }

    fn store_value(&self, id: u64, field: &str) -> Option<String> {
        self.store.value(id, field)
    }

    async fn crm_value(&mut self, email: &str, field: &str) -> Result<Option<String>, Trouble> {
        let sql: &'static str = match field {
            JOB_TITLE => "SELECT job_title FROM contacts WHERE lower(email) = ?1",
            _ => "SELECT wholesaler_id FROM contacts WHERE lower(email) = ?1",
        };
        Ok(sqlx::query(sql).bind(email).fetch_one(&mut self.crm).await.map_err(broken)?.get(0))
    }

    async fn set_crm(&mut self, email: &str, field: &str, value: Option<&str>) -> Result<(), Trouble> {
        let sql: &'static str = match field {
            JOB_TITLE => {
                "UPDATE contacts SET job_title = ?1, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE lower(email) = ?2"
            }
            _ => {
                "UPDATE contacts SET wholesaler_id = ?1, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE lower(email) = ?2"
            }
        };
        sqlx::query(sql).bind(value).bind(email).execute(&mut self.crm).await.map_err(broken)?;
        Ok(())
    }

    async fn history(&self) -> Result<Vec<crate::checkpoint::HistoryRow>, Trouble> {
        let mut transaction = self.engine.checkpoint().read().await?;
        let rows = transaction.history(&HistoryFilter::default()).await?;
        transaction.end().await?;
        Ok(rows)
    }

    async fn print_history(&self, pass: u64) -> Result<(), Trouble> {
        let rows = self.history().await?;
        for row in rows.iter().rev().filter(|row| u64::try_from(row.pass) == Ok(pass)) {
            let field = row.field.trim_start_matches("attribute:");
            println!(
                "      customer {} ⇄ contact {}  {field} in the {}: {} → {}  ({})",
                row.store_key, row.crm_key, row.side, row.old, row.new, row.reason
            );
        }
        Ok(())
    }

    async fn print_held(&self) -> Result<(), Trouble> {
        let mut transaction = self.engine.checkpoint().read().await?;
        let rows = transaction.held(&HeldFilter::default()).await?;
        transaction.end().await?;
        for row in rows {
            let field = row.field.unwrap_or_default();
            let detail = row.detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
            let (store_key, crm_key) = (row.store_key.unwrap_or_default(), row.crm_key.unwrap_or_default());
            println!("      customer {store_key} ⇄ contact {crm_key}  {field}: {}{detail}", row.reason);
        }
        Ok(())
    }
}

async fn make_crm(folder: &Folder) -> Result<SqliteConnection, Trouble> {
    let options = SqliteConnectOptions::new().filename(folder.file("crm.db")).create_if_missing(true);
    let mut crm = options.disable_statement_logging().connect().await.map_err(broken)?;
    sqlx::raw_sql(
        "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, job_title TEXT, wholesaler_id TEXT, updated_at TEXT);
         CREATE INDEX contacts_updated_at ON contacts (updated_at);
         INSERT INTO contacts (email, job_title, wholesaler_id, updated_at) VALUES
            ('Ada@example.com',     NULL,        'W-1', strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')),
            ('grace@example.com',   NULL,        NULL,  strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')),
            ('edsger@example.com',  'Purchaser', NULL,  strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')),
            ('barbara@example.com', 'Owner',     'W-4', strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')),
            ('alan@example.com',    NULL,        NULL,  strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day'));
         UPDATE contacts SET email = lower(email) WHERE id > 1;",
    )
    .execute(&mut crm)
    .await
    .map_err(broken)?;
    Ok(crm)
}

async fn start_engine(
    folder: &Folder,
    simulator: &Simulator,
    store: &StoreControl,
) -> Result<(Engine, Fleet), Trouble> {
    let text = format!(
        r#"[store.acme]
store_hash   = "{hash}"
access_token = {{ file = "{token}" }}
api_url      = "{url}"
crm          = "erp"
mapping      = "b2b"

[crm.erp]
kind  = "sql"
url   = "sqlite:{crm}"
table = "contacts"

[mapping.b2b]
match = [{{ store = "customer:email", crm = "email" }}]
field = [
  {{ store = "attribute:{JOB_TITLE}",     crm = "job_title" }},
  {{ store = "attribute:{WHOLESALER_ID}", crm = "wholesaler_id" }},
]
"#,
        hash = store.hash(),
        token = folder.file("token").display(),
        url = simulator.url(),
        crm = folder.file("crm.db").display(),
    );
    let path = folder.file("attune.toml");
    std::fs::write(&path, text).map_err(broken)?;
    std::fs::write(folder.file("token"), store.token()).map_err(broken)?;
    let config = config::load(&[path], std::iter::empty())
        .map_err(|problems| Trouble::new(Exit::Defect, problems.to_string()))?;
    let stop = CancellationToken::new();
    let surroundings = Surroundings {
        environment: Arc::new(std::iter::empty::<(std::ffi::OsString, std::ffi::OsString)>().collect::<Environment>()),
        patience: Duration::from_secs(1),
        stop: stop.clone(),
        client: Client::shared(),
    };
    let checkpoint = Checkpoint::open(&folder.file("attune.db")).await?;
    let engine = Engine::new(checkpoint, Arc::new(SystemClock::default()), stop);
    let fleet = Fleet::attach(&engine, &Blueprint::draw(&config, &surroundings).await).await;
    for slot in &fleet.sources {
        if let Err(error) = &slot.source {
            return Err(Trouble::new(Exit::Defect, error.to_string()));
        }
    }
    Ok((engine, fleet))
}

fn heading(text: &str) {
    println!("\n── {text} {}", "─".repeat(70_usize.saturating_sub(text.chars().count())));
}

fn say(text: &str) {
    println!("   {text}");
}

fn expect(is_so: bool, what: &str) -> Result<(), Trouble> {
    if is_so {
        Ok(())
    } else {
        Err(Trouble::new(Exit::Defect, format!("the demo does not show what it should: {what}")))
    }
}

fn broken(error: impl std::fmt::Display) -> Trouble {
    Trouble::new(Exit::Defect, format!("the demo could not go on: {error}"))
}
