//! `attune simulate`: the settings as flags, and the command itself.
//!
//! Must not know: how the simulator works.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::faults::FaultRule;
use super::settings::{
    AttributeKind, AttributeSettings, Behaviour, Concurrency, HugeBodyBytes, LateEffectMs, Population, Quota, Readings,
    Replica, Scope, Settings, SlowMs, StoreSettings,
};
use super::{Error, start};

const FAULT_HELP: &str = "What goes wrong: NAME[=PROBABILITY][*TIMES][+SKIP][@METHOD ENDPOINT], e.g. \"5xx=0.01\", \
\"reset-after*1+2@PUT attribute-values\". Names: 5xx, 5xx-after, reset-before, reset-after, late-effect, truncated, html, \
wrong-shape, no-rows, huge, slow, slow-after, bare-429, 401, 403, repeat-page";

/// A BigCommerce on loopback: customers, quota, latency and faults by flags.
///
/// It prints its address and serves until it is stopped. While it runs, everything can be looked at and changed under
/// /_simulator.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Flags {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// The hash of a store; repeat it for several stores behind one address
    #[arg(long = "store", default_value = "abc123", value_name = "HASH")]
    pub stores: Vec<String>,

    /// The token that the stores accept: one for all, or one for each store in order
    #[arg(long = "token", default_value = "token", value_name = "TOKEN")]
    pub tokens: Vec<String>,

    /// What the token may do: store_v2_customers, store_v2_customers_read_only, store_v2_information_read_only
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope,
          default_values = ["store_v2_customers", "store_v2_information_read_only"])]
    pub scopes: Vec<Scope>,

    /// How many customers each store starts with
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub customers: u64,

    /// An attribute definition, with its type: string, number or date ("Job title:string")
    #[arg(long = "attribute", value_name = "NAME:TYPE", value_parser = attribute)]
    pub attributes: Vec<AttributeSettings>,

    /// The share of attribute values that is missing, 0 to 1
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", value_parser = share)]
    pub missing: f64,

    /// What customers and chance are derived from; the same seed gives the same customers
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,

    /// Calls that a store allows in a window, shared by all its apps
    #[arg(long, default_value_t = 150, value_name = "CALLS")]
    pub quota: u64,

    /// The window of the quota
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub window: Duration,

    /// Calls that other apps make in each window, evenly
    #[arg(long, default_value_t = 0, value_name = "CALLS")]
    pub other_apps: u64,

    /// No quota, and headers that show millions, as on an "unlimited" plan
    #[arg(long)]
    pub unlimited: bool,

    /// The plan has no segments: calls about them are refused, as on all but Enterprise
    #[arg(long)]
    pub no_segments: bool,

    /// Answers carry no quota headers
    #[arg(long)]
    pub no_quota_headers: bool,

    /// Writes that may be under way at once on one endpoint; 0: no limit
    #[arg(long, default_value_t = 3, value_name = "CALLS")]
    pub concurrent_writes: u32,

    /// Reads that may be under way at once on one endpoint; 0: no limit
    #[arg(long, default_value_t = 0, value_name = "CALLS")]
    pub concurrent_reads: u32,

    /// How long every answer takes at least
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = duration)]
    pub latency: Duration,

    /// How far what lists show lags behind what was written
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = duration)]
    pub lag: Duration,

    /// The share of reads that lags, 0 to 1
    #[arg(long, default_value_t = 1.0, value_name = "SHARE", value_parser = share)]
    pub lag_share: f64,

    /// How far the stores' clock is ahead ("-3s": behind)
    #[arg(long, default_value = "0ms", value_name = "DURATION", value_parser = skew, allow_hyphen_values = true)]
    pub clock_skew: i64,

    /// What goes wrong.
    #[arg(long = "fault", value_name = "FAULT", help = FAULT_HELP)]
    pub faults: Vec<FaultRule>,

    /// How long the faults slow and slow-after take
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    pub slow: Duration,

    /// How long after the call a late-effect lands
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = duration)]
    pub late_effect: Duration,

    /// How many bytes the fault huge sends
    #[arg(long, default_value_t = 1 << 30, value_name = "BYTES")]
    pub huge_body: u64,

    /// How to read a fact that BigCommerce's documents leave open, e.g. "date_bounds=exclusive"; a wrong one lists all
    #[arg(long = "reading", value_name = "NAME=WORD", value_parser = reading)]
    pub readings: Vec<(String, String)>,

    /// Append every call with its answer to a file, one line of JSON each; never a token
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
}

impl Flags {
    /// The flags as settings.
    ///
    /// # Errors
    /// If they do not fit together.
    pub fn settings(&self) -> Result<Settings, Error> {
        let mut readings = Readings::default();
        for (name, word) in &self.readings {
            readings.set(name, word).map_err(Error::Settings)?;
        }
        let behaviour = Behaviour {
            quota: Quota {
                calls: self.quota,
                window_ms: millis(self.window),
                other_apps: self.other_apps,
                unlimited: self.unlimited,
                headers: !self.no_quota_headers,
            },
            concurrency: Concurrency {
                writes: self.concurrent_writes,
                reads: self.concurrent_reads,
                ..Concurrency::default()
            },
            latency_ms: millis(self.latency),
            replica: Replica { lag_ms: millis(self.lag), share: self.lag_share },
            faults: self.faults.clone(),
            slow: SlowMs(millis(self.slow)),
            late_effect: LateEffectMs(millis(self.late_effect)),
            huge_body: HugeBodyBytes(self.huge_body),
            outage: false,
            no_segments: self.no_segments,
            readings,
        };
        let population = Population {
            customers: self.customers,
            attributes: self.attributes.clone(),
            missing: self.missing,
            seed: self.seed,
        };
        let one_token = self.tokens.len() == 1;
        if !one_token && self.tokens.len() != self.stores.len() {
            return Err(Error::Settings(format!(
                "{} tokens for {} stores: give one for all, or one for each store in order",
                self.tokens.len(),
                self.stores.len()
            )));
        }
        let stores = self.stores.iter().enumerate().map(|(index, hash)| StoreSettings {
            hash: hash.clone(),
            token: self.tokens[if one_token { 0 } else { index }].clone(),
            scopes: self.scopes.clone(),
            population: population.clone(),
            behaviour: behaviour.clone(),
        });
        Ok(Settings {
            listen: self.listen,
            stores: stores.collect(),
            clock_skew_ms: self.clock_skew,
            record: self.record.clone(),
            ..Settings::default()
        })
    }
}

/// Runs `attune simulate`: one line on stdout with the address, then it serves until it is cancelled.
///
/// # Errors
/// If the flags do not fit together, the address cannot be listened on, or calls could not be recorded.
pub async fn run(flags: Flags, cancel: CancellationToken) -> Result<(), Error> {
    let simulator = start(flags.settings()?).await?;
    let mut stdout = std::io::stdout();
    // Whoever closed stdout does not want the line; the simulator serves all the same.
    let _ = writeln!(stdout, "{}", simulator.url()).and_then(|()| stdout.flush());
    cancel.cancelled().await;
    let complete = simulator.record_is_complete();
    simulator.stop().await;
    complete
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `20ms`, `30s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 20ms, 30s, 5m or 1h");
    let unit_at = text.find(|symbol: char| !symbol.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

fn skew(text: &str) -> Result<i64, String> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    let ahead = duration(text)?;
    i64::try_from(ahead.as_millis()).map(|ahead| sign * ahead).map_err(|_| format!("{text:?} is too long"))
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{text} is not between 0 and 1")) }
}

fn attribute(text: &str) -> Result<AttributeSettings, String> {
    let (name, word) =
        text.rsplit_once(':').ok_or_else(|| format!("{text:?} has no type: NAME:string, NAME:number or NAME:date"))?;
    let kind = AttributeKind::parse(word).ok_or_else(|| format!("{word:?} is no type: string, number or date"))?;
    if name.is_empty() {
        Err("the name is empty".to_owned())
    } else {
        Ok(AttributeSettings { name: name.to_owned(), kind })
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}

fn reading(text: &str) -> Result<(String, String), String> {
    let (name, word) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =: NAME=WORD"))?;
    Readings::default().set(name, word)?;
    Ok((name.to_owned(), word.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;
    use crate::simulator::{Fault, settings::DateBounds};

    fn parsed(arguments: &[&str]) -> Result<Flags, clap::Error> {
        let command = Flags::augment_args(Command::new("simulate"));
        let matches = command.try_get_matches_from([&["simulate"], arguments].concat())?;
        Flags::from_arg_matches(&matches)
    }

    #[test]
    fn without_flags_they_are_the_default_settings() {
        let settings = parsed(&[]).unwrap().settings().unwrap();
        let listen = Settings::default().listen;
        assert_eq!(Settings { listen, ..settings }, Settings::default());
    }

    #[test]
    fn the_help_names_every_fault() {
        for fault in Fault::ALL {
            assert!(FAULT_HELP.contains(&format!(" {fault}")), "{fault}");
        }
    }

    #[test]
    fn every_flag_arrives() {
        let settings = parsed(&[
            "--listen",
            "127.0.0.1:0",
            "--store",
            "one",
            "--store",
            "two",
            "--token",
            "a",
            "--token",
            "b",
            "--scope",
            "store_v2_customers_read_only",
            "--customers",
            "7",
            "--attribute",
            "Job title:string",
            "--attribute",
            "Ratio 1:2:number",
            "--missing",
            "0.5",
            "--seed",
            "9",
            "--quota",
            "10",
            "--window",
            "2s",
            "--other-apps",
            "4",
            "--unlimited",
            "--no-quota-headers",
            "--concurrent-writes",
            "1",
            "--concurrent-reads",
            "2",
            "--latency",
            "20ms",
            "--lag",
            "1m",
            "--lag-share",
            "0.25",
            "--clock-skew",
            "-3s",
            "--fault",
            "5xx=0.01",
            "--fault",
            "reset-after*1+2@PUT attribute-values",
            "--slow",
            "1h",
            "--late-effect",
            "7s",
            "--huge-body",
            "99",
            "--reading",
            "date_bounds=exclusive",
            "--record",
            "calls.jsonl",
        ])
        .unwrap()
        .settings()
        .unwrap();
        let store = settings.stores.last().unwrap();
        let behaviour = &store.behaviour;
        assert_eq!((settings.stores.len(), store.hash.as_str(), store.token.as_str()), (2, "two", "b"));
        assert_eq!(store.scopes, [Scope::CustomersRead]);
        assert_eq!(
            store.population.attributes[1],
            AttributeSettings { name: "Ratio 1:2".to_owned(), kind: AttributeKind::Number }
        );
        assert_eq!((store.population.customers, store.population.missing, store.population.seed), (7, 0.5, 9));
        assert_eq!(
            behaviour.quota,
            Quota { calls: 10, window_ms: 2_000, other_apps: 4, unlimited: true, headers: false }
        );
        assert_eq!((behaviour.concurrency.writes, behaviour.concurrency.reads), (1, 2));
        assert_eq!((behaviour.latency_ms, behaviour.replica), (20, Replica { lag_ms: 60_000, share: 0.25 }));
        assert_eq!(
            (settings.clock_skew_ms, behaviour.slow.0, behaviour.late_effect.0, behaviour.huge_body.0),
            (-3_000, 3_600_000, 7_000, 99)
        );
        assert_eq!(behaviour.faults[0], FaultRule { probability: 0.01, ..FaultRule::always(Fault::ServerError) });
        let second = FaultRule { times: Some(1), skip: 2, ..FaultRule::always(Fault::ResetAfter) };
        assert_eq!(behaviour.faults[1], second.on("PUT attribute-values"));
        assert_eq!(behaviour.readings.date_bounds, DateBounds::Exclusive);
        assert_eq!(settings.record, Some(PathBuf::from("calls.jsonl")));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        for (arguments, message) in [
            (&["--fault", "gremlins"][..], "5xx"),
            (&["--fault", "5xx=2"], "between 0 and 1"),
            (&["--fault", "5xx@PUT nothing"], "attribute-values"),
            (&["--window", "30"], "30s"),
            (&["--attribute", "Tier"], "NAME:string"),
            (&["--attribute", "Tier:text"], "string, number or date"),
            (&["--missing", "1.5"], "between 0 and 1"),
            (&["--reading", "date_bounds=maybe"], "inclusive"),
            (&["--reading", "mood=good"], "date_bounds"),
            (&["--scope", "everything"], "store_v2_customers"),
        ] {
            let refused = parsed(arguments).unwrap_err().to_string();
            assert!(refused.contains(message), "{refused}");
        }
        let two = parsed(&["--store", "one", "--token", "a", "--token", "b"]).unwrap().settings().unwrap_err();
        assert!(two.to_string().contains("2 tokens for 1 stores"), "{two}");
    }
}
