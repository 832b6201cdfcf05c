//! Between Attune and the simulator: acts at exact points of each call, and knows what every write changed.
//!
//! A write to a store and a person's edit there take turns, so that what each found and what it left is certain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::attune::Attune;
use crate::ledger::{By, Ledger};
use crate::plan::{LATE_MAX_MS, Plan};
use crate::simulated::{HASHES, Simulated};
use crate::strikes::{Action, Point, Strikes};

/// Values that one upsert may hold, and writes that may be under way at once on an endpoint.
const VALUES_MAX: usize = 10;
const WRITES_MAX: u32 = 3;

pub struct Proxy {
    pub plan: Plan,
    pub ledger: Arc<Ledger>,
    pub simulated: Arc<Simulated>,
    pub attune: Arc<Attune>,
    pub strikes: Arc<Strikes>,
    client: reqwest::Client,
    /// Whoever changes a store has this.
    pub turn: Mutex<()>,
    reads: std::sync::Mutex<Vec<Read>>,
    under_way: std::sync::Mutex<BTreeMap<(u64, String), u32>>,
    writes: std::sync::atomic::AtomicU64,
}

/// A read of values whose answer was passed on whole.
struct Read {
    generation: u64,
    store: usize,
    /// None: everybody.
    customers: Option<BTreeSet<u64>>,
    began_ms: u64,
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    generation: u64,
    store: usize,
    /// `PUT attribute-values`.
    call: String,
}

struct Answer {
    status: reqwest::StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Request {
    fn is_write(&self) -> bool {
        self.method != "GET"
    }

    fn query(&self) -> BTreeMap<String, String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let query = query.replace("%3A", ":").replace("%2C", ",");
        query
            .split('&')
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Whose values it asks for, if it asks for all values of some people.
    fn covers(&self) -> Option<Option<BTreeSet<u64>>> {
        let query = self.query();
        let of_values = self.call == "GET attribute-values"
            || self.call == "GET customers" && query.get("include").is_some_and(|include| include == "attributes");
        if !of_values || query.contains_key("date_modified:min") {
            return None;
        }
        let ids = query.get("customer_id:in").or_else(|| query.get("id:in"));
        Some(ids.map(|ids| ids.split(',').filter_map(|id| id.parse().ok()).collect()))
    }
}

impl Proxy {
    pub fn new(
        plan: Plan,
        ledger: Arc<Ledger>,
        simulated: Arc<Simulated>,
        attune: Arc<Attune>,
        strikes: Arc<Strikes>,
    ) -> Self {
        Self {
            plan,
            ledger,
            simulated,
            attune,
            strikes,
            client: reqwest::Client::builder().no_proxy().no_gzip().build().unwrap(),
            turn: Mutex::default(),
            reads: std::sync::Mutex::default(),
            under_way: std::sync::Mutex::default(),
            writes: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// Writes that arrived at the stores.
    pub fn writes(&self) -> u64 {
        self.writes.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Takes connections until the runtime ends.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok((connection, _)) = listener.accept().await else { return };
            let proxy = Arc::clone(&self);
            let generation = self.attune.generation();
            tokio::spawn(async move {
                // Whoever ends a connection early, it is no more than that.
                let _ = proxy.connection(connection, generation).await;
            });
        }
    }

    async fn connection(&self, connection: TcpStream, generation: u64) -> std::io::Result<()> {
        connection.set_nodelay(true)?;
        let (reader, mut writer) = connection.into_split();
        let mut reader = BufReader::new(reader);
        while let Some(request) = read_request(&mut reader, generation).await? {
            self.check(&request);
            let key = (generation, format!("{} {}", request.store, request.call));
            self.count(&key, &request, 1);
            let goes_on = self.call(&request, &mut writer).await;
            self.count(&key, &request, -1);
            if !goes_on? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One call; false: its connection is to be cut.
    async fn call(&self, request: &Request, writer: &mut (impl AsyncWriteExt + Unpin)) -> std::io::Result<bool> {
        let received_ms = self.ledger.now_ms();
        match self.strikes.at(Point::Before, &request.call) {
            Action::Pass | Action::Truncate => {}
            Action::Delay(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            action @ (Action::Kill(late) | Action::Cut(late)) => {
                if matches!(action, Action::Kill(_)) {
                    self.attune.kill("before a call is passed on").await;
                }
                if let Some(late) = late {
                    writer.shutdown().await.ok();
                    tokio::time::sleep(Duration::from_millis(late)).await;
                    self.forward(request, received_ms).await;
                }
                return Ok(false);
            }
        }
        let began_ms = self.ledger.now_ms();
        let Some(answer) = self.forward(request, received_ms).await else { return Ok(false) };
        let bytes = answer.bytes();
        match self.strikes.at(Point::After, &request.call) {
            Action::Pass => {}
            Action::Delay(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Action::Truncate => {
                writer.write_all(&bytes[..bytes.len() - answer.body.len().div_ceil(2)]).await?;
                return Ok(false);
            }
            Action::Cut(_) => return Ok(false),
            Action::Kill(_) => {
                self.attune.kill("before an answer is passed on").await;
                return Ok(false);
            }
        }
        writer.write_all(&bytes).await?;
        writer.flush().await?;
        if let (true, Some(customers)) = (answer.status.is_success(), request.covers()) {
            let Request { generation, store, .. } = *request;
            self.reads.lock().unwrap().push(Read { generation, store, customers, began_ms });
        }
        match self.strikes.at(Point::Answered, &request.call) {
            Action::Kill(_) => {
                self.attune.kill("after an answer").await;
                Ok(false)
            }
            Action::Cut(_) => Ok(false),
            _ => Ok(true),
        }
    }

    /// Passes a call on. Of a write it is noted what it changed; one that was kept too long, on a busy machine, is lost.
    async fn forward(&self, request: &Request, received_ms: u64) -> Option<Answer> {
        if !request.is_write() {
            return Some(self.pass_on(request).await);
        }
        let _turn = self.turn.lock().await;
        if self.ledger.now_ms() > received_ms + LATE_MAX_MS {
            self.ledger.tell(format!("lost, it came too late: {}", request.call));
            self.ledger.meet("write lost, too late to arrive");
            return None;
        }
        self.writes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let before = self.simulated.values(&self.plan, request.store).await;
        let answer = self.pass_on(request).await;
        let after = self.simulated.values(&self.plan, request.store).await;
        for (cell, new) in after {
            let old = before[&cell].clone();
            if old != new {
                let read_ms = self.read_before(request, cell.person, received_ms);
                let name = self.plan.name(cell);
                self.ledger.tell(format!("attune: person {}, {name}: {old:?} → {new:?}", cell.person));
                self.ledger.changed(cell, old, new, By::Attune { read_ms });
            }
        }
        Some(answer)
    }

    /// When the last read of a person's values began that the process was answered before it sent this.
    fn read_before(&self, request: &Request, person: u64, received_ms: u64) -> Option<u64> {
        let reads = self.reads.lock().unwrap();
        let of_person = |read: &&Read| {
            read.generation == request.generation
                && read.store == request.store
                && read.began_ms <= received_ms
                && read.customers.as_ref().is_none_or(|customers| customers.contains(&person))
        };
        reads.iter().rev().find(of_person).map(|read| read.began_ms)
    }

    async fn pass_on(&self, request: &Request) -> Answer {
        let method = reqwest::Method::from_bytes(request.method.as_bytes()).unwrap();
        let mut call = self.client.request(method, format!("{}{}", self.simulated.url, request.target));
        for (name, value) in &request.headers {
            call = call.header(name, value);
        }
        let answer = call.body(request.body.clone()).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        if status.as_u16() == 429 {
            self.ledger.tell(format!("429 for {}", request.call));
        }
        Answer { status, headers, body: answer.bytes().await.unwrap().to_vec() }
    }

    /// What no call may be.
    fn check(&self, request: &Request) {
        match request.method.as_str() {
            "PUT" => {
                let values = serde_json::from_slice::<Json>(&request.body).ok();
                let values = values.as_ref().and_then(Json::as_array).map_or(0, Vec::len);
                if !(1..=VALUES_MAX).contains(&values) {
                    self.ledger.violate(format!("{values} values in one {}", request.call));
                }
            }
            "DELETE" if request.query().get("id:in").is_none_or(String::is_empty) => {
                self.ledger.violate(format!("{} without ids", request.call));
            }
            _ => {}
        }
    }

    fn count(&self, key: &(u64, String), request: &Request, by: i32) {
        if !request.is_write() {
            return;
        }
        let mut under_way = self.under_way.lock().unwrap();
        let count = under_way.entry(key.clone()).or_default();
        *count = count.saturating_add_signed(by);
        if *count > WRITES_MAX {
            self.ledger.violate(format!("{count} {} at once", request.call));
        }
    }
}

impl Answer {
    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} -\r\n", self.status.as_u16());
        for (name, value) in &self.headers {
            if !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
                head += &format!("{name}: {}\r\n", value.to_str().unwrap());
            }
        }
        if self.status.as_u16() != 204 {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend(&self.body);
        bytes
    }
}

/// The next request of a connection; none at its end.
async fn read_request(
    reader: &mut (impl AsyncBufReadExt + Unpin),
    generation: u64,
) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        match name.as_str() {
            "content-length" => length = value.parse().unwrap(),
            "host" | "connection" => {}
            _ => headers.push((name, value)),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    let store = HASHES.iter().position(|hash| target.contains(hash)).map_or(1, |store| store + 1);
    let path = target.split('?').next().unwrap_or_default();
    let call = format!("{method} {}", path.rsplit('/').next().unwrap_or_default());
    Ok(Some(Request { method, target, headers, body, generation, store, call }))
}
