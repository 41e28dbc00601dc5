//! A fake Intercom and a fake Brevo on this machine: for a try without accounts, to develop rules
//! against, and for tests. Both keep state over HTTP as the real ones do, refuse what those would
//! refuse, and log what they were asked.

pub mod brevo;
mod consent;
pub mod intercom;
pub mod log;
mod random;
pub mod seed;
pub mod window;

use std::sync::Arc;

use crate::model::Clock;

pub use brevo::{BrevoOptions, BrevoSandbox};
pub use consent::OptIns;
pub use intercom::{IntercomOptions, IntercomSandbox};
pub use log::{Logged, RequestLog};
pub use seed::Seed;

/// How both start.
#[derive(Debug, Clone, Default)]
pub struct SandboxOptions {
    /// The fake Intercom.
    pub intercom: IntercomOptions,
    /// The fake Brevo.
    pub brevo: BrevoOptions,
    /// What is in the fake Intercom from the start; `None` for nothing.
    pub seed: Option<Seed>,
}

/// Both services. Dropping it stops them.
#[derive(Debug)]
pub struct Sandbox {
    /// The fake Intercom.
    pub intercom: IntercomSandbox,
    /// The fake Brevo.
    pub brevo: BrevoSandbox,
}

impl Sandbox {
    /// Starts both. Fails if an address is taken.
    pub async fn start(options: SandboxOptions, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let intercom = IntercomSandbox::start(options.intercom, Arc::clone(&clock)).await?;
        if let Some(seed) = &options.seed {
            intercom.seed(seed).map_err(std::io::Error::other)?;
        }
        let brevo = BrevoSandbox::start(options.brevo, clock).await?;
        Ok(Self { intercom, brevo })
    }

    /// From now on it is no violation to re-subscribe somebody who opted in again in the fake Intercom
    /// after he had opted out, nor to put him on lists then.
    pub fn accept_resubscriptions(&self) {
        self.brevo.accept_opt_ins(self.intercom.opt_ins());
    }

    /// Stops both.
    pub async fn shutdown(self) {
        let Self { intercom, brevo } = self;
        tokio::join!(intercom.shutdown(), brevo.shutdown());
    }

    /// The part of a configuration file that points an engine at this sandbox, in YAML.
    pub fn settings(&self) -> String {
        let Self { intercom, brevo } = self;
        format!(
            "connectors:\n  \
               intercom:\n    \
                 access_token: \"{}\"\n    \
                 client_id: \"{}\"\n    \
                 client_secret: \"{}\"\n    \
                 base_url: \"{}\"\n  \
               brevo:\n    \
                 api_key: \"{}\"\n    \
                 base_url: \"{}\"\n",
            intercom.access_token(),
            intercom.client_id(),
            intercom.client_secret(),
            intercom.base_url(),
            brevo.api_key(),
            brevo.base_url(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SystemClock;

    #[tokio::test]
    async fn starts_both_and_says_how_to_reach_them() {
        let seed = Some(Seed::new(20));
        let options = SandboxOptions { seed, ..Default::default() };
        let sandbox = Sandbox::start(options, Arc::new(SystemClock)).await.unwrap();
        assert_eq!(sandbox.intercom.contacts().len(), 20);
        let settings = sandbox.settings();
        assert!(settings.contains("\n    access_token: \"sandbox-intercom-token\"\n"));
        assert!(settings.contains(&format!("\n    base_url: \"{}\"\n", sandbox.brevo.base_url())));
        sandbox.shutdown().await;
    }
}
