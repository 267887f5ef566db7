//! Structs that carry the caller's `sizeof` first: read and written within that size alone.

use std::mem::{align_of, size_of};

use super::fields::Struct;
use crate::error::{Error, Result};

/// No struct of this library will ever be larger; a larger number is a slip or garbage.
const MAX_STRUCT_BYTES: usize = 65_536;

/// A struct of the C ABI.
///
/// # Safety
/// `#[repr(C)]`, the first field is the `usize` `struct_size`, and any bytes are a valid value: numbers, raw pointers
/// and optional function pointers alone.
pub(super) unsafe trait Sized_: Copy {
    /// Its name, for messages.
    const NAME: &'static str;
    /// The name that the argument with a pointer to it has in every function.
    const ARGUMENT: &'static str = argument_of(Self::NAME);
    /// The sizes of all published versions, the present one last.
    const SIZES: &'static [usize];
    /// The defaults, with the present size.
    fn default() -> Self;
    /// Refuses a field that is outside its range.
    fn check(&self) -> Result<()>;
    /// Its fields.
    fn describe() -> Struct;
}

/// `options` for a struct of options, `report` for a report, `description` for a description, else the struct's name
/// without its prefix.
const fn argument_of(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [.., b'_', b'o', b'p', b't', b'i', b'o', b'n', b's'] => "options",
        [.., b'_', b'r', b'e', b'p', b'o', b'r', b't'] => "report",
        [
            ..,
            b'_',
            b'd',
            b'e',
            b's',
            b'c',
            b'r',
            b'i',
            b'p',
            b't',
            b'i',
            b'o',
            b'n',
        ] => "description",
        [b'b', b'e', b'r', b't', b'_', ..] => name.split_at(5).1,
        _ => name,
    }
}

/// Declares a struct as [`Sized_`]: each field behind `struct_size` with its [`Rule`](super::fields::Rule). The sizes of
/// older published versions, which end where a field was added later, stand before: `sized_struct!(name, older [24], {…})`.
macro_rules! sized_struct {
    ($name:ident { $($fields:tt)* }) => {
        sized_struct!($name, older [], { $($fields)* });
    };
    ($name:ident, older [$($older:expr),*], { $($field:ident: $rule:expr),* $(,)? }) => {
        // SAFETY: declared `#[repr(C)]` with `struct_size` first, of numbers and pointers alone.
        unsafe impl $crate::capi::sized::Sized_ for $name {
            const NAME: &'static str = stringify!($name);
            const SIZES: &'static [usize] = &[$($older,)* std::mem::size_of::<$name>()];
            fn default() -> $name {
                $name {
                    struct_size: std::mem::size_of::<$name>(),
                    $($field: $crate::capi::fields::Value::of($rule.default)),*
                }
            }
            fn check(&self) -> $crate::error::Result<()> {
                $($rule.check(stringify!($field), $crate::capi::fields::Value::number(self.$field))?;)*
                Ok(())
            }
            fn describe() -> $crate::capi::fields::Struct {
                use $crate::capi::fields::{Field, any, size_of_field};
                $crate::capi::fields::Struct {
                    name: stringify!($name),
                    sizes: <$name as $crate::capi::sized::Sized_>::SIZES,
                    fields: vec![
                        Field {
                            name: "struct_size",
                            offset: 0,
                            size: std::mem::size_of::<usize>(),
                            rule: any(std::mem::size_of::<$name>()),
                        },
                        $(Field {
                            name: stringify!($field),
                            offset: std::mem::offset_of!($name, $field),
                            size: size_of_field(|value: &$name| &value.$field),
                            rule: $rule,
                        }),*
                    ],
                }
            }
        }
    };
}
pub(super) use sized_struct;

fn null<T: Sized_>() -> Error {
    Error::InvalidArgument(format!("The {} is NULL.", T::NAME)).of_argument(T::ARGUMENT)
}

fn misaligned<T: Sized_>() -> Error {
    let text = format!(
        "The {} is not aligned to {} bytes.",
        T::NAME,
        align_of::<T>()
    );
    Error::InvalidArgument(text).of_argument(T::ARGUMENT)
}

/// Checks the caller's struct and tells its size.
///
/// # Safety
/// `pointer` points to memory that is readable for as many bytes as its first `size_t` says.
unsafe fn check<T: Sized_>(pointer: *const T) -> Result<usize> {
    if pointer.is_null() {
        return Err(null::<T>());
    }
    if !(pointer as usize).is_multiple_of(align_of::<T>()) {
        return Err(misaligned::<T>());
    }
    // SAFETY: readable (caller), aligned (checked); the first field is the size.
    let size = unsafe { *pointer.cast::<usize>() };
    let wrong = || {
        Err(Error::StructSize(format!(
            "The struct_size of a {name} is {size}; it should be sizeof({name}), {}. Call {name}_init before you set \
             its fields.",
            size_of::<T>(),
            name = T::NAME,
        ))
        .of_argument(T::ARGUMENT))
    };
    if T::SIZES.contains(&size) {
        return Ok(size);
    }
    if size <= size_of::<T>() || size > MAX_STRUCT_BYTES {
        return wrong();
    }
    // A caller built against a newer header: what it has and we don't must be unset.
    for offset in size_of::<T>()..size {
        // SAFETY: below `size`, which the caller says is readable.
        if unsafe { *pointer.cast::<u8>().add(offset) } != 0 {
            return Err(Error::StructSize(format!(
                "The {} was set by a program built against a newer libbert, with an option that this one doesn't have.",
                T::NAME
            ))
            .of_argument(T::ARGUMENT));
        }
    }
    Ok(size)
}

/// A copy of the caller's struct, each of whose fields is in its range; what a smaller published version lacks has its
/// default.
///
/// # Safety
/// As for [`check`].
pub(super) unsafe fn read<T: Sized_>(pointer: *const T) -> Result<T> {
    // SAFETY: the same contract.
    let value = unsafe { copy(pointer) }?;
    value.check()?;
    Ok(value)
}

/// As [`read`], of a struct that the library writes: only its size counts.
///
/// # Safety
/// As for [`check`], or NULL.
pub(super) unsafe fn check_result<T: Sized_>(pointer: *const T) -> Result<()> {
    // SAFETY: the same contract.
    unsafe { check(pointer) }.map(|_| ())
}

/// As [`check_result`], of one that the caller may not want: NULL is right.
///
/// # Safety
/// As for [`check`], or NULL.
pub(super) unsafe fn check_report<T: Sized_>(pointer: *const T) -> Result<()> {
    if pointer.is_null() {
        return Ok(());
    }
    // SAFETY: the same contract.
    unsafe { check_result(pointer) }
}

/// A copy of the caller's struct, whatever is in it.
///
/// # Safety
/// As for [`check`].
unsafe fn copy<T: Sized_>(pointer: *const T) -> Result<T> {
    // SAFETY: the same contract.
    let size = unsafe { check(pointer) }?.min(size_of::<T>());
    let mut value = T::default();
    // SAFETY: `size` bytes are readable, and fit `value`, for which any bytes are valid.
    unsafe {
        std::ptr::copy_nonoverlapping(
            pointer.cast::<u8>(),
            std::ptr::from_mut(&mut value).cast::<u8>(),
            size,
        );
    }
    Ok(value)
}

/// As [`read`]; NULL gives the defaults.
///
/// # Safety
/// As for [`check`], or NULL.
pub(super) unsafe fn read_or_default<T: Sized_>(pointer: *const T) -> Result<T> {
    if pointer.is_null() {
        return Ok(T::default());
    }
    // SAFETY: the same contract.
    unsafe { read(pointer) }
}

/// Writes `value` into the caller's struct: its first bytes up to the caller's size, `struct_size` left as it is.
///
/// # Safety
/// As for [`check`], and writable.
pub(super) unsafe fn write<T: Sized_>(pointer: *mut T, value: &T) -> Result<()> {
    // SAFETY: the same contract.
    let size = unsafe { check(pointer) }?.min(size_of::<T>());
    let first = size_of::<usize>();
    // SAFETY: `size` bytes are writable, and `value` has as many.
    unsafe {
        std::ptr::copy_nonoverlapping(
            std::ptr::from_ref(value).cast::<u8>().add(first),
            pointer.cast::<u8>().add(first),
            size - first,
        );
    }
    Ok(())
}

/// Checks what is given for a caller's struct of `size` bytes that isn't prepared yet; nothing is read of it.
pub(super) fn check_new<T: Sized_>(pointer: *const T, size: usize) -> Result<()> {
    if pointer.is_null() {
        return Err(null::<T>());
    }
    if !(pointer as usize).is_multiple_of(align_of::<T>()) {
        return Err(misaligned::<T>());
    }
    let is_known = T::SIZES.contains(&size) || (size > size_of::<T>() && size <= MAX_STRUCT_BYTES);
    if !is_known {
        return Err(Error::StructSize(format!(
            "The size given for a {name} is {size}; it should be sizeof({name}), {}.",
            size_of::<T>(),
            name = T::NAME,
        ))
        .of_argument("struct_size"));
    }
    Ok(())
}

/// Fills a caller's struct of `size` bytes with the defaults, for the `_init` functions.
///
/// # Safety
/// `pointer` is NULL or writable for `size` bytes.
pub(super) unsafe fn initialise<T: Sized_>(pointer: *mut T, size: usize, value: T) -> Result<()> {
    check_new(pointer, size)?;
    // SAFETY: writable for `size` bytes (caller) and aligned; the tail that a newer caller has is zeroed, the head is
    // ours, and the size is the caller's own.
    unsafe {
        std::ptr::write_bytes(pointer.cast::<u8>(), 0, size);
        std::ptr::copy_nonoverlapping(
            std::ptr::from_ref(&value).cast::<u8>(),
            pointer.cast::<u8>(),
            size.min(size_of::<T>()),
        );
        *pointer.cast::<usize>() = size;
    }
    Ok(())
}
