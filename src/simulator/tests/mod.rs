//! The simulator as a plain HTTP client sees it.

mod beside;
mod control;
mod faults;
mod limits;
mod lists;
mod readings;
mod recorder;
mod resources;
mod strictness;
mod writes;

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::*;

/// One store with 30 customers and three attributes, and a client that speaks to it.
struct Bench {
    simulator: Simulator,
    client: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn ids(&self) -> Vec<u64> {
        self.body["data"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
    }

    fn total(&self) -> u64 {
        self.body["meta"]["pagination"]["total"].as_u64().unwrap()
    }

    fn title(&self) -> &str {
        self.body["title"].as_str().unwrap()
    }
}

fn settings() -> Settings {
    let attribute = |name: &str, kind| AttributeSettings { name: name.to_owned(), kind };
    let mut settings = Settings::default();
    settings.stores[0].population = Population {
        customers: 30,
        attributes: vec![
            attribute("Job title", AttributeKind::String),
            attribute("Credit", AttributeKind::Number),
            attribute("Since", AttributeKind::Date),
        ],
        ..Population::default()
    };
    settings
}

impl Bench {
    async fn new() -> Self {
        Self::with(settings()).await
    }

    async fn with(settings: Settings) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { simulator: start(settings).await.unwrap(), client }
    }

    async fn behaving(change: impl FnOnce(&mut Behaviour)) -> Self {
        let mut settings = settings();
        change(&mut settings.stores[0].behaviour);
        Self::with(settings).await
    }

    fn store(&self) -> StoreControl {
        self.simulator.store("abc123").unwrap()
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/stores/abc123{path}", self.simulator.url());
        self.client.request(method.parse().unwrap(), url).header("X-Auth-Token", "token")
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Got {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        Got { status, headers, body }
    }

    async fn get(&self, path: &str) -> Got {
        self.send(self.request("GET", path)).await
    }

    async fn delete(&self, path: &str) -> Got {
        self.send(self.request("DELETE", path)).await
    }

    async fn write(&self, method: &str, path: &str, body: Value) -> Got {
        self.send(self.request(method, path).json(&body)).await
    }

    async fn upsert(&self, rows: Value) -> Got {
        self.write("PUT", VALUES, rows).await
    }

    fn violations(&self) -> u64 {
        self.store().report().violations
    }
}

const CUSTOMERS: &str = "/v3/customers";
const ATTRIBUTES: &str = "/v3/customers/attributes";
const VALUES: &str = "/v3/customers/attribute-values";

fn row(customer: u64, attribute: u64, value: &str) -> Value {
    json!({ "customer_id": customer, "attribute_id": attribute, "value": value })
}

/// Waits for a condition that must come true; a test that waits a minute has failed.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
