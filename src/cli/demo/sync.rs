//! The first full sync, and a second one of the unchanged workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::Value;

use super::calls::Ledger;
use super::cast::{email_of, is_true};
use super::error::DemoError;
use super::report::{Report, count, grouped};
use super::stage::Stage;
use crate::sandbox::Logged;
use crate::store::{Resource, Sync, SyncState};

/// Reads the whole of Intercom into an empty Brevo.
pub(super) async fn first(
    stage: &Stage,
    report: &mut Report,
    ledger: &mut Ledger,
) -> Result<(), DemoError> {
    let people = stage.sandbox.intercom.contacts();
    report.step(&format!("A full sync of {}", count(people.len(), "contact")));
    let began = Instant::now();
    let sync = stage.full_sync().await?;
    let took = began.elapsed();

    let reads = stage.sandbox.intercom.log().len();
    let text = format!("Intercom was read in {}: {}", count(reads, "call"), seen(&sync));
    report.claim(is_complete(&sync, people.len()), text);

    let wanted: BTreeSet<String> = people.iter().filter_map(email_of).collect();
    let contacts = stage.sandbox.brevo.contacts();
    let written: BTreeSet<String> = contacts.iter().filter_map(email_of).collect();
    let naive = contacts.len() + memberships(stage);
    let writes = ledger.end_step(stage, "full sync", naive);
    report.timed_claim(
        written == wanted,
        &format!(
            "Brevo has all {} addresses, written by {}",
            grouped(wanted.len()),
            count(writes, "call")
        ),
        took,
    );

    let blacklisted = blacklisted(&contacts);
    let log = stage.sandbox.brevo.log();
    let singles = log.find(|entry| entry.method == "POST" && entry.path == "/v3/contacts");
    let address = |entry: &Logged| email_of(&entry.body);
    let guarded = singles.iter().filter_map(address).filter(|email| blacklisted.contains(email));
    report.detail(format!(
        "{} of these wrote one contact each, {} of them blacklisted ones: those are in no import",
        singles.len(),
        guarded.count()
    ));

    let status = stage.engine.status().await?;
    let addressed = people.iter().filter_map(email_of).count();
    let (without, second) = (people.len() - addressed, addressed - wanted.len());
    report.claim(
        status.records.skipped == (without + second) as u64,
        format!("{without} without an address were skipped, and {second} that share one with a contact that comes first"),
    );
    let opted_out: BTreeSet<String> = people
        .iter()
        .filter(|contact| is_true(contact, "unsubscribed_from_emails"))
        .filter_map(email_of)
        .collect();
    let carried = opted_out.iter().filter(|email| blacklisted.contains(*email)).count();
    report.claim(
        carried == opted_out.len(),
        format!("{carried} of {} opt-outs were carried over to Brevo", opted_out.len()),
    );
    report.detail(lists(stage));
    Ok(())
}

/// Reads it again: nothing changed, so nothing is written.
pub(super) async fn again(
    stage: &Stage,
    report: &mut Report,
    ledger: &mut Ledger,
) -> Result<(), DemoError> {
    report.step("The same full sync again");
    let contacts = stage.sandbox.brevo.contact_count();
    let naive = contacts + memberships(stage);
    let reads_before = stage.sandbox.intercom.log().len();
    let people = stage.sandbox.intercom.contacts().len();
    let before = stage.sandbox.brevo.state_digest();
    let began = Instant::now();
    let sync = stage.full_sync().await?;
    let took = began.elapsed();

    let reads = stage.sandbox.intercom.log().len() - reads_before;
    let text = format!("Intercom was read in {}: {}", count(reads, "call"), seen(&sync));
    report.claim(is_complete(&sync, people), text);
    let writes = ledger.end_step(stage, "the same full sync again", naive);
    let is_same = before == stage.sandbox.brevo.state_digest();
    let text =
        format!("{} wrote to Brevo: what is true already costs nothing", count(writes, "call"));
    report.timed_claim(writes == 0 && is_same, &text, took);
    Ok(())
}

fn is_complete(sync: &Sync, contacts: usize) -> bool {
    let seen = sync.resources.get(&Resource::Contacts).map(|progress| progress.seen);
    sync.state == SyncState::Done && seen == Some(contacts as u64)
}

/// Such as `500 contacts, 300 conversations, 71 companies, 15 tags`.
fn seen(sync: &Sync) -> String {
    let of = |resource: Resource| {
        let seen = sync.resources.get(&resource).map_or(0, |progress| progress.seen);
        format!("{} {}", grouped(seen as usize), resource.as_str())
    };
    let shown = [Resource::Contacts, Resource::Conversations, Resource::Companies, Resource::Tags];
    shown.map(of).join(", ")
}

fn blacklisted(contacts: &[Value]) -> BTreeSet<String> {
    contacts
        .iter()
        .filter(|contact| is_true(contact, "emailBlacklisted"))
        .filter_map(email_of)
        .collect()
}

/// How many memberships of lists there are that a rule grants.
fn memberships(stage: &Stage) -> usize {
    granted_lists(stage).values().sum()
}

/// Members by the name of the list. The technical list that imports need is none that a rule names.
fn granted_lists(stage: &Stage) -> BTreeMap<String, usize> {
    let technical = stage.engine.config().brevo.sync_list.clone();
    let lists = stage.sandbox.brevo.lists().into_iter().filter(|(_, name)| *name != technical);
    lists.map(|(number, name)| (name, stage.sandbox.brevo.list_members(number).len())).collect()
}

fn lists(stage: &Stage) -> String {
    let lists = granted_lists(stage);
    let lists: Vec<String> =
        lists.iter().map(|(name, members)| format!("{name} {}", grouped(*members))).collect();
    format!("lists in Brevo now: {}", lists.join(" · "))
}
