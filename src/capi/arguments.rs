//! Reading what a caller passes and writing what it gets: each pointer with its length, checked before use.

use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::memory;

/// Given as a text's length: the text ends at its first NUL.
pub const BERT_NUL_TERMINATED: usize = usize::MAX;

/// The C strings and arrays behind the pointers of one call live until it returns.
pub(super) type Text<'a> = &'a str;

/// The refusal of a NULL.
pub(super) fn null(name: &str) -> Error {
    Error::InvalidArgument(format!("The argument '{name}' is NULL.")).of_argument(name)
}

/// `count` elements at `pointer`; (NULL, 0) is the empty array.
///
/// # Safety
/// `pointer` is NULL or readable for `count` elements until the call returns.
pub(super) unsafe fn array<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    check_extent(pointer, count, name)?;
    // SAFETY: not NULL, aligned, of a possible size (checked), readable (caller).
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// An array that results go into; `None` where the caller gave NULL and doesn't want them. Its capacity must hold
/// `needed` elements.
///
/// # Safety
/// `pointer` is NULL or writable for `capacity` elements until the call returns.
pub(super) unsafe fn output<'a, T>(
    pointer: *mut T,
    capacity: usize,
    needed: usize,
    name: &str,
) -> Result<Option<&'a mut [T]>> {
    if pointer.is_null() {
        return Ok(None);
    }
    if capacity < needed {
        return Err(Error::BufferTooSmall(format!(
            "The buffer '{name}' has room for {capacity} elements; {needed} are needed."
        ))
        .of_argument(name)
        .needing(needed));
    }
    if needed == 0 {
        return Ok(Some(&mut []));
    }
    check_extent(pointer, needed, name)?;
    // SAFETY: not NULL, aligned, of a possible size (checked), writable for at least `needed` (caller).
    Ok(Some(unsafe {
        std::slice::from_raw_parts_mut(pointer, needed)
    }))
}

fn check_extent<T>(pointer: *const T, count: usize, name: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(null(name));
    }
    if !pointer.is_aligned() {
        return Err(Error::InvalidArgument(format!(
            "The argument '{name}' is not aligned to {} bytes.",
            align_of::<T>()
        ))
        .of_argument(name));
    }
    let bytes = count.checked_mul(size_of::<T>());
    if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(Error::InvalidArgument(format!(
            "The length of '{name}' is {count}, which is more than memory can hold."
        ))
        .of_argument(name));
    }
    Ok(())
}

/// Where a result goes; NULL is refused.
///
/// # Safety
/// `pointer` is NULL or writable for one element until the call returns.
pub(super) unsafe fn result<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    check_extent(pointer, 1, name)?;
    // SAFETY: not NULL and aligned (checked), writable (caller). Only plain numbers and pointers are written this way.
    Ok(unsafe { &mut *pointer })
}

/// A UTF-8 text of `length` bytes, or up to its NUL; (NULL, 0) is the empty text.
///
/// # Safety
/// `pointer` is NULL, or readable for `length` bytes or up to its NUL, until the call returns.
pub(super) unsafe fn text<'a>(
    pointer: *const c_char,
    length: usize,
    name: &str,
) -> Result<Text<'a>> {
    let bytes = if length == BERT_NUL_TERMINATED {
        if pointer.is_null() {
            return Err(null(name));
        }
        // SAFETY: the caller says that it ends with a NUL.
        unsafe { CStr::from_ptr(pointer) }.to_bytes()
    } else {
        // SAFETY: the same contract.
        unsafe { array(pointer.cast::<u8>(), length, name) }?
    };
    std::str::from_utf8(bytes).map_err(|error| {
        Error::Utf8(format!(
            "The text '{name}' is not valid UTF-8 at byte {}; convert it to UTF-8 first.",
            error.valid_up_to()
        ))
        .of_argument(name)
    })
}

/// A text that may be absent: NULL is none.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn optional_text<'a>(
    pointer: *const c_char,
    length: usize,
    name: &str,
) -> Result<Option<Text<'a>>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the same contract.
    unsafe { text(pointer, length, name) }.map(Some)
}

/// A NUL-terminated UTF-8 option; NULL is none.
///
/// # Safety
/// `pointer` is NULL or ends with a NUL.
pub(super) unsafe fn optional_string(pointer: *const c_char, name: &str) -> Result<Option<String>> {
    // SAFETY: the same contract.
    let text = unsafe { optional_text(pointer, BERT_NUL_TERMINATED, name) }?;
    text.map(memory::text).transpose()
}

/// A path: NUL-terminated bytes, in whatever encoding the file system has.
///
/// # Safety
/// `pointer` is NULL or ends with a NUL.
pub(super) unsafe fn path(pointer: *const c_char, name: &str) -> Result<PathBuf> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: not NULL; the caller says that it ends with a NUL.
    let bytes = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    if bytes.is_empty() {
        return Err(
            Error::InvalidArgument(format!("The path '{name}' is empty.")).of_argument(name),
        );
    }
    // The system refuses it too; a message that held all of it would be of no use.
    if bytes.len() >= libc::PATH_MAX as usize {
        return Err(Error::Io(format!(
            "The path '{name}' has {} bytes; the system takes at most {}.",
            bytes.len(),
            libc::PATH_MAX - 1
        ))
        .of_argument(name));
    }
    Ok(PathBuf::from(OsStr::from_bytes(bytes)))
}

/// A path that may be absent: NULL is none.
///
/// # Safety
/// `pointer` is NULL or ends with a NUL.
pub(super) unsafe fn optional_path(pointer: *const c_char, name: &str) -> Result<Option<PathBuf>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the same contract.
    unsafe { path(pointer, name) }.map(Some)
}

/// Texts given as parallel arrays of pointers and lengths, which have these names; no lengths means that all end with a NUL.
///
/// # Safety
/// `pointers` and `lengths` are NULL or have `count` elements; each text is as for [`text`].
pub(super) unsafe fn texts<'a>(
    pointers: *const *const c_char,
    lengths: *const usize,
    count: usize,
    [name, name_of_lengths]: [&str; 2],
) -> Result<Vec<Text<'a>>> {
    // SAFETY: the same contract.
    let read = |pointer, length, name: &str| unsafe { text(pointer, length, name) };
    // SAFETY: the same contract.
    unsafe { each_text(pointers, lengths, count, [name, name_of_lengths], read) }
}

/// The same of texts that may be absent: NULL is none.
///
/// # Safety
/// As for [`texts`].
unsafe fn optional_texts<'a>(
    pointers: *const *const c_char,
    lengths: *const usize,
    count: usize,
    names: [&str; 2],
) -> Result<Vec<Option<Text<'a>>>> {
    // SAFETY: the same contract.
    let read = |pointer, length, name: &str| unsafe { optional_text(pointer, length, name) };
    // SAFETY: the same contract.
    unsafe { each_text(pointers, lengths, count, names, read) }
}

/// What `read` makes of each pointer, its length and its name in messages.
///
/// # Safety
/// As for [`texts`], as far as `read` asks for it.
unsafe fn each_text<T>(
    pointers: *const *const c_char,
    lengths: *const usize,
    count: usize,
    [name, name_of_lengths]: [&str; 2],
    read: impl Fn(*const c_char, usize, &str) -> Result<T>,
) -> Result<Vec<T>> {
    // SAFETY: the same contract.
    let pointers = unsafe { array(pointers, count, name) }?;
    let lengths = if lengths.is_null() {
        None
    } else {
        // SAFETY: the same contract.
        Some(unsafe { array(lengths, count, name_of_lengths) }?)
    };
    memory::collected(pointers.iter().enumerate().map(|(index, &pointer)| {
        let length = lengths.map_or(BERT_NUL_TERMINATED, |lengths| lengths[index]);
        read(pointer, length, &format!("{name}[{index}]"))
            .map_err(|error| error.of_argument(name).at_index(index))
    }))
}

/// Texts with their pairs: `pairs` NULL means that there are none, and an element NULL that this text has none.
///
/// # Safety
/// As for [`texts`], for both.
pub(super) unsafe fn text_pairs<'a>(
    count: usize,
    texts_: *const *const c_char,
    lengths: *const usize,
    pairs: *const *const c_char,
    pair_lengths: *const usize,
) -> Result<Vec<(Text<'a>, Option<Text<'a>>)>> {
    // SAFETY: the same contract.
    let first = unsafe { texts(texts_, lengths, count, ["texts", "lengths"]) }?;
    if pairs.is_null() {
        return memory::collected(first.into_iter().map(|text| Ok((text, None))));
    }
    // SAFETY: the same contract.
    let second = unsafe { optional_texts(pairs, pair_lengths, count, ["pairs", "pair_lengths"]) }?;
    memory::collected(first.into_iter().zip(second).map(Ok))
}

fn negative(name: &str, value: i64) -> Error {
    Error::InvalidArgument(format!("{name} is {value}; it must not be negative.")).of_argument(name)
}

/// A size or count that C passes as a signed number.
pub(super) fn size(value: i32, name: &str) -> Result<usize> {
    usize::try_from(value).map_err(|_| negative(name, value.into()))
}

/// A number of steps that C passes as a signed number.
pub(super) fn steps(value: i64, name: &str) -> Result<u64> {
    u64::try_from(value).map_err(|_| negative(name, value))
}

/// A truth value that C passes as 0 or 1.
pub(super) fn flag(value: i32, name: &str) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(
            Error::InvalidArgument(format!("{name} is {value}; it must be 0 or 1."))
                .of_argument(name),
        ),
    }
}

/// One of a few named numbers.
pub(super) fn choice<T: Copy>(value: i32, name: &str, choices: &[(i32, T)]) -> Result<T> {
    choices
        .iter()
        .find(|choice| choice.0 == value)
        .map(|choice| choice.1)
        .ok_or_else(|| {
            let numbers = || choices.iter().map(|choice| choice.0);
            let (first, last) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
            Error::InvalidArgument(format!(
                "{name} is {value}; the constants for it are {first} to {last}."
            ))
            .of_argument(name)
        })
}
