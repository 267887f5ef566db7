//! The numbers of the training run that a checkpoint belongs to, which `trainer.json` has: whoever loads the checkpoint
//! and goes on with the run needn't name them again.

/// The numbers of a run that its caller may leave to the library.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlanNumbers {
    /// Times through the data.
    pub epochs: u32,
    /// Examples of one batch.
    pub batch_size: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
}

impl PlanNumbers {
    /// Those of a checkpoint's description; `None` where it isn't one of ours.
    pub fn of_checkpoint(json: &[u8]) -> Option<PlanNumbers> {
        let value: serde_json::Value = super::json_from_slice(json, "").ok()?;
        let plan = value.get("plan")?;
        let text = |name: &str| plan.get(name)?.as_str();
        Some(PlanNumbers {
            epochs: text("epochs")?.parse().ok()?,
            batch_size: text("batch_size")?.parse().ok()?,
            learning_rate: text("learning_rate")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_s_numbers_are_read_from_its_plan() {
        let json = br#"{"plan": {"epochs": "3", "batch_size": "32", "learning_rate": "3e-5", "seed": "42"}}"#;
        let numbers = PlanNumbers {
            epochs: 3,
            batch_size: 32,
            learning_rate: 3e-5,
        };
        assert_eq!(PlanNumbers::of_checkpoint(json), Some(numbers));
        for other in [&b"{}"[..], b"", b"[]", br#"{"plan": {"epochs": 3}}"#] {
            assert_eq!(PlanNumbers::of_checkpoint(other), None);
        }
    }
}
