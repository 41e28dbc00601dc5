//! What no setting tells by itself: how they go together, and what service needs.

use super::findings::Findings;
use super::tree::{Node, Span};
use super::{Config, Problem};

/// Notes settings that do not go together.
pub(super) fn check(config: &Config, file: &Node, findings: &Findings) {
    let server = &config.server;
    let address = server.admin_address();
    if !address.ip().is_loopback() && server.admin_token.is_none() {
        let key = if server.admin_listen.is_some() { "admin_listen" } else { "listen" };
        let message = format!(
            "`server.{key}` lets other machines reach the API, and `server.admin_token` is not set"
        );
        let help = "set the variable `TAJO_ADMIN_TOKEN`, or keep the API on this machine with \
                    `admin_listen: 127.0.0.1:8081`";
        findings.add(place(file, &["server", key]), message, Some(help.to_owned()));
    }
    // Port 0 is any free port, so two of them are two ports.
    if server.admin_listen == Some(server.listen) && server.listen.port() != 0 {
        let message = "`server.admin_listen` is the same as `server.listen`".to_owned();
        let help = "leave it empty, or give the API a port of its own";
        findings.add(place(file, &["server", "admin_listen"]), message, Some(help.to_owned()));
    }
}

/// The secrets that service needs and that are not set.
pub(super) fn missing_for_service(config: &Config) -> Vec<Problem> {
    let intercom = &config.intercom;
    let needed = [
        (
            "connectors.intercom.access_token",
            "INTERCOM_ACCESS_TOKEN",
            intercom.enabled
                && intercom.access_token.is_none()
                && !intercom.awaits_token
                && intercom.client_id.is_none(),
        ),
        ("connectors.brevo.api_key", "BREVO_API_KEY", config.brevo.api_key.is_none()),
    ];
    let missing = needed.into_iter().filter(|(_, _, is_missing)| *is_missing);
    missing
        .map(|(key, variable, _)| {
            let message = format!("`{key}` is not set");
            let help = format!("set the variable `{variable}`, or `{key}` in the configuration");
            Problem::of_file(&config.file, message, help)
        })
        .collect()
}

/// Where the value of a key stands, if the file has it.
fn place(file: &Node, keys: &[&str]) -> Option<Span> {
    let found = keys.iter().try_fold(file, |node, key| Some(&node.entry(key)?.node));
    found.map(|node| node.span)
}
