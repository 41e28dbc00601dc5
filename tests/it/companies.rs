//! Companies reach Brevo in few calls, once each, and contacts are linked to them.

use serde_json::{Value, json};
use tajo::model::{Clock as _, SystemClock};
use tajo::sandbox::Seed;
use tajo::sandbox::brevo::Limits;
use tajo::store::SyncKind;

use crate::support::{App, until};

/// Companies by name and size, and every contact linked to all of its own.
const RULES: &str = r#"
fn map_contact(contact, brevo) {
    if contact.email == () { return brevo.skip("no e-mail address"); }
    brevo.email = contact.email;
    for company in contact.companies {
        if company.industry != "unlinked" { brevo.link_company(company.id); }
    }
}

fn map_company(company, brevo) {
    if company.name == () { return brevo.skip("no name"); }
    brevo.name = company.name;
    brevo.industry = company.industry;
    brevo.plan_tier = company.plan.name;
}
"#;

/// How many requests outside of contacts and events Brevo has answered: those that count by the hour.
fn hourly(app: &App) -> usize {
    app.sandbox.brevo.log().count(|call| {
        let path = call.path.as_str();
        !path.starts_with("/v3/contacts")
            && !path.starts_with("/v3/events")
            && path.starts_with("/v3/")
    })
}

fn calls(app: &App, method: &str, path: &str) -> usize {
    app.sandbox.brevo.log().count(|call| call.method == method && call.path.starts_with(path))
}

fn company(app: &App, name: &str) -> Value {
    let all = app.sandbox.brevo.companies();
    let mut named = all.into_iter().filter(|company| company["attributes"]["name"] == name);
    let found = named.next().unwrap_or_else(|| panic!("brevo has no company `{name}`"));
    assert!(named.next().is_none(), "brevo has two companies `{name}`");
    found
}

/// Makes a company in Intercom, or changes it; answers its id. It has somebody in it, without whom
/// Intercom lists no company, and who is nobody to Brevo.
fn put(app: &App, company: Value) -> String {
    let intercom = &app.sandbox.intercom;
    let member = format!("member of {}", company["company_id"]);
    let id = intercom.create_company(company).unwrap().id;
    if let Ok(member) = intercom.create_contact(json!({"external_id": member, "role": "user"})) {
        intercom.attach_company(&member.id, &id).unwrap();
    }
    id
}

fn acme(industry: &str) -> Value {
    json!({"company_id": "acme", "name": "Acme", "industry": industry})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_of_many_companies_is_one_import_and_within_the_hourly_limit() {
    let app = App::builder()
        .with_script("mapping.rhai", RULES)
        .with_seed(Seed::new(600).companies(450))
        .with_real_limits()
        .start()
        .await;
    app.sync().await;
    let companies = app.sandbox.brevo.companies();
    assert!(companies.len() > 300, "{} companies", companies.len());
    assert_eq!(companies.len() as u64, app.status().await.companies_synced);
    let bearing = |company: &&Value| company["attributes"]["intercom_company_id"].is_string();
    assert_eq!(companies.iter().filter(bearing).count(), companies.len());
    assert_eq!(calls(&app, "POST", "/v3/companies/import"), 2, "companies, then links");
    assert!(hourly(&app) < 50, "{} calls an hour", hourly(&app));
    assert_eq!(app.sandbox.brevo.throttled(), 0);
    let linked: usize = companies
        .iter()
        .map(|company| company["linkedContactsIds"].as_array().unwrap().len())
        .sum();
    assert!(linked > 0);
    // Nothing has changed, so nothing is written.
    let before = hourly(&app);
    app.sync().await;
    assert_eq!(hourly(&app), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_company_is_one_call() {
    let app = App::builder().with_script("mapping.rhai", RULES).start().await;
    put(&app, acme("tools"));
    app.sync().await;
    assert_eq!(company(&app, "Acme")["attributes"]["industry"], "tools");
    let before = hourly(&app);
    put(&app, acme("toys"));
    app.sync().await;
    assert_eq!(company(&app, "Acme")["attributes"]["industry"], "toys");
    assert_eq!(hourly(&app) - before, 1);
    let status = app.status().await;
    assert_eq!((status.records.dead, status.companies.counts.synced), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_are_linked_and_unlinked_and_what_others_linked_stays() {
    let app = App::builder().with_script("mapping.rhai", RULES).start().await;
    let (intercom, brevo) = (&app.sandbox.intercom, &app.sandbox.brevo);
    let id = put(&app, acme("tools"));
    app.sync().await;
    let ann = intercom.create_contact(json!({"email": "ann@example.com", "role": "user"})).unwrap();
    intercom.attach_company(&ann.id, &id).unwrap();
    app.sync().await;
    let number = brevo.contact("ann@example.com").unwrap()["id"].clone();
    assert_eq!(company(&app, "Acme")["linkedContactsIds"], json!([number]));
    // Somebody else links another contact.
    let other = brevo.put_contact(&json!({"email": "bob@example.com"})).unwrap();
    let brevo_id = company(&app, "Acme")["id"].as_str().unwrap().to_owned();
    brevo.link_contact(&brevo_id, other);
    intercom.detach_company(&ann.id, &id).unwrap();
    app.sync().await;
    assert_eq!(company(&app, "Acme")["linkedContactsIds"], json!([other]));
}

/// Its links go with it: there is nothing to unlink, and nobody to refuse it.
#[tokio::test(flavor = "multi_thread")]
async fn the_links_of_a_contact_that_is_gone_are_no_dead_letters() {
    let app = App::builder().with_script("mapping.rhai", RULES).start().await;
    let (intercom, brevo) = (&app.sandbox.intercom, &app.sandbox.brevo);
    let id = put(&app, acme("tools"));
    let mut people = Vec::new();
    for name in ["ann", "bob"] {
        let contact = json!({"email": format!("{name}@example.com"), "role": "user"});
        let contact = intercom.create_contact(contact).unwrap().id;
        intercom.attach_company(&contact, &id).unwrap();
        people.push(contact);
    }
    app.sync().await;
    assert_eq!(app.status().await.links.counts.linked, 2);
    // One is deleted in Intercom, and by the engine in Brevo.
    app.fire(intercom.delete(&people[0]).unwrap()).await;
    assert_eq!(brevo.contact("ann@example.com"), None);
    // Of the other the engine is not told before he is to be unlinked.
    assert!(brevo.delete_contact("bob@example.com"));
    app.fire(intercom.detach_company(&people[1], &id).unwrap()).await;
    let status = app.status().await;
    assert_eq!((status.links.counts.linked, status.dead_letters), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn how_many_contacts_a_company_has_follows_who_comes_and_goes() {
    let rules = "fn map_contact(contact, brevo) { brevo.email = contact.email; }\n\
                 fn map_company(company, brevo) {\n    brevo.name = company.name;\n    \
                 brevo.people = company.contacts_count;\n}\n";
    let app = App::builder().with_script("mapping.rhai", rules).start().await;
    let intercom = &app.sandbox.intercom;
    let acme = intercom.create_company(acme("tools")).unwrap().id;
    let ann = app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    let bob = app.create(json!({"email": "bob@example.com", "role": "user"})).await;
    intercom.attach_company(&ann, &acme).unwrap();
    app.sync().await;
    let people = || company(&app, "Acme")["attributes"]["people"].clone();
    assert_eq!(people(), 1);
    app.fire(intercom.attach_company(&bob, &acme).unwrap()).await;
    assert_eq!(people(), 2);
    app.fire(intercom.detach_company(&ann, &acme).unwrap()).await;
    assert_eq!(people(), 1);
    app.fire(intercom.delete(&bob).unwrap()).await;
    assert_eq!(people(), 0);
    assert_eq!(app.status().await.dead_letters, 0);
}

/// What a company's tags say of its contacts, and of itself.
const TAGGED_CONTACTS: &str = r#"
fn map_contact(contact, brevo) {
    if contact.email == () { return brevo.skip("no e-mail address"); }
    brevo.email = contact.email;
    if contact.company.tags.contains("VIP") { brevo.add_to_list("VIP accounts"); }
}
"#;
const TAGGED_COMPANIES: &str = r#"
fn map_company(company, brevo) {
    brevo.name = company.name;
    brevo.tier = if "VIP" in company.tags { "gold" } else { "none" };
    brevo.topics = `${company.tags.map(|name| name)}`;
}
"#;

/// An engine with those rules, and Acme with Ann in it; answers Acme's id and the list's number.
async fn tagged() -> (App, String, i64) {
    tagged_by(TAGGED_CONTACTS).await
}

async fn tagged_by(contacts: &str) -> (App, String, i64) {
    let app = App::builder()
        .with_script("mapping.rhai", contacts)
        .with_script("companies.rhai", TAGGED_COMPANIES)
        .start()
        .await;
    let list = app.sandbox.brevo.create_list("VIP accounts");
    let intercom = &app.sandbox.intercom;
    let acme = intercom.create_company(acme("tools")).unwrap().id;
    let ann = intercom.create_contact(json!({"email": "ann@example.com", "role": "user"})).unwrap();
    intercom.attach_company(&ann.id, &acme).unwrap();
    app.sync().await;
    (app, acme, list)
}

/// What Brevo holds of Acme's tags, and the lists that Ann is on.
fn borne(app: &App) -> (String, String, Value) {
    let text = |name: &str| company(app, "Acme")["attributes"][name].as_str().unwrap().to_owned();
    let ann = app.sandbox.brevo.contact("ann@example.com").unwrap();
    (text("tier"), text("topics"), ann["listIds"].clone())
}

fn expect(app: &App, tier: &str, topics: &[&str], lists: &[i64]) {
    let topics = format!("{topics:?}");
    assert_eq!(borne(app), (tier.to_owned(), topics, json!(lists)));
}

fn catalogue_reads(app: &App) -> usize {
    app.sandbox.intercom.log().count(|call| call.method == "GET" && call.path == "/tags")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tags_of_a_company_are_names_to_its_rules_and_to_those_of_its_contacts() {
    let (app, acme, list) = tagged().await;
    let intercom = &app.sandbox.intercom;
    expect(&app, "none", &[], &[]);
    // Notifications name tags by id alone, and a tag that is new is in no catalogue that was read.
    app.fire(intercom.tag_company(&acme, "VIP").unwrap()).await;
    expect(&app, "gold", &["VIP"], &[list]);
    app.fire(intercom.tag_company(&acme, "churn risk").unwrap()).await;
    expect(&app, "gold", &["VIP", "churn risk"], &[list]);
    app.fire(intercom.untag_company(&acme, "VIP").unwrap()).await;
    expect(&app, "none", &["churn risk"], &[]);
    assert_eq!(app.status().await.dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_finds_the_tags_of_a_company_of_which_no_notification_told() {
    let (app, acme, list) = tagged().await;
    let intercom = &app.sandbox.intercom;
    intercom.tag_company(&acme, "churn risk").unwrap();
    app.sync().await;
    expect(&app, "none", &["churn risk"], &[]);
    intercom.tag_company(&acme, "VIP").unwrap();
    intercom.untag_company(&acme, "churn risk").unwrap();
    app.sync_as(SyncKind::Incremental).await;
    expect(&app, "gold", &["VIP"], &[list]);
    intercom.untag_company(&acme, "VIP").unwrap();
    app.sync().await;
    expect(&app, "none", &[], &[]);
    assert_eq!(app.status().await.dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_gets_another_name_reaches_the_companies_that_bear_it() {
    let (app, acme, list) = tagged().await;
    let intercom = &app.sandbox.intercom;
    let other = put(&app, json!({"company_id": "beta", "name": "Beta"}));
    intercom.tag_company(&acme, "trial").unwrap();
    intercom.tag_company(&other, "VIP").unwrap();
    app.sync().await;
    expect(&app, "none", &["trial"], &[]);
    assert_eq!(company(&app, "Beta")["attributes"]["tier"], "gold");
    intercom.rename_tag("VIP", "Regular").unwrap();
    intercom.rename_tag("trial", "VIP").unwrap();
    app.sync_as(SyncKind::Incremental).await;
    expect(&app, "gold", &["VIP"], &[list]);
    assert_eq!(company(&app, "Beta")["attributes"]["tier"], "none");
    app.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_shape_the_tags_of_a_company_come_in_the_rules_see_names() {
    // Nobody is written to as often as this in ten minutes, so contacts have no part in it.
    let rules = "fn map_contact(contact, brevo) { brevo.email = contact.email; }";
    let (app, acme, _) = tagged_by(rules).await;
    let intercom = &app.sandbox.intercom;
    let vip = intercom.rename_tag("VIP", "VIP").unwrap().id;
    let now = SystemClock.now().seconds();
    let shapes = [
        json!({"tag_ids": [vip]}),
        json!({"tag_ids": []}),
        json!({"tags": {"type": "tag.list", "tags": [{"type": "tag", "id": vip, "name": "VIP"}]}}),
        json!({"tags": {"type": "tag.list", "tags": []}}),
        json!({"tags": [{"id": vip}]}),
        json!({"tags": []}),
        json!({"tags": null, "tag_ids": [vip]}),
    ];
    for (step, shape) in shapes.iter().enumerate() {
        let mut item = json!({"type": "company", "id": acme, "company_id": "acme", "name": "Acme",
            "plan": null, "custom_attributes": {}, "updated_at": now + 1 + step as i64});
        item.as_object_mut().unwrap().extend(shape.as_object().unwrap().clone());
        app.hand_in("company.updated", &item).await;
        app.drained().await;
        match step % 2 {
            0 => expect(&app, "gold", &["VIP"], &[]),
            _ => expect(&app, "none", &[], &[]),
        }
    }
    assert_eq!(app.status().await.dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_intercom_does_not_name_is_looked_up_once() {
    let (app, acme, list) = tagged().await;
    let (before, now) = (catalogue_reads(&app), SystemClock.now().seconds());
    for step in 0..4 {
        let item = json!({"type": "company", "id": acme, "company_id": "acme", "name": "Acme",
            "size": step, "plan": null, "custom_attributes": {}, "tag_ids": ["990000017"],
            "updated_at": now + 1 + step});
        app.hand_in("company.updated", &item).await;
        app.drained().await;
        expect(&app, "none", &[], &[]);
    }
    assert_eq!(catalogue_reads(&app) - before, 1);
    // Once it is named, what bears it hears of the name.
    let zed = app.sandbox.intercom.create_contact(json!({"external_id": "zed", "role": "user"}));
    let tagged = json!({"type": "contact_tag", "tag": {"type": "tag", "id": "990000017", "name": "VIP"},
        "contact": {"type": "contact", "id": zed.unwrap().id, "role": "user"}});
    app.hand_in("contact.user.tag.created", &tagged).await;
    app.drained().await;
    expect(&app, "gold", &["VIP"], &[list]);
    assert_eq!(app.status().await.dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_whose_creation_was_not_heard_of_is_found_again() {
    let mut app = App::builder().with_script("mapping.rhai", RULES).start().await;
    app.sandbox.brevo.reset_after_commit_next("POST /v3/companies", 1);
    put(&app, acme("tools"));
    app.sync().await;
    assert_eq!(company(&app, "Acme")["attributes"]["industry"], "tools");
    assert_eq!(calls(&app, "POST", "/v3/companies"), 1);
    // A store that was lost finds its companies again.
    app.lose_store().await;
    put(&app, acme("toys"));
    app.sync().await;
    assert_eq!(company(&app, "Acme")["attributes"]["industry"], "toys");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_without_companies_stops_nothing_else() {
    let app = App::builder().with_script("mapping.rhai", RULES).start().await;
    let brevo = &app.sandbox.brevo;
    brevo.forbid_companies(true);
    put(&app, acme("tools"));
    app.sync().await;
    app.create(json!({"email": "ann@example.com", "role": "user"})).await;
    assert!(brevo.contact("ann@example.com").is_some());
    let status = app.status().await;
    assert_eq!((status.records.dead, status.records.pending), (0, 0));
    let companies = &status.companies;
    assert_eq!((companies.counts.synced, companies.counts.withheld), (0, 1));
    assert!(companies.disabled.is_some() && status.links.disabled.is_some());
    let said = status.degraded.iter().filter(|reason| reason.contains("takes no companies"));
    assert_eq!(said.count(), 1, "{:?}", status.degraded);
    // Once it has them, what was left out follows.
    brevo.forbid_companies(false);
    app.engine().reconfigure(app.config()).unwrap();
    until("the company is in brevo", async || (!brevo.companies().is_empty()).then_some(())).await;
    app.drained().await;
    assert_eq!(app.status().await.degraded, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_that_brevo_refuses_is_a_dead_letter_with_its_line_and_stops_no_other() {
    let app = App::builder().with_script("mapping.rhai", RULES).start().await;
    app.sandbox.brevo.fail_next(
        "POST /v3/companies",
        400,
        json!({"code": "invalid_parameter", "message": "industry is not valid"}),
        1,
    );
    put(&app, acme("tools"));
    app.sync().await;
    let dead = app.engine().dead_letters(10).await.unwrap();
    assert_eq!((dead.len(), app.status().await.companies.counts.dead), (1, 1));
    assert_eq!(dead[0].origin.as_deref(), Some("scripts/mapping.rhai:13:10"));
    put(&app, json!({"company_id": "beta", "name": "Beta"}));
    app.sync().await;
    company(&app, "Beta");
    app.engine().retry_dead_letters(tajo::store::DeadLetterQuery::All).await.unwrap();
    app.drained().await;
    company(&app, "Acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_brevo_refuses_is_a_dead_letter_with_its_line_and_can_be_tried_again() {
    let app = App::builder().with_script("mapping.rhai", RULES).start().await;
    let (intercom, brevo) = (&app.sandbox.intercom, &app.sandbox.brevo);
    let id = put(&app, acme("tools"));
    let ann = intercom.create_contact(json!({"email": "ann@example.com", "role": "user"})).unwrap();
    intercom.attach_company(&ann.id, &id).unwrap();
    let refusal = json!({"code": "invalid_parameter", "message": "contact is not valid"});
    brevo.fail_next("PATCH /v3/companies/link-unlink/*", 400, refusal, 1_000);
    app.sync().await;
    let dead = app.engine().dead_letters(10).await.unwrap();
    assert_eq!(dead.len(), 1, "{dead:#?}");
    let record = format!("link:{}/{id}", ann.id);
    assert_eq!((dead[0].kind.as_str(), dead[0].record.as_deref()), ("link", Some(&*record)));
    assert_eq!(dead[0].origin.as_deref(), Some("scripts/mapping.rhai:6:51"));
    let links = async || {
        let links = app.status().await.links.counts;
        (links.linked, links.due, links.dead)
    };
    assert_eq!(links().await, (0, 0, 1));
    let tried = || calls(&app, "PATCH", "/v3/companies/link-unlink/");
    let before = tried();
    app.engine().retry_dead_letters(tajo::store::DeadLetterQuery::All).await.unwrap();
    app.drained().await;
    assert!(tried() > before, "it is tried again");
    assert_eq!(links().await, (0, 0, 1), "and refused again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_that_is_used_up_is_waited_for_without_a_429() {
    let app = App::builder().with_script("mapping.rhai", RULES).with_real_limits().start().await;
    let limits = Limits { other_per_hour: Some(4), ..Limits::default() };
    app.sandbox.brevo.set_limits(limits);
    for n in 0..3 {
        put(&app, json!({"company_id": format!("c{n}"), "name": format!("C{n}")}));
    }
    let request = tajo::engine::SyncRequest {
        kind: tajo::store::SyncKind::Full,
        resources: Vec::new(),
        since: None,
    };
    app.engine().request_sync(request).await.unwrap();
    until("the hour is used up", async || (hourly(&app) >= 4).then_some(())).await;
    app.create_without_waiting(json!({"email": "ann@example.com", "role": "user"})).await;
    until("contacts go on", async || app.sandbox.brevo.contact("ann@example.com")).await;
    assert_eq!(app.sandbox.brevo.throttled(), 0);
    app.assert_conserved().await;
}
