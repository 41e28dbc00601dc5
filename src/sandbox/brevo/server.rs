//! The HTTP side: connections, keys, rates, moods, the log, and the worker that applies imports.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, DATE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::import::{Job, ProcessStatus};
use super::mood::{ImportMishap, Mishap, Moods};
use super::rate::{Rates, Standing, Throttled};
use super::reply::{Refusal, Reply};
use super::request::Request;
use super::routes;
use super::state::Account;
use super::webhook::Courier;
use crate::model::Clock;
use crate::sandbox::log::{Exchange, RequestLog};

/// The largest body of an import (facts: Brevo section 2); no other call comes near it.
const MAX_BODY_BYTES: usize = 10_000_000;

/// What is read before the connection is given up: a body that is too large is read to its end, so
/// that the client sees the refusal and not a reset.
const MAX_READ_BYTES: usize = 64_000_000;

/// A call of `notifyUrl` may take this long.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the handle, the connections and the import worker share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) account: Mutex<Account>,
    pub(super) courier: Courier,
    pub(super) moods: Mutex<Moods>,
    pub(super) rates: Mutex<Rates>,
    pub(super) log: RequestLog,
    pub(super) api_key: String,
    pub(super) clock: Arc<dyn Clock>,
    /// `http://127.0.0.1:port`.
    pub(super) origin: String,
    pub(super) imports: mpsc::UnboundedSender<Job>,
}

/// The connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped")]
struct HangUp;

/// Takes connections until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve_connection(stream, shared) => {}
            }
        });
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| respond(Arc::clone(&shared), request));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the fake Brevo ended early");
    }
}

/// Answers one request; an error makes hyper close the connection without a word.
async fn respond(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HangUp> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_READ_BYTES).collect().await.map_err(|_| HangUp)?;
    let request = Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: body.to_bytes(),
    };
    if request.body.len() > MAX_BODY_BYTES {
        let refusal = Refusal::new(413, "out_of_range", "The body should be at most 10 MB");
        return Ok(shared.finish(&request, refusal.into(), None));
    }
    let key = head.headers.get("api-key").and_then(|value| value.to_str().ok());
    let latency = shared.moods().latency;
    if let Some(latency) = latency {
        tokio::time::sleep(latency).await;
    }
    let mishap = shared.moods().take(&request.method, &request.path);
    match mishap {
        Some(Mishap::Hang) => match std::future::pending::<Infallible>().await {},
        Some(Mishap::HangAfterCommit) => {
            let (reply, standing) = shared.reply(&request, key, None);
            drop(shared.finish(&request, reply, standing));
            match std::future::pending::<Infallible>().await {}
        }
        Some(Mishap::Reset) => Err(HangUp),
        Some(Mishap::ResetAfterCommit) => {
            let (reply, standing) = shared.reply(&request, key, None);
            drop(shared.finish(&request, reply, standing));
            Err(HangUp)
        }
        Some(Mishap::Fail(status, body)) => {
            let (reply, standing) = shared.reply(&request, key, Some(failure(status, &body)));
            Ok(shared.finish(&request, reply, standing))
        }
        None => {
            let (reply, standing) = shared.reply(&request, key, None);
            Ok(shared.finish(&request, reply, standing))
        }
    }
}

impl Shared {
    pub(super) fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn moods(&self) -> MutexGuard<'_, Moods> {
        self.moods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Key, rate, then the route or the failure that takes its place.
    fn reply(
        &self,
        request: &Request,
        key: Option<&str>,
        failure: Option<Reply>,
    ) -> (Reply, Option<Standing>) {
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let inside = match segments.as_slice() {
            ["v3", inside @ ..] => inside,
            ["files", name] => return (failure.unwrap_or_else(|| self.file(name)), None),
            _ => return (Refusal::not_found("Path not found").into(), None),
        };
        if self.moods().is_unauthorized || key != Some(self.api_key.as_str()) {
            return (Refusal::unauthorized().into(), None);
        }
        let family = inside.first().copied().unwrap_or_default();
        let standing = match self.rates().take(family, Instant::now()) {
            Ok(standing) => standing,
            Err(Throttled(standing)) => {
                return (Refusal::too_many_requests().into(), Some(standing));
            }
        };
        if let Some(failure) = failure {
            let is_throttled = failure.status == 429;
            return (failure, if is_throttled { Some(exhausted(standing)) } else { standing });
        }
        let outcome = {
            let mut account = self.account();
            let outcome = routes::answer(&mut account, request, inside);
            self.courier.send(account.hooks.take());
            outcome
        };
        let reply = outcome.map(|(reply, job)| {
            if let Some(job) = job {
                self.start_import(job);
            }
            reply
        });
        (reply.unwrap_or_else(Reply::from), standing)
    }

    fn file(&self, name: &str) -> Reply {
        match self.account().files.get(name) {
            Some(text) => Reply::csv(text.clone()),
            None => Refusal::not_found("File does not exist").into(),
        }
    }

    fn start_import(&self, mut job: Job) {
        job.mishap = self.moods().take_import();
        if self.imports.send(job).is_err() {
            tracing::debug!("the fake Brevo stops, an import is not applied");
        }
    }

    /// Writes the log and puts the headers on.
    fn finish(
        &self,
        request: &Request,
        reply: Reply,
        standing: Option<Standing>,
    ) -> Response<Full<Bytes>> {
        self.log.record(Exchange {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            status: reply.status,
            body: &request.body,
            response: &reply.body,
        });
        let mut response = Response::new(Full::new(reply.body));
        *response.status_mut() =
            StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if let Some(content_type) = reply.content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        // The account's clock and not the machine's: clients start their next sweep from it.
        let now = jiff::Timestamp::from_second(self.clock.now().seconds()).unwrap_or_default();
        let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = HeaderValue::try_from(date) {
            headers.insert(DATE, date);
        }
        if let Some(Standing { limit, remaining, reset }) = standing {
            headers.insert("x-sib-ratelimit-limit", limit.into());
            headers.insert("x-sib-ratelimit-remaining", remaining.into());
            headers.insert("x-sib-ratelimit-reset", reset.into());
        }
        response
    }
}

/// The headers of a 429 that a test asked for.
fn exhausted(standing: Option<Standing>) -> Standing {
    let limit = standing.map_or(10, |standing| standing.limit);
    Standing { limit, remaining: 0, reset: 1 }
}

/// The answer of a failure that a test asked for.
fn failure(status: u16, body: &Value) -> Reply {
    match (status, body) {
        (401, Value::Null) => Refusal::unauthorized().into(),
        (425, Value::Null) => Refusal::new(425, "account_in_process", "Too Early").into(),
        (429, Value::Null) => Refusal::too_many_requests().into(),
        (500.., Value::Null) => Reply::empty(status),
        (_, Value::Null) => Refusal::new(status, "bad_request", "Bad request").into(),
        (_, body) => Reply::json(status, body),
    }
}

/// Applies imports one after the other, with `delay` between their states.
pub(super) async fn run_imports(
    shared: Arc<Shared>,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    delay: Duration,
) {
    while let Some(job) = jobs.recv().await {
        tokio::time::sleep(delay).await;
        shared.account().set_process(job.process, ProcessStatus::InProcess);
        tokio::time::sleep(delay).await;
        if let ImportMishap::Late(by) = job.mishap {
            tokio::time::sleep(by).await;
        }
        match job.mishap {
            // The next one goes on: whether a stuck import blocks others is not known.
            ImportMishap::Sticks => continue,
            ImportMishap::Fails => shared.account().set_process(job.process, ProcessStatus::Failed),
            ImportMishap::None | ImportMishap::Late(_) | ImportMishap::DropsRows(_) => {
                let mut account = shared.account();
                account.finish_import(&job, &shared.origin);
                shared.courier.send(account.hooks.take());
            }
        }
        if let Some(url) = &job.notify_url {
            notify(url, job.process).await;
        }
    }
}

/// Calls `notifyUrl`. What Brevo sends there is not documented, so a reader may rely on nothing.
async fn notify(url: &str, process: i64) {
    let Some(client) = http_client(NOTIFY_TIMEOUT) else { return };
    let body = json!({"processId": process, "status": "completed"});
    if let Err(error) = client.post(url).json(&body).send().await {
        tracing::debug!(error = %error.without_url(), "the fake Brevo could not call notifyUrl");
    }
}

/// A client for what Brevo calls by itself.
pub(super) fn http_client(timeout: Duration) -> Option<reqwest::Client> {
    // Without a provider the builder would panic, even for plain HTTP; another one may be there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(timeout).build().ok()
}
