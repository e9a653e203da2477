//! The projects, queues and bodies of the workload.
//!
//! Not here: who uses them (`client.rs`).

use bessemer_history::event::{QueueKind, QueueNumber, QueueRules, Rules, Tenant, Uid};
use bessemer_model::{ProjectId, QueueName};

use crate::seed::Rng;

pub const TENANTS: Tenant = 2;
pub const DEAD_QUEUE: QueueNumber = 5;
const DYING_MAX_RESERVATIONS: u32 = 3;

/// Every queue of the workload: six of the first project, two of the second.
pub const QUEUES: [QueueRules; 8] = [
    QueueRules { tenant: 0, kind: QueueKind::Plain },
    QueueRules { tenant: 0, kind: QueueKind::Plain },
    QueueRules { tenant: 0, kind: QueueKind::Delayed },
    QueueRules { tenant: 0, kind: QueueKind::Keyed },
    QueueRules {
        tenant: 0,
        kind: QueueKind::Dying { into: DEAD_QUEUE, max_reservations: DYING_MAX_RESERVATIONS },
    },
    QueueRules { tenant: 0, kind: QueueKind::Dead },
    QueueRules { tenant: 1, kind: QueueKind::Plain },
    QueueRules { tenant: 1, kind: QueueKind::Keyed },
];

/// What the judge may expect: see `bessemer_history::event::Rules`.
pub fn rules() -> Rules {
    const SECOND_NS: u64 = 1_000_000_000;
    Rules {
        queues: QUEUES.to_vec(),
        undo_ns: 20 * SECOND_NS,
        revoked_believed_ns: 3 * SECOND_NS,
        writes_within_ns: 30 * SECOND_NS,
        drained_within_ns: 240 * SECOND_NS,
    }
}

/// The queues of `tenant`, in ascending order.
pub fn queues_of(tenant: Tenant) -> impl Iterator<Item = QueueNumber> {
    (0..QUEUES.len()).filter(move |queue| QUEUES[*queue].tenant == tenant)
}

pub fn project_of(tenant: Tenant) -> ProjectId {
    ProjectId::new(format!("0123456789abcdef0123456{tenant}"))
}

pub fn project_of_queue(queue: QueueNumber) -> ProjectId {
    project_of(QUEUES[queue].tenant)
}

/// Queues of different projects have the same names: a project that is mixed up is seen.
pub fn queue_name(queue: QueueNumber) -> QueueName {
    let place = queues_of(QUEUES[queue].tenant).position(|each| each == queue);
    QueueName::new(format!("queue-{}", place.expect("every queue is one of its project's")))
}

/// The body of a message: its uid, and a filling that depends on it, now and then a large one.
pub fn body_of(uid: Uid) -> Vec<u8> {
    let mut rng = Rng::new(uid);
    let bytes = if rng.chance(20_000) { rng.below(5_000) } else { rng.below(200) };
    let filling = (0..bytes).map(|place| (uid.wrapping_mul(31).wrapping_add(place)) as u8);
    uid.to_be_bytes().into_iter().chain(filling).collect()
}

/// The uid in a body, if it is one that `body_of` made.
pub fn uid_of(body: &[u8]) -> Option<Uid> {
    let uid = Uid::from_be_bytes(*body.first_chunk()?);
    (body == body_of(uid)).then_some(uid)
}
