//! Histories that keep H1, and histories that break it.

use super::*;
use crate::fixtures::*;

#[test]
fn kept() {
    let stale = Answer::Refused(Rejection::ReservationStale { message: message(1) });
    keeps(
        Check::HonestAnswers,
        vec![
            ("a stale reservation is refused", story().op(Op::Ack(held(0, 1, 1)), stale)),
            ("not done, and not in the log", logged().op(post(0, &[1]), Answer::NotDone)),
            (
                "unknown, and in the log",
                logged().applies(&post(0, &[1])).op(post(0, &[1]), Answer::Unknown),
            ),
            ("not done, though an earlier one under its key was", {
                let story =
                    logged().applies(&retried(0, &[1])).op(retried(0, &[1]), Answer::Unknown);
                story.op(retried(0, &[1]), Answer::NotDone)
            }),
        ],
    );
}

#[test]
fn broken() {
    let mismatch = Answer::Refused(Rejection::RetryKeyMismatch);
    let other = Answer::Refused(Rejection::MessageMissing { message: message(2) });
    breaks(
        Check::HonestAnswers,
        vec![
            ("P10: not done, and the log did it", {
                logged().applies(&post(0, &[1])).op(post(0, &[1]), Answer::NotDone)
            }),
            ("a refusal that cannot be", story().op(post(0, &[1]), mismatch)),
            ("a refusal of another message", story().op(Op::Ack(held(0, 1, 1)), other)),
            (
                "the answer of another question",
                story().op(Op::Ack(held(0, 1, 1)), Answer::Released),
            ),
            ("more than was asked for", {
                let two = Answer::Reserved(vec![got(1, 1, 1), got(2, 2, 1)]);
                story().post(0, 1).post(0, 2).op(reserve(0, 1), two)
            }),
        ],
    );
}
