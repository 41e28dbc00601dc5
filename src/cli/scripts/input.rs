//! The record that the rules are tried on: from a file, or from the store.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::engine::{company_of, existing_of, preview, seen_alone, stored_record, subject_of};
use crate::intercom::normalize::{self, Completeness};
use crate::intercom::{Content, trusted};
use crate::model::{Email, Liveness, Record, RecordId, RecordKey, RecordKind, Snapshot, Timestamp};
use crate::rules::{RuleSet, conversation_summary};
use crate::store::{SqliteStore, Store, Subject};

/// A record as scripts see it.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) key: RecordKey,
    pub(super) record: Arc<Value>,
    pub(super) existing: Option<Arc<Value>>,
    /// Where it came from, for people.
    pub(super) from: String,
    /// What people should know about it.
    pub(super) notes: Vec<String>,
}

/// What was read and still needs the rules to become an [`Input`].
#[derive(Debug)]
pub(super) enum Source {
    /// It is complete.
    Ready(Box<Input>),
    /// A contact of the store.
    Stored(Box<Subject>),
}

impl Source {
    /// Finds the record that `reference` names: a file, `contact:ID`, `company:ID`, an id or an
    /// address.
    pub(super) async fn find(
        deployment: &Deployment,
        reference: &str,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let samples = deployment.config.scripts.dir.join("tests").join("samples");
        let is_bare = !reference.contains('/');
        for file in [Path::new(reference).to_owned(), samples.join(reference)] {
            if file.is_file() && (is_bare || file == Path::new(reference)) {
                let input = from_file(&file, now)?;
                return Ok(Self::Ready(Box::new(input)));
            }
        }
        if reference.ends_with(".json") || reference.contains('/') {
            return Err(Failure::failed(format!("there is no file `{reference}`")));
        }
        Self::stored(deployment, reference).await
    }

    /// Finds a stored record by `contact:ID`, `company:ID`, an id or an address.
    pub(super) async fn stored(deployment: &Deployment, reference: &str) -> Result<Self, Failure> {
        let (kind, id) = match reference.split_once(':') {
            Some((kind, id)) => match kind.parse::<RecordKind>() {
                Ok(kind) => (kind, id),
                Err(_) => {
                    let failure = Failure::usage(format!("`{kind}` is no kind of record"));
                    let help = "write contact:ID, company:ID, an address or the path of a file";
                    return Err(failure.with_help(help));
                }
            },
            None => (RecordKind::Contact, reference),
        };
        let store = deployment.open_to_read()?;
        if id.contains('@') {
            return Self::at_address(&store, id).await;
        }
        let id: RecordId = id.parse().map_err(|error| Failure::failed(format!("{error}")))?;
        if kind == RecordKind::Contact {
            return Self::contact(&store, id).await;
        }
        let key = RecordKey { kind, id };
        let found = stored_record(&store, key.clone()).await?;
        let record = found.ok_or_else(|| unknown(&format!("{kind} `{}`", key.id.as_str())))?;
        Ok(Self::Ready(Box::new(Input {
            key,
            record: Arc::new(record),
            existing: None,
            from: "the store".to_owned(),
            notes: Vec::new(),
        })))
    }

    async fn at_address(store: &SqliteStore, address: &str) -> Result<Self, Failure> {
        let email: Email = address.parse().map_err(|error| Failure::failed(format!("{error}")))?;
        let ids = store.contacts_at(email).await?;
        match ids.into_iter().next() {
            Some(id) => Self::contact(store, id).await,
            None => Err(unknown(&format!("contact with the address `{address}`"))),
        }
    }

    async fn contact(store: &SqliteStore, id: RecordId) -> Result<Self, Failure> {
        let subjects = store.subjects(vec![id.clone().into()]).await?;
        match subjects.into_iter().next().filter(|subject| subject.record.is_some()) {
            Some(subject) => Ok(Self::Stored(Box::new(subject))),
            None => Err(unknown(&format!("contact `{}`", id.as_str()))),
        }
    }

    /// The record as the rules get it.
    pub(super) fn into_input(self, rules: &RuleSet, as_of: Timestamp) -> Result<Input, Failure> {
        let subject = match self {
            Self::Ready(input) => return Ok(*input),
            Self::Stored(subject) => subject,
        };
        let liveness = subject.record.as_ref().map(|record| record.liveness.clone());
        if let Some(gone) = liveness.filter(|liveness| !liveness.is_live()) {
            let word = match gone {
                Liveness::Archived => "archived",
                Liveness::Merged { .. } => "merged into another",
                Liveness::Deleted | Liveness::Live => "deleted",
            };
            let message = format!("the contact is {word} in Intercom: no rule is asked about it");
            return Err(Failure::failed(message));
        }
        let found = preview(&subject, rules, as_of)
            .map_err(|error| Failure::failed(format!("choose_primary: {error}")))?
            .ok_or_else(|| unknown("contact"))?;
        let mut notes = Vec::new();
        if let Some(other) = found.speaks {
            notes.push(format!(
                "the contact {} has the same address and speaks for it: the engine derives that one",
                other.as_str()
            ));
        }
        Ok(Input {
            key: found.input.key,
            record: found.input.contact,
            existing: found.input.existing,
            from: "the store".to_owned(),
            notes,
        })
    }
}

fn unknown(what: &str) -> Failure {
    Failure::failed(format!("there is no {what} in the store"))
        .with_help("bring it in by `tajo connectors sync intercom`, or name a file")
}

/// Reads a file: an object of Intercom's API, a notification, or a sample of the tests.
fn from_file(file: &Path, now: Timestamp) -> Result<Input, Failure> {
    let value = read_json(file)?;
    let from = file.display().to_string();
    of_json(&value, from, now).map_err(|problem| {
        Failure::failed(format!("{}: {problem}", file.display()))
            .with_help("give an object of Intercom's API, a notification, or a sample of the tests")
    })
}

/// Brevo's contact from a file, as `existing`.
pub(super) fn existing_from(file: &Path) -> Result<Arc<Value>, Failure> {
    Ok(Arc::new(existing_of(&read_json(file)?)))
}

fn read_json(file: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))?;
    serde_json::from_str(&text).map_err(|error| {
        // The error names line and column itself.
        Failure::failed(format!("{}: it is not JSON: {error}", file.display()))
    })
}

/// What a JSON value is, and how scripts see it.
fn of_json(value: &Value, from: String, now: Timestamp) -> Result<Input, String> {
    if value.get("type").and_then(Value::as_str) == Some("notification_event") {
        return of_notification(value, from, now);
    }
    let kind = kind_of(value).ok_or("it is no record")?;
    let mut notes = Vec::new();
    let record = match kind {
        RecordKind::Contact if is_raw(value) => {
            let id = id_of(value)?;
            let subject = subject_of(id, normalize::contact(value), value, now);
            notes.extend(not_known(&subject));
            assembled(&subject)?
        }
        RecordKind::Contact => summarised(value),
        RecordKind::Company if value.get("type").is_some() => {
            let company = company_of(value);
            notes.extend(unnamed_tags(&company, value));
            company
        }
        RecordKind::Conversation if is_raw_conversation(value) => {
            let said = trusted("conversation.updated", value, now).map_err(|error| error.reason)?;
            return match said.content {
                Content::Snapshots(snapshots) => match snapshots.first() {
                    Some(snapshot) => Ok(of_snapshot(snapshot, value, from)),
                    None => Err("it is no conversation".to_owned()),
                },
                _ => Err("it is no conversation".to_owned()),
            };
        }
        RecordKind::Event if value.get("contact").is_none() => normalize::event(value),
        _ => value.clone(),
    };
    let key = RecordKey { kind, id: id_of(value)? };
    Ok(Input { key, record: Arc::new(record), existing: None, from, notes })
}

fn of_notification(envelope: &Value, from: String, now: Timestamp) -> Result<Input, String> {
    let topic = envelope.get("topic").and_then(Value::as_str).unwrap_or_default();
    let data = envelope.get("data").unwrap_or(&Value::Null);
    let item = data.get("item").unwrap_or(data);
    let said = trusted(topic, data, now).map_err(|error| error.reason)?;
    let snapshots = match said.content {
        Content::Ping => return Err("it is a ping, and about no record".to_owned()),
        // What the engine does not use yet can be tried all the same.
        Content::Ignored { .. } => return of_json(item, from, now),
        Content::Snapshots(snapshots) => snapshots,
    };
    let of = |kind: RecordKind| snapshots.iter().find(move |snapshot| snapshot.key.kind == kind);
    let primary = snapshots.first().ok_or("it is about no record")?;
    if primary.is_hint {
        return Err("it says that something changed, and not what".to_owned());
    }
    if primary.key.kind != RecordKind::Contact {
        if !primary.liveness.is_live() {
            return Err(format!(
                "it says that the {} is gone: no rule is asked about it",
                primary.key.kind
            ));
        }
        let item = item.get("company").filter(|company| company.is_object()).unwrap_or(item);
        return Ok(of_snapshot(primary, item, from));
    }
    let contact = of(RecordKind::Contact).ok_or("it is about no contact")?.clone();
    if !contact.liveness.is_live() {
        return Err("it says that the contact is gone: no rule is asked about it".to_owned());
    }
    let item = item.get("contact").filter(|contact| contact.is_object()).unwrap_or(item);
    let key = contact.key.clone();
    let mut subject = subject_of(key.id.clone(), Record::from(contact).body, item, now);
    // A notification about a tag names it beside the contact.
    if let Some(tag) = of(RecordKind::Tag)
        && let Some(name) = tag.body.get("name").and_then(Value::as_str)
    {
        subject.tags.insert(tag.key.id.clone(), name.to_owned());
    }
    let record = Arc::new(assembled(&subject)?);
    Ok(Input { key, record, existing: None, from, notes: not_known(&subject) })
}

/// A conversation, an event or a company as a delivery shows it, with what it tells of itself.
fn of_snapshot(snapshot: &Snapshot, item: &Value, from: String) -> Input {
    let record = seen_alone(snapshot, item);
    let notes = match snapshot.key.kind {
        RecordKind::Conversation | RecordKind::Event => {
            vec![
                "the file names its contact by id alone, which is all that the rules see of it"
                    .to_owned(),
            ]
        }
        RecordKind::Company => unnamed_tags(&record, item).into_iter().collect(),
        _ => Vec::new(),
    };
    let (key, record) = (snapshot.key.clone(), Arc::new(record));
    Input { key, record, existing: None, from, notes }
}

/// The contact with its relations, without any rule that chooses among several.
fn assembled(subject: &Subject) -> Result<Value, String> {
    let rules = RuleSet::from_files(Vec::new(), &Default::default());
    let rules = rules.map_err(|_| "the rules cannot be empty".to_owned())?;
    let now = Timestamp::from_seconds(0);
    match preview(subject, &rules, now) {
        Ok(Some(found)) => Ok(Arc::unwrap_or_clone(found.input.contact)),
        _ => Err("it is no contact".to_owned()),
    }
}

/// Relations of which a delivered contact shows ids alone.
fn not_known(subject: &Subject) -> Vec<String> {
    let Some(record) = &subject.record else { return Vec::new() };
    let tags = normalize::contact_tag_ids(&record.body).0;
    let companies = normalize::contact_company_ids(&record.body).0;
    let tags = tags.iter().filter(|id| !subject.tags.contains_key(*id)).count();
    let companies = companies.iter().filter(|id| !subject.companies.contains_key(*id)).count();
    let mut unseen = Vec::new();
    if tags > 0 {
        unseen.push(output::count(tags as u64, "tag"));
    }
    if companies > 0 {
        unseen.push(output::count_of(companies as u64, "company", "companies"));
    }
    if unseen.is_empty() {
        return Vec::new();
    }
    let unseen = unseen.join(" and ");
    vec![format!(
        "the file shows {unseen} by id alone, which the rules do not see: --record contact:ID takes \
         them from the store"
    )]
}

/// Tags of which a delivered company shows ids alone.
fn unnamed_tags(company: &Value, item: &Value) -> Option<String> {
    let body = normalize::company(item, Completeness::Partial);
    let named = company.get("tags").and_then(Value::as_array).map_or(0, Vec::len);
    let unseen = normalize::company_tag_ids(&body).len().saturating_sub(named);
    let unseen = (unseen > 0).then(|| output::count(unseen as u64, "tag"))?;
    Some(format!(
        "the file shows {unseen} by id alone, which the rules do not see: --record company:ID takes \
         them from the store"
    ))
}

/// A sample of the tests: `conversations` may be the conversations themselves.
fn summarised(value: &Value) -> Value {
    let mut record = value.clone();
    if let Some(Value::Array(all)) = value.get("conversations")
        && let Some(fields) = record.as_object_mut()
    {
        fields.insert("conversations".to_owned(), conversation_summary(all));
    }
    record
}

/// True of a contact as Intercom delivers it: its relations are in envelopes.
fn is_raw(value: &Value) -> bool {
    ["tags", "companies"].iter().any(|field| value.get(field).is_some_and(Value::is_object))
}

/// True of a conversation as Intercom delivers it: its lists are in envelopes.
fn is_raw_conversation(value: &Value) -> bool {
    let is_wrapped = |field: &str| value.get(field).is_some_and(Value::is_object);
    ["contacts", "tags", "conversation_parts", "user"].into_iter().any(is_wrapped)
}

fn kind_of(value: &Value) -> Option<RecordKind> {
    let fields = value.as_object()?;
    let has = |field: &str| fields.contains_key(field);
    match value.get("type").and_then(Value::as_str) {
        Some("contact" | "user" | "lead") => return Some(RecordKind::Contact),
        Some("company") => return Some(RecordKind::Company),
        Some("conversation") => return Some(RecordKind::Conversation),
        Some("event") => return Some(RecordKind::Event),
        _ => {}
    }
    if has("emailBlacklisted") || has("listIds") {
        Some(RecordKind::BrevoContact)
    } else if has("event") && has("email") {
        Some(RecordKind::BrevoEvent)
    } else if has("event_name") {
        Some(RecordKind::Event)
    } else if has("conversation_parts") || has("source") {
        Some(RecordKind::Conversation)
    } else if has("company_id") {
        Some(RecordKind::Company)
    } else {
        (has("email") || has("role") || has("id")).then_some(RecordKind::Contact)
    }
}

/// The record's id; `sample` where it has none.
fn id_of(value: &Value) -> Result<RecordId, String> {
    let found = normalize::id_of(value).or_else(|| "sample".parse().ok());
    found.ok_or_else(|| "its id cannot be used".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Input, String> {
        of_json(&value, "x.json".to_owned(), Timestamp::from_seconds(1_000))
    }

    #[test]
    fn a_file_may_be_of_the_api_a_notification_or_a_sample() {
        let rest = json!({
            "type": "contact", "id": "5ba6", "role": "user", "email": "ann@example.com",
            "tags": {"type": "list", "data": [{"id": "7", "type": "tag"}], "total_count": 1},
            "companies": {"type": "list", "data": [], "total_count": 0},
        });
        let input = read(rest.clone()).unwrap();
        assert_eq!(input.key.to_string(), RecordKey::contact("5ba6".parse().unwrap()).to_string());
        assert_eq!(input.record["tags"], json!([]));
        assert_eq!(input.notes.len(), 1, "{:?}", input.notes);

        let mut named = rest.clone();
        named["tags"]["data"][0]["name"] = json!("vip");
        let notification = json!({
            "type": "notification_event", "topic": "contact.user.updated", "data": {"item": named},
        });
        let input = read(notification).unwrap();
        assert_eq!(input.record["tags"], json!(["vip"]));
        assert!(input.notes.is_empty());

        let sample = json!({"email": "ann@example.com", "tags": ["vip"], "conversations": [{"state": "open"}]});
        let input = read(sample).unwrap();
        assert_eq!(input.record["conversations"]["open"], 1);
        assert_eq!(input.key.id.as_str(), "sample");
    }

    #[test]
    fn the_tags_of_a_company_are_names_as_far_as_the_file_tells_them() {
        let company = |tags: Value| {
            let item = json!({"type": "company", "id": "5ba6", "name": "Acme", "plan": {},
                "custom_attributes": {}});
            let (mut item, Value::Object(tags)) = (item, tags) else { panic!() };
            item.as_object_mut().unwrap().extend(tags);
            item
        };
        let notified = |item: Value| json!({"type": "notification_event", "topic": "company.updated", "data": {"item": item}});
        fn case(value: Value, names: Value, notes: usize) {
            let input = read(value).unwrap();
            assert_eq!((&input.record["tags"], input.notes.len()), (&names, notes), "{input:?}");
        }
        let rest = json!({"tags": {"type": "tag.list", "tags": [{"id": "7", "name": "VIP"}]}});
        let ids = json!({"tag_ids": ["7"]});
        case(company(rest.clone()), json!(["VIP"]), 0);
        case(notified(company(rest.clone())), json!(["VIP"]), 0);
        case(company(ids.clone()), json!([]), 1);
        case(notified(company(ids)), json!([]), 1);
        case(company(json!({"tags": ["churn risk", "VIP"]})), json!(["churn risk", "VIP"]), 0);
        case(company(json!({})), json!([]), 0);
        let contact = json!({
            "type": "contact", "id": "c1", "role": "user", "email": "ann@example.com",
            "tags": {"data": [], "total_count": 0}, "companies": {"data": [company(rest)]},
        });
        assert_eq!(read(contact).unwrap().record["company"]["tags"], json!(["VIP"]));
    }

    #[test]
    fn what_a_record_is_follows_from_what_it_has() {
        fn case(value: Value, kind: RecordKind) {
            assert_eq!(read(value).unwrap().key.kind, kind);
        }
        case(json!({"type": "company", "id": "1", "name": "X"}), RecordKind::Company);
        case(json!({"type": "conversation", "id": "1"}), RecordKind::Conversation);
        case(json!({"event_name": "ordered", "id": "1"}), RecordKind::Event);
        case(json!({"id": 7, "email": "a@example.com", "listIds": []}), RecordKind::BrevoContact);
        case(json!({"event": "opened", "email": "a@example.com"}), RecordKind::BrevoEvent);
        assert_eq!(read(json!([1])).unwrap_err(), "it is no record");
        let ping = json!({"type": "notification_event", "topic": "ping", "data": {"item": {}}});
        assert_eq!(read(ping).unwrap_err(), "it is a ping, and about no record");
    }
}
