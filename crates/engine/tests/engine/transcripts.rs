//! Stories in `transcripts/*.txt`: commands, and after `->` what is answered.
//!
//! `BESSEMER_REWRITE=1` writes the answers of today into the files; a person reads the diff.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::World;

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The story with the answers given today. An empty line begins a new world.
fn replay(text: &str) -> String {
    let mut told = String::new();
    let mut world = World::new();
    for line in text.lines() {
        let words = line.split_once("->").map_or(line, |(words, _)| words).trim_end();
        if words.is_empty() {
            world = World::new();
            told.push('\n');
        } else if words.starts_with('#') {
            told += &format!("{words}\n");
        } else {
            let answer = world.say(words);
            told += &format!("{words:<44} -> {answer}\n");
        }
    }
    told
}

#[test]
fn every_story_ends_as_told() {
    let rewrite = std::env::var_os("BESSEMER_REWRITE").is_some();
    let stories = stories();
    assert!(stories.len() >= 15, "one story a verb, and more");
    for path in stories {
        let text = fs::read_to_string(&path).unwrap();
        let today = replay(&text);
        if rewrite {
            fs::write(&path, &today).unwrap();
        }
        for (line, (told, today)) in text.lines().zip(today.lines()).enumerate() {
            assert!(
                rewrite || told == today,
                "{}:{}\n  told:  {told}\n  today: {today}",
                path.display(),
                line + 1
            );
        }
        assert!(rewrite || text == today, "{} ends differently", path.display());
    }
}
