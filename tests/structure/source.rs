//! Reading the tree: every source file and manifest of the workspace, comments taken out.

use std::{fs, path::Path};

/// The directories whose code the rules bind.
pub(super) const PACKAGES: [&str; 4] = ["src", "shared", "registry", "auth"];

/// One file: its path from the top of the workspace and its text without line comments.
pub(super) struct SourceFile {
    pub(super) path: String,
    pub(super) lines: Vec<String>,
}

impl SourceFile {
    /// Inline test modules, which stand at the end of their files, are left out.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let text = text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text, |(code, _)| code);
        // A manifest has no comments of this kind, and addresses in its texts.
        let text = if path.ends_with(".rs") { without_line_comments(text) } else { text.to_owned() };
        Self { path: path.to_owned(), lines: text.lines().map(str::to_owned).collect() }
    }

    pub(super) fn is_manifest(&self) -> bool {
        self.path.ends_with("Cargo.toml")
    }

    /// The package the file belongs to: `src`, `shared`, `registry` or `auth`.
    pub(super) fn package(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// The top module the file belongs to: `registry/src/http/blobs.rs` and `registry/src/http.rs` are both `http`.
    pub(super) fn module(&self) -> &str {
        let inside = self.path.split_once("src/").map_or("", |(_, inside)| inside);
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Where the file stands below its crate's root: `registry/src/content/tags.rs` is `["content", "tags"]`, the root nothing.
    pub(super) fn module_path(&self) -> Vec<&str> {
        let inside = self.path.split_once("src/").map_or("", |(_, inside)| inside);
        let inside = inside.strip_suffix(".rs").unwrap_or_default();
        inside.split('/').filter(|part| !["", "lib", "main"].contains(part)).collect()
    }

    /// Whether only tests see the file: what they make certificates or tokens with is no part of the program.
    pub(super) fn is_for_tests(&self) -> bool {
        ["/tests.rs", "/tests/", "/testing.rs", "/testing/"].iter().any(|part| self.path.contains(part))
    }

    /// The modules that this file declares for tests only, as paths without `.rs`.
    pub(super) fn test_modules(&self) -> Vec<String> {
        let directory = match self.path.strip_suffix(".rs") {
            Some(path) if path.ends_with("/lib") || path.ends_with("/main") => {
                path.rsplit_once('/').map_or("", |(d, _)| d)
            }
            Some(path) => path,
            None => return Vec::new(),
        };
        let pairs = self.lines.iter().zip(self.lines.iter().skip(1));
        let declared = pairs.filter(|(attribute, _)| attribute.trim() == "#[cfg(test)]").filter_map(|(_, module)| {
            let (_, name) = module.trim().strip_suffix(';')?.split_once("mod ")?;
            Some(format!("{directory}/{name}"))
        });
        declared.collect()
    }

    /// Whether the file is `package/src/module.rs` or lies below `package/src/module/`.
    pub(super) fn is_below(&self, package: &str, module: &str) -> bool {
        self.package() == package && self.module() == module
    }

    /// The first line (counted from one) that names `word`, as a whole path element: `auth::` is named by `use auth::x`
    /// and not by `crate::auth::x` or `portreeve_auth_x`.
    pub(super) fn names(&self, word: &str) -> Option<usize> {
        self.lines.iter().position(|line| mentions(line, word)).map(|index| index + 1)
    }
}

/// Whether `line` holds `word` where no path and no longer name leads to it or (if it ends in a letter) follows it.
pub(super) fn mentions(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let starts = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let ends = !word.ends_with(char::is_alphanumeric) || !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
        starts && ends
    })
}

/// Takes line comments out. Two slashes within a text (an address, say) begin none.
fn without_line_comments(text: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        let length = match next {
            '"' => length_of_text(rest, hashes_before(&kept)),
            '\'' => length_of_character(rest),
            _ => next.len_utf8(),
        };
        kept.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    kept
}

/// How many hashes close the raw text that begins behind this; none if it is no raw one.
fn hashes_before(kept: &str) -> Option<usize> {
    let bare = kept.trim_end_matches('#');
    let before = bare.strip_suffix('r')?.chars().next_back();
    (!before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_')).then(|| kept.len() - bare.len())
}

/// From the opening quote to the closing one; to the end of the file where it is missing.
fn length_of_text(text: &str, raw: Option<usize>) -> usize {
    let length = match raw {
        Some(hashes) => {
            let closing = format!("\"{}", "#".repeat(hashes));
            text[1..].find(&closing).map(|end| 1 + end + closing.len())
        }
        None => {
            let mut escaped = false;
            let closes = |(_, c): &(usize, char)| {
                let closes = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                closes
            };
            text.char_indices().skip(1).find(closes).map(|(at, _)| at + 1)
        }
    };
    length.unwrap_or(text.len())
}

/// `'"'`, `'\''` and their kin whole; of a lifetime the quote alone.
fn length_of_character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((escaped, _))) => text[escaped + 1..].find('\'').map_or(1, |end| escaped + end + 2),
        (Some(_), Some((closing, '\''))) => closing + 1,
        _ => 1,
    }
}

/// Every `.rs` file and `Cargo.toml` of the packages.
pub(super) fn read_tree(top: &Path) -> Vec<SourceFile> {
    let mut files = Vec::new();
    for package in PACKAGES {
        walk(top, &top.join(package), &mut files);
    }
    files
}

fn walk(top: &Path, directory: &Path, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(directory).expect("the workspace's directories can be listed") {
        let path = entry.expect("a directory entry can be read").path();
        if path.is_dir() {
            walk(top, &path, files);
        } else if path.extension().is_some_and(|e| e == "rs") || path.ends_with("Cargo.toml") {
            let text = fs::read_to_string(&path).expect("a source file is readable text");
            let name = path.strip_prefix(top).expect("the file lies in the workspace");
            files.push(SourceFile::new(&name.to_string_lossy(), &text));
        }
    }
}
