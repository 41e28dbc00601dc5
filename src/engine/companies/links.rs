//! Links between contacts and companies: gathered by company, since each call is one of a hundred an
//! hour, and imported where there are many.

use std::collections::BTreeMap;

use super::file;
use super::read_back;
use super::write::FEW;
use crate::brevo::{BrevoClient, BrevoError, CompanyImport, ErrorKind};
use crate::engine::sink::GATHER;
use crate::engine::{EngineError, Inner};
use crate::http::Lane;
use crate::model::RecordId;
use crate::store::{Cause, DueLinks, LinkEnd};

/// How many links a round takes.
const LINKS: usize = 10_000;
/// How many contacts one call links and unlinks.
const PER_CALL: usize = 500;

/// Makes and undoes links that are due; true if there were any.
pub(super) async fn deliver(engine: &Inner) -> Result<bool, EngineError> {
    let due = gather(engine).await?;
    if due.is_empty() {
        return Ok(false);
    }
    let brevo = engine.services.load_full().brevo.clone();
    read_back::recover(engine, Lane::Bulk).await?;
    let mut calls = Vec::new();
    let started = engine.clock.now();
    for one in due {
        if !one.foreign.is_empty() {
            let ends = one.foreign.iter().map(|contact| (contact.clone(), LinkEnd::Foreign));
            engine.store.end_links(one.company.clone(), ends.collect(), started).await?;
        }
        if !one.link.is_empty() || !one.unlink.is_empty() {
            calls.push(one);
        }
    }
    if calls.len() > FEW {
        calls = import(engine, calls).await?;
    }
    for one in calls {
        call(engine, &brevo, one).await?;
    }
    Ok(true)
}

/// What is due, and what is about to be.
async fn gather(engine: &Inner) -> Result<Vec<DueLinks>, EngineError> {
    let load = || engine.store.due_links(LINKS, engine.clock.now());
    let enough = |due: &Vec<DueLinks>| {
        let links = |one: &DueLinks| one.link.len() + one.unlink.len() + one.foreign.len();
        due.is_empty() || due.iter().map(links).sum::<usize>() >= LINKS
    };
    engine.gather(GATHER, load, enough, || engine.brings_more()).await
}

/// Links and unlinks by import, and answers what Brevo does not show afterwards. That an import links
/// is documented, but not well: what it leaves undone is done by calls.
async fn import(engine: &Inner, due: Vec<DueLinks>) -> Result<Vec<DueLinks>, EngineError> {
    let started = engine.clock.now();
    let numbers = |pairs: &[(RecordId, i64)]| pairs.iter().map(|(_, id)| *id).collect::<Vec<_>>();
    let pairs = |of: fn(&DueLinks) -> &[(RecordId, i64)]| -> BTreeMap<&str, Vec<i64>> {
        let some = due.iter().filter(|one| !of(one).is_empty());
        some.map(|one| (one.brevo.as_str(), numbers(of(one)))).collect()
    };
    for (pairs, kind) in [
        (pairs(|one| &one.link), CompanyImport::Write),
        (pairs(|one| &one.unlink), CompanyImport::Unlink),
    ] {
        for (text, rows) in file::links(&pairs)? {
            tracing::info!(rows, ?kind, "links of companies are imported");
            read_back::import(engine, Lane::Bulk, &text, kind).await?;
        }
    }
    let marker = engine.services.load_full().companies.marker();
    let listed = read_back::since(engine, Lane::Bulk, &marker, Some(started)).await?;
    let shown: BTreeMap<&str, _> =
        listed.iter().map(|company| (company.id.as_str(), &company.contacts)).collect();
    let mut rest = Vec::new();
    for mut one in due {
        if let Some(contacts) = shown.get(one.brevo.as_str()) {
            let linked = one.link.extract_if(.., |(_, id)| contacts.contains(id));
            let mut ends: Vec<(RecordId, LinkEnd)> =
                linked.map(|(contact, id)| (contact, LinkEnd::Linked(id))).collect();
            let unlinked = one.unlink.extract_if(.., |(_, id)| !contacts.contains(id));
            ends.extend(unlinked.map(|(contact, _)| (contact, LinkEnd::Unlinked)));
            engine.store.end_links(one.company.clone(), ends, started).await?;
        }
        if !one.link.is_empty() || !one.unlink.is_empty() {
            rest.push(one);
        }
    }
    Ok(rest)
}

/// One of the two sides of a call.
type Side = Vec<(RecordId, i64)>;

/// Makes the calls for one company. Contacts that Brevo refuses are found by halving.
async fn call(engine: &Inner, brevo: &BrevoClient, due: DueLinks) -> Result<(), EngineError> {
    let DueLinks { company, brevo: id, link, unlink, .. } = due;
    let mut parts: Vec<(Side, Side)> = Vec::new();
    parts.extend(link.chunks(PER_CALL).map(|chunk| (chunk.to_vec(), Side::new())));
    for chunk in unlink.chunks(PER_CALL) {
        // One call links and unlinks.
        match parts.first_mut().filter(|(_, unlink)| unlink.is_empty()) {
            Some((_, unlink)) => *unlink = chunk.to_vec(),
            None => parts.push((Side::new(), chunk.to_vec())),
        }
    }
    while let Some((link, unlink)) = parts.pop() {
        let numbers = |side: &Side| side.iter().map(|(_, id)| *id).collect::<Vec<_>>();
        let answer = brevo.link_contacts(Lane::Bulk, &id, &numbers(&link), &numbers(&unlink)).await;
        let ends = match answer {
            Ok(()) => {
                engine.companies.succeed();
                let linked = link.into_iter().map(|(contact, id)| (contact, LinkEnd::Linked(id)));
                let unlinked = unlink.into_iter().map(|(contact, _)| (contact, LinkEnd::Unlinked));
                linked.chain(unlinked).collect()
            }
            Err(BrevoError::NotFound { .. }) => {
                engine.store.lose_company(company, engine.clock.now()).await?;
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Permanent => match halves(link, unlink) {
                Ok(halves) => {
                    parts.extend(halves);
                    continue;
                }
                Err((contact, number)) => {
                    let read_back = engine.services.load_full().read_back.clone();
                    let end = match read_back.by_id(Lane::Bulk, number).await? {
                        Some(_) => {
                            tracing::warn!(contact.id = %contact, company.id = %company, "brevo refuses a link: {error}");
                            LinkEnd::Refused(refused(&contact, &company, &error))
                        }
                        // Its links went with it.
                        None => LinkEnd::Unlinked,
                    };
                    vec![(contact, end)]
                }
            },
            Err(error) => return Err(error.into()),
        };
        engine.store.end_links(company.clone(), ends, engine.clock.now()).await?;
    }
    Ok(())
}

fn refused(contact: &RecordId, company: &RecordId, error: &BrevoError) -> Cause {
    Cause {
        kind: "link",
        message: format!(
            "brevo refuses to link or unlink contact {contact} and company {company}: {error}"
        ),
        response: Some(error.to_string()),
        ..Cause::default()
    }
}

/// Two smaller calls; or the one contact that is left.
fn halves(mut link: Side, mut unlink: Side) -> Result<[(Side, Side); 2], (RecordId, i64)> {
    if !link.is_empty() && !unlink.is_empty() {
        return Ok([(link, Side::new()), (Side::new(), unlink)]);
    }
    let is_link = !link.is_empty();
    let side = if is_link { &mut link } else { &mut unlink };
    match side.as_slice() {
        [one] => return Err(one.clone()),
        [] => return Ok([(link, unlink), Default::default()]),
        _ => {}
    }
    let second = side.split_off(side.len() / 2);
    let first = std::mem::take(side);
    let of = |side: Side| if is_link { (side, Side::new()) } else { (Side::new(), side) };
    Ok([of(first), of(second)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(ids: std::ops::Range<i64>) -> Side {
        ids.map(|id| (format!("c{id}").parse().unwrap(), id)).collect()
    }

    #[test]
    fn a_refused_call_is_halved_until_one_contact_is_left() {
        let halved = halves(side(0..4), side(4..6)).unwrap();
        assert_eq!(halved, [(side(0..4), Side::new()), (Side::new(), side(4..6))]);
        let halved = halves(side(0..3), Side::new()).unwrap();
        assert_eq!(halved, [(side(0..1), Side::new()), (side(1..3), Side::new())]);
        let halved = halves(Side::new(), side(0..2)).unwrap();
        assert_eq!(halved, [(Side::new(), side(0..1)), (Side::new(), side(1..2))]);
        assert_eq!(halves(side(7..8), Side::new()).unwrap_err(), ("c7".parse().unwrap(), 7));
    }
}
