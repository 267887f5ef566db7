//! An input's bytes as the numbers and parts that a target wants.

/// Two bytes that no UTF-8 text has; the byte behind them names the part that begins there. Parts that end at a mark
/// survive insertions and deletions, which lengths wouldn't.
const MARK: [u8; 2] = [0xff, 0xfe];

/// Every mark, for the dictionaries.
pub const MARKS: [&[u8]; 8] = [
    b"\xff\xfe0",
    b"\xff\xfe1",
    b"\xff\xfe2",
    b"\xff\xfe3",
    b"\xff\xfe4",
    b"\xff\xfe5",
    b"\xff\xfe6",
    b"\xff\xfe7",
];

/// Numbers from the front; 0 where there are no more.
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub fn bit(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    /// One of `choices`.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// At most `length` bytes.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }
}

/// What is before the first mark, and each part by its name, in order.
pub fn parts(input: &[u8]) -> (&[u8], Vec<(u8, &[u8])>) {
    let next = |bytes: &[u8]| bytes.windows(3).position(|window| window[..2] == MARK);
    let Some(mut at) = next(input) else {
        return (input, Vec::new());
    };
    let head = &input[..at];
    let mut parts = Vec::new();
    loop {
        let name = input[at + 2];
        let body = &input[at + 3..];
        match next(body) {
            Some(length) => {
                parts.push((name, &body[..length]));
                at += 3 + length;
            }
            None => {
                parts.push((name, body));
                return (head, parts);
            }
        }
    }
}

/// The first part of that name.
pub fn part<'a>(parts: &[(u8, &'a [u8])], name: u8) -> Option<&'a [u8]> {
    parts.iter().find(|part| part.0 == name).map(|part| part.1)
}

/// What [`parts`] takes apart, for seeds.
pub fn join(head: &[u8], parts: &[(u8, &[u8])]) -> Vec<u8> {
    let mut input = head.to_vec();
    for (name, body) in parts {
        input.extend(MARK);
        input.push(*name);
        input.extend(*body);
    }
    input
}

/// Bytes as a text: UTF-8 as it is, with what isn't replaced.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
