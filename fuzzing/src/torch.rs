//! Checkpoints of torch: the zip with its pickle, and the pickle alone in a zip that is as it should be.

use std::fs;

use coverslip_bundle::BundleError;
use coverslip_testkit::Scratch;

use crate::input::{Seeds, file, golden};
use crate::tensors::read_all;

/// Storages beside a pickle, and the bytes of each.
const STORAGES: (usize, usize) = (20, 1024);

/// A `.pt` file.
pub(crate) fn torch(data: &[u8]) -> bool {
    opened(data).is_ok()
}

/// A pickle in a whole zip with storages `0` to `19`: taken where it is read to its end, whether it has tensors or none.
pub(crate) fn pickle(data: &[u8]) -> bool {
    opened(&archive(data)).map_or_else(|error| error.to_string().contains("with tensors, found none"), |()| true)
}

fn opened(bytes: &[u8]) -> Result<(), BundleError> {
    let scratch = Scratch::new("fuzz");
    let path = scratch.join("model.pt");
    fs::write(&path, bytes).expect("a scratch file");
    read_all(&path)
}

/// A pickle with so many storages beside it as an SAE's needs.
pub(crate) fn archive(pickle: &[u8]) -> Vec<u8> {
    archive_of(pickle, STORAGES)
}

/// A zip as torch.save writes it, with so many storages of so many bytes: nothing is compressed. CRCs are left out, which
/// no reader here needs.
pub(crate) fn archive_of(pickle: &[u8], (count, bytes): (usize, usize)) -> Vec<u8> {
    let storage: Vec<u8> = (0..bytes / 4).flat_map(|at| ((at % 256) as f32 / 256.0 - 0.4).to_le_bytes()).collect();
    let mut files = vec![("archive/data.pkl".to_owned(), pickle)];
    files.extend((0..count).map(|at| (format!("archive/data/{at}"), &storage[..])));
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in &files {
        let [offset, size] = [bytes.len(), content.len()].map(|number| (number as u32).to_le_bytes());
        let name_length = (name.len() as u16).to_le_bytes();
        bytes.extend([b"PK\x03\x04".as_slice(), &[0; 14], &size, &size, &name_length, &[0; 2]].concat());
        bytes.extend([name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02".as_slice(), &[0; 16], &size, &size, &name_length, &[0; 12], &offset].concat());
        directory.extend(name.as_bytes());
    }
    let count = (files.len() as u16).to_le_bytes();
    let [size, at] = [directory.len(), bytes.len()].map(|number| (number as u32).to_le_bytes());
    bytes.extend(directory);
    bytes.extend([b"PK\x05\x06".as_slice(), &[0; 4], &count, &count, &size, &at, &[0; 2]].concat());
    bytes
}

/// The pickle in a zip of torch, which is its first file.
pub(crate) fn pickle_of(zip: &[u8]) -> &[u8] {
    let length = |at: usize| usize::from(u16::from_le_bytes([zip[at], zip[at + 1]]));
    let start = 30 + length(26) + length(28);
    let after = |mark: &[u8]| zip[start..].windows(4).position(|window| window == mark).unwrap_or(usize::MAX);
    &zip[start..start + after(b"PK\x07\x08").min(after(b"PK\x03\x04"))]
}

pub(crate) fn archive_seeds() -> Seeds {
    let own = ("own".to_owned(), archive(pickle_of(&file(&golden().join("torch/small.pt")))));
    let named = |name: &str| (name.to_owned(), file(&golden().join("torch").join(name)));
    [["small.pt", "module.pt", "protocol4.pt"].map(named).to_vec(), vec![own]].concat()
}

pub(crate) fn pickle_seeds() -> Seeds {
    let zips = ["small.pt", "module.pt", "protocol4.pt", "checkpoint.pt"];
    let zipped = |name: &str| (name.to_owned(), pickle_of(&file(&golden().join("torch").join(name))).to_vec());
    let plain = |at: usize| (format!("plain{at}"), file(&golden().join(format!("torch/plain{at}.pkl"))));
    [zips.map(zipped).to_vec(), (0..=5).map(plain).collect()].concat()
}
