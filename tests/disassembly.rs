//! What the compiler made of the kernels, read from the shared library: the innermost loops of the products' tiles keep their
//! numbers in registers. A sum that goes to the stack and back in each turn costs a quarter of the speed, computes the same, and
//! is seen by no other test. The library is only read, so any processor will do.
//!
//! `BERT_SHOW_TILES=1 cargo test --release --test disassembly` shows what each tile's loop consists of.

#[path = "disassembly/code.rs"]
mod code;
#[path = "common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::OnceLock;

use code::{Function, Loop, Step, has_memory, is_vector, text};
use common::{Outcome, cdylib};
use iced_x86::{Instruction, Mnemonic};
use libtest_mimic::Trial;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Functions that are checked.
struct Kernel {
    /// As the tests call it.
    name: &'static str,
    /// The function's path, or with `::` at its end the module in which its loops are inlined somewhere.
    function: &'static str,
    /// What a tile consists of.
    multiply_add: &'static [Mnemonic],
    /// Which instances there are.
    instances: Instances,
}

/// Which instances of a kernel there are. Names of instances are told from what their loops do, since the compiler's own names
/// for them hold no constants.
enum Instances {
    /// One or more that don't differ by anything that matters here.
    Alike,
    /// One for each number of rows up to this one.
    Rows(usize),
    /// One for each number of rows and each kind of left side.
    Lefts {
        rows: usize,
        /// Bytes between two places of the inner dimension in a panel that is as high as the tile.
        packed: i64,
        lefts: &'static [&'static str],
    },
}

const FLOAT32: &[Mnemonic] = &[
    Mnemonic::Vfmadd132ps,
    Mnemonic::Vfmadd213ps,
    Mnemonic::Vfmadd231ps,
];

const BY_ROWS: &str = "by rows";
const PACKED: &str = "of a packed panel";
const PANEL: &str = "of a panel";
/// Of a tile that asks for memory meanwhile.
const AHEAD: &str = ", ahead";
/// One of a row of the left side: a number, or two of two bytes.
const UNIT: i64 = 4;
/// Vectors of a tile's columns.
const VECTORS: usize = 2;

/// Every kernel whose innermost loops are checked.
const KERNELS: &[Kernel] = &[
    Kernel {
        name: "AVX2 float32",
        function: "bert::ops::gemm::tile::x86::avx2",
        multiply_add: FLOAT32,
        instances: Instances::Lefts {
            rows: 6,
            packed: 6 * UNIT,
            lefts: &["by rows", "by rows, ahead", PACKED, PANEL],
        },
    },
    Kernel {
        name: "AVX-512 float32",
        function: "bert::ops::gemm::tile::x86::avx512",
        multiply_add: FLOAT32,
        instances: Instances::Lefts {
            rows: 12,
            packed: 12 * UNIT,
            lefts: &["by rows", "by rows, ahead", PACKED, PANEL],
        },
    },
    Kernel {
        name: "AVX512-BF16 bfloat16",
        function: "bert::ops::gemm::tile::x86::avx512_bf16",
        multiply_add: &[Mnemonic::Vdpbf16ps],
        instances: Instances::Lefts {
            rows: 12,
            packed: 12 * UNIT,
            lefts: &["by rows", "by rows, ahead", PACKED],
        },
    },
    // AMX's loops that ask for memory meanwhile, all of int8's among them, are written as assembly with a loop inside:
    // nothing of theirs is the compiler's.
    Kernel {
        name: "AMX bfloat16",
        function: "bert::ops::",
        multiply_add: &[Mnemonic::Tdpbf16ps],
        instances: Instances::Alike,
    },
    Kernel {
        name: "AVX2 int8",
        function: "bert::ops::linear::int8_tile::x86::avx2",
        multiply_add: &[Mnemonic::Vpmaddwd],
        instances: Instances::Rows(6),
    },
    Kernel {
        name: "AVX512-VNNI int8",
        function: "bert::ops::linear::int8_tile::x86::vnni",
        multiply_add: &[Mnemonic::Vpdpbusd],
        instances: Instances::Rows(12),
    },
];

/// An instance of a kernel, and what was found in it.
struct Instance {
    name: String,
    address: u64,
    /// Places of the inner dimension that one turn takes.
    places: usize,
    multiply_adds: usize,
    /// Instructions of a turn that have to do with vectors or tiles, those included.
    vectors: usize,
    /// What goes to the stack or comes from there in innermost loops.
    on_stack: Vec<String>,
}

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let of_library = |name: &str, test: fn() -> Outcome| match unreadable() {
        None => Trial::test(name, test),
        // As expected there, so it is no failure with BERT_NO_SKIP either.
        Some(why) => Trial::test(name, test)
            .with_kind(why)
            .with_ignored_flag(true),
    };
    let trials = vec![
        Trial::test("samples_are_understood", samples),
        of_library("every_tile_is_there", every_tile_is_there),
        of_library("tiles_stay_in_registers", tiles_stay_in_registers),
    ];
    let shows = std::env::var_os("BERT_SHOW_TILES").is_some_and(|value| value == "1");
    if shows && unreadable().is_none() {
        match instances() {
            Ok(instances) => print!("{}", table(instances)),
            Err(error) => println!("{error}"),
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Why this build has nothing to look at.
fn unreadable() -> Option<&'static str> {
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        Some("needs x86-64's instructions in an ELF library")
    } else if cfg!(debug_assertions) {
        Some("needs a release build")
    } else {
        None
    }
}

/// The instances of all kernels.
fn instances() -> Result<&'static [Instance], String> {
    static INSTANCES: OnceLock<Result<Vec<Instance>, String>> = OnceLock::new();
    INSTANCES
        .get_or_init(|| {
            let path = cdylib()?;
            let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            find_instances(&bytes).map_err(|error| format!("{}: {error}", path.display()))
        })
        .as_deref()
        .map_err(Clone::clone)
}

fn find_instances(library: &[u8]) -> Result<Vec<Instance>, String> {
    let file = object::File::parse(library).map_err(|error| error.to_string())?;
    // Two functions whose code is the same may be one, with two names.
    let mut seen = BTreeMap::new();
    for symbol in file.symbols() {
        let (Ok(name), Some(section)) = (symbol.name(), symbol.section_index()) else {
            continue;
        };
        if symbol.kind() != SymbolKind::Text || symbol.size() == 0 {
            continue;
        }
        let path = format!("{:#}", rustc_demangle::demangle(name));
        let Some(kernels) = kernels_of(&path) else {
            continue;
        };
        let code = file
            .section_by_index(section)
            .and_then(|section| section.data_range(symbol.address(), symbol.size()))
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("{path} lies outside its section."))?;
        seen.insert(symbol.address(), (path, kernels, code));
    }
    if seen.is_empty() {
        return Err("no function has a kernel's name; were the symbols taken out of it?".into());
    }
    let mut instances: Vec<Instance> = Vec::new();
    for (address, (path, kernels, code)) in seen {
        let function = Function::new(code, address);
        for kernel in kernels {
            let instance = instance(kernel, &function)
                .map_err(|error| format!("{path} at {address:x}, {}: {error}", kernel.name))?;
            instances.extend(instance);
        }
    }
    let expected = expected();
    instances.sort_by_key(|instance| expected.iter().position(|name| *name == instance.name));
    Ok(instances)
}

/// The kernels that a function may be of, if any.
fn kernels_of(path: &str) -> Option<Vec<&'static Kernel>> {
    // Newer names have a function's constants behind it and a type before it.
    let plain = path
        .trim_start_matches('<')
        .split("::<")
        .next()
        .unwrap_or_default();
    let is_of = |kernel: &&Kernel| match kernel.function.ends_with("::") {
        true => plain.starts_with(kernel.function),
        false => plain == kernel.function,
    };
    let kernels: Vec<&Kernel> = KERNELS.iter().filter(is_of).collect();
    (!kernels.is_empty()).then_some(kernels)
}

/// What a function is as an instance of a kernel; `None` where it only belongs to the module.
fn instance(kernel: &Kernel, function: &Function) -> Result<Option<Instance>, String> {
    let loops = function.innermost_loops();
    let products = |of: &Loop| {
        of.0.iter()
            .filter(|&&number| kernel.multiplies(&function.instructions[number]))
            .count()
    };
    // Others take the places that are left over from it.
    let Some(main) = loops.iter().max_by_key(|of| products(of)) else {
        return kernel.without_products();
    };
    let multiply_adds = products(main);
    if multiply_adds == 0 {
        return kernel.without_products();
    }
    let mut on_stack = Vec::new();
    for of in &loops {
        // A loop without products may fill or read an array of the function's own.
        let accesses = function.stack_accesses(of, products(of) > 0);
        on_stack.extend(accesses.iter().map(|&at| text(&function.instructions[at])));
    }
    let (name, places) = name(kernel, function, main, multiply_adds)?;
    let in_main = main.0.iter().map(|&at| &function.instructions[at]);
    Ok(Some(Instance {
        name,
        address: function.instructions[0].ip(),
        places,
        multiply_adds,
        vectors: in_main
            .filter(|&instruction| is_vector(instruction))
            .count(),
        on_stack,
    }))
}

impl Kernel {
    fn multiplies(&self, instruction: &Instruction) -> bool {
        self.multiply_add.contains(&instruction.mnemonic())
    }

    fn without_products(&self) -> Result<Option<Instance>, String> {
        match self.function.ends_with("::") {
            true => Ok(None),
            false => Err("none of its loops has products.".into()),
        }
    }
}

/// An instance's name, and the places of the inner dimension that a turn of its loop takes.
fn name(
    kernel: &Kernel,
    function: &Function,
    main: &Loop,
    multiply_adds: usize,
) -> Result<(String, usize), String> {
    let reads = |number: &&usize| {
        let instruction = &function.instructions[**number];
        let is_store = instruction.op0_kind() == iced_x86::OpKind::Memory;
        is_vector(instruction)
            && has_memory(instruction)
            && !is_store
            && !function.is_on_stack(**number)
    };
    // Numbers of the left side go to all lanes, the right side comes in vectors: a place's vectors are multiplied with one
    // number of each row.
    let (left, right): (Vec<usize>, Vec<usize>) = main
        .0
        .iter()
        .filter(reads)
        .partition(|&&number| is_broadcast(&function.instructions[number]));
    let places = right.len() / VECTORS;
    let rows = || match (
        right.len() % VECTORS,
        multiply_adds.checked_rem(right.len()),
    ) {
        (0, Some(0)) => Ok(multiply_adds / right.len()),
        _ => Err(format!(
            "a turn has {multiply_adds} products with {} vectors of the right side: how many rows is that?",
            right.len()
        )),
    };
    match kernel.instances {
        Instances::Alike => Ok((kernel.name.to_string(), 1)),
        Instances::Rows(_) => Ok((named(kernel, rows()?, None), places)),
        Instances::Lefts { packed, .. } => {
            let turn = places as i64;
            let steps = left.iter().map(|&number| function.step(main, number));
            let steps: Vec<Step> = steps.collect();
            // Where a register is only known to hold another's multiple from the turn before, a step by a number looks like one
            // by a register; never the other way round.
            let kind = [
                (Step::Bytes(UNIT * turn), BY_ROWS),
                (Step::Bytes(packed * turn), PACKED),
                (Step::Stride, PANEL),
            ]
            .into_iter()
            .find(|(step, _)| steps.contains(step))
            .map(|(_, kind)| kind)
            .ok_or("its left side goes by in no known way.")?;
            let asks = main
                .0
                .iter()
                .any(|&number| function.instructions[number].mnemonic() == Mnemonic::Prefetcht0);
            let ahead = if asks { AHEAD } else { "" };
            let kind = format!("{kind}{ahead}");
            Ok((named(kernel, rows()?, Some(&kind)), places))
        }
    }
}

fn is_broadcast(instruction: &Instruction) -> bool {
    instruction.is_broadcast()
        || matches!(
            instruction.mnemonic(),
            Mnemonic::Vbroadcastss | Mnemonic::Vpbroadcastd | Mnemonic::Vpbroadcastq
        )
}

fn named(kernel: &Kernel, rows: usize, left: Option<&str>) -> String {
    let (name, s) = (kernel.name, if rows == 1 { "" } else { "s" });
    match left {
        Some(left) => format!("{name}, {rows} row{s}, {left}"),
        None => format!("{name}, {rows} row{s}"),
    }
}

/// The names of all instances that there have to be.
fn expected() -> Vec<String> {
    let mut names = Vec::new();
    for kernel in KERNELS {
        match kernel.instances {
            Instances::Alike => names.push(kernel.name.to_string()),
            Instances::Rows(rows) => {
                names.extend((1..=rows).map(|rows| named(kernel, rows, None)));
            }
            Instances::Lefts { rows, lefts, .. } => {
                for left in lefts {
                    names.extend((1..=rows).map(|rows| named(kernel, rows, Some(left))));
                }
            }
        }
    }
    names
}

fn table(instances: &[Instance]) -> String {
    let mut text = format!(
        "{:48} {:>7} {:>6} {:>13} {:>14} {:>8}\n",
        "tile", "address", "places", "multiply-adds", "vector instr.", "on stack"
    );
    for instance in instances {
        let ratio = instance.vectors as f64 / instance.multiply_adds as f64;
        let _ = writeln!(
            text,
            "{:48} {:>7x} {:>6} {:>13} {:>14} {:>8}",
            instance.name,
            instance.address,
            instance.places,
            instance.multiply_adds,
            format!("{} ({ratio:.2})", instance.vectors),
            instance.on_stack.len()
        );
    }
    text
}

/// Each kernel that the list has is a function of its own, or is inlined where the list says, and there are no others.
fn every_tile_is_there() -> Outcome {
    let instances = instances()?;
    let expected = expected();
    let mut wrong = String::new();
    for name in &expected {
        if !instances.iter().any(|instance| instance.name == *name) {
            let _ = writeln!(wrong, "not found: {name}");
        }
    }
    for instance in instances {
        if !expected.contains(&instance.name) {
            let _ = writeln!(wrong, "not in the list: {}", instance.name);
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{wrong}If the kernels were changed, so has KERNELS to be in tests/disassembly.rs."
        )
        .into()),
    }
}

/// No innermost loop moves a vector or a tile to the stack or from there, or computes with one that lies there.
fn tiles_stay_in_registers() -> Outcome {
    const SHOWN: usize = 4;
    let mut wrong = String::new();
    for instance in instances()?.iter().filter(|i| !i.on_stack.is_empty()) {
        let Instance {
            name,
            address,
            on_stack,
            ..
        } = instance;
        let count = on_stack.len();
        let _ = writeln!(
            wrong,
            "{name} (at {address:x}): {count} accesses to the stack in innermost loops"
        );
        for access in on_stack.iter().take(SHOWN) {
            let _ = writeln!(wrong, "    {access}");
        }
        if count > SHOWN {
            let _ = writeln!(wrong, "    ...");
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{wrong}Each costs as much as several products. Fewer places of the inner dimension a turn, or fewer addresses at \
             once, leave the registers to the sums."
        )
        .into()),
    }
}

/// A function, and of its innermost loops the accesses to the stack, with those that walk over an array and without.
struct Sample {
    code: &'static [&'static [u8]],
    walks: &'static [usize],
    stays: &'static [usize],
}

/// What is read above out of a library's functions, out of a few that were assembled by hand.
fn samples() -> Outcome {
    for (number, sample) in SAMPLES.iter().enumerate() {
        let function = Function::new(&sample.code.concat(), 0x1000);
        let loops = function.innermost_loops();
        let count = |walks| -> Vec<usize> {
            let accesses = loops
                .iter()
                .map(|of| function.stack_accesses(of, walks).len());
            accesses.collect()
        };
        if count(true) != sample.walks || count(false) != sample.stays {
            let found = (count(true), count(false));
            return Err(format!("sample {number}: {found:?} accesses to the stack").into());
        }
    }
    let function = Function::new(&STEPS.concat(), 0);
    let loops = function.innermost_loops();
    let steps: Vec<Step> = loops[0]
        .0
        .iter()
        .filter(|&&number| is_broadcast(&function.instructions[number]))
        .map(|&number| function.step(&loops[0], number))
        .collect();
    if steps != [Step::Bytes(24), Step::Stride, Step::Unknown] {
        return Err(format!("the addresses go by {steps:?}").into());
    }
    Ok(())
}

const SAMPLES: &[Sample] = &[
    // A product with what lies on the stack, and a move there.
    Sample {
        code: &[
            b"\x48\x81\xec\x88\x00\x00\x00",     // sub rsp, 136
            b"\x62\xf1\x7c\x48\x10\x06",         // 1: vmovups zmm0, [rsi]
            b"\x62\xf2\x7d\x48\xb8\x4c\x24\x01", // vfmadd231ps zmm1, zmm0, [rsp+64]
            b"\x62\xf1\x7c\x48\x11\x0c\x24",     // vmovups [rsp], zmm1
            b"\x48\x83\xc6\x40",                 // add rsi, 64
            b"\x48\xff\xcf",                     // dec rdi
            b"\x75\xe2",                         // jnz 1
            b"\x48\x81\xc4\x88\x00\x00\x00",     // add rsp, 136
            b"\xc3",                             // ret
        ],
        walks: &[2],
        stays: &[2],
    },
    // rbx points to the aligned stack; rbp did and doesn't any more.
    Sample {
        code: &[
            b"\x55",                         // push rbp
            b"\x48\x89\xe5",                 // mov rbp, rsp
            b"\x53",                         // push rbx
            b"\x48\x83\xe4\xc0",             // and rsp, -64
            b"\x48\x81\xec\x80\x00\x00\x00", // sub rsp, 128
            b"\x48\x8d\x5c\x24\x40",         // lea rbx, [rsp+64]
            b"\x48\x89\xd5",                 // mov rbp, rdx
            b"\xc5\xf4\x58\x4d\x00",         // 1: vaddps ymm1, ymm1, [rbp]
            b"\xc5\xfc\x58\x03",             // vaddps ymm0, ymm0, [rbx]
            b"\x48\xff\xcf",                 // dec rdi
            b"\x75\xf2",                     // jnz 1
            b"\xc3",                         // ret
        ],
        walks: &[1],
        stays: &[1],
    },
    // A loop that is entered in its middle, with a part behind the function's end.
    Sample {
        code: &[
            b"\x48\x81\xec\x88\x00\x00\x00", // sub rsp, 136
            b"\xeb\x05",                     // jmp 2
            b"\xf6\xc2\x01",                 // 1: test dl, 1
            b"\x75\x11",                     // jnz 3
            b"\xc5\xf4\x58\x0e",             // 2: vaddps ymm1, ymm1, [rsi]
            b"\x48\xff\xcf",                 // dec rdi
            b"\x75\xf2",                     // jnz 1
            b"\x48\x81\xc4\x88\x00\x00\x00", // add rsp, 136
            b"\xc3",                         // ret
            b"\xc4\xe2\x7a\x4b\x04\x0c",     // 3: tilestored [rsp+rcx], tmm0
            b"\xeb\xe7",                     // jmp 2
        ],
        walks: &[1],
        stays: &[1],
    },
    // An array on the stack is filled.
    Sample {
        code: &[
            b"\x48\x81\xec\x00\x10\x00\x00", // sub rsp, 4096
            b"\x31\xc0",                     // xor eax, eax
            b"\x62\xf1\x7c\x48\x10\x04\x06", // 1: vmovups zmm0, [rsi+rax]
            b"\x62\xf1\x7c\x48\x11\x04\x04", // vmovups [rsp+rax], zmm0
            b"\x48\x83\xc0\x40",             // add rax, 64
            b"\x48\x39\xf8",                 // cmp rax, rdi
            b"\x72\xe9",                     // jb 1
            b"\x48\x81\xc4\x00\x10\x00\x00", // add rsp, 4096
            b"\xc3",                         // ret
        ],
        walks: &[1],
        stays: &[0],
    },
    // Only the outer loop of two uses the stack.
    Sample {
        code: STEPS,
        walks: &[0],
        stays: &[0],
    },
];

/// Addresses that go by in a loop: by a number, by a register's, and from memory.
const STEPS: &[&[u8]] = &[
    b"\x48\x81\xec\x88\x00\x00\x00", // sub rsp, 136
    b"\xc5\xfc\x11\x04\x24",         // 1: vmovups [rsp], ymm0
    b"\x48\x89\xf9",                 // mov rcx, rdi
    b"\xc4\xe2\x7d\x18\x06",         // 2: vbroadcastss ymm0, [rsi]
    b"\xc4\xa2\x7d\x18\x0c\x82",     // vbroadcastss ymm1, [rdx+4*r8]
    b"\x4c\x8d\x4e\x04",             // lea r9, [rsi+4]
    b"\x4a\x8d\x14\x82",             // lea rdx, [rdx+4*r8]
    b"\x49\x8d\x71\x14",             // lea rsi, [r9+20]
    b"\x4c\x8b\x14\x24",             // mov r10, [rsp]
    b"\xc4\xc2\x7d\x18\x12",         // vbroadcastss ymm2, [r10]
    b"\x49\x83\xc2\x04",             // add r10, 4
    b"\x48\xff\xc9",                 // dec rcx
    b"\x75\xd7",                     // jnz 2
    b"\xc5\xfc\x10\x04\x24",         // vmovups ymm0, [rsp]
    b"\x48\xff\xcf",                 // dec rdi
    b"\x75\xc5",                     // jnz 1
    b"\x48\x81\xc4\x88\x00\x00\x00", // add rsp, 136
    b"\xc3",                         // ret
];
