//! `GET /v2/time` and `GET /v2/store`.
//!
//! Must not know: customers.

use serde_json::json;

use super::answer::{Answer, Refusal, json_answer};
use super::query::Query;
use super::request::Request;

/// The store's clock in Unix seconds.
pub(super) fn time(request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    Ok(json_answer(&json!({ "time": request.moment.date.0 })))
}

/// A few facts about the store; the time zone is one that is not UTC, to find out who takes it for the zone of dates.
pub(super) fn store(request: Request<'_>) -> Result<Answer, Refusal> {
    Query::parse(request.query, &[])?;
    Ok(json_answer(&json!({
        "id": request.hash,
        "domain": format!("{}.example.com", request.hash),
        "secure_url": format!("https://{}.example.com", request.hash),
        "status": "live",
        "name": format!("Simulated store {}", request.hash),
        "timezone": { "name": "America/Chicago", "raw_offset": -21_600, "dst_offset": -18_000, "dst_correction": true },
        "language": "en",
        "currency": "USD",
        "plan_name": "Standard",
        "plan_level": "Standard",
        "plan_is_trial": false,
        "default_channel_id": 1,
    })))
}
