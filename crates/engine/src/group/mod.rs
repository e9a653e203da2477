//! Verbs of the group itself: they name no project.

pub(crate) mod init;
pub(crate) mod sweep;
