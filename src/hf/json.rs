//! JSON from outside. The parser goes down one call for each level of nesting, on whatever stack the caller's thread has.

use std::fmt::Display;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A model's files nest 3 levels deep.
const MAX_DEPTH: usize = 32;

/// Reads a file's JSON; `name` is the file's, for messages. One that nests too deeply is refused before it is parsed.
pub fn from_slice<T: DeserializeOwned>(json: &[u8], name: impl Display) -> Result<T> {
    if depth(json) > MAX_DEPTH {
        return Err(Error::Format(format!(
            "'{name}' has values in each other more than {MAX_DEPTH} levels deep; no model's file has."
        )));
    }
    serde_json::from_slice(json).map_err(|error| {
        Error::Format(format!(
            "'{name}' is not valid JSON (line {}, column {}).",
            error.line(),
            error.column()
        ))
    })
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
        assert!(from_slice::<Value>(nested(MAX_DEPTH).as_bytes(), "a file").is_ok());
        for depth in [MAX_DEPTH + 1, 1_000_000] {
            let error = from_slice::<Value>(nested(depth).as_bytes(), "a file").unwrap_err();
            assert!(
                error
                    .message()
                    .contains("'a file' has values in each other more than 32 levels deep")
            );
        }
    }
}
