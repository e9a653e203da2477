//! A1, revoked: a token whose revocation was answered is refused from then on.
//!
//! Source: reliability 2, A1; design 2, P8.
//! No false alarm: only revocations whose success was heard; a node that is cut off may believe a
//! token for `Rules::revoked_believed_ns` longer; a request that was not done, or whose outcome is
//! unknown, tells nothing about its token.

use std::fmt;

use bessemer_model::NodeId;

use crate::arranged::Arranged;
use crate::event::{Answer, Op, TokenNumber};
use crate::verdict::{Check, Findings};

/// A token that was accepted after its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StillAccepted {
    pub token: TokenNumber,
    pub node: NodeId,
    pub revoked_ns: u64,
    pub called_ns: u64,
}

impl fmt::Display for StillAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StillAccepted { token, node, revoked_ns, called_ns } = self;
        write!(
            f,
            "token {token} was revoked at {revoked_ns} ns, and node {node} accepted it in a request \
             of {called_ns} ns"
        )
    }
}

/// Whether the answer shows that the token was accepted.
fn accepted(answer: &Answer) -> bool {
    use Answer as A;
    match answer {
        A::Posted(_) | A::Reserved(_) | A::Acked(_) | A::Touched(_) | A::Released => true,
        A::Swapped(_) | A::Seen(_) | A::Minted | A::Revoked => true,
        A::Refused(_) | A::Forbidden => true,
        A::Unauthorized | A::NotDone | A::Unknown | A::Nonsense(_) => false,
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let operations = &arranged.history.operations;
    let revoked =
        operations.iter().filter_map(|operation| match (&operation.op, &operation.answer) {
            (Op::Revoke { token }, Answer::Revoked) => Some((*token, operation.answered_ns)),
            _ => None,
        });
    let mut revoked: Vec<(TokenNumber, u64)> = revoked.collect();
    revoked.sort_unstable();
    revoked.dedup_by_key(|(token, _)| *token);
    let believed_ns = arranged.history.rules.revoked_believed_ns;
    for operation in operations {
        let Some(token) = operation.token else { continue };
        let Ok(at) = revoked.binary_search_by_key(&token, |(token, _)| *token) else { continue };
        let revoked_ns = revoked[at].1;
        if operation.called_ns <= revoked_ns.saturating_add(believed_ns) {
            continue;
        }
        findings.looked(Check::Revoked, 1);
        if accepted(&operation.answer) {
            let (node, called_ns) = (operation.node, operation.called_ns);
            findings.blame(StillAccepted { token, node, revoked_ns, called_ns });
        }
    }
}

#[cfg(test)]
#[path = "a1_revoked_tests.rs"]
mod tests;
