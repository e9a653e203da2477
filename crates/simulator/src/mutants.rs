//! Plans for planted bugs: the faults that bring each to light sooner than a plan by chance does.
//!
//! Not here: the bugs (`bessemer_seam::mutants`), running them one after the other
//! (`bin/mutants.rs`). A mutant without a line here is found by plans as they come.

use bessemer_seam::mutants::Mutant;

use crate::faults::Fault;
use crate::run::Plan;

impl Plan {
    /// The same with `mutant` having its way, and faults that bring it to light.
    pub fn with_mutant(mut self, mutant: Mutant) -> Plan {
        self.mutant = Some(mutant);
        let kinds = kinds(mutant);
        if !kinds.is_empty() {
            self.kinds = kinds.to_vec();
        }
        if wants_snapshots(mutant) {
            self.settings.snapshot_every_bytes = 10_000;
            self.settings.log_bytes_max = 10_000;
            self.settings.log_bytes_keep = 0;
        }
        self
    }
}

/// The faults a mutant's plan draws from; none: as they come.
fn kinds(mutant: Mutant) -> &'static [Fault] {
    match mutant {
        Mutant::SyncBeforeDurable | Mutant::NatsLazyFsync => &[Fault::KillOne, Fault::KillAll],
        Mutant::PostgresFsyncgate => &[Fault::SyncFails, Fault::KillOne, Fault::KillAll],
        Mutant::NatsDamagedRecordSkipped => &[Fault::Flip, Fault::KillOne, Fault::KillAll],
        Mutant::NatsRottenSnapshot => &[Fault::RottenSnapshot, Fault::Isolate],
        Mutant::VoteNotSynced => &[Fault::KillOne, Fault::PowerInCall, Fault::Part],
        Mutant::WipedNodeAdmitted => &[Fault::Wipe, Fault::OldCopy, Fault::Part],
        Mutant::Openraft1220 | Mutant::CommitsWhatItHolds => {
            &[Fault::Part, Fault::Isolate, Fault::KillOne]
        }
        Mutant::RedisRaftStaleRead => &[Fault::Part, Fault::Isolate],
        Mutant::MembershipNotKept => &[Fault::Membership, Fault::KillOne],
        Mutant::StampFromWallClock => &[Fault::WallJump, Fault::Transfer],
        Mutant::Openraft2116 | Mutant::SkippedToldAsNotDone => &[Fault::Isolate, Fault::SlowLink],
        Mutant::OpenraftRestoredLeader => &[Fault::KillOne, Fault::KillAll, Fault::SlowDisk],
        _ => &[],
    }
}

fn wants_snapshots(mutant: Mutant) -> bool {
    matches!(
        mutant,
        Mutant::NatsRottenSnapshot
            | Mutant::Openraft2116
            | Mutant::SnapshotWithoutKeyedOutcomes
            | Mutant::SkippedToldAsNotDone
            | Mutant::PurgePastFlush
            | Mutant::MembershipNotKept
    )
}
