//! The client against a server on loopback that answers from a list.

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rstest::rstest;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::intercom::Cursor;
use crate::model::{ManualClock, RecordId, Source};

const NOW: i64 = 1_790_000_000;

/// What the server answers: a status, headers, a body. Status 0 is silence.
type Reply = (u16, Vec<(&'static str, String)>, String);

#[derive(Clone, Default)]
struct Server {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<Mutex<Vec<(String, HeaderMap, String)>>>,
}

async fn answer(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = String::from_utf8(body.to_vec()).unwrap();
    server.requests.lock().unwrap().push((format!("{method} {uri}"), headers, text));
    let reply = server.replies.lock().unwrap().pop_front();
    let (status, headers, body) = reply.unwrap_or((599, vec![], String::new()));
    if status == 0 {
        return std::future::pending().await;
    }
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

impl Server {
    /// A server with these answers and a client of it that hardly waits between attempts.
    async fn start(replies: Vec<Reply>) -> (Self, IntercomClient) {
        Self::start_with(replies, Duration::from_secs(20)).await
    }

    async fn start_with(replies: Vec<Reply>, timeout: Duration) -> (Self, IntercomClient) {
        let server = Self { replies: Arc::new(Mutex::new(replies.into())), ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let settings = IntercomSettings {
            timeout,
            backoff_base: Duration::from_millis(1),
            ..IntercomSettings::new(base_url, SecretString::from("token"))
        };
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)));
        (server, IntercomClient::new(settings, clock).unwrap())
    }

    fn calls(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|(line, ..)| line.clone()).collect()
    }
}

fn ok(body: Value) -> Reply {
    (200, vec![], body.to_string())
}

fn status(status: u16) -> Reply {
    (status, vec![], String::new())
}

fn error(status: u16, code: &str) -> Reply {
    let body = json!({"type": "error.list", "errors": [{"code": code, "message": "no"}]});
    (status, vec![], body.to_string())
}

fn me() -> Value {
    json!({"type": "admin", "id": "991267390", "email_verified": true,
        "app": {"id_code": "abc123def", "name": "MyApp", "timezone": "Asia/Bangkok", "region": "US"}})
}

fn id(text: &str) -> RecordId {
    text.parse().unwrap()
}

#[tokio::test]
async fn sends_the_headers_that_intercom_asks_for() {
    let (server, client) = Server::start(vec![ok(me())]).await;
    let me = client.me(Lane::Live).await.unwrap();
    assert_eq!((me.admin_id.as_str(), me.app_id.as_str()), ("991267390", "abc123def"));
    let (line, headers, _) = server.requests.lock().unwrap()[0].clone();
    assert_eq!(line, "GET /me");
    assert_eq!(headers["authorization"], "Bearer token");
    assert_eq!(headers["accept"], "application/json");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["intercom-version"], "2.11");
}

#[tokio::test]
async fn reads_pages_until_there_is_no_next() {
    let contact = |id: &str| json!({"type": "contact", "id": id, "updated_at": 5});
    let first = json!({"data": [contact("a"), {"type": "contact"}], "total_count": 3,
        "pages": {"next": {"page": 2, "starting_after": "Wz=="}, "per_page": "150"}});
    let last = json!({"data": [contact("b")], "total_count": 3, "pages": {"page": 2}});
    let (server, client) = Server::start(vec![ok(first), ok(last)]).await;
    let page = client.contacts_page(Lane::Bulk, None).await.unwrap();
    assert_eq!((page.snapshots.len(), page.unusable, page.total), (1, 1, Some(3)));
    let began = Timestamp::from_seconds(NOW);
    assert_eq!(page.snapshots[0].version.source, Source::Read { began });
    assert_eq!(page.snapshots[0].version.at, Timestamp::from_seconds(5));
    let page = client.contacts_page(Lane::Bulk, page.next.as_ref()).await.unwrap();
    assert_eq!((page.snapshots[0].key.to_string().as_str(), page.next), ("contact:b", None));
    assert_eq!(
        server.calls(),
        ["GET /contacts?per_page=150", "GET /contacts?per_page=150&starting_after=Wz%3D%3D"]
    );
}

#[tokio::test]
async fn a_contact_that_says_it_is_gone_is_not_live() {
    let replies = ["archived", "deleted"].map(|flag| ok(json!({"id": "c1", flag: true})));
    let (_server, client) = Server::start(replies.to_vec()).await;
    for expected in ["archived", "deleted"] {
        let snapshot = client.contact(Lane::Live, &id("c1")).await.unwrap();
        assert_eq!(snapshot.liveness.to_string(), expected);
    }
}

#[tokio::test]
async fn a_page_that_is_its_own_next_is_an_error() {
    let page = json!({"data": [], "pages": {"next": {"starting_after": "same"}}});
    let (_server, client) = Server::start(vec![ok(page), ok(json!({"type": "list"}))]).await;
    let cursor = Cursor::from_text("same");
    let error = client.contacts_page(Lane::Bulk, cursor.as_ref()).await.unwrap_err();
    assert!(matches!(error, IntercomError::Malformed { .. }), "{error}");
    // An answer without a list is not an empty list.
    let error = client.contacts_page(Lane::Bulk, None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "intercom's answer to /contacts cannot be read: it holds no list"
    );
}

#[tokio::test]
async fn asks_for_whole_days_when_it_asks_for_updates() {
    let page = json!({"data": [], "total_count": 0, "pages": {"next": null}});
    let (server, client) = Server::start(vec![ok(page)]).await;
    let since = Timestamp::from_seconds(NOW);
    let cursor = Cursor::from_text("x");
    let _ = client.updated_contacts_page(Lane::Bulk, since, cursor.as_ref()).await.unwrap();
    let (line, _, body) = server.requests.lock().unwrap()[0].clone();
    assert_eq!(line, "POST /contacts/search");
    let expected = json!({
        "query": {"operator": "OR", "value": [
            {"field": "updated_at", "operator": "=", "value": NOW},
            {"field": "updated_at", "operator": ">", "value": NOW},
        ]},
        "pagination": {"per_page": 150, "starting_after": "x"},
        "sort": {"field": "updated_at", "order": "descending"},
    });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
}

#[rstest]
#[case(status(429))]
#[case((429, vec![("retry-after", "0".to_owned())], String::new()))]
#[case((429, vec![("x-ratelimit-reset", NOW.to_string())], String::new()))]
#[case(status(500))]
#[case(status(503))]
#[case((404, vec![], "<html>nginx</html>".to_owned()))]
#[case(status(200))]
#[tokio::test]
async fn what_passes_is_tried_again(#[case] reply: Reply) {
    let (server, client) = Server::start(vec![reply.clone(), reply, ok(me())]).await;
    client.me(Lane::Live).await.unwrap();
    assert_eq!(server.calls().len(), 3);
}

#[tokio::test]
async fn silence_is_tried_again() {
    let timeout = Duration::from_millis(200);
    let replies = vec![status(0), ok(me()), ok(me()), ok(me())];
    let (server, client) = Server::start_with(replies, timeout).await;
    client.me(Lane::Live).await.unwrap();
    assert!(server.calls().len() > 1);
}

#[tokio::test]
async fn the_wait_that_intercom_asks_for_holds_for_all_calls() {
    let later = (NOW + 40).to_string();
    let cases = [("retry-after", "50".to_owned(), 49..=51), ("x-ratelimit-reset", later, 39..=41)];
    for (header, value, expected) in cases {
        let (server, client) =
            Server::start(vec![(429, vec![(header, value)], String::new())]).await;
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.me(Lane::Live).await.map(|_| ()) }
        });
        let blocked = loop {
            match client.limit_status().blocked_for {
                Some(wait) => break wait,
                None => tokio::task::yield_now().await,
            }
        };
        assert!(expected.contains(&blocked.as_secs()), "{header}: {blocked:?}");
        assert_eq!(server.calls().len(), 1);
        call.abort();
    }
}

#[tokio::test]
async fn gives_up_after_six_attempts() {
    let (server, client) = Server::start(vec![status(429); 9]).await;
    let error = client.me(Lane::Live).await.unwrap_err();
    assert!(matches!(error, IntercomError::RateLimited { retry_after: None }), "{error}");
    assert_eq!(server.calls().len(), 6);
    let (server, client) = Server::start(vec![status(502); 9]).await;
    let error = client.me(Lane::Live).await.unwrap_err();
    assert!(error.is_service_down(), "{error}");
    assert_eq!(server.calls().len(), 6);
}

#[rstest]
#[case(error(401, "unauthorized"))]
#[case(error(401, "token_unauthorized"))]
#[case(error(403, "api_plan_restricted"))]
#[case(error(404, "not_found"))]
#[case(error(400, "parameter_invalid"))]
#[case((200, vec![], "no json".to_owned()))]
#[tokio::test]
async fn what_would_fail_again_is_sent_once(#[case] reply: Reply) {
    let (server, client) = Server::start(vec![reply, ok(me())]).await;
    let error = client.contact(Lane::Live, &id("c1")).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error}");
    assert!(!error.is_service_down(), "{error}");
    assert_eq!(server.calls(), ["GET /contacts/c1"]);
}

#[tokio::test]
async fn an_unreachable_service_is_down() {
    let settings = IntercomSettings {
        backoff_base: Duration::from_millis(1),
        ..IntercomSettings::new("http://127.0.0.1:1".parse().unwrap(), SecretString::from("token"))
    };
    let clock = Arc::new(ManualClock::at(Timestamp::EPOCH));
    let client = IntercomClient::new(settings, clock).unwrap();
    let error = client.me(Lane::Live).await.unwrap_err();
    assert!(error.is_service_down(), "{error}");
    assert!(!format!("{client:?}").contains("token"));
}

#[tokio::test]
async fn headers_correct_the_rate_limit() {
    let headers = vec![
        ("x-ratelimit-limit", "1667".to_owned()),
        ("x-ratelimit-remaining", "1600".to_owned()),
        ("x-ratelimit-reset", (NOW + 7).to_string()),
    ];
    let (_server, client) = Server::start(vec![(200, headers, me().to_string())]).await;
    assert_eq!(client.limit_status().limit, 50);
    client.me(Lane::Live).await.unwrap();
    let status = client.limit_status();
    assert_eq!((status.limit, status.remaining, status.per_seconds), (1667, 1600, 10.0));
}

#[tokio::test(start_paused = true)]
async fn a_scroll_starts_once_in_a_minute() {
    let end = json!({"type": "list", "data": [], "scroll_param": "s"});
    let (server, client) = Server::start(vec![ok(end.clone()), ok(end)]).await;
    let scroll = async || client.companies_scroll(Lane::Bulk, None).await;
    let _ = scroll().await.unwrap();
    let error = scroll().await.unwrap_err();
    assert!(matches!(error, IntercomError::ScrollTooSoon), "{error}");
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    let _ = scroll().await.unwrap();
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn a_scroll_whose_answer_is_lost_is_not_continued() {
    let page =
        json!({"type": "list", "data": [{"type": "company", "id": "k1"}], "scroll_param": "s"});
    let end = json!({"type": "list", "data": [], "scroll_param": "s"});
    let replies = vec![ok(page), status(429), ok(end), status(502)];
    let (server, client) = Server::start(replies).await;
    let page = client.companies_scroll(Lane::Bulk, None).await.unwrap();
    assert_eq!((page.snapshots.len(), page.next.as_deref()), (1, Some("s")));
    // A refusal for rate is repeated: nothing has moved.
    let end = client.companies_scroll(Lane::Bulk, page.next.as_deref()).await.unwrap();
    assert_eq!(end.next, None);
    let error = client.companies_scroll(Lane::Bulk, Some("s")).await.unwrap_err();
    assert!(error.is_service_down(), "{error}");
    assert_eq!(server.calls().len(), 4);
    assert_eq!(server.calls()[1], "GET /companies/scroll?scroll_param=s");
}

#[tokio::test]
async fn a_scroll_that_is_not_found_has_expired_whatever_the_words() {
    let gone = error(404, "not_found");
    let (_server, client) = Server::start(vec![gone.clone(), gone]).await;
    let error = client.companies_scroll(Lane::Bulk, Some("s")).await.unwrap_err();
    assert!(matches!(error, IntercomError::ScrollExpired), "{error}");
    // Without one to go on with it is the call that is not there.
    let error = client.companies_scroll(Lane::Bulk, None).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[tokio::test]
async fn a_scroll_of_another_tool_is_told_from_a_failure() {
    let (_server, client) = Server::start(vec![error(400, "scroll_exists")]).await;
    let error = client.companies_scroll(Lane::Bulk, None).await.unwrap_err();
    assert!(matches!(error, IntercomError::ScrollBusy), "{error}");
}

#[tokio::test]
async fn reads_lists_under_either_name() {
    let replies = vec![
        ok(json!({"type": "list", "data": [{"type": "tag", "id": "1", "name": "VIP"}]})),
        ok(json!({"type": "tag.list", "tags": [{"type": "tag", "id": "2", "name": "Old"}]})),
        ok(json!({"companies": [{"id": "k1"}], "pages": {"page": 1, "total_pages": 2}})),
        ok(json!({"data": [{"id": "k2"}], "pages": {"page": 2, "total_pages": 2}})),
        ok(
            json!({"data": [{"id": "k3"}], "pages": {"page": 1, "total_pages": 1}, "total_count": 1}),
        ),
        ok(json!({"type": "company", "id": "k4"})),
        ok(json!({"type": "conversation.list", "conversations": []})),
    ];
    let (server, client) = Server::start(replies).await;
    let lane = Lane::Bulk;
    assert_eq!(client.tags(lane).await.unwrap()[0].body, json!({"id": "1", "name": "VIP"}));
    assert_eq!(client.contact_tags(lane, &id("c")).await.unwrap().len(), 1);
    assert_eq!(client.contact_companies(lane, &id("c/1")).await.unwrap().len(), 2);
    let list = client.companies_list_page(lane, 1).await.unwrap();
    assert_eq!((list.snapshots.len(), list.next, list.total), (1, None, Some(1)));
    assert_eq!(client.company(lane, &id("k4")).await.unwrap().key.to_string(), "company:k4");
    client.conversations_readable(lane).await.unwrap();
    assert_eq!(
        server.calls(),
        [
            "GET /tags",
            "GET /contacts/c/tags",
            "GET /contacts/c%2F1/companies?page=1&per_page=60",
            "GET /contacts/c%2F1/companies?page=2&per_page=60",
            "POST /companies/list?page=1&per_page=60",
            "GET /companies/k4",
            "GET /conversations?per_page=1",
        ]
    );
    let error = client.contact(lane, &id("..")).await.unwrap_err();
    assert!(error.is_not_found());
}
