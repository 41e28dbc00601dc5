//! What is wrong with a configuration, as people and as programs read it.

use std::fmt;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::excerpt::Excerpt;

/// One thing that is wrong. Its texts hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// The file, as it was named to the program.
    pub file: String,
    /// The line, from 1; none where the file as a whole is meant.
    pub line: Option<u32>,
    /// The column in characters, from 1.
    pub column: Option<u32>,
    /// What to do about it.
    pub help: Option<String>,
    /// The line itself, with what could be secret left out.
    #[serde(skip)]
    pub(super) excerpt: Option<Excerpt>,
}

impl Problem {
    /// A problem of the file as a whole.
    pub(super) fn of_file(file: &Path, message: String, help: String) -> Self {
        let file = file.display().to_string();
        Self { message, file, line: None, column: None, help: Some(help), excerpt: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}\n --> {}", self.message, self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
            if let Some(excerpt) = &self.excerpt {
                excerpt.render(f, line)?;
            }
        }
        match &self.help {
            Some(help) => write!(f, "\n help: {help}"),
            None => Ok(()),
        }
    }
}

/// All that is wrong with a configuration; at least one problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let (reason, help) = match error.kind() {
            io::ErrorKind::NotFound => (
                "there is no such file".to_owned(),
                "write one with `tajo init`, or name another with `--config FILE`",
            ),
            io::ErrorKind::InvalidData => {
                ("it is not text in UTF-8".to_owned(), "save it again with that encoding")
            }
            _ => (error.to_string(), "see that this user may read it"),
        };
        let message = format!("the configuration cannot be read: {reason}");
        Self::new(vec![Problem::of_file(path, message, help.to_owned())])
    }

    /// The problems in the order of their lines.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
