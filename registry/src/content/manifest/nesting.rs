//! How deep a JSON text is nested, found without building it.

/// Whether arrays and objects of `json` are nested deeper than `limit`. Brackets in strings do not count; the text need not be
/// valid.
pub(super) fn deeper_than(json: &[u8], limit: usize) -> bool {
    let mut depth = 0_usize;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return true;
        }
    }
    false
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::deeper_than;

    #[test]
    fn depth_is_counted_at_its_edge() {
        assert!(!deeper_than(b"[{}]", 2));
        assert!(deeper_than(b"[{\"a\":[]}]", 2));
        assert!(!deeper_than(b"[][][]{}", 1), "siblings are not nested");
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        assert!(!deeper_than(br#"["[[[{{{", "\"[[["]"#, 1));
        assert!(!deeper_than(br#"["open \"#, 1), "a text that ends inside a string ends the count");
    }
}
