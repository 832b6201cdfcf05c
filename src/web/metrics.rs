//! `/metrics`, for Prometheus and whatever reads its format.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// What is answered, whatever format is asked for: every scraper of the last years takes it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What knows the numbers.
#[async_trait]
pub trait Meters: Send + Sync {
    /// All of them, as OpenMetrics text; within some seconds, whatever else goes on.
    async fn text(&self) -> String;
}

pub(super) fn routes(meters: Arc<dyn Meters>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(meters)
}

async fn metrics(State(meters): State<Arc<dyn Meters>>) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
    let fresh = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ([kind, fresh], meters.text().await).into_response()
}
