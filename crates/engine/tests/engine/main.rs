//! Tests of the engine from outside: stories, tables, a reference model, caches, damage, cost.
//!
//! `BESSEMER_TESTS=full` runs the random and the large ones at full size (in the release profile).

mod caches;
mod compat;
mod decoder;
mod lifecycle;
mod model;
mod operations;
mod rejections;
mod scale;
mod transcripts;
mod words;
mod world;

/// A number of rounds: `quick` by default, `full` when asked for.
fn rounds(quick: u64, full: u64) -> u64 {
    if std::env::var_os("BESSEMER_TESTS").is_some_and(|size| size == "full") { full } else { quick }
}
