//! Histories that keep D1, and histories that break it.

use super::*;
use crate::fixtures::{Story, *};

fn thrice() -> Story {
    let story = story().post(4, 1).get(4, 1, 1, 1).wait(100).get(4, 1, 2, 2).wait(100);
    story.get(4, 1, 3, 3).wait(100)
}

#[test]
fn kept() {
    keeps(
        Check::DeadLetters,
        vec![
            ("given three times, and dead", thrice().get(5, 1, 4, 4).ack(5, 1, 4)),
            ("given three times, and acked", thrice().ack(4, 1, 3)),
            (
                "given again and again among the dead",
                thrice().get(5, 1, 4, 4).wait(100).get(5, 1, 5, 5),
            ),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::DeadLetters,
        vec![
            ("IronMQ v3, 8: given once more than allowed", thrice().get(4, 1, 4, 4)),
            ("dead too early", story().post(4, 1).get(5, 1, 1, 2)),
            ("back from the dead", thrice().get(5, 1, 4, 4).wait(100).get(4, 1, 5, 5)),
            ("over the log: given for the fourth time", {
                let story = logged().applies(&post(4, &[1]));
                let reserve = |story: Story| story.applies(&reserve_long(4, 1)).wait(2_000);
                let fourth = bessemer_model::ReservedMessage {
                    id: message(1),
                    body: None,
                    reserved_count: 4,
                    reservation: reservation(4),
                };
                let told = bessemer_model::Outcome::Reserved { messages: vec![fourth] };
                reserve(reserve(reserve(reserve(story)))).told(Ok(told))
            }),
        ],
    );
}
