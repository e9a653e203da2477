//! The judge: recorded operations in, one verdict out.
//!
//! Not here: recording (`simulator`), any code that is judged.

pub mod event;
pub mod model;
pub mod oracle;
