//! What a sync costs: as few calls as the services allow, and never faster than they allow.

use tajo::sandbox::Seed;

use crate::support::App;

#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_contacts_cost_about_thirty_reads_of_intercom() {
    let app = App::builder()
        .with_seed(Seed::new(3_000).companies(450).without_long_lists())
        .start()
        .await;
    app.sync().await;
    let is_event = |path: &str| path == "/events";
    let calls = app.sandbox.intercom.log().count(|call| !is_event(&call.path));
    // 3,000 / 150 pages of contacts, 450 / 100 of companies and the empty page that ends a scroll,
    // the tags.
    assert!((20 + 5..=32).contains(&calls), "{calls} calls");
    // Events are asked for once of each contact that was ever seen.
    let asked = app.sandbox.intercom.log().count(|call| is_event(&call.path));
    let seen = app.sandbox.intercom.contacts().into_iter().filter(|c| c["last_seen_at"].is_i64());
    assert_eq!(asked, seen.count());
    let status = app.status().await;
    assert_eq!((status.contacts_synced, status.companies_synced), (3_000, 450));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_cut_at_ten_costs_one_call_and_none_the_next_time() {
    let app = App::builder().with_seed(Seed::new(600).companies(60)).start().await;
    let long = |contact: &serde_json::Value| {
        usize::from(contact["tags"]["has_more"] == true)
            + usize::from(contact["companies"]["has_more"] == true)
    };
    let cut: usize = app.sandbox.intercom.contacts().iter().map(long).sum();
    assert!(cut > 0, "the seed has no long lists");
    let sublist_calls = || {
        app.sandbox.intercom.log().count(|call| {
            call.path.starts_with("/contacts/")
                && (call.path.ends_with("/tags") || call.path.ends_with("/companies"))
        })
    };
    app.sync().await;
    assert_eq!(sublist_calls(), cut);
    app.sync().await;
    assert_eq!(sublist_calls(), cut, "an unchanged contact was read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_within_brevos_real_limits_makes_few_writes_and_no_429() {
    let app =
        App::builder().with_seed(Seed::new(3_000).companies(450)).with_real_limits().start().await;
    app.sync().await;
    assert_eq!(app.sandbox.brevo.throttled(), 0, "brevo had to refuse");

    let log = app.sandbox.brevo.log();
    let blacklisted =
        app.sandbox.brevo.contacts().iter().filter(|c| c["emailBlacklisted"] == true).count();
    let conflicts =
        log.count(|call| call.status == 400 && call.response["code"] == "duplicate_parameter");
    // One call for each blacklisted contact; a conflict costs the refused call and the one without.
    let exempt = blacklisted + 2 * conflicts;
    let writes = app.sandbox.brevo.writes().saturating_sub(exempt);
    assert!(
        writes <= 3 * 15,
        "{writes} writes for 3,000 contacts ({exempt} exempt): {:?}",
        app.engine().brevo_calls()
    );
    assert_eq!(app.status().await.dead_letters, 0);
    app.assert_consent_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_webhooks_is_written_in_bulk() {
    let app = App::builder().start().await;
    let people = 600;
    for person in 0..people {
        let email = format!("p{person}@example.com");
        let contact =
            serde_json::json!({"email": email, "name": format!("P{person}"), "role": "user"});
        let changed = app.sandbox.intercom.create_contact(contact).unwrap();
        app.deliver(changed.notifications[0].to_string().as_bytes()).await;
    }
    app.drained().await;
    assert_eq!(app.sandbox.brevo.contact_count(), people);
    let writes = app.sandbox.brevo.writes();
    assert!(writes < people / 2, "{writes} writes for {people} new contacts");
}
