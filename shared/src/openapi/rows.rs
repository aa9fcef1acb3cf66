//! What `docs/api.md` says about each route.

use std::collections::BTreeMap;

/// The sentence of each route of the page, by path and method, without its links.
#[must_use]
pub fn rows(page: &str) -> BTreeMap<(String, String), Row> {
    page.lines().filter_map(row).collect()
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who may.
    pub who: String,
    /// What it does.
    pub what: String,
}

fn row(line: &str) -> Option<((String, String), Row)> {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [path, method, who, what] = cells.as_slice() else { return None };
    let path = path.strip_prefix('`')?.strip_suffix('`')?;
    Some(((path.to_owned(), method.to_lowercase()), Row { who: unlinked(who), what: unlinked(what) }))
}

/// `the text` of `[the text](somewhere)`: the document stands in no folder from which the link would lead anywhere.
fn unlinked(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        plain.push_str(before);
        match link
            .split_once(']')
            .and_then(|(label, behind)| Some((label, behind.strip_prefix('(')?.split_once(')')?.1)))
        {
            Some((label, behind)) => {
                plain.push_str(label);
                rest = behind;
            }
            None => {
                plain.push('[');
                rest = link;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_told_without_its_links() {
        let page = "| Route | Method | Who may | What |\n|---|---|---|---|\n| `/a/{b}` | GET | system | [keys](x.md) [of one] and [more](y.md) |\n";
        let read = rows(page);
        assert_eq!(read.len(), 1);
        let row = &read[&("/a/{b}".to_owned(), "get".to_owned())];
        assert_eq!(row.what, "keys [of one] and more");
        assert_eq!(row.who, "system");
    }
}
