//! What the models know of a customer: three numbers about when, two about how much. The notation of the papers is in brackets.

/// When somebody bought. All times in one unit, days or weeks, the same for everybody in a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct History {
    repeats: u32,
    recency: f64,
    age: f64,
}

/// What somebody spent on the days of a repeat purchase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spend {
    days: u32,
    mean: f64,
}

/// Why three numbers are no history, or two no spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    #[error("is not a finite number of zero or more")]
    NotATime,
    #[error("the last purchase lies after the end of the observation")]
    RecencyBeyondAge,
    #[error("somebody without a repeat purchase has no time between the first and the last")]
    RecencyWithoutRepeat,
    #[error("repeat purchases lie on later days than the first, so there is time between the first and the last")]
    RepeatWithoutRecency,
    #[error("mean spend is a number of zero or more over at least one day")]
    NotASpend,
}

impl History {
    /// `repeats` (x): days with a purchase after the first such day. `recency` (t_x): from the first to the last of them, 0 without a
    /// repeat. `age` (T): from the first to the end of the observation.
    pub fn new(repeats: u32, recency: f64, age: f64) -> Result<Self, HistoryError> {
        let is_time = |time: f64| time.is_finite() && time >= 0.0;
        if !is_time(recency) || !is_time(age) {
            return Err(HistoryError::NotATime);
        }
        if recency > age {
            return Err(HistoryError::RecencyBeyondAge);
        }
        match (repeats, recency > 0.0) {
            (0, true) => Err(HistoryError::RecencyWithoutRepeat),
            (1.., false) => Err(HistoryError::RepeatWithoutRecency),
            _ => Ok(Self { repeats, recency, age }),
        }
    }

    /// Nobody has bought less: the day of the first purchase is the last day of the observation.
    pub const NEW: Self = Self {
        repeats: 0,
        recency: 0.0,
        age: 0.0,
    };

    pub fn repeats(&self) -> u32 {
        self.repeats
    }

    pub fn recency(&self) -> f64 {
        self.recency
    }

    pub fn age(&self) -> f64 {
        self.age
    }
}

impl Spend {
    /// A mean of zero says that those days brought nothing: little is to be expected then. It has no place in a fit.
    pub fn new(days: u32, mean: f64) -> Result<Self, HistoryError> {
        if days == 0 || !mean.is_finite() || mean < 0.0 {
            return Err(HistoryError::NotASpend);
        }
        Ok(Self { days, mean })
    }

    /// How many days the mean is over (x of Gamma-Gamma).
    pub fn days(&self) -> u32 {
        self.days
    }

    /// Mean spend on such a day.
    pub fn mean(&self) -> f64 {
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_contradict_each_other_are_no_history() {
        assert_eq!(History::new(0, 0.0, 0.0), Ok(History::NEW));
        assert!(
            History::new(3000, 3000.0, 3000.0).is_ok(),
            "the last purchase on the last day"
        );
        assert_eq!(History::new(1, 2.0, 1.0), Err(HistoryError::RecencyBeyondAge));
        assert_eq!(History::new(0, 1.0, 2.0), Err(HistoryError::RecencyWithoutRepeat));
        assert_eq!(History::new(2, 0.0, 2.0), Err(HistoryError::RepeatWithoutRecency));
        for time in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(History::new(0, 0.0, time), Err(HistoryError::NotATime), "age {time}");
            assert_eq!(History::new(1, time, 1.0), Err(HistoryError::NotATime), "recency {time}");
        }
    }

    #[test]
    fn spend_is_never_below_zero() {
        assert!(Spend::new(1, 0.0).is_ok());
        for (days, mean) in [(0, 5.0), (1, -0.01), (1, f64::NAN)] {
            assert_eq!(
                Spend::new(days, mean),
                Err(HistoryError::NotASpend),
                "{mean} over {days} days"
            );
        }
    }
}
