//! One test for each sentence about what goes live and what does not.

use std::fs;

use super::*;
use crate::model::{Digest, ManualClock, RuleSetVersion};
use crate::rules::files::{self, FolderContent};

const GOOD: &str = "fn map_contact(contact, brevo) { brevo.A = 1; }";
const BROKEN: &str = "fn map_contact(contact, brevo) {\n  brevo.A = split_nam(1);\n}";

struct Folder {
    dir: tempfile::TempDir,
    rules: Rules,
}

impl Folder {
    fn open(text: &str, change: impl FnOnce(&mut ReloadOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("scripts/tests")).unwrap();
        fs::write(dir.path().join("scripts/a.rhai"), text).unwrap();
        let mut options = ReloadOptions::new(dir.path().join("scripts"));
        // Without this no test would tell a watcher from a poll.
        options.poll = Duration::from_secs(600);
        change(&mut options);
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(7)));
        let rules = Rules::open(options, RuleEnvironment::default(), clock).unwrap();
        Self { dir, rules }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join("scripts").join(name), text).unwrap();
    }

    fn version(&self) -> Option<RuleSetVersion> {
        self.rules.current().map(|rules| rules.version().clone())
    }

    /// Waits until the status is as wanted; the deadline is there for a failing test only.
    fn wait_for(&self, wanted: impl FnMut(&RulesStatus) -> bool) -> RulesStatus {
        wait_for(&self.rules, wanted)
    }
}

fn wait_for(rules: &Rules, wanted: impl FnMut(&RulesStatus) -> bool) -> RulesStatus {
    let mut status = rules.subscribe();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let found = tokio::time::timeout(Duration::from_secs(20), status.wait_for(wanted));
        found.await.unwrap().unwrap().clone()
    })
}

#[test]
fn a_change_goes_live_by_itself() {
    let folder = Folder::open(GOOD, |_| {});
    let before = folder.rules.status();
    assert_eq!((before.loaded_at, &before.error), (Some(Timestamp::from_seconds(7)), &None));
    folder.write("a.rhai", &GOOD.replace('1', "2"));
    folder.wait_for(|status| status.version != before.version);
}

#[test]
fn a_change_goes_live_without_a_watcher_too() {
    let folder = Folder::open(GOOD, |options| {
        options.poll = Duration::from_millis(20);
        options.quiet = Duration::from_millis(1);
    });
    let before = folder.version();
    folder.write("b.rhai", "fn f() { 1 }");
    folder.wait_for(|status| status.version != before);
}

#[test]
fn keeps_the_old_rules_when_compilation_fails_and_shows_where() {
    let folder = Folder::open(GOOD, |_| {});
    let before = folder.version();
    folder.write("a.rhai", BROKEN);
    let ReloadOutcome::Refused(error) = folder.rules.reload() else { panic!("not refused") };
    assert_eq!(error.message, "there is no function `split_nam`");
    assert_eq!((error.file.as_str(), error.line, error.column), ("scripts/a.rhai", 2, 13));
    assert_eq!(folder.rules.status().error, Some(error));
    assert_eq!(folder.version(), before);
    assert_eq!(folder.rules.reload(), ReloadOutcome::Unchanged);

    folder.write("a.rhai", GOOD);
    assert_eq!(folder.rules.reload(), ReloadOutcome::Unchanged);
    assert_eq!(folder.rules.status().error, None);
}

#[test]
fn keeps_the_old_rules_when_a_test_fails() {
    let folder = Folder::open(GOOD, |_| {});
    folder.write("tests/a.rhai", "fn test_a() { assert_eq(run_contact(#{}).A, 1); }");
    assert_eq!(folder.rules.reload(), ReloadOutcome::Unchanged);
    folder.write("a.rhai", &GOOD.replace('1', "2"));
    let ReloadOutcome::Refused(error) = folder.rules.reload() else { panic!("not refused") };
    assert_eq!(error.message, "a test fails: got 2, expected 1");
    assert_eq!(error.file, "scripts/tests/a.rhai");
}

#[test]
fn an_empty_or_missing_folder_never_replaces_rules() {
    let folder = Folder::open(GOOD, |_| {});
    let before = folder.version();
    folder.write("a.rhai", "// nothing");
    assert!(matches!(folder.rules.reload(), ReloadOutcome::Refused(_)));
    fs::remove_dir_all(folder.dir.path().join("scripts")).unwrap();
    assert!(matches!(folder.rules.reload(), ReloadOutcome::Refused(_)));
    assert_eq!(folder.version(), before);
}

#[test]
fn broken_rules_at_the_start_leave_none_or_the_earlier_ones() {
    let folder = Folder::open(BROKEN, |_| {});
    assert!(folder.rules.current().is_none() && folder.rules.status().error.is_some());
    folder.write("a.rhai", GOOD);
    assert!(matches!(folder.rules.reload(), ReloadOutcome::Live(_)));

    let earlier = vec![SourceFile { path: "scripts/a.rhai".into(), text: GOOD.into() }];
    let folder = Folder::open(BROKEN, |options| options.earlier = Some(earlier));
    assert!(folder.rules.current().is_some() && folder.rules.status().error.is_some());
}

#[test]
fn another_configuration_is_another_version() {
    let folder = Folder::open(GOOD, |_| {});
    let before = folder.version();
    let lists = [("leads".to_owned(), 37)].into();
    folder.rules.set_environment(RuleEnvironment { lists, ..RuleEnvironment::default() });
    folder.wait_for(|status| status.version != before);
}

/// Rules that were refused once stay refused until the folder changes; so the history is checked by
/// what is left for it.
fn judgements(rules: &Rules) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    while let Some(judgement) = rules.next_judgement() {
        let error = judgement.error.as_ref().map(|error| error.message.clone());
        found.push((judgement.version.to_string(), error));
        rules.judgement_is_kept(&judgement);
    }
    found
}

fn pin(content: Digest, version: &RuleSetVersion) -> RulesPin {
    let at = Timestamp::from_seconds(5);
    RulesPin { version: version.to_string(), content, at, author: Some("ann".to_owned()) }
}

fn source(text: &str) -> Vec<SourceFile> {
    vec![SourceFile { path: "scripts/a.rhai".into(), text: text.into() }]
}

impl Folder {
    fn scripts(&self) -> PathBuf {
        self.dir.path().join("scripts")
    }

    /// Pins a text of `a.rhai` over what the folder holds now; answers its version.
    fn pin(&self, text: &str) -> RuleSetVersion {
        let version = files::version(&source(text), &RuleEnvironment::default());
        let pin = pin(FolderContent::read(&self.scripts()).rules(), &version);
        let outcome = self.rules.pin(Pinned { pin, files: source(text) });
        assert_eq!(outcome, ReloadOutcome::Live(version.clone()));
        version
    }
}

#[test]
fn a_set_that_is_written_bit_by_bit_goes_live_once_and_whole() {
    let folder = Folder::open(GOOD, |options| {
        options.poll = Duration::from_millis(5);
        // Far more than the pauses below, on a busy machine, too.
        options.quiet = Duration::from_millis(1_500);
    });
    let _ = judgements(&folder.rules);
    // Every prefix of this is a legal set of its own: only the pauses tell that it is not over.
    let text: String = (2..30).map(|n| format!("fn f{n}() {{ {n} }}\n")).collect();
    let path = folder.scripts().join("a.rhai");
    let mut file = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, GOOD.replace('1', "2").as_bytes()).unwrap();
    let (_keep, pause) = mpsc::channel::<()>();
    for line in text.split_inclusive('\n') {
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
        assert!(pause.recv_timeout(Duration::from_millis(20)).is_err());
    }
    let whole =
        files::version(&source(&fs::read_to_string(&path).unwrap()), &RuleEnvironment::default());
    folder.wait_for(|status| status.version.as_ref() == Some(&whole));
    assert_eq!(judgements(&folder.rules), [(whole.to_string(), None)]);
}

#[test]
fn an_editors_dance_is_one_change() {
    let folder = Folder::open(GOOD, |options| options.quiet = Duration::from_millis(1_000));
    let _ = judgements(&folder.rules);
    let dir = folder.scripts();
    let new = GOOD.replace('1', "2");
    // vim: a probe, a swap file, a backup by renaming, the file anew, the backup goes.
    fs::write(dir.join("4913"), "").unwrap();
    fs::remove_file(dir.join("4913")).unwrap();
    fs::write(dir.join(".a.rhai.swp"), "x").unwrap();
    fs::rename(dir.join("a.rhai"), dir.join("a.rhai~")).unwrap();
    fs::write(dir.join("a.rhai"), "").unwrap();
    fs::write(dir.join("a.rhai"), &new).unwrap();
    fs::remove_file(dir.join("a.rhai~")).unwrap();
    let expected = files::version(&source(&new), &RuleEnvironment::default());
    folder.wait_for(|status| status.version.as_ref() == Some(&expected));
    // Written beside and renamed, as most others do.
    let newer = GOOD.replace('1', "3");
    fs::write(dir.join("a.rhai___jb_tmp___"), &newer).unwrap();
    fs::rename(dir.join("a.rhai___jb_tmp___"), dir.join("a.rhai")).unwrap();
    let last = files::version(&source(&newer), &RuleEnvironment::default());
    folder.wait_for(|status| status.version.as_ref() == Some(&last));
    let live = |version: RuleSetVersion| (version.to_string(), None);
    assert_eq!(judgements(&folder.rules), [live(expected), live(last)]);
}

#[test]
fn a_folder_that_is_deleted_and_made_again_is_still_watched() {
    let folder = Folder::open(GOOD, |_| {});
    let before = folder.rules.status();
    fs::remove_dir_all(folder.scripts()).unwrap();
    folder.wait_for(|status| status.error.is_some());
    assert_eq!(folder.rules.status().version, before.version);
    for number in 2..5 {
        let before = folder.version();
        fs::create_dir_all(folder.scripts()).unwrap();
        folder.write("a.rhai", &GOOD.replace('1', &number.to_string()));
        folder.wait_for(|status| status.version != before && status.error.is_none());
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_is_switched_is_a_change_as_kubernetes_makes_it() {
    use std::os::unix::fs::symlink;
    let folder = Folder::open(GOOD, |_| {});
    let dir = folder.scripts();
    let put = |name: &str, number: u32| {
        fs::create_dir(dir.join(name)).unwrap();
        let text = GOOD.replace('1', &number.to_string());
        fs::write(dir.join(name).join("a.rhai"), &text).unwrap();
        files::version(&source(&text), &RuleEnvironment::default())
    };
    let first = put("..2026_01", 2);
    symlink("..2026_01", dir.join("..data")).unwrap();
    fs::remove_file(dir.join("a.rhai")).unwrap();
    symlink("..data/a.rhai", dir.join("a.rhai")).unwrap();
    folder.wait_for(|status| status.version.as_ref() == Some(&first));
    for (name, number) in [("..2026_02", 3), ("..2026_03", 4)] {
        let expected = put(name, number);
        symlink(name, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
        folder.wait_for(|status| status.version.as_ref() == Some(&expected));
    }
}

#[cfg(unix)]
#[test]
fn a_scripts_folder_that_is_a_link_is_watched_by_its_name() {
    use std::os::unix::fs::symlink;
    let above = tempfile::tempdir().unwrap();
    let put = |name: &str, number: u32| {
        fs::create_dir_all(above.path().join(name)).unwrap();
        let text = GOOD.replace('1', &number.to_string());
        fs::write(above.path().join(name).join("a.rhai"), &text).unwrap();
        files::version(&source(&text), &RuleEnvironment::default())
    };
    let first = put("v1", 1);
    symlink("v1", above.path().join("scripts")).unwrap();
    let mut options = ReloadOptions::new(above.path().join("scripts"));
    options.poll = Duration::from_secs(600);
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(7)));
    let rules = Rules::open(options, RuleEnvironment::default(), clock).unwrap();
    assert_eq!(rules.status().version, Some(first));
    for (name, number) in [("v2", 2), ("v3", 3)] {
        let switched = put(name, number);
        symlink(name, above.path().join("next")).unwrap();
        fs::rename(above.path().join("next"), above.path().join("scripts")).unwrap();
        wait_for(&rules, |status| status.version.as_ref() == Some(&switched));
        // What is written behind the link afterwards is seen, too.
        let edited = put(name, number + 10);
        wait_for(&rules, |status| status.version.as_ref() == Some(&edited));
    }
}

#[test]
fn all_problems_of_a_refused_set_are_shown() {
    let folder = Folder::open(GOOD, |_| {});
    folder.write(
        "a.rhai",
        "fn map_contact(contact, brevo) {\n  brevo.A = nix(1);\n  brevo.B = nada();\n}",
    );
    assert!(matches!(folder.rules.reload(), ReloadOutcome::Refused(_)));
    let refused = folder.rules.status().refused.unwrap();
    assert_eq!(refused.problems.len(), 2, "{refused:?}");
    assert!(refused.version.is_some());
    folder.write("a.rhai", GOOD);
    assert_eq!(folder.rules.reload(), ReloadOutcome::Unchanged);
    assert_eq!(folder.rules.status().refused, None);
}

#[test]
fn a_failing_test_of_the_live_rules_is_shown_but_makes_no_version() {
    let folder = Folder::open(GOOD, |_| {});
    let _ = judgements(&folder.rules);
    folder.write("tests/a.rhai", "fn test_a() { assert_eq(run_contact(#{}).A, 2); }");
    assert!(matches!(folder.rules.reload(), ReloadOutcome::Refused(_)));
    assert_eq!(judgements(&folder.rules), []);
}

#[test]
fn tests_that_recurse_panic_or_loop_cost_the_set_and_not_the_thread() {
    let folder = Folder::open(GOOD, |_| {});
    let before = folder.version();
    let deep =
        format!("fn test_a() {{ assert({}true{}); }}", "(".repeat(50_000), ")".repeat(50_000));
    let nested = format!(
        "fn test_a() {{ let x = {}{}; assert(true); }}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    for test in [
        "fn f(n) { f(n + 1) + 1 } fn test_a() { assert(f(0) > 0); }",
        "fn test_a() { loop { } }",
        &deep,
        &nested,
    ] {
        folder.write("tests/a.rhai", test);
        assert!(matches!(folder.rules.reload(), ReloadOutcome::Refused(_)), "{:?}", test.get(..24));
    }
    assert_eq!(folder.version(), before);
    fs::remove_file(folder.scripts().join("tests/a.rhai")).unwrap();
    folder.write("a.rhai", &GOOD.replace('1', "2"));
    assert!(matches!(folder.rules.reload(), ReloadOutcome::Live(_)));
}

#[test]
fn limits_of_the_configuration_are_in_force_without_a_new_version() {
    let folder = Folder::open(GOOD, |_| {});
    let before = folder.version();
    let mut environment = RuleEnvironment::default();
    environment.limits.operations = 77;
    folder.rules.set_environment(environment);
    assert_eq!(folder.rules.reload(), ReloadOutcome::Unchanged);
    assert_eq!(folder.version(), before);
    assert_eq!(folder.rules.current().unwrap().environment().limits.operations, 77);
}

#[test]
fn a_pin_holds_until_the_rules_in_the_folder_change() {
    let folder = Folder::open(GOOD, |_| {});
    let pinned = folder.pin(&GOOD.replace('1', "2"));
    assert_eq!(folder.version().as_ref(), Some(&pinned));
    assert_eq!(folder.rules.status().pinned.unwrap().version, pinned.to_string());
    // A test is no rule.
    folder.write("tests/a.rhai", "fn test_a() { assert_eq(run_contact(#{}).A, 1); }");
    assert_eq!(folder.rules.reload(), ReloadOutcome::Unchanged);
    assert_eq!(folder.version().as_ref(), Some(&pinned));
    fs::remove_file(folder.scripts().join("tests/a.rhai")).unwrap();
    // What is refused ends nothing.
    folder.write("a.rhai", BROKEN);
    assert!(matches!(folder.rules.reload(), ReloadOutcome::Refused(_)));
    assert!(folder.rules.status().pinned.is_some() && folder.rules.status().error.is_some());
    // As it was when it was pinned: it holds, and nothing is wrong.
    folder.write("a.rhai", GOOD);
    assert_eq!(folder.rules.reload(), ReloadOutcome::Unchanged);
    let status = folder.rules.status();
    assert_eq!((status.version.as_ref(), &status.error), (Some(&pinned), &None));
    let _ = judgements(&folder.rules);
    folder.write("a.rhai", &GOOD.replace('1', "3"));
    assert!(matches!(folder.rules.reload(), ReloadOutcome::Live(_)));
    assert_eq!(folder.rules.status().pinned, None);
    let judgement = folder.rules.next_judgement().unwrap();
    assert_eq!(judgement.ended.as_ref().unwrap().version, pinned.to_string());
}

#[test]
fn a_pin_survives_a_restart_and_its_end_lets_the_folder_decide() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("scripts")).unwrap();
    fs::write(dir.path().join("scripts/a.rhai"), GOOD).unwrap();
    let old = GOOD.replace('1', "2");
    let version = files::version(&source(&old), &RuleEnvironment::default());
    let open = |content: Digest| {
        let mut options = ReloadOptions::new(dir.path().join("scripts"));
        options.pinned = Some(Pinned { pin: pin(content, &version), files: source(&old) });
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(7)));
        Rules::open(options, RuleEnvironment::default(), clock).unwrap()
    };
    let content = FolderContent::read(&dir.path().join("scripts")).rules();
    let rules = open(content);
    assert_eq!(rules.status().version, Some(version.clone()));
    let judgement = rules.next_judgement().unwrap();
    assert_eq!(judgement.author.as_deref(), Some("ann"));
    let in_folder = files::version(&source(GOOD), &RuleEnvironment::default());
    assert_eq!(rules.unpin(), ReloadOutcome::Live(in_folder.clone()));
    assert_eq!(rules.status().pinned, None);

    // The folder changed while nothing ran: it is judged, and good.
    let rules = open(Digest::of_bytes(b"something else"));
    assert_eq!((rules.status().version, rules.status().pinned), (Some(in_folder), None));
    drop(rules);
    // It changed and is broken: what is pinned stays.
    fs::write(dir.path().join("scripts/a.rhai"), BROKEN).unwrap();
    let rules = open(content);
    let status = rules.status();
    assert_eq!(status.version, Some(version.clone()));
    assert!(status.pinned.is_some() && status.error.is_some());
}

#[test]
fn a_pin_on_what_does_not_work_changes_nothing() {
    let folder = Folder::open(GOOD, |_| {});
    let before = folder.rules.status();
    let pin = pin(Digest::of_bytes(b""), &RuleSetVersion::from_text("0a1b2c3d4e5f6071"));
    let outcome = folder.rules.pin(Pinned { pin, files: source(BROKEN) });
    assert!(matches!(outcome, ReloadOutcome::Refused(_)));
    assert_eq!(folder.rules.status(), before);
}
