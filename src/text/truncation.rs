//! How much of each text of a pair stays when both don't fit: `longest_first` of Hugging Face's tokenizers.

/// The lengths that texts of `first` and `second` tokens are cut to, so that they hold `room` tokens together. The
/// shorter one stays whole as long as it leaves the other at least as much; else each gets half, the odd token going
/// to the longer one.
pub(super) fn longest_first(first: usize, second: usize, room: usize) -> (usize, usize) {
    if first.checked_add(second).is_some_and(|sum| sum <= room) {
        return (first, second);
    }
    let short = first.min(second);
    let (kept_short, kept_long) = if short <= room - short.min(room) {
        (short, room - short)
    } else {
        (room / 2, room / 2 + room % 2)
    };
    // Of equally long ones the second counts as the longer one.
    if first > second {
        (kept_long, kept_short)
    } else {
        (kept_short, kept_long)
    }
}

#[cfg(test)]
mod tests {
    use super::longest_first;
    use tokenizers::utils::truncation::{TruncationParams, TruncationStrategy, truncate_encodings};

    #[test]
    fn what_fits_stays_and_the_longer_one_is_cut_first() {
        assert_eq!(longest_first(3, 4, 7), (3, 4));
        assert_eq!(longest_first(2, 10, 7), (2, 5));
        assert_eq!(longest_first(10, 2, 7), (5, 2));
        assert_eq!(longest_first(10, 10, 7), (3, 4));
        assert_eq!(longest_first(11, 10, 7), (4, 3));
        assert_eq!(longest_first(0, 10, 1), (0, 1));
        assert_eq!(
            longest_first(usize::MAX, usize::MAX, usize::MAX),
            (usize::MAX / 2, usize::MAX / 2 + 1)
        );
    }

    /// Every small case as the crate that Hugging Face uses has it.
    #[test]
    fn equals_the_tokenizers_crate() {
        let encoding = |n: usize| {
            tokenizers::Encoding::from_tokens(
                vec![tokenizers::Token::new(1, "a".into(), (0, 1)); n],
                0,
            )
        };
        for room in 1..12 {
            for first in 0..16 {
                for second in 0..16 {
                    let params = TruncationParams {
                        max_length: room,
                        strategy: TruncationStrategy::LongestFirst,
                        ..Default::default()
                    };
                    let (a, b) =
                        truncate_encodings(encoding(first), Some(encoding(second)), &params)
                            .unwrap();
                    assert_eq!(
                        longest_first(first, second, room),
                        (a.len(), b.unwrap().len()),
                        "{first} {second} {room}"
                    );
                }
            }
        }
    }
}
