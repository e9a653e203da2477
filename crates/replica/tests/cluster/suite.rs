//! openraft's own tests of a log store and a state machine, on ours.

use bessemer_log::memory_disk::MemoryDisk;
use bessemer_log::{Log, LogOptions};
use bessemer_model::{BootCount, DataId, NodeId};
use bessemer_replica::{LogStore, ReplicaOptions, StateMachine, Types, open_storage};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft_rt_tokio::TokioRuntime as Rt;

use crate::net::MemoryHub;
use crate::nodes::Driver;
use crate::state::MemoryState;
use crate::world::{TestWorld, TokioRuntime};

struct Builder;

impl StoreBuilder<Types<Rt>, LogStore<Rt, MemoryDisk>, StateMachine<TestWorld>, Driver>
    for Builder
{
    async fn build(
        &self,
    ) -> Result<(Driver, LogStore<Rt, MemoryDisk>, StateMachine<TestWorld>), StorageError<Types<Rt>>>
    {
        let options = LogOptions { segment_bytes: 1 << 16, ..LogOptions::default() };
        let (log, _) = Log::open(MemoryDisk::new(1), options).expect("a new log opens");
        let driver = Driver::start(log.clone());
        let world = TestWorld {
            runtime: TokioRuntime::shared(),
            net: MemoryHub::default().attach(NodeId(1)),
        };
        let options = ReplicaOptions::new(NodeId(1), "suite", BootCount(1), DataId(1));
        let opened = open_storage(world, options, log, MemoryState::default()).await;
        let (store, machine) = opened.expect("an empty state opens");
        Ok((driver, store, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_own_storage_suite_passes() {
    Suite::test_all(Builder).await.expect("the suite passes");
}
