//! Plans for planted bugs: the faults that bring each to light sooner than a plan by chance does.
//!
//! Not here: the bugs (`bessemer_seam::mutants`), running them one after the other
//! (`bin/mutants.rs`). A mutant without a line here is found by plans as they come.

use std::time::Duration;

use bessemer_seam::mutants::Mutant;

use crate::faults::Fault;
use crate::run::Plan;

impl Plan {
    /// The same with `mutant` having its way, and faults that bring it to light.
    pub fn with_mutant(mut self, mutant: Mutant) -> Plan {
        self.mutant = Some(mutant);
        let Hint { kinds, more } = hint(mutant);
        if !kinds.is_empty() {
            self.kinds = kinds.to_vec();
        }
        match more {
            More::Nothing => self,
            More::Snapshots => self.with_many_snapshots(),
            More::Clients => self.with_many_clients(),
            More::Both => self.with_many_snapshots().with_many_clients(),
            More::ThreeNodes => {
                self.settings.nodes = 3;
                self.with_many_snapshots().with_many_clients()
            }
            More::SlowRounds => {
                self.settings.link.delay_us = (10_000, 60_000);
                self.with_many_clients()
            }
        }
    }

    fn with_many_clients(mut self) -> Plan {
        self.clients = 12;
        self.work = Duration::from_secs(40);
        self
    }

    fn with_many_snapshots(mut self) -> Plan {
        self.settings.snapshot_every_bytes = 10_000;
        self.settings.log_bytes_max = 10_000;
        self.settings.log_bytes_keep = 0;
        self
    }
}

struct Hint {
    /// The faults the plan draws from; none: as they come.
    kinds: &'static [Fault],
    more: More,
}

enum More {
    Nothing,
    /// Small snapshots and a short log.
    Snapshots,
    /// Many clients, for long.
    Clients,
    Both,
    /// Both, and three nodes: a scene's sides.
    ThreeNodes,
    /// Many clients, and links on which a round takes long.
    SlowRounds,
}

fn hint(mutant: Mutant) -> Hint {
    use Fault::*;
    use Mutant as M;
    let (kinds, more): (&[Fault], More) = match mutant {
        M::SyncBeforeDurable | M::NatsLazyFsync => (&[KillOne, KillAll], More::Nothing),
        M::PostgresFsyncgate => (&[SyncFails, KillOne, KillAll], More::Nothing),
        M::NatsDamagedRecordSkipped | M::WipedNodeAdmitted => (&[OtherMajority], More::Nothing),
        M::NatsRottenSnapshot => (&[RottenSnapshot, KillAll, Isolate], More::Both),
        M::Openraft1220 => (&[OtherMajority], More::Nothing),
        M::Openraft1808 => (&[StaleMember], More::ThreeNodes),
        M::LearnerCountedInQuorum => (&[LearnerMajority], More::ThreeNodes),
        M::VoteNotSynced => (&[ForgottenVote], More::Nothing),
        M::CommitsWhatItHolds => (&[Part, Isolate, KillOne], More::Nothing),
        M::RedisRaftStaleRead => (&[Part, Isolate], More::Clients),
        M::ReadBeforeApplied => (&[SlowLink, OneWay, Flap, SlowDisk], More::Clients),
        M::ReadJoinsRunningRound => (&[SlowLink, SlowDisk], More::SlowRounds),
        M::OverlayForgetsBelow => (&[KillOne, KillAll, Isolate], More::Clients),
        M::TimerPassedUnsettled => (&[KillOne, KillAll], More::Clients),
        M::StampFromWallClock => (&[WallJump, Transfer], More::Nothing),
        M::LogTimeFalls => (&[WallJump, Strobe, TransferStorm, SlowDisk], More::Clients),
        M::MembershipNotKept => (&[Membership, KillOne], More::Snapshots),
        M::Openraft2116 => (&[Isolate, Part, SlowDisk], More::Both),
        M::SkippedToldAsNotDone => (&[OneWay, Isolate], More::Both),
        M::OpenraftRestoredLeader => (&[KillOne, KillAll, SlowDisk], More::Nothing),
        M::SnapshotWithoutKeyedOutcomes | M::PurgePastFlush => (&[], More::Snapshots),
        _ => (&[], More::Nothing),
    };
    Hint { kinds, more }
}
