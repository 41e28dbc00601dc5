//! Import files of companies.

use std::collections::{BTreeMap, BTreeSet};

use crate::brevo::{BrevoError, MAX_COMPANY_FILE_BYTES};
use crate::model::{AttributeValue, CompanyValues};

/// Columns that Brevo reads as something else than an attribute.
pub(super) const ID: &str = "company_id";
pub(super) const CONTACT: &str = "associated_contact";

/// One row: the company's id in Brevo if it has one, and what is written to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row<'a> {
    pub(super) brevo: Option<&'a str>,
    pub(super) values: &'a CompanyValues,
}

/// True if a cell can say each of the values.
pub(super) fn is_importable(values: &CompanyValues) -> bool {
    values.iter().all(|(name, value)| {
        let is_column = name != ID && name != CONTACT && name != "associated_deal";
        is_column && !matches!(value, AttributeValue::List(_)) && !value.is_empty()
    })
}

/// Files of all rows, each with how many rows it has.
pub(super) fn files(rows: &[Row<'_>]) -> Result<Vec<(String, usize)>, BrevoError> {
    let names: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.values.keys().map(String::as_str)).collect();
    let header: Vec<&str> = [ID].into_iter().chain(names.iter().copied()).collect();
    let lines = rows.iter().map(|row| {
        let id = row.brevo.unwrap_or_default().to_owned();
        let cells = names.iter().map(|name| row.values.get(*name).map(cell).unwrap_or_default());
        [id].into_iter().chain(cells).collect::<Vec<String>>()
    });
    split(&header, lines)
}

/// Files that link contacts to companies, or unlink them: a row for each pair.
pub(super) fn links(pairs: &BTreeMap<&str, Vec<i64>>) -> Result<Vec<(String, usize)>, BrevoError> {
    let lines = pairs.iter().flat_map(|(company, contacts)| {
        contacts.iter().map(|contact| vec![(*company).to_owned(), contact.to_string()])
    });
    split(&[ID, CONTACT], lines)
}

fn split(
    header: &[&str],
    lines: impl Iterator<Item = Vec<String>>,
) -> Result<Vec<(String, usize)>, BrevoError> {
    let unwritable = |reason: String| {
        BrevoError::Unusable(format!("a file of companies cannot be built: {reason}"))
    };
    let line = |cells: &[String]| -> Result<String, BrevoError> {
        let mut writer = csv::WriterBuilder::new().delimiter(b';').from_writer(Vec::new());
        writer.write_record(cells).map_err(|error| unwritable(error.to_string()))?;
        let bytes = writer.into_inner().map_err(|error| unwritable(error.to_string()))?;
        String::from_utf8(bytes).map_err(|error| unwritable(error.to_string()))
    };
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let header = line(&header)?;
    let mut files: Vec<(String, usize)> = Vec::new();
    for cells in lines {
        let text = line(&cells)?;
        match files.last_mut() {
            Some((file, rows)) if file.len() + text.len() <= MAX_COMPANY_FILE_BYTES => {
                file.push_str(&text);
                *rows += 1;
            }
            _ => files.push((format!("{header}{text}"), 1)),
        }
    }
    Ok(files)
}

/// A value as a cell says it.
fn cell(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Bool(true) => "Yes".to_owned(),
        AttributeValue::Bool(false) => "No".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, AttributeValue)]) -> CompanyValues {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_file_says_ids_and_values_in_columns() {
        let acme = values(&[
            ("name", AttributeValue::Text("Acme; Sons".into())),
            ("is_paying", AttributeValue::Bool(true)),
        ]);
        let beta = values(&[("name", AttributeValue::Text("Beta".into()))]);
        let rows = [Row { brevo: Some("65"), values: &acme }, Row { brevo: None, values: &beta }];
        let expected = "company_id;is_paying;name\n65;Yes;\"Acme; Sons\"\n;;Beta\n";
        assert_eq!(files(&rows).unwrap(), [(expected.to_owned(), 2)]);
        let pairs = [("65", vec![7, 8])].into();
        let expected = "company_id;associated_contact\n65;7\n65;8\n";
        assert_eq!(links(&pairs).unwrap(), [(expected.to_owned(), 2)]);
    }

    #[test]
    fn what_no_cell_can_say_is_not_imported() {
        assert!(is_importable(&values(&[("name", AttributeValue::Integer(1))])));
        assert!(!is_importable(&values(&[("name", AttributeValue::Text(String::new()))])));
        assert!(!is_importable(&values(&[("tags", AttributeValue::List(Vec::new()))])));
        assert!(!is_importable(&values(&[("company_id", AttributeValue::Integer(1))])));
    }

    #[test]
    fn a_large_file_is_several() {
        let long = values(&[("name", AttributeValue::Text("x".repeat(1_000_000)))]);
        let rows = vec![Row { brevo: None, values: &long }; 20];
        let files = files(&rows).unwrap();
        assert_eq!(files.iter().map(|(_, rows)| rows).sum::<usize>(), 20);
        assert!(files.len() > 2 && files.iter().all(|(file, _)| file.len() < 8_000_000));
    }
}
