//! One GPU: its memory, launches and products.
//!
//! Everything goes to one stream, so that what one thread's call has begun is done before what another's begins later, and
//! memory that is given back can be used again at once. Nothing waits for the GPU but who reads what it computed.

use std::collections::HashMap;
use std::ffi::{CString, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use once_cell::sync::OnceCell;

use super::calls::{self, Call};
use super::libraries::{Address, Handle, Libraries, NOT_READY, OUT_OF_MEMORY, libraries};
use super::staging::{Piece, Staging};
use crate::error::{Error, Result};
use crate::log;
use crate::random::DropoutMask;
use crate::threads;

/// Bytes that begin where the driver can read whole words.
#[cfg(feature = "cuda")]
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

/// What memory is handed out in, so that a piece fits the next pass that is about as large.
const GRAIN: usize = 512;

/// Threads of a block, where a kernel has no wish.
pub(super) const THREADS: usize = 256;

/// What a number of the GPU's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float32,
    BFloat16,
    Float16,
}

impl Kind {
    pub fn bytes(self) -> usize {
        match self {
            Kind::Float32 => 4,
            Kind::BFloat16 | Kind::Float16 => 2,
        }
    }

    /// The end of the names of the kernels for it.
    pub fn suffix(self) -> &'static str {
        match self {
            Kind::Float32 => "_f32",
            Kind::BFloat16 => "_bf16",
            Kind::Float16 => "_f16",
        }
    }

    /// `cudaDataType_t`.
    fn code(self) -> c_int {
        match self {
            Kind::Float32 => 0,
            Kind::BFloat16 => 14,
            Kind::Float16 => 2,
        }
    }
}

/// A place in the order of what the GPU does.
#[derive(Clone, Copy)]
pub(super) struct Event(Shared);

/// A handle that the driver lets any thread use.
#[derive(Clone, Copy)]
struct Shared(Handle);

// SAFETY: Contexts, streams, modules and functions may be used from any thread, as the driver's manual says.
unsafe impl Send for Shared {}
// SAFETY: As above, from several at once.
unsafe impl Sync for Shared {}

/// One GPU, for the life of the process.
pub struct Gpu {
    ordinal: usize,
    libraries: &'static Libraries,
    context: Shared,
    stream: Shared,
    /// cuBLAS's handle, which one thread at a time may use.
    blas: Mutex<Shared>,
    module: Shared,
    functions: Mutex<HashMap<(&'static str, &'static str), Shared>>,
    /// Memory that was given back, by its size.
    kept: Mutex<HashMap<usize, Vec<Address>>>,
    /// Page-locked memory, which copies go through.
    pub(super) staging: Staging,
    /// Once everything has been used a first time.
    is_ready: OnceCell<()>,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cuda:{}", self.ordinal)
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kernels, compiled by build.rs for the common architectures.
#[cfg(feature = "cuda")]
fn kernels(_ordinal: usize) -> Result<&'static [u8]> {
    static KERNELS: &Aligned<[u8]> =
        &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin")));
    Ok(&KERNELS.0)
}

#[cfg(not(feature = "cuda"))]
fn kernels(ordinal: usize) -> Result<&'static [u8]> {
    Err(Error::Device(format!(
        "The device cuda:{ordinal} was asked for, but this library was built without CUDA; build it with `cargo build \
         --release --features cuda`, or use the device cpu."
    )))
}

/// GPU number `ordinal`, opened at the first call. The sentence of the error says what is missing.
pub fn gpu(ordinal: usize) -> Result<&'static Gpu> {
    static OPENED: Mutex<Option<HashMap<usize, &'static Gpu>>> = Mutex::new(None);
    let kernels = kernels(ordinal)?;
    let libraries = libraries(ordinal)?;
    let mut opened = locked(&OPENED);
    let opened = opened.get_or_insert_default();
    if let Some(gpu) = opened.get(&ordinal)
        && gpu.is_ready.get().is_some()
    {
        return Ok(gpu);
    }
    // A forked child can't use the driver.
    threads::mark_started();
    let call = Call::begin()?;
    // The driver starts threads of its own here.
    let gpu = threads::without_signals(|| {
        let gpu = match opened.get(&ordinal) {
            Some(gpu) => *gpu,
            None => {
                let gpu = Gpu::open(ordinal, libraries, kernels)?;
                // Never freed: the driver may be gone before a destructor at exit would run.
                let gpu: &'static Gpu = Box::leak(Box::new(gpu));
                opened.insert(ordinal, gpu);
                gpu
            }
        };
        gpu.is_ready.get_or_try_init(|| gpu.use_first())?;
        Ok::<_, Error>(gpu)
    })?;
    drop(call);
    Ok(gpu)
}

impl Gpu {
    fn open(ordinal: usize, libraries: &'static Libraries, kernels: &[u8]) -> Result<Gpu> {
        let driver = &libraries.driver;
        // SAFETY: cuInit takes no pointer.
        let status = unsafe { (driver.init)(0) };
        calls::watch_exit();
        let mut count = 0;
        // SAFETY: It writes one number where it is told to.
        if status != 0 || unsafe { (driver.device_count)(&mut count) } != 0 || count < 1 {
            log::debug(|| format!("cuInit gave {status}"));
            return Err(Error::Device(format!(
                "The device cuda:{ordinal} was asked for; there is an NVIDIA driver, but it finds no GPU that it can use \
                 (`nvidia-smi` says more). The device cpu works everywhere."
            )));
        }
        let Some(number) = c_int::try_from(ordinal).ok().filter(|n| *n < count) else {
            return Err(Error::Device(format!(
                "The device cuda:{ordinal} was asked for, but there {}; the first is cuda:0.",
                match count {
                    1 => "is 1 GPU".to_string(),
                    _ => format!("are {count} GPUs"),
                }
            )));
        };
        let null = std::ptr::null_mut;
        let (mut device, mut context, mut stream, mut blas, mut module) =
            (0, null(), null(), null(), null());
        let refused = |what: &'static str| {
            move |status: c_int| {
                log::debug(|| format!("{what}: status {status}"));
                Error::Device(format!(
                    "The device cuda:{ordinal} can't be used: {what} failed with status {status}, as where another \
                     program holds its memory, or the GPU is older than this library's kernels (compute capability 8.0). \
                     The device cpu works everywhere."
                ))
            }
        };
        let check = |status: c_int| if status == 0 { Ok(()) } else { Err(status) };
        // SAFETY: Each writes one handle where it is told to; handles are used as they were given, in their context.
        unsafe {
            check((driver.device)(&mut device, number)).map_err(refused("choosing it"))?;
            check((driver.retain_primary_context)(&mut context, device))
                .map_err(refused("making its context"))?;
            check((driver.push_context)(context)).map_err(refused("entering its context"))?;
            calls::watch_exit();
            let made = (|| {
                // CU_STREAM_NON_BLOCKING: the host's own work on the default stream isn't waited for.
                check((driver.create_stream)(&mut stream, 1))
                    .map_err(refused("making a stream"))?;
                check((driver.load_module)(&mut module, kernels.as_ptr().cast()))
                    .map_err(refused("loading the kernels"))?;
                check((libraries.cublas.create)(&mut blas)).map_err(refused("starting cuBLAS"))?;
                check((libraries.cublas.set_stream)(blas, stream))
                    .map_err(refused("starting cuBLAS"))
            })();
            calls::watch_exit();
            (driver.pop_context)(&mut null());
            made?;
        }
        Ok(Gpu {
            ordinal,
            libraries,
            context: Shared(context),
            stream: Shared(stream),
            blas: Mutex::new(Shared(blas)),
            module: Shared(module),
            functions: Mutex::default(),
            kept: Mutex::default(),
            staging: Staging::default(),
            is_ready: OnceCell::new(),
        })
    }

    /// Uses what is made ready at its first use, launches and cuBLAS: driver and cuBLAS then register functions for the
    /// process's end and start threads, and a process that ended meanwhile would end in the midst of that.
    fn use_first(&'static self) -> Result<()> {
        const SIDE: usize = 64;
        let one = self.upload(&[1f32])?;
        let mut number = [0f32];
        for kind in [Kind::Float32, Kind::BFloat16, Kind::Float16] {
            let matrix = self.zeros(4 * SIDE * SIDE)?;
            let result = self.zeros(4 * SIDE * SIDE)?;
            let product = Product {
                rows: SIDE,
                columns: SIDE,
                inner: SIDE,
                a_is_transposed: false,
                b_is_transposed: true,
                alpha: 1.0,
                beta: 0.0,
                operands: kind,
                result: Kind::Float32,
            };
            self.product(product, matrix.at(), matrix.at(), result.at())?;
            calls::watch_exit();
            let mut arguments = [
                (&result).into(),
                (&one).into(),
                1usize.into(),
                1usize.into(),
            ];
            self.launch(("add_bias", "_f32"), (1, 1), THREADS, 0, &mut arguments)?;
            result.read(&mut number)?;
        }
        match number {
            [1.0] => Ok(()),
            [other] => Err(Error::Device(format!(
                "The device cuda:{} computes 0 · 0 + 1 as {other}; the driver and the GPU don't go together, or it is \
                 broken. The device cpu works everywhere.",
                self.ordinal
            ))),
        }
    }

    /// Its number, from 0.
    pub fn ordinal(&self) -> usize {
        self.ordinal
    }

    /// Calls the driver in this GPU's context, and leaves the thread's own as it was.
    fn within<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let _call = Call::begin()?;
        let driver = &self.libraries.driver;
        // SAFETY: The context was retained and stays so.
        let status = unsafe { (driver.push_context)(self.context.0) };
        if status != 0 {
            return Err(self.failed("entering its context", status));
        }
        let result = work();
        // SAFETY: Takes off what was pushed above.
        unsafe { (driver.pop_context)(&mut std::ptr::null_mut()) };
        Ok(result)
    }

    fn check(&self, what: &str, status: c_int) -> Result<()> {
        match status {
            0 => Ok(()),
            OUT_OF_MEMORY => Err(self.out_of_memory(None)),
            _ => Err(self.failed(what, status)),
        }
    }

    fn failed(&self, what: &str, status: c_int) -> Error {
        Error::Device(format!(
            "The device cuda:{} failed while {what} (CUDA status {status}); where the status stays the GPU has to be \
             reset, or the program started anew.",
            self.ordinal
        ))
    }

    fn out_of_memory(&self, asked: Option<usize>) -> Error {
        let (mut free, mut total) = (0, 0);
        let driver = &self.libraries.driver;
        // SAFETY: It writes two numbers where it is told to.
        let known = self.within(|| unsafe { (driver.memory_info)(&mut free, &mut total) });
        let sizes = if known.is_ok_and(|status| status == 0) {
            format!(": {free} of its {total} bytes are free")
        } else {
            String::new()
        };
        let asked = asked.map_or(String::new(), |bytes| format!(" for {bytes} more bytes"));
        Error::OutOfMemory(format!(
            "The device cuda:{} has no memory{asked}{sizes}. Use a smaller batch_size or max_length.",
            self.ordinal
        ))
    }

    /// Memory of `bytes` bytes, of arbitrary content.
    pub(super) fn memory(&'static self, bytes: usize) -> Result<Memory> {
        let size = rounded(bytes);
        let kept = |size| locked(&self.kept).get_mut(&size).and_then(Vec::pop);
        let address = match kept(size) {
            Some(address) => address,
            None => match self.allocate(size)? {
                Some(address) => address,
                None => {
                    // What is kept may be in other sizes.
                    self.release_kept()?;
                    match self.allocate(size)? {
                        Some(address) => address,
                        None => return Err(self.out_of_memory(Some(size))),
                    }
                }
            },
        };
        Ok(Memory {
            gpu: self,
            address,
            bytes,
        })
    }

    /// `None` where there isn't so much.
    fn allocate(&self, size: usize) -> Result<Option<Address>> {
        let mut address = 0;
        let driver = &self.libraries.driver;
        // SAFETY: It writes one address where it is told to.
        match self.within(|| unsafe { (driver.allocate)(&mut address, size) })? {
            OUT_OF_MEMORY => Ok(None),
            status => {
                self.check("asking for memory", status)?;
                Ok(Some(address))
            }
        }
    }

    /// Gives the driver back what nobody uses.
    fn release_kept(&self) -> Result<()> {
        let kept = std::mem::take(&mut *locked(&self.kept));
        self.synchronize()?;
        let driver = &self.libraries.driver;
        self.within(|| {
            for address in kept.into_values().flatten() {
                // SAFETY: It came from `allocate`, nobody has it any more, and what used it is done.
                unsafe { (driver.free)(address) };
            }
        })
    }

    fn synchronize(&self) -> Result<()> {
        let driver = &self.libraries.driver;
        // SAFETY: The stream is ours and stays.
        let status = self.within(|| unsafe { (driver.synchronize_stream)(self.stream.0) })?;
        self.check("computing", status)
    }

    /// Page-locked host memory of `bytes` bytes, never freed; `None` where there isn't so much.
    pub(super) fn allocate_on_host(&self, bytes: usize) -> Result<Option<*mut c_void>> {
        let mut pointer = std::ptr::null_mut();
        let driver = &self.libraries.driver;
        // SAFETY: It writes one pointer where it is told to.
        match self.within(|| unsafe { (driver.allocate_on_host)(&mut pointer, bytes) })? {
            OUT_OF_MEMORY => Ok(None),
            status => {
                self.check("asking for page-locked memory", status)?;
                Ok(Some(pointer))
            }
        }
    }

    /// An event, never freed.
    pub(super) fn event(&self) -> Result<Event> {
        let mut event = std::ptr::null_mut();
        let driver = &self.libraries.driver;
        // SAFETY: It writes one handle where it is told to. CU_EVENT_DISABLE_TIMING.
        let status = self.within(|| unsafe { (driver.create_event)(&mut event, 2) })?;
        self.check("making an event", status)?;
        Ok(Event(Shared(event)))
    }

    /// The event is what has been begun so far.
    pub(super) fn record(&self, event: Event) -> Result<()> {
        let driver = &self.libraries.driver;
        // SAFETY: Event and stream are ours and stay.
        let status = self.within(|| unsafe { (driver.record_event)(event.0.0, self.stream.0) })?;
        self.check("recording an event", status)
    }

    /// Whether all that the event is of is done.
    pub(super) fn is_done(&self, event: Event) -> Result<bool> {
        let driver = &self.libraries.driver;
        // SAFETY: The event is ours and stays.
        match self.within(|| unsafe { (driver.query_event)(event.0.0) })? {
            NOT_READY => Ok(false),
            status => self.check("computing", status).map(|()| true),
        }
    }

    /// Waits for all that the event is of.
    pub(super) fn wait(&self, event: Event) -> Result<()> {
        let driver = &self.libraries.driver;
        // SAFETY: The event is ours and stays.
        let status = self.within(|| unsafe { (driver.synchronize_event)(event.0.0) })?;
        self.check("computing", status)
    }

    /// Memory with a copy of these numbers.
    pub(super) fn upload<T: Number>(&'static self, numbers: &[T]) -> Result<Memory> {
        let mut memory = self.memory(size_of_val(numbers))?;
        memory.write(numbers)?;
        Ok(memory)
    }

    /// Memory of zero bytes.
    pub(super) fn zeros(&'static self, bytes: usize) -> Result<Memory> {
        let mut memory = self.memory(bytes)?;
        memory.clear()?;
        Ok(memory)
    }

    /// Begins a kernel over `grid` blocks of `threads` threads.
    pub(super) fn launch(
        &self,
        (name, suffix): (&'static str, &'static str),
        (columns, rows): (usize, usize),
        threads: usize,
        shared_bytes: usize,
        arguments: &mut [Argument],
    ) -> Result<()> {
        if columns == 0 || rows == 0 {
            return Ok(());
        }
        let (Ok(columns), Ok(rows)) = (c_uint::try_from(columns), c_uint::try_from(rows)) else {
            return Err(Error::InvalidArgument(
                "The batch is too large for the GPU; use a smaller batch_size or max_length."
                    .into(),
            ));
        };
        let (function, is_first_use) = self.function(name, suffix)?;
        let mut pointers = [std::ptr::null_mut::<c_void>(); MAX_ARGUMENTS];
        for (pointer, argument) in pointers.iter_mut().zip(arguments.iter_mut()) {
            *pointer = (&raw mut argument.0).cast();
        }
        let driver = &self.libraries.driver;
        // SAFETY: The function is one of ours; whoever calls this gives the arguments that it has, in their order and
        // sizes, of memory large enough; the tests' driver runs every kernel with them.
        let status = self.within(|| unsafe {
            (driver.launch)(
                function.0,
                columns,
                rows,
                1,
                threads as c_uint,
                1,
                1,
                shared_bytes as c_uint,
                self.stream.0,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        })?;
        if is_first_use {
            calls::watch_exit();
        }
        self.check(name, status)
    }

    /// The kernel of that name, and whether nobody has asked for it before.
    fn function(&self, name: &'static str, suffix: &'static str) -> Result<(Shared, bool)> {
        let mut functions = locked(&self.functions);
        if let Some(function) = functions.get(&(name, suffix)) {
            return Ok((*function, false));
        }
        let text = CString::new(format!("{name}{suffix}")).unwrap_or_default();
        let mut function = std::ptr::null_mut();
        let driver = &self.libraries.driver;
        // SAFETY: It reads a text that ends with NUL and writes one handle.
        let status = self
            .within(|| unsafe { (driver.function)(&mut function, self.module.0, text.as_ptr()) })?;
        self.check(name, status)?;
        functions.insert((name, suffix), Shared(function));
        Ok((Shared(function), true))
    }

    /// result = alpha · op(a) op(b) + beta · result, all row by row: op(a) is [rows, inner], op(b) [inner, columns].
    pub(super) fn product(
        &self,
        product: Product,
        a: Address,
        b: Address,
        result: Address,
    ) -> Result<()> {
        let Product {
            rows,
            columns,
            inner,
            a_is_transposed,
            b_is_transposed,
            alpha,
            beta,
            operands,
            result: result_kind,
        } = product;
        if rows == 0 || columns == 0 {
            return Ok(());
        }
        let size = |n: usize| {
            c_int::try_from(n).map_err(|_| {
                Error::InvalidArgument(
                    "The batch is too large for the GPU; use a smaller batch_size or max_length."
                        .into(),
                )
            })
        };
        let (rows, columns, inner) = (size(rows)?, size(columns)?, size(inner)?);
        let operation = |is_transposed: bool| c_int::from(is_transposed);
        let blas = locked(&self.blas);
        // cuBLAS has matrices column by column: to it ours are transposed, and so is their product, b's before a's.
        // SAFETY: Whoever calls this gives matrices of these sizes; the tests' cuBLAS checks their strides. The factors
        // are read during the call.
        let status = self.within(|| unsafe {
            (self.libraries.cublas.gemm)(
                blas.0,
                operation(b_is_transposed),
                operation(a_is_transposed),
                columns,
                rows,
                inner,
                (&raw const alpha).cast(),
                b,
                operands.code(),
                if b_is_transposed { inner } else { columns },
                a,
                operands.code(),
                if a_is_transposed { rows } else { inner },
                (&raw const beta).cast(),
                result,
                result_kind.code(),
                columns,
                // CUBLAS_COMPUTE_32F: sums in float32, and of float32 operands without TF32. The algorithm is cuBLAS's
                // choice.
                68,
                -1,
            )
        })?;
        // CUBLAS_STATUS_ALLOC_FAILED.
        if status == 3 {
            return Err(self.out_of_memory(None));
        }
        self.check("multiplying matrices", status)
    }
}

/// What a piece of memory for so many bytes has: an eighth more at most, so that a few sizes serve all batches.
fn rounded(bytes: usize) -> usize {
    let grain = (bytes.max(1).next_power_of_two() / 16).max(GRAIN);
    bytes.max(1).next_multiple_of(grain)
}

/// One product of matrices.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub rows: usize,
    pub columns: usize,
    pub inner: usize,
    pub a_is_transposed: bool,
    pub b_is_transposed: bool,
    pub alpha: f32,
    pub beta: f32,
    /// What both operands are.
    pub operands: Kind,
    /// What the result is.
    pub result: Kind,
}

/// Numbers that are copied as they are.
///
/// # Safety
/// Every pattern of bits is a value, and none of the bytes is padding.
pub(super) unsafe trait Number: Copy {}
// SAFETY: numbers; so the others.
unsafe impl Number for f32 {}
// SAFETY: as above.
unsafe impl Number for f64 {}
// SAFETY: as above.
unsafe impl Number for i32 {}

/// A piece of a GPU's memory; dropped, it goes to the next who asks.
pub(super) struct Memory {
    gpu: &'static Gpu,
    address: Address,
    bytes: usize,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes on {:?}", self.bytes, self.gpu)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        locked(&self.gpu.kept)
            .entry(rounded(self.bytes))
            .or_default()
            .push(self.address);
    }
}

impl Memory {
    /// Where it begins.
    pub fn at(&self) -> Address {
        self.address
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets all bytes to zero.
    pub fn clear(&mut self) -> Result<()> {
        // Of none it has some too.
        self.clear_first(self.bytes.max(1))
    }

    /// Sets the first bytes to zero.
    pub fn clear_first(&mut self, bytes: usize) -> Result<()> {
        assert!(bytes <= self.bytes.max(1));
        let gpu = self.gpu;
        let driver = &gpu.libraries.driver;
        // SAFETY: The memory has so many bytes.
        let status =
            gpu.within(|| unsafe { (driver.fill_bytes)(self.address, 0, bytes, gpu.stream.0) })?;
        gpu.check("clearing memory", status)
    }

    /// Copies numbers to its beginning; few of them without a wait for the GPU.
    pub fn write<T: Number>(&mut self, numbers: &[T]) -> Result<()> {
        let bytes = size_of_val(numbers);
        assert!(bytes <= self.bytes);
        if bytes == 0 {
            return Ok(());
        }
        let gpu = self.gpu;
        // As long as page-locked memory is written to.
        let _call = Call::begin()?;
        let copy = |from: *const c_void| {
            let driver = &gpu.libraries.driver;
            // SAFETY: Both have so many bytes; what isn't page-locked is read before the call returns, what is stays as
            // it is until the copy is done.
            let status = gpu.within(|| unsafe {
                (driver.copy_to_device)(self.address, from, bytes, gpu.stream.0)
            })?;
            gpu.check("copying to it", status)
        };
        match gpu.staging.piece(gpu, bytes)? {
            Some(mut piece) => copy(piece.fill(numbers).cast()),
            None => copy(numbers.as_ptr().cast()),
        }
    }

    /// Begins to copy its first `N` numbers there, as they are once all that was begun is done.
    pub fn read_later<T: Number, const N: usize>(&self, later: &Later<T, N>) -> Result<()> {
        let bytes = N * size_of::<T>();
        assert!(bytes <= self.bytes);
        let (gpu, piece) = (self.gpu, &later.piece);
        let driver = &gpu.libraries.driver;
        // SAFETY: Both have so many bytes, and the piece is nobody else's until the copy is done.
        let status = gpu.within(|| unsafe {
            (driver.copy_to_host)(piece.start(), self.address, bytes, gpu.stream.0)
        })?;
        gpu.check("copying from it", status)?;
        piece.record()
    }

    /// Copies numbers from its beginning, once all that was begun is done.
    pub fn read<T: Number>(&self, numbers: &mut [T]) -> Result<()> {
        let bytes = size_of_val(numbers);
        assert!(bytes <= self.bytes);
        if bytes == 0 {
            return Ok(());
        }
        let gpu = self.gpu;
        // The copy is never left under way.
        let _call = Call::begin()?;
        let driver = &gpu.libraries.driver;
        // SAFETY: Both have so many bytes, and the copy is waited for before anybody reads or frees them.
        let status = gpu.within(|| unsafe {
            (driver.copy_to_host)(
                numbers.as_mut_ptr().cast(),
                self.address,
                bytes,
                gpu.stream.0,
            )
        })?;
        let waited = gpu.synchronize();
        gpu.check("copying from it", status)?;
        waited
    }

    /// Another piece of the same content.
    pub fn copy(&self) -> Result<Memory> {
        let copy = self.gpu.memory(self.bytes)?;
        let gpu = self.gpu;
        let driver = &gpu.libraries.driver;
        // SAFETY: Both have so many bytes.
        let status = gpu.within(|| unsafe {
            (driver.copy_on_device)(copy.address, self.address, self.bytes.max(1), gpu.stream.0)
        })?;
        gpu.check("copying on it", status)?;
        Ok(copy)
    }
}

/// Room for numbers on their way to the host.
pub(super) struct Later<T, const N: usize> {
    piece: Piece,
    numbers: PhantomData<[T; N]>,
}

impl<T: Number, const N: usize> Later<T, N> {
    /// Room for [`Memory::read_later`].
    pub fn new(gpu: &'static Gpu) -> Result<Later<T, N>> {
        let bytes = N * size_of::<T>();
        match gpu.staging.piece(gpu, bytes)? {
            Some(piece) => Ok(Later {
                piece,
                numbers: PhantomData,
            }),
            None => Err(gpu.out_of_memory(Some(bytes))),
        }
    }

    /// The numbers, once they are there.
    pub fn wait(self) -> Result<[T; N]> {
        self.piece.wait()
    }
}

/// Arguments of a kernel, at most.
const MAX_ARGUMENTS: usize = 20;

/// Bytes of one argument, at most.
const ARGUMENT_BYTES: usize = 256;

/// One argument's bytes, at the alignment of the widest.
#[repr(C, align(8))]
pub(super) struct Argument([u8; ARGUMENT_BYTES]);

impl Argument {
    pub fn of<T: Copy>(value: T) -> Argument {
        const { assert!(size_of::<T>() <= ARGUMENT_BYTES && align_of::<T>() <= 8) };
        let mut bytes = [0; ARGUMENT_BYTES];
        // SAFETY: The value is no larger than the bytes, and they are aligned for it; its padding isn't read as bytes.
        unsafe { bytes.as_mut_ptr().cast::<T>().write_unaligned(value) };
        Argument(bytes)
    }
}

impl From<&Memory> for Argument {
    fn from(memory: &Memory) -> Argument {
        Argument::of(memory.address)
    }
}

impl From<Option<&Memory>> for Argument {
    fn from(memory: Option<&Memory>) -> Argument {
        Argument::of(memory.map_or(0, |memory| memory.address))
    }
}

impl From<Address> for Argument {
    fn from(address: Address) -> Argument {
        Argument::of(address)
    }
}

/// Sizes that the kernels take as `int`: all are limited before.
impl From<usize> for Argument {
    fn from(size: usize) -> Argument {
        Argument::of(size as c_int)
    }
}

/// Counts that the kernels take as `long long`.
impl From<i64> for Argument {
    fn from(count: i64) -> Argument {
        Argument::of(count)
    }
}

impl From<f32> for Argument {
    fn from(number: f32) -> Argument {
        Argument::of(number)
    }
}

impl From<f64> for Argument {
    fn from(number: f64) -> Argument {
        Argument::of(number)
    }
}

impl From<bool> for Argument {
    fn from(value: bool) -> Argument {
        Argument::of(c_int::from(value))
    }
}

/// `Mask` in `kernels/common.cuh`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Mask {
    key: [u32; 2],
    step: u32,
    site: u32,
    threshold: u32,
    scale: f32,
}

impl From<Option<DropoutMask>> for Argument {
    fn from(mask: Option<DropoutMask>) -> Argument {
        Argument::of(match mask {
            Some(mask) => {
                let parts = mask.parts();
                Mask {
                    key: parts.key,
                    step: parts.step,
                    site: parts.site,
                    threshold: parts.threshold,
                    scale: parts.scale,
                }
            }
            None => Mask {
                key: [0; 2],
                step: 0,
                site: 0,
                threshold: 0,
                scale: 1.0,
            },
        })
    }
}
