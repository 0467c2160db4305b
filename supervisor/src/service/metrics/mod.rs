//! Counts and gauges for collectors: OpenMetrics over HTTP/1.1 on a socket of its own, which only answers.
//!
//! There is no key: what is told is no secret among those whom the socket lets in, and collectors have no place for one.
//! Processes of plugins and of other users are refused before they have sent a byte, as on the other control sockets.

mod samples;
#[cfg(test)]
mod tests;
mod text;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::core::Core;
use crate::domain::launch::ControlConnection;

/// Collectors that are served at once: there is one as a rule, and each answer is made anew.
const AT_ONCE: usize = 4;
/// Time for one request and its answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// The media type that OpenMetrics 1.0 asks for.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves connections until the supervisor stops or no more come.
pub(crate) async fn serve(
    core: Arc<Core>,
    mut connections: mpsc::Receiver<ControlConnection>,
    stopping: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let connection = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            connection = connections.recv() => connection,
        };
        let Some(connection) = connection else { return };
        // Who comes while all places are taken finds the connection closed, and comes again.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (served, stopping) = (Arc::clone(&core), stopping.clone());
        core.shared.tasks.spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                _ = tokio::time::timeout(LIMIT, answer(served, connection)) => {}
            }
            drop(place);
        });
    }
}

async fn answer(core: Arc<Core>, connection: ControlConnection) {
    let pid = connection.peer.pid;
    let service = service_fn(move |request| {
        let core = Arc::clone(&core);
        async move { Ok::<_, Infallible>(respond(&core, &request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.keep_alive(false).max_buf_size(MAX_HEAD);
    if let Err(error) = builder.serve_connection(TokioIo::new(connection.io), service).await {
        tracing::debug!(pid, "a collector of metrics was not answered: {error}");
    }
}

async fn respond(core: &Core, request: &Request<Incoming>) -> Response<String> {
    let plain = |status: StatusCode, text: &str| {
        let mut response = Response::new(format!("{text}\n"));
        *response.status_mut() = status;
        response
    };
    if !matches!(request.uri().path(), "/" | "/metrics") {
        return plain(StatusCode::NOT_FOUND, "only /metrics is here");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered");
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let samples = samples::take(core).await;
    // With a thousand plugins writing takes longer than calls should wait.
    match tokio::task::spawn_blocking(move || text::write(&samples)).await {
        Ok(text) => {
            let mut response = Response::new(text);
            response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(MEDIA_TYPE));
            response
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the answer was lost"),
    }
}
