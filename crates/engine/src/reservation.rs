//! Reservation ids: minted when a message is reserved or touched, judged when they come back.
//!
//! Not here: how long a reservation lasts. Every touch number up to the current one of the current
//! generation is valid (lineage): old clients keep using the id from before a touch.
//! Source: design 3; ironmq-v3.md 4.7.

use bessemer_model::{MessageId, ProjectId, ReservationId};
use bessemer_seam::mutants::{self, Mutant};

use crate::core::Core;
use crate::tables::message::{MessageRow, MessageState};

/// The id of `message` under `generation` and `touch`.
pub(crate) fn mint(
    core: &Core,
    project: &ProjectId,
    message: MessageId,
    generation: u64,
    touch: u16,
) -> ReservationId {
    ReservationId::new(generation, touch, mac(core, project, message, generation, touch))
}

/// Whether `id` names the reservation under which the message is held now.
pub(crate) fn holds(core: &Core, project: &ProjectId, row: &MessageRow, id: ReservationId) -> bool {
    match row.state {
        MessageState::Reserved { generation, .. }
            if id.generation() < generation && mutants::on(Mutant::EtcdLockWithoutFencing) =>
        {
            id.mac() == mac(core, project, row.id, id.generation(), id.touch())
        }
        MessageState::Reserved { generation, touch, .. } => {
            id.generation() == generation
                && id.touch() <= touch
                && id.mac() == mac(core, project, row.id, generation, id.touch())
        }
        MessageState::Ready | MessageState::Parked | MessageState::Delayed { .. } => false,
    }
}

fn mac(core: &Core, project: &ProjectId, message: MessageId, generation: u64, touch: u16) -> u64 {
    let mut hasher = blake3::Hasher::new_keyed(&core.secret);
    hasher.update(&message.0.to_be_bytes());
    hasher.update(&generation.to_be_bytes());
    hasher.update(&touch.to_be_bytes());
    // Last, for it alone has no fixed length.
    hasher.update(project.as_str().as_bytes());
    let hash = hasher.finalize();
    let first = hash.as_bytes().first_chunk::<8>().expect("a hash has 32 bytes");
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use bessemer_model::{GroupId, Millis, Position};

    use super::*;

    #[test]
    fn an_id_holds_for_its_lineage_and_nothing_else() {
        let core = Core { secret: [7; 32], ..Core::default() };
        let project = ProjectId::new("p");
        let row = MessageRow {
            id: MessageId::new(GroupId(0), 5),
            body_bytes: 0,
            state: MessageState::Reserved { until: Millis(9), generation: 3, touch: 2 },
            reserved_count: 3,
            expires_at: Millis(1000),
            run: Position(5),
            ordering_key: None,
            moved_from: None,
        };
        let minted = |generation, touch| mint(&core, &project, row.id, generation, touch);
        let held = |id| holds(&core, &project, &row, id);
        assert!(held(minted(3, 0)) && held(minted(3, 1)) && held(minted(3, 2)));
        assert!(!held(minted(3, 3)), "a touch that never was");
        assert!(!held(minted(2, 0)), "an older generation");
        assert!(!held(ReservationId(minted(3, 0).0 ^ 1)), "a forged MAC");
        assert!(!holds(&core, &ProjectId::new("q"), &row, minted(3, 0)), "another project");
        let other = mint(&core, &project, MessageId::new(GroupId(0), 6), 3, 0);
        assert!(!held(other), "another message");
        let free = MessageRow { state: MessageState::Ready, ..row.clone() };
        assert!(!holds(&core, &project, &free, minted(3, 0)), "a free message");
    }
}
