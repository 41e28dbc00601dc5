//! A decision with its names resolved: lists by number, attributes as the account has them.

use crate::config::Config;
use crate::model::{
    AttributeIntent, AttributeName, Decision, Email, ListIntent, Resolved, ResolvedAttribute,
};
use crate::store::Cause;

use super::account::{Snapshot, Wanted};

/// The name that the account has for an attribute of the rules.
pub(super) fn alias<'a>(config: &'a Config, name: &'a AttributeName) -> &'a AttributeName {
    config.brevo.attribute_aliases.get(name).unwrap_or(name)
}

/// Collects what a decision needs the account to have.
pub(crate) fn collect_wanted(config: &Config, decision: &Decision, wanted: &mut Wanted) {
    for (name, intent) in &decision.attributes {
        if let AttributeIntent::Set(value) = &intent.value {
            wanted.attribute(alias(config, name), value);
        }
    }
    let confirmed = decision.double_opt_in.iter().flat_map(|asked| &asked.value.lists);
    for list in decision.lists.keys().chain(confirmed) {
        wanted.list(list);
    }
}

/// Something that the rules asked for and that is left out, while the rest is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) attribute: AttributeName,
    pub(crate) reason: String,
    pub(crate) origin: String,
}

/// Resolves the names of a decision.
///
/// A list that cannot be found ends the record's journey: without it the person would silently miss
/// what the rules grant. A value that its attribute cannot hold is left out.
pub(crate) fn resolve(
    config: &Config,
    account: &Snapshot,
    decision: &Decision,
    left_out: &mut Vec<LeftOut>,
) -> Result<Resolved, Box<Cause>> {
    let mut resolved = Resolved {
        ext_id: decision.ext_id.as_ref().map(|ext_id| ext_id.value.clone()),
        email_opt_out: decision.email_opt_out.is_some(),
        sms_opt_out: decision.sms_opt_out.is_some(),
        ..Resolved::default()
    };
    if let Some(email) = &decision.email {
        let parsed: Result<Email, _> = email.value.parse();
        let cause = |error: crate::model::InvalidId| {
            Box::new(Cause {
                kind: "identity",
                message: error.to_string(),
                origin: Some(email.origin.to_string()),
                rule_set: Some(decision.rule_set.to_string()),
                ..Cause::default()
            })
        };
        resolved.email = Some(parsed.map_err(cause)?);
    }
    for (list, intent) in &decision.lists {
        let id = account.lists.find(list, &config.intercom.lists).map_err(|problem| {
            Box::new(Cause {
                kind: "list",
                message: problem.to_string(),
                origin: Some(intent.origin.to_string()),
                rule_set: Some(decision.rule_set.to_string()),
                ..Cause::default()
            })
        })?;
        match intent.value {
            ListIntent::Add => resolved.add.insert(id),
            ListIntent::Remove => resolved.remove.insert(id),
        };
    }
    for (rule_name, intent) in &decision.attributes {
        let name = alias(config, rule_name);
        let keep = decision.keep.contains_key(rule_name);
        let wanted = match &intent.value {
            AttributeIntent::Withdraw => Ok(ResolvedAttribute::Withdraw),
            AttributeIntent::Clear => Ok(ResolvedAttribute::Clear),
            AttributeIntent::Set(value) => match account.catalogue.find(name) {
                None => Err(format!(
                    "the account has no attribute `{name}`: make it in Brevo, or set `connectors.brevo.create_attributes: true`"
                )),
                Some(_) => {
                    account.catalogue.fit(name, value).map_err(|error| error.to_string()).map(
                        |value| {
                            if keep {
                                ResolvedAttribute::SetIfEmpty(value)
                            } else {
                                ResolvedAttribute::Set(value)
                            }
                        },
                    )
                }
            },
        };
        match wanted {
            Ok(wanted) => {
                resolved.attributes.insert(name.clone(), wanted);
            }
            Err(reason) => left_out.push(LeftOut {
                attribute: name.clone(),
                reason,
                origin: intent.origin.to_string(),
            }),
        }
    }
    Ok(resolved)
}
