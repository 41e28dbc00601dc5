//! `/objects/{type}`: custom objects, which only some plans have (facts: Brevo section 7).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::import::ProcessStatus;
use super::reply::{Refusal, Reply};
use super::request::Request;
use super::state::Account;

const MAX_RECORDS: usize = 1_000;
const MAX_BYTES: usize = 1_000_000;

/// The types that the account has, and the objects of each by our id. Without a type the plan has
/// none at all.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) types: BTreeMap<String, BTreeMap<String, Object>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Object {
    attributes: Map<String, Value>,
    contacts: BTreeSet<i64>,
}

impl Object {
    pub(super) fn to_json(&self, id: &str) -> Value {
        json!({
            "identifiers": {"ext_id": id}, "attributes": self.attributes, "contacts": self.contacts,
        })
    }
}

impl Account {
    /// Answers what is below `/objects`.
    pub(super) fn custom_objects(
        &mut self,
        request: &Request,
        segments: &[&str],
    ) -> Result<Reply, Refusal> {
        if self.objects.types.is_empty() {
            let message = "Custom objects are not available on your plan";
            return Err(Refusal::new(403, "permission_denied", message));
        }
        let ["objects", kind, rest @ ..] = segments else {
            return Err(Refusal::not_found("Path not found"));
        };
        if !self.objects.types.contains_key(*kind) {
            return Err(Refusal::not_found("Object type does not exist"));
        }
        match (request.method.as_str(), rest) {
            ("POST", ["batch", "upsert"]) => self.upsert_objects(kind, request),
            ("GET", ["records"]) => {
                let objects = self.objects.types.get(*kind).into_iter().flatten();
                let records: Vec<Value> = objects.map(|(id, object)| object.to_json(id)).collect();
                Ok(Reply::ok(&json!({"count": records.len(), "records": records})))
            }
            (method, ["batch", "upsert"] | ["records"]) => Err(Refusal::method(method)),
            _ => Err(Refusal::not_found("Path not found")),
        }
    }

    /// Records that lack an id, or whose contact does not exist, vanish without a word.
    fn upsert_objects(&mut self, kind: &str, request: &Request) -> Result<Reply, Refusal> {
        if request.body.len() > MAX_BYTES {
            return Err(Refusal::out_of_range("The body should be at most 1 MB"));
        }
        let body: Value = request.json()?;
        let records = body.get("records").and_then(Value::as_array);
        let records = records.ok_or_else(|| Refusal::missing("records is missing"))?;
        if !(1..=MAX_RECORDS).contains(&records.len()) {
            return Err(Refusal::out_of_range("records should have 1 to 1000 items"));
        }
        for record in records {
            let Some(id) = record.pointer("/identifiers/ext_id").and_then(Value::as_str) else {
                continue;
            };
            let linked = linked(record);
            if linked.iter().any(|contact| self.get(*contact).is_none()) {
                continue;
            }
            let Some(objects) = self.objects.types.get_mut(kind) else { continue };
            let object = objects.entry(id.to_owned()).or_default();
            let given = record.get("attributes").and_then(Value::as_object);
            object.attributes.extend(given.cloned().unwrap_or_default());
            object.contacts.extend(linked);
        }
        let process = self.open_process(ProcessStatus::Completed);
        let message = "Batch request accepted for processing of upsert object records.";
        Ok(Reply::json(202, &json!({"processId": process, "message": message})))
    }
}

fn linked(record: &Value) -> Vec<i64> {
    let associations = record.get("associations").and_then(Value::as_array).into_iter().flatten();
    let contacts = associations
        .filter(|one| one.get("object_type").and_then(Value::as_str) == Some("contact"));
    let records = contacts.filter_map(|one| one.get("records")?.as_array()).flatten();
    records.filter_map(|one| one.pointer("/identifiers/id")?.as_i64()).collect()
}
