//! Histories that keep R2, and histories that break it.

use super::*;
use crate::fixtures::{Story, *};

fn one() -> Story {
    story().sees((1, 1, 1, 5, 5))
}

fn changed(change: impl Fn(&mut Sighting)) -> Story {
    let mut story = one().sees((1, 1, 1, 5, 5));
    change(story.history.sightings.last_mut().unwrap());
    story
}

#[test]
fn kept() {
    keeps(
        Check::Agreement,
        vec![
            ("terms grow, indexes grow", one().sees((2, 1, 2, 6, 6)).sees((1, 1, 2, 6, 6))),
            ("a new boot may begin at older state", one().sees((1, 2, 1, 3, 3))),
            ("openraft: two leaders of one term, ordered by node", {
                let mut story = one().sees((2, 1, 1, 5, 5));
                story.history.sightings.iter_mut().for_each(|each| each.leads = true);
                story
            }),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::Agreement,
        vec![
            ("Raft, figure 2: a term forgotten over a restart", one().sees((1, 2, 0, 5, 5))),
            ("applied goes back", one().sees((1, 1, 1, 4, 4))),
            ("committed goes back", changed(|each| each.committed = LogIndex(4))),
            ("log time goes back", changed(|each| each.log_time = Millis(4))),
            ("an older boot is seen again", one().sees((1, 2, 1, 5, 5)).sees((1, 1, 1, 5, 5))),
        ],
    );
}
