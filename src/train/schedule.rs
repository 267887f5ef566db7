//! The learning rate over the steps, as transformers' `get_*_schedule_with_warmup` define it.

/// The rate's course after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleKind {
    /// It stays (`get_constant_schedule_with_warmup`).
    Constant,
    /// It falls to zero in a straight line (`get_linear_schedule_with_warmup`).
    Linear,
    /// It falls to zero along half a cosine (`get_cosine_schedule_with_warmup`).
    Cosine,
}

/// A schedule of known length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Its course.
    pub kind: ScheduleKind,
    /// Steps of linear rise from zero.
    pub warmup_steps: u64,
    /// Steps of the whole plan.
    pub total_steps: u64,
}

impl Schedule {
    /// What the base rate is multiplied with at step `step`, counted from 0.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return step as f64 / self.warmup_steps.max(1) as f64;
        }
        let remaining = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        match self.kind {
            ScheduleKind::Constant => 1.0,
            ScheduleKind::Linear => {
                (self.total_steps.saturating_sub(step) as f64 / remaining).max(0.0)
            }
            ScheduleKind::Cosine => {
                let progress = (step - self.warmup_steps) as f64 / remaining;
                (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(kind: ScheduleKind) -> Vec<f64> {
        let schedule = Schedule {
            kind,
            warmup_steps: 2,
            total_steps: 6,
        };
        (0..6).map(|step| schedule.factor(step)).collect()
    }

    #[test]
    fn factors_are_those_of_transformers() {
        assert_eq!(
            factors(ScheduleKind::Linear),
            [0.0, 0.5, 1.0, 0.75, 0.5, 0.25]
        );
        assert_eq!(
            factors(ScheduleKind::Constant),
            [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]
        );
        let cosine = factors(ScheduleKind::Cosine);
        let expected = [
            0.0,
            0.5,
            1.0,
            0.853_553_390_593_273_8,
            0.5,
            0.146_446_609_406_726_24,
        ];
        for (got, want) in cosine.iter().zip(expected) {
            assert!((got - want).abs() < 1e-15, "{cosine:?}");
        }
    }

    #[test]
    fn a_plan_without_warmup_or_past_its_end_stays_in_range() {
        let schedule = Schedule {
            kind: ScheduleKind::Linear,
            warmup_steps: 0,
            total_steps: 4,
        };
        assert_eq!(schedule.factor(0), 1.0);
        assert_eq!(schedule.factor(9), 0.0);
    }
}
