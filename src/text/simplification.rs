//! Which steps of normalization can be left out, done together or done sooner, so that the same characters come out and
//! fewer of them depend on what stands beside them.

use super::normalization::Normalization;

/// Steps that give what `steps` give, in which compositions stand behind decompositions only.
pub(super) fn simplified(mut steps: Vec<Normalization>) -> Vec<Normalization> {
    steps.dedup_by(|next, before| match (before, next) {
        (
            Normalization::Decompose {
                drop, drop_marks, ..
            },
            Normalization::Drop(bits),
        ) => {
            *drop |= *bits;
            *drop_marks |= *bits;
            true
        }
        // Done again it changes nothing.
        (before, next) => {
            before == next && !matches!(next, Normalization::Bytes | Normalization::SeparateChinese)
        }
    });
    leave_out_compositions(&mut steps);
    clean_sooner(&mut steps);
    decompose_once(&mut steps);
    drop_marks_sooner(&mut steps);
    steps
}

/// What these make of a character depends on it alone, and they leave combining marks as they are or drop them.
fn is_simple(step: &Normalization) -> bool {
    use Normalization as N;
    matches!(step, N::Clean | N::SeparateChinese | N::Lowercase)
}

/// Whether the first steps but such simple ones decompose.
fn decompose_next(steps: &[Normalization]) -> bool {
    let next = steps.iter().find(|step| !is_simple(step));
    matches!(next, Some(Normalization::Decompose { .. }))
}

/// What is taken apart again need not be composed.
fn leave_out_compositions(steps: &mut Vec<Normalization>) {
    for place in (0..steps.len()).rev() {
        if steps[place] == Normalization::Compose && decompose_next(&steps[place + 1..]) {
            steps.remove(place);
        }
    }
}

/// Cleaning comes before decomposition where marks between which something goes are put in order later anyway: what it
/// drops decomposes into nothing else, and nothing else into what it drops.
fn clean_sooner(steps: &mut [Normalization]) {
    for place in 1..steps.len() {
        let (before, behind) = steps.split_at_mut(place);
        if let Some(decompose @ Normalization::Decompose { drop: 0, .. }) = before.last_mut()
            && behind[0] == Normalization::Clean
            && decompose_next(&behind[1..])
        {
            std::mem::swap(decompose, &mut behind[0]);
        }
    }
}

/// What is decomposed, with nothing dropped or put together since, needn't be again.
fn decompose_once(steps: &mut Vec<Normalization>) {
    let mut place = 0;
    while place < steps.len() {
        let (before, behind) = steps.split_at_mut(place + 1);
        let between = behind
            .iter()
            .take_while(|&step| *step == Normalization::SeparateChinese)
            .count();
        if let Some(Normalization::Decompose {
            compatible,
            drop: drop @ 0,
            drop_marks,
        }) = before.last_mut()
            && let Some(&Normalization::Decompose {
                compatible: later_compatible,
                drop: later_drop,
                drop_marks: later_drop_marks,
            }) = behind.get(between)
            && (*compatible || !later_compatible)
        {
            *drop = later_drop;
            *drop_marks |= later_drop_marks;
            steps.remove(place + 1 + between);
        } else {
            place += 1;
        }
    }
}

/// Combining marks that go anyway needn't be put in order before. (Others keep marks before and behind them apart.)
fn drop_marks_sooner(steps: &mut [Normalization]) {
    for place in 0..steps.len() {
        let (before, behind) = steps.split_at_mut(place + 1);
        let Some(Normalization::Decompose {
            compatible,
            drop_marks,
            ..
        }) = before.last_mut()
        else {
            continue;
        };
        for step in behind {
            match step {
                Normalization::Drop(bits) => *drop_marks |= *bits,
                Normalization::Decompose {
                    compatible: later_compatible,
                    drop_marks: later_drop_marks,
                    ..
                } if *compatible || !*later_compatible => *drop_marks |= *later_drop_marks,
                step if is_simple(step) => {}
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::characters::{MARK, NONSPACING};
    use super::super::symbols::{END, Source, Stream};
    use super::super::tests::Numbers;
    use super::*;
    use Normalization as N;

    const NFD: N = decompose(false);
    const NFKD: N = decompose(true);

    const fn decompose(compatible: bool) -> N {
        N::Decompose {
            compatible,
            drop: 0,
            drop_marks: 0,
        }
    }

    struct Text(Vec<u32>);

    impl Source for Text {
        fn fill(&mut self, out: &mut Vec<u32>) -> bool {
            out.append(&mut self.0);
            !out.is_empty()
        }
    }

    fn through(steps: &[N], text: &[char]) -> Vec<u32> {
        let symbols = text.iter().map(|&c| c as u32).chain([END]).collect();
        let mut stream = Stream::new(Text(symbols), steps.iter().map(|step| step.step()));
        let (mut made, mut block) = (Vec::new(), Vec::new());
        while stream.next(&mut block) {
            made.append(&mut block);
        }
        made
    }

    #[test]
    fn steps_are_left_out_and_moved() {
        let bert = vec![
            NFKD,
            N::Compose,
            N::Clean,
            N::SeparateChinese,
            NFD,
            N::Drop(NONSPACING),
            N::Lowercase,
        ];
        let decompose = N::Decompose {
            compatible: true,
            drop: NONSPACING,
            drop_marks: NONSPACING,
        };
        let expected = [N::Clean, decompose, N::SeparateChinese, N::Lowercase];
        assert_eq!(simplified(bert), expected);
        let stays = vec![NFKD, N::Compose, N::Clean, N::SeparateChinese, N::Lowercase];
        assert_eq!(simplified(stays.clone()), stays);
        // Characters are Chinese that weren't when spaces were put around those.
        let stays = vec![NFD, N::SeparateChinese, NFKD];
        assert_eq!(simplified(stays.clone()), stays);
    }

    /// What is said of single characters in this file, by each of them.
    #[test]
    fn every_character_comes_out_the_same() {
        for c in '\0'..=char::MAX {
            for steps in [
                vec![NFKD, N::Compose, N::Lowercase, NFD],
                vec![NFD, N::Compose, N::Lowercase, NFKD],
                vec![NFKD, N::Compose, N::Clean, N::SeparateChinese, NFD],
                vec![NFD, N::Compose, N::Clean, N::SeparateChinese, NFKD],
            ] {
                let simple = simplified(steps.clone());
                assert!(simple.len() < steps.len());
                assert_eq!(
                    through(&simple, &[c]),
                    through(&steps, &[c]),
                    "{c:?} {steps:?}"
                );
            }
        }
    }

    #[test]
    fn random_texts_come_out_the_same() {
        const STEPS: &[&[N]] = &[
            &[N::Clean],
            &[N::SeparateChinese],
            &[NFD],
            &[NFKD],
            &[NFD, N::Compose],
            &[NFKD, N::Compose],
            &[N::Drop(NONSPACING)],
            &[N::Drop(MARK)],
            &[N::Lowercase],
        ];
        let characters: Vec<char> = "aeIİ가각각日豈⼀ﷺÅΩé \u{a0}\u{1}\u{200b}\u{301}\u{323}\u{327}\u{344}\u{345}\u{334}\u{338}\
             =\u{3099}か\u{302e}\u{1d15e}\u{1d165}\u{f71}\u{f73}\u{903}\u{94d}\u{9c7}\u{9be}ᾈ"
            .chars()
            .collect();
        let mut numbers = Numbers(31);
        let mut simpler = 0;
        for _ in 0..20_000 {
            let steps: Vec<N> = (0..2 + numbers.below(5))
                .flat_map(|_| STEPS[numbers.below(STEPS.len())])
                .copied()
                .collect();
            let simple = simplified(steps.clone());
            simpler += usize::from(simple != steps);
            for _ in 0..4 {
                let text: Vec<char> = (0..numbers.below(12))
                    .map(|_| characters[numbers.below(characters.len())])
                    .collect();
                assert_eq!(
                    through(&simple, &text),
                    through(&steps, &text),
                    "{text:?} {steps:?} {simple:?}"
                );
            }
        }
        assert!(simpler > 5_000, "{simpler}");
    }
}
