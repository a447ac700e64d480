use super::*;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

fn record(n: u8) -> RecordId {
    RecordId(Uuid::from_u128(u128::from(n)))
}

/// An answer of a record at an instant, learnt of in that order.
fn said(record_n: u8, channel: &str, answer: ConsentAnswer, at: i64) -> Consent {
    let id = ConsentId(Uuid::from_u128(u128::from(record_n) << 64 | u128::from(at.unsigned_abs())));
    Consent {
        key: ConsentKey {
            record: record(record_n),
            id,
        },
        purpose: "MARKETING".to_owned(),
        channel: channel.to_owned(),
        answer,
        origin: ConsentOrigin::Record,
        evidence: json!({"at": at}),
        at: Instant::from_micros(at),
        arrival: at,
        event: None,
        actor: None,
    }
}

fn asked(consents: &[Consent], channel: &str) -> Option<ConsentAnswer> {
    let answers = Answers::of(consents);
    answers
        .to(&Question::new("marketing", channel))
        .map(|standing| standing.answer)
}

use ConsentAnswer::{Denied, Granted, Withdrawn};

#[test]
fn the_latest_word_of_a_record_counts_and_of_equal_instants_the_later_arrival() {
    let mut first = said(1, "EMAIL", Granted, 10);
    let second = said(1, "EMAIL", Withdrawn, 20);
    assert_eq!(asked(&[second.clone(), first.clone()], "EMAIL"), Some(Withdrawn));
    first.at = second.at;
    first.arrival = second.arrival + 1;
    assert_eq!(asked(&[second, first], "EMAIL"), Some(Granted));
}

#[test]
fn channels_and_any() {
    for (name, consents, questions) in [
        ("nobody answered", vec![], vec![("EMAIL", None), ("ANY", None)]),
        (
            "any stands for channels that nobody named",
            vec![said(1, "ANY", Granted, 1), said(1, "EMAIL", Denied, 2)],
            vec![("EMAIL", Some(Denied)), ("SMS", Some(Granted)), ("ANY", Some(Granted))],
        ),
        (
            "yes to any does not lift a no to one",
            vec![said(1, "EMAIL", Withdrawn, 1), said(1, "ANY", Granted, 2)],
            vec![("EMAIL", Some(Withdrawn)), ("SMS", Some(Granted))],
        ),
        (
            "no to any refuses every channel, also one granted later",
            vec![said(1, "ANY", Denied, 1), said(1, "EMAIL", Granted, 2)],
            vec![("EMAIL", Some(Denied)), ("SMS", Some(Denied)), ("ANY", Some(Denied))],
        ),
        (
            "a channel says nothing of any",
            vec![said(1, "EMAIL", Withdrawn, 1)],
            vec![("EMAIL", Some(Withdrawn)), ("SMS", None), ("ANY", None)],
        ),
        (
            "an older no of another record outweighs a yes",
            vec![said(1, "EMAIL", Denied, 1), said(2, "EMAIL", Granted, 2)],
            vec![("EMAIL", Some(Denied))],
        ),
    ] {
        for (channel, expected) in questions {
            assert_eq!(asked(&consents, channel), expected, "{name}: {channel}");
        }
    }
}

#[test]
fn spelling_does_not_matter() {
    let mut other = said(1, "EMAIL", Denied, 2);
    other.purpose = "Marketing".to_owned();
    let answers = Answers::of(&[said(1, "EMAIL", Granted, 1), other]);
    assert_eq!(answers.all().count(), 1);
    let standing = answers.to(&Question::new(" marketing ", "email")).unwrap();
    assert_eq!((standing.answer, standing.purpose.as_str()), (Denied, "Marketing"));
}

#[test]
fn an_answer_comes_with_since_when_whose_and_its_evidence() {
    let granted = [
        said(1, "EMAIL", Denied, 1),
        said(1, "EMAIL", Granted, 2),
        said(1, "EMAIL", Granted, 3),
    ];
    let mut repeated = said(1, "EMAIL", Granted, 4);
    repeated.origin = ConsentOrigin::Preferences;
    let answers = Answers::of(granted.iter().chain([&repeated]));
    let standing = answers.to(&Question::new("MARKETING", "EMAIL")).unwrap();
    // Since the first of the run; shown by the last that was given in so many words.
    assert_eq!((standing.since, standing.record), (Instant::from_micros(2), record(1)));
    assert_eq!(standing.evidence, json!({"at": 3}));

    let refusals = [
        said(1, "EMAIL", Denied, 1),
        said(2, "EMAIL", Withdrawn, 2),
        said(3, "EMAIL", Granted, 3),
    ];
    let answers = Answers::of(&refusals);
    let standing = answers.to(&Question::new("MARKETING", "EMAIL")).unwrap();
    assert_eq!((standing.answer, standing.record), (Withdrawn, record(2)));
}

#[test]
fn every_channel_is_listed_as_it_is_answered() {
    let answers = Answers::of(&[said(1, "ANY", Denied, 1), said(1, "EMAIL", Granted, 2)]);
    let listed: Vec<_> = answers
        .all()
        .map(|(_, channel, standing)| (channel, standing.answer))
        .collect();
    assert_eq!(listed, [("ANY", Denied), ("EMAIL", Denied)]);
}

#[test]
fn a_change_is_told_where_the_answer_is_another() {
    let before = Answers::of(&[said(1, "EMAIL", Granted, 1), said(1, "SMS", Denied, 1)]);
    let after = Answers::of(&[
        said(1, "EMAIL", Granted, 1),
        said(1, "SMS", Denied, 1),
        said(2, "ANY", Denied, 2),
    ]);
    let changed = Answers::differences(&before, &after);
    let changed: Vec<_> = changed
        .iter()
        .map(|(question, before, after)| (question.channel(), before.map(|one| one.answer), after.map(|one| one.answer)))
        .collect();
    assert_eq!(changed, [("ANY", None, Some(Denied)), ("EMAIL", Some(Granted), Some(Denied))]);
    assert!(Answers::differences(&after, &after).is_empty());
}

/// What some records said, each at an instant of its own.
fn histories() -> impl Strategy<Value = Vec<Consent>> {
    let one = (
        0..5_u8,
        prop::sample::select(vec!["ANY", "EMAIL", "SMS"]),
        prop::sample::select(vec![Granted, Denied, Withdrawn]),
        any::<bool>(),
    );
    prop::collection::vec(one, 0..24).prop_map(|said_by| {
        let consents = (1..).zip(said_by).map(|(at, (record, channel, answer, repeats))| {
            let mut consent = said(record, channel, answer, at);
            if repeats {
                consent.origin = ConsentOrigin::Preferences;
            }
            consent
        });
        consents.collect()
    })
}

type State = (Question, ConsentAnswer, Instant, RecordId, Value);

fn states(consents: &[Consent]) -> Vec<State> {
    let answers = Answers::of(consents);
    let state = |(question, _, standing): (&Question, &str, &Standing)| {
        let Standing {
            answer,
            since,
            record,
            evidence,
            ..
        } = standing.clone();
        (question.clone(), answer, since, record, evidence)
    };
    answers.all().map(state).collect()
}

const CHANNELS: [&str; 4] = ["ANY", "EMAIL", "SMS", "PUSH"];

proptest! {
    #[test]
    fn no_merge_ever_turns_a_refusal_into_a_permission(consents in histories(), cut in 0..5_u8) {
        let (one, other): (Vec<_>, Vec<_>) = consents.iter().cloned().partition(|consent| consent.key.record < record(cut));
        for channel in CHANNELS {
            let refused = |side: &[Consent]| asked(side, channel).is_some_and(is_refusal);
            prop_assert_eq!(refused(&consents), refused(&one) || refused(&other), "{}", channel);
            // And nothing is permitted that neither side permitted.
            if asked(&consents, channel) == Some(Granted) {
                prop_assert!([&one, &other].iter().any(|side| asked(side, channel) == Some(Granted)));
            }
        }
    }

    #[test]
    fn a_split_restores_each_sides_answers(consents in histories(), cut in 0..5_u8) {
        let (one, other): (Vec<_>, Vec<_>) = consents.iter().cloned().partition(|consent| consent.key.record < record(cut));
        let before = (Answers::of(&one), Answers::of(&other));
        let merged: Vec<Consent> = one.into_iter().chain(other).collect();
        let (one, other): (Vec<_>, Vec<_>) = merged.into_iter().partition(|consent| consent.key.record < record(cut));
        prop_assert_eq!(before, (Answers::of(&one), Answers::of(&other)));
    }

    #[test]
    fn people_can_opt_in_again(consents in histories(), channel in prop::sample::select(CHANNELS.to_vec())) {
        // An answer for a customer goes to every record they have.
        let records: BTreeSet<RecordId> = consents.iter().map(|consent| consent.key.record).collect();
        let mut after = consents;
        for of in ["ANY", channel] {
            after.extend(records.iter().map(|record| Consent { key: ConsentKey { record: *record, id: ConsentId(Uuid::max()) }, ..said(0, of, Granted, 1000) }));
        }
        if !records.is_empty() {
            prop_assert_eq!(asked(&after, channel), Some(Granted));
        }
        // Also whoever they turn out to be after a split.
        for record in records {
            let alone: Vec<Consent> = after.iter().filter(|consent| consent.key.record == record).cloned().collect();
            prop_assert_eq!(asked(&alone, channel), Some(Granted));
        }
    }

    #[test]
    fn repetitions_may_be_left_out_in_whatever_order_they_arrive(consents in histories(), places in any::<prop::sample::Index>(), groups in 1..4_usize) {
        let mut arriving = consents;
        if !arriving.is_empty() {
            let count = arriving.len();
            arriving.rotate_left(places.index(count));
            arriving.reverse();
        }
        for (arrival, consent) in (1..).zip(&mut arriving) {
            consent.arrival = arrival;
        }
        let mut stored: Vec<Consent> = Vec::new();
        let mut events: Vec<Consent> = Vec::new();
        for group in arriving.chunks(groups) {
            events.extend(group.iter().filter(|consent| consent.origin == ConsentOrigin::Preferences).cloned());
            let since = contradicts_since(&stored, group);
            let mut new = group.to_vec();
            let behind = |consent: &&Consent| since.get(&consent.key.record).is_some_and(|since| consent.at >= *since);
            new.extend(events.iter().filter(behind).filter(|consent| !group.contains(consent)).cloned());
            stored.extend(worth_keeping(&stored, &new));
        }
        prop_assert_eq!(states(&stored), states(&arriving));
        let keys: BTreeSet<ConsentKey> = stored.iter().map(|consent| consent.key).collect();
        prop_assert_eq!(keys.len(), stored.len());
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(consents in histories(), shuffle in any::<u64>()) {
        let mut shuffled = consents.clone();
        let count = shuffled.len();
        for i in 1..count {
            let j = usize::try_from(shuffle.rotate_left(u32::try_from(i).unwrap()) % (u64::try_from(i).unwrap() + 1)).unwrap();
            shuffled.swap(i, j);
        }
        for (arrival, consent) in (1..).zip(&mut shuffled) {
            consent.arrival = arrival;
        }
        prop_assert_eq!(states(&consents), states(&shuffled));
    }
}

#[test]
fn what_repeats_the_answer_before_is_not_kept_until_something_comes_between() {
    let repeat = |answer, at| {
        let mut consent = said(1, "ANY", answer, at);
        consent.origin = ConsentOrigin::Preferences;
        consent
    };
    let stored = vec![repeat(Granted, 1)];
    assert_eq!(worth_keeping(&stored, &[repeat(Granted, 5)]), []);
    assert!(contradicts_since(&stored, &[repeat(Granted, 5)]).is_empty());
    let late = repeat(Denied, 3);
    assert_eq!(
        contradicts_since(&stored, std::slice::from_ref(&late)),
        [(record(1), late.at)].into()
    );
    let kept = worth_keeping(&stored, &[late.clone(), repeat(Granted, 5), repeat(Granted, 6)]);
    assert_eq!(kept, [late, repeat(Granted, 5)]);
}
