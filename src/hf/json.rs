//! JSON from outside. The parser goes down one call for each level of nesting, on whatever stack the caller's thread has.

use serde::de::{DeserializeOwned, Error};

/// A model's files nest 3 levels deep.
const MAX_DEPTH: usize = 32;

/// Reads a file's JSON; one that nests too deeply is refused before it is parsed.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    if depth(json) > MAX_DEPTH {
        return Err(serde_json::Error::custom(format!(
            "nested more than {MAX_DEPTH} levels deep"
        )));
    }
    serde_json::from_slice(json)
}

/// How deep arrays and objects lie in each other, if this is JSON; else something.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        for (json, expected) in [
            ("1", 0),
            ("[]", 1),
            ("[[], {\"a\": [1]}]", 3),
            (r#"["[[[[", "\"[[[", "\\", []]"#, 2),
            ("]]]][", 1),
            ("\"[[[", 0),
        ] {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn what_nests_too_deeply_is_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(from_slice::<Value>(nested(MAX_DEPTH).as_bytes()).is_ok());
        for depth in [MAX_DEPTH + 1, 1_000_000] {
            let error = from_slice::<Value>(nested(depth).as_bytes()).unwrap_err();
            assert!(error.to_string().contains("levels deep"), "{error}");
        }
    }
}
