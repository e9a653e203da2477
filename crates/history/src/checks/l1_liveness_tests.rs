//! Histories that keep L1, and histories that break it.

use super::*;
use crate::fixtures::{Story, *};

fn within(mut story: Story) -> Story {
    (story.history.rules.writes_within_ns, story.history.rules.drained_within_ns) = (100, 1_000);
    story
}

#[test]
fn kept() {
    let good = |story: Story| story.get(0, 1, 1, 1).ack(0, 1, 1).drained();
    keeps(
        Check::Liveness,
        vec![
            ("a write succeeds soon", within(good(story().heals().post(0, 1)))),
            ("it takes a while", {
                let story = story().heals().op(post(0, &[2]), Answer::NotDone).wait(50);
                within(good(story.post(0, 1)))
            }),
            ("one fails late, after others succeeded", {
                let story = good(story().heals().post(0, 1)).wait(200);
                within(story.op(post(0, &[2]), Answer::NotDone))
            }),
        ],
    );
}

#[test]
fn broken() {
    let late = story().heals().wait(2_000).post(0, 1).get(0, 1, 1, 1).ack(0, 1, 1);
    breaks(
        Check::Liveness,
        vec![
            ("still no leader long after the heal", {
                within(story().heals().wait(200).op(post(0, &[1]), Answer::NotDone).drained())
            }),
            ("never drained (a stuck lease)", within(story().heals().post(0, 1))),
            ("drained too late", within(late.drained())),
            ("the outcome is unknown, long after the heal", {
                within(story().heals().wait(200).op(post(0, &[1]), Answer::Unknown).drained())
            }),
        ],
    );
}
