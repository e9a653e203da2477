//! Places, order, fairness and bounds of a lane.

use bessemer_engine::entry::peek_part;
use bessemer_model::{DataId, Rejection};
use futures_util::FutureExt;

use super::*;

const T0: Duration = Duration::ZERO;

fn proposer(change: impl FnOnce(&mut ReplicaOptions)) -> Proposer {
    let mut options = ReplicaOptions::new(NodeId(1), "c", BootCount(2), DataId(1));
    change(&mut options);
    let proposer = Proposer::new(&options, T0);
    proposer.set_reachable(true, T0);
    proposer
}

fn queue(proposer: &Proposer, project: &str, bytes: usize) -> Ticket {
    proposer.queue(ProjectId::new(project), vec![project.as_bytes()[0]; bytes], T0).ok().unwrap()
}

fn told(seq: u64, result: PartResult) -> PartTold {
    PartTold { lane: Some(LaneSeq { node: NodeId(1), boot: BootCount(2), seq }), result }
}

#[test]
fn parts_are_numbered_from_one_and_answered_in_order() {
    let proposer = proposer(|_| ());
    let mut tickets = [queue(&proposer, "a", 3), queue(&proposer, "a", 3)];
    let (seq, part) = proposer.pack().unwrap();
    let lane = LaneSeq { node: NodeId(1), boot: BootCount(2), seq: 1 };
    assert_eq!((seq, peek_part(&part).unwrap()), (1, (Some(lane), 2)));
    assert!(proposer.pack().is_none());
    let missing = Rejection::ProjectMissing { project: ProjectId::new("a") };
    let results = vec![Ok(Outcome::Done), Err(missing.clone())];
    proposer.told(vec![told(1, PartResult::Fresh(results))], T0);
    let answer = |ticket: &mut Ticket| (&mut ticket.answer).now_or_never().unwrap().unwrap();
    assert_eq!(answer(&mut tickets[0]), Ok(Outcome::Done));
    assert_eq!(answer(&mut tickets[1]), Err(Failure::Rejected(missing)));
    assert!(!proposer.busy());
}

#[test]
fn a_flood_of_one_project_leaves_room_for_others() {
    let proposer = proposer(|options| options.entry_bytes_max = 2 * TURN_BYTES);
    for _ in 0..50 {
        queue(&proposer, "flood", TURN_BYTES / 4);
    }
    queue(&proposer, "small", 30);
    let (_, part) = proposer.pack().unwrap();
    assert!(part.windows(30).any(|bytes| bytes == [b's'; 30]));
}

#[test]
fn turns_go_by_bytes() {
    let proposer = proposer(|options| options.entry_bytes_max = 64 * TURN_BYTES);
    for _ in 0..16 {
        queue(&proposer, "large", 8 * TURN_BYTES);
    }
    for _ in 0..1_000 {
        queue(&proposer, "small", TURN_BYTES / 16);
    }
    let (_, part) = proposer.pack().unwrap();
    let requests = peek_part(&part).unwrap().1;
    // Half of the bytes for each: four large ones, and the rest small.
    assert!((4 + 31 * 16..=4 + 40 * 16).contains(&requests), "{requests} requests");
}

#[test]
fn a_project_takes_half_of_the_queue_at_most() {
    let proposer = proposer(|options| {
        options.open_requests_max = 10;
        options.open_bytes_max = 1_000;
    });
    let refused = |project: &str, bytes: usize| {
        proposer.queue(ProjectId::new(project), vec![0; bytes], T0).err()
    };
    for _ in 0..5 {
        queue(&proposer, "many", 1);
    }
    assert_eq!(refused("many", 1), Some(NotDone::Overloaded));
    queue(&proposer, "large", 500);
    assert_eq!(refused("large", 1), Some(NotDone::Overloaded));
    assert_eq!(refused("other", 1), None);
    assert_eq!(refused("other", 495), Some(NotDone::Overloaded));
}

#[test]
fn a_request_above_the_bound_of_a_part_goes_alone() {
    let proposer = proposer(|options| options.entry_bytes_max = 100);
    queue(&proposer, "a", 500);
    queue(&proposer, "a", 5);
    assert_eq!(peek_part(&proposer.pack().unwrap().1).unwrap().1, 1);
    assert_eq!(peek_part(&proposer.pack().unwrap().1).unwrap().1, 1);
}

#[test]
fn a_withdrawn_request_never_gets_a_place_and_a_placed_one_is_never_withdrawn() {
    let proposer = proposer(|_| ());
    let first = queue(&proposer, "a", 3);
    assert!(first.withdraw());
    assert!(proposer.pack().is_none());
    let second = queue(&proposer, "a", 3);
    assert!(proposer.pack().is_some());
    assert!(!second.withdraw());
}

#[test]
fn queue_and_window_are_bounded() {
    let proposer = proposer(|options| {
        options.open_requests_max = 4;
        options.lane_parts_max = 1;
    });
    queue(&proposer, "a", 3);
    assert!(proposer.pack().is_some());
    queue(&proposer, "a", 3);
    queue(&proposer, "a", 3);
    assert!(proposer.pack().is_none());
    let refused = proposer.queue(ProjectId::new("a"), vec![1], T0);
    assert_eq!(refused.err(), Some(NotDone::Overloaded));
    proposer.told(vec![told(1, PartResult::Fresh(vec![Ok(Outcome::Done)]))], T0);
    assert_eq!(proposer.pack().unwrap().0, 2);
}

#[test]
fn without_a_leader_for_too_long_open_requests_fail_and_placed_ones_stay() {
    let proposer = proposer(|options| options.leaderless_ms_max = 1_000);
    let mut placed = queue(&proposer, "a", 3);
    proposer.pack().unwrap();
    let mut open = queue(&proposer, "a", 3);
    proposer.set_reachable(false, T0);
    proposer.set_reachable(false, Duration::from_millis(999));
    assert!((&mut open.answer).now_or_never().is_none());
    let late = Duration::from_millis(1_000);
    proposer.set_reachable(false, late);
    let failed = (&mut open.answer).now_or_never().unwrap().unwrap();
    assert_eq!(failed, Err(Failure::NotDone(NotDone::NoLeader)));
    assert!((&mut placed.answer).now_or_never().is_none());
    let refused = proposer.queue(ProjectId::new("a"), vec![1], late);
    assert_eq!(refused.err(), Some(NotDone::NoLeader));
    proposer.leader_known(late);
    assert!(proposer.queue(ProjectId::new("a"), vec![1], late).is_ok());
    proposer.set_reachable(true, late);
    assert!(proposer.queue(ProjectId::new("a"), vec![1], late).is_ok());
}

#[test]
fn without_a_leader_for_much_too_long_outcomes_are_unknown_and_parts_stay() {
    let proposer = proposer(|options| options.leaderless_ms_max = 1_000);
    let mut placed = queue(&proposer, "a", 3);
    proposer.pack().unwrap();
    proposer.set_reachable(false, T0);
    proposer.set_reachable(false, Duration::from_millis(2_999));
    assert!((&mut placed.answer).now_or_never().is_none());
    proposer.set_reachable(false, Duration::from_millis(3_000));
    assert_eq!((&mut placed.answer).now_or_never().unwrap(), Ok(Err(Failure::Unknown)));
    assert_eq!(proposer.outstanding_after(0).map(|(seq, _)| seq), Some(1));
    proposer.told(vec![told(1, PartResult::Fresh(vec![Ok(Outcome::Done)]))], T0);
    assert!(!proposer.busy());
}

#[test]
fn outstanding_parts_are_found_again_in_order() {
    let proposer = proposer(|_| ());
    for _ in 0..3 {
        queue(&proposer, "a", 3);
        proposer.pack().unwrap();
    }
    let all = |after| proposer.outstanding_after(after).map(|(seq, _)| seq);
    assert_eq!((all(0), all(1), all(2), all(3)), (Some(1), Some(2), Some(3), None));
    proposer.told(vec![told(1, PartResult::Fresh(vec![Ok(Outcome::Done)]))], T0);
    assert_eq!((all(0), all(2)), (Some(2), Some(3)));
    let second = Duration::from_secs(1);
    assert!(!proposer.resend_due(T0, T0, second));
    assert!(proposer.resend_due(T0, second, second));
    proposer.told(vec![told(3, PartResult::Gap { expected: 2 })], T0);
    assert!(proposer.resend_due(T0, T0, second));
    assert!(!proposer.resend_due(T0, T0, second));
}

#[test]
fn parts_inside_a_snapshot_have_unknown_outcomes() {
    let proposer = proposer(|_| ());
    let mut first = queue(&proposer, "a", 3);
    proposer.pack().unwrap();
    let mut second = queue(&proposer, "a", 3);
    proposer.pack().unwrap();
    proposer.skipped_to(Some((BootCount(2), 1)));
    assert_eq!((&mut first.answer).now_or_never().unwrap(), Ok(Err(Failure::Unknown)));
    assert!((&mut second.answer).now_or_never().is_none());
    proposer.skipped_to(Some((BootCount(1), 9)));
    assert!((&mut second.answer).now_or_never().is_none());
}
