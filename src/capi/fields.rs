//! What each field of the C ABI's structs may hold: its default and its range. The defaults that `_init` writes, the
//! refusal of a value outside its range and `include/bert_api.json` all come from here.

use std::ffi::c_char;
use std::fmt;

use crate::error::{Error, Result, check_range};
use crate::setting::Setting;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i128),
    /// A floating-point number.
    Real(f64),
    /// No number: a pointer, a callback, a text.
    None,
}

impl Number {
    /// -1 of the same kind.
    fn minus_one(self) -> Number {
        match self {
            Number::Real(_) => Number::Real(-1.0),
            Number::Whole(_) | Number::None => Number::Whole(-1),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(number) => number.fmt(f),
            // As a C programmer would write it.
            Number::Real(number)
                if *number != 0.0 && (number.abs() < 1e-4 || number.abs() >= 1e16) =>
            {
                write!(f, "{number:e}")
            }
            Number::Real(number) => number.fmt(f),
            Number::None => f.write_str("NULL"),
        }
    }
}

/// What a field is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The caller sets it, to any value of its type.
    Any,
    /// The caller sets it, to a number in its range.
    Ranged,
    /// The caller sets it to 0 or 1.
    Flag,
    /// The caller sets it to a constant whose name begins like this.
    Constant(&'static str),
    /// The caller sets it to a sum of constants whose names begin like this.
    Flags(&'static str),
    /// The library writes it.
    Output,
    /// Nothing is in it yet: it must be 0.
    Reserved,
}

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// What it is for.
    pub role: Role,
    /// What `_init` writes.
    pub default: Number,
    /// The least and the most that is accepted.
    pub range: Option<(Number, Number)>,
    /// Whether `_init` writes another default for each preset; `default` is the compact preset's.
    pub by_preset: bool,
    /// Whether -1, outside of the range, leaves the number to the library.
    pub automatic: bool,
}

impl Rule {
    /// Refuses a value outside the range.
    pub(super) fn check(&self, name: &str, value: Number) -> Result<()> {
        let Some((least, most)) = self.range else {
            return Ok(());
        };
        if self.automatic {
            return self.check_automatic(name, value, (least, most));
        }
        let (least, value, most) = match (least, value, most) {
            (Number::Whole(least), Number::Whole(value), Number::Whole(most)) => {
                (least, value, most)
            }
            (Number::Real(least), Number::Real(value), Number::Real(most)) => {
                return check_range(name, value, least, most);
            }
            _ => return Ok(()),
        };
        if least <= value && value <= most {
            return Ok(());
        }
        let wanted = match self.role {
            Role::Flag => "it must be 0 or 1".to_string(),
            Role::Constant(prefix) => {
                format!("it must be one of the constants {prefix}…, {least} to {most}")
            }
            Role::Flags(prefix) => format!("it must be a sum of constants {prefix}…"),
            Role::Reserved => {
                "it must be 0: it has no meaning yet. Call the struct's _init function before you set its fields"
                    .to_string()
            }
            Role::Any | Role::Ranged | Role::Output if most >= i128::from(i32::MAX) && least == 0 => {
                "it must not be negative".to_string()
            }
            Role::Any | Role::Ranged | Role::Output => {
                format!("it must be between {least} and {most}")
            }
        };
        Err(Error::InvalidArgument(format!("{name} is {value}; {wanted}.")).of_argument(name))
    }

    fn check_automatic(
        &self,
        name: &str,
        value: Number,
        (least, most): (Number, Number),
    ) -> Result<()> {
        let is_right = match (least, value, most) {
            (Number::Whole(least), Number::Whole(value), Number::Whole(most)) => {
                value == -1 || (least..=most).contains(&value)
            }
            (Number::Real(least), Number::Real(value), Number::Real(most)) => {
                value == -1.0 || (least..=most).contains(&value)
            }
            _ => true,
        };
        if is_right {
            return Ok(());
        }
        Err(Error::InvalidArgument(format!(
            "{name} is {value}; it must be between {least} and {most}, or -1 to have it chosen."
        ))
        .of_argument(name))
    }

    fn new(role: Role, default: Number, range: Option<(Number, Number)>) -> Rule {
        Rule {
            role,
            default,
            range,
            by_preset: false,
            automatic: false,
        }
    }

    /// The same with a default for each preset.
    pub(super) fn by_preset(self) -> Rule {
        Rule {
            by_preset: true,
            ..self
        }
    }
}

/// Any value; `default` is what `_init` writes.
pub(super) fn any(default: impl Value) -> Rule {
    Rule::new(Role::Any, default.number(), None)
}

/// A pointer or a callback; `_init` writes NULL.
pub(super) fn pointer() -> Rule {
    Rule::new(Role::Any, Number::None, None)
}

/// A number from `least` to `most`.
pub(super) fn ranged<T: Value>(default: T, least: T, most: T) -> Rule {
    Rule::new(
        Role::Ranged,
        default.number(),
        Some((least.number(), most.number())),
    )
}

/// A number of the library's own settings.
pub(super) fn setting<T: Value>(setting: &Setting<T>) -> Rule {
    ranged(setting.default, setting.least, setting.most)
}

/// A number of the library's own settings that the library chooses unless the caller does: `_init` writes -1.
pub(super) fn automatic<T: Value>(setting: &Setting<T>) -> Rule {
    let range = (setting.least.number(), setting.most.number());
    Rule {
        automatic: true,
        ..Rule::new(Role::Ranged, range.0.minus_one(), Some(range))
    }
}

/// A number of the library's own settings that each preset sets; `compact` is the compact preset's.
pub(super) fn preset<T: Value>(setting: &Setting<T>, compact: T) -> Rule {
    ranged(compact, setting.least, setting.most).by_preset()
}

/// A count whose default is 0.
pub(super) fn count() -> Rule {
    ranged(0, 0, i32::MAX)
}

/// A count of 64 bits whose default is 0.
pub(super) fn long_count() -> Rule {
    ranged(0i64, 0, i64::MAX)
}

/// 0 or 1.
pub(super) fn zero_or_one(default: bool) -> Rule {
    Rule::new(
        Role::Flag,
        i32::from(default).number(),
        Some((Number::Whole(0), Number::Whole(1))),
    )
}

/// One of the constants whose names begin with `prefix`, which are the numbers from `least` to `most`.
pub(super) fn constant(prefix: &'static str, default: i32, least: i32, most: i32) -> Rule {
    Rule::new(
        Role::Constant(prefix),
        default.number(),
        Some((least.number(), most.number())),
    )
}

/// A sum of constants whose names begin with `prefix`; `all` is the sum of all.
pub(super) fn flags(prefix: &'static str, default: u32, all: u32) -> Rule {
    Rule::new(
        Role::Flags(prefix),
        default.number(),
        Some((Number::Whole(0), all.number())),
    )
}

/// What the library writes.
pub(super) fn written() -> Rule {
    Rule::new(Role::Output, Number::Whole(0), None)
}

/// A place that a later version may use.
pub(super) fn reserved() -> Rule {
    Rule::new(
        Role::Reserved,
        Number::Whole(0),
        Some((Number::Whole(0), Number::Whole(0))),
    )
}

/// A field's type.
pub(super) trait Value: Copy {
    /// The value for a number.
    fn of(number: Number) -> Self;
    /// The number of a value.
    fn number(self) -> Number;
}

macro_rules! whole {
    ($($type:ty)*) => {
        $(impl Value for $type {
            fn of(number: Number) -> $type {
                match number {
                    Number::Whole(number) => number as $type,
                    Number::Real(number) => number as $type,
                    Number::None => 0,
                }
            }
            fn number(self) -> Number {
                Number::Whole(self as i128)
            }
        })*
    };
}
whole!(i32 u32 i64 u64 usize);

macro_rules! real {
    ($($type:ty)*) => {
        $(impl Value for $type {
            fn of(number: Number) -> $type {
                match number {
                    Number::Whole(number) => number as $type,
                    Number::Real(number) => number as $type,
                    Number::None => 0.0,
                }
            }
            fn number(self) -> Number {
                Number::Real(f64::from(self))
            }
        })*
    };
}
real!(f32 f64);

impl<T> Value for *const T {
    fn of(_: Number) -> *const T {
        std::ptr::null()
    }
    fn number(self) -> Number {
        Number::None
    }
}

impl<T> Value for *mut T {
    fn of(_: Number) -> *mut T {
        std::ptr::null_mut()
    }
    fn number(self) -> Number {
        Number::None
    }
}

impl<const N: usize> Value for [c_char; N] {
    fn of(_: Number) -> [c_char; N] {
        [0; N]
    }
    fn number(self) -> Number {
        Number::None
    }
}

impl Value for super::bert_progress_callback {
    fn of(_: Number) -> super::bert_progress_callback {
        None
    }
    fn number(self) -> Number {
        Number::None
    }
}

/// A field as it lies in its struct.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Bytes from the struct's beginning.
    pub offset: usize,
    /// Its bytes.
    pub size: usize,
    /// What it may hold.
    pub rule: Rule,
}

/// A struct of the C ABI.
#[derive(Debug, Clone)]
pub struct Struct {
    /// Its name.
    pub name: &'static str,
    /// The sizes of all published versions, the present one last.
    pub sizes: &'static [usize],
    /// Its fields in their order, `struct_size` first.
    pub fields: Vec<Field>,
}

/// The bytes of the field that `_field` points out.
pub(super) fn size_of_field<S, F>(_field: impl Fn(&S) -> &F) -> usize {
    size_of::<F>()
}
