//! The names that the two accounts have, for `tajo scripts check --live`.

use std::collections::BTreeSet;

use crate::brevo::{Attribute, AttributeCategory, List};
use crate::cli::connectors::test::{Trouble, brevo, in_time, intercom};
use crate::cli::deployment::Deployment;
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::http::Lane;
use crate::intercom::{AttributeModel, DataAttribute, IntercomClient};
use crate::rules::{BrevoNames, Code, Diagnostic, IntercomNames, LiveNames, RecordNames};

/// Where trouble with an account is placed: what to do about it is done there.
const CONFIGURATION: &str = "configuration";

/// Asks both accounts for their names. One that cannot be asked is a finding, and keeps the other
/// from nothing.
///
/// # Errors
/// Fails if secrets are missing.
pub(super) async fn names(
    deployment: &Deployment,
    problems: &mut Vec<Diagnostic>,
) -> Result<LiveNames, Failure> {
    deployment.require_secrets().await?;
    let config = &deployment.config;
    let (intercom, brevo) = tokio::join!(of_intercom(deployment), of_brevo(config));
    let mut told = |account: &str, trouble: Trouble| {
        let message = format!("{account} could not be asked: {}", trouble.reason);
        let problem = Diagnostic::error(message, CONFIGURATION).coded(Code::Account);
        problems.push(problem.with_help(trouble.remedy));
    };
    Ok(LiveNames {
        intercom: intercom?.map_err(|trouble| told("Intercom", trouble)).ok(),
        brevo: brevo?.map_err(|trouble| told("Brevo", trouble)).ok(),
    })
}

async fn of_intercom(deployment: &Deployment) -> Result<Result<IntercomNames, Trouble>, Failure> {
    let config = &deployment.config;
    let Some(access) = deployment.intercom_access().await? else {
        return Ok(Err(intercom::unconnected()));
    };
    let client = intercom::client(config, &access)?;
    let contact = match records(&client, config, AttributeModel::Contact).await {
        Ok(names) => names,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let company = records(&client, config, AttributeModel::Company).await;
    Ok(company.map(|company| IntercomNames { contact, company }))
}

async fn records(
    client: &IntercomClient,
    config: &Config,
    model: AttributeModel,
) -> Result<RecordNames, Trouble> {
    let asked = client.data_attributes(Lane::Live, model);
    let found =
        in_time(asked, |error| intercom::trouble(&error, config, intercom::PEOPLE_SCOPE)).await?;
    let (custom, plain): (Vec<_>, Vec<_>) = found.into_iter().partition(|known| known.is_custom);
    let names = |of: Vec<DataAttribute>| of.into_iter().map(|known| known.name).collect();
    Ok(RecordNames { fields: names(plain), custom_attributes: names(custom) })
}

async fn of_brevo(config: &Config) -> Result<Result<BrevoNames, Trouble>, Failure> {
    let client = brevo::client(config)?;
    let lane = Lane::Live;
    let attributes = match in_time(client.attributes(lane), |e| brevo::trouble(&e)).await {
        Ok(attributes) => attributes,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let lists = match in_time(client.lists(lane), |error| brevo::trouble(&error)).await {
        Ok(lists) => lists,
        Err(trouble) => return Ok(Err(trouble)),
    };
    Ok(Ok(brevo_names(config, attributes, lists)))
}

/// What rules may name of an account.
pub(in crate::cli) fn brevo_names(
    config: &Config,
    attributes: Vec<Attribute>,
    lists: Vec<List>,
) -> BrevoNames {
    let settings = &config.brevo;
    // What Brevo calculates by itself is there, but nobody can write it.
    let writable = attributes.into_iter().filter(|a| a.category != AttributeCategory::Other);
    let names = writable.map(|attribute| {
        let kind = attribute.kind.map_or_else(String::new, |kind| kind.to_string());
        (attribute.name.to_string(), kind)
    });
    let aliases = settings.attribute_aliases.iter();
    BrevoNames {
        attributes: names.collect(),
        aliases: aliases.map(|(from, to)| (from.to_string(), to.to_string())).collect(),
        creates_attributes: settings.create_attributes,
        lists: lists.into_iter().map(|list| (list.id.0, list.name)).collect(),
        creates_lists: settings.create_lists,
    }
}

/// The places of findings, for whoever wants each once.
pub(super) fn places(problems: &[Diagnostic]) -> BTreeSet<(&str, u32, u32, &str)> {
    problems.iter().map(|p| (p.file.as_str(), p.line, p.column, p.message.as_str())).collect()
}
