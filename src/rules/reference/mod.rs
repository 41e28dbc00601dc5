//! The reference for those who write scripts: what they can call, each with its arguments, result,
//! failures and examples.
//!
//! The words stand beside the code that they describe (`host/*.rs`) or, for what other files
//! register, in tables here. From them come `docs/scripting.md` and the definition files for
//! editors; every example is run as a test, and a function without words fails one.

mod decision;
mod doc;
mod handler;
mod intercom;
mod page;
mod record;
mod rhai;
mod testing;

pub(crate) use self::rhai::rhai_engine;
pub(crate) use decision::IDENTITIES;
pub(crate) use doc::{
    FieldDoc, FunctionDoc, Group, Kind, Parameter, Signature, decides, fails, gives, parameter,
    signature,
};
pub(crate) use handler::{HANDLERS, NOT_CALLED_YET};
pub(crate) use intercom::FIELDS as INTERCOM_FIELDS;
pub(crate) use page::{key, to_rhai};
pub(crate) use record::{NOT_READ_YET, RECORDS};
pub(crate) use testing::{DECIDED_FIELDS, RUN_OPTIONS};

use super::host;

/// Methods of `brevo`, `intercom`, records, and the functions of tests.
pub(crate) const METHODS: [Group; 8] = [
    decision::CONTACT,
    decision::COMPANY,
    decision::OCCURRENCE,
    intercom::CONTACT,
    intercom::EVENT,
    record::VIEWS,
    testing::TESTS,
    testing::DECIDED,
];

/// What can be written and tested and is not sent by the engine of this version; the page says so.
const NOT_SENT_YET: [&str; 0] = [];

/// The page for those who write scripts, `docs/scripting.md`.
pub fn reference() -> String {
    page::render(&host::FUNCTIONS, &METHODS)
}

#[cfg(test)]
mod tests;
