//! Tokens: who may do what in a project.

use crate::ids::TokenId;
use crate::units::Millis;

/// What a token lets its bearer do inside its project. Each role may do what the one before may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Read: info, list, peek, get.
    Reader,
    /// Use queues: post, reserve, ack, touch, release, create, clear.
    Member,
    /// All of the project: delete queues, mint and revoke its tokens.
    Owner,
}

/// Where a caller's rights reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The operator: every project, and the cluster itself.
    Cluster,
    Project {
        id: crate::ids::ProjectId,
        role: Role,
    },
}

/// A token as the log keeps it. The secret itself is shown once, to whoever made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRecord {
    pub id: TokenId,
    /// Keyed hash of the 256-bit secret (blake3, keyed by the token id's bytes padded to 32).
    pub secret_hash: [u8; 32],
    pub role: Role,
    /// What it is for, in the owner's words; 0..=255 bytes.
    pub name: Box<str>,
    /// Refused from this log time on; `None` lives until revoked.
    pub expires_at: Option<Millis>,
}
