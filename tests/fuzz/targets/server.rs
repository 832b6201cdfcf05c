//! A server on loopback that answers every call with the bytes that it is told, and the connector that calls it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attune::connector::FieldWanted;
use attune::connector::bigcommerce::{BigCommerce, Settings};
use attune::http::{Client, Timeouts};
use attune::model::FieldType;
use secrecy::SecretString;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// The secret that no message may ever show.
pub const TOKEN: &str = "hunter2-secret-token";

/// The fields of the store that is read, in the order of cells.
pub const FIELDS: [&str; 3] = ["attribute:Job title", "attribute:Wholesaler ID", "customer:email"];

/// From the path and query that were asked for to the whole answer, status line and all.
type Script = Box<dyn Fn(&str) -> Vec<u8> + Send>;

/// The server, its script, and a runtime to call it from.
pub struct Server {
    pub runtime: Runtime,
    pub address: String,
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<String>>>,
    client: Client,
}

thread_local! {
    static SERVER: Server = Server::start();
}

/// Runs with the server of this thread: one is started for each.
pub fn with_server<T>(run: impl FnOnce(&Server) -> T) -> T {
    SERVER.with(run)
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = format!("http://{}", listener.local_addr().expect("it has an address"));
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|_| Vec::new())));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = (Arc::clone(&script), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &shared.0, &shared.1);
            }
        });
        let timeouts = Timeouts { total: Duration::from_secs(5), ..Timeouts::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, address, script, asked, client: Client::new(timeouts) }
    }

    /// Sets the script, and forgets what was asked.
    pub fn answers(&self, script: impl Fn(&str) -> Vec<u8> + Send + 'static) {
        *self.script.lock().expect("no panic in a script") = Box::new(script);
        self.asked.lock().expect("no panic while noting").clear();
    }

    /// Paths and queries that were asked for since the script was set.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic while noting").clone()
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A store of its own on this server: nothing that one case told of a quota reaches another.
    pub fn store(&self) -> BigCommerce {
        self.store_of(&FIELDS)
    }

    /// The same with other fields.
    pub fn store_of(&self, fields: &[&str]) -> BigCommerce {
        let wanted = |name: &&str| FieldWanted::new(*name, FieldType::String);
        BigCommerce::new(Settings {
            name: "acme".to_owned(),
            store_hash: "abc123".to_owned(),
            api_url: self.address.clone(),
            access_token: Arc::new(|| Ok(SecretString::from(TOKEN))),
            share: 0.8,
            fields: fields.iter().map(wanted).collect(),
            create_attributes: false,
            create_groups: false,
            patience: Duration::ZERO,
            cancel: CancellationToken::new(),
            client: self.client(),
        })
        .expect("the settings are sound")
    }
}

/// One call on one connection: the request is read to its end, for a body that is left unread breaks the connection.
fn answer(mut stream: TcpStream, script: &Mutex<Script>, asked: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    let mut part = [0; 16_384];
    let (head, length) = loop {
        let Ok(read @ 1..) = stream.read(&mut part) else { return };
        request.extend_from_slice(&part[..read]);
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            break (head, end + 4 + length.unwrap_or(0));
        }
    };
    while request.len() < length {
        let Ok(read @ 1..) = stream.read(&mut part) else { return };
        request.extend_from_slice(&part[..read]);
    }
    let line = head.lines().next().unwrap_or_default().split(" HTTP/").next().unwrap_or_default();
    let line = line.replacen("/stores/abc123", "", 1);
    let bytes = script.lock().expect("no panic in a script")(&line);
    asked.lock().expect("no panic while noting").push(line);
    let _ = stream.write_all(&bytes);
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

/// A good answer with this body.
pub fn good(body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\ndate: Fri, 02 Jan 2026 03:04:05 GMT\r\ncontent-type: application/json\r\nconnection: \
         close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}
