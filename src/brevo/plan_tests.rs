use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::*;
use crate::brevo::{Explained, MAX_LIST_MEMBERS};
use crate::model::{AttributeName, AttributeValue, BrevoContact, Identity};

const SYNC_LIST: ListId = ListId(99);

fn situation(import_seconds: f64) -> Situation {
    Situation { contacts_per_second: 10.0, import_seconds, sync_list: SYNC_LIST }
}

fn email(number: usize) -> Email {
    format!("p{number}@example.com").parse().unwrap()
}

fn name(text: &str) -> AttributeName {
    text.parse().unwrap()
}

/// A contact of the account before the plan, if it is there, and what is to change of it.
#[derive(Debug, Clone)]
struct Case {
    before: Option<BrevoContact>,
    change: Change,
}

impl Case {
    fn known(number: usize) -> Self {
        let id = number as i64 + 1;
        let before = BrevoContact { id, email: Some(email(number)), ..BrevoContact::default() };
        Self { before: Some(before), change: change(Identity::Known(id)) }
    }

    fn new(number: usize) -> Self {
        let mut case = Self { before: None, change: change(Identity::New) };
        case.change.email = Some(email(number));
        case
    }

    fn setting(mut self) -> Self {
        self.change.set.insert(name("SEATS"), AttributeValue::Integer(3));
        self
    }

    fn adding(mut self, lists: &[i64]) -> Self {
        self.change.add.extend(lists.iter().map(|list| ListId(*list)));
        self
    }

    fn removing(mut self, lists: &[i64]) -> Self {
        self.change.remove.extend(lists.iter().map(|list| ListId(*list)));
        let before = self.before.as_mut().unwrap();
        before.lists.extend(&self.change.remove);
        self
    }
}

fn change(identity: Identity) -> Change {
    Change {
        identity,
        email: None,
        ext_id: None,
        set: BTreeMap::new(),
        clear: BTreeSet::new(),
        add: BTreeSet::new(),
        remove: BTreeSet::new(),
        email_opt_out: false,
        sms_opt_out: false,
        is_blacklisted: false,
    }
}

fn plan(cases: &[Case], import_seconds: f64) -> Plan {
    let planned: Vec<PlannedChange<'_>> = cases
        .iter()
        .map(|Case { before, change }| PlannedChange {
            change,
            email: before.as_ref().and_then(|contact| contact.email.as_ref()),
            held: before.as_ref().map(|contact| &contact.lists),
            is_blacklisted: before.as_ref().is_some_and(|contact| contact.sms_blacklisted),
        })
        .collect();
    Plan::new(&planned, &situation(import_seconds))
}

/// Singles, imports, adds, removes.
fn shape(plan: &Plan) -> (usize, usize, usize, usize) {
    (plan.singles.len(), plan.imports.len(), plan.adds.len(), plan.removes.len())
}

#[test]
fn a_few_changes_are_written_at_once_and_many_by_import() {
    let few: Vec<Case> = (0..20).map(|number| Case::new(number).setting().adding(&[35])).collect();
    assert_eq!(shape(&plan(&few, 5.0)), (20, 0, 0, 0));
    let many: Vec<Case> =
        (0..900).map(|number| Case::new(number).setting().adding(&[35])).collect();
    let plan = plan(&many, 5.0);
    assert_eq!(shape(&plan), (0, 1, 0, 0));
    assert_eq!(plan.imports[0].lists, [ListId(35)].into());
    assert_eq!((plan.calls(), plan.naive_calls()), (1, 900));
}

#[test]
fn an_import_without_lists_goes_into_the_technical_list() {
    let cases: Vec<Case> = (0..900).map(|number| Case::known(number).setting()).collect();
    assert_eq!(plan(&cases, 5.0).imports[0].lists, [SYNC_LIST].into());
}

#[test]
fn many_different_sets_of_lists_make_one_import_and_list_calls() {
    let lists =
        |number: usize| -> Vec<i64> { (0..6).filter(|bit| number >> bit & 1 == 1).collect() };
    let cases: Vec<Case> =
        (0..2000).map(|number| Case::new(number).setting().adding(&lists(number))).collect();
    let plan = plan(&cases, 5.0);
    let (singles, imports, adds, removes) = shape(&plan);
    assert_eq!((singles, imports, removes), (0, 1, 0));
    assert!((42..=48).contains(&adds), "{adds}");
    assert!(plan.adds.iter().all(|call| call.after_imports && call.by == By::Email));
}

#[test]
fn popular_lists_are_granted_by_imports_and_rare_ones_by_list_calls() {
    let lists = |number: usize| -> Vec<i64> {
        let role = if number.is_multiple_of(3) { 37 } else { 35 };
        let rare = 100 + number as i64 % 8;
        if number.is_multiple_of(2) { vec![role, 36, rare] } else { vec![role, rare] }
    };
    let cases: Vec<Case> =
        (0..3000).map(|number| Case::new(number).setting().adding(&lists(number))).collect();
    let plan = plan(&cases, 0.5);
    assert_eq!(shape(&plan), (0, 4, 24, 0));
    assert!(plan.calls() <= 15 * 3);
}

#[test]
fn memberships_of_known_contacts_need_no_import() {
    let cases: Vec<Case> =
        (0..400).map(|number| Case::known(number).adding(&[35]).removing(&[37])).collect();
    let plan = plan(&cases, 5.0);
    assert_eq!(shape(&plan), (0, 0, 3, 3));
    assert!(plan.adds.iter().all(|call| !call.after_imports && call.by == By::Id));
    assert_eq!(plan.steps_of_changes()[&0], 2);
}

#[test]
fn what_gains_nothing_by_company_is_written_singly() {
    let alone = [Case::known(0).removing(&[37])];
    assert_eq!(shape(&plan(&alone, 0.0)), (1, 0, 0, 0));
    let two_on_three_lists =
        [Case::known(0).removing(&[1, 2, 3]), Case::known(1).removing(&[1, 2, 3])];
    assert_eq!(shape(&plan(&two_on_three_lists, 0.0)), (2, 0, 0, 0));
    let three_on_one = [0, 1, 2].map(|number| Case::known(number).removing(&[1]));
    assert_eq!(shape(&plan(&three_on_one, 0.0)), (0, 0, 0, 1));
}

#[test]
fn nothing_that_an_import_cannot_say_is_in_one() {
    let many = (0..500).map(|number| Case::known(number).setting());
    let mut special: Vec<Case> = (500..508).map(|number| Case::known(number).setting()).collect();
    special[0].change.clear.insert(name("OLD"));
    special[1].change.email = Some(email(9000));
    special[2].change.ext_id = Some("x".into());
    special[3].change.email_opt_out = true;
    special[4].change.sms_opt_out = true;
    special[5].change.is_blacklisted = true;
    special[6].change.set.insert(name("TAGS"), AttributeValue::List(vec!["a".into()]));
    special[7].before.as_mut().unwrap().sms_blacklisted = true;
    let cases: Vec<Case> = many.chain(special).collect();
    let plan = plan(&cases, 1.0);
    assert_eq!(plan.singles, (500..508).collect::<Vec<_>>());
    assert_eq!(plan.imports.len(), 1);
}

#[test]
fn an_empty_change_is_in_no_step() {
    assert_eq!(plan(&[Case::known(0)], 1.0), Plan::default());
}

fn lists() -> impl Strategy<Value = BTreeSet<ListId>> {
    btree_set((1i64..6).prop_map(ListId), 0..4)
}

prop_compose! {
    fn case(number: usize)(
        is_known in any::<bool>(), has_email in prop::bool::weighted(0.9), add in lists(),
        remove in lists(), values in btree_map("[A-C]", 0i64..3, 0..3), odd in 0u8..20,
    ) -> Case {
        let mut case = if is_known { Case::known(number) } else { Case::new(number) };
        case.change.set =
            values.iter().map(|(n, v)| (name(n), AttributeValue::Integer(*v))).collect();
        case.change.add = add;
        if let Some(before) = &mut case.before {
            case.change.remove = remove.difference(&case.change.add).copied().collect();
            before.lists.clone_from(&case.change.remove);
            before.attributes.insert(name("OLD"), AttributeValue::Bool(true));
            if !has_email {
                before.email = None;
            }
            if odd == 0 {
                case.change.clear.insert(name("OLD"));
            }
        } else if !has_email {
            case.change.email = None;
            case.change.ext_id = Some(format!("x{number}"));
        }
        if odd == 1 {
            case.change.add.clear();
            case.change.email_opt_out = true;
        }
        case
    }
}

fn cases() -> impl Strategy<Value = Vec<Case>> {
    (0usize..500).prop_flat_map(|count| (0..count).map(case).collect::<Vec<_>>())
}

/// A little Brevo: each case's contact, if it is there.
struct Account(Vec<Option<BrevoContact>>);

impl Account {
    fn run(cases: &[Case], plan: &Plan) -> Self {
        let mut account = Self(cases.iter().map(|case| case.before.clone()).collect());
        account.moving(&plan.removes, |lists, list| lists.remove(&list));
        let early = plan.adds.iter().filter(|call| !call.after_imports);
        account.moving(early, |lists, list| lists.insert(list));
        for index in &plan.singles {
            let before = account.0[*index].take().unwrap_or_default();
            account.0[*index] = Some(before.after(&cases[*index].change));
        }
        for ImportStep { rows, lists } in &plan.imports {
            assert!(!lists.is_empty());
            for index in rows {
                let Case { before, change } = &cases[*index];
                let email = before.as_ref().map_or(&change.email, |contact| &contact.email);
                assert!(email.is_some() && !change.email_opt_out);
                let contact = account.0[*index].get_or_insert_default();
                contact.email.clone_from(email);
                contact.attributes.extend(change.set.clone());
                contact.lists.extend(lists);
            }
        }
        let late = plan.adds.iter().filter(|call| call.after_imports);
        account.moving(late, |lists, list| lists.insert(list));
        account
    }

    fn moving<'a>(
        &mut self,
        calls: impl IntoIterator<Item = &'a ListCall>,
        act: impl Fn(&mut BTreeSet<ListId>, ListId) -> bool,
    ) {
        for call in calls {
            assert!((1..=MAX_LIST_MEMBERS).contains(&call.members.len()));
            for index in &call.members {
                let contact = self.0[*index].as_mut().expect("only contacts that exist are moved");
                match call.by {
                    By::Id => assert!(contact.id > 0),
                    By::Email => assert!(contact.email.is_some()),
                }
                assert!(act(&mut contact.lists, call.list), "each membership is moved once");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// INVARIANT: whatever the way, the account ends as every change wants it.
    #[test]
    fn every_plan_ends_in_the_desired_state(cases in cases(), import_seconds in 0.0f64..20.0) {
        let plan = plan(&cases, import_seconds);
        let account = Account::run(&cases, &plan);
        for (case, mut after) in cases.iter().zip(account.0) {
            if let Some(after) = &mut after {
                after.lists.remove(&SYNC_LIST);
            }
            let wanted = match &case.before {
                Some(before) => before.clone().after(&case.change),
                None => BrevoContact::default().after(&case.change),
            };
            prop_assert_eq!(after, Some(wanted));
        }
    }

    /// INVARIANT: no change is written by two ways, and no plan makes more calls than one each.
    #[test]
    fn every_part_is_written_once_and_company_never_costs_calls(
        cases in cases(), import_seconds in 0.0f64..20.0,
    ) {
        let plan = plan(&cases, import_seconds);
        let mut rows: Vec<usize> = plan.imports.iter().flat_map(|i| i.rows.clone()).collect();
        rows.extend(&plan.singles);
        let written = rows.len();
        rows.sort_unstable();
        rows.dedup();
        prop_assert_eq!(rows.len(), written);
        let moved = plan.adds.iter().chain(&plan.removes).flat_map(|call| &call.members);
        for index in moved {
            prop_assert!(!plan.singles.contains(index));
        }
        let changed = cases.iter().filter(|case| !case.change.is_empty()).count();
        prop_assert_eq!(plan.steps_of_changes().len(), changed);
        prop_assert_eq!(plan.naive_calls(), changed);
        prop_assert!(plan.calls() <= plan.naive_calls());
        let explained = Explained::new(&plan, &situation(import_seconds), 0);
        prop_assert!(explained.seconds <= explained.naive_seconds);
        prop_assert_eq!(explained.calls, plan.calls());
        prop_assert_eq!(explained.changes, changed);
        let listed: usize = explained.lists.iter().map(|list| list.calls).sum();
        prop_assert_eq!(explained.singles + explained.imports.len() + listed, plan.calls());
    }

    #[test]
    fn lists_of_any_length_are_cut_into_legal_calls(count in 0usize..700, ids in vec(any::<bool>(), 700)) {
        let cases: Vec<Case> = (0..count).map(|number| {
            let mut case = Case::known(number).removing(&[4]);
            if ids[number] {
                case.before.as_mut().unwrap().email = None;
            }
            case
        }).collect();
        let plan = plan(&cases, 1.0);
        let (singles, _, _, removes) = shape(&plan);
        prop_assert_eq!(singles + removes, count.div_ceil(MAX_LIST_MEMBERS));
    }
}
