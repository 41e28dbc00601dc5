//! Coverage for people, and as JSON.

use serde::Serialize;

use crate::cli::output;
use crate::rules::{Coverage, FileCoverage, FunctionCoverage, RuleSet};

/// How many lines of an excerpt are shown of each range that never ran.
const MOST_LINES: u32 = 12;

/// Coverage as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    lines: usize,
    run: usize,
    percent: f64,
    files: Vec<FileSummary>,
}

#[derive(Debug, Serialize)]
struct FileSummary {
    lines: usize,
    run: usize,
    percent: f64,
    /// First and last lines of what never ran.
    never_run: Vec<(u32, u32)>,
    #[serde(flatten)]
    detail: Detail,
}

#[derive(Debug, Serialize)]
struct Detail {
    file: String,
    functions: Vec<FunctionCoverage>,
    /// How often each line ran.
    counts: std::collections::BTreeMap<u32, u64>,
}

impl Summary {
    pub(super) fn of(coverage: &Coverage) -> Self {
        let (run, lines) = coverage.lines();
        let file = |file: &FileCoverage| {
            let (run, lines) = file.run_of_all();
            let detail = Detail {
                file: file.file.clone(),
                functions: file.functions.clone(),
                counts: file.lines.clone(),
            };
            let never_run = file.never_run();
            FileSummary { lines, run, percent: file.percent(), never_run, detail }
        };
        let files = coverage.files.iter().map(file).collect();
        Self { lines, run, percent: coverage.percent(), files }
    }
}

/// `66.7 %`; what is not all is never rounded to all.
pub(super) fn percent(percent: f64) -> String {
    let rounded = (percent * 10.0).floor() / 10.0;
    if rounded.fract() == 0.0 { format!("{rounded:.0} %") } else { format!("{rounded:.1} %") }
}

/// The coverage of each file and function, then the lines that never ran.
pub(super) fn render(coverage: &Coverage, rules: &RuleSet) -> String {
    let mut parts = vec![files(coverage), functions(coverage)];
    for file in &coverage.files {
        let source = rules.files().iter().find(|source| source.path == file.file);
        let text = source.map_or("", |source| source.text.as_str());
        parts.extend(file.never_run().into_iter().map(|range| excerpt(file, text, range)));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn files(coverage: &Coverage) -> String {
    let mut table = output::table(&["file", "lines", "run", "", "never run"]);
    let row = |name: &str, (run, all): (usize, usize), share: f64, never: String| {
        [name.to_owned(), all.to_string(), run.to_string(), percent(share), never]
    };
    for file in &coverage.files {
        let never: Vec<String> = file.never_run().into_iter().map(range).collect();
        table.add_row(row(&file.file, file.run_of_all(), file.percent(), never.join(", ")));
    }
    table.add_row(row("total", coverage.lines(), coverage.percent(), String::new()));
    output::render_table(&mut table)
}

fn functions(coverage: &Coverage) -> String {
    let mut table = output::table(&["handler or function", "calls", "defined at"]);
    let mut rows = 0;
    // What the engine calls comes first.
    for is_handler in [true, false] {
        for file in &coverage.files {
            for function in file.functions.iter().filter(|f| f.is_handler == is_handler) {
                let calls = match function.calls {
                    0 => "never".to_owned(),
                    calls => calls.to_string(),
                };
                let place = format!("{}:{}", file.file, function.line);
                table.add_row([function.name.clone(), calls, place]);
                rows += 1;
            }
        }
    }
    if rows == 0 { String::new() } else { output::render_table(&mut table) }
}

fn range((first, last): (u32, u32)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// What never ran, with `!` before each line that could.
fn excerpt(file: &FileCoverage, text: &str, (first, last): (u32, u32)) -> String {
    let mut lines = vec![format!("never run: {}:{}", file.file, range((first, last)))];
    let width = last.to_string().len();
    for (number, line) in (1_u32..).zip(text.lines()) {
        if number < first || number > last {
            continue;
        }
        if number - first >= MOST_LINES {
            lines.push(format!(" {:>width$}   …", ""));
            break;
        }
        let mark = if file.lines.contains_key(&number) { '!' } else { ' ' };
        lines.push(format!(" {number:>width$} {mark} {}", line.trim_end()));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{RuleEnvironment, SourceFile};

    #[test]
    fn files_functions_and_lines_never_run_are_listed() {
        let script = "\
fn map_contact(contact, brevo) {
    if contact.role == \"lead\" {
        // A lead.
        brevo.A = 1;

        brevo.B = helper(2);
    }
}
fn helper(n) { n }
";
        let file = SourceFile { path: "scripts/a.rhai".to_owned(), text: script.to_owned() };
        let rules = RuleSet::from_files(vec![file], &RuleEnvironment::default()).unwrap();
        let function = |name: &str, line, calls| FunctionCoverage {
            name: name.to_owned(),
            line,
            is_handler: name == "map_contact",
            calls,
        };
        let coverage = Coverage {
            files: vec![FileCoverage {
                file: "scripts/a.rhai".to_owned(),
                lines: [(2, 3), (4, 0), (6, 0), (9, 0)].into(),
                functions: vec![function("map_contact", 1, 3), function("helper", 9, 0)],
            }],
        };
        let expected = "\
file            lines  run        never run
scripts/a.rhai  4      1    25 %  4-6, 9
total           4      1    25 %

handler or function  calls  defined at
map_contact          3      scripts/a.rhai:1
helper               never  scripts/a.rhai:9

never run: scripts/a.rhai:4-6
 4 !         brevo.A = 1;
 5
 6 !         brevo.B = helper(2);

never run: scripts/a.rhai:9
 9 ! fn helper(n) { n }";
        let text = render(&coverage, &rules);
        let text: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(text.join("\n"), expected);
    }

    #[test]
    fn what_is_not_all_is_not_rounded_to_all() {
        assert_eq!(percent(100.0), "100 %");
        assert_eq!(percent(99.96), "99.9 %");
        assert_eq!(percent(200.0 / 3.0), "66.6 %");
        assert_eq!(percent(0.0), "0 %");
    }
}
