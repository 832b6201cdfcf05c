//! Holds the pages for people to the program: every configuration that a page calls complete loads, every command line
//! that it shows is one, every link leads somewhere.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use attune::cli::arguments::Arguments;
use attune::config;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, by its path.
fn pages() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("docs"), root().join("deploy")];
    let mut found: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// The fenced blocks of a page: what stands after the fence, and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in page.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(_) if open => open = false,
            Some(kind) => {
                blocks.push((kind.trim().to_owned(), String::new()));
                open = true;
            }
            None if open => {
                let (_, text) = blocks.last_mut().unwrap();
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// The page without its fenced blocks.
fn prose(page: &str) -> String {
    let mut open = false;
    let keep = |line: &&str| {
        let fence = line.trim_start().starts_with("```");
        open ^= fence;
        !open && !fence
    };
    page.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

/// The words of a command line, as a shell splits them; what follows `#` is a remark.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    for character in line.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            '#' if !quoted && word.is_none() => break,
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// A page's name for messages.
fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn complete_configurations_load() {
    let folder = tempfile::tempdir().unwrap();
    let mut complete = 0;
    for (path, page) in pages() {
        for (number, (_, text)) in blocks(&page).iter().filter(|(kind, _)| kind == "toml complete").enumerate() {
            let file = folder.path().join(format!("{complete}.toml"));
            fs::write(&file, text).unwrap();
            let loaded = config::load(&[file], Vec::new());
            let config = loaded.unwrap_or_else(|problems| panic!("{}, block {number}: {problems}", name(&path)));
            let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
            assert_eq!(warnings, Vec::<String>::new(), "{}, block {number}", name(&path));
            complete += 1;
        }
    }
    assert!(complete >= 4, "only {complete} complete configurations were found");
}

/// Lines of shell blocks that run attune, and code in the text that begins with it.
#[test]
fn command_lines_are_ones() {
    let mut read = 0;
    let mut wrong = Vec::new();
    for (path, page) in pages() {
        let blocks = blocks(&page);
        let shell = blocks.iter().filter(|(kind, _)| kind == "sh").flat_map(|(_, text)| text.lines());
        let prose = prose(&page);
        let spans = prose.split('`').skip(1).step_by(2);
        // The page of events names commands without what they need.
        let spans = spans.filter(|_| !path.ends_with("events.md"));
        for line in shell.chain(spans) {
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            if !line.starts_with("attune ") || line.contains("[--config") {
                continue;
            }
            if let Err(error) = Arguments::read(words(&line)) {
                let asked = matches!(error.kind(), clap::error::ErrorKind::DisplayHelp);
                if !asked {
                    wrong.push(format!("{}: {line}\n{error}", name(&path)));
                }
            }
            read += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(read >= 50, "only {read} command lines were found");
}

/// Where a heading can be linked to, as forges make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn relative_links_lead_somewhere() {
    let mut followed = 0;
    let mut broken = Vec::new();
    for (path, page) in pages() {
        let text = prose(&page);
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, section) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let lands = match fs::read_to_string(&file) {
                Ok(_) if section.is_empty() => true,
                Ok(page) => prose(&page)
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line.trim_start_matches('#')) == section),
                // A picture.
                Err(_) => {
                    section.is_empty() && file.extension().is_some_and(|ending| ending == "png") && file.is_file()
                }
            };
            if !lands {
                broken.push(format!("{}: {target}", name(&path)));
            }
            followed += 1;
        }
    }
    assert_eq!(broken, Vec::<String>::new());
    assert!(followed >= 20, "only {followed} links were found");
}

/// The exit codes of the README are those of the program.
#[test]
fn exit_codes_are_listed() {
    use attune::cli::exit::Exit;
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let all = [
        Exit::Done,
        Exit::Attention,
        Exit::Usage,
        Exit::Defect,
        Exit::Unreachable,
        Exit::Unauthorized,
        Exit::Misconfigured,
    ];
    for exit in all {
        let row = format!("\n| {} | ", exit.code());
        assert_eq!(readme.matches(&row).count(), 1, "{row}");
    }
}
