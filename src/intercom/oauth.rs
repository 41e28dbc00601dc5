//! OAuth for public apps: where somebody allows access, and what his code is exchanged for.
//!
//! Scopes are no part of it: they are ticked on the app in the Developer Hub. A token never expires,
//! and there is none to refresh it with (facts: Intercom section 1).

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::form_urlencoded::Serializer;
use url::{Host, Url};

use super::client::malformed;
use super::error::IntercomError;
use super::wire;
use crate::http::{HttpClient, HttpOptions, Request};

/// A code holds a few dozen characters; what is longer is none.
const MAX_CODE_BYTES: usize = 4_096;

/// An app that workspaces can allow to read them.
#[derive(Debug, Clone)]
pub struct OAuthApp {
    /// Its id.
    pub client_id: String,
    /// Its secret, which signs its notifications, too.
    pub client_secret: SecretString,
    /// The API's address.
    pub base_url: Url,
}

/// Why a code was exchanged for nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OAuthError {
    /// Intercom does not know the code, or not with this app.
    #[error(
        "intercom does not accept the code: it is used up, expired, or of another app than `client_id` and `client_secret` name"
    )]
    CodeRefused,
    /// There is nothing in it.
    #[error("the code is missing")]
    NoCode,
    /// Intercom did not answer as it should.
    #[error(transparent)]
    Intercom(#[from] IntercomError),
}

/// What Intercom sends somebody back with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Granted {
    /// What is exchanged for a token; none: it was denied.
    pub code: Option<String>,
    /// What was sent along.
    pub state: Option<String>,
    /// Why it was denied.
    pub error: Option<String>,
}

impl Granted {
    /// Reads what somebody pasted: the whole address that he was sent to, its query, or the code.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if let Ok(url) = Url::parse(text)
            && matches!(url.scheme(), "http" | "https")
        {
            return Self::from_query(url.query().unwrap_or_default());
        }
        let query = text.trim_start_matches('?');
        if ["code=", "state=", "error="].iter().any(|key| query.starts_with(key)) {
            return Self::from_query(query);
        }
        Self { code: (!text.is_empty()).then(|| text.to_owned()), ..Self::default() }
    }

    /// Reads the query of the address that somebody was sent to.
    pub fn from_query(query: &str) -> Self {
        let mut granted = Self::default();
        // A code may end in `=`, which somebody on the way may not have encoded.
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*key {
                "code" => &mut granted.code,
                "state" => &mut granted.state,
                "error" => &mut granted.error,
                _ => continue,
            };
            *place = Some(value.into_owned()).filter(|value| !value.is_empty());
        }
        granted
    }
}

impl OAuthApp {
    /// Where somebody allows the access. `back_to` is where he is sent then, which must be an address
    /// that the app registered; without it that is the first of these.
    pub fn authorize_url(&self, state: &str, back_to: Option<&Url>) -> Url {
        let mut url = self.authorize_page();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("client_id", &self.client_id).append_pair("state", state);
            if let Some(back_to) = back_to {
                query.append_pair("redirect_uri", back_to.as_str());
            }
        }
        url
    }

    /// True if Intercom is a fake on this machine, which may send people anywhere.
    pub fn is_local(&self) -> bool {
        match self.base_url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }

    /// The page of the web app in the region of the API; a fake has it beside its API.
    fn authorize_page(&self) -> Url {
        let mut url = self.base_url.clone();
        let host = match url.host_str().unwrap_or_default() {
            "api.eu.intercom.io" => "app.eu.intercom.com",
            "api.au.intercom.io" => "app.au.intercom.com",
            _ => "app.intercom.com",
        };
        if !self.is_local() {
            // Both can only fail on addresses that no API has.
            let _ = url.set_host(Some(host));
            let _ = url.set_port(None);
            url.set_path("");
        }
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("oauth");
        }
        url
    }

    /// Exchanges a code for a token. It is sent once: a code is good for one exchange.
    ///
    /// # Errors
    /// See [`OAuthError`].
    pub async fn exchange(&self, code: &str) -> Result<SecretString, OAuthError> {
        const ROUTE: &str = "/auth/eagle/token";
        let code = code.trim();
        if code.is_empty() {
            return Err(OAuthError::NoCode);
        }
        if code.len() > MAX_CODE_BYTES {
            return Err(OAuthError::CodeRefused);
        }
        let mut url = self.base_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["auth", "eagle", "token"]);
        }
        let form = Serializer::new(String::new())
            .append_pair("code", code)
            .append_pair("client_id", &self.client_id)
            .append_pair("client_secret", self.client_secret.expose_secret())
            .finish();
        let request = Request::new(Method::POST, url, ROUTE)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .body("application/x-www-form-urlencoded", form);
        let http = HttpClient::new(&HttpOptions::default()).map_err(IntercomError::from)?;
        let response = http.send(request).await.map_err(IntercomError::from)?;
        if !response.status.is_success() {
            return Err(match wire::error_of(&response) {
                IntercomError::Unauthorized { .. }
                | IntercomError::MissingScope
                | IntercomError::Invalid { .. } => OAuthError::CodeRefused,
                error => error.into(),
            });
        }
        let answer: Value = serde_json::from_slice(&response.body)
            .map_err(|_| malformed(ROUTE, "it is not JSON"))?;
        let token = ["access_token", "token"].iter().find_map(|key| answer.get(*key)?.as_str());
        let token = token.filter(|token| !token.trim().is_empty());
        token.map(SecretString::from).ok_or_else(|| malformed(ROUTE, "it holds no token").into())
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;
    use tokio::net::TcpListener;

    use super::*;

    fn app(base_url: &str) -> OAuthApp {
        OAuthApp {
            client_id: "id 1".to_owned(),
            client_secret: SecretString::from("s&cret"),
            base_url: base_url.parse().unwrap(),
        }
    }

    #[test]
    fn whoever_allows_access_does_so_where_the_workspace_is() {
        fn case(base_url: &str, expected: &str) {
            assert_eq!(app(base_url).authorize_url("s", None).as_str(), expected);
        }
        let query = "?client_id=id+1&state=s";
        case("https://api.intercom.io", &format!("https://app.intercom.com/oauth{query}"));
        case("https://api.eu.intercom.io/", &format!("https://app.eu.intercom.com/oauth{query}"));
        case("https://api.au.intercom.io", &format!("https://app.au.intercom.com/oauth{query}"));
        case("https://proxy.example.com/x", &format!("https://app.intercom.com/oauth{query}"));
        case("http://127.0.0.1:4000", &format!("http://127.0.0.1:4000/oauth{query}"));
        let back = "https://tajo.example.com/oauth/intercom/callback".parse().unwrap();
        let url = app("https://api.intercom.io").authorize_url("s", Some(&back));
        let expected = "redirect_uri=https%3A%2F%2Ftajo.example.com%2Foauth%2Fintercom%2Fcallback";
        assert!(url.as_str().ends_with(expected), "{url}");
    }

    #[test]
    fn what_somebody_pastes_is_an_address_a_query_or_a_code() {
        fn case(text: &str, code: Option<&str>, state: Option<&str>, error: Option<&str>) {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let expected = Granted { code: own(code), state: own(state), error: own(error) };
            assert_eq!(Granted::parse(text), expected, "{text}");
        }
        case("dG9rOjEy=", Some("dG9rOjEy="), None, None);
        case(" abc\n", Some("abc"), None, None);
        case("https://x.example.com/cb?code=ab%3D&state=s", Some("ab="), Some("s"), None);
        case("https://x.example.com/cb?state=s&code=ab=", Some("ab="), Some("s"), None);
        case("code=ab==&state=s", Some("ab=="), Some("s"), None);
        case("?code=ab", Some("ab"), None, None);
        case("https://x.example.com/?error=access_denied", None, None, Some("access_denied"));
        case("https://x.example.com/", None, None, None);
        case("", None, None, None);
    }

    async fn serve(status: StatusCode, answer: &'static str) -> OAuthApp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route(
            "/auth/eagle/token",
            post(move |body: String| async move {
                assert_eq!(body, "code=ab%3D&client_id=id+1&client_secret=s%26cret");
                (status, answer)
            }),
        );
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        app(&base)
    }

    #[tokio::test]
    async fn a_code_is_exchanged_for_a_token() {
        let both = r#"{"token_type":"Bearer","token":"t1","access_token":"t1"}"#;
        for answer in [both, r#"{"token":"t1"}"#, r#"{"access_token":"t1"}"#] {
            let app = serve(StatusCode::OK, answer).await;
            assert_eq!(app.exchange("ab=").await.unwrap().expose_secret(), "t1");
        }
    }

    #[tokio::test]
    async fn a_code_that_is_refused_is_told_from_an_intercom_that_is_away() {
        let refused = r#"{"type":"error.list","errors":[{"code":"unauthorized","message":"Unauthorized Code"}]}"#;
        let app = serve(StatusCode::UNAUTHORIZED, refused).await;
        assert!(matches!(app.exchange("ab=").await, Err(OAuthError::CodeRefused)));
        let app = serve(StatusCode::BAD_GATEWAY, "<html>").await;
        let error = app.exchange("ab=").await.unwrap_err();
        assert!(matches!(error, OAuthError::Intercom(IntercomError::Server { status: 502 })));
        let app = serve(StatusCode::OK, "{}").await;
        let error = app.exchange("ab=").await.unwrap_err().to_string();
        assert_eq!(
            error,
            "intercom's answer to /auth/eagle/token cannot be read: it holds no token"
        );
        assert!(matches!(app.exchange(" ").await, Err(OAuthError::NoCode)));
    }
}
