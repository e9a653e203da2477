//! Histories that keep Q7, and histories that break it.

use super::*;
use crate::event::Answer;
use crate::fixtures::*;

fn two() -> Story {
    story().post(0, 1).post(0, 2)
}

#[test]
fn kept() {
    keeps(
        Check::Order,
        vec![
            ("P2: in post order", two().get(0, 1, 1, 1).get(0, 2, 2, 1)),
            (
                "the older one was given before, as its count tells",
                two().get(0, 2, 2, 1).get(0, 1, 3, 2).post(0, 3).get(0, 3, 4, 1),
            ),
            ("a reserve that nobody heard may have held the older one", {
                let story = two().op(reserve(0, 1), Answer::Unknown).get(0, 2, 2, 1);
                story.wait(200).get(0, 1, 3, 1)
            }),
            ("one answered `not done` may have held it, too", {
                let story = two().op(reserve(0, 1), Answer::NotDone).get(0, 2, 2, 1);
                story.wait(200).get(0, 1, 3, 1)
            }),
            ("one post, in order", {
                let story = story().op(post(0, &[1, 2]), posted(&[1, 2]));
                story.get(0, 1, 1, 1).get(0, 2, 2, 1)
            }),
        ],
    );
    let posts = story().lasting(30).post(0, 1).post(0, 2);
    let report = crate::judge(&posts.wait(30).get(0, 2, 1, 1).get(0, 1, 2, 1).history);
    assert!(report.broken.is_empty(), "posts at one time have no order: {report}");
}

#[test]
fn broken() {
    breaks(
        Check::Order,
        vec![
            ("the younger one first", two().get(0, 2, 1, 1).get(0, 1, 2, 1)),
            ("one post, out of order", {
                let story = story().op(post(0, &[1, 2]), posted(&[1, 2]));
                story.get(0, 2, 1, 1).get(0, 1, 2, 1)
            }),
            ("a lost reserve that was over long before excuses nothing", {
                let story =
                    story().op(reserve(0, 1), Answer::Unknown).wait(200).post(0, 1).post(0, 2);
                story.get(0, 2, 1, 1).get(0, 1, 2, 1)
            }),
            ("over the log: the second of two is given", {
                let second = bessemer_model::ReservedMessage {
                    id: message(2),
                    body: None,
                    reserved_count: 1,
                    reservation: crate::fixtures::reservation(1),
                };
                let told = bessemer_model::Outcome::Reserved { messages: vec![second] };
                logged().applies(&post(0, &[1, 2])).applies(&reserve_long(0, 1)).told(Ok(told))
            }),
        ],
    );
}
