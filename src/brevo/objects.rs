//! Custom objects: many at a time, of one type (facts: Brevo section 7).

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::call::CallKind;
use super::client::{BrevoClient, read};
use super::error::BrevoError;
use super::imports::ProcessId;
use super::wire::ProcessIdAnswer;
use crate::http::Lane;
use crate::model::Fields;

/// The most objects that one call takes.
pub const MAX_OBJECTS: usize = 1_000;
/// The most bytes that one call takes, which are 1 MB; some are left for the frame.
const MAX_BYTES: usize = 950_000;

/// A custom object on its way to Brevo.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectWrite {
    /// Our id, which is its `ext_id`.
    pub id: String,
    /// Its fields, by the keys that the account has.
    pub fields: Fields,
    /// Brevo's number of the contact that it belongs to.
    pub contact: Option<i64>,
}

impl ObjectWrite {
    fn body(&self) -> Value {
        let mut body = json!({"identifiers": {"ext_id": self.id}, "attributes": self.fields});
        if let (Some(contact), Some(fields)) = (self.contact, body.as_object_mut()) {
            let linked = json!([{
                "object_type": "contact", "action": "link",
                "records": [{"identifiers": {"id": contact}}],
            }]);
            fields.insert("associations".to_owned(), linked);
        }
        body
    }

    /// How many of these, from the first on, one call takes: at least one.
    pub fn fitting(objects: &[Self]) -> usize {
        let mut bytes = 0;
        let fits = |object: &&Self| {
            bytes += object.body().to_string().len() + 1;
            bytes <= MAX_BYTES
        };
        objects.iter().take(MAX_OBJECTS).take_while(fits).count().max(1)
    }
}

impl BrevoClient {
    /// Makes or updates objects of one type. What becomes of single ones Brevo does not say.
    ///
    /// # Errors
    /// [`BrevoError::Forbidden`] where the plan has no custom objects, [`BrevoError::NotFound`] where
    /// the account has no such type.
    pub async fn upsert_objects(
        &self,
        lane: Lane,
        kind: &str,
        objects: &[ObjectWrite],
    ) -> Result<Option<ProcessId>, BrevoError> {
        let records: Vec<Value> = objects.iter().map(ObjectWrite::body).collect();
        let path = format!("/objects/{}/batch/upsert", utf8_percent_encode(kind, NON_ALPHANUMERIC));
        let call = self.call(CallKind::UpsertObjects, &path)?.json(&json!({"records": records}))?;
        let answer = self.send(lane, call).await?;
        // Taken is taken, whether or not the answer names a process.
        let process: Result<ProcessIdAnswer, _> = read(CallKind::UpsertObjects, &answer);
        Ok(process.ok().map(|answer| ProcessId(answer.process_id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(fields: Value) -> ObjectWrite {
        let fields = fields.as_object().cloned().unwrap();
        ObjectWrite { id: "215".to_owned(), fields, contact: Some(4711) }
    }

    #[test]
    fn an_object_has_our_id_and_belongs_to_its_contact() {
        let body = object(json!({"state": "closed"})).body();
        let expected = json!({
            "identifiers": {"ext_id": "215"}, "attributes": {"state": "closed"},
            "associations": [{"object_type": "contact", "action": "link",
                "records": [{"identifiers": {"id": 4711}}]}],
        });
        assert_eq!(body, expected);
        let alone = ObjectWrite { contact: None, ..object(json!({})) };
        assert_eq!(alone.body(), json!({"identifiers": {"ext_id": "215"}, "attributes": {}}));
    }

    #[test]
    fn a_call_takes_a_thousand_objects_and_a_megabyte() {
        assert_eq!(ObjectWrite::fitting(&vec![object(json!({})); 2_500]), MAX_OBJECTS);
        let large = object(json!({"text": "x".repeat(90_000)}));
        assert_eq!(ObjectWrite::fitting(&vec![large; 50]), 10);
        let huge = object(json!({"text": "x".repeat(2_000_000)}));
        assert_eq!(ObjectWrite::fitting(&[huge.clone(), huge]), 1);
    }
}
