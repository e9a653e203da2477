//! The outside world of a replica, as one bundle: production makes one, simulation another.

use bessemer_engine::Told;
use bessemer_model::LogIndex;
use bessemer_seam::kv::Kv;
use bessemer_seam::log_disk::LogDisk;
use bessemer_seam::net::Net;
use bessemer_seam::runtime::SharedRuntime;
use bessemer_seam::state_store::StateStore;
use openraft::AsyncRuntime;

/// What a replica stands on. Cheap to clone.
pub trait World: Clone + Send + Sync + 'static {
    /// openraft's runtime: its tasks, timers, channels, blocking work.
    type Rt: AsyncRuntime;
    type Net: Net;
    type Disk: LogDisk;
    type State: StateStore;

    /// Time, tasks and chance for everything that is not openraft.
    fn runtime(&self) -> SharedRuntime;

    fn net(&self) -> Self::Net;

    /// Sees each batch as it is applied here, with what it brought about, before either is
    /// written or told. For the record of a simulation: what it does must change nothing.
    fn applied(&self, _index: LogIndex, _batch: &[u8], _told: &Told) {}
}

/// The map of a world's state store.
pub type KvOf<W> = <<W as World>::State as StateStore>::Kv;
/// A frozen view of it.
pub type ViewOf<W> = <KvOf<W> as Kv>::View;
/// A state before it is a checkpoint, its checkpoints, and snapshots on their way in.
pub type FrozenOf<W> = <<W as World>::State as StateStore>::Frozen;
pub type CheckpointOf<W> = <<W as World>::State as StateStore>::Checkpoint;
pub type StagingOf<W> = <<W as World>::State as StateStore>::Staging;
/// The two halves of a stream.
pub type SenderOf<W> = <<W as World>::Net as Net>::Sender;
pub type ReceiverOf<W> = <<W as World>::Net as Net>::Receiver;
