//! Log time under clocks that jump, drift and disagree.

use super::*;

const ME: NodeId = NodeId(1);
const VOTERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
const WALL: u64 = 1_800_000_000_000;

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// This node and two peers, with wall clocks off by so much at elapsed time zero.
fn clocks(second: i64, third: i64) -> Steering {
    let steering = Steering::default();
    for (peer, off) in [(NodeId(2), second), (NodeId(3), third)] {
        steering.heard(peer, WALL.saturating_add_signed(off), at(0), at(0));
    }
    steering
}

#[test]
fn a_majority_is_the_tightest_one_and_needs_enough_clocks() {
    assert_eq!(majority(vec![], 3), None);
    assert_eq!(majority(vec![5], 3), None);
    assert_eq!(majority(vec![5], 1), Some(Majority { origin_ms: 5, spread_ms: 0 }));
    let found = majority(vec![1_000_000, 7, 5], 3);
    assert_eq!(found, Some(Majority { origin_ms: 7, spread_ms: 2 }));
    let found = majority(vec![1, 2, 3, 100, 200], 5);
    assert_eq!(found, Some(Majority { origin_ms: 2, spread_ms: 2 }));
}

/// Under load, an answer may take long on its way in only: the clock then seems to be ahead.
#[test]
fn a_slow_answer_says_less_than_a_quick_one() {
    let steering = Steering::default();
    for peer in [NodeId(2), NodeId(3)] {
        steering.heard(peer, WALL + 10, at(10), at(0));
        steering.heard(peer, WALL + 1_000, at(1_000), at(600));
    }
    steering.lead((ME, WALL + 1_000), &VOTERS, Millis(0), at(1_000));
    assert_eq!(steering.stamp(at(1_000), Millis(0)), Millis(WALL + 1_000));
    // When it is all that was heard for long, it counts.
    for peer in [NodeId(2), NodeId(3)] {
        steering.heard(peer, WALL + 5_010, at(5_010), at(600));
    }
    steering.lead((ME, WALL + 5_010), &VOTERS, Millis(0), at(5_010));
    assert_eq!(steering.stamp(at(5_010), Millis(0)), Millis(WALL + 5_310));
}

#[test]
fn one_wrong_clock_does_not_move_log_time() {
    let steering = clocks(20, 3_600_000);
    steering.lead((ME, WALL), &VOTERS, Millis(WALL - 1_000), at(0));
    assert_eq!(steering.stamp(at(10), Millis(0)), Millis(WALL + 30));
    // The own clock is the wrong one.
    let steering = clocks(0, 20);
    steering.lead((ME, WALL + 3_600_000), &VOTERS, Millis(WALL - 1_000), at(0));
    assert_eq!(steering.stamp(at(10), Millis(0)), Millis(WALL + 30));
    assert_eq!(steering.steer((ME, WALL + 3_600_000), &VOTERS, at(0)), Some(3_600_000 - 20));
}

#[test]
fn stamps_follow_elapsed_time_and_never_the_wall_clock_again() {
    let steering = clocks(0, 0);
    steering.lead((ME, WALL), &VOTERS, Millis(0), at(0));
    assert_eq!(steering.stamp(at(5), Millis(0)), Millis(WALL + 5));
    // The wall clock jumps back an hour: no stamp changes.
    steering.steer((ME, WALL - 3_600_000), &VOTERS, at(10));
    assert_eq!(steering.stamp(at(10), Millis(0)), Millis(WALL + 10));
}

#[test]
fn stamps_never_decrease_whatever_is_held() {
    let steering = clocks(0, 0);
    steering.lead((ME, WALL), &VOTERS, Millis(WALL + 5_000), at(0));
    assert_eq!(steering.stamp(at(0), Millis(0)), Millis(WALL + 5_000));
    assert_eq!(steering.stamp(at(1), Millis(WALL + 9_000)), Millis(WALL + 9_000));
    assert_eq!(steering.stamp(at(2), Millis(0)), Millis(WALL + 9_000));
}

#[test]
fn log_time_bends_by_at_most_one_percent() {
    let steering = clocks(0, 0);
    // Log time is two seconds ahead of everyone.
    steering.lead((ME, WALL), &VOTERS, Millis(WALL + 2_000), at(0));
    let mut now = 0;
    for second in 1..=300 {
        let last = now;
        now = second * 1_000;
        for peer in [NodeId(2), NodeId(3)] {
            steering.heard(peer, WALL + now, at(now), at(0));
        }
        steering.steer((ME, WALL + now), &VOTERS, at(now));
        let ahead = steering.now(at(now)).0.saturating_sub(WALL + now);
        assert!(ahead >= 2_000u64.saturating_sub(second * 10), "second {second}: {ahead}");
        assert!(steering.now(at(now)) >= steering.now(at(last)));
    }
    assert_eq!(steering.now(at(now)), Millis(WALL + now));
}

#[test]
fn a_large_step_needs_a_majority_that_agrees() {
    let hour = 3_600_000;
    // The cluster was down for an hour: all clocks agree, and log time follows.
    let steering = clocks(10, 20);
    steering.lead((ME, WALL), &VOTERS, Millis(WALL - hour), at(0));
    assert_eq!(steering.now(at(0)), Millis(WALL + 10));
    // No two clocks agree: at most a minute.
    let steering = clocks(5_000_000, -5_000_000);
    steering.lead((ME, WALL), &VOTERS, Millis(WALL - hour), at(0));
    assert_eq!(steering.now(at(0)), Millis(WALL - hour + STEP_MS_MAX));
    // Nobody to ask.
    let steering = Steering::default();
    steering.lead((ME, WALL), &VOTERS, Millis(WALL - hour), at(0));
    assert_eq!(steering.now(at(0)), Millis(WALL - hour + STEP_MS_MAX));
    // The very first leader has nothing to step from.
    let steering = Steering::default();
    steering.lead((ME, WALL), &VOTERS, Millis(0), at(0));
    assert_eq!(steering.now(at(0)), Millis(WALL));
}

#[test]
fn a_leader_elected_before_it_heard_of_any_clock_steps_once_when_it_does() {
    let hour = 3_600_000;
    let steering = Steering::default();
    steering.lead((ME, WALL), &VOTERS, Millis(WALL - hour), at(0));
    assert_eq!(steering.now(at(0)), Millis(WALL - hour + STEP_MS_MAX));
    steering.heard(NodeId(2), WALL + 1_000, at(1_000), at(0));
    steering.steer((ME, WALL + 1_000), &VOTERS, at(1_000));
    assert_eq!(steering.now(at(1_000)), Millis(WALL + 1_000));
    // Never again under this leadership.
    for peer in [NodeId(2), NodeId(3)] {
        steering.heard(peer, WALL + hour, at(2_000), at(0));
    }
    steering.steer((ME, WALL + 2_000), &VOTERS, at(2_000));
    assert_eq!(steering.now(at(2_000)), Millis(WALL + 2_010));
}

#[test]
fn a_clock_not_heard_of_lately_does_not_count() {
    let steering = clocks(0, 0);
    assert!(steering.steer((ME, WALL), &VOTERS, at(9_000)).is_some());
    assert!(steering.steer((ME, WALL), &VOTERS, at(11_000)).is_none());
}
