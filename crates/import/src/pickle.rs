//! Python pickles (protocols 0 to 5), read as data. A pickle is a program for a stack machine that may call anything.
//! This machine runs the program but only RECORDS each call, so that an untrusted file can do nothing.
//!
//! Constants bound memory and time for every file. Each opcode adds at most three cells to an arena, and the arena
//! becomes a tree within a budget, which stops files that grow by sharing ("billion laughs").

use std::collections::HashMap;
use std::str::FromStr;

use coverslip_bundle::{BundleError, BundleErrorKind, fail};

/// Most opcodes in a pickle. A tensor takes about 40, so 50,000 tensors fit; the arena takes at most about 300 MB.
const MAX_STEPS: usize = 1 << 21;
/// Largest finished tree, bytes: about 200,000 tensors.
const MAX_TREE: usize = 128 << 20;
/// Deepest nesting. A module in a module takes three levels.
const MAX_DEPTH: usize = 200;
/// Advice for a pickle that holds more than weights.
const ALONE: &str = "save the weights alone (torch.save(model.state_dict(), …))";
/// The class of a call whose function is itself the result of a call.
pub(crate) const NAMELESS: &str = "<call>";

/// A pickled value. Sets become lists; dicts keep their order and all their keys.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Bytes, a string that is not UTF-8, or an integer beyond 64 bits (little-endian).
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// The name of a class or function, `module.name`.
    Global(String),
    /// A recorded call.
    Object(Box<Object>),
    /// A reference to data outside the pickle, such as torch's storages.
    Persistent(Box<Value>),
}

/// A recorded call: what Python would have called to make an object, and what it would have put into the object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    /// The class or function, `module.name`; [`NAMELESS`] if it is itself the result of a call.
    pub(crate) class: String,
    /// The arguments, usually a tuple; with keyword arguments (NEWOBJ_EX) the tuple `(arguments, keywords)`.
    pub(crate) args: Value,
    /// Items set by key afterwards; appended ones have the key `None`.
    pub(crate) items: Vec<(Value, Value)>,
    /// The argument of `__setstate__`, usually a dict of attributes, or `None`.
    pub(crate) state: Value,
}

/// Reads the pickle at the start of `bytes`.
///
/// # Errors
/// `Truncated`; `Invalid` for a malformed pickle; `TooLarge` beyond this module's limits; `Unsupported` for an object
/// that contains itself, opcodes that no checkpoint needs, and protocols after 5.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, BundleError> {
    let (cells, stack) = (vec![Cell::Leaf(Value::None)], Vec::new());
    let mut machine = Machine { bytes, at: 0, cells, stack, marks: Vec::new(), memo: HashMap::new(), budget: MAX_TREE };
    machine.run()?;
    let [root] = machine.pop()?;
    machine.tree(root, 0)
}

/// A cell's index. Containers hold indices, because a value may be filled after it was memoized and shared.
type Ref = u32;

/// The first cell, which holds `None`.
const NONE: Ref = 0;

/// A value under construction. The items of `Dict` and `Call` alternate between keys and values.
enum Cell {
    Leaf(Value),
    List(Vec<Ref>),
    Tuple(Vec<Ref>),
    Dict(Vec<Ref>),
    /// Module and name.
    Global([Ref; 2]),
    Call {
        callable: Ref,
        args: Ref,
        items: Vec<Ref>,
        state: Ref,
    },
    Persistent(Ref),
    /// Taken out while the tree below it is built.
    Open,
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    cells: Vec<Cell>,
    stack: Vec<Ref>,
    /// Stack heights of the MARKs; nothing below the last one is popped.
    marks: Vec<usize>,
    memo: HashMap<u64, Ref>,
    /// Bytes left for the tree.
    budget: usize,
}

impl<'a> Machine<'a> {
    /// Runs up to STOP.
    fn run(&mut self) -> Result<(), BundleError> {
        for _ in 0..MAX_STEPS {
            let op = self.take(1)?[0];
            if op == b'.' {
                return Ok(());
            } else if let Some(value) = self.leaf(op)? {
                self.push(Cell::Leaf(value));
            } else if !self.keep(op)? && !self.build(op)? {
                let at = self.at - 1;
                fail!(
                    Unsupported,
                    "opcode {op:#04x} at byte {at} of the pickle: not supported in this version; {ALONE}"
                );
            }
        }
        fail!(TooLarge, "the pickle has more than {MAX_STEPS} opcodes; {ALONE}")
    }

    /// Opcodes with an inline value.
    fn leaf(&mut self, op: u8) -> Result<Option<Value>, BundleError> {
        Ok(Some(match op {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool(op == 0x88),
            b'J' => integer(self.take(4)?),
            b'K' => Value::Int(self.number(1)? as i64),
            b'M' => Value::Int(self.number(2)? as i64),
            0x8a => integer(self.counted(1)?),
            0x8b => integer(self.counted(4)?),
            b'G' => Value::Float(f64::from_bits(self.number(8)?.swap_bytes())),
            0x8c | b'U' => text(self.counted(1)?),
            b'X' | b'T' => text(self.counted(4)?),
            0x8d => text(self.counted(8)?),
            b'C' => Value::Bytes(self.counted(1)?.to_vec()),
            b'B' => Value::Bytes(self.counted(4)?.to_vec()),
            0x8e | 0x96 => Value::Bytes(self.counted(8)?.to_vec()),
            b'V' => self.latin()?,
            b'F' => Value::Float(self.written("")?),
            b'L' => Value::Int(self.written("L")?),
            b'I' if self.bytes[self.at..].starts_with(b"0") => Value::Bool(self.line()? == b"01"),
            b'I' => Value::Int(self.written("")?),
            _ => return Ok(None),
        }))
    }

    /// Opcodes that move values between stack and memo. Returns false for any other `op`.
    fn keep(&mut self, op: u8) -> Result<bool, BundleError> {
        match op {
            0x80 => {
                let protocol = self.number(1)?;
                if protocol > 5 {
                    fail!(Unsupported, "the pickle has protocol {protocol}, expected 0 to 5; save it with protocol 2");
                }
            }
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop::<1>()?),
            b'1' => drop(self.marked()?),
            b'q' | b'r' | b'p' | 0x94 => {
                let key = if op == 0x94 { self.memo.len() as u64 } else { self.key(op)? };
                let top = self.top()?;
                self.memo.insert(key, top);
            }
            b'h' | b'j' | b'g' => {
                let key = self.key(op)?;
                let found = self.memo.get(&key).copied();
                self.stack.push(found.ok_or_else(|| self.invalid("the memo has no such entry"))?);
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Opcodes that build a value from others. Returns false for any other `op`.
    fn build(&mut self, op: u8) -> Result<bool, BundleError> {
        let cell = match op {
            b']' | 0x8f => Cell::List(Vec::new()),
            b'l' | 0x91 => Cell::List(self.marked()?),
            b')' => Cell::Tuple(Vec::new()),
            0x85 => Cell::Tuple(self.pop::<1>()?.to_vec()),
            0x86 => Cell::Tuple(self.pop::<2>()?.to_vec()),
            0x87 => Cell::Tuple(self.pop::<3>()?.to_vec()),
            b't' => Cell::Tuple(self.marked()?),
            b'}' => Cell::Dict(Vec::new()),
            b'd' => Cell::Dict(self.marked()?),
            b'c' => {
                let names = [self.line()?, self.line()?];
                Cell::Global(names.map(|name| self.add(Cell::Leaf(text(name)))))
            }
            0x93 => Cell::Global(self.pop()?),
            b'R' | 0x81 => {
                let [callable, args] = self.pop()?;
                Cell::Call { callable, args, items: Vec::new(), state: NONE }
            }
            0x92 => {
                let [callable, args, keywords] = self.pop()?;
                let args = self.add(Cell::Tuple(vec![args, keywords]));
                Cell::Call { callable, args, items: Vec::new(), state: NONE }
            }
            b'Q' => Cell::Persistent(self.pop::<1>()?[0]),
            _ => return self.fill(op),
        };
        self.push(cell);
        Ok(true)
    }

    /// Opcodes that put values into the one below them. Returns false for any other `op`.
    fn fill(&mut self, op: u8) -> Result<bool, BundleError> {
        let values = match op {
            b'a' | b'b' => self.pop::<1>()?.to_vec(),
            b's' => self.pop::<2>()?.to_vec(),
            b'e' | 0x90 | b'u' => self.marked()?,
            _ => return Ok(false),
        };
        let (at, keyed) = (self.top()?, matches!(op, b's' | b'u'));
        match &mut self.cells[at as usize] {
            Cell::Call { state, .. } if op == b'b' => *state = values[0],
            Cell::List(items) if !keyed && op != b'b' => items.extend(values),
            Cell::Dict(items) | Cell::Call { items, .. } if keyed => items.extend(values),
            Cell::Call { items, .. } => items.extend(values.into_iter().flat_map(|value| [NONE, value])),
            _ => return Err(self.invalid("a value is put into one that cannot hold it")),
        }
        Ok(true)
    }

    fn add(&mut self, cell: Cell) -> Ref {
        self.cells.push(cell);
        (self.cells.len() - 1) as Ref // fits: a step adds at most three cells
    }

    fn push(&mut self, cell: Cell) {
        let at = self.add(cell);
        self.stack.push(at);
    }

    /// Pops the `N` topmost values, in the order in which they were pushed.
    fn pop<const N: usize>(&mut self) -> Result<[Ref; N], BundleError> {
        let above = &self.stack[self.marks.last().copied().unwrap_or(0)..];
        let popped = *above.last_chunk().ok_or_else(|| self.invalid("the stack is empty"))?;
        self.stack.truncate(self.stack.len() - N);
        Ok(popped)
    }

    fn top(&mut self) -> Result<Ref, BundleError> {
        let [top] = self.pop()?;
        self.stack.push(top);
        Ok(top)
    }

    /// Pops everything down to the last MARK.
    fn marked(&mut self) -> Result<Vec<Ref>, BundleError> {
        let mark = self.marks.pop().ok_or_else(|| self.invalid("the stack has no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], BundleError> {
        let (at, length) = (self.at, self.bytes.len());
        let taken = usize::try_from(count).ok().and_then(|count| self.bytes[at..].get(..count));
        let Some(taken) = taken else {
            fail!(Truncated, "the pickle ends at byte {length}, expected {count} more from byte {at}; copy it again");
        };
        self.at += taken.len();
        Ok(taken)
    }

    /// Reads a little-endian number of `width` bytes, at most 8.
    fn number(&mut self, width: u64) -> Result<u64, BundleError> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Reads a count of `width` bytes, and as many bytes.
    fn counted(&mut self, width: u64) -> Result<&'a [u8], BundleError> {
        let count = self.number(width)?;
        self.take(count)
    }

    fn line(&mut self) -> Result<&'a [u8], BundleError> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        Ok(&self.take(end as u64 + 1)?[..end])
    }

    /// Reads a line of text, which is Latin-1 in protocol 0. Escapes are refused; no checkpoint has them.
    fn latin(&mut self) -> Result<Value, BundleError> {
        match self.line()? {
            line if line.contains(&b'\\') => Err(self.invalid("a text has an escape")),
            line => Ok(Value::Text(line.iter().map(|byte| char::from(*byte)).collect())),
        }
    }

    /// Reads a decimal number on a line, with an optional `suffix`.
    fn written<T: FromStr>(&mut self, suffix: &str) -> Result<T, BundleError> {
        let line = std::str::from_utf8(self.line()?).unwrap_or_default();
        line.strip_suffix(suffix).unwrap_or(line).parse().map_err(|_| self.invalid("a line is not a number"))
    }

    /// Reads the memo entry that `op` refers to.
    fn key(&mut self, op: u8) -> Result<u64, BundleError> {
        match op {
            b'q' | b'h' => self.number(1),
            b'r' | b'j' => self.number(4),
            _ => self.written(""),
        }
    }

    fn invalid(&self, what: &str) -> BundleError {
        let message = format!("{what}, before byte {} of the pickle; copy or save the file again", self.at);
        BundleError::new(BundleErrorKind::Invalid, message)
    }

    /// Builds the tree below `at`. Shared values are copied, so the budget is charged for each copy.
    fn tree(&mut self, at: Ref, depth: usize) -> Result<Value, BundleError> {
        let cell = std::mem::replace(&mut self.cells[at as usize], Cell::Open);
        let length = match &cell {
            Cell::Leaf(Value::Text(text)) => text.len(),
            Cell::Leaf(Value::Bytes(bytes)) => bytes.len(),
            _ => 0,
        };
        let Some(left) = self.budget.checked_sub(size_of::<Value>() + length).filter(|_| depth < MAX_DEPTH) else {
            fail!(TooLarge, "the pickle unfolds to over {MAX_TREE} bytes or {MAX_DEPTH} levels; {ALONE}");
        };
        self.budget = left;
        let value = match &cell {
            Cell::Leaf(leaf) => leaf.clone(),
            Cell::List(items) => Value::List(self.trees(items, depth)?),
            Cell::Tuple(items) => Value::Tuple(self.trees(items, depth)?),
            Cell::Dict(items) => Value::Dict(self.pairs(items, depth)?),
            Cell::Global(names) => match &self.trees(names, depth)?[..] {
                [Value::Text(module), Value::Text(name)] => Value::Global(format!("{module}.{name}")),
                _ => return Err(self.invalid("a class name is not text")),
            },
            Cell::Call { callable, args, items, state } => {
                let class = match self.tree(*callable, depth + 1)? {
                    Value::Global(name) => name,
                    _ => NAMELESS.to_owned(),
                };
                let (args, state) = (self.tree(*args, depth + 1)?, self.tree(*state, depth + 1)?);
                Value::Object(Box::new(Object { class, args, items: self.pairs(items, depth)?, state }))
            }
            Cell::Persistent(id) => Value::Persistent(Box::new(self.tree(*id, depth + 1)?)),
            Cell::Open => fail!(Unsupported, "the pickle has an object that contains itself; {ALONE}"),
        };
        self.cells[at as usize] = cell;
        Ok(value)
    }

    fn trees(&mut self, items: &[Ref], depth: usize) -> Result<Vec<Value>, BundleError> {
        items.iter().map(|item| self.tree(*item, depth + 1)).collect()
    }

    fn pairs(&mut self, items: &[Ref], depth: usize) -> Result<Vec<(Value, Value)>, BundleError> {
        let (pairs, []) = items.as_chunks() else {
            return Err(self.invalid("a key has no value"));
        };
        pairs.iter().map(|[key, value]| Ok((self.tree(*key, depth + 1)?, self.tree(*value, depth + 1)?))).collect()
    }
}

/// A little-endian two's complement integer of any length.
fn integer(bytes: &[u8]) -> Value {
    let sign = if bytes.last().is_some_and(|last| *last >= 0x80) { 0xff } else { 0 };
    let mut wide = [sign; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => low.copy_from_slice(bytes),
        None => return Value::Bytes(bytes.to_vec()),
    }
    Value::Int(i64::from_le_bytes(wide))
}

/// A string: text if it is UTF-8, otherwise bytes.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(protocol: usize) -> Vec<u8> {
        std::fs::read(format!("tests/golden/torch/plain{protocol}.pkl")).unwrap()
    }

    fn kind(bytes: &[u8]) -> BundleErrorKind {
        parse(bytes).unwrap_err().kind()
    }

    #[test]
    fn every_protocol_gives_the_same_value() {
        let text = |text: &str| Value::Text(text.to_owned());
        let ints = Value::List([1, -2, 300, 70_000, 1 << 40].map(Value::Int).to_vec());
        let truth = vec![Value::Bool(true), Value::Bool(false), Value::None];
        let expected = Value::Dict(vec![
            (text("ints"), ints.clone()),
            (text("again"), ints),
            (text("floats"), Value::Tuple(vec![Value::Float(0.5), Value::Float(-1.25)])),
            (text("truth"), Value::List(truth)),
            (text("text"), text("äb")),
            (Value::Int(1), Value::Tuple(vec![])),
        ]);
        for protocol in 0..=5 {
            assert_eq!(parse(&golden(protocol)).unwrap(), expected, "{protocol}");
        }
    }

    #[test]
    fn calls_are_recorded_and_not_made() {
        let Value::Object(call) = parse(b"cos\nsystem\n(X\x02\x00\x00\x00lstR}X\x01\x00\x00\x00kK\x02sb.").unwrap()
        else {
            panic!("no call");
        };
        assert_eq!((call.class.as_str(), call.args), ("os.system", Value::Tuple(vec![Value::Text("ls".to_owned())])));
        assert_eq!(call.state, Value::Dict(vec![(Value::Text("k".to_owned()), Value::Int(2))]));
    }

    #[test]
    fn hostile_files_are_refused_cheaply() {
        // 64 lists, each of two references to the list before: 2⁶⁴ leaves.
        let laughs: Vec<u8> = (0..64u8).flat_map(|at| [b']', b'q', at + 1, b'(', b'h', at, b'h', at, b'e']).collect();
        assert_eq!(kind(&[b"]q\0", &laughs[..], b"."].concat()), BundleErrorKind::TooLarge);
        // A text of 60 KB, referenced 100,000 times.
        let long = [&b"X\x60\xea\0\0"[..], &[b'a'; 60_000], b"q\0](", &b"h\0".repeat(100_000), b"e."].concat();
        assert_eq!(kind(&long), BundleErrorKind::TooLarge);
        assert_eq!(kind(&[&b")".to_vec()[..], &b"\x85".repeat(100_000), b"."].concat()), BundleErrorKind::TooLarge);
        assert_eq!(kind(&b"N".repeat(MAX_STEPS)), BundleErrorKind::TooLarge);
        assert_eq!(kind(b"]q\0h\0a."), BundleErrorKind::Unsupported);
        assert_eq!(kind(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff."), BundleErrorKind::Truncated);
        for broken in
            [&b"."[..], b"0.", b"(.", b"u.", b"N(s.", b"}(Nu.", b"h\0.", b"NNa.", b"NN\x93.", b"I\n.", b"\x86."]
        {
            assert_eq!(kind(broken), BundleErrorKind::Invalid, "{broken:?}");
        }
    }

    #[test]
    fn cuts_and_flips_never_panic() {
        for bytes in (0..=5).map(golden) {
            for cut in 0..bytes.len() {
                assert_eq!(kind(&bytes[..cut]), BundleErrorKind::Truncated, "{cut}");
            }
            for at in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[at / 8] ^= 1 << (at % 8);
                let _ = parse(&flipped);
            }
        }
    }
}
