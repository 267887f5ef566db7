//! A seeded, stratified split of a data set into two parts.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::memory;

use super::stratify::spread_labels;
use super::{Dataset, Label};

/// Refuses a fraction that isn't between 0 and 1, both excluded.
pub(crate) fn check_fraction(fraction: f64) -> Result<()> {
    if fraction > 0.0 && fraction < 1.0 {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!(
        "The fraction of a split is {fraction}; it must be greater than 0 and less than 1."
    )))
}

impl Dataset {
    /// Splits into a first part, for training, and a second, for validation, that holds `fraction` of each class.
    ///
    /// The number taken from a class is rounded to the nearest; a class with at least two examples is in both parts
    /// however small the fraction, a class with one example stays in the first. Where examples have lists of labels,
    /// the second part has `fraction` of the examples and as nearly as can be of each label's; where they have regression
    /// targets, of the examples. Each part keeps the original order. The same data, fraction and seed give the same split
    /// in every version and on every machine.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where `fraction` isn't between 0 and 1 (both excluded); [`Error::Data`] where no
    /// class has two examples, or there is one example in all, so that one part would be empty.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(Dataset, Dataset)> {
        check_fraction(fraction)?;
        let mut random = SplitMix64(seed);
        let second = match self.label_lists()? {
            Some(lists) => spread_labels(&lists, fraction, &mut random),
            None => self.part_of_each_class(fraction, &mut random)?,
        };
        if !second.contains(&true) {
            return Err(Error::Data(format!(
                "The data set has {} examples and no class with two of them; it can't be split into two parts.",
                self.len()
            )));
        }
        let part = |which: bool| -> Result<Dataset> {
            let chosen = self.examples().iter().zip(&second);
            let mut examples = memory::room(second.iter().filter(|s| **s == which).count())?;
            for (example, _) in chosen.filter(|(_, s)| **s == which) {
                examples.push(example.try_clone()?);
            }
            Ok(Dataset::from_uniform(examples))
        };
        Ok((part(false)?, part(true)?))
    }

    /// Whether each example goes to the second part: `fraction` of each class.
    fn part_of_each_class(&self, fraction: f64, random: &mut SplitMix64) -> Result<Vec<bool>> {
        let mut second = memory::filled(false, self.len())?;
        for mut members in self.members_by_class()? {
            if members.len() < 2 {
                continue;
            }
            let wanted = (members.len() as f64 * fraction).round() as usize;
            let taken = wanted.clamp(1, members.len() - 1);
            random.draw(&mut members, taken);
            for index in members.into_iter().take(taken) {
                if let Some(slot) = second.get_mut(index) {
                    *slot = true;
                }
            }
        }
        Ok(second)
    }

    /// Each example's labels by numbers, each once, in the order of the labels' first occurrence; `None` where examples
    /// have no lists.
    fn label_lists(&self) -> Result<Option<Vec<Vec<usize>>>> {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut lists = memory::room(self.len())?;
        for example in self.examples() {
            let Label::Names(names) = &example.label else {
                return Ok(None);
            };
            let mut list: Vec<usize> = memory::room(names.len())?;
            for name in names {
                memory::reserve_place(&mut numbers)?;
                let next = numbers.len();
                list.push(*numbers.entry(name).or_insert(next));
            }
            list.sort_unstable();
            list.dedup();
            lists.push(list);
        }
        Ok(Some(lists))
    }

    /// The indices of each class's examples; classes in the order of their first example. Examples that have no class
    /// are all of one.
    fn members_by_class(&self) -> Result<Vec<Vec<usize>>> {
        #[derive(PartialEq, Eq, Hash)]
        enum Key<'a> {
            Name(&'a str),
            Id(u32),
            None,
        }
        let mut class_of: HashMap<Key<'_>, usize> = HashMap::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (index, example) in self.examples().iter().enumerate() {
            let key = match &example.label {
                Label::Name(name) => Key::Name(name),
                Label::Id(id) => Key::Id(*id),
                Label::Names(_) | Label::Targets(_) => Key::None,
            };
            let class = *class_of.entry(key).or_insert(members.len());
            match members.get_mut(class) {
                Some(known) => {
                    memory::reserve(known, 1)?;
                    known.push(index);
                }
                None => members.push(vec![index]),
            }
        }
        Ok(members)
    }
}

/// Steele, Lea and Flood's SplitMix64. Written out, because the split is promised to stay the same for ever, which no
/// random number crate promises of its generators' use.
pub(super) struct SplitMix64(pub(super) u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Brings `count` of the items, drawn without repetition, to the front: the first steps of a Fisher-Yates shuffle.
    pub(super) fn draw<T>(&mut self, items: &mut [T], count: usize) {
        for i in 0..count {
            let j = i + self.below(items.len() - i);
            items.swap(i, j);
        }
    }

    /// A number below `bound`, by the high half of a product; its bias is under `bound` / 2^64.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Example;

    /// `counts[c]` examples of class c, dealt round-robin, each with a text of its own.
    fn data(counts: &[usize]) -> Dataset {
        let mut data = Dataset::new();
        let most = counts.iter().copied().max().unwrap_or(0);
        for round in 0..most {
            for (class, &count) in counts.iter().enumerate() {
                if round < count {
                    let example = Example {
                        text: format!("{:04}", data.len()),
                        pair: None,
                        label: Label::Name(format!("c{class}")),
                    };
                    data.push(example).unwrap();
                }
            }
        }
        data
    }

    fn count(data: &Dataset, class: &str) -> usize {
        let of_class = |e: &&Example| e.label == Label::Name(class.into());
        data.examples().iter().filter(of_class).count()
    }

    #[test]
    fn each_class_is_split_by_the_fraction() {
        let (train, validation) = data(&[100, 50, 7]).split(0.2, 1).unwrap();
        let counts = |d: &Dataset| ["c0", "c1", "c2"].map(|c| count(d, c));
        assert_eq!(counts(&train), [80, 40, 6]);
        assert_eq!(counts(&validation), [20, 10, 1]);
    }

    #[test]
    fn the_parts_are_disjoint_complete_and_in_order() {
        let whole = data(&[31, 17, 2]);
        let (train, validation) = whole.split(0.3, 99).unwrap();
        let texts = |d: &Dataset| d.texts().map(str::to_string).collect::<Vec<_>>();
        let (a, b) = (texts(&train), texts(&validation));
        assert!(a.is_sorted() && b.is_sorted());
        let mut both = [a, b].concat();
        both.sort();
        assert_eq!(both, texts(&whole));
    }

    #[test]
    fn the_seed_decides() {
        let whole = data(&[100, 100]);
        assert_eq!(whole.split(0.1, 5).unwrap(), whole.split(0.1, 5).unwrap());
        assert_ne!(whole.split(0.1, 5).unwrap(), whole.split(0.1, 6).unwrap());
    }

    #[test]
    fn the_split_stays_the_same_in_every_version() {
        // SplitMix64 from seed 0, as published with the algorithm.
        let mut random = SplitMix64(0);
        assert_eq!(random.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(random.next(), 0x6e78_9e6a_a1b9_65f4);
        let (_, validation) = data(&[10, 10]).split(0.2, 42).unwrap();
        assert_eq!(
            validation.texts().collect::<Vec<_>>(),
            ["0004", "0005", "0009", "0014"]
        );
    }

    #[test]
    fn small_classes_are_in_both_parts() {
        let (train, validation) = data(&[2, 3, 1000]).split(0.001, 3).unwrap();
        assert_eq!(["c0", "c1", "c2"].map(|c| count(&validation, c)), [1, 1, 1]);
        assert_eq!(["c0", "c1", "c2"].map(|c| count(&train, c)), [1, 2, 999]);
        let (train, validation) = data(&[2, 3]).split(0.999, 3).unwrap();
        assert_eq!(["c0", "c1"].map(|c| count(&validation, c)), [1, 2]);
        assert_eq!(["c0", "c1"].map(|c| count(&train, c)), [1, 1]);
    }

    #[test]
    fn a_single_example_stays_in_the_first_part() {
        let (train, validation) = data(&[1, 4]).split(0.5, 0).unwrap();
        assert_eq!((count(&train, "c0"), count(&validation, "c0")), (1, 0));
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        assert!(matches!(Dataset::new().split(0.5, 0), Err(Error::Data(_))));
        assert_eq!(
            data(&[1, 1, 1]).split(0.5, 0),
            Err(Error::Data(
                "The data set has 3 examples and no class with two of them; it can't be split into two parts.".into()
            ))
        );
        for fraction in [0.0, 1.0, -0.1, 1.5, f64::NAN, f64::INFINITY] {
            assert!(matches!(
                data(&[5, 5]).split(fraction, 0),
                Err(Error::InvalidArgument(_))
            ));
        }
    }

    #[test]
    fn examples_without_classes_are_split_as_one() {
        let mut whole = Dataset::new();
        whole
            .extend((0..10).map(|i| Example {
                text: i.to_string(),
                pair: None,
                label: Label::Targets(vec![i as f32]),
            }))
            .unwrap();
        let (train, validation) = whole.split(0.25, 7).unwrap();
        assert_eq!((train.len(), validation.len()), (7, 3));
        assert_ne!(validation.texts().collect::<Vec<_>>(), ["0", "1", "2"]);
        let mut one = Dataset::new();
        one.push(whole.examples()[0].clone()).unwrap();
        assert!(matches!(one.split(0.5, 0), Err(Error::Data(_))));
    }

    #[test]
    fn lists_are_split_by_their_labels() {
        let mut whole = Dataset::new();
        whole
            .extend((0..100).map(|i| Example {
                text: i.to_string(),
                pair: None,
                // "common" on 40, "rare" on 5 of them, and 60 without a label.
                label: Label::Names(match i {
                    0..5 => vec!["common".into(), "rare".into(), "rare".into()],
                    5..40 => vec!["common".into()],
                    _ => vec![],
                }),
            }))
            .unwrap();
        let (train, validation) = whole.split(0.2, 3).unwrap();
        let with = |data: &Dataset, name: &str| {
            let has =
                |e: &&Example| matches!(&e.label, Label::Names(l) if l.iter().any(|n| n == name));
            data.examples().iter().filter(has).count()
        };
        assert_eq!((train.len(), validation.len()), (80, 20));
        assert_eq!((with(&train, "rare"), with(&validation, "rare")), (4, 1));
        assert_eq!(
            (with(&train, "common"), with(&validation, "common")),
            (32, 8)
        );
        assert_eq!(whole.split(0.2, 3).unwrap().1, validation);
        assert_ne!(whole.split(0.2, 4).unwrap().1, validation);
    }

    #[test]
    fn ids_are_classes_too() {
        let mut whole = Dataset::new();
        whole
            .extend((0..40).map(|i| Example {
                text: String::new(),
                pair: None,
                label: Label::Id(i % 2),
            }))
            .unwrap();
        let (_, validation) = whole.split(0.25, 0).unwrap();
        let ones = validation
            .examples()
            .iter()
            .filter(|e| e.label == Label::Id(1));
        assert_eq!((validation.len(), ones.count()), (10, 5));
    }
}
