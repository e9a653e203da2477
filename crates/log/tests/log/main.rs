//! The log as its owner sees it: against a model, through crashes, damage and full disks.

mod basics;
mod damage;
mod faults;
mod full;
mod model;
mod overtake;
mod random;
