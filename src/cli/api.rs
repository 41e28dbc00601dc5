//! The API of an engine that runs on this machine, as commands use it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::failure::Failure;
use crate::http::{HttpClient, HttpOptions, Request, Response};

/// The engine is on this machine: what takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The API of one engine.
#[derive(Debug)]
pub(super) struct Api {
    http: HttpClient,
    base: Url,
    /// Marked as sensitive, so that it does not print.
    authorization: HeaderValue,
}

/// A call, without its query and body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    /// Below the base, such as `/api/v1/rules`.
    pub(super) path: &'a str,
    /// The path as a pattern, for errors.
    pub(super) pattern: &'static str,
}

impl From<&'static str> for Route<'static> {
    fn from(path: &'static str) -> Self {
        Self { path, pattern: path }
    }
}

/// Problem details (RFC 9457), as far as they are shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProblemDetails {
    title: String,
    detail: String,
    /// What is wrong with rules.
    problems: Vec<RuleProblem>,
}

/// A finding in the scripts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuleProblem {
    message: String,
    file: String,
    line: u32,
    column: u32,
}

impl Api {
    /// The API that listens at `address`.
    pub(super) fn new(address: SocketAddr, token: SecretString) -> Result<Self, Failure> {
        let unusable = |_| Failure::failed("the API's token holds characters that no token has");
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
            .map_err(unusable)?;
        authorization.set_sensitive(true);
        let base = Url::parse(&format!("http://{}", reachable(address))).map_err(|error| {
            Failure::failed(format!("the API's address cannot be used: {error}"))
        })?;
        let http = HttpClient::new(&HttpOptions { timeout: TIMEOUT, ..HttpOptions::default() })?;
        Ok(Self { http, base, authorization })
    }

    /// Where it is.
    pub(super) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Reads something that is there.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        route: impl Into<Route<'_>>,
    ) -> Result<T, Failure> {
        let answer = self.send(Method::GET, route.into(), None).await?;
        read(&accepted(answer)?)
    }

    /// Reads something that may not be there.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        route: impl Into<Route<'_>>,
    ) -> Result<Option<T>, Failure> {
        let answer = self.send(Method::GET, route.into(), None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read(&accepted(answer)?).map(Some)
    }

    /// Reads a text, such as the metrics.
    pub(super) async fn text(&self, route: impl Into<Route<'_>>) -> Result<String, Failure> {
        let answer = accepted(self.send(Method::GET, route.into(), None).await?)?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Asks for something to be done; `None` if what it is about is not there.
    pub(super) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        route: impl Into<Route<'_>>,
        body: Option<Value>,
    ) -> Result<Option<T>, Failure> {
        let answer = self.send(method, route.into(), body).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read(&accepted(answer)?).map(Some)
    }

    async fn send(
        &self,
        method: Method,
        route: Route<'_>,
        body: Option<Value>,
    ) -> Result<Response, Failure> {
        let url = self.base.join(route.path).map_err(|error| Failure::failed(error.to_string()))?;
        let mut request = Request::new(method, url, route.pattern)
            .header(AUTHORIZATION, self.authorization.clone());
        if let Some(body) = body {
            request = request.json(&body)?;
        }
        self.http.send(request).await.map_err(|error| {
            let failure = Failure::failed(format!("the running engine does not answer: {error}"));
            failure.with_help("see its log; `tajo serve` may be starting or ending")
        })
    }
}

/// An engine that listens on all addresses is reached by this machine's own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn accepted(answer: Response) -> Result<Response, Failure> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let problem: ProblemDetails = serde_json::from_slice(&answer.body).unwrap_or_default();
    let status = answer.status.as_u16();
    let what = match (problem.detail.as_str(), problem.title.as_str()) {
        ("", "") => "it does not say why",
        ("", title) => title,
        (detail, _) => detail,
    };
    let mut text = format!("the running engine answers {status}: {what}");
    // The first is in the detail.
    for RuleProblem { message, file, line, column } in problem.problems.iter().skip(1) {
        text.push_str(&format!("\n  {file}:{line}:{column}: {message}"));
    }
    let failure = Failure::failed(text);
    Err(match answer.status {
        StatusCode::UNAUTHORIZED => failure.with_help(
            "use the configuration and the variable `TAJO_ADMIN_TOKEN` that it was started with",
        ),
        _ => failure,
    })
}

fn read<T: DeserializeOwned>(answer: &Response) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        let failure =
            Failure::failed(format!("the running engine's answer cannot be read: {error}"));
        failure.with_help("is it of the same version as this command? see `tajo --version`")
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    async fn api(router: Router) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Api::new(address, "secret-token".into()).unwrap()
    }

    #[tokio::test]
    async fn says_what_the_engine_says() {
        let problem =
            json!({ "title": "Unauthorized", "detail": "the token is not the right one" });
        let answer = (StatusCode::UNAUTHORIZED, problem.to_string());
        let router = Router::new().route("/api/v1/rules", get(|| async { answer }));
        let api = api(router).await;
        let text = api.get::<Value>("/api/v1/rules").await.unwrap_err().to_string();
        assert_eq!(
            text,
            "error: the running engine answers 401: the token is not the right one\n \
             help: use the configuration and the variable `TAJO_ADMIN_TOKEN` that it was started with"
        );
        assert!(!format!("{api:?}").contains("secret-token"));
        assert!(api.find::<Value>("/api/v1/nothing").await.unwrap().is_none());
    }

    #[test]
    fn an_engine_on_all_addresses_is_reached_by_loopback() {
        fn case(address: &str, expected: &str) {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), expected);
        }
        case("0.0.0.0:8080", "127.0.0.1:8080");
        case("[::]:8080", "[::1]:8080");
        case("10.1.2.3:8080", "10.1.2.3:8080");
    }
}
