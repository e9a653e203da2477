//! Histories that keep A2, and histories that break it.

use super::*;
use crate::fixtures::{Story, *};

fn minted() -> Story {
    story().op(Op::Mint { tenant: 1, token: 1 }, Answer::Minted)
}

#[test]
fn kept() {
    keeps(
        Check::Tenants,
        vec![
            ("each gets its own", story().post(0, 1).post(6, 2).get(0, 1, 1, 1).get(6, 2, 2, 1)),
            ("a foreign token is refused", minted().with(1).op(post(0, &[1]), Answer::Forbidden)),
            ("a read of one's own", story().post(6, 1).op(look(6, 1), Answer::Seen(true))),
        ],
    );
}

#[test]
fn broken() {
    breaks(
        Check::Tenants,
        vec![
            ("P8: a message reaches another tenant", story().post(0, 1).get(6, 1, 1, 1)),
            ("a read shows another's", story().post(0, 1).op(look(6, 1), Answer::Seen(true))),
            ("a foreign token posts", minted().with(1).op(post(0, &[1]), posted(&[1]))),
            ("a foreign token mints", {
                minted().with(1).op(Op::Mint { tenant: 0, token: 2 }, Answer::Minted)
            }),
        ],
    );
}
