//! Runs the core scripts. See `src/story.rs` for what they are made of.

use std::path::Path;
use tests::story::Story;

#[test]
fn every_story_goes_as_it_is_told() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    let mut failed = Vec::new();
    for script in &scripts {
        let told = std::panic::catch_unwind(|| goldenscript::run(&mut Story::default(), script));
        match told {
            Ok(Ok(())) => {}
            Ok(Err(e)) => failed.push(format!("{}: {e}", script.display())),
            Err(_) => failed.push(format!("{}: see above", script.display())),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(scripts.len() >= 40, "there are only {} stories", scripts.len());
    println!("stories: {}", scripts.len());
}
