//! Whole replicas in one process, over streams, log disks and states in memory.

mod agreement;
mod failover;
mod limits;
mod load;
mod membership;
mod net;
mod nodes;
mod snapshots;
mod state;
mod suite;
mod workload;
mod world;
