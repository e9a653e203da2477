//! A2, tenants apart: no reply holds anything of another tenant, and no token opens another's door.
//!
//! Source: reliability 2, A2; design 2, P8.
//! No false alarm: a uid belongs to the tenant of the queue it was posted to, and two tenants never
//! share a queue; a token belongs to the tenant it was minted for. Refusals leak nothing.

use std::fmt;

use bessemer_model::MessageId;

use crate::arranged::Arranged;
use crate::event::{Answer, Op, Operation, QueueNumber, Tenant, TokenNumber};
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Leaked {
    /// A message of `owner` was given, or shown, to `reader`.
    Message { message: MessageId, owner: Tenant, reader: Tenant },
    /// A token of `owner` did something in a project of `other`.
    Token { token: TokenNumber, owner: Tenant, other: Tenant, called_ns: u64 },
}

impl fmt::Display for Leaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leaked::Message { message, owner, reader } => {
                write!(f, "message {message} of tenant {owner} reached tenant {reader}")
            }
            Leaked::Token { token, owner, other, called_ns } => write!(
                f,
                "token {token} of tenant {owner} opened a door of tenant {other} at {called_ns} ns"
            ),
        }
    }
}

/// The queue an operation touches.
fn queue_of(op: &Op) -> Option<QueueNumber> {
    match op {
        Op::Post { queue, .. } | Op::Reserve { queue, .. } | Op::Look { queue, .. } => Some(*queue),
        Op::Ack(held)
        | Op::Touch { held, .. }
        | Op::Release { held, .. }
        | Op::Swap { held, .. } => Some(held.queue),
        Op::Mint { .. } | Op::Revoke { .. } => None,
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let queues = &arranged.history.rules.queues;
    let shared = queues.iter().any(|rules| rules.tenant != queues[0].tenant);
    let mut tokens: Vec<(TokenNumber, Tenant)> = Vec::new();
    for operation in &arranged.history.operations {
        if let (Op::Mint { tenant, token }, Answer::Minted) = (&operation.op, &operation.answer) {
            tokens.push((*token, *tenant));
        }
    }
    tokens.sort_unstable();
    for operation in &arranged.history.operations {
        let touched = match &operation.op {
            Op::Mint { tenant, .. } => Some(*tenant),
            op => queue_of(op).and_then(|queue| arranged.tenant(queue)),
        };
        let Some(tenant) = touched else { continue };
        if shared {
            replies(arranged, operation, tenant, findings);
        }
        let Some(token) = operation.token else { continue };
        let Ok(at) = tokens.binary_search_by_key(&token, |(token, _)| *token) else { continue };
        let owner = tokens[at].1;
        if owner == tenant {
            continue;
        }
        findings.looked(Check::Tenants, 1);
        if did(&operation.answer) {
            let called_ns = operation.called_ns;
            findings.blame(Leaked::Token { token, owner, other: tenant, called_ns });
        }
    }
}

/// Whose messages are in a reply to `reader`.
fn replies(
    arranged: &Arranged<'_>,
    operation: &Operation,
    reader: Tenant,
    findings: &mut Findings,
) {
    let mut shown = |message: MessageId, uid: Option<u64>| {
        let post = uid.and_then(|uid| arranged.posts_of(uid).first());
        let Some(owner) = post.and_then(|post| arranged.tenant(post.queue)) else { return };
        findings.looked(Check::Tenants, 1);
        if owner != reader {
            findings.blame(Leaked::Message { message, owner, reader });
        }
    };
    match (&operation.op, &operation.answer) {
        (_, Answer::Reserved(gots)) => gots.iter().for_each(|got| shown(got.message, got.uid)),
        (Op::Look { message, .. }, Answer::Seen(true)) => {
            shown(*message, arranged.uid_of(*message));
        }
        _ => {} // No message is in the reply.
    }
}

/// Whether something was done, or shown.
fn did(answer: &Answer) -> bool {
    use Answer as A;
    match answer {
        A::Posted(_) | A::Reserved(_) | A::Acked(_) | A::Touched(_) | A::Released => true,
        A::Swapped(_) | A::Seen(_) | A::Minted | A::Revoked => true,
        A::Refused(_) | A::Unauthorized | A::Forbidden => false,
        A::NotDone | A::Unknown | A::Nonsense(_) => false,
    }
}

#[cfg(test)]
#[path = "a2_tenants_tests.rs"]
mod tests;
