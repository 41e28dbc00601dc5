//! One HTTP client for both services: TLS with built-in roots, no redirects, bounded bodies.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use tracing::{Instrument, Span, field};
use url::{Host, Url};

use super::error::{TransportError, TransportErrorKind};

/// Longest response that is read, after decompression.
const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// How the client connects.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Longest time to open a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest time from the start of a call to the last byte of its response.
    pub timeout: Duration,
    /// What `User-Agent` says.
    pub user_agent: String,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
            user_agent: concat!("tajo/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A request. `Debug` and the logs show its route, never its path, headers or body.
#[derive(Clone)]
pub struct Request {
    method: Method,
    url: Url,
    route: &'static str,
    headers: HeaderMap,
    body: Option<Bytes>,
    timeout: Option<Duration>,
}

impl Request {
    /// A request to `url`. `route` is its path as a pattern, such as `/contacts/{id}`: it stands for
    /// the path in logs and errors.
    pub fn new(method: Method, url: Url, route: &'static str) -> Self {
        Self { method, url, route, headers: HeaderMap::new(), body: None, timeout: None }
    }

    /// Sets a header. A secret's value should be marked with `set_sensitive`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Some(body.into());
        self
    }

    /// Sets a JSON body.
    ///
    /// # Errors
    ///
    /// Fails on what JSON cannot hold, such as a map whose keys are not text.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, serde_json::Error> {
        Ok(self.body("application/json", serde_json::to_vec(value)?))
    }

    /// Sets a timeout for this request alone.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path as a pattern.
    pub fn route(&self) -> &'static str {
        self.route
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("route", &self.route)
            .field("body_bytes", &self.body.as_ref().map_or(0, Bytes::len))
            .finish_non_exhaustive()
    }
}

/// A response of any status, read to its end. `Debug` does not show the body.
#[derive(Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The decompressed body, at most 10 MiB.
    pub body: Bytes,
}

impl Response {
    /// A header that is plain text, without spaces around it.
    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().ok()?.trim())
    }

    /// The wait that `Retry-After` asks for, given in seconds; the form with a date is not read.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds: u64 = self.header("retry-after")?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Sends requests and reads responses; a cheap clone shares its connections. It follows no redirect
/// and retries nothing. Loopback is reached directly, whatever proxy the environment names.
#[derive(Debug, Clone)]
pub struct HttpClient {
    outside: reqwest::Client,
    loopback: reqwest::Client,
}

impl HttpClient {
    /// A client with the Mozilla roots that come with the binary, so that a bare container works.
    ///
    /// # Errors
    ///
    /// Fails with [`TransportErrorKind::Invalid`] if the TLS library or the user agent is unusable.
    pub fn new(options: &HttpOptions) -> Result<Self, TransportError> {
        let tls = tls_config().map_err(|_| unusable(None))?;
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(&options.user_agent)
                .connect_timeout(options.connect_timeout)
                .timeout(options.timeout)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .tcp_nodelay(true)
                // Shorter than the services keep theirs, so that few calls meet a closed connection.
                .pool_idle_timeout(Duration::from_secs(30))
        };
        Ok(Self {
            outside: builder().build().map_err(|e| unusable(Some(e)))?,
            loopback: builder().no_proxy().build().map_err(|e| unusable(Some(e)))?,
        })
    }

    /// Sends a request and reads its response to the end; every status is a response.
    ///
    /// # Errors
    ///
    /// [`TransportError::was_sent`] says whether the service may have accepted the call.
    pub async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let span = tracing::debug_span!(
            "http.call",
            http.method = %request.method,
            http.route = request.route,
            http.status = field::Empty,
            duration_ms = field::Empty,
        );
        let started = Instant::now();
        let result = self.exchange(request).instrument(span.clone()).await;
        record_outcome(&span, &result, started.elapsed());
        result
    }

    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let Request { method, url, route, headers, body, timeout } = request;
        let host = url.host_str().unwrap_or_default().to_owned();
        let fail = |kind, was_sent, source| TransportError {
            kind,
            was_sent,
            method: method.to_string(),
            route,
            host: host.clone(),
            source,
        };
        let client = if is_loopback(&url) { &self.loopback } else { &self.outside };
        let mut call = client.request(method.clone(), url).headers(headers);
        if let Some(body) = body {
            call = call.body(body);
        }
        if let Some(timeout) = timeout {
            call = call.timeout(timeout);
        }
        let broken = |error: reqwest::Error| {
            let (kind, was_sent) = classify(&error);
            fail(kind, was_sent, Some(error.without_url()))
        };
        let mut answer = call.send().await.map_err(broken)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(fail(TransportErrorKind::BodyTooLarge, true, None));
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(answer.headers_mut());
        Ok(Response { status: answer.status(), headers, body: body.freeze() })
    }
}

fn tls_config() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn unusable(source: Option<reqwest::Error>) -> TransportError {
    TransportError {
        kind: TransportErrorKind::Invalid,
        was_sent: false,
        method: String::new(),
        route: "",
        host: String::new(),
        source,
    }
}

/// The kind of a failure and whether the service may have seen the call.
fn classify(error: &reqwest::Error) -> (TransportErrorKind, bool) {
    if error.is_builder() {
        return (TransportErrorKind::Invalid, false);
    }
    if error.is_connect() {
        return (TransportErrorKind::Connect, false);
    }
    if error.is_timeout() {
        return (TransportErrorKind::Timeout, true);
    }
    (TransportErrorKind::Reset, true)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn record_outcome(span: &Span, result: &Result<Response, TransportError>, took: Duration) {
    span.record("duration_ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    match result {
        Ok(response) => {
            span.record("http.status", response.status.as_u16());
            let said =
                |names: [&'static str; 2]| names.iter().find_map(|name| response.header(name));
            let limit = said(["x-ratelimit-limit", "x-sib-ratelimit-limit"]);
            let remaining = said(["x-ratelimit-remaining", "x-sib-ratelimit-remaining"]);
            let reset = said(["x-ratelimit-reset", "x-sib-ratelimit-reset"]);
            span.in_scope(|| {
                tracing::debug!(
                    rate.limit = limit,
                    rate.remaining = remaining,
                    rate.reset = reset,
                    "call answered"
                );
            });
        }
        Err(error) => span.in_scope(|| tracing::debug!(reason = %error.kind, "call failed")),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn client() -> HttpClient {
        let timeout = Duration::from_secs(5);
        HttpClient::new(&HttpOptions { timeout, ..HttpOptions::default() }).unwrap()
    }

    fn request(base: &str, path: &str) -> Request {
        Request::new(Method::GET, format!("{base}{path}").parse().unwrap(), "/contacts/{id}")
    }

    async fn serve(router: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        base
    }

    #[tokio::test]
    async fn reads_every_status_and_follows_no_redirect() {
        let moved = (StatusCode::FOUND, [("location", "/ok")]);
        let router = Router::new().route("/moved", get(move || async move { moved })).route(
            "/busy",
            get(|| async { (StatusCode::TOO_MANY_REQUESTS, [("retry-after", " 7 ")]) }),
        );
        let base = serve(router).await;
        let response = client().send(request(&base, "/moved")).await.unwrap();
        assert_eq!(response.status, StatusCode::FOUND);
        let response = client().send(request(&base, "/busy")).await.unwrap();
        assert_eq!(response.retry_after(), Some(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn cuts_bodies_that_are_too_long() {
        let router = Router::new()
            .route("/long", get(|| async { vec![b'x'; MAX_BODY_BYTES + 1] }))
            .route("/fits", get(|| async { vec![b'x'; MAX_BODY_BYTES] }));
        let base = serve(router).await;
        let error = client().send(request(&base, "/long")).await.unwrap_err();
        assert_eq!((error.kind, error.was_sent), (TransportErrorKind::BodyTooLarge, true));
        let fits = client().send(request(&base, "/fits")).await.unwrap();
        assert_eq!(fits.body.len(), MAX_BODY_BYTES);
    }

    #[tokio::test]
    async fn only_a_failed_connection_proves_that_nothing_was_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = format!("http://{address}");
        let peer = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = [0_u8; 64];
            let _ = socket.read(&mut head).await.unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal").await.unwrap();
        });
        let error = client().send(request(&base, "/x")).await.unwrap_err();
        assert_eq!((error.kind, error.was_sent), (TransportErrorKind::Reset, true));
        peer.await.unwrap();
        let error = client().send(request(&base, "/contacts/ann@example.com")).await.unwrap_err();
        assert_eq!((error.kind, error.was_sent), (TransportErrorKind::Connect, false));
        let text = format!("{error:?} {error}");
        assert!(!text.contains("ann@example.com"), "{text}");
        assert_eq!(error.to_string(), "cannot connect: GET /contacts/{id} at `127.0.0.1`");
    }

    #[tokio::test]
    async fn a_silent_peer_is_a_timeout_of_unknown_outcome() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let request = request(&base, "/x").timeout(Duration::from_millis(50));
        let error = client().send(request).await.unwrap_err();
        assert_eq!((error.kind, error.was_sent), (TransportErrorKind::Timeout, true));
    }
}
