//! Phone numbers within a round: no two of Brevo's contacts can have one, and those that pass on or swap
//! theirs must do so one after the other.

use std::collections::{BTreeMap, BTreeSet};

use super::EngineError;
use super::derive::Planned;
use super::pipeline::Round;
use super::writer;
use crate::model::Timestamp;
use crate::store::WantedNumber;

/// When a number is looked at again that another contact has. Who gives one up wakes who waits for it;
/// this is for what nobody saw.
const LOOK_FOR_PHONE_SECONDS: i64 = 3_600;
/// The same where the other one gives it up in the same round.
const PHONE_LEAVES_SECONDS: i64 = 5;

/// Whether a contact can have the number that it is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PhoneVerdict {
    /// It can, or is to get none.
    Free,
    /// Another contact has it, and is not known to give it up.
    Taken,
    /// Nobody has it, and another contact gets it in this round.
    Given,
    /// Another contact has it, and gives it up in this round.
    Leaves,
    /// As [`Self::Leaves`], but all of them wait for each other: this one gives its own up first.
    GivesWay,
}

/// The digits of the number that a contact is to get.
pub(crate) fn wanted(one: &Planned) -> Option<String> {
    let sms = one.change.set.iter().find(|(name, _)| name.as_str() == "SMS");
    sms.map(|(_, value)| value.phone_digits())
}

/// Who has, wants and gives up which number.
#[derive(Debug, Default)]
pub(crate) struct Phones {
    /// By number, whose it is in Brevo.
    owners: BTreeMap<String, i64>,
    /// What each contact wants that gives its own number up.
    leaving: BTreeMap<i64, Option<String>>,
    /// Numbers that contacts of this round get.
    given: BTreeSet<String>,
}

impl Phones {
    pub(crate) fn of(planned: &[Planned], owners: BTreeMap<String, i64>) -> Self {
        let leaving = planned.iter().filter_map(|one| {
            let held = &one.current.as_ref()?.contact;
            let own = held.sms_digits()?;
            let wants = wanted(one);
            let is_cleared = one.change.clear.iter().any(|name| name.as_str() == "SMS");
            let leaves = is_cleared || wants.as_ref().is_some_and(|digits| *digits != own);
            leaves.then_some((held.id, wants))
        });
        Self { leaving: leaving.collect(), owners, given: BTreeSet::new() }
    }

    pub(crate) fn verdict(&mut self, one: &Planned) -> PhoneVerdict {
        let own = one.current.as_ref().map(|mirrored| mirrored.contact.id);
        wanted(one).map_or(PhoneVerdict::Free, |digits| self.judge(own, digits))
    }

    fn judge(&mut self, own: Option<i64>, digits: String) -> PhoneVerdict {
        match self.owners.get(&digits).copied().filter(|owner| Some(*owner) != own) {
            None if self.given.insert(digits) => PhoneVerdict::Free,
            None => PhoneVerdict::Given,
            Some(owner) if !self.leaving.contains_key(&owner) => PhoneVerdict::Taken,
            Some(owner) => match own {
                Some(own) if self.is_first_of_circle(own, owner) => PhoneVerdict::GivesWay,
                _ => PhoneVerdict::Leaves,
            },
        }
    }

    /// True if whoever waits for whom comes round to `own` again, which has the smallest number of all
    /// of them.
    fn is_first_of_circle(&self, own: i64, owner: i64) -> bool {
        let mut at = owner;
        // No circle is longer than there are those who leave.
        for _ in 0..self.leaving.len() {
            if at == own {
                return true;
            }
            let next = self.leaving.get(&at).and_then(Option::as_ref);
            match next.and_then(|digits| self.owners.get(digits)) {
                Some(next) if at > own => at = *next,
                _ => return false,
            }
        }
        at == own
    }
}

impl Round<'_> {
    /// Leaves phone numbers out that are known to be another contact's, in Brevo or in this round: to
    /// try them would cost a refused call each.
    pub(super) async fn untangle_phones(
        &mut self,
        planned: Vec<Planned>,
    ) -> Result<Vec<Planned>, EngineError> {
        let phones: Vec<String> = planned.iter().filter_map(wanted).collect();
        if phones.is_empty() {
            return Ok(planned);
        }
        let owners = self.engine.store.sms_owners(phones).await?;
        let mut phones = Phones::of(&planned, owners);
        let mut untangled = Vec::with_capacity(planned.len());
        for mut one in planned {
            let now = self.engine.clock.now();
            let verdict = self.beyond_the_round(&one, phones.verdict(&one)).await?;
            if verdict != PhoneVerdict::Free {
                let is_promised = verdict == PhoneVerdict::Given;
                one.waits_for_number =
                    wanted(&one).map(|digits| WantedNumber { digits, is_promised });
            }
            match verdict {
                PhoneVerdict::Free => {}
                PhoneVerdict::Taken | PhoneVerdict::Given => {
                    leave_phone_out(&mut one, now.plus(LOOK_FOR_PHONE_SECONDS));
                }
                PhoneVerdict::Leaves => leave_phone_out(&mut one, now.plus(PHONE_LEAVES_SECONDS)),
                PhoneVerdict::GivesWay => {
                    leave_phone_out(&mut one, now.plus(PHONE_LEAVES_SECONDS));
                    one.change.clear.extend("SMS".parse());
                }
            }
            untangled.push(one);
        }
        self.sift(untangled).await
    }

    /// The verdict on a number that another contact has, where contacts of other rounds are known to wait
    /// for each other's.
    async fn beyond_the_round(
        &self,
        one: &Planned,
        verdict: PhoneVerdict,
    ) -> Result<PhoneVerdict, EngineError> {
        let (PhoneVerdict::Taken | PhoneVerdict::Leaves, Some(digits)) = (verdict, wanted(one))
        else {
            return Ok(verdict);
        };
        let gives_way = self.engine.store.gives_number_up(one.owner.clone(), digits).await?;
        Ok(if gives_way { PhoneVerdict::GivesWay } else { verdict })
    }
}

/// Leaves a number out that another contact has, and looks again later.
fn leave_phone_out(one: &mut Planned, at: Timestamp) {
    // It has the number, so this cannot fail.
    let _ = writer::leave_out(&mut one.change, &["SMS".to_owned()], &one.owner, None);
    one.look_again_by(at);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each has a number, and wants another; none: it wants none.
    fn verdicts(contacts: &[(i64, &str, Option<&str>)]) -> Vec<PhoneVerdict> {
        let owners = contacts.iter().map(|(id, has, _)| ((*has).to_owned(), *id));
        let leaving = contacts.iter().map(|(id, _, wants)| (*id, wants.map(str::to_owned)));
        let mut phones =
            Phones { owners: owners.collect(), leaving: leaving.collect(), ..Phones::default() };
        let judged = contacts.iter().map(|(id, _, wants)| match wants {
            Some(digits) => phones.judge(Some(*id), (*digits).to_owned()),
            None => PhoneVerdict::Free,
        });
        judged.collect()
    }

    #[test]
    fn numbers_that_are_passed_on_or_swapped_move_one_after_the_other() {
        use PhoneVerdict::{Free, Given, GivesWay, Leaves, Taken};
        assert_eq!(verdicts(&[(1, "11", Some("12")), (2, "12", Some("13"))]), [Leaves, Free]);
        assert_eq!(verdicts(&[(1, "11", Some("12")), (2, "12", None)]), [Leaves, Free]);
        assert_eq!(verdicts(&[(1, "11", Some("12")), (2, "12", Some("11"))]), [GivesWay, Leaves]);
        let three = [(3, "13", Some("12")), (2, "12", Some("15")), (5, "15", Some("13"))];
        assert_eq!(verdicts(&three), [Leaves, GivesWay, Leaves]);
        // Into a circle, but not part of it.
        let into = [(1, "11", Some("12")), (2, "12", Some("13")), (3, "13", Some("12"))];
        assert_eq!(verdicts(&into), [Leaves, GivesWay, Leaves]);
        let mut phones = Phones::default();
        assert_eq!(phones.judge(None, "19".to_owned()), Free);
        assert_eq!(phones.judge(Some(7), "19".to_owned()), Given);
        let mut phones = Phones { owners: [("12".to_owned(), 2)].into(), ..Phones::default() };
        assert_eq!(phones.judge(Some(7), "12".to_owned()), Taken);
    }
}
