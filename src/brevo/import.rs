//! Import files: many contacts as one CSV, in the form that `POST /contacts/import` takes.
//!
//! CSV and not JSON, because Brevo drops the booleans of a JSON import without a word (facts: Brevo
//! section 2). A cell that is empty leaves the attribute as it is, so an import cannot clear.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::Serialize;
use url::Url;

use crate::model::{AttributeName, AttributeValue, Email, ListId};

/// What a body may hold, in bytes: Brevo takes 10 MB and recommends 8. The rest of the body (lists,
/// flags, the callback) has its room above this.
const LARGEST_FILE_BYTES: usize = 7_900_000;

/// What an import cannot say.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A value has no form in a cell.
    #[error("an import cannot write this value of `{0}`: write the contact singly")]
    Inexpressible(AttributeName),
    /// The file cannot be built.
    #[error("the import file cannot be built: {0}")]
    Csv(#[from] csv::Error),
}

/// One contact of an import: its address and the values to write.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportRow<'a> {
    email: &'a Email,
    attributes: &'a BTreeMap<AttributeName, AttributeValue>,
}

impl<'a> ImportRow<'a> {
    /// A row, if each of its values can be said in a cell.
    pub fn new(
        email: &'a Email,
        attributes: &'a BTreeMap<AttributeName, AttributeValue>,
    ) -> Result<Self, ImportError> {
        match attributes.iter().find(|(name, value)| !is_importable(name, value)) {
            Some((name, _)) => Err(ImportError::Inexpressible(name.clone())),
            None => Ok(Self { email, attributes }),
        }
    }
}

/// True of a value that a cell can hold: options of a multiple choice cannot, nothing (which would
/// leave the attribute as it is) cannot, and columns that Brevo reads as identifiers cannot.
pub fn is_importable(name: &AttributeName, value: &AttributeValue) -> bool {
    let is_identifier =
        matches!(name.as_str(), "EMAIL" | "EXT_ID" | "ID" | "CONTACT ID" | "CONTACT_ID");
    let has_cell = !matches!(value, AttributeValue::List(_)) && !value.is_empty();
    has_cell && !is_identifier
}

/// A file that fits into one import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportFile {
    body: String,
    rows: Range<usize>,
}

impl ImportFile {
    /// Builds as few files as hold all `rows`, in their order.
    pub fn build(rows: &[ImportRow<'_>]) -> Result<Vec<Self>, ImportError> {
        Self::build_within(LARGEST_FILE_BYTES, rows)
    }

    /// The CSV: `;`, a header, one line per contact.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Which of the rows that were given to `build` are in this file.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    fn build_within(largest: usize, rows: &[ImportRow<'_>]) -> Result<Vec<Self>, ImportError> {
        let columns: BTreeSet<&AttributeName> =
            rows.iter().flat_map(|row| row.attributes.keys()).collect();
        let names = columns.iter().map(|name| name.as_str().to_owned());
        let header = line(std::iter::once("EMAIL".to_owned()).chain(names))?;

        let mut files = Vec::new();
        let mut file = Self { body: header.clone(), rows: 0..0 };
        let mut size = encoded_len(&header);
        for (index, row) in rows.iter().enumerate() {
            let cells =
                columns.iter().map(|name| row.attributes.get(*name).map_or_else(String::new, cell));
            let line = line(std::iter::once(row.email.to_string()).chain(cells))?;
            let added = encoded_len(&line);
            if size + added > largest && !file.rows.is_empty() {
                files.push(file);
                file = Self { body: header.clone(), rows: index..index };
                size = encoded_len(&header);
            }
            file.body.push_str(&line);
            file.rows.end = index + 1;
            size += added;
        }
        if !file.rows.is_empty() {
            files.push(file);
        }
        Ok(files)
    }
}

/// The body of `POST /contacts/import`. `emailBlacklist` and `smsBlacklist` are left out: `false`
/// might put people back on marketing, and `true` would blacklist every row.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImportBody<'a> {
    file_body: &'a str,
    list_ids: &'a [ListId],
    update_existing_contacts: bool,
    empty_contacts_attributes: bool,
    disable_notification: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify_url: Option<&'a str>,
}

impl<'a> ImportBody<'a> {
    pub(super) fn new(
        file: &'a ImportFile,
        lists: &'a [ListId],
        notify_url: Option<&'a Url>,
    ) -> Self {
        Self {
            file_body: &file.body,
            list_ids: lists,
            update_existing_contacts: true,
            empty_contacts_attributes: false,
            disable_notification: true,
            notify_url: notify_url.map(Url::as_str),
        }
    }
}

/// A value as a cell. Booleans are the words that Brevo's importer knows.
fn cell(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Bool(true) => "Yes".to_owned(),
        AttributeValue::Bool(false) => "No".to_owned(),
        other => other.to_string(),
    }
}

fn line(cells: impl Iterator<Item = String>) -> Result<String, csv::Error> {
    let mut writer =
        csv::WriterBuilder::new().delimiter(b';').buffer_capacity(1024).from_writer(Vec::new());
    writer.write_record(cells.map(String::into_bytes))?;
    let bytes =
        writer.into_inner().map_err(|unflushed| csv::Error::from(unflushed.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How many bytes `text` takes inside a JSON string.
fn encoded_len(text: &str) -> usize {
    let byte_len = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0x00..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(byte_len).sum()
}

/// Reads who stands in one of the CSV files in which Brevo lists the rows that it did not take: the
/// cell of the column `EMAIL` if there is one, else the first cell that looks like an address, else
/// the first cell. In lower case.
pub(super) fn parse_problem_rows(body: &[u8]) -> Vec<String> {
    let first_line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let delimiter = if first_line.contains(&b';') { b';' } else { b',' };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(body);
    let mut email_column = None;
    let mut found = Vec::new();
    for (position, record) in reader.byte_records().filter_map(Result::ok).enumerate() {
        let cells: Vec<String> =
            record.iter().map(|cell| String::from_utf8_lossy(cell).to_lowercase()).collect();
        if position == 0 {
            let is_email = |cell: &String| cell.trim_start_matches('\u{feff}') == "email";
            email_column = cells.iter().position(is_email);
            if email_column.is_some() {
                continue;
            }
        }
        let named = email_column.and_then(|column| cells.get(column));
        let looks_right = cells.iter().find(|cell| cell.contains('@'));
        found.extend(
            named.or(looks_right).or(cells.first()).filter(|cell| !cell.is_empty()).cloned(),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn email(number: usize) -> Email {
        format!("p{number}@example.com").parse().unwrap()
    }

    fn parse(file: &ImportFile) -> Vec<BTreeMap<String, String>> {
        let mut reader =
            csv::ReaderBuilder::new().delimiter(b';').from_reader(file.body.as_bytes());
        reader.deserialize().map(Result::unwrap).collect()
    }

    #[test]
    fn values_stand_in_cells_as_brevo_reads_them() {
        let email = email(1);
        let attributes: BTreeMap<AttributeName, AttributeValue> = [
            ("NAME", AttributeValue::Text("O;\"Hara\"\n".into())),
            ("PAYS", AttributeValue::Bool(true)),
            ("LEFT", AttributeValue::Bool(false)),
            ("MRR", AttributeValue::Float(129.5)),
            ("SEATS", AttributeValue::Integer(3)),
            ("SINCE", AttributeValue::Text("2026-01-10".into())),
        ]
        .map(|(name, value)| (name.parse().unwrap(), value))
        .into();
        let row = ImportRow::new(&email, &attributes).unwrap();
        let nothing = BTreeMap::new();
        let bare = ImportRow::new(&email, &nothing).unwrap();
        let files = ImportFile::build(&[row, bare]).unwrap();
        assert_eq!(
            files[0].body(),
            "EMAIL;LEFT;MRR;NAME;PAYS;SEATS;SINCE\n\
             p1@example.com;No;129.5;\"O;\"\"Hara\"\"\n\";Yes;3;2026-01-10\n\
             p1@example.com;;;;;;\n"
        );
        assert_eq!(files[0].rows(), 0..2);
        assert!(ImportFile::build(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_a_cell_cannot_say_is_refused() {
        fn case(name: &str, value: AttributeValue) {
            let attributes = [(name.parse().unwrap(), value)].into();
            assert!(ImportRow::new(&email(1), &attributes).is_err(), "{name}");
        }
        case("TAGS", AttributeValue::List(vec!["a".into()]));
        case("NAME", AttributeValue::Text(String::new()));
        case("EMAIL", AttributeValue::Text("other@example.com".into()));
        case("EXT_ID", AttributeValue::Text("x".into()));
    }

    #[test]
    fn the_body_says_nothing_about_blacklists() {
        let file = ImportFile { body: "EMAIL\na@example.com\n".into(), rows: 0..1 };
        assert_eq!(
            json!(ImportBody::new(&file, &[ListId(4)], None)),
            json!({"fileBody": "EMAIL\na@example.com\n", "listIds": [4],
                   "updateExistingContacts": true, "emptyContactsAttributes": false,
                   "disableNotification": true}),
        );
    }

    #[test]
    fn rows_that_brevo_did_not_take_are_found_by_their_address() {
        fn case(csv: &str, expected: &[&str]) {
            assert_eq!(parse_problem_rows(csv.as_bytes()), expected, "{csv}");
        }
        case("EMAIL;SMS\nAnn@example.com;66\nbad;7\n", &["ann@example.com", "bad"]);
        case("SMS,EMAIL\n66,ann@example.com\n", &["ann@example.com"]);
        case("ann@example.com\nbob@example.com", &["ann@example.com", "bob@example.com"]);
        case("66;ann@example.com\n", &["ann@example.com"]);
        case("", &[]);
    }

    proptest! {
        /// INVARIANT: what is written to a file is what Brevo reads from it, however it is split.
        #[test]
        fn every_value_survives_its_file(
            texts in vec(btree_map("[A-C]", any::<String>(), 0..3), 0..20),
            largest in 1usize..600,
        ) {
            let emails: Vec<Email> = (0..texts.len()).map(email).collect();
            let values: Vec<BTreeMap<AttributeName, AttributeValue>> = texts.iter().map(|row| {
                let filled = row.iter().filter(|(_, text)| !text.is_empty());
                filled.map(|(name, text)| (name.parse().unwrap(), AttributeValue::Text(text.clone()))).collect()
            }).collect();
            let rows: Vec<ImportRow<'_>> =
                emails.iter().zip(&values).map(|(e, v)| ImportRow::new(e, v).unwrap()).collect();
            let files = ImportFile::build_within(largest, &rows).unwrap();

            let covered: Vec<usize> = files.iter().flat_map(ImportFile::rows).collect();
            prop_assert_eq!(covered, (0..rows.len()).collect::<Vec<_>>());
            for file in &files {
                let encoded = serde_json::to_string(file.body()).unwrap();
                prop_assert_eq!(encoded.len(), encoded_len(file.body()) + 2);
                prop_assert!(encoded_len(file.body()) <= largest || file.rows().len() == 1);
                let parsed = parse(file);
                prop_assert_eq!(parsed.len(), file.rows().len());
                for (read, index) in parsed.iter().zip(file.rows()) {
                    prop_assert_eq!(&read["EMAIL"], emails[index].as_str());
                    for (name, cell) in read.iter().filter(|(name, _)| *name != "EMAIL") {
                        let held = values[index].get(&name.parse().unwrap());
                        prop_assert_eq!(cell, &held.map_or_else(String::new, ToString::to_string));
                    }
                }
            }
        }
    }
}
