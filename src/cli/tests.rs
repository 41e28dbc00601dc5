//! What every command has in common: names, help, exit status.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

/// The help of a command, as `--help` shows it.
fn help(line: &str) -> String {
    let line = format!("{line} --help");
    // Whatever the terminal is that the tests run in.
    let command = Cli::command().term_width(100);
    let error = command.try_get_matches_from(line.split_whitespace()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{error}");
    let text = error.to_string();
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// All commands that do something, by their full names.
fn leaves(command: &clap::Command, name: &str, found: &mut Vec<String>) {
    let below: Vec<_> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
    if below.is_empty() {
        found.push(name.to_owned());
    }
    for sub in below {
        leaves(sub, &format!("{name} {}", sub.get_name()), found);
    }
}

#[test]
fn verify_cli() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_begins_with_a_verb_and_shows_an_example() {
    let mut commands = Vec::new();
    leaves(&Cli::command(), "tajo", &mut commands);
    assert!(commands.contains(&"tajo dead-letters retry".to_owned()), "{commands:?}");
    for command in commands {
        let help = help(&command);
        let first = help.split_whitespace().next().unwrap();
        assert!(first.ends_with('s') && first.starts_with(char::is_uppercase), "{command}: {help}");
        assert!(help.contains("Example") && help.contains(&command), "{command}: {help}");
    }
}

#[test]
fn the_commands_of_the_contract_are_understood() {
    for line in [
        "tajo init",
        "tajo init shop",
        "tajo demo",
        "tajo serve",
        "tajo --config x.yaml serve",
        "tajo serve --config x.yaml",
        "tajo sandbox --contacts 10 --companies 2 --intercom-port 0 --brevo-port 0 --no-limits",
        "tajo connectors connect intercom",
        "tajo connectors connect intercom --code abc= --json",
        "tajo connectors test intercom",
        "tajo connectors test brevo --json",
        "tajo connectors sync intercom --type full --since 2023-01-01 \
         --resources contacts,conversations,companies,events,tags",
        "tajo connectors status intercom --json",
        "tajo scripts check",
        "tajo scripts definitions",
        "tajo scripts definitions editor --live --json",
        "tajo scripts test vip --coverage --lcov lcov.info --min-coverage 90 --json",
        "tajo scripts test --watch",
        "tajo scripts run --record ann.json --handler merge_contact --existing brevo.json --watch",
        "tajo scripts run --record contact:5ba6 --as-of 2026-01-01 --json",
        "tajo scripts record ann@example.com --name ann --force",
        "tajo dead-letters list",
        "tajo dead-letters show 1",
        "tajo dead-letters retry 1",
        "tajo dead-letters retry --all",
        "tajo dead-letters drop --all",
        "tajo held list --json",
        "tajo held show 1",
        "tajo held approve 1",
        "tajo held reject 1",
        "tajo completions zsh",
    ] {
        parse(line).map(drop).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for line in [
        "tajo",
        "tajo nothing",
        "tajo connectors sync brevo",
        "tajo connectors sync intercom --since yesterday",
        "tajo dead-letters retry",
        "tajo dead-letters drop 1 --all",
        "tajo held approve",
        "tajo held reject first",
    ] {
        assert_eq!(parse(line).map(drop).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn the_help_lists_the_commands() {
    insta::assert_snapshot!(help("tajo"), @r#"
    Brings Brevo to the state that your scripts decide from Intercom's contacts

    Usage: tajo [OPTIONS] <COMMAND>

    Commands:
      init          Writes a configuration and the default rules
      demo          Shows the whole thing on this machine, with fake services and no account
      serve         Runs the engine as a service: takes webhooks, sweeps Intercom, writes to Brevo
      sandbox       Runs the fake Intercom and Brevo alone, to develop rules against
      connectors    Checks, syncs and shows connectors
      scripts       Works on the rules
      dead-letters  Lists, shows, retries and drops dead letters
      held          Lists, shows, approves and rejects what waits for approval
      completions   Prints a script that lets a shell complete commands
      help          Print this message or the help of the given subcommand(s)

    Options:
          --config <FILE>  The configuration [env: TAJO_CONFIG] [default: config/tajo.yaml]
      -h, --help           Print help
      -V, --version        Print version

    Examples:
      tajo demo                                       # the whole thing on this machine, no accounts
      tajo init shop && cd shop && tajo serve         # a deployment of your own

    Exit status: 0 success, 1 the thing asked about is not well, 2 wrong usage or configuration.
"#);
}

#[test]
fn the_help_of_a_sync_says_what_it_does() {
    insta::assert_snapshot!(help("tajo connectors sync"), @r#"
    Reads Intercom now, and waits until Brevo is as the rules decide.

    The running engine does the work; without one this command does it itself.

    Usage: tajo connectors sync [OPTIONS] <CONNECTOR>

    Arguments:
      <CONNECTOR>
              Which connector

              Possible values:
              - intercom: Intercom

    Options:
          --config <FILE>
              The configuration

              [env: TAJO_CONFIG]
              [default: config/tajo.yaml]

          --type <KIND>
              How much is read

              Possible values:
              - full:        Everything
              - incremental: What changed since the last sync

              [default: incremental]

          --resources <NAME,…>
              What is read: contacts, conversations, companies, events, tags [default: what
              `connectors.intercom.sync` names]

          --since <DATE>
              Only what was updated since: a date, a time (ISO 8601) or seconds since 1970

          --backfill-events
              Sends what happened before the first sync as events, too

          --explain-plan
              Prints how Brevo was written: imports, list calls, single calls, and what one call for
              each contact would have been

          --json
              Prints the result as JSON

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Examples:
      tajo connectors sync intercom
      tajo connectors sync intercom --type full --resources contacts,companies,tags
      tajo connectors sync intercom --type full --since 2023-01-01

    Ends with 0 when everything was read and written, with 1 when something is missing or became a
    dead letter.
"#);
}
