//! Which request does what.

use serde_json::{Value, json};

use super::attribute::AttributeBody;
use super::contact::{Contact, ContactBody, Identifier};
use super::import::{ImportBody, Job, ProcessStatus};
use super::list::{ListBody, MembersBody, Membership};
use super::reply::{Refusal, Reply};
use super::request::Request;
use super::state::Account;
use super::write::{Actor, Written};

/// `POST /contacts/batch` may answer nothing else since 30 October 2026 (facts: Brevo section 0).
const WITHDRAWN: &str = "This endpoint has been withdrawn, use POST /v3/contacts/import";

/// At most these numbers in `GET /contacts?ids=` (facts: Brevo section 2).
const MAX_IDS: usize = 20;

/// An answer, and the import that the request started, if it did.
type Outcome = Result<(Reply, Option<Job>), Refusal>;

/// Answers a request whose path, after `/v3`, is made of `segments`.
pub(super) fn answer(account: &mut Account, request: &Request, segments: &[&str]) -> Outcome {
    account.finish_company_imports(std::time::Instant::now());
    let ["contacts", "import"] = segments else {
        return plain(account, request, segments).map(|reply| (reply, None));
    };
    if request.method != "POST" {
        return Err(Refusal::method(&request.method));
    }
    let job = account.accept_import(request.json::<ImportBody>()?)?;
    Ok((Reply::json(202, &json!({"processId": job.process})), Some(job)))
}

fn plain(account: &mut Account, request: &Request, segments: &[&str]) -> Result<Reply, Refusal> {
    match (request.method.as_str(), segments) {
        ("GET", ["account"]) => Ok(Reply::ok(&account_json())),
        ("GET", ["processes", id]) => process(account, id),
        ("GET", ["processes"]) => {
            let all = account.processes.iter().map(|(id, process)| process.to_json(*id));
            let all: Vec<Value> = all.collect();
            let count = all.len();
            Ok(Reply::ok(
                &json!({"processes": request.page(10, 50)?.of(all.into_iter()), "count": count}),
            ))
        }
        (_, ["companies" | "crm", ..]) => account.crm(request, segments),
        (_, ["objects", ..]) => account.custom_objects(request, segments),
        ("POST", ["contacts", "doubleOptinConfirmation"]) => account.double_opt_in(request),
        ("POST", ["events"]) => account.post_event(request),
        ("GET", ["events"]) => account.list_events(request),
        ("POST", ["events", "batch"]) => account.post_events(request),
        (_, ["webhooks", inside @ ..]) => account.hooks.answer(request, inside),
        (_, ["contacts", "attributes" | "lists" | "folders" | "batch", ..]) => {
            catalogue_and_lists(account, request, segments)
        }
        ("GET", ["contacts"]) => contacts(account, request),
        ("POST", ["contacts"]) => create_contact(account, request),
        ("GET", ["contacts", id]) => {
            let id = identify(account, request, id)?;
            Ok(Reply::ok(&account.shown(id).ok_or_else(no_contact)?))
        }
        ("PUT", ["contacts", id]) => {
            let id = identify(account, request, id)?;
            let body: ContactBody = request.json()?;
            account.update(id, &body, Actor::Request(&request.label()))?;
            Ok(Reply::no_content())
        }
        ("DELETE", ["contacts", id]) => {
            account.delete(identify(account, request, id)?);
            Ok(Reply::no_content())
        }
        (method, ["account" | "events" | "contacts"] | ["processes" | "contacts", _])
        | (method, ["events", "batch"]) => Err(Refusal::method(method)),
        _ => Err(Refusal::not_found("Path not found")),
    }
}

fn catalogue_and_lists(
    account: &mut Account,
    request: &Request,
    segments: &[&str],
) -> Result<Reply, Refusal> {
    let inside = segments.get(1..).unwrap_or_default();
    match (request.method.as_str(), inside) {
        ("POST", ["batch"]) => {
            Err(Refusal::new(account.quirks.batch_status, "document_not_found", WITHDRAWN))
        }
        ("GET", ["attributes"]) => Ok(Reply::ok(&account.catalogue.to_json())),
        ("POST", ["attributes", category, name]) => {
            account.catalogue.create(category, name, request.json::<AttributeBody>()?)?;
            Ok(Reply::empty(201))
        }
        ("PUT", ["attributes", category, name]) => {
            account.catalogue.update(category, name, request.json::<AttributeBody>()?)?;
            Ok(Reply::no_content())
        }
        ("GET", ["folders"]) => {
            let page = request.page(10, 50)?.of(account.lists.folders());
            Ok(Reply::ok(&json!({"folders": page, "count": account.lists.folder_count()})))
        }
        ("POST", ["folders"]) => {
            let body: Value = request.json()?;
            let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
            account.lists.create_folder(name).map(Reply::created)
        }
        ("GET", ["lists"]) => {
            let lists = account.lists.lists.iter().map(|(id, list)| list.to_json(*id));
            let count = lists.len();
            Ok(Reply::ok(&json!({"lists": request.page(10, 50)?.of(lists), "count": count})))
        }
        ("POST", ["lists"]) => {
            let now = account.stamp();
            account.lists.create(&request.json::<ListBody>()?, now).map(Reply::created)
        }
        ("GET", ["lists", id]) => {
            let id = list_id(id)?;
            Ok(Reply::ok(&account.lists.get(id)?.to_full_json(id)))
        }
        ("GET", ["lists", id, "contacts"]) => members(account, request, list_id(id)?),
        ("POST", ["lists", id, "contacts", "add"]) => {
            change_members(account, request, list_id(id)?, Membership::Add)
        }
        ("POST", ["lists", id, "contacts", "remove"]) => {
            change_members(account, request, list_id(id)?, Membership::Remove)
        }
        (method, ["batch" | "attributes" | "folders" | "lists"] | ["lists", _, ..])
        | (method, ["attributes", _, _]) => Err(Refusal::method(method)),
        _ => Err(Refusal::not_found("Path not found")),
    }
}

/// `GET /contacts`.
fn contacts(account: &Account, request: &Request) -> Result<Reply, Refusal> {
    let page = request.page(50, 1000)?;
    let (ids, lists) = (request.numbers("ids")?, request.numbers("listIds")?);
    if ids.len() > MAX_IDS {
        return Err(Refusal::out_of_range("ids should have at most 20 items"));
    }
    if request.parameter("filter").or_else(|| request.parameter("segmentId")).is_some() {
        return Err(Refusal::invalid("The sandbox knows neither filter nor segmentId"));
    }
    let modified_since = request.instant("modifiedSince")?.unwrap_or(i64::MIN);
    let created_since = request.instant("createdSince")?.unwrap_or(i64::MIN);
    let is_wanted = |contact: &&Contact| {
        contact.modified_at >= modified_since
            && contact.created_at >= created_since
            && (ids.is_empty() || ids.contains(&contact.id))
            && (lists.is_empty() || lists.iter().any(|list| contact.lists.contains(list)))
    };
    let wanted: Vec<&Contact> = account.contacts().filter(is_wanted).collect();
    let count = wanted.len();
    let page: Vec<Value> = page.of(wanted.into_iter()).into_iter().map(Contact::to_json).collect();
    Ok(Reply::ok(&json!({"contacts": page, "count": count})))
}

/// `GET /contacts/lists/{id}/contacts`.
fn members(account: &Account, request: &Request, list: i64) -> Result<Reply, Refusal> {
    let page = request.page(50, 500)?;
    let since = request.instant("modifiedSince")?.unwrap_or(i64::MIN);
    let members = account.lists.get(list)?.members.iter().filter_map(|id| account.get(*id));
    let wanted: Vec<&Contact> = members.filter(|contact| contact.modified_at >= since).collect();
    let count = wanted.len();
    let page: Vec<Value> = page.of(wanted.into_iter()).into_iter().map(Contact::to_json).collect();
    Ok(Reply::ok(&json!({"contacts": page, "count": count})))
}

fn create_contact(account: &mut Account, request: &Request) -> Result<Reply, Refusal> {
    let body: ContactBody = request.json()?;
    match account.create_or_update(&body, Actor::Request(&request.label()))? {
        Written::Created(id) => Ok(Reply::created(id)),
        Written::Updated(_) => Ok(Reply::no_content()),
    }
}

fn change_members(
    account: &mut Account,
    request: &Request,
    list: i64,
    membership: Membership,
) -> Result<Reply, Refusal> {
    let body: MembersBody = request.json()?;
    if membership == Membership::Remove && body.all {
        let total = account.clear_list(list)?;
        let process = account.open_process(ProcessStatus::Completed);
        let contacts = json!({"total": total, "processId": process});
        return Ok(Reply::json(201, &json!({"contacts": contacts})));
    }
    let label = request.label();
    let changed = account.change_members(list, membership, &body, Actor::Request(&label))?;
    Ok(Reply::json(201, &changed))
}

fn process(account: &Account, id: &str) -> Result<Reply, Refusal> {
    let process = id.parse::<i64>().ok().and_then(|id| Some((id, account.processes.get(&id)?)));
    match process {
        Some((id, process)) => Ok(Reply::ok(&process.to_json(id))),
        None => Err(Refusal::new(404, "invalid_parameter", "processId is invalid")),
    }
}

/// The contact that a path means. Without `identifierType` only addresses and numbers work, and in
/// `GET` phone numbers (facts: Brevo section 2).
fn identify(account: &Account, request: &Request, text: &str) -> Result<i64, Refusal> {
    let email = || account.find(Identifier::Email, &text.to_lowercase());
    let number = || text.parse::<i64>().ok().filter(|id| account.get(*id).is_some());
    let phone = |identifier| account.find(identifier, &super::value::phone(&json!(text))?);
    let found = match request.parameter("identifierType").as_deref() {
        None if text.contains('@') => email(),
        None if request.method == "GET" => number().or_else(|| phone(Identifier::Sms)),
        None | Some("contact_id") => number(),
        Some("email_id") => email(),
        Some("ext_id") => account.find(Identifier::ExtId, text),
        Some("phone_id") => phone(Identifier::Sms),
        Some("whatsapp_id") => phone(Identifier::Whatsapp),
        Some("landline_number_id") => phone(Identifier::Landline),
        Some(_) => return Err(Refusal::invalid("Invalid identifierType")),
    };
    found.ok_or_else(no_contact)
}

fn no_contact() -> Refusal {
    Refusal::not_found("Contact does not exist")
}

fn list_id(text: &str) -> Result<i64, Refusal> {
    text.parse().map_err(|_| Refusal::invalid("List ID should be an integer"))
}

fn account_json() -> Value {
    json!({
        "organization_id": "5fa2b8c123456789abcdef01",
        "user_id": 1_234_567,
        "enterprise": false,
        "companyName": "Sandbox",
        "email": "ops@example.org",
        "firstName": "Ops",
        "lastName": "Team",
        "address": {"street": "1 rue Exemple", "city": "Paris", "zipCode": "75001", "country": "France"},
        "plan": [{"type": "free", "credits": 300, "creditsType": "sendLimit"}],
        "planVerticals": [{
            "planCategory": "Marketing", "planType": "free", "name": "Free", "status": "active",
            "users": null,
        }],
        "relay": {
            "enabled": true,
            "data": {"userName": "ops@example.org", "relay": "smtp-relay.example.org", "port": 587},
        },
        "marketingAutomation": {"enabled": false},
    })
}
