//! What somebody may do to a trail who can write the database and does not have the master key: each is found, and called by its name.

use proptest::prelude::*;
use shared::{clock::Timestamp, secret::Secret};

use super::*;
use crate::audit::chain::{CheckpointKey, Kept};

fn key(seed: u8) -> CheckpointKey {
    CheckpointKey::from_seed(&Secret::new([seed; 32]))
}

fn at(batch: usize) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + batch as i64)
}

/// A trail of batches of so many rows each.
fn trail(batches: &[usize]) -> Vec<Line> {
    let (mut lines, mut head) = (Vec::new(), Head { seq: 0, hash: Link::START });
    for (batch, rows) in batches.iter().enumerate() {
        let first = head.seq + 1;
        for _ in 0..*rows {
            let body = format!(r#"{{"event":"grant.add","target":"{}"}}"#, head.seq + 1);
            head = Head { seq: head.seq + 1, hash: head.hash.then(&body) };
            lines.push(Line::Row(Row { seq: head.seq, hash: head.hash, body, differs: None }));
        }
        lines.push(Line::Checkpoint(key(1).seal(first, head.seq, head.hash, Kept::Long, at(batch))));
    }
    lines
}

fn verify_knowing(lines: &[Line], known: Vec<Head>) -> Result<Whole, Break> {
    let mut verifier = Verifier::new(vec![key(1).public()], known, Vec::new());
    lines.iter().try_for_each(|line| verifier.take(line))?;
    verifier.end()
}

fn verify(lines: &[Line]) -> Result<Whole, Break> {
    verify_knowing(lines, Vec::new())
}

fn row(lines: &mut [Line], seq: i64) -> &mut Row {
    let found = lines.iter_mut().find_map(|line| match line {
        Line::Row(row) if row.seq == seq => Some(row),
        _ => None,
    });
    found.unwrap()
}

fn position(lines: &[Line], wanted: impl Fn(&Line) -> bool) -> usize {
    lines.iter().position(wanted).unwrap()
}

fn checkpoint(lines: &mut [Line], seq: i64) -> &mut Checkpoint {
    let found = lines.iter_mut().find_map(|line| match line {
        Line::Checkpoint(checkpoint) if checkpoint.last == seq => Some(checkpoint),
        _ => None,
    });
    found.unwrap()
}

fn is_row(seq: i64) -> impl Fn(&Line) -> bool {
    move |line| matches!(line, Line::Row(row) if row.seq == seq)
}

fn is_checkpoint(seq: i64) -> impl Fn(&Line) -> bool {
    move |line| matches!(line, Line::Checkpoint(checkpoint) if checkpoint.last == seq)
}

/// The batch of the checkpoint `seq` has been removed as the server does it; `merged` takes the removed one before it along.
fn remove_batch(lines: &mut Vec<Line>, seq: i64, merged: bool) {
    let batch = checkpoint(lines, seq).clone();
    let before = merged.then(|| checkpoint(lines, batch.first - 1).clone());
    let first = before.as_ref().map_or(batch.first, |before| before.removed.as_ref().unwrap().first);
    checkpoint(lines, seq).removed = Some(key(1).remove(&batch, first, at(100)));
    lines.retain(|line| match line {
        Line::Row(row) => !(batch.first..=batch.last).contains(&row.seq),
        Line::Checkpoint(one) => before.as_ref().is_none_or(|before| before.last != one.last),
    });
}

#[test]
fn what_was_sealed_is_whole() {
    assert_eq!(verify(&[]).unwrap(), Whole::default());
    let whole = verify(&trail(&[3, 1, 4])).unwrap();
    assert_eq!((whole.events, whole.checkpoints, whole.removed, whole.head.unwrap().seq), (8, 3, 0, 8));
    assert_eq!(whole.sealed_at, Some(at(2)));
}

#[test]
fn lines_are_written_and_read_as_they_are() {
    let mut lines = trail(&[2, 1]);
    remove_batch(&mut lines, 2, false);
    for line in lines {
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line, "{text}");
    }
}

#[test]
fn removed_batches_leave_a_trail_that_is_whole() {
    let mut lines = trail(&[3, 1, 4, 2]);
    remove_batch(&mut lines, 4, false);
    assert_eq!(verify(&lines).unwrap().removed, 1, "one in the middle");
    remove_batch(&mut lines, 8, true);
    let whole = verify(&lines).unwrap();
    assert_eq!((whole.events, whole.removed, whole.checkpoints), (5, 5, 3));
    remove_batch(&mut lines, 3, false);
    remove_batch(&mut lines, 10, true);
    let whole = verify(&lines).unwrap();
    assert_eq!((whole.events, whole.removed, whole.head.unwrap().seq), (0, 10, 10), "nothing but the checkpoints");
}

#[test]
fn a_row_that_was_changed_removed_swapped_or_put_in_is_named() {
    let whole = trail(&[3, 4]);
    let mut changed = whole.clone();
    row(&mut changed, 5).body.push(' ');
    assert_eq!(verify(&changed), Err(Break::Changed { seq: 5 }));

    let mut hashed_again = whole.clone();
    let hash = match &whole[position(&whole, is_row(4))] {
        Line::Row(row) => row.hash,
        Line::Checkpoint(_) => unreachable!(),
    };
    let changed = row(&mut hashed_again, 5);
    changed.body = "another".to_owned();
    changed.hash = hash.then("another");
    assert_eq!(verify(&hashed_again), Err(Break::Changed { seq: 6 }), "the next one does not follow from it");

    let mut removed = whole.clone();
    removed.remove(position(&removed, is_row(5)));
    assert_eq!(verify(&removed), Err(Break::Missing { from: 5, to: 5 }));

    let mut swapped = whole.clone();
    let (five, six) = (row(&mut swapped, 5).clone(), row(&mut swapped, 6).clone());
    *row(&mut swapped, 5) = Row { seq: 5, ..six };
    *row(&mut swapped, 6) = Row { seq: 6, ..five };
    assert_eq!(verify(&swapped), Err(Break::Changed { seq: 5 }));

    let mut put_in = whole.clone();
    for seq in (5..=7).rev() {
        row(&mut put_in, seq).seq += 1;
    }
    put_in.insert(5, Line::Row(Row { seq: 5, hash: hash.then("new"), body: "new".to_owned(), differs: None }));
    assert!(matches!(verify(&put_in), Err(Break::Changed { .. })), "{:?}", verify(&put_in));

    let mut relabelled = whole;
    row(&mut relabelled, 2).differs = Some("namespace_id".to_owned());
    assert_eq!(verify(&relabelled), Err(Break::Relabelled { seq: 2, column: "namespace_id".to_owned() }));
}

#[test]
fn whoever_rewrites_a_batch_and_all_its_hashes_lacks_the_signature() {
    let mut lines = trail(&[3, 2]);
    let mut hash = Link::START;
    for seq in 1..=3 {
        let row = row(&mut lines, seq);
        row.body = format!("rewritten {seq}");
        hash = hash.then(&row.body);
        row.hash = hash;
    }
    assert_eq!(verify(&lines), Err(Break::Misplaced { seq: 3 }), "a genuine checkpoint, and other rows before it");
    checkpoint(&mut lines, 3).hash = hash;
    assert_eq!(verify(&lines), Err(Break::Forged { seq: 3 }));
    *checkpoint(&mut lines, 3) = key(2).seal(1, 3, hash, Kept::Long, at(0));
    assert_eq!(verify(&lines), Err(Break::Forged { seq: 3 }), "a key of one's own");
}

#[test]
fn an_end_that_was_cut_off_is_named() {
    let whole = trail(&[3, 4]);
    let head = verify(&whole).unwrap().head.unwrap();
    let mut rows_alone = whole.clone();
    rows_alone.retain(|line| !(is_row(6)(line) || is_row(7)(line)));
    assert_eq!(verify(&rows_alone), Err(Break::Missing { from: 6, to: 7 }), "the checkpoint remembers");
    let with_checkpoint = &whole[..position(&whole, is_checkpoint(7))];
    assert_eq!(verify(with_checkpoint), Err(Break::Unsigned { from: 4, to: 7 }));
    let cut = &whole[..4];
    assert!(verify(cut).is_ok(), "by itself it is whole");
    assert_eq!(verify_knowing(cut, vec![head]), Err(Break::Truncated { from: 3, to: 7 }), "who has seen more can tell");
    assert!(verify_knowing(&whole, vec![head]).is_ok());
    let elsewhere = Head { hash: Link::START, ..head };
    assert_eq!(verify_knowing(&whole, vec![elsewhere]), Err(Break::Resealed { seq: 7 }));
}

#[test]
fn a_checkpoint_that_was_removed_repeated_or_lies_about_a_removal_is_named() {
    let whole = trail(&[3, 4, 2]);
    let mut without = whole.clone();
    without.remove(position(&without, is_checkpoint(3)));
    assert_eq!(verify(&without), Err(Break::Unsigned { from: 1, to: 3 }));

    let mut batch_gone = whole.clone();
    batch_gone.drain(position(&whole, is_row(4))..=position(&whole, is_checkpoint(7)));
    assert_eq!(verify(&batch_gone), Err(Break::Missing { from: 4, to: 7 }), "removed without a word");

    let mut said_by_oneself = whole.clone();
    let batch = checkpoint(&mut said_by_oneself, 7).clone();
    said_by_oneself.drain(position(&whole, is_row(4))..position(&whole, is_checkpoint(7)));
    checkpoint(&mut said_by_oneself, 7).removed = Some(key(2).remove(&batch, 4, at(9)));
    assert_eq!(verify(&said_by_oneself), Err(Break::Forged { seq: 7 }));

    let mut stretched = whole.clone();
    remove_batch(&mut stretched, 7, false);
    checkpoint(&mut stretched, 7).removed.as_mut().unwrap().first = 1;
    stretched.drain(..4);
    assert_eq!(verify(&stretched), Err(Break::Forged { seq: 7 }), "more was removed than the server said");

    let mut repeated = whole;
    let again = repeated[3].clone();
    repeated.push(again);
    assert!(matches!(verify(&repeated), Err(Break::Misplaced { seq: 3 })), "{:?}", verify(&repeated));
}

/// Where neighbours were removed the last one's checkpoint is left: a head that somebody kept of an earlier one is neither right nor wrong.
#[test]
fn a_known_head_that_nothing_is_left_to_compare_with_is_told() {
    let whole = trail(&[3, 1, 4, 2]);
    let head = |seq| match &whole[position(&whole, is_checkpoint(seq))] {
        Line::Checkpoint(checkpoint) => Head { seq, hash: checkpoint.hash },
        Line::Row(_) => unreachable!(),
    };
    let forged = |seq| Head { seq, hash: Link::START };
    let all = [3, 4, 8, 10].map(head).to_vec();
    assert_eq!(verify_knowing(&whole, all.clone()).unwrap().passed_over, [], "every head is compared");

    let mut apart = whole.clone();
    remove_batch(&mut apart, 4, false);
    assert_eq!(verify_knowing(&apart, all.clone()).unwrap().passed_over, [], "its checkpoint is there");
    assert_eq!(verify_knowing(&apart, vec![forged(4)]), Err(Break::Resealed { seq: 4 }));

    let mut merged = apart;
    remove_batch(&mut merged, 8, true);
    assert_eq!(verify_knowing(&merged, all).unwrap().passed_over, [head(4)]);
    let told = verify_knowing(&merged, vec![forged(4), forged(6), forged(0)]).unwrap();
    assert_eq!(told.passed_over, [forged(4), forged(6), forged(0)], "no row has the number 0");
    assert_eq!(verify_knowing(&merged, vec![forged(8)]), Err(Break::Resealed { seq: 8 }), "what they share is there");
}

#[test]
fn what_the_server_says_of_a_lost_end_stays_a_break_until_it_is_accepted() {
    let body = r#"{"at":"2026-11-21T13:12:01Z","event":"audit.end_lost","target":"audit"}"#.to_owned();
    let hash = Link::START.then(&body);
    let lines = [
        Line::Row(Row { seq: 1, hash, body, differs: None }),
        Line::Checkpoint(key(1).seal(1, 1, hash, Kept::Long, at(0))),
    ];
    assert_eq!(verify(&lines), Err(Break::Lost { seq: 1 }));
    let mut verifier = Verifier::new(vec![key(1).public()], Vec::new(), vec![1]);
    lines.iter().try_for_each(|line| verifier.take(line)).unwrap();
    assert!(verifier.end().is_ok());
}

/// What a hand with the database and without the key may do to lines.
#[derive(Clone, Debug)]
enum Hand {
    ChangeBody(prop::sample::Index),
    RehashFrom(prop::sample::Index),
    Remove(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Cut(prop::sample::Index),
    SignAlone(prop::sample::Index),
}

fn hands() -> impl Strategy<Value = Hand> {
    let one = any::<prop::sample::Index>;
    prop_oneof![
        one().prop_map(Hand::ChangeBody),
        one().prop_map(Hand::RehashFrom),
        one().prop_map(Hand::Remove),
        (one(), one()).prop_map(|(a, b)| Hand::Swap(a, b)),
        (one(), one()).prop_map(|(a, b)| Hand::Repeat(a, b)),
        one().prop_map(Hand::Cut),
        one().prop_map(Hand::SignAlone),
    ]
}

impl Hand {
    fn lay_on(&self, lines: &mut Vec<Line>) {
        let length = lines.len();
        match self {
            Self::ChangeBody(at) => {
                if let Line::Row(row) = at.get_mut(lines) {
                    row.body.push('x');
                }
            }
            // Changes a row and computes every hash behind it again, as anybody can.
            Self::RehashFrom(at) => {
                let at = at.index(length);
                let mut hash = lines[..at].iter().rev().find_map(|line| match line {
                    Line::Row(row) => Some(row.hash),
                    Line::Checkpoint(_) => None,
                });
                for (index, line) in lines.iter_mut().enumerate().skip(at) {
                    match line {
                        Line::Row(row) => {
                            row.body.push_str(if index == at { "x" } else { "" });
                            row.hash = hash.unwrap_or(Link::START).then(&row.body);
                            hash = Some(row.hash);
                        }
                        Line::Checkpoint(checkpoint) => checkpoint.hash = hash.unwrap_or(Link::START),
                    }
                }
            }
            Self::Remove(at) => drop(lines.remove(at.index(length))),
            Self::Swap(a, b) => lines.swap(a.index(length), b.index(length)),
            Self::Repeat(from, to) => {
                let line = from.get(lines).clone();
                lines.insert(to.index(length), line);
            }
            Self::Cut(at) => lines.truncate(at.index(length)),
            Self::SignAlone(at) => {
                if let Line::Checkpoint(checkpoint) = at.get_mut(lines) {
                    let Checkpoint { first, last, hash, kept, at, .. } = *checkpoint;
                    *checkpoint = key(3).seal(first, last, hash, kept, at);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_hand_without_the_key_does_is_found(
        batches in prop::collection::vec(1_usize..5, 1..6),
        removed in prop::collection::vec(any::<bool>(), 6),
        hands in prop::collection::vec(hands(), 1..4),
    ) {
        let mut whole = trail(&batches);
        let mut seq = 0;
        for (rows, removed) in batches.iter().zip(removed) {
            seq += *rows as i64;
            if removed {
                remove_batch(&mut whole, seq, false);
            }
        }
        let head = verify(&whole).unwrap().head.unwrap();
        let mut touched = whole.clone();
        for hand in hands {
            if !touched.is_empty() {
                hand.lay_on(&mut touched);
            }
        }
        prop_assert_eq!(verify_knowing(&touched, vec![head]).is_ok(), touched == whole);
    }
}
