//! `table("plans.csv")`: the rows of a file in `scripts/tables/`, by their first column.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, Engine};
use serde_json::{Map, Value};

use super::argument::required_text;
use super::{HostData, Outcome};
use crate::rules::diagnostic::nearest;
use crate::rules::error::refuse;
use crate::rules::reference::{FunctionDoc, Kind, fails, gives, parameter, signature};
use crate::rules::view::View;

/// The words for this function.
pub(super) const DOCS: [FunctionDoc; 1] = [FunctionDoc {
    name: "table",
    signatures: &[signature(
        &[parameter("name", Kind::Text, "the name of a file in `scripts/tables/`")],
        Kind::Record,
    )],
    summary: "The rows of a CSV file, by the text in their first column.",
    notes: "The first line names the columns; space around cells is cut. A cell that is a whole number is a number, \
            unless it begins with `0` or `+` and so is a code; an empty cell is `()`. Of two rows with the same \
            first cell the later one counts. Files are read once, when the rules are loaded, and are part \
            of their version. `brevo.add_to_lists(tags, table(\"lists.csv\"))` takes the column `list`.",
    failures: &[
        "there is no such file; where the name is written in the script, `scripts check` says so",
    ],
    examples: &[
        gives("table(\"plans.csv\").pro", r#"{"plan": "pro", "seats": 25, "code": "007"}"#),
        gives("table(\"plans.csv\")[contact.custom_attributes.plan_tier].seats", "25"),
        gives("table(\"plans.csv\").none.seats", "null"),
        gives("table(\"plans.csv\").keys()", r#"["free", "pro"]"#),
        fails(
            "table(\"plan\" + \".csv\")",
            "there is no table `plan.csv`; did you mean `plans.csv`?",
        ),
    ],
}];

/// Tables by file name.
pub(crate) type Tables = BTreeMap<String, Arc<Value>>;

/// Reads a CSV text with a head: an object of rows, each an object by column. A cell that is the
/// text of a whole number is that number; an empty cell is `null`.
///
/// # Errors
/// A line and what is wrong with it, where a row has too many or too few cells or is not UTF-8.
pub(crate) fn parse_table(text: &str) -> Result<Value, (u32, String)> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let problem = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        (u32::try_from(line).unwrap_or(u32::MAX), error.to_string())
    };
    let head = reader.headers().map_err(problem)?.clone();
    let mut rows = Map::new();
    for record in reader.records() {
        let record = record.map_err(problem)?;
        let Some(key) = record.get(0).filter(|key| !key.is_empty()) else {
            continue;
        };
        let row = head.iter().zip(&record).map(|(name, cell)| (name.to_owned(), to_value(cell)));
        rows.insert(key.to_owned(), Value::Object(row.collect()));
    }
    Ok(Value::Object(rows))
}

fn to_value(cell: &str) -> Value {
    match cell.parse::<i64>() {
        // A leading zero or plus says that it is a code and no number.
        Ok(whole) if whole.to_string() == cell => whole.into(),
        _ if cell.is_empty() => Value::Null,
        _ => cell.into(),
    }
}

/// Makes `table` callable.
pub(super) fn register(engine: &mut Engine, data: &Arc<HostData>) {
    let data = data.clone();
    engine.register_fn("table", move |name: Dynamic| -> Outcome<Dynamic> {
        let name = required_text("table", "the name of a file", &name)?;
        match data.tables.get(name.as_str()) {
            Some(table) => Ok(View::dynamic(table.clone())),
            None => Err(refuse(no_table(&name, &data.tables))),
        }
    });
}

fn no_table(name: &str, tables: &Tables) -> String {
    match nearest(name, tables.keys().map(String::as_str)) {
        Some(near) => format!("there is no table `{name}`; did you mean `{near}`?"),
        None => format!("there is no table `{name}` in the folder `tables`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_found_by_their_first_column() {
        let table = parse_table("plan,list,code\npro, 41,007\nfree,,x\n").unwrap();
        let expected = json!({
            "pro": {"plan": "pro", "list": 41, "code": "007"},
            "free": {"plan": "free", "list": null, "code": "x"},
        });
        assert_eq!(table, expected);
        assert_eq!(parse_table("a,b\n1\n").unwrap_err().0, 2);
    }
}
