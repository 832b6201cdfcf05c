//! Over HTTP: `/livez`, `/readyz` and `/metrics`, for whoever starts and watches the process; `page/`, for people.
//!
//! Health answers questions and changes nothing. What it is told is public to whoever reaches the address: states and
//! sentences, never a secret or personal data. Every connection is bounded: its headers, its time, how many there are.
//!
//! Must not know: the daemon, the engine, the checkpoint. It asks a `Health`, a `Meters` and an `Office`.

mod metrics;
pub mod page;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use metrics::Meters;
use page::Office;

/// Connections at the same time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 64;

/// Bytes of a request's line and headers.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// From a connection's first byte to its last: it answers one request.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(15);

/// How long answers under way are waited for at the end.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);

/// After a failure to accept (no file descriptors left) nothing is tried for so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How something is, and what to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// 200 if it is, 503 if not.
    pub well: bool,
    /// A small JSON document for people.
    pub about: serde_json::Value,
}

/// What knows how the process is.
#[async_trait]
pub trait Health: Send + Sync {
    /// Whether it should go on living: its loops turn.
    fn live(&self) -> Condition;

    /// Whether it does its work, or says why not.
    async fn ready(&self) -> Condition;
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; set server.listen to a free address and port, or to \"off\"")]
pub struct CannotListen {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// An address that is listened on; nothing is answered before [`Server::serve`].
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// When it is taken, or not ours.
    pub async fn bind(address: SocketAddr) -> Result<Self, CannotListen> {
        let refused = |source| CannotListen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it listens: with the port that was found, where port 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is cancelled, and a second longer what is under way then.
    pub async fn serve(
        self,
        health: Arc<dyn Health>,
        meters: Arc<dyn Meters>,
        office: Arc<dyn Office>,
        stop: CancellationToken,
    ) {
        let router = router(health).merge(metrics::routes(meters)).merge(page::router(office));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next(), if connections.len() >= CONNECTIONS_MAX => continue,
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(answer(stream, router.clone()));
                }
                Err(error) => {
                    tracing::debug!(target: "attune", "a connection to the health page was not accepted: {error}");
                    stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
                }
            }
        }
        drop(self.listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        // What takes longer is cut off when the set is dropped.
        let _ = tokio::time::timeout(DRAIN_TIME_MAX, drained).await;
    }
}

/// One connection: one request, one answer.
async fn answer(stream: TcpStream, router: Router) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIME_MAX)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A client that goes away or misbehaves concerns nobody else.
    let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
}

fn router(health: Arc<dyn Health>) -> Router {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(health)
}

async fn live(State(health): State<Arc<dyn Health>>) -> Response {
    response(health.live())
}

async fn ready(State(health): State<Arc<dyn Health>>) -> Response {
    response(health.ready().await)
}

fn response(condition: Condition) -> Response {
    let status = if condition.well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let fresh = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (status, [fresh], Json(condition.about)).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Fixed;

    #[async_trait]
    impl Health for Fixed {
        fn live(&self) -> Condition {
            Condition { well: true, about: serde_json::json!({ "status": "alive" }) }
        }

        async fn ready(&self) -> Condition {
            Condition { well: false, about: serde_json::json!({ "status": "not ready" }) }
        }
    }

    #[async_trait]
    impl Meters for Fixed {
        async fn text(&self) -> String {
            "# EOF\n".to_owned()
        }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = Vec::new();
        // A refusal may close the connection before all was sent.
        let _ = stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }

    #[tokio::test]
    async fn answers_bounded_questions_and_ends_when_told() {
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, stop) = (server.address(), CancellationToken::new());
        let taken = Server::bind(address).await.unwrap_err().to_string();
        assert!(taken.contains(&format!("cannot listen on {address}")) && taken.contains("server.listen"), "{taken}");

        let office = Arc::new(page::page_test::Fixed::default());
        let serving = tokio::spawn(server.serve(Arc::new(Fixed), Arc::new(Fixed), office, stop.clone()));
        let live = ask(address, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(live.starts_with("HTTP/1.1 200") && live.ends_with(r#"{"status":"alive"}"#), "{live}");
        let ready = ask(address, "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.ends_with(r#"{"status":"not ready"}"#), "{ready}");
        let metrics = ask(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains(kind), "{metrics}");
        assert!(metrics.ends_with("\r\n\r\n# EOF\n"), "{metrics}");
        assert!(ask(address, "GET /else HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 405"));
        let long = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
        assert!(!ask(address, &long).await.contains("200 OK"));

        stop.cancel();
        serving.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
