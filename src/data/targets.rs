//! What a model is asked for on each example of a data set, by the model's own ids.

use crate::problem::ProblemType;

/// One kind for all examples, in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Each example's class.
    Classes(Vec<u32>),
    /// Each example's labels: their ids, ascending, each once.
    Labels(Vec<Vec<u32>>),
    /// Each example's numbers, `width` of them, one example after another.
    Values {
        /// All of them.
        values: Vec<f32>,
        /// Numbers an example; never 0.
        width: usize,
    },
}

impl Targets {
    /// Examples.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes(classes) => classes.len(),
            Targets::Labels(lists) => lists.len(),
            Targets::Values { values, width } => values.len() / width,
        }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The kind of problem that they are of.
    pub fn problem_type(&self) -> ProblemType {
        match self {
            Targets::Classes(_) => ProblemType::SingleLabel,
            Targets::Labels(_) => ProblemType::MultiLabel,
            Targets::Values { .. } => ProblemType::Regression,
        }
    }

    /// Those of the examples `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Targets {
        match self {
            Targets::Classes(classes) => {
                Targets::Classes(indices.iter().map(|&i| classes[i]).collect())
            }
            Targets::Labels(lists) => {
                Targets::Labels(indices.iter().map(|&i| lists[i].clone()).collect())
            }
            Targets::Values { values, width } => Targets::Values {
                values: indices
                    .iter()
                    .flat_map(|&i| &values[i * width..(i + 1) * width])
                    .copied()
                    .collect(),
                width: *width,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_selected_in_order() {
        let values = Targets::Values {
            values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            width: 2,
        };
        assert_eq!(values.len(), 3);
        let expected = Targets::Values {
            values: vec![5.0, 6.0, 1.0, 2.0],
            width: 2,
        };
        assert_eq!(values.select(&[2, 0]), expected);
        let lists = Targets::Labels(vec![vec![0, 2], vec![], vec![1]]);
        assert_eq!(
            lists.select(&[1, 0]),
            Targets::Labels(vec![vec![], vec![0, 2]])
        );
        let classes = Targets::Classes(vec![7, 8]);
        assert_eq!(classes.select(&[1]), Targets::Classes(vec![8]));
        assert!(classes.select(&[]).is_empty());
    }
}
