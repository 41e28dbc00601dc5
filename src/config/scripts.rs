//! `scripts`: where the rules are, and what they may use up.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::duration::is_off;
use super::reader::Section;
use super::root::resolve;
use super::setting::{Choice, Percent, Setting};

/// Settings of the rules.
#[derive(Clone)]
pub struct Scripts {
    /// The folder, resolved against [`super::Config::root`].
    pub dir: PathBuf,
    /// A set whose tests fail does not go live.
    pub require_tests: bool,
    /// What a new set is applied to.
    pub on_change: OnChange,
    /// How a new set starts.
    pub canary: Canary,
    /// The constant `settings` in scripts. A value that came from a variable is text.
    pub settings: Map<String, Value>,
    /// What one evaluation may use up.
    pub limits: ScriptLimits,
}

/// Of `settings` only the keys: a value may have come from a variable that is secret.
impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dir, require_tests, on_change, canary, settings, limits } = self;
        f.debug_struct("Scripts")
            .field("dir", dir)
            .field("require_tests", require_tests)
            .field("on_change", on_change)
            .field("canary", canary)
            .field("settings", &settings.keys().collect::<Vec<_>>())
            .field("limits", limits)
            .finish()
    }
}

/// What a new rule set is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// All known records, behind the guard.
    Reapply,
    /// Records that change from then on.
    NewRecords,
}

impl Choice for OnChange {
    const WORDS: &'static [(&'static str, Self)] =
        &[("reapply", Self::Reapply), ("new_records", Self::NewRecords)];
}

/// How a new rule set starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Canary {
    /// For everybody at once.
    Off,
    /// For this share of the contacts, in percent: more than 0, at most 100.
    Share(f64),
    /// For nobody: its decisions are compared with those of the live set.
    Shadow,
}

impl Setting for Canary {
    fn parse(text: &str) -> Result<Self, String> {
        if is_off(text) {
            return Ok(Self::Off);
        }
        if text.eq_ignore_ascii_case("shadow") {
            return Ok(Self::Shadow);
        }
        match Percent::parse(text) {
            Ok(Percent(share)) if text.ends_with('%') && share > 0.0 => Ok(Self::Share(share)),
            _ => Err("allowed are `off`, `shadow` and a share such as `5%`".to_owned()),
        }
    }
}

/// What one evaluation may use up. None is 0, which Rhai would take for "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptLimits {
    /// Steps of the interpreter.
    pub operations: u64,
    /// Time from start to end.
    pub time: Duration,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Calls within calls.
    pub call_depth: usize,
    /// Length of a text, in bytes.
    pub string_bytes: usize,
    /// Items of an array.
    pub array_items: usize,
    /// Entries of a map.
    pub map_items: usize,
}

pub(super) fn read(mut section: Section<'_>, root: &Path) -> Option<Scripts> {
    let scripts = Scripts {
        dir: resolve(root, &section.get::<PathBuf>("dir")?),
        require_tests: section.get("require_tests")?,
        on_change: section.get("on_change")?,
        canary: section.get("canary")?,
        settings: section.json("settings"),
        limits: limits(section.section("limits"))?,
    };
    section.finish();
    Some(scripts)
}

/// The upper bounds keep one script from taking the process along: each level of calls takes stack,
/// and a long array makes size checks slow (facts: Rhai, the holes of the sandbox).
fn limits(mut section: Section<'_>) -> Option<ScriptLimits> {
    let limits = ScriptLimits {
        operations: section.number("operations", 1..=1_000_000_000)?,
        time: Duration::from_millis(section.number("time_ms", 1..=60_000)?),
        memory_bytes: section.number("memory_mb", 1..=4_096)? * 1_024 * 1_024,
        call_depth: size(section.number("call_depth", 1..=64)?),
        string_bytes: size(section.number("string_bytes", 1..=16_777_216)?),
        array_items: size(section.number("array_items", 1..=100_000)?),
        map_items: size(section.number("map_items", 1..=100_000)?),
    };
    section.finish();
    Some(limits)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_off_a_share_or_a_shadow() {
        fn case(text: &str, expected: Option<Canary>) {
            assert_eq!(Canary::parse(text).ok(), expected, "{text}");
        }
        case("off", Some(Canary::Off));
        case("false", Some(Canary::Off));
        case("shadow", Some(Canary::Shadow));
        case("5%", Some(Canary::Share(5.0)));
        case("0.5%", Some(Canary::Share(0.5)));
        case("100%", Some(Canary::Share(100.0)));
        case("5", None);
        case("0%", None);
        case("101%", None);
        case("NaN%", None);
        case("on", None);
    }
}
