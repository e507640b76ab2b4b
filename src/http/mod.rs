//! `/healthz`, `/readyz`, `/metrics`, `/status`: for probes, Prometheus and people.
//!
//! Promises: a port taken never stops the daemon; answers hold names and numbers, never a row's value or a secret.
//! Will not: know how a status is made, or change anything.
//!
//! To add a page: a route in `router`, its answer beside it, a line in `tests/it/status.rs`.

use crate::status::Status;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::BoxFuture;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Between two tries to have the port.
const AGAIN: Duration = Duration::from_secs(5);
/// The text form's own type.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where answers come from.
#[derive(Clone)]
pub struct Answers {
    pub status: Arc<dyn Fn() -> BoxFuture<'static, Status> + Send + Sync>,
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Listens for as long as the process lives. While the port is taken it says so, once, and tries again.
pub async fn serve(listen: SocketAddr, answers: Answers) {
    let mut told = false;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => {
                told = false;
                tracing::info!("http://{listen}: /status, /metrics, /healthz, /readyz");
                if let Err(error) = axum::serve(listener, router(answers.clone())).await {
                    tracing::warn!(%error, "http ended, and begins again");
                }
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!("cannot listen on `{listen}`: {error}\n  hint: nothing else stops; it is tried again every 5 s");
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn router(answers: Answers) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(answers)
}

async fn readyz(State(answers): State<Answers>) -> Response {
    let reasons = (answers.status)().await.unready();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", reasons.join("\n"))).into_response()
}

async fn metrics(State(answers): State<Answers>) -> Response {
    ([(CONTENT_TYPE, PROMETHEUS)], (answers.metrics)()).into_response()
}

async fn status(State(answers): State<Answers>) -> Response {
    match serde_json::to_string_pretty(&(answers.status)().await) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
