//! How a sync was written to Brevo, for `--explain-plan`.

use std::fmt::Write;

use crate::cli::failure::Failure;
use crate::cli::runner::Runner;
use crate::engine::PlanView;

/// The number of the newest plan that the engine has made so far.
pub(super) async fn newest(runner: &Runner) -> Result<u64, Failure> {
    Ok(runner.plans().await?.last().map_or(0, |plan| plan.id))
}

/// The plans that were made since.
pub(super) async fn since(runner: &Runner, newest: u64) -> Result<Vec<PlanView>, Failure> {
    let plans = runner.plans().await?;
    Ok(plans.into_iter().filter(|plan| plan.id > newest).collect())
}

/// The plans, one below the other.
pub(super) fn render(plans: &[PlanView]) -> String {
    if plans.is_empty() {
        return "nothing had to be written in bulk\n".to_owned();
    }
    let mut text = String::new();
    for PlanView { id, at, plan } in plans {
        // A `String` takes whatever is written to it.
        let _ = write!(text, "plan {id}, made at {at}: {plan}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brevo::{Explained, ExplainedImport, ExplainedList, ListActionName};
    use crate::model::ListId;

    fn list(
        list: i64,
        action: ListActionName,
        contacts: usize,
        after_imports: bool,
    ) -> ExplainedList {
        let calls = contacts.div_ceil(150);
        ExplainedList { list: ListId(list), action, contacts, calls, after_imports }
    }

    #[test]
    fn a_plan_says_what_is_called_and_what_it_saves() {
        let import = |lists: &[i64], rows| ExplainedImport {
            lists: lists.iter().copied().map(ListId).collect(),
            rows,
        };
        let plan = Explained {
            changes: 3_000,
            imports: vec![import(&[35], 2_000), import(&[35, 36], 990)],
            lists: vec![
                list(37, ListActionName::Remove, 301, false),
                list(1041, ListActionName::Add, 1, true),
            ],
            singles: 10,
            calls: 16,
            seconds: 10.0,
            naive_calls: 3_000,
            naive_seconds: 375.0,
        };
        let at = "2026-01-10T04:39:55Z".to_owned();
        insta::assert_snapshot!(render(&[PlanView { id: 7, at, plan }]), @r"
        plan 7, made at 2026-01-10T04:39:55Z: 3000 contacts in 16 calls, about 10 s
          import    2000 contacts into list 35
          import    990 contacts into lists 35, 36
          list 37   301 contacts off in 3 calls
          list 1041 1 contact on in 1 call, after the imports
          singly    10 contacts
          one call for each: 3000 calls, about 375 s
        ");
        assert_eq!(render(&[]), "nothing had to be written in bulk\n");
    }
}
