//! Checkpoints: one safetensors file, several with an index, or a PyTorch file. Opening reads only names, shapes and
//! offsets; a tensor's values are read on request, so that a file may be larger than memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::{pickle, torch};
use coverslip_bundle::budget::MAX_HEADER_BYTES;
use coverslip_bundle::tensors::{Element, Tensor};
use coverslip_bundle::{BundleError, BundleErrorKind, RowSource, fail};
use coverslip_files::fence::fenced;

/// The tensors of a model or an SAE, read one at a time.
#[derive(Debug)]
pub struct Checkpoint {
    files: Vec<Opened>,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Opened {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// A tensor's place in its file. `strides` are in elements, as in PyTorch.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) file: usize,
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) offset: u64,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The error for a checkpoint that holds something else. A call that its pickle asks for may be all that it is for.
fn without_tensors(path: &Path, found: &torch::TorchFile) -> BundleError {
    let call = found.call().map_or(String::new(), |call| {
        let of = if call == pickle::NAMELESS {
            "another call's result".into()
        } else {
            format!("`{}`", call.escape_default())
        };
        format!(", but a call of {of}, which was not made: load the file nowhere unless you trust it")
    });
    let message = format!(
        "{}: expected a checkpoint with tensors, found none{call}; save the model's state_dict() with torch.save",
        path.display()
    );
    BundleError::new(BundleErrorKind::Unsupported, message)
}

impl Checkpoint {
    /// Opens a `.safetensors` file, an index of several (`.index.json`), or a PyTorch file.
    ///
    /// # Errors
    /// `Missing`, `Io`, `Truncated`, `Invalid`; `Unsupported` for other formats.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let mut checkpoint = Self { files: Vec::new(), entries: BTreeMap::new() };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        match extension {
            "safetensors" => checkpoint.add_safetensors(path)?,
            "json" if name.ends_with(".index.json") => checkpoint.add_index(path)?,
            "pt" | "pth" | "bin" | "ckpt" | "torch" => {
                let found = torch::open(path)?;
                if found.tensors().is_empty() {
                    return Err(without_tensors(path, &found));
                }
                checkpoint.add_torch(path, &found)?;
            }
            _ => fail!(
                Unsupported,
                "{}: not supported in this version: found a `.{extension}` file; expected \
                 .safetensors, .safetensors.index.json, or a PyTorch .bin, .pt or .pth",
                path.display()
            ),
        }
        Ok(checkpoint)
    }

    /// Builds a checkpoint from tensors whose places in `files` are known.
    ///
    /// # Errors
    /// `Missing`, `Io`, `Truncated`.
    pub(super) fn of_parts(files: &[PathBuf], entries: BTreeMap<String, Entry>) -> Result<Self, BundleError> {
        let mut checkpoint = Self { files: Vec::new(), entries: BTreeMap::new() };
        for path in files {
            checkpoint.add_file(path)?;
        }
        for (name, entry) in entries {
            checkpoint.add(name, entry)?;
        }
        Ok(checkpoint)
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The shape of the tensor `name`, if there is one.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| &entry.shape[..])
    }

    /// The element type of the tensor `name`, if there is one.
    pub fn element(&self, name: &str) -> Option<Element> {
        self.entries.get(name).map(|entry| entry.element)
    }

    /// Reads the tensor `name`.
    ///
    /// # Errors
    /// `Missing`, `Io`, `Truncated`, `OutOfMemory` when memory is short.
    pub fn read(&self, name: &str) -> Result<Tensor, BundleError> {
        let rows = self.entries.get(name).and_then(|entry| entry.shape.first()).copied();
        self.read_rows(name, 0..rows.unwrap_or(1))
    }

    fn add_file(&mut self, path: &Path) -> Result<usize, BundleError> {
        let opened = coverslip_files::open(path).and_then(|file| {
            let bytes = file.metadata()?.len();
            Ok(Opened { path: path.to_owned(), file, bytes })
        });
        self.files.push(opened.map_err(|error| BundleError::io(path.display(), &error))?);
        Ok(self.files.len() - 1)
    }

    fn add(&mut self, name: String, entry: Entry) -> Result<(), BundleError> {
        let file = &self.files[entry.file];
        let last = entry.shape.iter().zip(&entry.strides);
        let last = last.fold(0usize, |at, (n, stride)| at.saturating_add(n.saturating_sub(1).saturating_mul(*stride)));
        let elements = if entry.shape.contains(&0) { 0 } else { last.saturating_add(1) };
        let end = entry.offset.saturating_add(elements.saturating_mul(entry.element.size()) as u64);
        if end > file.bytes {
            fail!(Truncated, "{}: the file ends within tensor `{name}`; copy it again", file.path.display());
        }
        if self.entries.insert(name.clone(), entry).is_some() {
            fail!(Invalid, "tensor `{name}` occurs twice; expected it once");
        }
        Ok(())
    }

    fn add_safetensors(&mut self, path: &Path) -> Result<(), BundleError> {
        let at = self.add_file(path)?;
        let (data, metadata) = read_header(&self.files[at])?;
        for (name, info) in metadata.tensors() {
            let Some(element) = Element::from_dtype(info.dtype) else {
                fail!(
                    Unsupported,
                    "{}: tensor `{name}` is {:?}: not supported in this version; expected F32, F16 or BF16; \
                     convert it",
                    path.display(),
                    info.dtype
                );
            };
            let entry = Entry {
                file: at,
                element,
                strides: contiguous(&info.shape),
                shape: info.shape.clone(),
                offset: data.saturating_add(info.data_offsets.0 as u64),
            };
            self.add(name, entry)?;
        }
        Ok(())
    }

    fn add_index(&mut self, path: &Path) -> Result<(), BundleError> {
        let bytes =
            coverslip_files::read_at_most(path, 64 << 20).map_err(|error| BundleError::io(path.display(), &error))?;
        let index: Index = match coverslip_bundle::json::parse(&bytes) {
            Ok(index) => index,
            Err(error) => fail!(Invalid, "{}: expected an index of shards: {error}", path.display()),
        };
        let mut shards: Vec<&String> = index.weight_map.values().collect();
        shards.sort();
        shards.dedup();
        for shard in shards {
            if shard.contains(['/', '\\']) || !shard.ends_with(".safetensors") {
                fail!(Invalid, "{}: lists `{shard}`; expected .safetensors files beside it", path.display());
            }
            self.add_safetensors(&path.with_file_name(shard))?;
        }
        let missing: Vec<String> =
            index.weight_map.keys().filter(|name| !self.contains(name)).map(|name| format!("`{name}`")).collect();
        if !missing.is_empty() {
            fail!(Missing, "{}: the shards lack {}", path.display(), coverslip_bundle::layout::listed(&missing));
        }
        Ok(())
    }

    fn add_torch(&mut self, path: &Path, found: &torch::TorchFile) -> Result<(), BundleError> {
        let at = self.add_file(path)?;
        for (name, tensor) in found.tensors() {
            let entry = Entry {
                file: at,
                element: tensor.element,
                shape: tensor.shape.clone(),
                strides: tensor.strides.clone(),
                offset: tensor.offset,
            };
            self.add(name, entry)?;
        }
        Ok(())
    }
}

impl RowSource for Checkpoint {
    fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Tensor, BundleError> {
        let Some(entry) = self.entries.get(name) else {
            fail!(Missing, "tensor `{name}` is missing");
        };
        let mut shape = entry.shape.clone();
        let mut first = 0;
        if let Some(axis) = shape.first_mut() {
            *axis = rows.len();
            first = rows.start * entry.strides[0];
        }
        let bytes = self.files[entry.file].gather(name, entry, &shape, first)?;
        Ok(Tensor { element: entry.element, shape, bytes })
    }
}

/// Row-major strides.
pub(super) fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
    }
    strides
}

/// Reads a safetensors header: the offset of the data, and the tensors' metadata.
fn read_header(opened: &Opened) -> Result<(u64, Metadata), BundleError> {
    let place = || opened.path.display();
    let truncated = || {
        let what = format!("{}: expected a complete safetensors file; copy or export it again", place());
        BundleError::new(BundleErrorKind::Truncated, what)
    };
    let mut file = &opened.file;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| truncated())?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        fail!(Invalid, "{}: found a header of {length} bytes: this is no safetensors file", place());
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(|_| truncated())?;
    // The crate turns a header into its own types here, as it does for a file in memory.
    let metadata: Metadata = match fenced(|| coverslip_bundle::json::parse(&header)) {
        Ok(Ok(metadata)) => metadata,
        Ok(Err(error)) => fail!(Invalid, "{}: no safetensors header: {error}", place()),
        Err(panic) => fail!(Invalid, "{}: {panic}", place()),
    };
    Ok((8 + length, metadata))
}

impl Opened {
    /// Reads a tensor's elements in row-major order, starting at element `first` of the entry.
    fn gather(&self, name: &str, entry: &Entry, shape: &[usize], first: usize) -> Result<Vec<u8>, BundleError> {
        let size = entry.element.size();
        // An empty axis makes the product 0 however large the others are.
        let count = if shape.contains(&0) { 0 } else { shape.iter().product::<usize>() };
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(count * size).is_err() {
            fail!(OutOfMemory, "no memory for the {count} values of tensor `{name}`");
        }
        let offset = entry.offset + (first * size) as u64;
        if entry.strides == contiguous(&entry.shape) || count <= 1 {
            self.read_into(&mut bytes, offset, count * size)?;
            return Ok(bytes);
        }
        // A view of a larger tensor: read everything between its ends, then pick the elements.
        let last: usize = shape.iter().zip(&entry.strides).map(|(n, stride)| (n - 1) * stride).sum();
        let mut span = Vec::new();
        self.read_into(&mut span, offset, (last + 1) * size)?;
        for index in 0..count {
            let (mut rest, mut at) = (index, 0);
            for (n, stride) in shape.iter().zip(&entry.strides).rev() {
                at += rest % n * stride;
                rest /= n;
            }
            bytes.extend_from_slice(&span[at * size..(at + 1) * size]);
        }
        Ok(bytes)
    }

    fn read_into(&self, bytes: &mut Vec<u8>, offset: u64, length: usize) -> Result<(), BundleError> {
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.take(length as u64).read_to_end(bytes));
        let read = read.map_err(|error| BundleError::io(self.path.display(), &error))?;
        if read < length {
            fail!(Truncated, "{}: the file became shorter while it was read; try again", self.path.display());
        }
        Ok(())
    }
}
