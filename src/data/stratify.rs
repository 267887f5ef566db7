//! A split in which each label keeps its share, where an example may have several labels: iterative stratification
//! (Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", 2011).

use std::collections::BTreeSet;

use super::split::SplitMix64;

/// What one part still wants.
struct Part {
    /// Examples, all in all.
    examples: usize,
    /// Of each label, as a share of what there is.
    labels: Vec<f64>,
}

/// Whether each example goes to the second part, which gets `fraction` of them, at least one and not all. `lists` has the
/// numbers of each example's labels, each once. Nothing goes there where there are fewer than two examples.
///
/// The rarest label's examples are dealt first, each to the part that lacks more of that label: a label that is left to
/// the end could no longer be shared out.
pub(super) fn spread_labels(
    lists: &[Vec<usize>],
    fraction: f64,
    random: &mut SplitMix64,
) -> Vec<bool> {
    let count = lists.len();
    let mut second = vec![false; count];
    if count < 2 {
        return second;
    }
    let wanted = ((count as f64 * fraction).round() as usize).clamp(1, count - 1);
    let mut order: Vec<usize> = (0..count).collect();
    random.draw(&mut order, count);
    let num_labels = lists
        .iter()
        .flatten()
        .max()
        .map_or(0, |&largest| largest + 1);
    let mut members = vec![Vec::new(); num_labels];
    for &example in &order {
        for &label in &lists[example] {
            members[label].push(example);
        }
    }
    let share = |of: f64| members.iter().map(|m| m.len() as f64 * of).collect();
    let mut parts = [
        Part {
            examples: count - wanted,
            labels: share(1.0 - fraction),
        },
        Part {
            examples: wanted,
            labels: share(fraction),
        },
    ];
    // How many of each label's examples aren't dealt yet: the label with the fewest comes first.
    let mut left: Vec<usize> = members.iter().map(Vec::len).collect();
    let mut queue: BTreeSet<(usize, usize)> = left.iter().copied().zip(0..).collect();
    let mut is_dealt = vec![false; count];
    while let Some((_, label)) = queue.pop_first() {
        for &example in &members[label] {
            if std::mem::replace(&mut is_dealt[example], true) {
                continue;
            }
            let goes_second = is_wanted_more(&parts[1], &parts[0], label, random);
            let part = &mut parts[usize::from(goes_second)];
            part.examples -= 1;
            for &label in &lists[example] {
                part.labels[label] -= 1.0;
                if queue.remove(&(left[label], label)) {
                    queue.insert((left[label] - 1, label));
                }
                left[label] -= 1;
            }
            second[example] = goes_second;
        }
    }
    // Those without a label fill what is left.
    for example in order.into_iter().filter(|&example| !is_dealt[example]) {
        if parts[1].examples > 0 {
            parts[1].examples -= 1;
            second[example] = true;
        }
    }
    second
}

/// Whether part `a` rather than `b` is to get an example that has `label`: by the label, then by the part's size, then by
/// chance; a part that is full gets none.
fn is_wanted_more(a: &Part, b: &Part, label: usize, random: &mut SplitMix64) -> bool {
    if a.examples == 0 || b.examples == 0 {
        return a.examples > 0;
    }
    let by_label = a.labels[label].total_cmp(&b.labels[label]);
    match by_label.then(a.examples.cmp(&b.examples)) {
        std::cmp::Ordering::Equal => random.below(2) == 1,
        order => order.is_gt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_kept_whatever_the_labels_are() {
        for (count, fraction, wanted) in [(2, 0.01, 1), (2, 0.99, 1), (30, 0.1, 3), (31, 0.5, 16)] {
            // Every example has a label of its own and one that all have.
            let lists: Vec<Vec<usize>> = (0..count).map(|i| vec![0, i + 1]).collect();
            let second = spread_labels(&lists, fraction, &mut SplitMix64(1));
            assert_eq!(second.iter().filter(|s| **s).count(), wanted);
        }
        assert_eq!(spread_labels(&[vec![0]], 0.5, &mut SplitMix64(1)), [false]);
        assert!(spread_labels(&[], 0.5, &mut SplitMix64(1)).is_empty());
    }

    #[test]
    fn each_label_is_shared_out() {
        // Labels 0 to 4 on every 2nd, 3rd, 5th, 7th and 11th example, in all their combinations.
        let lists: Vec<Vec<usize>> = (0..1000)
            .map(|i| {
                let divides = |(label, by): (usize, &usize)| (i % by == 0).then_some(label);
                [2, 3, 5, 7, 11]
                    .iter()
                    .enumerate()
                    .filter_map(divides)
                    .collect()
            })
            .collect();
        let second = spread_labels(&lists, 0.2, &mut SplitMix64(9));
        assert_eq!(second.iter().filter(|s| **s).count(), 200);
        for label in 0..5 {
            let of = |only: bool| {
                let has = |i: &usize| lists[*i].contains(&label) && (!only || second[*i]);
                (0..1000).filter(has).count() as f64
            };
            assert!((of(true) - 0.2 * of(false)).abs() <= 2.0, "label {label}");
        }
    }
}
