//! The machine code of one function: its innermost loops, and what each of them does in a turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;

use iced_x86::{
    ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    Mnemonic, OpAccess, OpKind, Register,
};

/// A function's instructions in their order, and the blocks that are run through from beginning to end.
pub struct Function {
    pub instructions: Vec<Instruction>,
    blocks: Vec<Block>,
    /// For each instruction the general registers that it writes.
    written: Vec<Registers>,
    /// For each instruction the general registers that may hold an address in this function's part of the stack before it.
    on_stack: Vec<Registers>,
}

struct Block {
    instructions: Range<usize>,
    next: Vec<usize>,
}

/// Instructions of a loop, by their number in the function.
pub struct Loop(pub Vec<usize>);

/// How far an address moves from one turn of a loop to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Bytes(i64),
    /// As far as a register says.
    Stride,
    /// It depends on what is read from memory, or on more than sums.
    Unknown,
}

/// A set of the 16 general registers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Registers(u16);

impl Registers {
    /// Those that a function that is called may change.
    const CALLED: [Register; 9] = [
        Register::RAX,
        Register::RCX,
        Register::RDX,
        Register::RSI,
        Register::RDI,
        Register::R8,
        Register::R9,
        Register::R10,
        Register::R11,
    ];

    fn of(registers: &[Register]) -> Registers {
        let mut set = Registers::default();
        for &register in registers {
            set.put(register, true);
        }
        set
    }

    fn bit(register: Register) -> u16 {
        match register.is_gpr() {
            true => 1 << register.full_register().number(),
            false => 0,
        }
    }

    fn has(self, register: Register) -> bool {
        self.0 & Registers::bit(register) != 0
    }

    fn put(&mut self, register: Register, is_in: bool) {
        match is_in {
            true => self.0 |= Registers::bit(register),
            false => self.0 &= !Registers::bit(register),
        }
    }
}

impl Function {
    /// Decodes a function that lies at `address`.
    pub fn new(code: &[u8], address: u64) -> Function {
        let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
        let instructions: Vec<Instruction> = decoder.into_iter().collect();
        let mut factory = InstructionInfoFactory::new();
        let written: Vec<_> = instructions
            .iter()
            .map(|instruction| written(instruction, &mut factory))
            .collect();
        let blocks = blocks(&instructions);
        let on_stack = on_stack(&instructions, &blocks, &written);
        Function {
            instructions,
            blocks,
            written,
            on_stack,
        }
    }

    /// The loops in which there is no other.
    pub fn innermost_loops(&self) -> Vec<Loop> {
        let mut found = Vec::new();
        let all = (0..self.blocks.len()).collect();
        self.find_loops(&all, &BTreeSet::new(), &mut found);
        found
    }

    /// Finds the innermost loops among blocks that are entered at some of them; whether there is any. A loop is as many blocks
    /// as reach one another; without the ways back to where it is entered, what still is a loop is an inner one. So it doesn't
    /// matter where the compiler puts a loop's blocks and how many ways lead back to its beginning.
    fn find_loops(
        &self,
        among: &BTreeSet<usize>,
        entries: &BTreeSet<usize>,
        found: &mut Vec<Loop>,
    ) -> bool {
        let follows = |block: usize| {
            let next = self.blocks[block].next.iter().copied();
            next.filter(|next| among.contains(next) && !entries.contains(next))
        };
        let mut any = false;
        for group in strongly_connected(among, follows) {
            let first = group.first().copied().unwrap_or_default();
            if group.len() == 1 && follows(first).all(|next| next != first) {
                continue;
            }
            any = true;
            let mut entries: BTreeSet<usize> = (0..self.blocks.len())
                .filter(|block| !group.contains(block))
                .flat_map(|block| self.blocks[block].next.iter().copied())
                .filter(|next| group.contains(next))
                .collect();
            // The function's beginning, or what only a table of addresses leads to.
            if first == 0 || entries.is_empty() {
                entries.insert(first);
            }
            if !self.find_loops(&group, &entries, found) {
                let instructions = group
                    .iter()
                    .flat_map(|&block| self.blocks[block].instructions.clone());
                found.push(Loop(instructions.collect()));
            }
        }
        any
    }

    /// The instructions of a loop that move a vector or a tile to or from this function's part of the stack, or compute with
    /// what is there. Those whose address is the same in each turn keep what found no register; others walk over an array.
    pub fn stack_accesses(&self, of: &Loop, walks: bool) -> Vec<usize> {
        let written = Registers(
            of.0.iter()
                .fold(0, |all, &number| all | self.written[number].0),
        );
        let is_access = |number: usize| {
            let instruction = &self.instructions[number];
            let registers = [instruction.memory_base(), instruction.memory_index()];
            let held = self.on_stack[number];
            is_vector(instruction)
                && has_memory(instruction)
                && registers.iter().any(|&register| held.has(register))
                && (walks || !registers.iter().any(|&register| written.has(register)))
        };
        of.0.iter()
            .copied()
            .filter(|&number| is_access(number))
            .collect()
    }

    /// Whether an instruction's operand may lie in this function's part of the stack.
    pub fn is_on_stack(&self, number: usize) -> bool {
        let instruction = &self.instructions[number];
        [instruction.memory_base(), instruction.memory_index()]
            .iter()
            .any(|&register| self.on_stack[number].has(register))
    }

    /// How far the address of an instruction's operand moves in one turn of its loop.
    pub fn step(&self, of: &Loop, number: usize) -> Step {
        let mut values = Values::default();
        let mut address = None;
        for &at in &of.0 {
            let instruction = &self.instructions[at];
            if at == number {
                address = values.address(instruction);
            }
            values.follow(instruction, self.written[at]);
        }
        let Some(address) = address else {
            return Step::Unknown;
        };
        // The next turn begins with what this one leaves in the registers.
        let mut change = Sum::default();
        for (&register, &times) in &address.registers {
            let Some(after) = values.get(register) else {
                return Step::Unknown;
            };
            change.add(&after, times);
            change.add(&Sum::of(register), -times);
        }
        match change.registers.is_empty() {
            true => Step::Bytes(change.constant),
            false => Step::Stride,
        }
    }
}

/// Whether an instruction has a vector or a tile as an operand.
pub fn is_vector(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| {
        let register = instruction.op_register(operand);
        instruction.op_kind(operand) == OpKind::Register
            && (register.is_vector_register() || register.is_tmm())
    })
}

/// Whether an instruction has an operand in memory.
pub fn has_memory(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory)
}

/// An instruction as it is read by people; a number that belongs to it is left out.
pub fn text(instruction: &Instruction) -> String {
    let mut text = format!("{:x}: {:?}", instruction.ip(), instruction.mnemonic()).to_lowercase();
    for operand in 0..instruction.op_count() {
        text.push_str(if operand == 0 { " " } else { ", " });
        match instruction.op_kind(operand) {
            OpKind::Register => {
                let _ = write!(text, "{:?}", instruction.op_register(operand));
            }
            OpKind::Memory => {
                let _ = write!(text, "[{:?}", instruction.memory_base());
                if instruction.memory_index() != Register::None {
                    let (index, scale) =
                        (instruction.memory_index(), instruction.memory_index_scale());
                    let _ = write!(text, " + {scale}*{index:?}");
                }
                let _ = write!(text, " + {:#x}]", instruction.memory_displacement64());
            }
            _ => text.push_str("..."),
        }
    }
    text.to_lowercase()
}

/// The general registers that an instruction writes. The stack's pointer counts as never written: what pushes and calls change of
/// it they change back.
fn written(instruction: &Instruction, factory: &mut InstructionInfoFactory) -> Registers {
    let mut set = Registers::default();
    for used in factory.info(instruction).used_registers() {
        let reads = matches!(
            used.access(),
            OpAccess::Read | OpAccess::CondRead | OpAccess::None
        );
        if !reads {
            set.put(used.register(), true);
        }
    }
    if matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::IndirectCall
    ) {
        set.0 |= Registers::of(&Registers::CALLED).0;
    }
    set.put(Register::RSP, false);
    set
}

/// Cuts a function where it branches and where branches lead to. What a table of addresses leads to isn't known.
fn blocks(instructions: &[Instruction]) -> Vec<Block> {
    let place_of: BTreeMap<u64, usize> = instructions
        .iter()
        .enumerate()
        .map(|(number, instruction)| (instruction.ip(), number))
        .collect();
    let target =
        |instruction: &Instruction| place_of.get(&instruction.near_branch_target()).copied();
    let mut starts = BTreeSet::from([0]);
    for (number, instruction) in instructions.iter().enumerate() {
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => continue,
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                starts.extend(target(instruction));
            }
            _ => {}
        }
        starts.insert(number + 1);
    }
    starts.remove(&instructions.len());
    let starts: Vec<usize> = starts.into_iter().collect();
    let ends = starts.iter().copied().skip(1).chain([instructions.len()]);
    let block_of = |number: usize| starts.binary_search(&number).ok();
    let mut blocks = Vec::new();
    for (&start, end) in starts.iter().zip(ends) {
        let mut next = Vec::new();
        if let Some(last) = instructions[start..end].last() {
            let flow = last.flow_control();
            if matches!(
                flow,
                FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
            ) {
                next.extend(target(last).and_then(block_of));
            }
            if matches!(
                flow,
                FlowControl::Next
                    | FlowControl::ConditionalBranch
                    | FlowControl::Call
                    | FlowControl::IndirectCall
            ) {
                next.extend(block_of(end));
            }
        }
        blocks.push(Block {
            instructions: start..end,
            next,
        });
    }
    blocks
}

/// Follows addresses in the stack through the registers, from the stack's pointer on. An address that was itself kept in memory
/// is lost: what has no register is reached from the pointer itself or from a register that was set to it once.
fn on_stack(
    instructions: &[Instruction],
    blocks: &[Block],
    written: &[Registers],
) -> Vec<Registers> {
    let pointer = Registers::of(&[Register::RSP]);
    let mut before = vec![Registers::default(); instructions.len()];
    let mut at_start = vec![pointer; blocks.len()];
    let mut open: BTreeSet<usize> = (0..blocks.len()).collect();
    while let Some(number) = open.pop_first() {
        let mut held = at_start[number];
        for at in blocks[number].instructions.clone() {
            before[at] = held;
            held = after(&instructions[at], written[at], held);
        }
        for &next in &blocks[number].next {
            let joined = Registers(at_start[next].0 | held.0);
            if joined != at_start[next] {
                at_start[next] = joined;
                open.insert(next);
            }
        }
    }
    before
}

/// Which registers may hold an address in the stack after an instruction.
fn after(instruction: &Instruction, written: Registers, held: Registers) -> Registers {
    let mut after = Registers(held.0 & !written.0);
    let (to, from) = (instruction.op0_register(), instruction.op1_register());
    let is_conditional_move =
        instruction.condition_code() != ConditionCode::None && instruction.op_count() == 2;
    match instruction.mnemonic() {
        Mnemonic::Mov => after.put(to, held.has(from) || after.has(to)),
        Mnemonic::Lea => {
            let (base, index) = (instruction.memory_base(), instruction.memory_index());
            after.put(to, held.has(base) || held.has(index));
        }
        Mnemonic::Add | Mnemonic::Or => after.put(to, held.has(to) || held.has(from)),
        Mnemonic::Sub | Mnemonic::And | Mnemonic::Inc | Mnemonic::Dec => {
            after.put(to, held.has(to));
        }
        Mnemonic::Xchg => {
            after.put(to, held.has(from));
            after.put(from, held.has(to));
        }
        _ if is_conditional_move => after.put(to, held.has(to) || held.has(from)),
        _ => {}
    }
    after.put(Register::RSP, true);
    after
}

/// The largest groups of blocks that reach one another: blocks in the order in which searches leave them, from the last on, each
/// with all that reach it (Kosaraju).
fn strongly_connected<I: Iterator<Item = usize>>(
    among: &BTreeSet<usize>,
    follows: impl Fn(usize) -> I,
) -> Vec<BTreeSet<usize>> {
    let mut left = Vec::new();
    let mut seen = BTreeSet::new();
    let mut before: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &start in among {
        if !seen.insert(start) {
            continue;
        }
        let mut way = vec![(start, follows(start))];
        while let Some((block, next)) = way.last_mut() {
            let block = *block;
            match next.next() {
                Some(next) => {
                    before.entry(next).or_default().push(block);
                    if seen.insert(next) {
                        way.push((next, follows(next)));
                    }
                }
                None => {
                    left.push(block);
                    way.pop();
                }
            }
        }
    }
    let mut groups = Vec::new();
    let mut taken = BTreeSet::new();
    for &start in left.iter().rev() {
        let mut group = BTreeSet::new();
        let mut open = vec![start];
        while let Some(block) = open.pop() {
            if taken.insert(block) {
                group.insert(block);
                open.extend(before.get(&block).into_iter().flatten());
            }
        }
        if !group.is_empty() {
            groups.push(group);
        }
    }
    groups
}

/// A number and registers' values as they were at the beginning of a turn, each so many times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum {
    constant: i64,
    registers: BTreeMap<usize, i64>,
}

impl Sum {
    fn of(register: usize) -> Sum {
        Sum {
            constant: 0,
            registers: BTreeMap::from([(register, 1)]),
        }
    }

    fn add(&mut self, other: &Sum, times: i64) {
        self.constant = self
            .constant
            .wrapping_add(other.constant.wrapping_mul(times));
        for (&register, &count) in &other.registers {
            let sum = self.registers.entry(register).or_default();
            *sum = sum.wrapping_add(count.wrapping_mul(times));
        }
        self.registers.retain(|_, &mut times| times != 0);
    }
}

/// What the general registers hold within a turn; those that aren't named hold what they began it with, `None` is not known.
#[derive(Default)]
struct Values(BTreeMap<usize, Option<Sum>>);

impl Values {
    fn get(&self, register: usize) -> Option<Sum> {
        self.0
            .get(&register)
            .cloned()
            .unwrap_or_else(|| Some(Sum::of(register)))
    }

    fn of(&self, register: Register) -> Option<Sum> {
        match register {
            Register::None => Some(Sum::default()),
            _ if register.is_gpr64() => self.get(register.number()),
            _ => None,
        }
    }

    fn address(&self, instruction: &Instruction) -> Option<Sum> {
        let mut sum = self.of(instruction.memory_base())?;
        let index = self.of(instruction.memory_index())?;
        sum.add(&index, i64::from(instruction.memory_index_scale()));
        sum.constant = sum
            .constant
            .wrapping_add(instruction.memory_displacement64() as i64);
        Some(sum)
    }

    /// The second operand: a register or a number.
    fn operand(&self, instruction: &Instruction) -> Option<Sum> {
        match instruction.op1_kind() {
            OpKind::Register => self.of(instruction.op1_register()),
            OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate64 => Some(Sum {
                constant: instruction.immediate(1) as i64,
                ..Sum::default()
            }),
            _ => None,
        }
    }

    fn follow(&mut self, instruction: &Instruction, written: Registers) {
        let to = instruction.op0_register();
        let plus = |times: i64, other: Option<Sum>| {
            let mut sum = self.of(to)?;
            sum.add(&other?, times);
            Some(sum)
        };
        let one = Some(Sum {
            constant: 1,
            ..Sum::default()
        });
        let value = match instruction.mnemonic() {
            Mnemonic::Mov => self.operand(instruction),
            Mnemonic::Lea => self.address(instruction),
            Mnemonic::Add => plus(1, self.operand(instruction)),
            Mnemonic::Sub => plus(-1, self.operand(instruction)),
            Mnemonic::Inc => plus(1, one),
            Mnemonic::Dec => plus(-1, one),
            _ => None,
        };
        for number in 0..16 {
            if written.0 >> number & 1 == 1 {
                let is_result = to.is_gpr64() && to.number() == number;
                self.0.insert(number, value.clone().filter(|_| is_result));
            }
        }
    }
}
