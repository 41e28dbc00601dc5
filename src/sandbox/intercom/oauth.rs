//! How a public app gets its token: the page where an admin consents, which this fake does at once, and
//! the exchange of the code (facts: Intercom section 1).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use url::Url;

use super::refused::Refused;
use super::routes::Reply;

/// What the fake knows of the public app.
#[derive(Debug)]
pub(super) struct OAuth {
    pub(super) client_id: String,
    pub(super) client_secret: String,
    /// What a code is exchanged for.
    pub(super) access_token: String,
    /// Where consent leads back to if the request does not say.
    pub(super) redirect_url: Option<String>,
    /// True: the admin clicks "Deny".
    pub(super) is_denied: bool,
    codes: Vec<String>,
}

/// What one of the two addresses answers.
pub(super) enum Answer {
    /// To the browser: back to the app.
    Redirect(String),
    Reply(Reply),
}

impl OAuth {
    pub(super) fn new(client_id: String, client_secret: String, access_token: String) -> Self {
        let (redirect_url, is_denied, codes) = (None, false, Vec::new());
        Self { client_id, client_secret, access_token, redirect_url, is_denied, codes }
    }

    /// A code that is good for one exchange. It ends in `=`, as real ones may.
    pub(super) fn issue_code(&mut self) -> String {
        let code = format!("{}=", uuid::Uuid::new_v4().simple());
        self.codes.push(code.clone());
        code
    }

    /// True for the two addresses that take no token.
    pub(super) fn is_at(path: &str) -> bool {
        matches!(path, "/oauth" | "/auth/eagle/token")
    }

    /// Answers a request at one of the two addresses.
    pub(super) fn answer(
        &mut self,
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Answer, Refused> {
        match (method.as_str(), path) {
            ("GET", "/oauth") => self.authorise(query).map(Answer::Redirect),
            ("POST", "/auth/eagle/token") => {
                self.exchange(&members(headers, body)).map(Answer::Reply)
            }
            _ => Err(Refused::no_resource()),
        }
    }

    fn authorise(&mut self, query: &str) -> Result<String, Refused> {
        let given = pairs(query.as_bytes());
        let member = |key: &str| value(&given, key);
        if member("client_id") != Some(self.client_id.as_str()) {
            return Err(Refused::new(400, "parameter_invalid", "client_id is not known"));
        }
        let back = member("redirect_uri").or(self.redirect_url.as_deref());
        let Some(mut back) = back.and_then(|back| Url::parse(back).ok()) else {
            return Err(Refused::missing("the app has no redirect URL and the request names none"));
        };
        let state = member("state").map(str::to_owned);
        if self.is_denied {
            back.query_pairs_mut().append_pair("error", "access_denied");
        } else {
            back.query_pairs_mut().append_pair("code", &self.issue_code());
        }
        if let Some(state) = state {
            back.query_pairs_mut().append_pair("state", &state);
        }
        Ok(back.into())
    }

    fn exchange(&mut self, given: &[(String, String)]) -> Result<Reply, Refused> {
        let unauthorised = |message: &str| Refused::new(401, "unauthorized", message);
        if value(given, "client_id") != Some(self.client_id.as_str())
            || value(given, "client_secret") != Some(self.client_secret.as_str())
        {
            return Err(unauthorised("Unauthorized Client"));
        }
        let code = value(given, "code").unwrap_or_default();
        let Some(place) = self.codes.iter().position(|known| known == code) else {
            return Err(unauthorised("Unauthorized Code"));
        };
        self.codes.swap_remove(place);
        let token = &self.access_token;
        Ok(Reply::json(
            200,
            &json!({"token_type": "Bearer", "token": token, "access_token": token}),
        ))
    }
}

/// A redirect to `address`.
pub(super) fn redirect(address: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    if let Ok(address) = HeaderValue::from_str(address) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    response
}

/// The members of a body, which is a form or JSON.
fn members(headers: &HeaderMap, body: &[u8]) -> Vec<(String, String)> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|given| given.starts_with("application/json")) {
        return pairs(body);
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => object
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
            .collect(),
        _ => Vec::new(),
    }
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

fn value<'a>(given: &'a [(String, String)], key: &str) -> Option<&'a str> {
    given.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oauth() -> OAuth {
        OAuth::new("app".to_owned(), "secret".to_owned(), "token".to_owned())
    }

    fn authorise(oauth: &mut OAuth, query: &str) -> Result<Url, Refused> {
        oauth.authorise(query).map(|back| back.parse().unwrap())
    }

    fn exchange(oauth: &mut OAuth, body: &str) -> Result<Value, Refused> {
        let reply = oauth.exchange(&pairs(body.as_bytes()))?;
        Ok(serde_json::from_slice(&reply.body).unwrap())
    }

    fn code_of(back: &Url) -> String {
        back.query_pairs().find(|(key, _)| key == "code").unwrap().1.into_owned()
    }

    #[test]
    fn consent_leads_back_with_a_code_and_the_state() {
        let mut oauth = oauth();
        let query = "client_id=app&state=a%26b&redirect_uri=https%3A%2F%2Fexample.com%2Fback";
        let back = authorise(&mut oauth, query).unwrap();
        assert!(code_of(&back).ends_with('='));
        assert_eq!(back.query_pairs().last().unwrap().1, "a&b");
        assert_eq!(back.host_str(), Some("example.com"));
        assert_eq!(authorise(&mut oauth, "client_id=app").unwrap_err().status, 400);
        oauth.redirect_url = Some("https://example.com/registered".to_owned());
        assert_eq!(authorise(&mut oauth, "client_id=app").unwrap().path(), "/registered");
        assert_eq!(authorise(&mut oauth, "client_id=other").unwrap_err().status, 400);
        oauth.is_denied = true;
        let back = authorise(&mut oauth, "client_id=app&state=s").unwrap();
        assert_eq!(back.query(), Some("error=access_denied&state=s"));
    }

    #[test]
    fn a_code_is_exchanged_once() {
        let mut oauth = oauth();
        let code = oauth.issue_code().replace('=', "%3D");
        let body = format!("code={code}&client_id=app&client_secret=secret");
        let wrong = exchange(&mut oauth, &body.replace("secret=secret", "secret=no"));
        assert_eq!(wrong.unwrap_err().status, 401);
        let given = exchange(&mut oauth, &body).unwrap();
        let expected = json!({"token_type": "Bearer", "token": "token", "access_token": "token"});
        assert_eq!(given, expected);
        assert_eq!(exchange(&mut oauth, &body).unwrap_err().message, "Unauthorized Code");
    }
}
