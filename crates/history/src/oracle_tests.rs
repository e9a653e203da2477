//! Logs that the oracle agrees with, and logs that it does not.

use bessemer_model::{Millis, Rejection};

use super::*;
use crate::event::Op;
use crate::fixtures::*;

#[test]
fn kept() {
    let undo = Command::UndoReserve {
        queue: crate::synthetic::name_of(0),
        held: vec![bessemer_model::Held { message: message(1), reservation: reservation(1) }],
    };
    keeps(
        Check::Oracle,
        vec![
            ("a day of a queue", {
                let story = logged().applies(&post(0, &[1, 2])).applies(&reserve_long(0, 1));
                story.applies(&Op::Ack(held(0, 1, 1))).applies(&reserve_long(0, 5))
            }),
            ("a reply that reached nobody is undone, uncounted", {
                let story = logged().applies(&post(0, &[1])).applies(&reserve_long(0, 1));
                story.commands(undo).applies(&reserve_long(0, 1))
            }),
            ("a refused transaction changes nothing", {
                let swap = Op::Swap { held: held(0, 1, 9), to: 1, uid: 2 };
                let story = logged().applies(&post(0, &[1])).applies(&swap);
                story.applies(&post(1, &[3])).applies(&reserve_long(1, 9))
            }),
            ("a body that was not asked for is any body", {
                let mut story = logged().applies(&post(0, &[1])).applies(&reserve_long(0, 1));
                if let Some(Ok(Outcome::Reserved { messages })) =
                    story.history.applied.last_mut().map(|last| &mut last.answer)
                {
                    messages[0].body = None;
                }
                story
            }),
        ],
    );
}

#[test]
fn broken() {
    let empty = || Ok(Outcome::Reserved { messages: Vec::new() });
    breaks(
        Check::Oracle,
        vec![
            ("an id given twice", {
                let again = Ok(Outcome::Posted { ids: vec![message(1)] });
                logged().applies(&post(0, &[1])).applies(&post(0, &[2])).told(again)
            }),
            ("empty, where one is ready", {
                logged().applies(&post(0, &[1])).applies(&reserve_long(0, 1)).told(empty())
            }),
            ("refused, where it is held", {
                let story = logged().applies(&post(0, &[1])).applies(&reserve_long(0, 1));
                let stale = Rejection::ReservationStale { message: message(1) };
                story.applies(&Op::Ack(held(0, 1, 1))).told(Err(stale))
            }),
            ("log time goes back", {
                let mut story = logged().wait(10).applies(&post(0, &[1])).applies(&post(0, &[2]));
                story.history.applied.last_mut().unwrap().log_time = Millis(1);
                story
            }),
            ("two entries in the wrong order", {
                let mut story = logged().applies(&post(0, &[1])).applies(&reserve_long(0, 1));
                let last = story.history.applied.len() - 1;
                story.history.applied.swap(last - 1, last);
                story
            }),
        ],
    );
}

#[test]
fn a_log_without_its_beginning_is_not_replayed() {
    let mut story = logged().applies(&post(0, &[1]));
    story.history.applied.remove(0);
    let report = crate::judge(&story.history);
    assert!(!report.opportunities.contains_key(&Check::Oracle), "{report}");
}
