//! When a run is valid, a violation, or unknown.

use super::*;
use crate::event::{Answer, Op};
use crate::fixtures::*;
use crate::judge;

fn posts(sure: usize, unsure: usize) -> Report {
    let story = (1..=sure as u64).fold(story(), |story, uid| story.post(0, uid));
    let unknown = |story: Story, uid| story.op(post(0, &[uid]), Answer::Unknown);
    judge(&(1..=unsure as u64).fold(story, |story, uid| unknown(story, 1_000 + uid)).history)
}

#[test]
fn more_than_five_in_a_hundred_indeterminate_is_unknown() {
    assert_eq!(posts(95, 5).verdict, Verdict::Valid);
    let report = posts(94, 6);
    assert_eq!((report.verdict, report.info_share_ppm()), (Verdict::Unknown, 60_000));
    assert!(report.why_unknown[0].contains("6 of 100"), "{report}");
}

#[test]
fn what_the_log_settles_is_not_indeterminate() {
    let unknown = |story: Story| story.op(post(0, &[1]), Answer::Unknown);
    assert_eq!(judge(&unknown(logged().applies(&post(0, &[1]))).history).info, 0, "it is there");
    assert_eq!(judge(&unknown(logged()).history).info, 0, "it is certainly not there");
    assert_eq!(judge(&unknown(story()).history).info, 1);
    let revoke = unknown(logged()).op(Op::Revoke { token: 1 }, Answer::Unknown);
    assert_eq!(judge(&revoke.history).info, 1, "tokens without their numbers are not found");
}

#[test]
fn a_required_check_without_opportunity_makes_a_run_unknown() {
    assert_eq!(posts(1, 0).require(&[Check::HonestAnswers]).verdict, Verdict::Valid);
    let report = posts(1, 0).require(&[Check::Delay]);
    assert_eq!(report.verdict, Verdict::Unknown);
    assert_eq!(report.why_unknown, ["Q9 delay kept had no opportunity"]);
    assert_eq!(posts(0, 0).verdict, Verdict::Unknown, "nothing was asked");
}

#[test]
fn a_violation_is_one_whatever_else_is_unknown() {
    let twice = story().post(0, 1).get(0, 1, 1, 1).ack(0, 1, 1).ack(0, 1, 1);
    let report = judge(&twice.op(post(0, &[2]), Answer::Unknown).history).require(Check::ALL);
    assert_eq!(report.verdict, Verdict::Violation);
    assert!(report.why_unknown.len() > 1, "{report}");
}

#[test]
fn violations_are_bounded_and_counted() {
    let strange = (1..=50).fold(story(), |story, uid| story.get(0, uid, uid, 1));
    let report = judge(&strange.history);
    assert_eq!(report.broken[&Check::NoGhost], 50);
    assert_eq!(report.of(Check::NoGhost).count(), VIOLATIONS_MAX);
}

#[test]
fn a_summary_has_the_opportunities_of_all_runs_that_tell_something() {
    let mut summary = Summary::default();
    assert_eq!(summary.report(&[]).verdict, Verdict::Unknown, "no runs");
    summary.add(&posts(10, 0));
    let acked = story().post(0, 1).get(0, 1, 1, 1).ack(0, 1, 1).drained();
    summary.add(&judge(&acked.history));
    assert_eq!(summary.report(&[Check::NoLoss, Check::AckFinal]).verdict, Verdict::Valid);
    assert_eq!(summary.report(&[Check::Delay]).verdict, Verdict::Unknown);
    summary.add(&posts(1, 1));
    assert_eq!((summary.runs, summary.unknown, summary.violated), (3, 1, 0));
    assert_eq!(summary.report(&[]).info, 0, "an unknown run counts for nothing");
    summary.add(&judge(&story().get(0, 1, 1, 1).history));
    assert_eq!(summary.report(&[]).verdict, Verdict::Violation);
}
