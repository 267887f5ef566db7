//! Sizes that follow from what a caller gives. Kernels go by addresses: where a size is larger than a `usize` holds, the call has
//! to end. A small number in its place would be taken for the size of what there is.

const TOO_LARGE: &str = "a size is more than an address can be";

/// All factors multiplied.
///
/// # Panics
/// Where that is more than a `usize` holds.
pub fn product<const N: usize>(factors: [usize; N]) -> usize {
    factors
        .into_iter()
        .try_fold(1, usize::checked_mul)
        .expect(TOO_LARGE)
}

/// All terms added up.
///
/// # Panics
/// As [`product`].
pub fn sum(terms: impl IntoIterator<Item = usize>) -> usize {
    terms
        .into_iter()
        .try_fold(0, usize::checked_add)
        .expect(TOO_LARGE)
}

/// The next multiple of `of`, which isn't 0.
///
/// # Panics
/// As [`product`].
pub fn whole(size: usize, of: usize) -> usize {
    size.checked_next_multiple_of(of).expect(TOO_LARGE)
}

/// Holds `offsets` to be where sequences begin that stand one after another, each with `least` tokens or more, and the end of
/// the last.
///
/// # Panics
/// Where they aren't.
pub fn assert_offsets(offsets: &[usize], least: usize) {
    let is_long = |ends: &[usize]| ends[1].checked_sub(ends[0]).is_some_and(|n| n >= least);
    assert!(
        !offsets.is_empty() && offsets.windows(2).all(is_long),
        "the sequences' offsets aren't in order"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn sizes_that_no_memory_has_do_not_become_small_ones() {
        assert_eq!(
            (product([3, 4, 5]), product([7, 0]), product([])),
            (60, 0, 1)
        );
        assert_eq!((sum([3, 4, 5]), sum([])), (12, 0));
        assert_eq!((whole(33, 32), whole(64, 32), whole(0, 32)), (64, 64, 0));
        let half = 1 << (usize::BITS / 2);
        assert!(catch_unwind(|| product([half, half])).is_err());
        assert!(catch_unwind(|| sum([usize::MAX, 1])).is_err());
        assert!(catch_unwind(|| whole(usize::MAX - 1, 32)).is_err());
    }

    #[test]
    fn offsets_out_of_order_are_refused() {
        for (offsets, least) in [(&[0, 4, 9][..], 1), (&[7, 7, 8], 0), (&[3], 1)] {
            assert_offsets(offsets, least);
        }
        for (offsets, least) in [
            (&[][..], 0),
            (&[0, 4, 0, 4], 0),
            (&[4, 3], 0),
            (&[0, 4, 4], 1),
        ] {
            assert!(catch_unwind(|| assert_offsets(offsets, least)).is_err());
        }
    }
}
