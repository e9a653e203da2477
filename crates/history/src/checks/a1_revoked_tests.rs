//! Histories that keep A1, and histories that break it.

use super::*;
use crate::fixtures::{Story, *};

fn revoked() -> Story {
    let mint = Op::Mint { tenant: 0, token: 1 };
    story().op(mint, Answer::Minted).op(Op::Revoke { token: 1 }, Answer::Revoked)
}

#[test]
fn kept() {
    keeps(
        Check::Revoked,
        vec![
            ("refused from then on", revoked().with(1).op(post(0, &[1]), Answer::Unauthorized)),
            ("not done tells nothing", revoked().with(1).op(post(0, &[1]), Answer::NotDone)),
            (
                "an unknown outcome tells nothing",
                revoked().with(1).op(post(0, &[1]), Answer::Unknown),
            ),
        ],
    );
    let mut cut_off = revoked().with(1).op(post(0, &[1]), posted(&[1]));
    cut_off.history.rules.revoked_believed_ns = 1_000;
    assert!(crate::judge(&cut_off.history).broken.is_empty(), "a node that is cut off may lag");
}

#[test]
fn broken() {
    let forbidden = revoked().with(1).op(Op::Mint { tenant: 0, token: 2 }, Answer::Forbidden);
    let mut late = revoked().wait(2_000).with(1).op(post(0, &[1]), posted(&[1]));
    late.history.rules.revoked_believed_ns = 1_000;
    breaks(
        Check::Revoked,
        vec![
            ("P8: it posts after its end", revoked().with(1).op(post(0, &[1]), posted(&[1]))),
            ("it is forbidden something, and so was accepted", forbidden),
            ("it reads", revoked().with(1).op(reserve(0, 1), Answer::Reserved(vec![]))),
            ("believed for longer than allowed", late),
        ],
    );
}
