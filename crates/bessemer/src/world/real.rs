//! The bundle of seams a production node stands on.

use std::sync::Arc;

use bessemer_replica::World;
use bessemer_seam::runtime::SharedRuntime;
use bessemer_storage::RocksStore;
use bessemer_storage::disk::FileDisk;
use openraft_rt_tokio::TokioRuntime as RaftRuntime;

use super::tcp_net::TcpNet;
use super::tokio_runtime::TokioRuntime;

/// tokio, TCP, real files, RocksDB.
#[derive(Clone)]
pub struct RealWorld {
    runtime: Arc<TokioRuntime>,
    net: TcpNet,
}

impl RealWorld {
    pub fn new(runtime: Arc<TokioRuntime>, net: TcpNet) -> RealWorld {
        RealWorld { runtime, net }
    }
}

impl World for RealWorld {
    type Rt = RaftRuntime;
    type Net = TcpNet;
    type Disk = FileDisk;
    type State = RocksStore;

    fn runtime(&self) -> SharedRuntime {
        self.runtime.clone()
    }

    fn net(&self) -> TcpNet {
        self.net.clone()
    }
}
