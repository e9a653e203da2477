//! Init: gives the group its version and its secret. The first entry of every group.
//!
//! Not here: where the secret comes from (the first leader).
//! Invariant: applied once; a node that does not know the version stops.

use bessemer_model::{Outcome, Rejection};

use crate::core::CLUSTER_VERSION;
use crate::fault::{Fault, Refusal};
use crate::state::State;

pub(crate) fn apply(
    state: &mut State,
    cluster_version: u32,
    secret: [u8; 32],
) -> Result<Outcome, Refusal> {
    check(state, cluster_version)?;
    change(state, cluster_version, secret);
    Ok(tell())
}

fn check(state: &State, cluster_version: u32) -> Result<(), Refusal> {
    if state.core.cluster_version != 0 {
        return Err(Rejection::GroupInitialized.into());
    }
    if cluster_version != CLUSTER_VERSION {
        return Err(Fault::UnknownVersion { cluster_version }.into());
    }
    Ok(())
}

fn change(state: &mut State, cluster_version: u32, secret: [u8; 32]) {
    state.core.cluster_version = cluster_version;
    state.core.secret = secret;
}

fn tell() -> Outcome {
    Outcome::Done
}
