use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn leave() -> MayResubscribe {
    MayResubscribe::of(true).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn id(number: usize) -> RecordId {
    format!("c{number}").parse().unwrap()
}

/// A contact that was unsubscribed at 100 and is subscribed since 200.
fn returned() -> Witness {
    Witness {
        contact: id(0),
        says: Says::In,
        out_at: Some(at(100)),
        seen_out: Some(at(100)),
        in_at: Some(at(200)),
        told_in: None,
    }
}

fn history(elsewhere: Option<i64>, witnesses: Vec<Witness>) -> History {
    History { entry: Some(Entry { elsewhere: elsewhere.map(at), is_final: false }), witnesses }
}

#[test]
fn an_opt_in_lifts_what_is_older_and_nothing_that_may_be_newer() {
    fn case(history: &History, expected: Result<i64, Stays>) {
        let found = judge(leave(), history, &id(0));
        let found = found.map(|opt_in| opt_in.at().seconds());
        assert_eq!(found, expected, "{history:?}");
    }
    let other = |says, out_at: Option<i64>, in_at: Option<i64>| Witness {
        contact: id(1),
        says,
        out_at: out_at.map(at),
        seen_out: out_at.map(at),
        in_at: in_at.map(at),
        told_in: None,
    };
    let with = |other| history(None, vec![returned(), other]);
    let told = |told: i64| Witness { told_in: Some(at(told)), ..returned() };
    case(&history(None, vec![returned()]), Ok(200));
    case(&History { entry: None, witnesses: vec![returned()] }, Err(Stays::NotOut));
    // Elsewhere: before it was seen unsubscribed, in between, at the same second, later.
    case(&history(Some(100), vec![returned()]), Ok(200));
    case(&history(Some(101), vec![returned()]), Err(Stays::OptOutIsNewer));
    case(&history(Some(200), vec![returned()]), Err(Stays::OptOutIsNewer));
    case(&history(Some(300), vec![returned()]), Err(Stays::OptOutIsNewer));
    // It was seen unsubscribed later than its version says.
    let seen = Witness { seen_out: Some(at(150)), ..returned() };
    case(&history(Some(150), vec![seen]), Ok(200));
    // Of what Intercom told the time is known.
    case(&history(Some(150), vec![told(190)]), Ok(190));
    case(&history(Some(190), vec![told(190)]), Err(Stays::OptOutIsNewer));
    let untold = Witness { out_at: None, seen_out: None, in_at: None, ..returned() };
    case(&history(Some(150), vec![untold.clone()]), Err(Stays::NeverOptedIn));
    case(&history(Some(150), vec![Witness { told_in: Some(at(151)), ..untold }]), Ok(151));
    // Its newest word, and that of others.
    for says in [Says::Out, Says::Nothing, Says::Gone] {
        let now = Witness { says, ..returned() };
        case(&history(None, vec![now]), Err(Stays::DoesNotSaySo));
    }
    case(&with(other(Says::Out, Some(50), None)), Err(Stays::OtherIsOut));
    case(&with(other(Says::Nothing, None, None)), Err(Stays::OtherIsOut));
    case(&with(other(Says::In, None, None)), Ok(200));
    case(&with(other(Says::Gone, Some(100), None)), Ok(200));
    case(&with(other(Says::Gone, Some(150), None)), Err(Stays::OptOutIsNewer));
    case(&with(other(Says::In, Some(150), Some(170))), Ok(200));
    case(&with(other(Says::In, Some(250), Some(270))), Err(Stays::OptOutIsNewer));
    case(&history(None, vec![other(Says::In, None, None)]), Err(Stays::NeverOptedIn));
    let mut bounced = history(None, vec![returned()]);
    bounced.entry = Some(Entry { elsewhere: None, is_final: true });
    case(&bounced, Err(Stays::Final));
}

/// What happens to people who share an address, each at its own second.
#[derive(Debug, Clone, Copy)]
enum Happens {
    OptOut(usize),
    OptIn(usize),
    Edit(usize),
    OptOutElsewhere,
    Bounce,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (0_usize..3).prop_map(Happens::OptOut),
        3 => (0_usize..3).prop_map(Happens::OptIn),
        3 => (0_usize..3).prop_map(Happens::Edit),
        2 => Just(Happens::OptOutElsewhere),
        1 => prop::bool::weighted(0.2).prop_map(|bounces| if bounces { Happens::Bounce } else { Happens::Edit(0) }),
    ]
}

/// What the engine hears of the contacts: a state at a version, seen by a read of some time or by a
/// notification.
#[derive(Debug, Clone, Copy)]
struct Heard {
    contact: usize,
    version: i64,
    is_out: bool,
    read_at: Option<i64>,
    tells_opt_in: bool,
}

/// What is known after these were heard in this order, as the store keeps it.
fn known(heard: &[Heard], entry: Option<Entry>) -> History {
    let mut newest: BTreeMap<usize, Heard> = BTreeMap::new();
    let mut witnesses: BTreeMap<usize, Witness> = BTreeMap::new();
    for one in heard {
        let now = newest.entry(one.contact).or_insert(*one);
        if one.version > now.version {
            *now = *one;
        }
        let silent = Witness {
            contact: id(one.contact),
            says: Says::Gone,
            out_at: None,
            seen_out: None,
            in_at: None,
            told_in: None,
        };
        let witness = witnesses.entry(one.contact).or_insert(silent);
        witness.hear(at(one.version), one.read_at.map(at), one.is_out);
        // What the newest snapshot says counts again whenever something older is heard of.
        let now = newest[&one.contact];
        witness.hear(at(now.version), None, now.is_out);
        if one.tells_opt_in {
            witness.told_in = witness.told_in.max(Some(at(one.version)));
        }
    }
    for (contact, newest) in newest {
        let says = if newest.is_out { Says::Out } else { Says::In };
        witnesses.get_mut(&contact).unwrap().says = says;
    }
    History { entry, witnesses: witnesses.into_values().collect() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// INVARIANT: an opt-out is lifted only by an opt-in of that contact which came after every opt-out
    /// of the address that is known of, in whatever order and how incompletely they were heard of.
    #[test]
    fn an_opt_out_is_lifted_only_by_an_opt_in_that_came_after_it(
        course in vec((happens(), any::<bool>(), any::<bool>(), 0_i64..4), 1..14),
        order in vec(any::<u32>(), 28),
    ) {
        // The truth, and what is heard of it.
        let mut is_out = [false; 3];
        let mut opt_ins: [Vec<i64>; 3] = Default::default();
        let mut heard = Vec::new();
        let (mut elsewhere, mut bounced) = (None, false);
        let mut outs_heard = Vec::new();
        for (second, (what, is_heard, by_read, delay)) in (1_i64..).zip(&course) {
            let version = second * 10;
            let contact = match *what {
                Happens::OptOut(contact) => { is_out[contact] = true; contact }
                Happens::OptIn(contact) => {
                    if is_out[contact] { opt_ins[contact].push(version); }
                    is_out[contact] = false;
                    contact
                }
                Happens::Edit(contact) => contact,
                Happens::OptOutElsewhere => {
                    elsewhere = Some(version);
                    outs_heard.push(version);
                    continue;
                }
                Happens::Bounce => { bounced = true; continue; }
            };
            // A read shows the state until the next thing happens.
            let read_at = by_read.then_some(version + delay);
            let tells_opt_in = matches!(what, Happens::OptIn(_))
                && opt_ins[contact].last() == Some(&version) && !by_read && *delay > 1;
            if *is_heard {
                if is_out[contact] { outs_heard.push(version); }
                heard.push(Heard { contact, version, is_out: is_out[contact], read_at, tells_opt_in });
            }
        }
        let entry = Entry { elsewhere: elsewhere.map(at), is_final: bounced };
        let mut shuffled: Vec<_> = heard.iter().copied().zip(order).collect();
        shuffled.sort_by_key(|(_, place)| *place);
        let shuffled: Vec<_> = shuffled.into_iter().map(|(one, _)| one).collect();
        let history = known(&shuffled, Some(entry));
        for witness in &history.witnesses {
            // No order makes an opt-in be missed.
            prop_assert_eq!(witness.says == Says::In && witness.out_at.is_some(), witness.in_at.is_some());
        }
        for contact in 0..3 {
            let Ok(opt_in) = judge(leave(), &history, &id(contact)) else { continue };
            prop_assert!(!bounced);
            let newest_out = outs_heard.iter().max().copied().unwrap_or(0);
            let truly = opt_ins[contact].iter().any(|opt_in| {
                // Those of others that they took back themselves do not stand in its way.
                let standing = |out: &i64| *out < *opt_in || (0..3).any(|other| {
                    other != contact && opt_ins[other].iter().any(|own| own > out)
                        && heard.iter().any(|one| one.contact == other && one.version == *out)
                });
                outs_heard.iter().all(standing)
            });
            prop_assert!(truly, "{:?}: {:?}", opt_in, history);
            prop_assert!(opt_in.at().seconds() > newest_out);
            let newest_words = history.witnesses.iter().all(|witness| witness.says == Says::In);
            prop_assert!(newest_words);
        }
    }

    /// Without the configuration's leave there is nothing to judge with.
    #[test]
    fn only_the_configuration_gives_leave(allow in any::<bool>()) {
        prop_assert_eq!(MayResubscribe::of(allow).is_some(), allow);
    }
}
