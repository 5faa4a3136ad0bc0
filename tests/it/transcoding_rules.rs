//! Every rule of docs/TRANSCODING.md names tests that hold it, and they are there.

use std::path::{Path, PathBuf};

/// Where the tests of a module are: `transcoding_paths`, `to_wire/tests/json`.
fn file(module: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/it", "crates/transcode/src", "crates/transcode/tests"];
    folders.iter().map(|folder| root.join(folder).join(module).with_extension("rs")).find(|path| path.is_file())
}

#[test]
fn every_rule_names_tests_that_exist() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/TRANSCODING.md")).unwrap();
    let (_, rules) = text.split_once("\n## ").expect("chapters");
    let rules: Vec<&str> = rules.split("\n- ").skip(1).collect();
    assert!(rules.len() > 30, "{} rules", rules.len());
    let mut problems = Vec::new();
    for rule in rules {
        let rule = rule.split("\n\n").next().unwrap_or_default();
        // Every second piece is between backticks.
        let tests: Vec<_> = rule.split('`').skip(1).step_by(2).filter_map(|text| text.split_once("::")).collect();
        if tests.is_empty() {
            problems.push(format!("no test: {rule}"));
        }
        for (module, test) in tests {
            let source = file(module).map(|path| std::fs::read_to_string(path).unwrap()).unwrap_or_default();
            if !source.contains(&format!("fn {test}(")) {
                problems.push(format!("{module} has no {test}"));
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}
