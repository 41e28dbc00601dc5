//! Events, tags, companies and what hangs on contacts, over HTTP.

use super::*;

async fn with_contact() -> (Client, String) {
    let client = Client::start(IntercomOptions::default()).await;
    let ann = json!({"email": "ann@example.com", "external_id": "cust-1"});
    let id = client.sandbox.create_contact(ann).unwrap().id;
    (client, id)
}

#[tokio::test]
async fn events_are_taken_once_listed_by_pages_and_summed_up() {
    let (client, ann) = with_contact().await;
    let event = |name: &str, at: i64| json!({"event_name": name, "created_at": at, "id": ann});
    for number in 0..5 {
        let answer = client.post("/events", event("order", NOW - number)).await;
        assert_eq!((answer.status, answer.body), (202, Value::Null));
    }
    assert_eq!(client.post("/events", event("order", NOW)).await.status, 202);
    client.post("/events", event("refund", NOW)).await;
    client.post("/events", event("order", NOW - 91 * 86_400)).await;
    let mut path = format!("/events?type=user&intercom_user_id={ann}&per_page=2");
    let mut names = Vec::new();
    loop {
        let page = client.get(&path).await.body;
        for event in page["events"].as_array().unwrap() {
            names.push(event["event_name"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["pages"]["next"].as_str() else { break };
        path = next.trim_start_matches("https://api.intercom.io").to_owned();
    }
    names.sort();
    assert_eq!(names, ["order", "order", "order", "order", "order", "refund"]);
    let summary = client.get("/events?type=user&user_id=cust-1&summary=true").await.body;
    assert_eq!(summary["events"][0]["count"], 6);
    let nobody = json!({"event_name": "order", "created_at": NOW, "email": "nobody@example.com"});
    assert_eq!(client.post("/events", nobody).await.status, 404);
    let handed_in = json!({"user_id": "cust-1", "event_summaries": {"event_name": "visit", "count": 7, "first": NOW, "last": NOW}});
    assert_eq!(client.post("/events/summaries", handed_in).await.status, 200);
    let summary =
        client.get(&format!("/events?type=user&intercom_user_id={ann}&summary=true")).await.body;
    assert_eq!(summary["events"][2]["count"], 7);
}

#[tokio::test]
async fn an_event_keeps_ten_keys_and_fires_once() {
    let (client, ann) = with_contact().await;
    let metadata: Value =
        (0..12).map(|n| (format!("k{n:02}"), json!(n))).collect::<serde_json::Map<_, _>>().into();
    let at = Timestamp::from_seconds(NOW);
    let first = client.sandbox.submit_event(&ann, "order", at, &metadata).unwrap();
    let item = &first.notifications[0]["data"]["item"];
    assert_eq!(item["metadata"].as_object().map(serde_json::Map::len), Some(10));
    assert_eq!(first.notifications[0]["topic"], "event.created");
    let again = client.sandbox.submit_event(&ann, "order", at, &metadata).unwrap();
    assert_eq!(again.notifications.len(), 0);
}

#[tokio::test]
async fn tags_are_made_renamed_put_on_companies_and_deleted() {
    let (client, _) = with_contact().await;
    let made = client.post("/tags", json!({"name": "VIP"})).await.body;
    assert_eq!(client.post("/tags", json!({"name": "vip"})).await.body["id"], made["id"]);
    let renamed = client.post("/tags", json!({"id": made["id"], "name": "Very"})).await.body;
    assert_eq!(renamed["name"], "Very");
    let company =
        client.post("/companies", json!({"company_id": "acme", "name": "Acme"})).await.body;
    let on = json!({"name": "Very", "companies": [{"company_id": "acme"}]});
    client.post("/tags", on).await;
    let path = format!("/companies/{}", company["id"].as_str().unwrap());
    assert_eq!(client.get(&path).await.body["tags"]["tags"][0]["name"], "Very");
    let tag = format!("/tags/{}", made["id"].as_str().unwrap());
    let refused = client.send(client.request(Method::DELETE, &tag)).await;
    assert_eq!(error_of(&refused).1, "tag_has_dependent_objects");
    client
        .post(
            "/tags",
            json!({"name": "Very", "companies": [{"company_id": "acme", "untag": true}]}),
        )
        .await;
    assert_eq!(client.send(client.request(Method::DELETE, &tag)).await.status, 200);
    assert_eq!(client.get("/tags").await.body["data"], json!([]));
}

#[tokio::test]
async fn companies_are_found_updated_and_deleted() {
    let (client, ann) = with_contact().await;
    let made = client
        .post("/companies", json!({"company_id": "acme", "name": "Acme", "size": 7}))
        .await
        .body;
    let id = made["id"].as_str().unwrap();
    let again = client.post("/companies", json!({"company_id": "acme", "plan": "pro"})).await.body;
    assert_eq!(
        (&again["id"], &again["size"], &again["plan"]["name"]),
        (&made["id"], &json!(7), &json!("pro"))
    );
    let put =
        client.request(Method::PUT, &format!("/companies/{id}")).json(&json!({"name": "Acme 2"}));
    assert_eq!(client.send(put).await.body["name"], "Acme 2");
    assert_eq!(client.get("/companies?company_id=acme").await.body["id"], made["id"]);
    assert_eq!(client.get("/companies?name=Acme%202").await.body["id"], made["id"]);
    client.sandbox.attach_company(&ann, id).unwrap();
    let members = client.get(&format!("/companies/{id}/contacts")).await.body;
    assert_eq!((&members["total_count"], &members["data"][0]["id"]), (&json!(1), &json!(ann)));
    let gone = client.send(client.request(Method::DELETE, &format!("/companies/{id}"))).await.body;
    assert_eq!(gone, json!({"id": id, "object": "company", "deleted": true}));
    assert_eq!(client.get(&format!("/companies/{id}")).await.status, 404);
    assert_eq!(client.sandbox.contact(&ann).unwrap()["companies"]["total_count"], 0);
}

#[tokio::test]
async fn a_scroll_can_expire_and_lose_its_place() {
    let client = Client::start(IntercomOptions::default()).await;
    client.sandbox.seed(&Seed::new(700)).unwrap();
    let first = client.get("/companies/scroll").await.body;
    client.sandbox.expire_scroll();
    let path =
        format!("/companies/scroll?scroll_param={}", first["scroll_param"].as_str().unwrap());
    assert_eq!(error_of(&client.get(&path).await).2, "scroll parameter not found");
    client.sandbox.fail_after(1, "GET /companies/scroll", Failure::LostScroll, 1);
    let first = client.get("/companies/scroll").await.body;
    let path =
        format!("/companies/scroll?scroll_param={}", first["scroll_param"].as_str().unwrap());
    assert_eq!(error_of(&client.get(&path).await).2, "Please restart the scroll operation");
    assert_eq!(client.get("/companies/scroll").await.status, 200);
}

#[tokio::test]
async fn contacts_have_segments_subscriptions_and_notes() {
    let (client, ann) = with_contact().await;
    let path = |what: &str| format!("/contacts/{ann}/{what}");
    let segments = client.get(&path("segments")).await.body;
    assert_eq!(segments["data"][0]["name"], "All users");
    let out = json!({"id": "1943066", "consent_type": "opt_out"});
    assert_eq!(client.post(&path("subscriptions"), out).await.body["id"], "1943066");
    let held = client.get(&path("subscriptions")).await.body;
    assert_eq!(held["data"].as_array().map(Vec::len), Some(1));
    let back = client.request(Method::DELETE, &path("subscriptions/1943066"));
    assert_eq!(client.send(back).await.status, 200);
    assert_eq!(client.get(&path("subscriptions")).await.body["data"], json!([]));
    let topics: Vec<String> = client
        .sandbox
        .set_subscription(&ann, "1943067", "opt_in")
        .unwrap()
        .notifications
        .iter()
        .map(|n| n["topic"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(topics, ["granular.subscribe"]);
    client.post(&path("notes"), json!({"body": "met at a fair"})).await;
    assert_eq!(client.get(&path("notes")).await.body["data"][0]["body"], "<p>met at a fair</p>");
    assert_eq!(client.get("/contacts/find_by_external_id/cust-1").await.status, 404, "since 2.13");
    let found = client.request(Method::GET, "/contacts/find_by_external_id/cust-1");
    let found = client.send(found.header("Intercom-Version", "2.13")).await;
    assert_eq!(found.body["id"], ann.as_str());
}

#[tokio::test]
async fn a_merged_contact_names_its_survivor_since_2_16() {
    let (client, ann) = with_contact().await;
    let lead = client.sandbox.create_contact(json!({"role": "lead"})).unwrap().id;
    client.sandbox.merge(&lead, &ann).unwrap();
    let path = format!("/contacts/{lead}");
    assert_eq!(client.get(&path).await.status, 404);
    let request = client.request(Method::GET, &path).header("Intercom-Version", "2.16");
    let answer = client.send(request).await;
    assert_eq!(answer.status, 410);
    assert_eq!(answer.headers["link"], format!("</contacts/{ann}>; rel=\"canonical\"").as_str());
}

#[tokio::test]
async fn attributes_are_made_before_they_are_written() {
    let (client, ann) = with_contact().await;
    let write = || {
        let body = json!({"custom_attributes": {"plan_tier": "pro"}});
        client.request(Method::PUT, &format!("/contacts/{ann}")).json(&body)
    };
    assert_eq!(client.send(write()).await.status, 400);
    let plan = json!({"name": "plan_tier", "model": "contact", "data_type": "string"});
    let made = client.post("/data_attributes", plan.clone()).await.body;
    assert_eq!(made["full_name"], "custom_attributes.plan_tier");
    assert_eq!(client.post("/data_attributes", plan).await.status, 400);
    assert_eq!(client.send(write()).await.status, 200);
    let path = format!("/data_attributes/{}", made["id"]);
    let archive = client.request(Method::PUT, &path).json(&json!({"archived": true}));
    assert_eq!(client.send(archive).await.status, 200);
}

#[tokio::test]
async fn one_export_at_a_time() {
    let client = Client::start(IntercomOptions::default()).await;
    let body = json!({"created_at_after": NOW - 86_400, "created_at_before": NOW});
    let begun = client.post("/export/content/data", body.clone()).await.body;
    let second = client.post("/export/content/data", body.clone()).await;
    assert_eq!(error_of(&second).2, "Exceeded rate limit of 1 pending message data export jobs");
    client.clock.advance(5);
    let path = format!("/export/content/data/{}", begun["job_identifier"].as_str().unwrap());
    assert_eq!(client.get(&path).await.body["status"], "completed");
    assert_eq!(client.post("/export/content/data", body).await.status, 200);
}

#[tokio::test]
async fn people_segments_and_kinds_of_messages_are_listed() {
    let (client, _) = with_contact().await;
    assert_eq!(client.get("/admins").await.body["admins"].as_array().map(Vec::len), Some(2));
    assert_eq!(client.get("/admins/991267390").await.body["name"], "Sandbox Admin");
    assert_eq!(client.get("/teams").await.body["teams"][0]["name"], "Support");
    let segments = client.get("/segments?include_count=true").await.body;
    assert_eq!(
        (&segments["type"], &segments["segments"][0]["count"]),
        (&json!("segment.list"), &json!(1))
    );
    assert_eq!(
        client.get("/subscription_types").await.body["data"].as_array().map(Vec::len),
        Some(2)
    );
}
