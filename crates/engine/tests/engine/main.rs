//! Tests of the engine from outside: stories, tables, a reference model, caches, damage, cost.

mod caches;
mod decoder;
mod model;
mod operations;
mod reference;
mod rejections;
mod scale;
mod transcripts;
mod words;
mod world;
