//! Planted bugs: what the simulation and its checks must find, or they are worth nothing.
//!
//! Not here: the bugs themselves. Those whose place is in openraft are patches of a copy of it
//! (`crates/simulator/mutants`, `.ci/mutants.sh`). Each other one sits where such a bug would sit, as `if mutants::on(…)`;
//! without the feature `mutants` that is the constant `false`, and nothing of it is compiled.
//! At most one is chosen, per thread, at run time. Two guards keep them out of a program people
//! run: no build without debug assertions has the feature, and the crate `bessemer` refuses it.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("the feature `mutants` plants bugs: it is for the simulation alone");

use std::fmt;
use std::str::FromStr;

/// The bugs are compiled in.
pub const COMPILED: bool = cfg!(feature = "mutants");

/// What is known of a mutant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct About {
    pub mutant: Mutant,
    /// How it is chosen.
    pub name: &'static str,
    /// The file it sits in.
    pub place: &'static str,
    /// What it does, in one line.
    pub what: &'static str,
    /// The incident of a peer it is like; empty when it is like none in particular.
    pub like: &'static str,
}

macro_rules! mutants {
    ($($mutant:ident $name:literal $place:literal $what:literal $like:literal;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Mutant {
            $(#[doc = $what] $mutant,)*
        }

        /// All of them, those that are like an incident first.
        pub const ALL: &[About] = &[$(About {
            mutant: Mutant::$mutant,
            name: $name,
            place: $place,
            what: $what,
            like: $like,
        },)*];
    };
}

mutants! {
    NatsLazyFsync "nats-lazy-fsync" "log/writer.rs"
        "Appends count as durable at once; the device is asked now and then."
        "NATS JetStream 2.12.1: fsync every two minutes by default; 131,418 acked messages lost";
    NatsDamagedRecordSkipped "nats-damaged-record-skipped" "log/recover.rs"
        "A damaged record, and all after it, is taken for a torn tail."
        "NATS JetStream 2.12.1: a flipped bit on one node lost 679,153 acked messages";
    NatsRottenSnapshot "nats-rotten-snapshot" "replica/snapshot_receive.rs"
        "A snapshot is installed without a look at its sums."
        "NATS JetStream 2.12.1: a damaged snapshot let a stream be deleted";
    RabbitmqNackRedelivery "rabbitmq-nack-redelivery" "engine/queue/release.rs"
        "A release by a reservation that is over gives the message of its new holder back."
        "RabbitMQ 3.3 (2014): redelivery after a nack broke mutual exclusion";
    RabbitmqDuplicateOnRetry "rabbitmq-duplicate-on-retry" "engine/retry.rs"
        "A keyed request that comes again is done again."
        "RabbitMQ: a publisher that repeats an unconfirmed publish makes a second message";
    EtcdLockWithoutFencing "etcd-lock-without-fencing" "engine/reservation.rs"
        "A reservation id is believed though a newer one was given."
        "etcd 3.4.3 (2020): locks are no mutual exclusion without fencing";
    EtcdHalfApplied "etcd-13766-half-applied" "engine/engine.rs"
        "The applied index is written before the rest of the rows."
        "etcd 3.5.0 to 3.5.2 (issue 13766): the consistent index ran ahead of the data";
    RedisRaftStaleRead "redisraft-stale-read" "replica/reads.rs"
        "A leader answers reads without asking whether it still leads."
        "Redis-Raft (2020): stale reads in healthy clusters";
    RedpandaResentPart "redpanda-3039-resent-part" "engine/engine.rs"
        "A part of a lane that was sent again is applied again."
        "Redpanda 21.10.1 (issue 3039): duplicates after a retry";
    KafkaTornTransaction "kafka-torn-transaction" "engine/transaction.rs"
        "A transaction that is refused keeps what its other commands did."
        "Kafka (KIP-890): torn transactions";
    PostgresFsyncgate "postgres-fsyncgate" "log/writer.rs"
        "A failed sync is taken for a done one."
        "PostgreSQL (2018): a second fsync answers for pages the kernel has dropped";
    TigerbeetleScanSkips "tigerbeetle-scan-skips" "engine/overlay.rs"
        "A scan leaves out the row after a deleted one."
        "TigerBeetle 0.16.11 (2025): queries left out rows";
    Openraft1220 "openraft-1220-vote" "replica/server.rs"
        "A vote is granted to whoever asks, whatever log it has."
        "openraft 0.10.0-alpha.2 (1220): votes granted wrongly, data lost at Databend";
    Openraft1808 "openraft-1808-stale-membership" "openraft/raft_state/membership_state"
        "A snapshot that covers an uncommitted membership leaves it in force."
        "openraft before 0.9.25 (1808): disjoint quorums, committed entries lost";
    Openraft2116 "openraft-2116-apply-swept" "replica/server.rs, snapshot_receive.rs"
        "Commits go on while a snapshot comes in."
        "openraft (2116): an entry is applied that a snapshot has swept away";
    OpenraftRestoredLeader "openraft-restored-leader" "replica/config.rs"
        "A leader that comes back leads on, with a shorter log."
        "openraft 0.10: enable_leader_restore with entries sent before they are durable";
    LearnerCountedInQuorum "learner-counted-in-quorum" "openraft/membership"
        "What a learner holds counts towards a majority of voters." "";
    VoteNotSynced "vote-not-synced" "replica/log_store.rs"
        "A vote is cast before it is durable." "";
    PurgePastFlush "purge-past-flush" "replica/log_store.rs"
        "The log is purged up to what is committed, not to what would survive a crash." "";
    CommitsWhatItHolds "commits-what-it-holds" "replica/server.rs"
        "A follower takes all entries it was sent for committed." "";
    ReadBeforeApplied "read-before-applied" "replica/replica.rs"
        "A read does not wait until its index is applied here." "";
    ReadJoinsRunningRound "read-joins-running-round" "replica/reads.rs"
        "A read is confirmed by a round that began before it." "";
    StampFromWallClock "stamp-from-wall-clock" "replica/intake.rs"
        "Entries are stamped by the leader's wall clock." "";
    SnapshotWithoutKeyedOutcomes "snapshot-without-keyed-outcomes" "replica/state_machine.rs"
        "A node forgets the outcomes of keyed requests when it installs a snapshot." "";
    MembershipNotKept "membership-not-kept" "replica/state_machine.rs"
        "A change of the membership is not written to the state." "";
    TimeoutToldAsNotDone "timeout-told-as-not-done" "replica/replica.rs"
        "A request whose patience ended is called not done, whatever becomes of it." "";
    SkippedToldAsNotDone "skipped-told-as-not-done" "replica/proposer.rs"
        "Requests that a snapshot holds are called not done." "";
    WipedNodeAdmitted "wiped-node-admitted" "replica/peers.rs"
        "A node that lost its disk is let in under its old id." "";
    HashMapOrderInApply "hash-map-order-in-apply" "engine/queue/post.rs"
        "Messages of one post enter in the order of a hash map." "";
    WindowInfluencesRow "window-influences-row" "engine/queue/reserve.rs"
        "A reserve that finds its window cold takes a generation more." "";
    TimerPassedUnsettled "timer-passed-unsettled" "engine/settle.rs"
        "Log time goes on though timers are left." "";
    LogTimeFalls "log-time-falls" "engine/settle.rs"
        "A stamp below the log time turns it back." "";
    ReadyFromTooHigh "ready-from-too-high" "engine/state.rs"
        "A message that comes back is before the place where a cold window begins to read." "";
    OrderingKeyIgnored "ordering-key-ignored" "engine/queue/arrive.rs"
        "A message is ready though an older one of its key is there." "";
    DeadLetterTooEarly "dead-letter-too-early" "engine/queue/dead_letter.rs"
        "A message dies one reservation before its time." "";
    TouchDoesNotExtend "touch-does-not-extend" "engine/queue/touch.rs"
        "A touch is answered, and the reservation ends when it would have ended." "";
    DelayCutToSeconds "delay-cut-to-seconds" "engine/queue/arrive.rs"
        "The end of a delay is cut down to a whole second." "";
    BodyLeftBehind "body-left-behind" "engine/queue/depart.rs"
        "The body of a removed message stays." "";
    OverlayForgetsBelow "overlay-forgets-below" "engine/overlay.rs"
        "A row that is put and deleted within one commit comes back as it was before." "";
    RevokedTokenServed "revoked-token-served" "service/authorize.rs"
        "A token that was seen once is believed for ever." "";
    ForeignProjectServed "foreign-project-served" "service/caller.rs"
        "A token opens every project." "";
    UndoAfterDelivery "undo-after-delivery" "service/delivery.rs"
        "A reserve is taken back though its reply was written." "";
    StaleReadByDefault "stale-read-by-default" "service/service.rs"
        "A read that asks for the current state gets the node's own." "";
    SyncBeforeDurable "sync-before-durable" "simulator/world/disk.rs"
        "Most syncs of the device return before anything is durable." "";
    WrongByteInState "wrong-byte-in-state" "simulator/world/state.rs"
        "Now and then a body changes by one bit on its way into the state of one node." "";
}

/// Begins the place of a mutant that is a patch of openraft.
pub const IN_LIBRARY: &str = "openraft/";

impl Mutant {
    pub fn about(self) -> &'static About {
        ALL.iter().find(|about| about.mutant == self).expect("the list holds every mutant")
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.about().name)
    }
}

impl FromStr for Mutant {
    type Err = String;

    /// By its name.
    fn from_str(text: &str) -> Result<Mutant, String> {
        let found = ALL.iter().find(|about| about.name == text);
        found.map(|about| about.mutant).ok_or_else(|| {
            let names: Vec<&str> = ALL.iter().map(|about| about.name).collect();
            format!("one of {}", names.join(", "))
        })
    }
}

/// Whether `mutant` is chosen in this thread.
#[cfg(not(feature = "mutants"))]
pub const fn on(_mutant: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use planted::{choose, on, on_but_every, shuffle, strikes};

#[cfg(not(feature = "mutants"))]
pub use absent::{choose, on_but_every, shuffle, strikes};

/// What takes the place of the choice where nothing is planted.
#[cfg(not(feature = "mutants"))]
mod absent {
    use super::Mutant;

    /// Panics when one is chosen: it is not there.
    pub fn choose(mutant: Option<Mutant>) {
        assert!(mutant.is_none(), "{mutant:?} is not compiled in: build with --features mutants");
    }

    pub const fn on_but_every(_mutant: Mutant, _every: u64) -> bool {
        false
    }

    pub const fn shuffle<T>(_mutant: Mutant, _items: &mut [T]) {}

    pub const fn strikes() -> u64 {
        0
    }
}

#[cfg(feature = "mutants")]
mod planted {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
        static STRIKES: Cell<u64> = const { Cell::new(0) };
    }

    /// Chooses the mutant of this thread, or none, and begins to count its strikes.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
        STRIKES.set(0);
    }

    /// How often the chosen mutant had its way since it was chosen: one that never had is no proof
    /// against the checks.
    pub fn strikes() -> u64 {
        STRIKES.get()
    }

    /// Whether `mutant` is chosen in this thread.
    pub fn on(mutant: Mutant) -> bool {
        let on = CHOSEN.get() == Some(mutant);
        STRIKES.set(STRIKES.get() + u64::from(on));
        on
    }

    /// The same, but for every `every`-th time it is asked.
    pub fn on_but_every(mutant: Mutant, every: u64) -> bool {
        on(mutant) && !strikes().is_multiple_of(every)
    }

    /// Puts `items` into an order that depends on when it is asked, as that of a hash map depends on
    /// the process: the same in every repetition of a run, another on each node.
    pub fn shuffle<T>(mutant: Mutant, items: &mut [T]) {
        if on(mutant) && !items.is_empty() {
            let by = strikes() as usize % items.len();
            items.rotate_left(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        let names: BTreeSet<&str> = ALL.iter().map(|about| about.name).collect();
        assert_eq!(names.len(), ALL.len());
        for about in ALL {
            assert_eq!(about.name.parse(), Ok(about.mutant));
            assert_eq!(about.mutant.to_string(), about.name);
        }
        assert!("no-such-mutant".parse::<Mutant>().is_err());
    }

    #[test]
    fn at_least_ten_are_like_an_incident() {
        assert!(ALL.iter().filter(|about| !about.like.is_empty()).count() >= 10);
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn one_is_on_when_it_is_chosen() {
        choose(Some(Mutant::NatsLazyFsync));
        assert!(on(Mutant::NatsLazyFsync) && !on(Mutant::VoteNotSynced));
        assert_eq!(strikes(), 1);
        choose(None);
        assert!(!on(Mutant::NatsLazyFsync));
    }
}
