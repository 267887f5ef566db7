//! The CUDA libraries, opened when a GPU is first asked for: the driver (`libcuda.so.1`) and cuBLAS. So a library that was
//! built for GPUs is loaded, and works on the CPU, on a machine that has neither.

use std::env;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use once_cell::sync::OnceCell;

use crate::error::{Error, Result};
use crate::log;

/// Directories to look in before all others, one or more with colons between.
const PATH_VARIABLE: &str = "BERT_CUDA_PATH";

/// The major version of CUDA whose compiler made the kernels; a driver for an older one can't load them.
const BUILT_WITH: Option<&str> = option_env!("BERT_CUDA_VERSION");

/// A pointer of the driver's that we never look behind: a context, a stream, a module, a function.
pub(super) type Handle = *mut c_void;

/// An address in a GPU's memory.
pub(super) type Address = u64;

/// CUDA_ERROR_OUT_OF_MEMORY.
pub(super) const OUT_OF_MEMORY: c_int = 2;

/// CUDA_ERROR_NOT_READY.
pub(super) const NOT_READY: c_int = 600;

/// Functions of a library, by their names in it.
macro_rules! functions {
    ($(#[$about:meta])* $table:ident { $($field:ident = $name:literal ($($argument:ty),*);)* }) => {
        $(#[$about])*
        pub(super) struct $table {
            $(pub $field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl $table {
            fn of(library: &Opened, ordinal: usize) -> Result<$table> {
                Ok($table {
                    $($field: {
                        let function = library.symbol($name, ordinal)?;
                        // SAFETY: NVIDIA's headers declare a function of this name so, in every version that has it;
                        // the tests' driver is compiled over them.
                        unsafe {
                            std::mem::transmute::<Handle, unsafe extern "C" fn($($argument),*) -> c_int>(function)
                        }
                    },)*
                })
            }
        }
    };
}

functions! {
    /// The driver's. Each gives a `CUresult`, 0 for success.
    Driver {
        init = c"cuInit" (c_uint);
        driver_version = c"cuDriverGetVersion" (*mut c_int);
        device_count = c"cuDeviceGetCount" (*mut c_int);
        device = c"cuDeviceGet" (*mut c_int, c_int);
        retain_primary_context = c"cuDevicePrimaryCtxRetain" (*mut Handle, c_int);
        push_context = c"cuCtxPushCurrent_v2" (Handle);
        pop_context = c"cuCtxPopCurrent_v2" (*mut Handle);
        create_stream = c"cuStreamCreate" (*mut Handle, c_uint);
        synchronize_stream = c"cuStreamSynchronize" (Handle);
        memory_info = c"cuMemGetInfo_v2" (*mut usize, *mut usize);
        allocate = c"cuMemAlloc_v2" (*mut Address, usize);
        free = c"cuMemFree_v2" (Address);
        allocate_on_host = c"cuMemAllocHost_v2" (*mut *mut c_void, usize);
        create_event = c"cuEventCreate" (*mut Handle, c_uint);
        record_event = c"cuEventRecord" (Handle, Handle);
        query_event = c"cuEventQuery" (Handle);
        synchronize_event = c"cuEventSynchronize" (Handle);
        fill_bytes = c"cuMemsetD8Async" (Address, u8, usize, Handle);
        copy_to_device = c"cuMemcpyHtoDAsync_v2" (Address, *const c_void, usize, Handle);
        copy_to_host = c"cuMemcpyDtoHAsync_v2" (*mut c_void, Address, usize, Handle);
        copy_on_device = c"cuMemcpyDtoDAsync_v2" (Address, Address, usize, Handle);
        load_module = c"cuModuleLoadData" (*mut Handle, *const c_void);
        function = c"cuModuleGetFunction" (*mut Handle, Handle, *const c_char);
        launch = c"cuLaunchKernel" (
            Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
        );
    }
}

functions! {
    /// cuBLAS's. Each gives a `cublasStatus_t`, 0 for success.
    Cublas {
        create = c"cublasCreate_v2" (*mut Handle);
        set_stream = c"cublasSetStream_v2" (Handle, Handle);
        gemm = c"cublasGemmEx" (
            Handle, c_int, c_int, c_int, c_int, c_int, *const c_void, Address, c_int, c_int, Address, c_int, c_int,
            *const c_void, Address, c_int, c_int, c_int, c_int
        );
    }
}

/// Both, bound.
pub(super) struct Libraries {
    pub driver: Driver,
    pub cublas: Cublas,
}

/// An open library; never closed: what it started may run for as long as the process lives.
struct Opened {
    handle: Handle,
    name: String,
}

impl Opened {
    /// Opens a file, or a name that the loader looks for.
    fn new(path: &OsStr) -> Option<Opened> {
        let name = CString::new(path.as_bytes()).ok()?;
        // SAFETY: The text ends with NUL. What NVIDIA's libraries do when they are loaded is theirs.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: dlerror gives NULL or a text that lives until this thread's next call of these functions.
            let reason = unsafe {
                let text = libc::dlerror();
                (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
            };
            log::debug(|| reason.unwrap_or_default());
            return None;
        }
        Some(Opened {
            handle,
            name: path.to_string_lossy().into_owned(),
        })
    }

    /// A function of it.
    fn symbol(&self, name: &CStr, ordinal: usize) -> Result<Handle> {
        // SAFETY: The handle is open, the text ends with NUL.
        let symbol = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        if symbol.is_null() {
            return Err(Error::Device(format!(
                "The device cuda:{ordinal} was asked for, but '{}' has no function {}; it is too old for this library. The device \
                 cpu works everywhere.",
                self.name,
                name.to_string_lossy()
            )));
        }
        Ok(symbol)
    }
}

/// Binds them at the first call; says what is missing where that fails. A later call tries again: the variable may have
/// been set meanwhile.
/// GPU number `ordinal` is what was asked for.
pub(super) fn libraries(ordinal: usize) -> Result<&'static Libraries> {
    static BOUND: OnceCell<Libraries> = OnceCell::new();
    BOUND.get_or_try_init(|| bind(ordinal))
}

fn bind(ordinal: usize) -> Result<Libraries> {
    let driver = open("libcuda.so.1").ok_or_else(|| {
        Error::Device(format!(
            "The device cuda:{ordinal} was asked for, but there is no NVIDIA driver: libcuda.so.1 can't be loaded. \
             Install the driver, or use the device cpu."
        ))
    })?;
    let driver = Driver::of(&driver, ordinal)?;
    let mut version = 0;
    // SAFETY: It writes one number where it is told to.
    unsafe { (driver.driver_version)(&mut version) };
    let (driver_major, built_major) = (version / 1000, built_major());
    if driver_major < built_major {
        return Err(Error::Device(format!(
            "The device cuda:{ordinal} was asked for; this library's GPU kernels were made with CUDA {built_major}, and the NVIDIA driver is for CUDA \
             {driver_major}; install a newer driver, or build the library with CUDA {driver_major}. The device cpu works \
             everywhere."
        )));
    }
    // Any cuBLAS that this driver runs has the three functions in the same form.
    let files: Vec<String> = (12..=driver_major.max(built_major))
        .rev()
        .map(|major| format!("libcublas.so.{major}"))
        .collect();
    let cublas = files.iter().find_map(|file| open(file)).ok_or_else(|| {
        Error::Device(format!(
            "The device cuda:{ordinal} was asked for, but cuBLAS can't be loaded ({}). Install it, or set {PATH_VARIABLE} to the \
             directory that holds it, or use the device cpu.",
            files.join(" or ")
        ))
    })?;
    Ok(Libraries {
        driver,
        cublas: Cublas::of(&cublas, ordinal)?,
    })
}

fn built_major() -> c_int {
    BUILT_WITH
        .and_then(|version| version.split('.').next()?.parse().ok())
        .unwrap_or(0)
}

/// Looks in the variable's directories, where the loader looks, and where toolkits are.
fn open(file: &str) -> Option<Opened> {
    let listed = env::var_os(PATH_VARIABLE);
    let listed = listed.iter().flat_map(env::split_paths);
    if let Some(opened) = listed
        .filter(|directory| !directory.as_os_str().is_empty())
        .find_map(|directory| Opened::new(directory.join(file).as_os_str()))
    {
        return Some(opened);
    }
    if let Some(opened) = Opened::new(file.as_ref()) {
        return Some(opened);
    }
    let toolkits = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(env::var_os)
        .map(PathBuf::from)
        .chain([PathBuf::from("/usr/local/cuda")]);
    toolkits
        .flat_map(|toolkit| ["lib64", "lib"].map(|library| toolkit.join(library)))
        .find_map(|directory| Opened::new(directory.join(file).as_os_str()))
}
