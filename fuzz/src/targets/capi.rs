//! Random sequences of calls through the C ABI: handles that are live, freed, of another kind or none at all; structs of
//! wrong sizes; arguments at and beyond their limits; buffers too small; callbacks that call back in.
//!
//! An input is a program: each call is a byte that names it, and the bytes that its arguments are chosen by. Every pointer
//! that is passed keeps to its contract (readable or writable as far as the call is told); nothing else does.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_void};
use std::mem::{align_of, size_of};
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use bert::capi::*;

use super::Target;
use crate::input::Bytes;
use crate::oracle::check_refusal;
use crate::scratch;
use crate::small_model;

pub const TARGET: Target = Target {
    name: "capi",
    most_bytes: 2 * 1024,
    run,
    seeds,
    words: &[b"good", b"bad film", b"\xc3\xa9"],
};

/// Calls in one input, those from callbacks included.
const MOST_CALLS: u32 = 60;

/// Handles of each kind that an input has at once.
const SLOTS: usize = 3;

/// Callbacks within callbacks.
const MOST_DEPTH: u32 = 3;

fn run(bytes: &[u8]) {
    let machine = Machine {
        bytes: RefCell::new(Bytes::new(bytes)),
        models: Slots::new(bert_free),
        datasets: Slots::new(bert_dataset_free),
        trainers: Slots::new(bert_trainer_free),
        errors: Slots::new(bert_error_free),
        saved: RefCell::default(),
        directory: scratch::directory("capi"),
        is_directory_made: Cell::new(false),
        calls: Cell::new(0),
        depth: Cell::new(0),
        progress: Cell::new(0),
    };
    machine.calls_until_the_end(MOST_CALLS);
    machine.end();
}

/// Where handles are kept; those that were freed stay, to be passed again.
struct Slots<T> {
    handles: [Cell<*mut T>; SLOTS],
    are_live: [Cell<bool>; SLOTS],
    /// What frees one.
    free: extern "C" fn(*mut T),
}

impl<T> Slots<T> {
    fn new(free: extern "C" fn(*mut T)) -> Slots<T> {
        Slots {
            handles: std::array::from_fn(|_| Cell::new(null_mut())),
            are_live: Default::default(),
            free,
        }
    }
}

struct Machine<'a> {
    bytes: RefCell<Bytes<'a>>,
    models: Slots<bert_model>,
    datasets: Slots<bert_dataset>,
    trainers: Slots<bert_trainer>,
    errors: Slots<bert_error>,
    /// What bert_save_to_buffer gave last.
    saved: RefCell<Vec<u8>>,
    directory: PathBuf,
    is_directory_made: Cell<bool>,
    calls: Cell<u32>,
    depth: Cell<u32>,
    /// Progress callbacks so far.
    progress: Cell<u32>,
}

/// A text as arguments: its bytes, with a NUL behind them, and what the call is told of it.
struct Text {
    bytes: Vec<u8>,
    length: usize,
    is_null: bool,
}

impl Text {
    fn pointer(&self) -> *const c_char {
        if self.is_null {
            null()
        } else {
            self.bytes.as_ptr().cast()
        }
    }

    /// Pointer and length; those of no text where the call isn't given it.
    fn if_given(&self, is_given: bool) -> (*const c_char, usize) {
        if is_given {
            (self.pointer(), self.length)
        } else {
            (null(), 0)
        }
    }
}

/// Texts as parallel arrays.
struct Texts {
    texts: Vec<Text>,
    pointers: Vec<*const c_char>,
    lengths: Vec<usize>,
    has_lengths: bool,
}

impl Texts {
    fn lengths(&self) -> *const usize {
        if self.has_lengths {
            self.lengths.as_ptr()
        } else {
            null()
        }
    }
}

/// Memory for a struct of any claimed size.
struct Struct<T> {
    memory: Vec<u64>,
    _kind: std::marker::PhantomData<T>,
}

/// Structs claim at most so much before they are refused unread.
const MOST_STRUCT_BYTES: usize = 65_536;

impl<T: Copy> Struct<T> {
    fn pointer(&mut self) -> *mut T {
        assert!(align_of::<T>() <= 8);
        self.memory.as_mut_ptr().cast()
    }

    /// NULL where the call isn't given it.
    fn pointer_if(&mut self, is_given: bool) -> *mut T {
        if is_given { self.pointer() } else { null_mut() }
    }

    fn edit(&mut self, edit: impl FnOnce(&mut T)) {
        // SAFETY: the memory is aligned, larger than any struct, and any bytes are a valid value of one.
        edit(unsafe { &mut *self.pointer() });
    }

    fn value(&mut self) -> T {
        // SAFETY: as above.
        unsafe { *self.pointer() }
    }
}

/// An array that a call may fill as far as its capacity, with a margin that it mayn't touch.
struct Output<T> {
    array: Vec<T>,
    capacity: usize,
    is_null: bool,
    canary: T,
}

impl<T: Copy + PartialEq + std::fmt::Debug> Output<T> {
    fn pointer(&mut self) -> *mut T {
        if self.is_null {
            null_mut()
        } else {
            self.array.as_mut_ptr()
        }
    }

    fn check(&self, status: bert_status) {
        let from = if status == BERT_OK { self.capacity } else { 0 };
        assert!(
            self.array[from..].iter().all(|value| *value == self.canary),
            "status {status} and written from {from} on: {:?}",
            self.array
        );
    }
}

/// With LIBBERT_FUZZ_TRACE set, which calls an input makes and what they answer.
fn trace(line: impl FnOnce() -> String) {
    static IS_ON: OnceLock<bool> = OnceLock::new();
    if *IS_ON.get_or_init(|| std::env::var_os("LIBBERT_FUZZ_TRACE").is_some()) {
        eprintln!("{}", line());
    }
}

/// A status that a call may give, with its sentence.
fn check(status: bert_status) -> bool {
    if status == BERT_OK {
        trace(|| "    ok".into());
        return true;
    }
    let message = check_refusal(status);
    trace(|| format!("    {status}: {message}"));
    false
}

const UNTOUCHED: usize = 0x5a5a_5a58;

/// A place for a result, and whether the call is given it.
struct Place<T> {
    value: Cell<T>,
    is_null: bool,
    untouched: T,
}

impl<T: Copy + PartialEq + std::fmt::Debug> Place<T> {
    fn pointer(&self) -> *mut T {
        if self.is_null {
            null_mut()
        } else {
            self.value.as_ptr()
        }
    }

    /// The result; what failed has left the place alone.
    fn result(&self, status: bert_status) -> Option<T> {
        if check(status) {
            return (!self.is_null).then(|| self.value.get());
        }
        assert_eq!(self.value.get(), self.untouched, "a failure wrote a result");
        None
    }
}

const INTEGERS: [i32; 16] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    12,
    16,
    32,
    -1,
    -2,
    1 << 20,
    i32::MAX,
    i32::MIN,
];

const REALS: [f64; 16] = [
    0.0,
    0.5,
    1.0,
    0.1,
    1e-3,
    0.9,
    0.999,
    2.0,
    -0.0,
    -1.0,
    1e-12,
    1e300,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MIN_POSITIVE,
];

impl Machine<'_> {
    fn byte(&self) -> u8 {
        self.bytes.borrow_mut().byte()
    }

    fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        self.bytes.borrow_mut().one_of(choices)
    }

    /// One time in eight.
    fn seldom(&self) -> bool {
        self.byte() >= 224
    }

    fn integer(&self) -> i32 {
        self.one_of(&INTEGERS)
    }

    fn real(&self) -> f64 {
        self.one_of(&REALS)
    }

    /// Replaces a field one time in eight, so that most structs have at most a few odd ones.
    fn maybe<T>(&self, field: &mut T, value: impl FnOnce() -> T) {
        if self.seldom() {
            *field = value();
        }
    }

    /// A handle: mostly a slot's, live or freed, else NULL, one of another kind, or none.
    fn handle<T>(&self, slots: &Slots<T>) -> *mut T {
        let choice = usize::from(self.byte());
        match choice {
            240.. => null_mut(),
            232..240 => self.models.handles[choice % SLOTS].get().cast(),
            224..232 => self.datasets.handles[choice % SLOTS].get().cast(),
            216..224 => self.trainers.handles[choice % SLOTS].get().cast(),
            208..216 => std::ptr::without_provenance_mut(choice * 8),
            204..208 => self.errors.handles[choice % SLOTS].get().cast(),
            _ => slots.handles[choice % SLOTS].get(),
        }
    }

    /// Keeps a new handle in place of one that is freed.
    fn keep<T>(&self, slots: &Slots<T>, handle: Option<*mut T>) {
        let Some(handle) = handle else { return };
        let slot = usize::from(self.byte()) % SLOTS;
        if slots.are_live[slot].replace(true) {
            (slots.free)(slots.handles[slot].get());
        }
        slots.handles[slot].set(handle);
    }

    /// Frees any handle: what is none, or no longer one, is left alone.
    fn free<T>(&self, slots: &Slots<T>) {
        let handle = self.handle(slots);
        (slots.free)(handle);
        self.note_freed(slots, handle);
    }

    fn note_freed<T>(&self, slots: &Slots<T>, handle: *mut T) {
        for (slot, is_live) in slots.handles.iter().zip(&slots.are_live) {
            if slot.get() == handle {
                is_live.set(false);
            }
        }
    }

    fn place<T: Copy>(&self, untouched: T) -> Place<T> {
        Place {
            value: Cell::new(untouched),
            is_null: self.seldom(),
            untouched,
        }
    }

    fn handle_place<T>(&self) -> Place<*mut T> {
        self.place(std::ptr::without_provenance_mut(UNTOUCHED))
    }

    fn text(&self) -> Text {
        const TEXTS: [&[u8]; 8] = [
            b"a good film",
            b"bad",
            b"",
            b"good good bad [SEP] good",
            b"nul \0 in it",
            b"\xff\xfe\xfd",
            b"d\xc3\xa9j\xc3\xa0 vu",
            b"yes",
        ];
        let choice = self.byte();
        let mut bytes = match choice & 15 {
            choice @ 0..8 => TEXTS[usize::from(choice)].to_vec(),
            8..12 => TEXTS[0].repeat(usize::from(choice >> 4)),
            _ => self
                .bytes
                .borrow_mut()
                .take(usize::from(choice >> 4))
                .to_vec(),
        };
        let length = match self.byte() {
            255 => isize::MAX as usize + 1,
            192..255 => BERT_NUL_TERMINATED,
            _ => bytes.len(),
        };
        bytes.push(0);
        let is_null = self.seldom();
        Text {
            bytes,
            length,
            is_null,
        }
    }

    /// A text that is mostly there and valid: a class's name, a path.
    fn name(&self) -> Text {
        const NAMES: [&str; 4] = ["yes", "no", "0", "1"];
        let choice = self.byte();
        if choice >= 224 {
            return self.text();
        }
        let mut bytes = NAMES[usize::from(choice) % NAMES.len()].as_bytes().to_vec();
        let length = bytes.len();
        bytes.push(0);
        Text {
            bytes,
            length,
            is_null: false,
        }
    }

    fn texts(&self, count: usize, text: impl Fn() -> Text) -> Texts {
        let texts: Vec<Text> = (0..count).map(|_| text()).collect();
        let has_lengths = !self.seldom();
        Texts {
            pointers: texts.iter().map(Text::pointer).collect(),
            lengths: texts.iter().map(|text| text.length).collect(),
            texts,
            has_lengths,
        }
    }

    /// As many as a call says that it has: at most those, or none at all with a length that can't be.
    fn count(&self) -> usize {
        usize::from(self.byte() % 7)
    }

    fn path(&self) -> Vec<u8> {
        if !self.is_directory_made.replace(true) {
            let made = scratch::empty("capi");
            scratch::write(
                &made,
                "tokenizer.json",
                small_model::tokenizer_json().as_bytes(),
            );
            scratch::write(&made, "not.json", b"{");
        }
        let choice = self.byte();
        let name: &[u8] = match choice % 8 {
            0 | 1 => b"model",
            2 => b"other",
            3 => b"tokenizer.json",
            4 => b"not.json",
            5 => b"absent/deeper",
            6 => b"\xff",
            _ => {
                return if choice & 8 == 0 {
                    b"\0".to_vec()
                } else {
                    b"/proc/self/nothing\0".to_vec()
                };
            }
        };
        self.path_of(name)
    }

    /// The path of a name in the input's directory, with a NUL behind it.
    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let directory = self
            .directory
            .to_str()
            .expect("the scratch directory's name is UTF-8");
        [directory.as_bytes(), b"/", name, b"\0"].concat()
    }

    /// A struct, prepared by its _init function, mostly with its true size.
    fn prepared<T: Copy>(
        &self,
        init: unsafe extern "C" fn(*mut T, usize) -> bert_status,
    ) -> Struct<T> {
        // SAFETY: the memory is writable as far as any accepted size.
        self.prepared_by(|pointer, size| unsafe { init(pointer, size) })
    }

    fn prepared_by<T: Copy>(&self, init: impl Fn(*mut T, usize) -> bert_status) -> Struct<T> {
        let mut made = Struct {
            memory: vec![0; MOST_STRUCT_BYTES / 8 + 8],
            _kind: std::marker::PhantomData,
        };
        let own = size_of::<T>();
        let choice = self.byte();
        let size = match choice {
            ..232 => own,
            232..240 => own + 8 * usize::from(choice - 231),
            _ => [
                0,
                8,
                own - 1,
                own - 8,
                own + 1,
                MOST_STRUCT_BYTES,
                MOST_STRUCT_BYTES + 1,
                usize::MAX,
            ][usize::from(choice) % 8],
        };
        check(init(made.pointer(), size));
        // A newer caller's fields.
        if choice >= 232 && self.seldom() {
            made.memory[own / 8] = 1;
        }
        made
    }

    fn output<T: Copy>(&self, canary: T) -> Output<T> {
        let capacity = self.one_of(&[64, 0, 1, 2, 3, 8, 64, 64]);
        Output {
            array: vec![canary; capacity + 4],
            capacity,
            is_null: self.byte() & 3 == 0,
            canary,
        }
    }

    fn calls_until_the_end(&self, most: u32) {
        for _ in 0..most {
            if self.calls.get() >= MOST_CALLS || self.bytes.borrow().is_empty() {
                return;
            }
            self.calls.set(self.calls.get() + 1);
            self.call();
        }
    }

    fn call(&self) {
        let call = self.byte();
        trace(|| format!("{}call {call}", "  ".repeat(self.depth.get() as usize)));
        match call {
            0 => self.add_example(),
            1 => self.add_examples(),
            2 => self.read_dataset(),
            3 => self.toy(),
            4 => self.split(),
            5 => self.create_model(),
            6 => self.load(),
            7 => self.load_buffer(),
            8 => self.save(),
            9 => self.save_buffer(),
            10 => self.ask_model(),
            11 => self.tokenize(),
            12 => self.create_trainer(),
            13 => self.train(),
            14 => self.cancel(),
            15 => self.evaluate(),
            16 => self.predict(),
            17 => self.predict_batch(),
            18 => self.predict_ids(),
            19 => self.embed(),
            20 => self.free(&self.models),
            21 => self.free(&self.datasets),
            22 => self.free(&self.trainers),
            23 => self.global(),
            24 => self.initialise(),
            25 => self.ready(),
            26 => self.new_dataset(),
            27 => self.add_other_examples(),
            28 => self.add_lora(),
            29 => self.merge_lora(),
            30 => self.save_adapter(),
            31 => self.load_adapter(),
            32 => self.save_trainer(),
            33 => self.resume_trainer(),
            34 => self.quantize(),
            35 => self.copy_to_device(),
            36 => self.new_error(),
            37 => self.bind_error(),
            38 => self.ask_error(),
            39 => self.free(&self.errors),
            40 => self.close_trainer(),
            41 => self.fit_head(),
            42 => self.thresholds(),
            _ => {}
        }
    }

    /// Frees what is left.
    fn end(&self) {
        // SAFETY: no callback is set any more.
        unsafe { bert_set_log_callback(None, null_mut()) };
        assert_eq!(bert_error_bind(null_mut()), BERT_OK);
        for slot in 0..SLOTS {
            bert_error_free(self.errors.handles[slot].get());
            bert_free(self.models.handles[slot].get());
            bert_dataset_free(self.datasets.handles[slot].get());
            bert_trainer_free(self.trainers.handles[slot].get());
        }
        bert_set_num_threads(1);
    }

    fn new_dataset(&self) {
        let place = self.handle_place();
        // SAFETY: the place is writable or NULL.
        let status = unsafe { bert_dataset_create(place.pointer()) };
        self.keep(&self.datasets, place.result(status));
    }

    fn new_error(&self) {
        let place = self.handle_place();
        // SAFETY: the place is writable or NULL.
        let status = unsafe { bert_error_create(place.pointer()) };
        self.keep(&self.errors, place.result(status));
    }

    /// Binds any handle; one that could be bound gets the next error.
    fn bind_error(&self) {
        let error = self.handle(&self.errors);
        if !check(bert_error_bind(error)) || error.is_null() {
            return;
        }
        assert_eq!(bert_error_status(error), BERT_OK);
        check_refusal(bert_set_num_threads(-1));
        assert_eq!(bert_error_status(error), BERT_ERR_INVALID_ARGUMENT);
        // SAFETY: both end with a NUL, and nothing fails before they are compared.
        unsafe {
            let stored = CStr::from_ptr(bert_error_message(error));
            assert_eq!(stored, CStr::from_ptr(bert_last_error_message()));
        }
    }

    /// Whatever is asked answers, and what the answers say fits together.
    fn ask_error(&self) {
        let error = self.handle(&self.errors);
        let status = bert_error_status(error);
        // SAFETY: both end with a NUL, and nothing is stored before they are looked at.
        let (message, argument) = unsafe {
            (
                CStr::from_ptr(bert_error_message(error)).to_bytes(),
                CStr::from_ptr(bert_error_argument(error)).to_bytes(),
            )
        };
        let (index, line) = (bert_error_index(error), bert_error_line(error));
        let needed = bert_error_needed_size(error);
        trace(|| format!("    stored: {status}, index {index}, line {line}, needed {needed}"));
        assert_eq!(needed > 0, status == BERT_ERR_BUFFER_TOO_SMALL);
        if message.is_empty() {
            assert!(status == BERT_OK || status == BERT_ERR_HANDLE);
            assert!(argument.is_empty() && index == -1 && line == 0);
        } else {
            assert!(status != BERT_OK && message.ends_with(b"."));
            assert!(index >= -1 && line >= 0);
        }
    }

    /// Closes any handle; inside a callback of its own call a trainer stays as it is.
    fn close_trainer(&self) {
        let trainer = self.handle(&self.trainers);
        if check(bert_trainer_close(trainer)) {
            self.note_freed(&self.trainers, trainer);
        }
    }

    /// A sound data set, model and trainer at once, since most calls need them.
    fn ready(&self) {
        let mut dataset = null_mut();
        // SAFETY: the place is writable.
        assert_eq!(unsafe { bert_dataset_create(&mut dataset) }, BERT_OK);
        for (text, class) in [
            ("a good film", "yes"),
            ("bad", "no"),
            ("good", "yes"),
            ("so bad a film", "no"),
        ] {
            // SAFETY: the texts are readable in their lengths.
            let status = unsafe {
                bert_dataset_add_class(
                    dataset,
                    text.as_ptr().cast(),
                    text.len(),
                    null(),
                    0,
                    class.as_ptr().cast(),
                    class.len(),
                )
            };
            assert_eq!(status, BERT_OK);
        }
        let mut options: Struct<bert_model_options> = Struct {
            memory: vec![0; 64],
            _kind: std::marker::PhantomData,
        };
        let size = size_of::<bert_model_options>();
        assert!(size <= 512);
        let mut model = null_mut();
        let mut trainer = null_mut();
        // SAFETY: the struct is writable in its size, the places are writable.
        unsafe {
            assert_eq!(
                bert_model_options_init(options.pointer(), size, BERT_PRESET_COMPACT),
                BERT_OK
            );
            options.edit(small);
            assert_eq!(bert_create(options.pointer(), dataset, &mut model), BERT_OK);
            let mut train = self.prepared(bert_train_options_init);
            train.edit(|o| (o.epochs, o.batch_size) = (2, 2));
            if check(bert_trainer_create(
                model,
                dataset,
                null(),
                train.pointer(),
                &mut trainer,
            )) {
                self.keep(&self.trainers, Some(trainer));
            }
        }
        self.keep(&self.datasets, Some(dataset));
        self.keep(&self.models, Some(model));
    }

    fn add_example(&self) {
        let dataset = self.handle(&self.datasets);
        let (text, pair) = (self.text(), self.text());
        let (pair, pair_length) = pair.if_given(self.byte() & 3 == 0);
        // SAFETY: the texts are readable as far as is said, or up to their NUL.
        unsafe {
            if self.byte() & 1 == 0 {
                let class = self.name();
                check(bert_dataset_add_class(
                    dataset,
                    text.pointer(),
                    text.length,
                    pair,
                    pair_length,
                    class.pointer(),
                    class.length,
                ));
            } else {
                let class = i64::from(self.integer());
                check(bert_dataset_add_class_id(
                    dataset,
                    text.pointer(),
                    text.length,
                    pair,
                    pair_length,
                    class,
                ));
            }
        }
        let place = self.place(UNTOUCHED);
        // SAFETY: the place is writable or NULL.
        place.result(unsafe { bert_dataset_count(dataset, place.pointer()) });
        self.describe(dataset);
    }

    fn describe(&self, dataset: *const bert_dataset) {
        let mut counts = self.output(77u64 << 32);
        let mut description = self.prepared(bert_dataset_description_init);
        description
            .edit(|d| (d.label_counts, d.label_capacity) = (counts.pointer(), counts.capacity));
        let model = if self.seldom() {
            self.handle(&self.models)
        } else {
            null_mut()
        };
        // SAFETY: the array is writable in its capacity.
        let status = unsafe { bert_dataset_describe(dataset, model, description.pointer()) };
        check(status);
        counts.check(status);
        let size = self.place(UNTOUCHED);
        let id = self.integer();
        // SAFETY: the place is writable or NULL; no name is written.
        check(unsafe { bert_dataset_label_name(dataset, id, null_mut(), 0, size.pointer()) });
    }

    fn add_examples(&self) {
        let dataset = self.handle(&self.datasets);
        let count = self.count();
        let texts = self.texts(count, || self.text());
        let pairs = (self.byte() & 3 == 0).then(|| self.texts(count, || self.text()));
        let (pair_pointers, pair_lengths) = match &pairs {
            Some(pairs) => (pairs.pointers.as_ptr(), pairs.lengths()),
            None => (null(), null()),
        };
        let told = if self.seldom() && texts.texts.is_empty() {
            usize::MAX
        } else {
            count
        };
        // SAFETY: the arrays have `count` elements; an impossible count is refused before they are read.
        unsafe {
            if self.byte() & 1 == 0 {
                let classes = self.texts(count, || self.name());
                check(bert_dataset_add_classes(
                    dataset,
                    told,
                    texts.pointers.as_ptr(),
                    texts.lengths(),
                    pair_pointers,
                    pair_lengths,
                    classes.pointers.as_ptr(),
                    classes.lengths(),
                ));
            } else {
                let classes: Vec<i64> = (0..count)
                    .map(|_| i64::from(self.byte() % 4) - i64::from(self.seldom()))
                    .collect();
                check(bert_dataset_add_class_ids(
                    dataset,
                    told,
                    texts.pointers.as_ptr(),
                    texts.lengths(),
                    pair_pointers,
                    pair_lengths,
                    classes.as_ptr(),
                ));
            }
        }
    }

    /// Lists of labels, and numbers.
    fn add_other_examples(&self) {
        let dataset = self.handle(&self.datasets);
        let count = self.count();
        let texts = self.texts(count, || self.text());
        let (text, length) = match texts.texts.first() {
            Some(text) => (text.pointer(), text.length),
            None => (null(), 0),
        };
        let names = self.texts(self.count(), || self.name());
        let width = usize::from(self.byte() % 3);
        let numbers: Vec<f32> = (0..count.max(1) * width)
            .map(|_| self.real() as f32)
            .collect();
        // Where each text's names begin; seldom not in order.
        let mut offsets: Vec<usize> = (0..=count)
            .map(|_| usize::from(self.byte()) % (names.texts.len() + 1))
            .collect();
        if !self.seldom() {
            offsets.sort_unstable();
            offsets[0] = 0;
            offsets[count] = names.texts.len();
        }
        // SAFETY: the arrays have as many elements as is said; no offset is beyond the names.
        unsafe {
            check(match self.byte() % 4 {
                0 => bert_dataset_add_labels(
                    dataset,
                    text,
                    length,
                    null(),
                    0,
                    names.pointers.as_ptr(),
                    names.lengths(),
                    names.texts.len(),
                ),
                1 => bert_dataset_add_label_lists(
                    dataset,
                    count,
                    texts.pointers.as_ptr(),
                    texts.lengths(),
                    null(),
                    null(),
                    names.pointers.as_ptr(),
                    names.lengths(),
                    offsets.as_ptr(),
                ),
                2 => bert_dataset_add_target(
                    dataset,
                    text,
                    length,
                    null(),
                    0,
                    numbers.as_ptr(),
                    width,
                ),
                _ => bert_dataset_add_targets(
                    dataset,
                    count,
                    texts.pointers.as_ptr(),
                    texts.lengths(),
                    null(),
                    null(),
                    numbers.as_ptr(),
                    width,
                ),
            });
        }
    }

    fn add_lora(&self) {
        let mut options = self.prepared(bert_lora_options_init);
        options.edit(|o| {
            o.rank = 2;
            for field in [&mut o.rank, &mut o.use_rslora, &mut o.train_pooler] {
                self.maybe(field, || self.integer());
            }
            for field in [&mut o.alpha, &mut o.dropout] {
                self.maybe(field, || self.real());
            }
            self.maybe(&mut o.targets, || u32::from(self.byte()));
        });
        let place = self.handle_place();
        // SAFETY: the struct is prepared, the place writable or NULL.
        let status = unsafe {
            bert_add_lora(
                self.handle(&self.models),
                options.pointer(),
                place.pointer(),
            )
        };
        self.keep(&self.models, place.result(status));
    }

    fn merge_lora(&self) {
        let place = self.handle_place();
        // SAFETY: the place is writable or NULL.
        let status = unsafe { bert_merge_lora(self.handle(&self.models), place.pointer()) };
        self.keep(&self.models, place.result(status));
    }

    fn quantize(&self) {
        let place = self.handle_place();
        // SAFETY: the place is writable or NULL.
        let status = unsafe { bert_quantize(self.handle(&self.models), place.pointer()) };
        self.keep(&self.models, place.result(status));
    }

    fn copy_to_device(&self) {
        let place = self.handle_place();
        let device: &CStr = match self.byte() % 4 {
            0 => c"cpu",
            1 => c"auto",
            2 => c"cuda:1",
            _ => c"",
        };
        // SAFETY: the text ends with a NUL, the place is writable or NULL.
        let status = unsafe {
            bert_copy_to_device(self.handle(&self.models), device.as_ptr(), place.pointer())
        };
        self.keep(&self.models, place.result(status));
    }

    fn save_adapter(&self) {
        let path = self.path();
        // SAFETY: the path ends with a NUL.
        unsafe {
            check(bert_save_adapter(
                self.handle(&self.models),
                path.as_ptr().cast(),
            ));
        }
    }

    fn load_adapter(&self) {
        let path = self.path();
        let place = self.handle_place();
        // SAFETY: the path ends with a NUL, the place is writable or NULL.
        let status = unsafe {
            bert_load_adapter(
                self.handle(&self.models),
                path.as_ptr().cast(),
                place.pointer(),
            )
        };
        self.keep(&self.models, place.result(status));
    }

    fn save_trainer(&self) {
        let path = self.path();
        // SAFETY: the path ends with a NUL.
        unsafe {
            check(bert_trainer_save(
                self.handle(&self.trainers),
                path.as_ptr().cast(),
            ));
        }
    }

    fn resume_trainer(&self) {
        let path = self.path();
        let mut report = self.prepared(bert_resume_report_init);
        let report = report.pointer_if(self.byte() & 1 == 0);
        // SAFETY: the path ends with a NUL, the report is prepared or NULL.
        unsafe {
            check(bert_trainer_resume(
                self.handle(&self.trainers),
                path.as_ptr().cast(),
                report,
            ));
        }
    }

    fn read_dataset(&self) {
        let mut path = self.path();
        if self.byte() & 1 == 0 {
            let name = self.one_of(&["d.tsv", "d.csv", "d.jsonl", "d"]);
            let length = usize::from(self.byte());
            let content = match length {
                0 => b"text\tlabel\na good film\tyes\nbad\tno\n".to_vec(),
                1 => b"text,label\na good film,1\nbad,0\n".to_vec(),
                2 => b"{\"text\": \"a\", \"label\": \"yes\"}\n{\"text\": \"b\", \"label\": \"no\"}"
                    .to_vec(),
                _ => self.bytes.borrow_mut().take(length).to_vec(),
            };
            scratch::write(&self.directory, name, &content);
            path = self.path_of(name.as_bytes());
        }
        let mut options = self.prepared(bert_read_options_init);
        let columns = [self.name(), self.name(), self.name()];
        options.edit(|o| {
            self.maybe(&mut o.format, || self.integer());
            self.maybe(&mut o.header, || self.integer());
            self.maybe(&mut o.labels_are_ids, || self.integer());
            self.maybe(&mut o.problem_type, || self.integer());
            self.maybe(&mut o.label_separator, || columns[0].pointer());
            self.maybe(&mut o.text_column, || columns[0].pointer());
            self.maybe(&mut o.pair_column, || columns[1].pointer());
            self.maybe(&mut o.label_column, || columns[2].pointer());
            self.maybe(&mut o.separator, || self.integer());
            self.maybe(&mut o.quoting, || self.integer());
            self.maybe(&mut o.encoding, || columns[1].pointer());
        });
        let place = self.handle_place();
        // SAFETY: path and columns end with a NUL, the place is writable or NULL.
        let status =
            unsafe { bert_dataset_read(path.as_ptr().cast(), options.pointer(), place.pointer()) };
        self.keep(&self.datasets, place.result(status));
    }

    fn toy(&self) {
        let place = self.handle_place();
        // SAFETY: the place is writable or NULL.
        let status = unsafe { bert_dataset_toy(self.integer(), place.pointer()) };
        if let Some(dataset) = place.result(status) {
            // Not kept: training on all of it takes its time.
            bert_dataset_free(dataset);
        }
    }

    fn split(&self) {
        let (train, validation) = (self.handle_place(), self.handle_place());
        let dataset = self.handle(&self.datasets);
        let validation_place = if self.seldom() {
            train.pointer()
        } else {
            validation.pointer()
        };
        // SAFETY: the places are writable or NULL.
        let status = unsafe {
            bert_dataset_split(dataset, self.real(), 3, train.pointer(), validation_place)
        };
        if check(status) {
            self.keep(&self.datasets, train.result(status));
            self.keep(&self.datasets, validation.result(status));
        }
    }

    fn label_names(&self) -> Texts {
        self.texts(usize::from(self.byte() % 4), || self.name())
    }

    fn create_model(&self) {
        let preset = if self.seldom() { self.integer() } else { 0 };
        let mut options = self.prepared_by::<bert_model_options>(|p, n| {
            // SAFETY: the memory is writable as far as any accepted size.
            unsafe { bert_model_options_init(p, n, preset) }
        });
        let names = self.label_names();
        let path = self.path();
        let device = self.device();
        options.edit(|o| {
            small(o);
            self.maybe(&mut o.tokenizer, || self.integer());
            self.maybe(&mut o.lowercase, || self.integer());
            self.maybe(&mut o.min_frequency, || self.integer());
            self.maybe(&mut o.max_vocab_size, || self.integer());
            self.maybe(&mut o.tokenizer_path, || path.as_ptr().cast());
            for size in [
                &mut o.hidden_size,
                &mut o.num_hidden_layers,
                &mut o.num_attention_heads,
                &mut o.intermediate_size,
                &mut o.max_position_embeddings,
                &mut o.type_vocab_size,
                &mut o.hidden_act,
                &mut o.pooling,
                &mut o.final_layer_norm,
                &mut o.problem_type,
            ] {
                // A million is allowed for some, and makes models that take their time.
                self.maybe(size, || match self.integer() {
                    1_048_576 => 7,
                    size => size,
                });
            }
            for real in [
                &mut o.hidden_dropout_prob,
                &mut o.attention_probs_dropout_prob,
                &mut o.classifier_dropout,
                &mut o.initializer_range,
                &mut o.layer_norm_eps,
            ] {
                self.maybe(real, || self.real());
            }
            self.maybe(&mut o.label_names, || names.pointers.as_ptr());
            if !o.label_names.is_null() {
                o.num_label_names = if self.seldom() && names.texts.is_empty() {
                    usize::MAX
                } else {
                    names.texts.len()
                };
            }
            self.maybe(&mut o.device, || device.pointer());
        });
        let pointer = if self.seldom() {
            null_mut()
        } else {
            options.pointer()
        };
        if pointer.is_null() {
            // The defaults make a model that is too large to train here.
            return;
        }
        let place = self.handle_place();
        // SAFETY: the struct's pointers are readable as far as it says; the place is writable or NULL.
        let status = unsafe { bert_create(pointer, self.handle(&self.datasets), place.pointer()) };
        self.keep(&self.models, place.result(status));
    }

    fn device(&self) -> Text {
        let names: [&[u8]; 6] = [
            b"cpu\0",
            b"cuda\0",
            b"cuda:1\0",
            b"auto\0",
            b"tpu\0",
            b"\xff\0",
        ];
        let bytes = self.one_of(&names).to_vec();
        Text {
            bytes,
            length: BERT_NUL_TERMINATED,
            is_null: false,
        }
    }

    fn load_options(&self, names: &Texts, device: &Text) -> Struct<bert_load_options> {
        let mut options = self.prepared(bert_load_options_init);
        options.edit(|o| {
            self.maybe(&mut o.device, || device.pointer());
            self.maybe(&mut o.label_names, || names.pointers.as_ptr());
            self.maybe(&mut o.problem_type, || self.integer());
            self.maybe(&mut o.num_label_names, || names.texts.len());
            if o.label_names.is_null() {
                self.maybe(&mut o.num_label_names, || 2);
            }
            self.maybe(&mut o.labels_from, || {
                self.handle(&self.datasets).cast_const()
            });
            self.maybe(&mut o.rename_labels, || 1);
            self.maybe(&mut o.new_classifier, || 1);
        });
        options
    }

    fn load(&self) {
        let (path, names, device) = (self.path(), self.label_names(), self.device());
        let mut options = self.load_options(&names, &device);
        let place = self.handle_place();
        // SAFETY: the path ends with a NUL; the rest as above.
        let status = unsafe { bert_load(path.as_ptr().cast(), options.pointer(), place.pointer()) };
        self.keep(&self.models, place.result(status));
    }

    fn load_buffer(&self) {
        let (names, device) = (self.label_names(), self.device());
        let mut options = self.load_options(&names, &device);
        let mut bytes = self.saved.borrow().clone();
        if self.seldom() {
            bytes.truncate(usize::from(self.byte()) * 8);
        }
        if self.seldom() && !bytes.is_empty() {
            let at = usize::from(self.byte()) * 16 % bytes.len();
            bytes[at] ^= 1 << (self.byte() & 7);
        }
        let length = if self.seldom() {
            isize::MAX as usize + 1
        } else {
            bytes.len()
        };
        let place = self.handle_place();
        // SAFETY: the bytes are readable in their length; an impossible one is refused before they are read.
        let status = unsafe {
            bert_load_from_buffer(bytes.as_ptr(), length, options.pointer(), place.pointer())
        };
        self.keep(&self.models, place.result(status));
    }

    fn save(&self) {
        let path = self.path();
        // SAFETY: the path ends with a NUL.
        unsafe {
            check(bert_check_save(path.as_ptr().cast()));
            check(bert_save(self.handle(&self.models), path.as_ptr().cast()));
        }
    }

    fn save_buffer(&self) {
        let bytes = self.handle_place::<u8>();
        let length = self.place(UNTOUCHED);
        // SAFETY: the places are writable or NULL.
        let status = unsafe {
            bert_save_to_buffer(self.handle(&self.models), bytes.pointer(), length.pointer())
        };
        let (bytes, length) = (bytes.result(status), length.result(status));
        if let (Some(bytes), Some(length)) = (bytes, length) {
            // SAFETY: the library says that so many bytes are there; they are freed once.
            unsafe {
                *self.saved.borrow_mut() = std::slice::from_raw_parts(bytes, length).to_vec();
                bert_buffer_free(bytes, length);
            }
        }
    }

    fn ask_model(&self) {
        let model = self.handle(&self.models);
        let mut info = self.prepared(bert_info_init);
        // SAFETY: the struct is writable as far as it says.
        let status = unsafe { bert_get_info(model, info.pointer()) };
        if check(status) && size_of::<bert_info>() <= info.value().struct_size {
            assert!(info.value().num_labels > 0 && info.value().parameter_count > 0);
        }
        let name = self.place(std::ptr::without_provenance(UNTOUCHED));
        let length = self.place(UNTOUCHED);
        let id = self.integer();
        // SAFETY: the places are writable or NULL.
        let status = unsafe { bert_label_name(model, id, name.pointer(), length.pointer()) };
        if let (Some(name), Some(length)) = (name.result(status), length.result(status)) {
            // SAFETY: the name belongs to the model, which lives.
            assert_eq!(
                unsafe { CStr::from_ptr(name) }.to_bytes().len() == length,
                length < usize::MAX
            );
        }
        let place = self.place(-5);
        let label = self.name();
        // SAFETY: the name is readable as far as is said, the place writable or NULL.
        place.result(unsafe {
            bert_label_id(model, label.pointer(), label.length, place.pointer())
        });
        let name = self.place(std::ptr::without_provenance(UNTOUCHED));
        let count = Place {
            is_null: false,
            ..self.place(UNTOUCHED)
        };
        // SAFETY: the places are writable or NULL.
        let status = unsafe {
            bert_parameter_name(
                model,
                self.integer(),
                usize::from(self.byte()),
                name.pointer(),
                count.pointer(),
            )
        };
        if check(status)
            && let Some(name) = name.result(status)
            && name.addr() != UNTOUCHED
            && !name.is_null()
        {
            // SAFETY: the name belongs to the model, which lives.
            assert!(!unsafe { CStr::from_ptr(name) }.is_empty());
        }
    }

    fn tokenize(&self) {
        let (text, pair) = (self.text(), self.text());
        let (pair, pair_length) = pair.if_given(self.byte() & 1 != 0);
        let mut ids = self.output(77_777u32);
        let mut types = self.output(77_777u32);
        types.array.resize(ids.array.len(), types.canary);
        types.capacity = ids.capacity;
        let count = self.place(UNTOUCHED);
        // SAFETY: texts and arrays are as large as is said.
        let status = unsafe {
            bert_tokenize(
                self.handle(&self.models),
                text.pointer(),
                text.length,
                pair,
                pair_length,
                self.integer(),
                ids.pointer(),
                types.pointer(),
                ids.capacity,
                count.pointer(),
            )
        };
        ids.check(status);
        types.check(status);
        if status == BERT_ERR_BUFFER_TOO_SMALL {
            assert!(count.is_null || count.value.get() > ids.capacity);
        } else {
            count.result(status);
        }
    }

    fn create_trainer(&self) {
        let mut options = self.prepared(bert_train_options_init);
        let (best, history, checkpoints) = (self.path(), self.path(), self.path());
        let weights: Vec<f64> = (0..self.byte() % 4).map(|_| self.real()).collect();
        options.edit(|o| {
            (o.epochs, o.batch_size) = (2, 2);
            for size in [
                &mut o.epochs,
                &mut o.batch_size,
                &mut o.gradient_accumulation_steps,
                &mut o.max_length,
                &mut o.schedule,
                &mut o.group_by_length,
                &mut o.metric,
                &mut o.restore_best,
                &mut o.early_stopping_patience,
                &mut o.freeze_embeddings,
                &mut o.freeze_layers,
                &mut o.checkpoint_keep,
                &mut o.precision,
                &mut o.gradient_checkpointing,
            ] {
                self.maybe(size, || self.integer());
            }
            for real in [
                &mut o.learning_rate,
                &mut o.weight_decay,
                &mut o.adam_beta1,
                &mut o.adam_beta2,
                &mut o.adam_epsilon,
                &mut o.max_grad_norm,
                &mut o.warmup_ratio,
                &mut o.head_learning_rate,
                &mut o.layer_learning_rate_decay,
                &mut o.label_smoothing,
                &mut o.threshold,
                &mut o.checkpoint_minutes,
            ] {
                self.maybe(real, || self.real());
            }
            self.maybe(&mut o.warmup_steps, || {
                i64::from(self.integer()) << (self.byte() % 33)
            });
            self.maybe(&mut o.eval_steps, || i64::from(self.integer()));
            self.maybe(&mut o.best_model_path, || best.as_ptr().cast());
            self.maybe(&mut o.history_path, || history.as_ptr().cast());
            self.maybe(&mut o.checkpoint_path, || checkpoints.as_ptr().cast());
            self.maybe(&mut o.checkpoint_steps, || i64::from(self.integer()));
            self.maybe(&mut o.class_weights, || weights.as_ptr());
            if !o.class_weights.is_null() {
                o.num_class_weights = weights.len();
            }
            // It ends training that would go on for ever, so it is there wherever there are many epochs.
            if o.epochs > 2 || self.byte() & 1 == 0 {
                o.progress = Some(on_progress);
                o.progress_user_data = std::ptr::from_ref(self).cast_mut().cast();
            }
        });
        let place = self.handle_place();
        let validation = if self.byte() & 1 == 0 {
            null_mut()
        } else {
            self.handle(&self.datasets)
        };
        // SAFETY: the struct's pointers are readable as far as it says; the machine outlives its trainers.
        let status = unsafe {
            bert_trainer_create(
                self.handle(&self.models),
                self.handle(&self.datasets),
                validation,
                options.pointer(),
                place.pointer(),
            )
        };
        self.keep(&self.trainers, place.result(status));
    }

    fn train(&self) {
        let trainer = self.handle(&self.trainers);
        let with_report = self.byte() & 1 == 0;
        // SAFETY: reports are prepared, or NULL.
        unsafe {
            match self.byte() % 3 {
                0 => {
                    let mut report = self.prepared(bert_step_report_init);
                    check(bert_train_step(trainer, report.pointer_if(with_report)));
                }
                1 => {
                    let mut report = self.prepared(bert_epoch_report_init);
                    check(bert_train_epoch(trainer, report.pointer_if(with_report)));
                }
                _ => {
                    let mut report = self.prepared(bert_train_report_init);
                    check(bert_train(trainer, report.pointer_if(with_report)));
                }
            }
        }
    }

    fn cancel(&self) {
        let slot = usize::from(self.byte()) % SLOTS;
        let trainer = if self.trainers.are_live[slot].get() {
            self.trainers.handles[slot].get()
        } else {
            null_mut()
        };
        // SAFETY: it is live, or NULL.
        unsafe { bert_trainer_cancel(trainer) };
    }

    fn evaluate(&self) {
        let mut evaluation = self.prepared(bert_evaluation_init);
        let mut confusion = self.output(77u64 << 32);
        let mut precision = self.output(-7.0f64);
        evaluation.edit(|e| {
            (e.confusion, e.confusion_capacity) = (confusion.pointer(), confusion.capacity);
            (e.precision, e.class_capacity) = (precision.pointer(), precision.capacity);
            self.maybe(&mut e.compute_precision, || self.integer());
        });
        let length = if self.seldom() { self.integer() } else { 0 };
        let mut options = self.prepared(bert_evaluate_options_init);
        options.edit(|o| {
            o.max_length = length;
            for field in [&mut o.long_text, &mut o.window_stride, &mut o.combine] {
                self.maybe(field, || self.integer());
            }
        });
        let (model, data) = (self.handle(&self.models), self.handle(&self.datasets));
        // SAFETY: the arrays are writable in their capacities.
        let status = unsafe {
            match self.byte() & 1 {
                0 => bert_evaluate(model, data, length, evaluation.pointer()),
                _ => bert_evaluate_with(model, data, options.pointer(), evaluation.pointer()),
            }
        };
        check(status);
        confusion.check(status);
        precision.check(status);
    }

    fn fit_head(&self) {
        let mut options = self.prepared(bert_fit_head_options_init);
        let weights = [1.0f64; 4];
        options.edit(|o| {
            self.maybe(&mut o.inverse_regularization, || self.real());
            self.maybe(&mut o.tolerance, || self.real());
            // Few, so that none takes long.
            o.max_iterations = 20;
            self.maybe(&mut o.max_iterations, || self.integer().min(50));
            self.maybe(&mut o.max_length, || self.integer());
            self.maybe(&mut o.precision, || self.integer());
            self.maybe(&mut o.class_weights, || weights.as_ptr());
            if !o.class_weights.is_null() {
                o.num_class_weights = usize::from(self.byte()) % (weights.len() + 1);
            }
        });
        let mut report = self.prepared(bert_fit_head_report_init);
        let with_report = self.byte() & 1 == 0;
        // SAFETY: the structs are prepared; the weights are as many as the options say, or more.
        check(unsafe {
            bert_fit_head(
                self.handle(&self.models),
                self.handle(&self.datasets),
                options.pointer(),
                report.pointer_if(with_report),
            )
        });
    }

    fn thresholds(&self) {
        let model = self.handle(&self.models);
        let given = [self.real(), 0.5, 0.25, 1.0];
        let count = usize::from(self.byte()) % (given.len() + 1);
        // SAFETY: there are at least `count` numbers.
        check(unsafe { bert_set_thresholds(model, given.as_ptr(), count) });
        let mut found = self.output(-7.0f64);
        // SAFETY: the array is writable in its capacity.
        let status = unsafe { bert_get_thresholds(model, found.pointer(), found.capacity) };
        check(status);
        found.check(status);
    }

    fn predict_options(&self) -> Struct<bert_predict_options> {
        let mut options = self.prepared(bert_predict_options_init);
        options.edit(|o| {
            for field in [
                &mut o.max_length,
                &mut o.long_text,
                &mut o.window_stride,
                &mut o.combine,
                &mut o.top_k,
                &mut o.precision,
            ] {
                self.maybe(field, || self.integer());
            }
        });
        options
    }

    fn predict(&self) {
        let (text, pair) = (self.text(), self.text());
        let (pair, pair_length) = pair.if_given(self.byte() & 3 == 0);
        let mut options = self.predict_options();
        let mut prediction = self.prepared(bert_prediction_init);
        // SAFETY: the texts are readable as far as is said, the structs prepared.
        let status = unsafe {
            bert_predict(
                self.handle(&self.models),
                text.pointer(),
                text.length,
                pair,
                pair_length,
                options.pointer(),
                prediction.pointer(),
            )
        };
        if check(status) {
            let value = prediction.value();
            assert!(
                value.probability.is_nan() || (0.0..=1.001).contains(&value.probability),
                "{}",
                value.probability
            );
        }
    }

    /// Arrays for bert_predictions, and the struct that names them.
    fn predictions(&self) -> (Struct<bert_predictions>, [Output<i32>; 2], [Output<f32>; 3]) {
        let mut predictions = self.prepared(bert_predictions_init);
        let mut ids = [self.output(-77i32), self.output(-77)];
        let mut numbers = [self.output(-77f32), self.output(-77.0), self.output(-77.0)];
        if self.seldom() {
            // What single-label models don't have is refused.
            ids[0].is_null = true;
            numbers[1].is_null = true;
        }
        let wants_values = self.seldom();
        predictions.edit(|p| {
            (p.label_ids, p.label_ids_capacity) = (ids[0].pointer(), ids[0].capacity);
            (p.top_label_ids, p.top_label_ids_capacity) = (ids[1].pointer(), ids[1].capacity);
            let scores = (numbers[0].pointer(), numbers[0].capacity);
            if wants_values {
                (p.values, p.values_capacity) = scores;
            } else {
                (p.logits, p.logits_capacity) = scores;
            }
            (p.probabilities, p.probabilities_capacity) =
                (numbers[1].pointer(), numbers[1].capacity);
            (p.top_probabilities, p.top_probabilities_capacity) =
                (numbers[2].pointer(), numbers[2].capacity);
        });
        (predictions, ids, numbers)
    }

    fn predict_batch(&self) {
        let count = self.count();
        let texts = self.texts(count, || self.text());
        let pairs = (self.byte() & 3 == 0).then(|| self.texts(count, || self.text()));
        let (pair_pointers, pair_lengths) = match &pairs {
            Some(pairs) => (pairs.pointers.as_ptr(), pairs.lengths()),
            None => (null(), null()),
        };
        let mut options = self.predict_options();
        let (mut predictions, ids, numbers) = self.predictions();
        // SAFETY: the arrays have as many elements as is said.
        let status = unsafe {
            bert_predict_batch(
                self.handle(&self.models),
                count,
                texts.pointers.as_ptr(),
                texts.lengths(),
                pair_pointers,
                pair_lengths,
                options.pointer(),
                predictions.pointer(),
            )
        };
        check(status);
        ids.iter().for_each(|output| output.check(status));
        numbers.iter().for_each(|output| output.check(status));
    }

    fn predict_ids(&self) {
        let lengths: Vec<usize> = (0..self.count())
            .map(|_| usize::from(self.byte() % 9))
            .collect();
        let tokens: usize = lengths.iter().sum();
        let numbers = |limit: u32| -> Vec<u32> {
            (0..tokens)
                .map(|_| {
                    if self.seldom() {
                        self.integer() as u32
                    } else {
                        u32::from(self.byte()) % limit
                    }
                })
                .collect()
        };
        let (input_ids, types) = (numbers(8), numbers(2));
        let types = if self.byte() & 1 == 0 {
            null()
        } else {
            types.as_ptr()
        };
        let mut options = self.predict_options();
        let (mut predictions, ids, floats) = self.predictions();
        // SAFETY: the arrays have as many elements as is said.
        let status = unsafe {
            bert_predict_ids(
                self.handle(&self.models),
                lengths.len(),
                input_ids.as_ptr(),
                types,
                lengths.as_ptr(),
                options.pointer(),
                predictions.pointer(),
            )
        };
        check(status);
        ids.iter().for_each(|output| output.check(status));
        floats.iter().for_each(|output| output.check(status));
    }

    fn embed(&self) {
        let mut options = self.prepared(bert_embed_options_init);
        let mut was_cut = self.output(77u8);
        options.edit(|o| {
            (o.was_cut, o.was_cut_capacity) = (was_cut.pointer(), was_cut.capacity);
            for field in [
                &mut o.max_length,
                &mut o.pooling,
                &mut o.normalise,
                &mut o.precision,
            ] {
                self.maybe(field, || self.integer());
            }
        });
        let count = self.count();
        let texts = self.texts(count, || self.text());
        let mut vectors = self.output(-77f32);
        // SAFETY: the arrays have as many elements as is said.
        let status = unsafe {
            bert_embed(
                self.handle(&self.models),
                count,
                texts.pointers.as_ptr(),
                texts.lengths(),
                null(),
                null(),
                options.pointer(),
                vectors.pointer(),
                vectors.capacity,
            )
        };
        check(status);
        vectors.check(status);
        was_cut.check(status);
    }

    fn global(&self) {
        // SAFETY: what is asked for ends with a NUL; the callback lives as long as the program.
        unsafe {
            match self.byte() % 4 {
                0 => {
                    let threads = self.one_of(&[1, 2, 0, -1, 1025, i32::MAX, 3, i32::MIN]);
                    check(bert_set_num_threads(threads));
                }
                1 => {
                    let place = self.place(-5);
                    place.result(bert_get_num_threads(place.pointer()));
                }
                2 => {
                    let callback: bert_log_callback = if self.byte() & 1 == 0 {
                        Some(on_log)
                    } else {
                        None
                    };
                    assert_eq!(bert_set_log_callback(callback, null_mut()), BERT_OK);
                }
                _ => {
                    let name = CStr::from_ptr(bert_status_string(self.integer()));
                    assert!(!name.is_empty());
                    assert!(!CStr::from_ptr(bert_version()).is_empty());
                    assert!(!CStr::from_ptr(bert_build_info()).is_empty());
                    bert_buffer_free(null_mut(), 0);
                }
            }
        }
    }

    /// Every _init function with any size, also for no struct.
    fn initialise(&self) {
        fn any<T: Copy>(
            machine: &Machine<'_>,
            init: unsafe extern "C" fn(*mut T, usize) -> bert_status,
        ) {
            machine.prepared(init);
            // SAFETY: NULL is allowed.
            assert!(!check(unsafe { init(null_mut(), size_of::<T>()) }));
        }
        match self.byte() % 14 {
            0 => any(self, bert_read_options_init),
            1 => any(self, bert_load_options_init),
            2 => any(self, bert_info_init),
            3 => any(self, bert_train_options_init),
            4 => any(self, bert_evaluation_init),
            5 => any(self, bert_predict_options_init),
            6 => any(self, bert_predictions_init),
            7 => any(self, bert_lora_options_init),
            8 => any(self, bert_resume_report_init),
            9 => any(self, bert_evaluate_options_init),
            10 => any(self, bert_dataset_description_init),
            11 => any(self, bert_fit_head_options_init),
            12 => any(self, bert_fit_head_report_init),
            _ => any(self, bert_embed_options_init),
        }
    }
}

/// A model that trains in no time.
fn small(options: &mut bert_model_options) {
    options.hidden_size = 4;
    options.num_hidden_layers = 1;
    options.num_attention_heads = 2;
    options.intermediate_size = 4;
    options.max_position_embeddings = 12;
    options.max_vocab_size = 300;
}

/// Goes on with the input's calls inside a training call; asks to stop now and then, and in the end.
unsafe extern "C" fn on_progress(progress: *const bert_progress, user_data: *mut c_void) -> i32 {
    // SAFETY: both are what was given, and live during the call.
    let (progress, machine) =
        unsafe { (&*progress, &*user_data.cast_const().cast::<Machine<'_>>()) };
    assert!(progress.struct_size >= size_of::<usize>() && progress.step > 0);
    machine.progress.set(machine.progress.get() + 1);
    if machine.depth.get() < MOST_DEPTH {
        machine.depth.set(machine.depth.get() + 1);
        machine.calls_until_the_end(u32::from(machine.byte() % 3));
        machine.depth.set(machine.depth.get() - 1);
    }
    i32::from(machine.progress.get() > 40 || machine.byte() == 255)
}

unsafe extern "C" fn on_log(level: i32, message: *const c_char, _: *mut c_void) {
    assert!((BERT_LOG_DEBUG..=BERT_LOG_WARNING).contains(&level));
    // SAFETY: it ends with a NUL and lives during the call.
    assert!(unsafe { CStr::from_ptr(message) }.to_str().is_ok());
    assert_eq!(bert_abi_version(), BERT_ABI_VERSION);
}

fn seeds() -> Vec<Vec<u8>> {
    // Bytes of 0 choose the usual of everything.
    let ready: &[u8] = &[25, 0, 0, 0, 0];
    let program = |calls: &[&[u8]]| [ready, &calls.concat()].concat();
    let zeros = [0u8; 24];
    let mut seeds: Vec<Vec<u8>> = (0..41u8)
        .map(|call| program(&[&[call], &zeros, &[20, 0, 22, 0, 21, 0]]))
        .collect();
    // Trains with and without reports, saves, loads, predicts, frees in the middle.
    seeds.push(program(&[
        &[13, 0, 0, 0, 0],
        &[13, 0, 0, 1, 0],
        &[13, 0, 0, 2, 0],
        &[9, 0, 0, 0],
        &[7],
        &zeros,
    ]));
    seeds.push(program(&[
        &[8, 0, 0],
        &[6, 0],
        &zeros,
        &[20, 0],
        &[16],
        &zeros,
        &[21, 0],
        &[13, 0, 1, 2],
    ]));
    seeds.push(program(&[
        &[12],
        &[0; 40],
        &[13, 0, 0, 2, 0, 1, 16],
        &zeros,
        &[2, 22, 0],
        &zeros,
    ]));
    // Adapters are made, saved, loaded onto the model, trained, merged; a run is saved and taken up.
    seeds.push(program(&[
        &[28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[30, 0, 1],
        &[31, 0, 0, 0, 2],
        &[29, 0, 2, 1],
        &[9, 0, 0, 1],
    ]));
    seeds.push(program(&[
        &[13, 0, 0, 0, 0],
        &[32, 2, 0],
        &[13, 0, 0, 1, 0],
        &[33, 2, 0, 0, 0],
        &[13, 0, 0, 2, 0],
    ]));
    // An error object is bound and asked before and after calls fail; trainers are closed, twice, and within callbacks.
    seeds.push(program(&[
        &[36, 0, 0, 37, 0, 38, 0],
        &[8, 7, 0, 38, 0],
        &[40, 0, 40, 0, 38, 0],
        &[13, 0, 0, 2, 0, 38, 0, 39, 0, 38, 0],
    ]));
    seeds
}
