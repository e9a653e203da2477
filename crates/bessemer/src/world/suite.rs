//! openraft's own tests of a log store and a state machine, on real files and RocksDB.

use bessemer_log::{Log, LogOptions};
use bessemer_model::{BootCount, DataId, NodeId};
use bessemer_replica::{LogStore, ReplicaOptions, StateMachine, Types, open_storage};
use bessemer_storage::disk::FileDisk;
use bessemer_storage::{LOG_DIR, RocksStore, STATE_DIR, StorageOptions};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft_rt_tokio::TokioRuntime as Rt;

use super::log_driver::LogDriver;
use super::real::RealWorld;
use super::tcp_net::TcpNet;
use super::tokio_runtime::TokioRuntime;

/// A new directory for each test of the suite.
struct Builder;

/// What must live as long as the stores; the directory goes last.
type Held = (LogDriver, tempfile::TempDir);

impl StoreBuilder<Types<Rt>, LogStore<Rt, FileDisk>, StateMachine<RealWorld>, Held> for Builder {
    async fn build(
        &self,
    ) -> Result<(Held, LogStore<Rt, FileDisk>, StateMachine<RealWorld>), StorageError<Types<Rt>>>
    {
        let dir = tempfile::tempdir().expect("a new directory");
        let disk = FileDisk::open(&dir.path().join(LOG_DIR)).expect("its log opens");
        let options = LogOptions { segment_bytes: 1 << 16, ..LogOptions::default() };
        let (log, _) = Log::open(disk, options).expect("a new log opens");
        let driver = LogDriver::start(&log, |error| panic!("{error}")).expect("threads start");
        let options = StorageOptions {
            block_cache_bytes: 1 << 20,
            memtable_bytes_total: 4 << 20,
            ..StorageOptions::default()
        };
        let state = RocksStore::open(&dir.path().join(STATE_DIR), options).expect("a new state");
        let net = TcpNet::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let world = RealWorld::new(TokioRuntime::new(), net);
        let options = ReplicaOptions::new(NodeId(1), "suite", BootCount(1), DataId(1));
        let (store, machine) =
            open_storage(world, options, log, state).await.expect("an empty state opens");
        Ok(((driver, dir), store, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_own_storage_suite_passes_on_real_files() {
    Suite::test_all(Builder).await.expect("the suite passes");
}
